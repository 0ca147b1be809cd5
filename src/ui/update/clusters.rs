//! Opens and closes clusters, and brings one to the front.

use pilothouse_core::domain::id::{ClusterId, Name, Uid};
use pilothouse_core::domain::link::Link;
use pilothouse_core::domain::text;
use pilothouse_core::facts::world::World;

use super::super::app::{Prompt, Screen, Ui};
use super::super::command::Cmd;
use super::super::list::{Filter, ListId};
use super::super::pane::{self, Place, clusters};
use super::super::request::Effect;
use super::super::rows::clusters::by_trouble;
use super::super::widget::input::InputLine;
use super::leave::AGAIN_MS;
use super::{open, rows};

/// Requests the contexts of the kubeconfig.
pub(super) fn ask(ui: &mut Ui, effects: &mut Vec<Effect>) {
    let ticket = ui.ticket();
    ui.fleet.contexts_of = Some(ticket);
    effects.push(Effect::Contexts(ticket));
}

/// Opens the list of clusters. What is typed next filters it.
pub(super) fn list(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    ask(ui, effects);
    let list = ui.list_mut(ListId::Clusters);
    list.filter = Filter::default();
    list.to_top();
    open::pane(ui, world, ListId::Clusters, effects);
    // keys that were typed ahead choose among the rows of now
    rows::refresh(ui, world, ListId::Clusters, true);
    ui.input = InputLine::default();
    ui.prompt = Some(Prompt::Filter { list: ListId::Clusters, before: Filter::default() });
}

/// Names the key of the list of clusters, for the end of a message.
pub(super) fn opens(ui: &Ui, what: &str) -> String {
    let key = ui.key(Cmd::Open(ListId::Clusters));
    key.map_or_else(String::new, |key| format!(": {key} opens {what}"))
}

/// Leaves the list of clusters.
pub(super) fn leave(ui: &mut Ui, effects: &mut Vec<Effect>) {
    if matches!(ui.screen(), Screen::List(ListId::Clusters)) {
        open::close(ui, effects);
    }
}

/// Handles Enter in the list of clusters.
pub(super) fn enter(ui: &mut Ui, world: &World, key: &Uid, effects: &mut Vec<Effect>) {
    let Some(context) = clusters::of_key(ui, key).map(|line| line.context.clone()) else { return };
    leave(ui, effects);
    go(ui, world, &context, effects);
}

/// Brings the cluster of a context to the front. One that is not open is opened.
pub(super) fn go(ui: &mut Ui, world: &World, context: &Name, effects: &mut Vec<Effect>) {
    if let Some(id) = world.of_context(context).map(|cluster| cluster.id()) {
        ui.fleet.awaited = None;
        retry(world, id, effects);
        return bring(ui, world, id, effects);
    }
    ui.fleet.awaited = Some(context.clone());
    ui.say(format!("opening {context} …"));
    effects.push(Effect::OpenCluster(context.clone()));
}

/// Connects at once to a cluster that could not be opened and waits for its next attempt.
pub(super) fn retry(world: &World, id: ClusterId, effects: &mut Vec<Effect>) {
    if let Some(cluster) = world.cluster(id).filter(|cluster| matches!(cluster.link, Link::Failed { .. })) {
        effects.push(Effect::OpenCluster(cluster.info.context.clone()));
    }
}

/// Tells that the cluster of a context was not opened. It does not come to the front later, when it is opened for
/// another reason.
pub(super) fn not_opened(ui: &mut Ui, context: &Name, why: &str) {
    if ui.fleet.awaited.as_ref() == Some(context) {
        ui.fleet.awaited = None;
    }
    // this message takes the place of the one that the action was started
    let opened = ui.fleet.opened.remove(context).filter(|opened| !opened.seen);
    let words = match opened {
        // the action comes first, so that nobody starts it again because something is to be tried again
        Some(_) => format!("the action runs; {context} was not opened ({why}): `:ctx {context}` opens it"),
        None => format!("{context} was not opened: {why}"),
    };
    ui.say(text::clean(&words).into_owned());
}

/// Brings an open cluster to the front. A list stays on the screen with the rows of that cluster; a text, a log and a
/// list about one object of the other cluster are closed.
pub(super) fn bring(ui: &mut Ui, world: &World, id: ClusterId, effects: &mut Vec<Effect>) {
    if id == ui.cluster {
        return;
    }
    // what was asked about the moment was asked of the other cluster's Prometheus
    if ui.past.is_some() {
        super::timeline::back(ui, effects);
    }
    let stays = |screen: &Screen| match screen {
        Screen::Panes => true,
        Screen::List(list) => matches!(pane::of(*list).place, Place::Screen | Place::Over),
        Screen::Text(_) | Screen::Log(_) | Screen::Plots(_) => false,
    };
    let kept = ui.screens.iter().take_while(|screen| stays(screen)).count();
    while ui.screens.len() > kept.max(1) {
        open::close(ui, effects);
    }
    if let Some(plots) = ui.beside.plots.take() {
        effects.extend(super::plot::cancel(&plots));
    }
    // what was being typed was about the other cluster
    (ui.prompt, ui.sheet) = (None, None);
    ui.input.clear();
    ui.show_cluster(id);
    if let Some(cluster) = world.cluster(id) {
        ui.say(format!("now in front: {}", cluster.info.name()));
    }
}

/// Closes the selected cluster.
pub(super) fn close(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    if ui.past.is_some() {
        return ui.say("the clock is moved: return to now to close a cluster");
    }
    let selected = ui.list(ListId::Clusters).chosen().and_then(|key| clusters::of_key(ui, key)).cloned();
    let Some(line) = selected else { return ui.say("no cluster is selected") };
    let Some(cluster) = line.cluster(world) else { return ui.say(format!("{} is not open", line.name)) };
    if !world.has_several() {
        return ui.say(format!("{} is the only open cluster; :q leaves pilothouse", line.name));
    }
    let id = cluster.id();
    let is_asked = ui.fleet.closing.take().is_some_and(|(asked, until)| asked == id && ui.clock_ms <= until);
    if !is_asked && cluster.derived.incidents.first().is_some_and(|incident| incident.is_open()) {
        ui.fleet.closing = Some((id, ui.clock_ms + AGAIN_MS));
        let key = ui.key_of(ListId::Clusters, Cmd::CloseCluster);
        let key = key.map_or_else(|| "the key".into(), |key| key.to_string());
        return ui
            .say(format!("{} has an open incident, which is not kept: {key} again closes it", line.name));
    }
    effects.push(Effect::CloseCluster(id));
}

/// Handles what the World says about clusters: one that was opened by hand comes to the front, and one that was closed
/// leaves it.
pub(super) fn follow(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    // the world of an earlier moment does not say which clusters are open now
    if ui.past.is_some() {
        return;
    }
    if let Some(id) = ui.fleet.awaited.as_ref().and_then(|context| world.of_context(context)).map(|c| c.id())
    {
        ui.fleet.awaited = None;
        bring(ui, world, id, effects);
    }
    if world.cluster(ui.cluster).is_some_and(|cluster| !cluster.link.is_live())
        && let Some(next) = by_trouble(world).first().map(|cluster| cluster.id())
    {
        let prompt = ui.prompt.clone();
        bring(ui, world, next, effects);
        // the list of clusters is the same for each of them
        ui.prompt = prompt.filter(|prompt| matches!(prompt, Prompt::Filter { list: ListId::Clusters, .. }));
    }
    ui.forget_closed(world);
}

/// Shows the findings and changes of all open clusters, or only those of the one in front.
pub(super) fn everywhere(ui: &mut Ui, world: &World) {
    if !ui.fleet.all && !world.has_several() {
        let hint = opens(ui, "others");
        return ui.say(format!("only one cluster is open{hint}"));
    }
    ui.fleet.all = !ui.fleet.all;
    ui.list_mut(ListId::Now).to_top();
    ui.say(if ui.fleet.all { "NOW shows all open clusters" } else { "NOW shows the cluster in front" });
}

/// Returns the name of the other cluster that the selected row is about, if it is not the one in front.
pub(super) fn far(ui: &Ui, world: &World) -> Option<String> {
    let object = super::object(ui, world).filter(|object| object.cluster != ui.cluster)?;
    Some(world.cluster(object.cluster)?.info.name().to_string())
}
