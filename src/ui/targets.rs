//! The objects that an action would apply to: rows, a cause in NOW, or the object of a text.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::node::Node;
use pilothouse_core::domain::node::OUT_OF_SERVICE;
use pilothouse_core::facts::world::{ActionView, Cause, Cluster, NodeRow, World};

use super::app::{Screen, TextSource, Ui};
use super::command::{Cmd, purpose};
use super::list::ListId;
use super::pane::{self, causes};
use super::rows::actions::{self, is_left};

/// Whether a command fits objects of a kind. It fits if the table of kinds contains a write permission for it.
pub fn fits(cmd: Cmd, kind: &Kind) -> bool {
    match cmd {
        // these commands do not apply to the object
        Cmd::Failover | Cmd::Weight | Cmd::Undo => true,
        Cmd::PauseRollout => *kind == Kind::Deployment,
        cmd => purpose(cmd).is_some_and(|purpose| kind.takes(purpose)),
    }
}

/// Returns the marked rows, otherwise the selected row. In NOW, returns the object of the cause. In a text, returns
/// its object.
pub fn of(ui: &Ui, world: &World, cmd: Cmd) -> Vec<ObjectRef> {
    let Some(cluster) = ui.shown(world) else { return Vec::new() };
    let id = match ui.screen() {
        Screen::Text(view) => {
            // the selected object of the text if the command fits it, otherwise the object of the text
            let chosen = view.chosen.as_ref().map(|(_, object)| object).filter(|o| fits(cmd, &o.kind));
            let about = match (&view.source, chosen) {
                (TextSource::Why(key), None) => return by_cause(cluster, &Uid::Text(key.clone()), cmd),
                (_, chosen) => chosen.or(view.object.as_ref()),
            };
            return about
                .filter(|o| fits(cmd, &o.kind))
                .and_then(|o| known(cluster, o))
                .into_iter()
                .collect();
        }
        Screen::Log(_) => return Vec::new(),
        Screen::Panes => ui.focus,
        Screen::List(id) => *id,
    };
    let list = ui.list(id);
    if id == ListId::Now {
        return list.chosen().map_or_else(Vec::new, |key| by_cause(cluster, key, cmd));
    }
    let chosen: Vec<&Uid> =
        if list.marks.is_empty() { list.chosen().into_iter().collect() } else { list.marks.iter().collect() };
    let objects = chosen.into_iter().filter_map(|uid| pane::object(ui, world, id, uid));
    objects.filter(|o| fits(cmd, &o.kind)).collect()
}

/// Whether all selected Deployments are paused, so that the key resumes them.
pub fn all_paused(ui: &Ui, world: &World) -> bool {
    let Some(cluster) = ui.shown(world) else { return false };
    let chosen = of(ui, world, Cmd::PauseRollout);
    let paused = |o: &ObjectRef| cluster.workload(&o.kind, &o.namespace, &o.name).is_some_and(|w| w.paused);
    !chosen.is_empty() && chosen.iter().all(paused)
}

fn is_off(node: &Node) -> bool {
    node.taints.iter().any(|t| t.key == OUT_OF_SERVICE)
}

/// Whether all selected nodes have the out-of-service taint.
pub fn all_out_of_service(ui: &Ui, world: &World) -> bool {
    let Some(cluster) = ui.shown(world) else { return false };
    let chosen = of(ui, world, Cmd::OutOfService);
    let has = |o: &ObjectRef| cluster.nodes.by_uid(&o.uid).is_some_and(|n| is_off(n));
    !chosen.is_empty() && chosen.iter().all(has)
}

/// Whether all selected nodes are dead or have the out-of-service taint. Only such nodes can be machines that are
/// off.
fn all_down(ui: &Ui, world: &World) -> bool {
    let Some(cluster) = ui.shown(world) else { return false };
    let chosen = of(ui, world, Cmd::OutOfService);
    let chosen: BTreeSet<&Uid> = chosen.iter().map(|o| &o.uid).collect();
    // a single pass over the rows, for any number of selected nodes
    let down = |r: &&Arc<NodeRow>| (r.state.is_dead() || is_off(&r.node)) && chosen.contains(&r.node.uid);
    !chosen.is_empty() && cluster.derived.nodes.iter().filter(down).count() == chosen.len()
}

/// Whether the key scales the bounds of an autoscaler instead of the replicas of a workload.
pub fn scales_bounds(ui: &Ui, world: &World) -> bool {
    of(ui, world, Cmd::Scale).is_empty() && !of(ui, world, Cmd::Bounds).is_empty()
}

/// Returns the Service that the selected pods would leave. Returns `None` if no Service selects them, in which case
/// they would return to rotation.
pub fn service_of(ui: &Ui, world: &World, pods: &[ObjectRef]) -> Option<Name> {
    if ui.active_list() == Some(ListId::Backends) {
        return Some(ui.service.1.clone());
    }
    let cluster = ui.shown(world)?;
    let pod = pods.first().and_then(|o| cluster.pods.by_uid(&o.uid))?;
    let selects = |s: &&Arc<pilothouse_core::domain::service::Service>| {
        s.namespace == pod.namespace && !s.selector.is_empty() && s.selector.matches(pod)
    };
    cluster.services.iter().find(selects).map(|s| s.name.clone())
}

/// Whether nodes are selected and all of them are cordoned, so that the key uncordons them.
pub fn all_cordoned(ui: &Ui, world: &World) -> bool {
    let Some(cluster) = ui.shown(world) else { return false };
    let nodes = of(ui, world, Cmd::Cordon);
    !nodes.is_empty() && nodes.iter().all(|o| cluster.nodes.by_uid(&o.uid).is_some_and(|node| node.cordoned))
}

/// Whether the hint bar offers the command. In a list of its own it always does. Elsewhere the command must fit the
/// selection.
pub fn offered(ui: &Ui, world: &World, cmd: Cmd) -> bool {
    match cmd {
        Cmd::CancelAction if dismissible(ui, world) => return true,
        Cmd::PauseAction | Cmd::CancelAction => {
            return action(ui, world).is_some_and(|a| a.outcome.is_none() && !a.foreign);
        }
        Cmd::UndoThis => return action(ui, world).is_some_and(|a| a.outcome.is_some()),
        Cmd::ResumeAction => {
            return action(ui, world).is_some_and(|a| a.unfinished || is_left(a));
        }
        Cmd::OutOfService => return all_down(ui, world),
        _ => {}
    }
    let elsewhere = matches!(ui.screen(), Screen::Text(_)) || ui.active_list() == Some(ListId::Now);
    !elsewhere || !of(ui, world, cmd).is_empty() || (cmd == Cmd::Scale && scales_bounds(ui, world))
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

fn by_cause(cluster: &Cluster, key: &Uid, cmd: Cmd) -> Vec<ObjectRef> {
    let Some(cause) = cluster.derived.causes.iter().find(|c| causes::key(c) == *key) else {
        return Vec::new();
    };
    // the loss of a zone is about all its nodes
    let nodes: Vec<&ObjectRef> = cause.objects.iter().filter(|o| o.kind == Kind::Node).collect();
    if nodes.len() > 1 && fits(cmd, &Kind::Node) {
        let all: Vec<ObjectRef> = nodes.into_iter().filter_map(|o| known(cluster, o)).collect();
        let off = |o: &ObjectRef| cluster.nodes.by_uid(&o.uid).is_some_and(|n| is_off(n));
        let left: Vec<ObjectRef> = all.iter().filter(|o| !off(o)).cloned().collect();
        // nodes that are already out of service are not acted on again
        return if cmd == Cmd::OutOfService && !left.is_empty() { left } else { all };
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
    let same = |uid: &Uid| object.uid == Uid::default() || object.uid == *uid;
    match &object.kind {
        Kind::Node => {
            let node = cluster.node(&object.name).filter(|n| same(&n.uid))?;
            Some(ObjectRef::new(Kind::Node, &Name::default(), &node.name, &node.uid))
        }
        Kind::HorizontalPodAutoscaler => {
            let named = |h: &&Arc<pilothouse_core::domain::autoscaler::Hpa>| {
                h.namespace == object.namespace && h.name == object.name && same(&h.uid)
            };
            let hpa = cluster.hpas.iter().find(named)?;
            Some(ObjectRef::new(object.kind.clone(), &hpa.namespace, &hpa.name, &hpa.uid))
        }
        Kind::Pod => {
            let pod = cluster.pod(&object.namespace, &object.name).filter(|p| same(&p.uid))?;
            Some(ObjectRef::new(Kind::Pod, &pod.namespace, &pod.name, &pod.uid))
        }
        kind => {
            let found = cluster.workload(kind, &object.namespace, &object.name)?;
            same(&found.uid).then(|| found.reference())
        }
    }
}
