//! Moving in lists, texts and logs.

use pilothouse_core::domain::log::Level;
use pilothouse_core::model::world::World;

use super::super::app::{LogView, Screen, TextLine, TextView, Ui};
use super::super::present;
use super::super::widget::text::{contains_fold, wrap};

/// By rows.
pub fn rows(ui: &mut Ui, world: &World, by: isize) {
    if let Some(id) = ui.active_list() {
        let mut list = ui.take_list(id);
        list.step(by, |row| present::lists::key(ui, world, id, row));
        ui.put_list(id, list);
        return;
    }
    match ui.screens.last_mut() {
        Some(Screen::Text(view)) => text(view, by),
        Some(Screen::Log(view)) => log(view, by),
        _ => {}
    }
}

fn text(view: &mut TextView, by: isize) {
    let last = view.rows.saturating_sub(view.page);
    view.top = view.top.saturating_add_signed(by).min(last);
}

fn log(view: &mut LogView, by: isize) {
    let last = view.lines.len().saturating_sub(1);
    view.top = view.top.saturating_add_signed(by).min(last);
    if by < 0 {
        view.follow = false;
    }
}

/// By half a page.
pub fn page(ui: &mut Ui, world: &World, by: isize) {
    let page = match ui.screen() {
        Screen::Text(view) => view.page,
        Screen::Log(view) => view.page,
        Screen::Panes | Screen::List(_) => ui.active_list().map_or(0, |id| ui.list(id).page),
    };
    let half = isize::try_from((page / 2).max(1)).unwrap_or(1);
    rows(ui, world, by * half);
}

/// To the first or the last row.
pub fn ends(ui: &mut Ui, world: &World, bottom: bool) {
    if let Some(id) = ui.active_list() {
        let mut list = ui.take_list(id);
        let at = if bottom { list.ids.len().saturating_sub(1) } else { 0 };
        list.go(at, |row| present::lists::key(ui, world, id, row));
        ui.put_list(id, list);
        return;
    }
    match ui.screens.last_mut() {
        Some(Screen::Text(view)) => view.top = if bottom { view.rows.saturating_sub(view.page) } else { 0 },
        Some(Screen::Log(view)) => {
            view.follow = bottom;
            view.top = if bottom { view.lines.len().saturating_sub(1) } else { 0 };
        }
        _ => {}
    }
}

/// To the next or previous match.
pub fn find(ui: &mut Ui, forward: bool) {
    let found = match ui.screens.last_mut() {
        Some(Screen::Text(view)) if !view.find.is_empty() => {
            // wrapped rows are more than lines: go by lines and let the view place them
            let needle = view.find.to_lowercase();
            let at = search(view.lines.len(), line_at(view), forward, |i| {
                view.lines.get(i).is_some_and(|l| contains_fold(&l.text, &needle))
            });
            at.inspect(|at| view.top = row_of(view, *at))
        }
        Some(Screen::Log(view)) if !view.find.is_empty() => {
            let needle = view.find.to_lowercase();
            let hit = |i: usize| view.lines.get(i).is_some_and(|l| contains_fold(&l.text, &needle));
            let at = search(view.lines.len(), Some(view.top), forward, hit);
            at.inspect(|at| {
                view.top = *at;
                view.follow = false;
            })
        }
        _ => return ui.say("nothing to find: / first"),
    };
    if found.is_none() {
        ui.say("no match");
    }
}

/// To the next or previous line of level error or worse.
pub fn error(ui: &mut Ui, forward: bool) {
    let Some(Screen::Log(view)) = ui.screens.last_mut() else { return };
    let hit = |i: usize| view.lines.get(i).is_some_and(|l| l.level >= Level::Error && !l.more);
    match search(view.lines.len(), Some(view.top), forward, hit) {
        Some(at) => {
            view.top = at;
            view.follow = false;
        }
        None => ui.say("no line of level error"),
    }
}

/// From `at` on, then from the other end.
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
