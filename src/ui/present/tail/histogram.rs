//! The number of lines over time, as bars whose lower part are the errors.

use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::time::Stamp;

use super::super::super::app::LogView;
use super::super::super::cell::{Cell, cell};
use super::super::super::theme::Role;
use super::super::super::widget::text;
use super::clock;

/// The times that a bar can stand for, in milliseconds.
const STEPS: [i64; 16] = [
    1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000,
    3_600_000, 7_200_000, 21_600_000, 86_400_000,
];
const GLYPHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// The parts of a cell that a bar can fill.
const PARTS: u64 = 8;
/// The maximum width of a bar, in cells.
const WIDEST: usize = 4;

/// The lines within the time of one bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bar {
    lines: u64,
    errors: u64,
}

/// The lines over time, from the first line to now, or to the last line of a log that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Histogram {
    from: Stamp,
    to: Stamp,
    /// Whether `to` is now.
    live: bool,
    /// The time of a bar, in milliseconds.
    pub(super) step: i64,
    bars: Vec<Bar>,
}

/// Returns the time of a bar with which at most `most` bars are needed. The time that was used before stays as long as
/// its bars fit and are not too wide, so that the picture does not jump.
fn step(first: i64, last: i64, most: i64, before: i64) -> i64 {
    let bars = |step: i64| last.div_euclid(step) - first.div_euclid(step) + 1;
    if before > 0 && bars(before) <= most && (bars(before) * WIDEST as i64 >= most || before == 1_000) {
        return before;
    }
    STEPS.into_iter().find(|step| bars(*step) <= most).unwrap_or_else(|| (last - first) / most.max(1) + 1)
}

/// Counts the lines that pass the filter, in at most `cells` bars. Returns `None` without a line that has a time.
pub(super) fn count(view: &LogView, now: Stamp, cells: usize) -> Option<Histogram> {
    let first = view.from(0).find_map(|line| line.at)?;
    let last = view.from(0).rev().find_map(|line| line.at)?;
    let live = view.request.follow && !view.ended && last <= now;
    let last = if live { now } else { last };
    let most = i64::try_from(cells.max(1)).unwrap_or(1);
    let step = step(first.0, last.0, most, view.step);
    let begin = first.0.div_euclid(step);
    let used = usize::try_from(last.0.div_euclid(step) - begin + 1).unwrap_or(1).clamp(1, cells.max(1));
    let mut bars = vec![Bar::default(); used];
    for line in view.from(0).filter(|line| !line.more && !line.mark) {
        let Some(at) = line.at else { continue };
        let index = usize::try_from(at.0.div_euclid(step) - begin).unwrap_or(0);
        if let Some(bar) = bars.get_mut(index) {
            bar.lines += 1;
            bar.errors += u64::from(line.level >= Level::Error);
        }
    }
    Some(Histogram { from: Stamp(begin * step), to: last, live, step, bars })
}

/// Returns the rows of the bars, the highest first, and the axis below them. The bars fill the width, unless there are
/// only a few.
pub(super) fn draw(
    found: &Histogram,
    view: &LogView,
    zone: fn(Stamp) -> i32,
    width: usize,
    rows: usize,
) -> Vec<Vec<Cell>> {
    let cells = width.saturating_sub(2);
    let most = found.bars.iter().map(|bar| bar.lines).max().unwrap_or(0).max(1);
    let whole = rows as u64 * PARTS;
    let height = |count: u64| (count * whole).div_ceil(most);
    let wide = cells.min(found.bars.len() * WIDEST);
    let mut out: Vec<Vec<Cell>> = Vec::new();
    for row in (0..rows as u64).rev() {
        let mut parts: Vec<Cell> = vec![cell(Role::Text, " ".repeat(1 + cells - wide))];
        for at in 0..wide {
            let Some(bar) = found.bars.get(at * found.bars.len() / wide.max(1)) else { continue };
            let filled = height(bar.lines).saturating_sub(row * PARTS).min(PARTS);
            let glyph = usize::try_from(filled).ok().and_then(|at| GLYPHS.get(at)).unwrap_or(&" ");
            let is_error = height(bar.errors) > row * PARTS;
            let role = if is_error { Role::Critical } else { Role::Trend };
            // neighbours of the same colour are one cell
            match parts.last_mut() {
                Some(last) if last.role == role => last.text.push_str(glyph),
                _ => parts.push(cell(role, *glyph)),
            }
        }
        out.push(parts);
    }
    out.push(axis(found, view, zone, cells, most));
    out
}

fn axis(found: &Histogram, view: &LogView, zone: fn(Stamp) -> i32, cells: usize, most: u64) -> Vec<Cell> {
    let clock = |at| clock(at, zone, view.times);
    let (from, to) = (clock(found.from), clock(found.to));
    let to = if found.live { format!("now {to}") } else { to };
    let words = format!(" one bar: {}, up to {}", span(found.step), text::count(most as usize, "line"));
    let errors: u64 = found.bars.iter().map(|bar| bar.errors).sum();
    let errors = match errors {
        0 => String::new(),
        some => format!("; {}", text::count(some as usize, "error")),
    };
    let used = from.len() + to.len() + text::width(&words) + text::width(&errors) + 2;
    vec![
        cell(Role::LogTime, format!(" {from}")),
        cell(Role::Dim, words),
        cell(Role::Critical, errors),
        cell(Role::Border, format!(" {}", "─".repeat(cells.saturating_sub(used)))),
        cell(Role::LogTime, format!(" {to}")),
    ]
}

/// `5 s`, `15 min`.
fn span(millis: i64) -> String {
    match millis {
        ..=59_999 => format!("{} s", millis / 1_000),
        60_000..=3_599_999 => format!("{} min", millis / 60_000),
        _ => format!("{} h", millis / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{ClusterId, Kind, ObjectRef, Uid};

    use super::super::super::super::request::{LogLine, LogRequest, Ticket};
    use super::*;

    fn view(lines: &[(i64, Level)]) -> LogView {
        let object = ObjectRef::new(ClusterId(0), Kind::Pod, &"s".into(), &"p".into(), &Uid::default());
        let request =
            LogRequest { object, within: None, previous: false, follow: true, tail: 10, since: None };
        let mut view = LogView::new(String::new(), Ticket(1), request);
        let line = |(at, level): &(i64, Level)| LogLine {
            at: Some(Stamp(*at)),
            level: *level,
            ..LogLine::default()
        };
        view.add(lines.iter().map(line).collect(), Stamp(0));
        view
    }

    fn at(secs: i64) -> Stamp {
        Stamp(secs * 1_000)
    }

    #[test]
    fn the_right_edge_is_now() {
        let log = view(&[(0, Level::Info), (900, Level::Error), (1_000, Level::Info), (9_999, Level::Warn)]);
        let found = count(&log, at(19), 20).unwrap();
        assert_eq!((found.step, found.bars.len(), found.live), (1_000, 20, true));
        assert_eq!(found.bars.first(), Some(&Bar { lines: 2, errors: 1 }));
        assert_eq!(found.bars.iter().map(|bar| bar.lines).sum::<u64>(), 4);
        assert!(found.bars[10..].iter().all(|bar| *bar == Bar::default()), "no line came");
        // a log that has ended has no now
        let mut ended = log;
        ended.ended = true;
        let found = count(&ended, at(19), 20).unwrap();
        assert_eq!((found.bars.len(), found.to, found.live), (10, Stamp(9_999), false));
        assert_eq!(count(&view(&[]), at(0), 5), None);
        let years = view(&[(0, Level::Info), (86_400_000 * 3650, Level::Info)]);
        assert_eq!(count(&years, at(0), 80).unwrap().bars.iter().map(|bar| bar.lines).sum::<u64>(), 2);
    }

    #[test]
    fn the_time_of_a_bar_changes_only_when_it_must() {
        let mut log = view(&[(0, Level::Info)]);
        let mut steps = Vec::new();
        for secs in 0..1_000 {
            log.step = count(&log, at(secs), 60).unwrap().step;
            if steps.last() != Some(&log.step) {
                steps.push(log.step);
            }
        }
        assert_eq!(steps, [1_000, 2_000, 5_000, 10_000, 15_000, 30_000]);
        // a little less time does not change it back
        assert_eq!(step(0, 590_000, 60, 30_000), 30_000);
        assert_eq!(step(0, 590_000, 60, 0), 10_000);
        // much less does
        assert_eq!(step(0, 59_000, 60, 30_000), 1_000);
    }

    #[test]
    fn the_bars_fill_the_width() {
        let log = view(&[(0, Level::Info), (40_000, Level::Info)]);
        let found = count(&log, at(40), 78).unwrap();
        let rows = draw(&found, &log, |_| 0, 80, 1);
        let widths: Vec<usize> =
            rows.iter().map(|row| row.iter().map(|cell| text::width(&cell.text)).sum()).collect();
        assert_eq!(widths, [79, 79]);
        let bars: String = rows[0].iter().map(|cell| cell.text.as_str()).collect();
        assert!(bars.starts_with(" █") && bars.ends_with('█'), "{bars:?}");
    }

    #[test]
    fn the_lower_part_of_a_bar_are_the_errors() {
        let log = view(&[(0, Level::Info), (1, Level::Info), (2, Level::Info), (3, Level::Error)]);
        let rows = draw(&count(&log, at(0), 78).unwrap(), &log, |_| 0, 80, 2);
        let bar = |row: usize| rows[row].last().map(|cell| (cell.text.clone(), cell.role)).unwrap();
        assert_eq!(bar(0), ("████".into(), Role::Trend));
        assert_eq!(bar(1), ("████".into(), Role::Critical));
        let axis: String = rows[2].iter().map(|cell| cell.text.as_str()).collect();
        assert!(axis.starts_with(" 00:00:00 one bar: 1 s, up to 4 lines; 1 error ─"), "{axis}");
    }
}
