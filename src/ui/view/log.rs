//! Draws a log: its end while it is followed, otherwise from its first visible line.

use pilothouse_core::domain::log::Level;
use ratatui::layout::Rect;

use super::super::app::{LogView, SeenText};
use super::super::cell::{Cell, ListView, cell};
use super::super::request::LogLine;
use super::super::theme::Role;
use super::super::widget::text::{self, grouped};
use super::canvas::Canvas;
use super::list::{self, Chrome};

fn role(level: Level) -> Role {
    match level {
        Level::Fatal | Level::Error => Role::Critical,
        Level::Warn => Role::Warning,
        Level::Info => Role::Text,
        Level::Debug | Level::Trace => Role::Dim,
    }
}

/// Draws the log. Returns the sizes.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, view: &LogView) -> SeenText {
    let inner =
        Rect::new(area.x + 1, area.y + 1, area.width.saturating_sub(2), area.height.saturating_sub(2));
    let below = notes(view, inner);
    let page = usize::from(inner.height) - below.len();
    let last = view.lines.len().saturating_sub(1);
    let top = if view.follow { last_page(view, inner.width, page) } else { view.top }.min(last);
    let seen = SeenText { page, top, ..SeenText::default() };
    let mut notes: Vec<Cell> = vec![cell(Role::Dim, format!("{} lines", grouped(view.lines.len() as u64)))];
    if view.dropped > 0 {
        notes.push(cell(Role::Warning, format!("{} older ones dropped", grouped(view.dropped))));
    }
    notes.push(match (view.ended, view.follow) {
        (true, _) => cell(Role::Stale, "ended"),
        (false, true) => cell(Role::Ok, "following"),
        (false, false) => cell(Role::Info, format!("line {}; f follows", top + 1)),
    });
    if !view.find.is_empty() {
        notes.push(cell(Role::Match, format!("/{}", view.find)));
    }
    let empty = vec![cell(Role::Dim, if view.ended { "no lines" } else { "waiting for lines …" })];
    let chrome = ListView { title: view.title.clone(), notes, focused: true, empty, ..ListView::default() };
    list::draw(canvas, area, &ListView { rows: Vec::new(), ..chrome.clone() }, Chrome::Frame, false);
    if view.lines.is_empty() && below.is_empty() {
        return seen;
    }
    canvas.clear(inner);
    let height = inner.height.saturating_sub(u16::try_from(below.len()).unwrap_or(0));
    let end = lines(canvas, Rect { height, ..inner }, view, top);
    for (y, words) in (end..inner.bottom()).zip(&below) {
        canvas.put(inner.x + 1, y, inner.width.saturating_sub(1), Role::Warning, words);
    }
    seen
}

/// Draws the lines that fit. Returns the next row.
fn lines(canvas: &mut Canvas<'_>, inner: Rect, view: &LogView, top: usize) -> u16 {
    let needle = view.find.to_lowercase();
    let mut y = inner.y;
    for line in view.lines.iter().skip(top) {
        let mut x = inner.x;
        if y >= inner.bottom() {
            break;
        }
        if !needle.is_empty() && text::contains_fold(&line.text, &needle) {
            canvas.put(x, y, 1, Role::Match, ">");
        }
        x += 1;
        let (time, source) = prefix(view, line);
        if !time.is_empty() {
            x = canvas.put(x, y, inner.right().saturating_sub(x), Role::LogTime, &time) + 1;
        }
        if !source.is_empty() {
            x = canvas.put(x, y, inner.right().saturating_sub(x), Role::LogSource, &source) + 1;
        }
        let room = inner.right().saturating_sub(x);
        if view.wrap {
            for part in text::wrap(&line.text, usize::from(room.max(8))) {
                if y >= inner.bottom() {
                    break;
                }
                canvas.put(x, y, room, role(line.level), &part);
                y += 1;
            }
        } else {
            canvas.put(x, y, room, role(line.level), &line.text);
            y += 1;
        }
    }
    y
}

fn prefix(view: &LogView, line: &LogLine) -> (String, String) {
    let time = if view.times {
        line.at.map_or_else(|| "--:--:--".into(), pilothouse_core::domain::time::Stamp::clock_secs)
    } else {
        String::new()
    };
    let mut source = String::new();
    for (shown, name, cells) in
        [(view.several_pods, &line.pod, 14), (view.several_containers, &line.container, 10)]
    {
        if shown {
            let name = text::tail(name, cells);
            source.push_str(if source.is_empty() { "" } else { " " });
            source.push_str(&name);
            source.push_str(&" ".repeat(cells.saturating_sub(text::width(&name))));
        }
    }
    (time, source)
}

/// Returns the wrapped notes. They take at most a third of the rows, or all rows if the log has no lines.
fn notes(view: &LogView, inner: Rect) -> Vec<String> {
    let cells = usize::from(inner.width.saturating_sub(2)).max(8);
    let rows = usize::from(inner.height);
    let most = if view.lines.is_empty() { rows } else { rows / 3 };
    let mut out: Vec<String> = Vec::new();
    for (i, note) in view.notes.iter().enumerate() {
        let name = if note.container.is_empty() || !view.several_containers {
            note.pod.to_string()
        } else {
            format!("{}/{}", note.pod, note.container)
        };
        let part = text::wrap(&format!("! {name}: {}", note.words), cells);
        let left = view.notes.len() - i;
        if out.len() + part.len() + usize::from(left > 1) > most {
            if out.len() < most {
                out.push(format!("! {left} more containers have no lines, or ended"));
            }
            break;
        }
        out.extend(part);
    }
    out.truncate(most);
    out
}

/// Returns the first line of the last page.
fn last_page(view: &LogView, width: u16, page: usize) -> usize {
    if !view.wrap {
        return view.lines.len().saturating_sub(page);
    }
    let mut left = page;
    let mut at = view.lines.len();
    for line in view.lines.iter().rev() {
        let (time, source) = prefix(view, line);
        let lost = text::width(&time) + text::width(&source) + 3;
        let rows = text::wrap(&line.text, usize::from(width).saturating_sub(lost).max(8)).len();
        if rows > left {
            break;
        }
        left -= rows;
        at -= 1;
    }
    at.min(view.lines.len().saturating_sub(1))
}
