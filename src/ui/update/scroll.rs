//! Scrolls lists, texts and logs.

use pilothouse_core::domain::log::Level;
use pilothouse_core::facts::world::World;

use super::super::app::{LogView, Screen, TextLine, TextView, Ui};
use super::super::pane;
use super::super::widget::text::{contains_fold, wrap};

/// Moves by rows.
pub fn rows(ui: &mut Ui, world: &World, by: isize) {
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
pub fn page(ui: &mut Ui, world: &World, by: isize) {
    let page = match ui.screen() {
        Screen::Text(view) => view.page,
        Screen::Log(view) => view.page,
        Screen::Panes | Screen::List(_) => ui.active_list().map_or(0, |id| ui.list(id).page),
    };
    let half = isize::try_from((page / 2).max(1)).unwrap_or(1);
    rows(ui, world, by * half);
}

/// Moves to the first or last row.
pub fn ends(ui: &mut Ui, world: &World, bottom: bool) {
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

/// Moves to the next or previous match.
pub fn find(ui: &mut Ui, forward: bool) {
    let found = match ui.screens.last_mut() {
        Some(Screen::Text(view)) if !view.find.is_empty() => {
            // a wrapped line has several rows, so the search counts lines and the view positions them
            let needle = view.find.to_lowercase();
            let at = search(view.lines.len(), line_at(view), forward, |i| {
                view.lines.get(i).is_some_and(|l| contains_fold(&l.text, &needle))
            });
            at.inspect(|at| view.top = row_of(view, *at))
        }
        Some(Screen::Log(view)) if !view.find.is_empty() => {
            let needle = view.find.to_lowercase();
            let hit = |i: usize| view.line(i).is_some_and(|l| contains_fold(&l.text, &needle));
            let at = search(view.len(), Some(view.cursor()), forward, hit);
            at.inspect(|at| view.go(*at))
        }
        _ => return ui.say("nothing to find: / first"),
    };
    if found.is_none() {
        ui.say("no match");
    }
}

/// Moves to the next or previous line of level error or worse.
pub fn error(ui: &mut Ui, forward: bool) {
    let Some(Screen::Log(view)) = ui.screens.last_mut() else { return };
    let hit = |i: usize| view.line(i).is_some_and(|l| l.level >= Level::Error && !l.more);
    match search(view.len(), Some(view.cursor()), forward, hit) {
        Some(at) => view.go(at),
        None => ui.say("no line of level error"),
    }
}

/// Searches from `at` to the end, then continues from the other end.
fn search(len: usize, at: Option<usize>, forward: bool, hit: impl Fn(usize) -> bool) -> Option<usize> {
    let start = at.unwrap_or(0);
    (1..=len)
        .map(|step| if forward { (start + step) % len } else { (start + len - step) % len })
        .find(|i| hit(*i))
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
