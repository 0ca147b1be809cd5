//! Updates what the screen draws from the shared state ([`World`]): the rows and the selection of each visible list,
//! the lines of the open text if it shows live data, and the details of the selected row. No other module does this.

use pilothouse_core::domain::id::Uid;
use pilothouse_core::facts::world::World;

use super::super::app::{Screen, TextLine, TextSource, Ui};
use super::super::list::{ListId, Spec};
use super::super::pane::{self, Reads, Shown};
use super::super::present;
use super::super::theme::Role;

/// How often the details are rebuilt. They are also rebuilt when another row is selected. The interval exists because
/// some details search all pods.
const EVERY_MS: u64 = 1_000;

/// What is said of a key that acts, if the row that it was pressed for is gone.
pub(super) const GONE: &str = "the selected row is gone: look again";

/// Updates everything on the screen, so that keys apply to what is drawn.
pub fn on_screen(ui: &mut Ui, world: &World) {
    super::sheet::refresh(ui, world);
    match ui.screen() {
        Screen::Panes if !ui.zoom => {
            for pane in pane::on_first_screen() {
                refresh(ui, world, pane.id, ui.focus == pane.id);
            }
        }
        Screen::Panes | Screen::List(_) => {
            let Some(id) = ui.active_list() else { return };
            refresh(ui, world, id, true);
            let wanted = !ui.details.off || matches!(ui.screen(), Screen::Panes);
            if wanted && pane::of(id).reads != Reads::Nothing {
                details(ui, world, id);
            }
        }
        Screen::Text(_) => text(ui, world),
        Screen::Log(_) | Screen::Plots(_) => {}
    }
}

/// Updates the rows and the selection of a list from the shared state.
pub fn refresh(ui: &mut Ui, world: &World, id: ListId, focused: bool) {
    let Some(cluster) = ui.shown(world).cloned() else { return };
    let pane = pane::of(id);
    let mut list = ui.take_list(id);
    let mut spec = Spec {
        filter: list.filter.clone(),
        order: list.order,
        reverse: list.reverse,
        namespace: ui.namespace.clone(),
        ..Spec::default()
    };
    (pane.refresh)(ui, world, &cluster, &mut spec, &mut list);
    let shown = Shown { ui, world, cluster: &cluster };
    list.ids = match pane.grade {
        Some(grade) => {
            let row = |row| Some(((pane.key)(&shown, row)?, grade(&shown, row)? as u8));
            list.held.place(&list.sorted, &spec, ui.clock_ms, row)
        }
        None => list.sorted.clone(),
    };
    // before the first key the user has not chosen a row, so the worst row is selected, even if it appears later
    let lost = list.settle(focused && ui.touched, |row| (pane.key)(&shown, row));
    list.unshown |= lost.is_some();
    list.narrowed = Some((list.filter.clone(), ui.namespace.clone()));
    ui.put_list(id, list);
    if lost.is_some() && focused {
        ui.say("the selected row is gone; the selection moved to its neighbour");
    }
}

/// Prepares the selection for a key that acts on it, and returns whether there is one. The key is for the row that was
/// drawn as selected, so the rows stay as they are. Only a filter that was typed directly before has not been drawn yet,
/// and the key is for the rows that it leaves, but not for one in the place of a row that the user chose.
pub(super) fn choose(ui: &mut Ui, world: &World) -> bool {
    let Some(id) = ui.active_list() else { return true };
    let list = ui.list(id);
    let anew = match &list.narrowed {
        Some((filter, namespace)) => *filter != list.filter || *namespace != ui.namespace,
        None => !list.filter.is_empty(),
    };
    if anew {
        refresh(ui, world, id, true);
    }
    is_shown(ui, id)
}

/// Returns whether a row of the list can be acted on: not if it took the place of one that is gone and was not drawn yet.
pub(super) fn is_shown(ui: &mut Ui, id: ListId) -> bool {
    let unshown = ui.list(id).unshown;
    if unshown {
        ui.say(GONE);
    }
    !unshown
}

/// Whether all that is marked or selected in the active list is gone since it was drawn.
pub(super) fn is_gone(ui: &Ui, world: &World) -> bool {
    let Some(id) = ui.active_list() else { return false };
    let list = ui.list(id);
    let marks = list.marks.iter().collect::<Vec<_>>();
    let chosen = if marks.is_empty() { list.chosen().into_iter().collect() } else { marks };
    let is_row = |uid: &Uid| list.ids.iter().any(|row| pane::key(ui, world, id, *row).as_ref() == Some(uid));
    let is_here = |uid: &Uid| pane::object(ui, world, id, uid).is_some() || is_row(uid);
    !chosen.is_empty() && !chosen.into_iter().any(is_here)
}

/// Updates the lines of the open text from the shared state.
fn text(ui: &mut Ui, world: &World) {
    let source = match ui.screen() {
        Screen::Text(view) => view.source.clone(),
        _ => return,
    };
    let lines = present::texts::lines(ui, world, &source);
    let Some(Screen::Text(view)) = ui.screens.last_mut() else { return };
    match lines {
        Some(lines) => {
            view.lines = lines;
            view.lines.extend(view.below.lines.iter().cloned());
        }
        None if view.lines.is_empty() => view.lines.push(TextLine::new(Role::Dim, "it is gone")),
        None => {}
    }
}

/// Updates the details from the selected row and the World.
fn details(ui: &mut Ui, world: &World, id: ListId) {
    let (title, of) = match present::details::source(ui, world, id) {
        Some((title, of)) => (title, Some(of)),
        None => (String::new(), None),
    };
    let now = ui.clock_ms;
    let fresh = ui.details.made.is_some_and(|at| now.saturating_sub(at) < EVERY_MS);
    if fresh && ui.details.of == of {
        return;
    }
    let mut lines = of.as_ref().and_then(|of| present::texts::lines(ui, world, of)).unwrap_or_default();
    if let Some(TextSource::ErrorGroup(fingerprint)) = &of
        && *fingerprint == ui.details.below_of
    {
        lines.extend(ui.details.below.lines.iter().cloned());
    }
    let details = &mut ui.details;
    (details.title, details.of, details.lines, details.made) = (title, of, lines, Some(now));
}
