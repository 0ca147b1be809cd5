//! Arranges the rows of a list. Each row has one line, and more if lines are free and the row has more text.

use ratatui::layout::Rect;

use super::super::cell::{Cell, ListView, RowView};
use super::super::theme::Role;
use super::super::widget::columns::{Column, Cut, Placed, place};
use super::super::widget::{bar, text};
use super::canvas::Canvas;

/// The maximum number of lines of a sentence, including the first.
const SENTENCE: usize = 4;
/// Lines below a row start under its first column.
const INDENT: u16 = 4;

/// The positions of the columns in an area, and the additional lines of the rows.
pub(super) struct Layout {
    pub placed: Vec<Placed>,
    extras: Vec<Extra>,
}

/// The additional lines of a row.
#[derive(Default)]
struct Extra {
    /// The column whose text wraps, with all of its lines.
    sentence: Option<(Placed, Vec<String>)>,
    below: Vec<(Role, String)>,
}

impl Extra {
    fn sentence_lines(&self) -> usize {
        self.sentence.as_ref().map_or(0, |(_, lines)| lines.len().min(SENTENCE).saturating_sub(1))
    }
}

/// The number of additional lines that are shown: of the sentence, and below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub sentence: usize,
    pub below: usize,
}

impl Layout {
    /// Arranges rows in `width` cells.
    pub(super) fn new(columns: &[Column], heads: &[String], rows: &[RowView], width: u16) -> Self {
        let widest = |i: usize| {
            let head = heads.get(i).map_or(0, |h| text::width(h));
            let of = |r: &RowView| r.cells.get(i).map_or(0, |c| text::width(&c.text));
            rows.iter().map(of).max().unwrap_or(0).max(head)
        };
        // the glyph takes two cells
        let placed = place(columns, width.saturating_sub(2), &widest);
        let extras = rows.iter().map(|row| extra(columns, &placed, row, width)).collect();
        Self { placed, extras }
    }

    /// Returns the number of lines of all rows with their whole sentences, and with all their text.
    pub(super) fn lines(&self) -> (usize, usize) {
        let rows = self.extras.len();
        let sentences: usize = self.extras.iter().map(Extra::sentence_lines).sum();
        let below: usize = self.extras.iter().map(|e| e.below.len()).sum();
        (rows + sentences, rows + sentences + below)
    }

    /// Returns the rows around the selected one that fit into `height` lines with their whole sentences: the first,
    /// and their number.
    pub(super) fn whole(&self, selected: usize, height: usize) -> (usize, usize) {
        let lines = |from: usize, to: usize| -> usize {
            let rows = self.extras.iter().take(to).skip(from);
            rows.map(|e| 1 + e.sentence_lines()).sum()
        };
        let mut from = 0;
        while from < selected && lines(from, selected + 1) > height {
            from += 1;
        }
        let fits = (from + 1..=self.extras.len()).take_while(|to| lines(from, *to) <= height).count();
        (from, fits.max(1))
    }

    /// Distributes the spare lines after each row has one. First, sentences are completed. Then every row gets one
    /// line of the text below it, then a second one.
    pub(super) fn spend(&self, mut spare: usize) -> Vec<Shown> {
        let mut shown = vec![Shown::default(); self.extras.len()];
        for (shown, extra) in shown.iter_mut().zip(&self.extras) {
            shown.sentence = extra.sentence_lines().min(spare);
            spare -= shown.sentence;
        }
        while spare > 0 {
            let before = spare;
            for (shown, extra) in shown.iter_mut().zip(&self.extras) {
                if spare > 0 && shown.below < extra.below.len() {
                    shown.below += 1;
                    spare -= 1;
                }
            }
            if spare == before {
                break;
            }
        }
        shown
    }

    /// Draws row `index` from line `y`. Returns the next line.
    pub(super) fn draw(
        &self,
        canvas: &mut Canvas<'_>,
        area: Rect,
        y: u16,
        view: &ListView,
        index: usize,
        lines: Shown,
    ) -> u16 {
        let (Some(row), Some(extra)) = (view.rows.get(index), self.extras.get(index)) else { return y };
        canvas.put(area.x, y, 1, row.grade.role(), row.grade.glyph());
        if row.marked {
            // the mark is next to the glyph, because the glyph shows the severity and must stay visible
            canvas.put(area.x.saturating_add(1), y, 1, Role::Marked, "+");
        }
        let mut next = y + 1;
        for p in &self.placed {
            let (Some(column), Some(cell)) = (view.columns.get(p.index), row.cells.get(p.index)) else {
                continue;
            };
            let role = if row.marked && p.index == 0 { Role::Marked } else { cell.role };
            match &extra.sentence {
                Some((at, parts)) if at.index == p.index && lines.sentence > 0 => {
                    for (i, part) in parts.iter().take(lines.sentence + 1).enumerate() {
                        let line = y.saturating_add(u16::try_from(i).unwrap_or(u16::MAX));
                        // the last visible line contains the rest of the text, cut
                        let rest = || parts.iter().skip(i).map(|l| l.trim()).collect::<Vec<_>>().join(" ");
                        let words = if i == lines.sentence { rest() } else { part.clone() };
                        if line < area.bottom() {
                            write(canvas, area, line, p, column, role, &words);
                        }
                        next = next.max(line.saturating_add(1));
                    }
                }
                _ => write(canvas, area, y, p, column, role, &cell.text),
            }
            if let Some((_, lead)) = row.lead.as_ref().filter(|(at, _)| *at == p.index) {
                canvas.put(area.x + 2 + p.x, y, p.width, lead.role, &lead.text);
            }
        }
        for (role, line) in extra.below.iter().take(lines.below) {
            if next < area.bottom() {
                canvas.put(area.x + INDENT, next, area.width.saturating_sub(INDENT), *role, line);
            }
            next = next.saturating_add(1);
        }
        next.min(area.bottom())
    }
}

fn extra(columns: &[Column], placed: &[Placed], row: &RowView, width: u16) -> Extra {
    let sentence = placed.iter().filter(|p| columns.get(p.index).is_some_and(|c| c.wraps)).find_map(|p| {
        let words = &row.cells.get(p.index)?.text;
        let cells = usize::from(p.width);
        (text::width(words) > cells && cells > 0).then(|| (*p, text::wrap(words, cells)))
    });
    let cells = usize::from(width.saturating_sub(INDENT)).max(8);
    let lines = |cell: &Cell| -> Vec<(Role, String)> {
        text::wrap(&cell.text, cells).into_iter().map(|line| (cell.role, line)).collect()
    };
    Extra { sentence, below: row.below.iter().filter(|c| !c.text.is_empty()).flat_map(lines).collect() }
}

/// Writes a text into its column.
pub(super) fn write(
    canvas: &mut Canvas<'_>,
    area: Rect,
    y: u16,
    p: &Placed,
    column: &Column,
    role: Role,
    words: &str,
) {
    let cells = usize::from(p.width);
    let shown = match column.cut {
        Cut::Head => text::head(words, cells),
        Cut::Tail => text::tail(words, cells),
        Cut::Middle => text::middle(words, cells),
        Cut::Scale => text::scale(words, cells),
        Cut::Bar => bar::fit(words, cells),
        Cut::Newest => bar::newest(words, cells),
    };
    let blank = p.width.saturating_sub(u16::try_from(text::width(&shown)).unwrap_or(0));
    let pad = if column.right { blank } else { 0 };
    canvas.put(area.x + 2 + p.x + pad, y, p.width.saturating_sub(pad), role, &shown);
}

#[cfg(test)]
mod tests {
    use super::super::super::cell::{cell, plain};
    use super::*;

    const COLUMNS: [Column; 2] = [Column::left("WHO", 3, 10, 0), Column::text("WHY", 6, 0)];

    fn row(why: &str, below: &[&str]) -> RowView {
        RowView {
            cells: vec![plain("who"), plain(why)],
            below: below.iter().map(|b| cell(Role::Dim, *b)).collect(),
            ..RowView::default()
        }
    }

    #[test]
    fn free_lines_finish_the_sentences_first() {
        let rows = [row("one two three four", &["a", "b"]), row("one", &["c"])];
        let layout = Layout::new(&COLUMNS, &[], &rows, 2 + 3 + 1 + 9);
        assert_eq!(layout.lines(), (4, 7));
        let shown = |sentence, below| Shown { sentence, below };
        assert_eq!(layout.spend(0), [shown(0, 0), shown(0, 0)]);
        assert_eq!(layout.spend(2), [shown(2, 0), shown(0, 0)]);
        assert_eq!(layout.spend(4), [shown(2, 1), shown(0, 1)]);
        assert_eq!(layout.spend(9), [shown(2, 2), shown(0, 1)]);
    }

    #[test]
    fn whole_sentences_keep_the_selected_row_in_sight() {
        let rows: Vec<RowView> = (0..6).map(|_| row("one two three four", &[])).collect();
        let layout = Layout::new(&COLUMNS, &[], &rows, 2 + 3 + 1 + 9);
        for height in 1..20 {
            for selected in 0..6 {
                let (from, count) = layout.whole(selected, height);
                assert!(from <= selected && selected < from + count, "{height} {selected}: {from} {count}");
                assert!(count * 3 <= height.max(3), "{height}: {count}");
            }
        }
    }
}
