//! Handles the mouse. A click selects, focuses, or presses a key of the key bar. The wheel scrolls. Over a dialog the
//! mouse only scrolls, so that it never confirms, answers or types anything.

use pilothouse_core::facts::world::World;

use super::super::app::{Prompt, Screen, Ui};
use super::super::mouse::{Gesture, Mouse, Spot, at};
use super::super::pane;
use super::super::request::Effect;
use super::{clusters, dialog, keys, logs, prompt, scroll, sheet};

/// The number of rows that one notch of the wheel scrolls.
const NOTCH: isize = 3;

/// Handles a mouse event.
pub(super) fn take(ui: &mut Ui, world: &World, mouse: Mouse, effects: &mut Vec<Effect>) {
    ui.touched = true;
    let by = match mouse.gesture {
        Gesture::Click => None,
        Gesture::WheelUp => Some(-NOTCH),
        Gesture::WheelDown => Some(NOTCH),
    };
    if ui.dialog.is_some() || ui.question.is_some() {
        match by {
            Some(by) => dialog::scroll(ui, by),
            None => dialog::note(ui, "a click does not confirm: use the keys"),
        }
        return;
    }
    if ui.sheet.is_some() {
        return sheet::scroll(ui, by.unwrap_or(0));
    }
    if ui.prompt.is_some() {
        if let (Some(by), Some(Prompt::Palette { .. })) = (by, &ui.prompt) {
            prompt::choose(ui, by.signum());
        } else if let Some(by) = by {
            logs::choose(ui, by.signum());
        }
        return;
    }
    let spot = at(&ui.spots, mouse.x, mouse.y);
    match (by, spot) {
        (Some(by), Some(Spot::List(id) | Spot::Row(id, _))) => {
            let mut list = ui.take_list(id);
            list.step(by, |row| pane::key(ui, world, id, row));
            ui.put_list(id, list);
        }
        (Some(by), _) => {
            if matches!(ui.screen(), Screen::Text(_) | Screen::Log(_)) {
                scroll::rows(ui, world, by);
            }
        }
        (None, Some(Spot::Key(key))) => keys::press(ui, world, key, effects),
        (None, Some(Spot::Clusters)) => {
            ui.note = None;
            clusters::list(ui, world, effects);
        }
        (None, Some(Spot::List(id))) => focus(ui, id),
        (None, Some(Spot::Row(id, row))) => {
            focus(ui, id);
            let mut list = ui.take_list(id);
            list.go(row, |row| pane::key(ui, world, id, row));
            ui.put_list(id, list);
        }
        (None, None) => {}
    }
}

fn focus(ui: &mut Ui, id: super::super::list::ListId) {
    if matches!(ui.screen(), Screen::Panes) {
        ui.focuses(id);
    }
}
