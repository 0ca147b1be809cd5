//! Updates what the screen draws from the shared state ([`World`]): the rows and the selection of each visible list,
//! the lines of the open text if it shows live data, and the details of the selected row. No other module does this.

use pilothouse_core::domain::id::Uid;
use pilothouse_core::facts::world::World;

use super::super::app::{Screen, TextLine, TextSource, Ui};
use super::super::command::Cmd;
use super::super::list::{DrawnRows, Filter, Known, ListId, Spec};
use super::super::pane::{self, Reads, Shown, causes};
use super::super::present;
use super::super::targets;
use super::super::theme::Role;
use super::unfit;

/// How often the details are rebuilt. They are also rebuilt when another row is selected. The interval exists because
/// some details search all pods.
const EVERY_MS: u64 = 1_000;

/// What is said of a key that acts, if the row that it was pressed for is gone.
const GONE: &str = "nothing was done: the selected row is gone";
/// The same if the filter or the namespace hides all rows.
const HIDDEN: &str = "nothing was done: the filter or the namespace hides the selected row";
/// The same if all rows are gone that are marked.
const MARKED_GONE: &str = "nothing was done: the marked rows are gone";
/// What is said of a key that acts, if the terminal has not shown what it would act on.
const UNDRAWN: &str = "nothing was done: the selected row was not on the screen yet";
/// The same for an object whose text is open.
const UNREAD: &str = "nothing was done: the text was not on the screen yet";
/// What is said of a key that acts, if it was pressed when the selection had just moved by itself.
const MOVED: &str = "nothing was done: the selection has just moved to another row";

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
    let before = list.selected.clone();
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
    let narrowed = Some((list.filter.clone(), ui.namespace.clone()));
    let moved_by_itself = before.is_some() && list.selected != before && list.narrowed == narrowed;
    // when a list gets the focus, its user looks at what is selected
    if focused && moved_by_itself {
        list.known.leaves();
    }
    let is_filtered_anew =
        !list.filter.is_empty() && list.narrowed.as_ref().is_some_and(|(filter, _)| *filter != list.filter);
    if is_filtered_anew
        && !list.moved
        && !list.known.is_undrawn()
        && let Some(first) = list.chosen().cloned()
    {
        // who types a filter knows which rows it leaves
        list.known.chooses(first);
    }
    (list.narrowed, list.keys) = (narrowed, DrawnRows::default());
    ui.put_list(id, list);
    // a message that a key did nothing because of this says the same and more
    if lost.is_some() && focused && ui.note.as_ref().is_none_or(|(note, _)| note != GONE) {
        ui.say("the selected row is gone; the selection moved to its neighbour");
    }
}

/// Whether a key may act. If not, says why. A key acts only on the row that the terminal has shown as selected, so the rows are not
/// updated here. If the filter or the namespace was changed since the last frame, the rows are updated first. After a new filter,
/// the key acts on the first row that is left, unless the user had chosen another row. After a new namespace, it acts only if the
/// row that was shown is still selected.
pub(super) fn choose(ui: &mut Ui, world: &World, cmd: Cmd) -> bool {
    // at an earlier moment, the command says itself that nothing is changed there
    let asks = ui.past.is_none() && targets::needs_row(ui, cmd);
    if asks && matches!(ui.screen(), Screen::Text(view) if !view.is_known) {
        ui.say(UNREAD);
        return false;
    }
    let Some(id) = ui.active_list().filter(|_| asks) else { return true };
    let list = ui.list(id);
    let anew = |(filter, namespace): &(Filter, _)| *filter != list.filter || *namespace != ui.namespace;
    if list.narrowed.as_ref().is_some_and(anew) {
        refresh(ui, world, id, true);
    }
    let why_not = why_not(ui, world, id, cmd);
    let why_not = why_not.or_else(|| {
        let about_nothing = unfit::is_about_nothing(ui, world, cmd);
        about_nothing.then(|| gone(ui, world, cmd)).flatten()
    });
    if let Some(why) = why_not {
        ui.say(why);
    }
    why_not.is_none()
}

/// Why a key must not act on what is marked or selected in a list: the terminal has not shown it.
fn why_not(ui: &Ui, world: &World, id: ListId, cmd: Cmd) -> Option<&'static str> {
    let list = ui.list(id);
    let is_row = |uid: &Uid| list.ids.iter().any(|row| pane::key(ui, world, id, *row).as_ref() == Some(uid));
    let narrows = !list.filter.is_empty() || (ui.namespace.is_some() && (pane::of(id).narrows)(ui));
    let left = |uid| if narrows && pane::object(ui, world, id, uid).is_some() { HIDDEN } else { GONE };
    match (&list.known, list.chosen()) {
        (Known::Undrawn { .. }, _) => Some(UNDRAWN),
        (known, chosen) if known.is(chosen) && !known.acts(chosen, ui.clock_ms) => Some(MOVED),
        _ if targets::takes_marks(ui, cmd) => None,
        (Known::Nothing, None) => None,
        (known, chosen) if known.is(chosen) => None,
        (Known::Left(uid), _) if !is_row(uid) => Some(left(uid)),
        (Known::Left(_), Some(_)) => Some(MOVED),
        (Known::Row { uid, .. }, _) if (list.moved || list.ids.is_empty()) && !is_row(uid) => Some(left(uid)),
        _ => Some(UNDRAWN),
    }
}

/// Returns what is said if all that a command would act on in the active list is gone since it was drawn: all that is
/// marked, or the selected row. Panes whose rows are made from the World and then kept, such as Traffic and the backends,
/// do not notice here: they know the object until the next frame. There, the rehearsal refuses.
fn gone(ui: &Ui, world: &World, cmd: Cmd) -> Option<&'static str> {
    let id = ui.active_list()?;
    let list = ui.list(id);
    let is_a_row = |is_one: &dyn Fn(&Uid) -> bool| {
        list.ids.iter().any(|row| pane::key(ui, world, id, *row).is_some_and(|uid| is_one(&uid)))
    };
    if targets::takes_marks(ui, cmd) {
        let are_here = !pane::objects(ui, world, id, &list.marks).is_empty()
            || is_a_row(&|uid| list.marks.contains(uid));
        return (!are_here).then_some(MARKED_GONE);
    }
    let chosen = list.chosen()?;
    let is_here = match id {
        // the rows are numbers of causes, which can have another order now
        ListId::Now => causes::is_there(ui, world, chosen),
        _ => pane::object(ui, world, id, chosen).is_some() || is_a_row(&|uid| uid == chosen),
    };
    (!is_here).then_some(GONE)
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
