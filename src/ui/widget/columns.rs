//! Columns that are as wide as their content, and are left out in a fixed order if there is no room.

use super::text;

/// Which part of a text is kept if it does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// The start.
    #[default]
    Head,
    /// The end, where names differ.
    Tail,
    /// Both ends: messages start with what failed and end with why.
    Middle,
    /// Everything, drawn smaller: a meter.
    Scale,
    /// Everything, drawn smaller: a share with the mark of the expected one.
    Bar,
    /// The end: a trend, whose newest number is on the right.
    Newest,
}

/// A column of a list.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the config, where the head does not say it; see [`Column::id`].
    pub name: &'static str,
    pub head: &'static str,
    /// The minimum width.
    pub min: u16,
    /// The maximum width; 0: takes the remaining width.
    pub max: u16,
    pub right: bool,
    pub cut: Cut,
    /// Text that does not fit continues in the lines below the row, if these are free.
    pub wraps: bool,
    /// Takes all the remaining width, whatever its content; the columns after it are at the right edge.
    pub fills: bool,
    /// 0: it is always shown; otherwise, the higher the number, the earlier it is left out.
    pub leave: u8,
    /// The head if there is no room for the full one.
    pub short: &'static str,
    /// Never cut up to `max`, because a truncated number is another number. Right-aligned columns are never cut at all.
    pub whole: bool,
}

impl Column {
    /// A left-aligned column.
    pub const fn left(head: &'static str, min: u16, max: u16, leave: u8) -> Self {
        Self {
            name: "",
            head,
            min,
            max,
            right: false,
            cut: Cut::Head,
            wraps: false,
            fills: false,
            leave,
            short: head,
            whole: false,
        }
    }

    /// A right-aligned column: numbers.
    pub const fn right(head: &'static str, min: u16, max: u16, leave: u8) -> Self {
        Self {
            name: "",
            head,
            min,
            max,
            right: true,
            cut: Cut::Head,
            wraps: false,
            fills: false,
            leave,
            short: head,
            whole: true,
        }
    }

    /// A column of names.
    pub const fn name(head: &'static str, min: u16, max: u16) -> Self {
        Self {
            name: "",
            head,
            min,
            max,
            right: false,
            cut: Cut::Tail,
            wraps: false,
            fills: false,
            leave: 0,
            short: head,
            whole: false,
        }
    }

    /// The same column with a short head for narrow places.
    pub const fn short(mut self, head: &'static str) -> Self {
        self.short = head;
        self
    }

    /// A column of sentences, which takes the remaining width and continues below its row.
    pub const fn text(head: &'static str, min: u16, leave: u8) -> Self {
        let column = Self::left(head, min, 0, leave);
        Self { cut: Cut::Middle, wraps: true, ..column }
    }

    /// A column of meters, for [`METER`] cells, as wide as there is room.
    pub const fn meter(head: &'static str, short: &'static str, min: u16, leave: u8) -> Self {
        let column = Self::left(head, min, min, leave);
        Self { cut: Cut::Scale, short, ..column }
    }

    /// A column of shares with the mark of the expected one, as wide as there is room.
    pub const fn bar(head: &'static str, min: u16, leave: u8) -> Self {
        Self { cut: Cut::Bar, ..Self::meter(head, head, min, leave) }
    }

    /// A column of trends.
    pub const fn trend(head: &'static str, min: u16, max: u16, leave: u8) -> Self {
        Self { cut: Cut::Newest, right: true, ..Self::left(head, min, max, leave) }
    }

    /// Whether the column is a drawing. Rows cannot be ordered by it.
    pub const fn is_drawn(&self) -> bool {
        matches!(self.cut, Cut::Scale | Cut::Bar | Cut::Newest)
    }

    /// The same column for texts with numbers, which are not cut.
    pub const fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// The same column with a name of its own in the config.
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// What the config and `pilothouse get` call it: its head in lower case, or a name of its own.
    pub fn id(&self) -> String {
        if self.name.is_empty() { self.head.to_lowercase().replace(' ', "-") } else { self.name.to_owned() }
    }

    /// The head that fits.
    pub fn head_in(&self, cells: u16) -> &'static str {
        if text::width(self.head) <= usize::from(cells) { self.head } else { self.short }
    }

    /// The same column, which is left out if there is no room.
    pub const fn leaving(mut self, leave: u8) -> Self {
        self.leave = leave;
        self
    }
}

/// The position of a column: its index, first cell and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub index: usize,
    pub x: u16,
    pub width: u16,
}

/// Number of cells that a meter is made with, before it is drawn in the width of its column.
pub const METER: usize = 40;

/// Names up to this length are worth more than an optional column …
const WHOLE: u16 = 24;
/// … and so are sentences up to this long.
const SENTENCE: u16 = 40;
/// Columns with this number or a higher one are left out before names are cut.
const LUXURY: u8 = 7;

/// Places the columns in `room` cells. `content(i)`: the widest text of column `i` among the visible rows.
pub fn place(columns: &[Column], room: u16, content: &dyn Fn(usize) -> usize) -> Vec<Placed> {
    // a column without content is left out
    let says = |(i, c): (usize, &Column)| (c.leave == 0 || content(i) > 0).then_some(i);
    let mut kept: Vec<usize> = columns.iter().enumerate().filter_map(says).collect();
    let cells = |width: usize| u16::try_from(width).unwrap_or(u16::MAX);
    let widest: Vec<u16> = (0..columns.len()).map(|i| cells(content(i))).collect();
    let content = |i: usize| widest.get(i).copied().unwrap_or(0);
    let min_of = |i: usize| {
        let uncut = |c: &Column| match (c.whole, c.right) {
            (false, _) => 0,
            (true, true) => content(i),
            (true, false) => content(i).min(c.max),
        };
        columns.get(i).map_or(0, |c| c.min.max(cells(text::width(c.short))).max(uncut(c)))
    };
    let needed = |kept: &[usize]| -> u16 {
        let sum = kept.iter().fold(0u16, |sum, i| sum.saturating_add(min_of(*i)));
        sum.saturating_add(cells(kept.len().saturating_sub(1)))
    };
    // the remaining columns should be readable completely, up to a length; less important columns are left out for that
    let wanted = |kept: &[usize]| -> u16 {
        let more: u16 = kept
            .iter()
            .filter_map(|i| columns.get(*i).map(|c| (*i, c)))
            .filter(|(_, c)| c.leave == 0)
            .map(|(i, c)| {
                let whole = if c.wraps { SENTENCE } else { WHOLE };
                let most = if c.max == 0 { whole } else { c.max.min(whole) };
                content(i).min(most).saturating_sub(min_of(i))
            })
            .sum();
        needed(kept).saturating_add(more)
    };
    let luxury = |kept: &[usize]| kept.iter().any(|i| columns.get(*i).is_some_and(|c| c.leave >= LUXURY));
    while kept.len() > 1 && (needed(&kept) > room || (luxury(&kept) && wanted(&kept) > room)) {
        let leaves = kept
            .iter()
            .enumerate()
            .max_by_key(|(at, i)| (columns.get(**i).map_or(0, |c| c.leave), *at))
            .map(|(at, _)| at);
        match leaves {
            Some(at) => {
                kept.remove(at);
            }
            None => break,
        }
    }
    let mut spare = room.saturating_sub(needed(&kept));
    let mut widths: Vec<u16> = kept.iter().map(|i| min_of(*i)).collect();
    // first the limited columns, then the one that takes the rest; nothing is cut while there are free cells
    for (unlimited, past_limit) in [(false, false), (true, false), (false, true)] {
        for (i, width) in kept.iter().zip(widths.iter_mut()) {
            let Some(column) = columns.get(*i) else { continue };
            if (column.max == 0) != unlimited {
                continue;
            }
            let wanted = content(*i).max(cells(text::width(column.head)));
            let wanted = match (unlimited, past_limit) {
                (true, _) if column.fills => u16::MAX,
                (true, _) | (_, true) => wanted,
                (false, false) => wanted.min(column.max),
            };
            let more = wanted.saturating_sub(*width).min(spare);
            *width += more;
            spare -= more;
        }
    }
    // a wide screen has room for two cells between columns
    let gap = if spare >= u16::try_from(kept.len()).unwrap_or(0) { 2 } else { 1 };
    let mut x = 0u16;
    let mut placed = Vec::with_capacity(kept.len());
    for (index, width) in kept.into_iter().zip(widths) {
        let width = width.min(room.saturating_sub(x));
        placed.push(Placed { index, x, width });
        x = x.saturating_add(width).saturating_add(gap);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::name("NAME", 8, 0),
        Column::left("STATE", 6, 10, 0),
        Column::left("ZN", 4, 4, 5),
        Column::right("AGE", 3, 4, 9),
    ];

    #[test]
    fn columns_leave_in_their_order() {
        let shown = |room| place(&COLUMNS, room, &|_| 3).iter().map(|p| p.index).collect::<Vec<_>>();
        assert_eq!(shown(40), [0, 1, 2, 3]);
        assert_eq!(shown(22), [0, 1, 2]);
        assert_eq!(shown(16), [0, 1]);
        assert_eq!(shown(3), [0]);
    }

    #[test]
    fn a_number_is_whole_or_not_there() {
        let columns = [
            Column::name("NAME", 8, 40),
            Column::right("PODS", 4, 6, 2),
            Column::left("MIN-MAX", 7, 12, 3).whole(),
            Column::left("WHY", 5, 0, 0),
        ];
        let content = |i: usize| [30, 9, 10, 60][i];
        let mut seen = [false; 4];
        for room in 20..140 {
            for p in place(&columns, room, &content) {
                let wanted = [0, 9, 10, 0][p.index];
                assert!(usize::from(p.width) >= wanted, "{room} {p:?}");
                seen[p.index] = true;
            }
        }
        assert_eq!(seen, [true; 4]);
    }

    #[test]
    fn a_column_in_which_nothing_stands_gives_its_room_away() {
        let content = |i: usize| [10, 6, 0, 3][i];
        let shown: Vec<usize> = place(&COLUMNS, 60, &content).iter().map(|p| p.index).collect();
        assert_eq!(shown, [0, 1, 3]);
    }

    #[test]
    fn nothing_is_cut_beside_free_cells() {
        let content = |i: usize| [70, 33, 4, 3][i];
        for room in 10..160 {
            let placed = place(&COLUMNS, room, &content);
            let end = placed.iter().map(|p| p.x + p.width).max().unwrap_or(0);
            let cut = placed.iter().any(|p| usize::from(p.width) < content(p.index));
            assert!(!cut || room - end <= 1, "{room} {placed:?}");
        }
    }

    #[test]
    fn what_comes_after_a_column_that_fills_stands_at_the_edge() {
        let columns = [
            Column { fills: true, ..Column::text("CAUSE", 10, 0) },
            Column::right("SINCE", 4, 5, 3),
            Column::left("KEY", 9, 40, 5),
        ];
        for long in [12, 30, 50] {
            let placed = place(&columns, 80, &|i| [long, 3, 20][i]);
            let ends: Vec<u16> = placed.iter().map(|p| p.x + p.width).collect();
            assert_eq!(ends, [53, 59, 80], "{long}");
        }
    }

    #[test]
    fn never_past_the_room() {
        for room in 0..60 {
            for long in [0, 5, 100] {
                for p in place(&COLUMNS, room, &|_| long) {
                    assert!(p.width == 0 || p.x + p.width <= room, "{room} {p:?}");
                }
            }
        }
    }
}
