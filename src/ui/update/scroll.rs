//! Scrolls lists, texts and logs.

use std::cmp::Ordering;

use pilothouse_core::domain::log::Level;
use pilothouse_core::facts::world::World;

use super::super::app::{LogView, Screen, TextLine, TextView, Ui};
use super::super::pane;
use super::super::widget::text::{contains_fold, grouped, wrap};

/// Moves by rows.
pub(super) fn rows(ui: &mut Ui, world: &World, by: isize) {
    if let Some(id) = ui.active_list() {
        let mut list = ui.take_list(id);
        list.step(by, |row| pane::key(ui, world, id, row));
        ui.put_list(id, list);
        return;
    }
    match ui.screens.last_mut() {
        Some(Screen::Text(view)) => text(view, by),
        Some(Screen::Log(view)) => log(view, by),
        _ => {}
    }
}

/// Moves in a text by one row. If the text has objects, the selection moves to the next visible object. If no object
/// is visible, the text scrolls.
fn text(view: &mut TextView, by: isize) {
    if by.abs() == 1
        && let Some(next) = next_object(view, by > 0)
    {
        let row = row_of(view, next);
        let end = view.lines.get(next).map_or(row, |line| row + height(view, line));
        if row >= view.top && end <= view.top + view.page {
            view.chosen = view.lines.get(next).and_then(|l| l.object.clone()).map(|object| (next, object));
            return;
        }
    }
    let before = view.top;
    let last = view.rows.saturating_sub(view.page);
    view.top = view.top.saturating_add_signed(by).min(last);
    let out_of_sight = view.chosen_line().is_none_or(|line| {
        let row = row_of(view, line);
        row < view.top || row >= view.top + view.page
    });
    // at an end the text cannot scroll; at the top no object is selected, so that keys apply to the text as a whole
    if out_of_sight || (by < 0 && view.top == before) {
        view.chosen = None;
    }
}

/// Returns the next line that is about an object. If no line is selected, returns the first or last visible one.
fn next_object(view: &TextView, forward: bool) -> Option<usize> {
    let about = |i: &usize| view.lines.get(*i).is_some_and(|l| l.object.is_some());
    match (view.chosen_line(), forward) {
        (Some(at), true) => (at + 1..view.lines.len()).find(about),
        (Some(at), false) => (0..at).rev().find(about),
        (None, true) => (line_at(view).unwrap_or(0)..view.lines.len()).find(about),
        (None, false) => None,
    }
}

/// Moves the cursor in a log. By more than a row, the visible lines move too.
fn log(view: &mut LogView, by: isize) {
    if view.follow && by > 0 {
        return;
    }
    view.stop();
    let last = view.len().saturating_sub(1);
    view.at = view.at.saturating_add_signed(by).min(last);
    if by.abs() > 1 {
        view.top = view.top.saturating_add_signed(by).min(last);
    }
}

/// Moves by half a page.
pub(super) fn page(ui: &mut Ui, world: &World, by: isize) {
    let page = match ui.screen() {
        Screen::Text(view) => view.page,
        Screen::Log(view) => view.page,
        Screen::Plots(_) => 0,
        Screen::Panes | Screen::List(_) => ui.active_list().map_or(0, |id| ui.list(id).page),
    };
    let half = isize::try_from((page / 2).max(1)).unwrap_or(1);
    rows(ui, world, by * half);
}

/// Moves to the first or last row.
pub(super) fn ends(ui: &mut Ui, world: &World, bottom: bool) {
    let now = ui.now;
    if let Some(id) = ui.active_list() {
        let mut list = ui.take_list(id);
        let at = if bottom { list.ids.len().saturating_sub(1) } else { 0 };
        list.go(at, |row| pane::key(ui, world, id, row));
        ui.put_list(id, list);
        return;
    }
    match ui.screens.last_mut() {
        Some(Screen::Text(view)) => view.top = if bottom { view.rows.saturating_sub(view.page) } else { 0 },
        Some(Screen::Log(view)) => {
            if bottom {
                view.resume(now);
            } else {
                view.go(0);
                view.top = 0;
            }
        }
        _ => {}
    }
}

/// Which match of a search to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// The cursor's own line, or the nearest above it.
    Nearest,
    Next,
    Previous,
}

impl To {
    /// While a log is followed, its newest lines are what the user looks at: the newest match is both the next and the
    /// previous one.
    fn seen_from(self, log: &LogView) -> Self {
        if log.follow { Self::Nearest } else { self }
    }
}

/// Moves to a match of the search.
pub(super) fn find(ui: &mut Ui, to: To) {
    let found = match ui.screens.last_mut() {
        Some(Screen::Text(view)) if !view.find.is_empty() => {
            // a wrapped line has several rows, so the search counts lines and the view positions them
            let needle = view.find.to_lowercase();
            let found = search(view.lines.len(), line_at(view).unwrap_or(0), to, |i| {
                view.lines.get(i).is_some_and(|l| contains_fold(&l.text, &needle))
            });
            found.inspect(|found| view.top = row_of(view, found.at))
        }
        Some(Screen::Log(view)) if !view.find.is_empty() => {
            let needle = view.find.to_lowercase();
            let hit = |i: usize| view.line(i).is_some_and(|l| contains_fold(&l.text, &needle));
            let found = search(view.len(), view.cursor(), to.seen_from(view), hit);
            found.inspect(|found| view.go(found.at))
        }
        _ => return ui.say("nothing to find: / first"),
    };
    ui.say(found.map_or_else(|| "no match".to_owned(), |found| found.words("match")));
}

/// Moves to a line of level error or worse.
pub(super) fn error(ui: &mut Ui, to: To) {
    let Some(Screen::Log(view)) = ui.screens.last_mut() else { return };
    let hit = |i: usize| view.line(i).is_some_and(|l| l.level >= Level::Error && !l.more && !l.mark);
    let found = search(view.len(), view.cursor(), to.seen_from(view), hit);
    if let Some(found) = &found {
        view.go(found.at);
    }
    ui.say(found.map_or_else(|| "no line of level error".to_owned(), |found| found.words("error")));
}

/// The match that a search goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    at: usize,
    /// Its number among all matches, from 1, and their number.
    number: usize,
    of: usize,
    /// Whether the search passed the first or the last match, and which of them it continued from.
    wrapped: Option<&'static str>,
}

impl Found {
    /// `match 3 of 1,515`.
    fn words(&self, noun: &str) -> String {
        let end = self.wrapped.map_or_else(String::new, |end| format!(", again from the {end}"));
        format!("{noun} {} of {}{end}", grouped(self.number as u64), grouped(self.of as u64))
    }
}

/// Searches from the line `cursor`. Beyond the last or the first match, it continues from the other end.
fn search(len: usize, cursor: usize, to: To, hit: impl Fn(usize) -> bool) -> Option<Found> {
    let (mut of, mut before, mut on) = (0, 0, false);
    let (mut first, mut previous, mut next, mut last) = (None, None, None, None);
    for at in (0..len).filter(|at| hit(*at)) {
        of += 1;
        first = first.or(Some((at, of)));
        last = Some((at, of));
        match at.cmp(&cursor) {
            Ordering::Less => (previous, before) = (last, of),
            Ordering::Equal => on = true,
            Ordering::Greater => next = next.or(last),
        }
    }
    let here = on.then_some((cursor, before + 1));
    let (found, end, other) = match to {
        To::Nearest => (here.or(previous), last, "end"),
        To::Previous => (previous, last, "end"),
        To::Next => (next, first, "top"),
    };
    let wrapped = if found.is_none() { Some(other) } else { None };
    found.or(end).map(|(at, number)| Found { at, number, of, wrapped })
}

fn line_at(view: &TextView) -> Option<usize> {
    let mut row = 0;
    view.lines.iter().position(|line| {
        let here = row >= view.top;
        row += height(view, line);
        here
    })
}

fn row_of(view: &TextView, line: usize) -> usize {
    view.lines.iter().take(line).map(|l| height(view, l)).sum()
}

fn height(view: &TextView, line: &TextLine) -> usize {
    if view.wrap && view.columns > 0 && !line.whole { wrap(&line.text, view.columns).len() } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_relative_to_the_cursor_and_says_when_it_wraps() {
        let words = |cursor, to| {
            let found = search(10, cursor, to, |i| matches!(i, 2 | 5 | 8))?;
            Some((found.at, found.words("match")))
        };
        for (cursor, to, at, said) in [
            (9, To::Nearest, 8, "match 3 of 3"),
            (8, To::Nearest, 8, "match 3 of 3"),
            (7, To::Nearest, 5, "match 2 of 3"),
            (1, To::Nearest, 8, "match 3 of 3, again from the end"),
            (5, To::Previous, 2, "match 1 of 3"),
            (2, To::Previous, 8, "match 3 of 3, again from the end"),
            (5, To::Next, 8, "match 3 of 3"),
            (6, To::Next, 8, "match 3 of 3"),
            (8, To::Next, 2, "match 1 of 3, again from the top"),
        ] {
            assert_eq!(words(cursor, to), Some((at, said.to_owned())), "{cursor} {to:?}");
        }
        assert_eq!(search(10, 0, To::Next, |_| false), None);
        assert_eq!(search(0, 0, To::Nearest, |_| true), None);
        let one = search(3, 1, To::Next, |i| i == 1).unwrap();
        assert_eq!((one.at, one.wrapped), (1, Some("top")));
    }
}
