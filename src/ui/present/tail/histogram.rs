//! The number of lines over time, as bars whose lower part are the errors.

use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::time::Stamp;

use super::super::super::app::LogView;
use super::super::super::cell::{Cell, cell};
use super::super::super::theme::Role;
use super::super::super::widget::text;
use super::clock;

/// The times that a bar can stand for, in milliseconds.
const STEPS: [i64; 19] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000,
    1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000,
];
const GLYPHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// The parts of a cell that a bar can fill.
const PARTS: u64 = 8;

/// The lines within the time of one bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bar {
    lines: u64,
    errors: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Histogram {
    from: Stamp,
    /// In milliseconds.
    step: i64,
    bars: Vec<Bar>,
}

/// Counts the lines that pass the filter, in at most `cells` bars. Returns `None` without a line that has a time.
fn count(view: &LogView, cells: usize) -> Option<Histogram> {
    let first = view.from(0).find_map(|line| line.at)?;
    let last = view.from(0).rev().find_map(|line| line.at)?;
    let most = i64::try_from(cells.max(1)).unwrap_or(1);
    let fits = |step: &i64| last.0.div_euclid(*step) - first.0.div_euclid(*step) < most;
    let beyond = || (last.0 - first.0) / most + 1;
    let step = STEPS.into_iter().find(fits).unwrap_or_else(beyond);
    let begin = first.0.div_euclid(step);
    let mut bars = vec![Bar::default(); cells];
    for line in view.from(0).filter(|line| !line.more && !line.mark) {
        let Some(at) = line.at else { continue };
        let index = usize::try_from(at.0.div_euclid(step) - begin).unwrap_or(0);
        if let Some(bar) = bars.get_mut(index) {
            bar.lines += 1;
            bar.errors += u64::from(line.level >= Level::Error);
        }
    }
    let used = usize::try_from(last.0.div_euclid(step) - begin + 1).unwrap_or(cells);
    bars.truncate(used);
    Some(Histogram { from: Stamp(begin * step), step, bars })
}

/// Returns the rows of the bars, the highest first, and the axis below them.
pub(super) fn bars(view: &LogView, zone: fn(Stamp) -> i32, width: usize, rows: usize) -> Vec<Vec<Cell>> {
    let Some(found) = count(view, width.saturating_sub(2)) else { return Vec::new() };
    let most = found.bars.iter().map(|bar| bar.lines).max().unwrap_or(0).max(1);
    let whole = rows as u64 * PARTS;
    let height = |count: u64| (count * whole).div_ceil(most);
    let mut out: Vec<Vec<Cell>> = Vec::new();
    for row in (0..rows as u64).rev() {
        let mut cells: Vec<Cell> = vec![cell(Role::Text, " ")];
        for bar in &found.bars {
            let filled = height(bar.lines).saturating_sub(row * PARTS).min(PARTS);
            let glyph = usize::try_from(filled).ok().and_then(|at| GLYPHS.get(at)).unwrap_or(&" ");
            let is_error = height(bar.errors) > row * PARTS;
            let role = if is_error { Role::Critical } else { Role::Trend };
            // neighbours of the same colour are one cell
            match cells.last_mut() {
                Some(last) if last.role == role => last.text.push_str(glyph),
                _ => cells.push(cell(role, *glyph)),
            }
        }
        out.push(cells);
    }
    out.push(axis(&found, view, zone, width, most));
    out
}

fn axis(found: &Histogram, view: &LogView, zone: fn(Stamp) -> i32, width: usize, most: u64) -> Vec<Cell> {
    let end = Stamp(found.from.0 + found.step * found.bars.len() as i64);
    let (from, to) = (clock(found.from, zone, view.times), clock(end, zone, view.times));
    let words = format!(" each bar {}, at most {} ", span(found.step), text::count(most as usize, "line"));
    let errors: u64 = found.bars.iter().map(|bar| bar.errors).sum();
    let errors = format!("{} ", text::count(errors as usize, "error"));
    let used = from.len() + to.len() + text::width(&words) + text::width(&errors) + 3;
    let line = found.bars.len().max(used).min(width.saturating_sub(2)).saturating_sub(used);
    vec![
        cell(Role::LogTime, format!(" {from}")),
        cell(Role::Dim, words),
        cell(if errors.starts_with("0 ") { Role::Dim } else { Role::Critical }, errors),
        cell(Role::Border, "─".repeat(line)),
        cell(Role::LogTime, format!(" {to}")),
    ]
}

/// `100ms`, `5s`, `15m`.
fn span(millis: i64) -> String {
    match millis {
        ..=999 => format!("{millis}ms"),
        1_000..=59_999 => format!("{}s", millis / 1_000),
        60_000..=3_599_999 => format!("{}m", millis / 60_000),
        _ => format!("{}h", millis / 3_600_000),
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

    #[test]
    fn lines_are_counted_by_steps_that_fit() {
        let log = view(&[(0, Level::Info), (900, Level::Error), (1_000, Level::Info), (9_999, Level::Warn)]);
        let found = count(&log, 10).unwrap();
        assert_eq!((found.step, found.bars.len()), (1_000, 10));
        assert_eq!(found.bars.first(), Some(&Bar { lines: 2, errors: 1 }));
        assert_eq!(found.bars.iter().map(|bar| bar.lines).sum::<u64>(), 4);
        let found = count(&log, 5).unwrap();
        assert_eq!((found.step, found.bars.len()), (2_000, 5));
        assert_eq!(count(&view(&[]), 5), None);
        let years = view(&[(0, Level::Info), (86_400_000 * 3650, Level::Info)]);
        assert_eq!(count(&years, 80).unwrap().bars.iter().map(|bar| bar.lines).sum::<u64>(), 2);
    }

    #[test]
    fn the_lower_part_of_a_bar_are_the_errors() {
        let log = view(&[(0, Level::Info), (1, Level::Info), (2, Level::Info), (3, Level::Error)]);
        let rows = bars(&log, |_| 0, 80, 2);
        let bar = |row: usize| rows[row].last().map(|cell| (cell.text.clone(), cell.role)).unwrap();
        assert_eq!(bar(0), ("█".into(), Role::Trend));
        assert_eq!(bar(1), ("█".into(), Role::Critical));
        let axis: String = rows[2].iter().map(|cell| cell.text.as_str()).collect();
        assert!(axis.contains("each bar 100ms, at most 4 lines") && axis.contains("1 error"), "{axis}");
    }
}
