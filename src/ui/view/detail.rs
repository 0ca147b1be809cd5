//! The text about the selected row, below its list. It shows as many lines as fit, in two columns if more lines fit
//! that way.

use std::ops::Range;

use ratatui::layout::Rect;

use super::super::app::TextLine;
use super::super::cell::{Cell, ListView, cell};
use super::super::theme::Role;
use super::super::widget::text;
use super::canvas::Canvas;
use super::list::{self, Chrome};
use super::text::rows;

/// The minimum number of lines, with the frame. Fewer lines are not useful.
const LEAST: u16 = 10;
/// A screen with this many lines has room for details below any list.
const HIGH: u16 = 40;
/// The number of lines that the details cede to new rows before they disappear. This keeps them from flickering
/// during a rollout.
const SLACK: u16 = 4;
/// The minimum widths of the first and second column. Fields need few cells, tables need many.
const NARROW: (u16, u16) = (40, 70);
/// The number of cells between two columns.
const GAP: u16 = 3;

/// Returns the height of a list that needs `rows` lines and has details below it, or `None` if the details do not
/// fit. `shown` tells whether the details are already on the screen.
pub(super) fn list_height(height: u16, rows: u16, shown: bool) -> Option<u16> {
    let most = (height + if shown { SLACK } else { 0 }).saturating_sub(LEAST);
    if rows <= most && height > LEAST {
        return Some(rows);
    }
    // details do not hide rows that would all be visible; in a longer list some rows are hidden anyway
    (rows > height && height >= HIGH).then_some(height - height * 2 / 5)
}

/// A column of a text: the rows that fit, and the number of lines that do not.
#[derive(Default)]
struct Part {
    x: u16,
    rows: Vec<(Role, String)>,
    /// The number of lines that are completely visible.
    whole: usize,
    left_out: usize,
}

/// Draws the details with their title. `reads` names the key that shows the whole text.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    area: Rect,
    chrome: Chrome,
    title: &str,
    lines: &[TextLine],
    reads: &str,
) {
    let inner = list::inside(area, chrome);
    let parts = parts(lines, inner.width.saturating_sub(2), usize::from(inner.height));
    let more: usize = parts.iter().map(|p| p.left_out).sum();
    let mut footer: Vec<Cell> = Vec::new();
    if more > 0 {
        footer = vec![cell(Role::Info, format!("+{}", text::count(more, "line"))), cell(Role::Key, reads)];
    }
    let view = ListView { title: title.to_owned(), footer, ..ListView::default() };
    list::draw(canvas, area, &view, chrome, false);
    for part in parts {
        for (y, (role, line)) in (inner.y..inner.bottom()).zip(part.rows) {
            let x = inner.x + 1 + part.x;
            canvas.put(x, y, inner.right().saturating_sub(x), role, &line);
        }
    }
}

/// Divides a text into one column, or into two if that shows more lines.
fn parts(lines: &[TextLine], width: u16, height: usize) -> Vec<Part> {
    let one = fill(lines, 0..lines.len(), 0, width, height);
    if one.left_out == 0 && one.whole == lines.len() {
        return vec![one];
    }
    let heads = lines.iter().enumerate().skip(1).filter(|(_, l)| l.role == Role::Title).map(|(i, _)| i);
    let mut best = vec![one];
    for at in heads {
        // the width grows in steps, so that an age with one more digit does not move the second column
        let left = natural(lines.get(..at).unwrap_or_default()).next_multiple_of(8);
        let left = left.clamp(NARROW.0, (width / 2).max(NARROW.0));
        let Some(right) = width.checked_sub(left + GAP).filter(|right| *right >= NARROW.1) else { continue };
        let first = fill(lines, 0..at, 0, left, height);
        if first.left_out > 0 {
            // the order of the lines is kept
            break;
        }
        let two = vec![first, fill(lines, at..lines.len(), left + GAP, right, height)];
        let read = |parts: &[Part]| parts.iter().map(|p| p.whole).sum::<usize>();
        if read(&two) > read(&best) {
            best = two;
        }
    }
    best
}

/// Returns the width of the longest line.
fn natural(lines: &[TextLine]) -> u16 {
    let longest = lines.iter().map(|l| text::width(&l.text)).max().unwrap_or(0);
    u16::try_from(longest).unwrap_or(u16::MAX)
}

/// Fits as many lines as possible into a column.
fn fill(lines: &[TextLine], of: Range<usize>, x: u16, width: u16, height: usize) -> Part {
    let lines = lines.get(of).unwrap_or_default();
    let blank = lines.iter().take_while(|l| l.text.trim().is_empty()).count();
    let cells = usize::from(width);
    let mut part = Part { x, ..Part::default() };
    for (i, line) in lines.iter().enumerate().skip(blank) {
        if part.rows.len() >= height {
            part.left_out = lines.len() - i;
            break;
        }
        let own = rows(std::slice::from_ref(line), cells, true);
        let cut = part.rows.len() + own.len() > height || (line.whole && text::width(&line.text) > cells);
        part.whole += usize::from(!cut);
        part.rows.extend(own.into_iter().map(|(role, line)| (role, text::head(&line, cells))));
    }
    part.whole += blank;
    part.rows.truncate(height);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(role: Role, text: &str) -> TextLine {
        TextLine::new(role, text)
    }

    fn text_of(blocks: &[usize]) -> Vec<TextLine> {
        let mut lines = Vec::new();
        for (b, n) in blocks.iter().enumerate() {
            lines.push(line(Role::Title, &format!("head {b}")));
            lines.extend((0..*n).map(|i| line(Role::Text, &format!("line {b} {i}"))));
        }
        lines
    }

    #[test]
    fn a_list_keeps_its_rows_and_details_come_where_there_is_room() {
        assert_eq!(list_height(47, 17, false), Some(17), "what it does not need goes to the details");
        assert_eq!(list_height(47, 150, false), Some(29), "a high screen has room for both");
        assert_eq!(list_height(21, 14, false), None, "80x24");
        assert_eq!(list_height(21, 7, false), Some(7));
        assert_eq!(list_height(8, 3, false), None);
        assert_eq!(list_height(57, 34, false), Some(34), "no row is hidden that could be seen");
        assert_eq!(list_height(57, 50, false), None);
        // one more row does not hide the details
        assert_eq!(list_height(21, 12, false), None);
        assert_eq!(list_height(21, 12, true), Some(12));
    }

    #[test]
    fn a_text_takes_a_second_column_where_that_reads_more() {
        let lines = text_of(&[4, 4, 4]);
        assert_eq!(parts(&lines, 100, 20).len(), 1, "it fits");
        let two = parts(&lines, 130, 10);
        let rows: Vec<usize> = two.iter().map(|p| p.rows.len()).collect();
        assert_eq!(rows, [5, 10], "all of it can be read");
        let narrow = parts(&lines, 100, 10);
        assert_eq!((narrow.len(), narrow.iter().map(|p| p.left_out).sum::<usize>()), (1, 5));
    }

    #[test]
    fn a_row_of_a_table_is_not_cut_for_a_second_column() {
        let mut lines = text_of(&[4, 0]);
        lines.extend((0..8).map(|_| TextLine { whole: true, ..line(Role::Text, &"x".repeat(80)) }));
        assert_eq!(parts(&lines, 120, 10).len(), 1);
        assert_eq!(parts(&lines, 140, 10).len(), 2);
    }

    #[test]
    fn nothing_is_left_out_between_two_columns() {
        let two = parts(&text_of(&[4, 20, 2]), 140, 10);
        assert_eq!(two.iter().map(|p| p.left_out).collect::<Vec<_>>(), [0, 14]);
    }
}
