//! The objects that an action would apply to: rows, a cause in NOW, or the object of a text.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::plan::Act;
use pilothouse_core::facts::world::{ActionView, Cause, Cluster, NodeRow, World};

use super::app::{Screen, TextSource, Ui};
use super::command::{self, ChangeCmd, Cmd, Fits};
use super::list::ListId;
use super::pane::{self, causes};
use super::rows::actions::{self, is_left};
use super::rows::backends;

/// Whether a command fits objects of a kind. It fits if the table of kinds contains a write permission for it.
pub fn fits(cmd: Cmd, kind: &Kind) -> bool {
    command::of(cmd).and_then(|command| command.on).is_some_and(|on| on.fits.kind(kind))
}

/// Whether a command acts on rows of the active list: the selected one, or those that are marked.
pub fn needs_row(ui: &Ui, cmd: Cmd) -> bool {
    let Some(on) = command::of(cmd).and_then(|command| command.on) else { return cmd == Cmd::CancelAction };
    // the weight is that of a route, or of the selected server of a HAProxy
    let of_server = cmd == Cmd::Change(ChangeCmd::Weight) && ui.active_list() == Some(ListId::Backends);
    // the plans of a failover and the routes of a weight are those of the row's cluster
    let of_any_cluster = ui.active_list() == Some(ListId::Now) && ui.fleet.all;
    !matches!(on.fits, Fits::Anything)
        || of_any_cluster
        || (of_server && ui.rows.backends.iter().any(|b| b.server.is_some()))
}

/// Whether a command acts on the marked rows of the active list, and not on the selected one.
pub fn takes_marks(ui: &Ui, cmd: Cmd) -> bool {
    let is_about_objects =
        command::of(cmd).and_then(|command| command.on).is_some_and(|on| !matches!(on.fits, Fits::Nothing));
    let marks = |id| id != ListId::Now && !ui.list(id).marks.is_empty();
    is_about_objects && server(ui).is_none() && ui.active_list().is_some_and(marks)
}

/// The act that a command's key opens on what is chosen. None: nothing is, or the command asks for something first.
pub fn act(ui: &Ui, world: &World, cmd: Cmd) -> Option<(Act, Vec<ObjectRef>)> {
    let opens = command::of(cmd)?.on?.opens?;
    let chosen = of(ui, world, cmd);
    (!chosen.is_empty()).then_some(())?;
    // the objects decide on the cluster, not the one in front
    let cluster = world.cluster(chosen.first()?.cluster)?;
    Some((opens(cluster, &chosen), chosen))
}

/// Returns the marked rows, otherwise the selected row. In NOW, returns the object of the cause. In a text, returns
/// its object.
pub fn of(ui: &Ui, world: &World, cmd: Cmd) -> Vec<ObjectRef> {
    let id = match ui.screen() {
        Screen::Text(view) => {
            // the selected object of the text if the command fits it, otherwise the object of the text
            let chosen = view.chosen.as_ref().map(|(_, object)| object).filter(|o| fits(cmd, &o.kind));
            let about = match (&view.source, chosen) {
                (TextSource::Why(key), None) => return by_cause(ui, world, &Uid::Text(key.clone()), cmd),
                (_, chosen) => chosen.or(view.object.as_ref()),
            };
            return about
                .filter(|o| fits(cmd, &o.kind))
                .and_then(|o| known(world.cluster(o.cluster)?, o))
                .into_iter()
                .collect();
        }
        Screen::Log(_) | Screen::Plots(_) => return Vec::new(),
        Screen::Panes => ui.focus,
        Screen::List(id) => *id,
    };
    let list = ui.list(id);
    if id == ListId::Now {
        return list.chosen().map_or_else(Vec::new, |key| by_cause(ui, world, key, cmd));
    }
    let mut objects = if list.marks.is_empty() {
        list.chosen().and_then(|uid| pane::object(ui, world, id, uid)).into_iter().collect()
    } else {
        pane::objects(ui, world, id, &list.marks)
    };
    objects.retain(|o| fits(cmd, &o.kind));
    objects
}

/// Whether all the chosen nodes are dead or said to be off: no other is a machine that may be off.
fn all_down(ui: &Ui, world: &World) -> bool {
    let chosen = of(ui, world, Cmd::Change(ChangeCmd::OutOfService));
    let Some(cluster) = chosen.first().and_then(|first| world.cluster(first.cluster)) else { return false };
    let chosen: BTreeSet<&Uid> = chosen.iter().map(|o| &o.uid).collect();
    // one walk over the rows, however many are chosen
    let down = |r: &&Arc<NodeRow>| {
        (r.state.is_dead() || r.node.has_out_of_service_taint()) && chosen.contains(&r.node.uid)
    };
    !chosen.is_empty() && cluster.derived.nodes.iter().filter(down).count() == chosen.len()
}

/// Whether the key scales the bounds of an autoscaler instead of the replicas of a workload.
pub fn scales_bounds(ui: &Ui, world: &World) -> bool {
    of(ui, world, Cmd::Change(ChangeCmd::Scale)).is_empty()
        && !of(ui, world, Cmd::Change(ChangeCmd::Bounds)).is_empty()
}

/// Returns the Service that the selected pods would leave. Returns `None` if no Service selects them, in which case
/// they would return to rotation.
pub fn service_of(ui: &Ui, world: &World, pods: &[ObjectRef]) -> Option<Name> {
    if ui.active_list() == Some(ListId::Backends) {
        return Some(ui.service.1.clone());
    }
    let cluster = world.cluster(pods.first()?.cluster)?;
    let pod = pods.first().and_then(|o| cluster.pods.by_uid(&o.uid))?;
    let selects = |s: &&Arc<pilothouse_core::domain::service::Service>| {
        s.namespace == pod.namespace && !s.selector.is_empty() && s.selector.matches(pod)
    };
    cluster.services.iter().find(selects).map(|s| s.name.clone())
}

/// Returns the selected backend, if it is a server of a configured HAProxy.
pub fn server(ui: &Ui) -> Option<&backends::Backend> {
    let chosen =
        (ui.active_list() == Some(ListId::Backends)).then(|| ui.list(ListId::Backends).chosen())??;
    ui.rows.backends.iter().find(|row| row.key() == *chosen && row.server.is_some())
}

/// Whether the hint bar offers it: in a list of its own always, elsewhere where it fits what is selected.
pub fn offered(ui: &Ui, world: &World, cmd: Cmd) -> bool {
    match cmd {
        Cmd::CancelAction if dismissible(ui, world) => return true,
        Cmd::Change(ChangeCmd::PauseAction) | Cmd::CancelAction => {
            return action(ui, world).is_some_and(|a| a.outcome.is_none() && !a.foreign);
        }
        Cmd::Change(ChangeCmd::UndoThis) => return action(ui, world).is_some_and(|a| a.outcome.is_some()),
        Cmd::Change(ChangeCmd::ResumeAction) => {
            return action(ui, world).is_some_and(|a| a.unfinished || is_left(a));
        }
        Cmd::Change(ChangeCmd::OutOfService) => return all_down(ui, world),
        Cmd::Change(ChangeCmd::SilenceAlerts) => {
            let is_alert =
                matches!(ui.screen(), Screen::Text(view) if matches!(view.source, TextSource::Alert(_)));
            return is_alert || ui.active_list() == Some(ListId::Alerts);
        }
        _ => {}
    }
    let elsewhere = matches!(ui.screen(), Screen::Text(_)) || ui.active_list() == Some(ListId::Now);
    !elsewhere
        || !of(ui, world, cmd).is_empty()
        || (cmd == Cmd::Change(ChangeCmd::Scale) && scales_bounds(ui, world))
}

/// Whether the selected action must be resumed or dismissed by the user.
pub fn dismissible(ui: &Ui, world: &World) -> bool {
    action(ui, world).is_some_and(|a| a.unfinished)
}

/// Returns the action that is selected in the list of actions, or whose text is open.
pub fn action<'w>(ui: &Ui, world: &'w World) -> Option<&'w Arc<ActionView>> {
    let key = match ui.screen() {
        Screen::Text(view) => match &view.source {
            TextSource::Action(id) => Uid::Text(id.clone()),
            _ => return None,
        },
        _ => ui.list(ListId::Actions).chosen().cloned()?,
    };
    world.actions.iter().find(|a| actions::key(a) == key)
}

fn by_cause(ui: &Ui, world: &World, key: &Uid, cmd: Cmd) -> Vec<ObjectRef> {
    let Some((cluster, cause)) = causes::of_key(ui, world, key) else { return Vec::new() };
    // the loss of a zone is about all its nodes
    let nodes: Vec<&ObjectRef> = cause.objects.iter().filter(|o| o.kind == Kind::Node).collect();
    if nodes.len() > 1 && fits(cmd, &Kind::Node) {
        let all: Vec<ObjectRef> = nodes.into_iter().filter_map(|o| known(cluster, o)).collect();
        let off = |o: &ObjectRef| cluster.nodes.by_uid(&o.uid).is_some_and(|n| n.has_out_of_service_taint());
        let left: Vec<ObjectRef> = all.iter().filter(|o| !off(o)).cloned().collect();
        // those that were said to be off already are not asked about again
        return if cmd == Cmd::Change(ChangeCmd::OutOfService) && !left.is_empty() { left } else { all };
    }
    // pods that are out of rotation return to it together
    let all_pods = cause.objects.iter().all(|o| o.kind == Kind::Pod);
    if all_pods && fits(cmd, &Kind::Pod) && suggested(cause, cmd).is_some() {
        return cause.objects.iter().filter_map(|o| known(cluster, o)).collect();
    }
    suggested(cause, cmd)
        .or_else(|| cause.objects.first().filter(|o| fits(cmd, &o.kind)))
        .and_then(|o| known(cluster, o))
        .into_iter()
        .collect()
}

fn suggested(cause: &Cause, cmd: Cmd) -> Option<&ObjectRef> {
    let action = cause.action.as_ref()?;
    (Cmd::from(action.command()) == cmd).then_some(&action.on)
}

/// Returns the current object with its identity, or `None` if it is not watched.
fn known(cluster: &Cluster, object: &ObjectRef) -> Option<ObjectRef> {
    (object.cluster == cluster.id()).then_some(())?;
    let same = |uid: &Uid| object.uid == Uid::default() || object.uid == *uid;
    match &object.kind {
        Kind::Node => {
            let node = cluster.node(&object.name).filter(|n| same(&n.uid))?;
            Some(node.reference(cluster.id()))
        }
        Kind::HorizontalPodAutoscaler => {
            let named = |h: &&Arc<pilothouse_core::domain::autoscaler::Hpa>| {
                h.namespace == object.namespace && h.name == object.name && same(&h.uid)
            };
            let hpa = cluster.hpas.iter().find(named)?;
            Some(hpa.reference(cluster.id()))
        }
        Kind::Pod => {
            let pod = cluster.pod(&object.namespace, &object.name).filter(|p| same(&p.uid))?;
            Some(pod.reference(cluster.id()))
        }
        kind => {
            let found = cluster.workload(kind, &object.namespace, &object.name)?;
            same(&found.uid).then(|| found.reference(cluster.id()))
        }
    }
}
