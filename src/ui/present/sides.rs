//! Both sides of an action that changes another cluster too: a failover to a standby. What the action changes is shown
//! in each cluster, as it is now.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::failover::Watched;
use pilothouse_core::domain::id::{Name, ObjectRef};
use pilothouse_core::domain::image;
use pilothouse_core::domain::link::Link;
use pilothouse_core::domain::service::Service;
use pilothouse_core::facts::world::{ActionView, Cluster, World};
use pilothouse_core::plan::watch::error_ratio;

use super::super::cell::{Grade, rate, ratio};
use super::describe::{Lines, TableRow};

/// Returns the contexts of an action, its own first, if there is more than one.
fn contexts(action: &ActionView) -> Vec<Name> {
    let intent = &action.plan.intent;
    let others = action.plan.steps.iter().map(|step| step.context.clone()).filter(|name| !name.is_empty());
    let others: BTreeSet<Name> = others.chain(intent.act.contexts()).collect();
    if others.is_empty() {
        Vec::new()
    } else {
        std::iter::once(intent.context.clone()).chain(others).collect()
    }
}

/// Adds the state of both sides. Adds nothing for an action that changes one cluster.
pub(super) fn lines(out: &mut Lines, world: &World, action: &ActionView) {
    let contexts = contexts(action);
    if contexts.is_empty() {
        return;
    }
    let mut objects: Vec<&ObjectRef> = Vec::new();
    for step in &action.plan.steps {
        let is_held = |held: &&ObjectRef| held.namespace == step.on.namespace && held.name == step.on.name;
        if !objects.iter().any(|held| is_held(held) && held.kind == step.on.kind) {
            objects.push(&step.on);
        }
    }
    out.head("Both sides");
    let watched = action.plan.intent.act.watched();
    let mut rows = Vec::new();
    for context in &contexts {
        if let Some(cluster) = world.of_context(context).filter(|cluster| cluster.link == Link::Open) {
            rows.extend(side(cluster, &objects, watched));
        } else {
            let cells = vec![context.to_string(), "not shown: its cluster is not open".into()];
            rows.push(TableRow { grade: Grade::Fine, cells, object: None });
        }
    }
    out.table(&["CLUSTER", "OBJECT", " READY", " WANTED", "VERSION", " RPS", " ERR%"], &rows);
}

/// Returns the rows of one side: the workloads that the action changes, and the Service that it watches.
fn side(cluster: &Cluster, objects: &[&ObjectRef], watched: Option<&Watched>) -> Vec<TableRow> {
    let name = cluster.info.name().to_string();
    let workloads = objects.iter().filter(|on| cluster.workloads(&on.kind).is_some()).map(|on| {
        let found = cluster.workload(&on.kind, &on.namespace, &on.name);
        let Some(workload) = found else {
            let cells = vec![name.clone(), on.to_string(), "–".into(), "–".into()];
            return TableRow { grade: Grade::Warning, cells, object: None };
        };
        let version = workload.images.first().map_or("", |image| image::version(image));
        // the requests of a Service with these pods
        let is_behind = |service: &&Arc<Service>| {
            service.namespace == on.namespace
                && !service.selector.is_empty()
                && workload.may_have_pods_for(&service.selector)
        };
        let service = cluster.services.iter().find(is_behind);
        let measured = service.and_then(|service| cluster.measured(&service.namespace, &service.name));
        let cells = vec![
            name.clone(),
            on.to_string(),
            workload.ready.to_string(),
            workload.replicas.to_string(),
            version.to_owned(),
            rate(measured.and_then(|row| row.traffic.rps)),
            ratio(measured.and_then(|row| row.traffic.error_ratio)),
        ];
        let grade = if workload.ready < workload.replicas { Grade::Info } else { Grade::Fine };
        TableRow { grade, cells, object: Some(workload.reference(cluster.id())) }
    });
    // the watched Service is in the cluster from which the requests are moved
    let is_here = |watched: &&Watched| {
        let is = |service: &&Arc<Service>| {
            service.namespace == watched.namespace && service.name == watched.service
        };
        cluster.services.iter().any(|service| is(&service))
    };
    let service = watched.filter(is_here).map(|watched| {
        let measured = cluster.measured(&watched.namespace, &watched.service);
        let errors = error_ratio(&cluster.traffic, watched);
        let is_bad = errors.is_some_and(|ratio| ratio * 100.0 > watched.max_error_percent);
        let cells = vec![
            name.clone(),
            format!("{}/{}", watched.namespace, watched.service),
            String::new(),
            String::new(),
            String::new(),
            rate(measured.and_then(|row| row.traffic.rps)),
            ratio(errors),
        ];
        TableRow { grade: if is_bad { Grade::Critical } else { Grade::Fine }, cells, object: None }
    });
    workloads.chain(service).collect()
}

/// Returns the context of a step, for an action that changes several clusters.
pub(super) fn place(action: &ActionView, step: usize) -> String {
    let steps = &action.plan.steps;
    let planned = steps.get(step).filter(|_| steps.len() == action.steps.len());
    let several = steps.iter().any(|step| !step.context.is_empty());
    match planned {
        Some(step) if !step.context.is_empty() => format!(" in {}", step.context),
        Some(_) if several => format!(" in {}", action.plan.intent.context),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{ClusterId, Kind, Uid};
    use pilothouse_core::domain::plan::{Act, Intent, Plan, Step, StepKind};
    use pilothouse_core::domain::time::Stamp;
    use pilothouse_core::facts::world::ClusterInfo;

    use super::*;

    fn action(other: &str) -> ActionView {
        let on =
            ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &"web".into(), &Uid::default());
        let intent = Intent {
            cluster: ClusterId(0),
            context: "eu-1".into(),
            act: Act::Cordon,
            targets: vec![on.clone()],
        };
        let mut plan = Plan::new(intent, Stamp(0));
        let mut there = Step::new(StepKind::Scale { from: 0, to: 3 }, on.clone());
        there.context = other.into();
        plan.steps = vec![there, Step::new(StepKind::Scale { from: 3, to: 0 }, on)];
        ActionView::new("1".into(), Arc::new(plan), Stamp(0))
    }

    #[test]
    fn an_action_in_two_clusters_shows_both_and_says_which_is_not_open() {
        let info = ClusterInfo { context: "eu-1".into(), ..ClusterInfo::default() };
        let here = Cluster { info: Arc::new(info), ..Cluster::default() };
        let world = World { clusters: [Arc::new(here)].into(), ..World::default() };
        let mut out = Lines(Vec::new());
        lines(&mut out, &world, &action("standby"));
        let text: Vec<&str> = out.0.iter().map(|line| line.text.as_str()).collect();
        assert!(
            text.iter().any(|line| line.contains("eu-1") && line.contains("shop/deploy/web")),
            "{text:?}"
        );
        assert!(text.iter().any(|line| line.contains("standby") && line.contains("not open")), "{text:?}");
        let both = action("standby");
        assert_eq!([0, 1].map(|at| place(&both, at)), [" in standby", " in eu-1"]);
        let mut out = Lines(Vec::new());
        lines(&mut out, &world, &action(""));
        assert!(out.0.is_empty(), "one cluster needs no table");
        assert_eq!(place(&action(""), 0), "");
    }
}
