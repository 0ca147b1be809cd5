//! Opens and closes screens.

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::facts::world::World;

use super::super::app::{Below, PodScope, Screen, TextLine, TextSource, TextView, Ui};
use super::super::list::{Filter, List, ListId};
use super::super::pane::{self, Enter, PANES, Place, Reads, Shown, causes};
use super::super::present;
use super::super::request::{Effect, Request, TableText};
use super::super::theme::Role;

/// Closes the top screen, stops following its log, and cancels the requests of its plots.
pub(super) fn close(ui: &mut Ui, effects: &mut Vec<Effect>) {
    if ui.screens.len() <= 1 {
        return;
    }
    match ui.screens.pop() {
        Some(Screen::Log(view)) => effects.push(Effect::StopLogs(view.ticket)),
        Some(Screen::Plots(plots)) => effects.extend(super::plot::cancel(&plots)),
        _ => {}
    }
    // the list below can have other rows than when it was left
    if let Some(id) = ui.active_list() {
        ui.list_mut(id).known.forgets();
    }
}

/// Gives the pane with the focus the whole screen, or not.
pub(super) fn zoom(ui: &mut Ui, on: bool) {
    ui.zoom = on;
    if ui.focus == ListId::Now {
        // it folds its rows only beside the other panes
        ui.list_mut(ListId::Now).known.forgets();
    }
}

/// Returns to the first screen.
pub(super) fn to_root(ui: &mut Ui, effects: &mut Vec<Effect>) {
    while ui.screens.len() > 1 {
        close(ui, effects);
    }
}

/// Opens a pane: moves the focus to it on the first screen, or opens its own screen.
pub(super) fn pane(ui: &mut Ui, world: &World, id: ListId, effects: &mut Vec<Effect>) {
    let pane = pane::of(id);
    let on_screen = matches!(ui.screen(), Screen::List(on_top) if *on_top == id);
    match pane.place {
        Place::Top | Place::First => {
            to_root(ui, effects);
            ui.focuses(id);
        }
        Place::Over if on_screen => {}
        Place::Over => ui.screens.push(Screen::List(id)),
        Place::Screen | Place::Below => {
            to_root(ui, effects);
            ui.screens.push(Screen::List(id));
        }
    }
    if !on_screen && !matches!(pane.place, Place::Top | Place::First) {
        // it can have other rows than when it was left
        ui.list_mut(id).known.forgets();
    }
    if pane.enter == Enter::Namespace {
        ui.list_mut(id).filter = Filter::default();
    }
    if let Some(row) = Shown::of(ui, world).and_then(|shown| (pane.opens_on)(&shown)) {
        let list = ui.list_mut(id);
        (list.selected, list.moved) = (Some(row), true);
    }
}

fn deeper(ui: &mut Ui, id: ListId) {
    ui.put_list(id, List::default());
    ui.screens.push(Screen::List(id));
}

/// Opens a text about an object.
pub(super) fn text(ui: &mut Ui, title: String, source: TextSource, object: &ObjectRef) {
    // a text about the same object replaces the open one
    let is_known = ui.knows_selection();
    if matches!(ui.screen(), Screen::Text(v) if v.object.as_ref() == Some(object)) {
        ui.screens.pop();
    }
    let view = TextView { is_known, ..TextView::new(title, source, Some(object.clone())) };
    ui.screens.push(Screen::Text(Box::new(view)));
}

/// Requests the object from the API server and shows its YAML.
pub(super) fn yaml(ui: &mut Ui, object: &ObjectRef, effects: &mut Vec<Effect>) {
    let ticket = ui.ticket();
    text(ui, format!("YAML of {object}"), TextSource::Asked(ticket), object);
    if let Some(Screen::Text(view)) = ui.screens.last_mut() {
        view.lines = vec![TextLine::new(Role::Dim, "asking the server …")];
        view.wrap = false;
    }
    effects.push(Effect::Fetch(ticket, Request::Yaml(object.clone())));
}

/// Lists objects of other kinds, as the API server prints them.
pub(super) fn table(ui: &mut Ui, resource: &str, namespace: Option<Name>, effects: &mut Vec<Effect>) {
    let ticket = ui.ticket();
    if namespace.is_some() {
        ui.namespace = namespace;
    }
    ui.table = TableText::default();
    ui.table_of = (resource.to_owned(), ticket, Some("asking the server …".into()));
    to_root(ui, effects);
    deeper(ui, ListId::Table);
    effects.push(Effect::Fetch(
        ticket,
        Request::Table {
            cluster: ui.cluster,
            resource: resource.to_owned(),
            namespace: ui.namespace.clone(),
        },
    ));
}

/// Requests the kinds of the API server once.
pub(super) fn ask_kinds(ui: &mut Ui, effects: &mut Vec<Effect>) {
    if ui.kinds_of.is_none() {
        let ticket = ui.ticket();
        ui.kinds_of = Some(ticket);
        effects.push(Effect::Fetch(ticket, Request::Kinds { cluster: ui.cluster }));
    }
}

/// Lists the selected Service, or the one whose backends are shown, in all open clusters.
pub(super) fn compare(ui: &mut Ui, world: &World) {
    if !world.has_several() {
        return ui.say("only one cluster is open");
    }
    if ui.active_list() == Some(ListId::Traffic) {
        let Some(service) = super::object(ui, world).filter(|object| object.kind == Kind::Service) else {
            return ui.say("no Service is selected");
        };
        ui.service = (service.namespace, service.name);
    }
    deeper(ui, ListId::Elsewhere);
}

/// Opens a pane with all its rows, limited to a namespace if one is given.
pub(super) fn view(
    ui: &mut Ui,
    world: &World,
    id: ListId,
    namespace: Option<Name>,
    effects: &mut Vec<Effect>,
) {
    if namespace.is_some() {
        ui.namespace = namespace;
    }
    ui.list_mut(id).filter = Filter::default();
    ui.pod_scope = PodScope::All;
    pane(ui, world, id, effects);
}

/// Whether the selected row of NOW stands for several causes.
pub(super) fn on_fold(ui: &Ui, world: &World) -> bool {
    ui.active_list() == Some(ListId::Now)
        && ui.list(ListId::Now).chosen().is_some_and(|selected| list_has_fold(ui, world, selected))
}

fn list_has_fold(ui: &Ui, world: &World, selected: &Uid) -> bool {
    ui.shown(world).is_some_and(|c| c.derived.causes.iter().any(|c| causes::fold_key(c) == *selected))
}

/// How often the lines of an open error group are requested again, if there are more.
const LINES_EVERY_MS: u64 = 2_000;

/// Requests the lines of the error group on the screen, first when it opens and later when it has grown.
pub(super) fn ask_lines(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let now = ui.clock_ms;
    let Some(cluster) = ui.shown(world).cloned() else { return };
    let open = match ui.screen() {
        Screen::Text(view) => match &view.source {
            TextSource::ErrorGroup(fingerprint) => Some(fingerprint.clone()),
            _ => None,
        },
        _ => present::details::error_group(ui, world),
    };
    let Some(fingerprint) = open else { return };
    let Some(group) = cluster.logs.groups.iter().find(|g| g.fingerprint == fingerprint) else { return };
    if !matches!(ui.screen(), Screen::Text(_)) && ui.details.below_of != fingerprint {
        (ui.details.below, ui.details.below_of) = (Below::default(), fingerprint.clone());
    }
    let (read, below) = match ui.screen() {
        Screen::Text(view) => (view.top > 0, &view.below),
        _ => (false, &ui.details.below),
    };
    // the lines must not move while the user reads further down
    let due = (!read || below.asked.is_none())
        && below
            .asked
            .is_none_or(|(count, at)| count != group.count && now.saturating_sub(at) >= LINES_EVERY_MS);
    if !due {
        return;
    }
    let ticket = if below.asked.is_none() { None } else { Some(below.ticket) };
    let ticket = ticket.unwrap_or_else(|| ui.ticket());
    let below = match ui.screens.last_mut() {
        Some(Screen::Text(view)) => &mut view.below,
        _ => &mut ui.details.below,
    };
    (below.ticket, below.asked) = (ticket, Some((group.count, now)));
    effects.push(Effect::Fetch(ticket, Request::ErrorLines { cluster: ui.cluster, fingerprint }));
}

/// Handles Enter: explains the row or opens what it stands for.
pub(super) fn enter(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    if let Screen::Text(view) = ui.screen() {
        return match view.chosen.clone() {
            Some((_, object)) => {
                text(ui, format!("Describe {object}"), TextSource::Describe(object.clone()), &object);
            }
            None => ui.say("no object is selected: j and k select one in this text"),
        };
    }
    let Some(id) = ui.active_list() else { return };
    let Some(selected) = ui.list(id).chosen().cloned() else { return };
    if id == ListId::Now && there(ui, world, &selected, effects) {
        return;
    }
    let object = pane::object(ui, world, id, &selected);
    match (pane::of(id).enter, object) {
        (Enter::Cause, _) if ui.folds_now() && list_has_fold(ui, world, &selected) => {
            ui.screens.push(Screen::List(id));
            // its first cause has the place of the fold
            ui.list_mut(id).known.forgets();
        }
        (Enter::Cluster, _) => super::clusters::enter(ui, world, &selected, effects),
        (Enter::Elsewhere, _) => {
            let line = ui.rows.elsewhere.iter().find(|line| line.key() == selected).cloned();
            let (Some(line), service) = (line, ui.service.clone()) else { return };
            close(ui, effects);
            super::clusters::retry(world, line.cluster, effects);
            super::clusters::bring(ui, world, line.cluster, effects);
            if line.service.is_some() {
                ui.service = service;
                deeper(ui, ListId::Backends);
            }
        }
        (Enter::Namespace, _) => {
            // the row for all namespaces has no name
            ui.namespace = match selected {
                Uid::Text(name) => Some(name).filter(|name| !name.is_empty()),
                Uid::Uuid(_) => None,
            };
            close(ui, effects);
        }
        (Enter::Backends, Some(object)) => {
            ui.service = (object.namespace, object.name);
            deeper(ui, ListId::Backends);
        }
        (Enter::Alerts, _) if super::alerts::expand(ui, &selected) => {}
        (Enter::Slice, _) => super::sheet::open_slice(ui, world),
        (Enter::Pods, Some(object)) => {
            ui.pod_scope = match object.kind {
                Kind::Node => PodScope::Node(object.name),
                kind => PodScope::Owner { kind, namespace: object.namespace, name: object.name },
            };
            deeper(ui, ListId::Pods);
        }
        (Enter::Yaml, Some(object)) => yaml(ui, &object, effects),
        (_, object) => match present::details::source(ui, world, id) {
            Some((title, source)) => {
                let is_known = ui.knows_selection();
                let view = TextView { is_known, ..TextView::new(title, source, object) };
                ui.screens.push(Screen::Text(Box::new(view)));
                ask_lines(ui, world, effects);
            }
            None => ui.say("this row has nothing to open"),
        },
    }
}

/// Brings the cluster of a cause to the front, with the cause selected. Returns false if it is in front.
fn there(ui: &mut Ui, world: &World, key: &Uid, effects: &mut Vec<Effect>) -> bool {
    let found = causes::of_key(ui, world, key).map(|(cluster, cause)| (cluster.id(), causes::key(cause)));
    let Some((id, key)) = found.filter(|(id, _)| *id != ui.cluster) else { return false };
    ui.fleet.all = false;
    super::clusters::bring(ui, world, id, effects);
    to_root(ui, effects);
    ui.focus = ListId::Now;
    let list = ui.list_mut(ListId::Now);
    list.filter = Filter::default();
    list.choose(key);
    true
}

/// Shows an object that was found by name: in its list if it has one, with its description on top.
pub(super) fn object(ui: &mut Ui, object: &ObjectRef, effects: &mut Vec<Effect>) {
    select(ui, object, effects);
    text(ui, format!("Describe {object}"), TextSource::Describe(object.clone()), object);
}

/// Selects an object in its list. Returns `None` if no pane lists the object.
pub(super) fn select(ui: &mut Ui, object: &ObjectRef, effects: &mut Vec<Effect>) -> Option<ListId> {
    to_root(ui, effects);
    let pane = PANES.iter().find(|p| p.kinds.contains(&object.kind) || p.holds.contains(&object.kind));
    let id = pane.filter(|pane| pane.reads != Reads::Nothing).map(|pane| pane.id);
    if let Some(id) = id {
        if ui.namespace.as_ref().is_some_and(|ns| !object.namespace.is_empty() && *ns != object.namespace) {
            ui.namespace = None;
        }
        ui.pod_scope = PodScope::All;
        if matches!(pane::of(id).place, Place::Top | Place::First) {
            ui.focus = id;
        } else {
            ui.screens.push(Screen::List(id));
        }
        let list = ui.list_mut(id);
        list.filter = Filter::default();
        list.marks.clear();
        list.choose(object.uid.clone());
    }
    id
}
