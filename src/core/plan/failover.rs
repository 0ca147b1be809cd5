//! Failover: the changes, their order, and the checks between them.
//!
//! A failover can stop safely after each step. Traffic moves only to backends that an earlier check found ready, and
//! the old backends keep running until the end.

use serde_json::Value;

use super::watch::{self, error_ratio};
use super::{PlanInput, kubectl, nodes};
use crate::domain::failover::{FailoverKind, FailoverPlan, Pick, Standby, WeightShift};
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::plan::{
    Act, All, Change, Confirm, DrainOptions, Elsewhere, FieldChange, Gate, Lookup, LookupResult, Lookups,
    Plan, Refusal, ServiceEffect, Step, StepKind, Warning,
};
use crate::domain::selector::Selector;
use crate::domain::service::{Service, ServiceType};
use crate::facts::world::Cluster;
use crate::policy::kubectl::{pilothouse_in, quote};
use crate::policy::pick::nodes_of;
use crate::policy::whatif::{Leaving, service_effect};
use crate::policy::{routes, slices};

fn object(context: &Name, on: ObjectRef) -> Lookup {
    Lookup::Object { context: context.clone(), on }
}

fn service_ref(cluster: &Cluster, namespace: &Name, service: &Name) -> ObjectRef {
    cluster.object(Kind::Service, namespace, service, &Uid::default())
}

/// Returns the objects that have to be read for the plan.
pub(super) fn lookups(cluster: &Cluster, plan: &FailoverPlan) -> Vec<Lookup> {
    let here = Name::default();
    match &plan.kind {
        FailoverKind::Selector { namespace, service, .. } => {
            vec![object(&here, service_ref(cluster, namespace, service))]
        }
        FailoverKind::Weight(shift) => vec![object(&here, shift.object(cluster.id()))],
        FailoverKind::Evacuate(pick) => nodes::drain_lookups(cluster, &nodes_of(cluster, pick)),
        FailoverKind::Standby(standby) => {
            let mut needs = Vec::new();
            for (kind, namespace, name) in &standby.workloads {
                let on = cluster.object(kind.clone(), namespace, name, &Uid::default());
                needs.push(object(&here, on.clone()));
                needs.push(object(&standby.context, on));
            }
            needs.extend(standby.shift.iter().map(|shift| object(&here, shift.object(cluster.id()))));
            needs
        }
    }
}

/// Returns the object that was read. If it was not read, adds a refusal and returns `None`.
fn read<'a>(lookups: &'a Lookups, plan: &mut Plan, context: &Name, on: &ObjectRef) -> Option<&'a Value> {
    let (needed, context) = (object(context, on.clone()), Elsewhere(context.clone()));
    let on = on.clone();
    plan.refusals.push(match lookups.get(&needed) {
        Some(LookupResult::Objects(objects)) if !objects.is_empty() => return objects.first(),
        Some(LookupResult::Unread(why)) => Refusal::ObjectNotReadable { on, context, why: why.clone() },
        Some(LookupResult::Absent) => Refusal::ObjectMissing { on, context },
        _ => Refusal::ObjectNotRead { on, context },
    });
    None
}

fn pinned(on: &ObjectRef, live: &Value) -> ObjectRef {
    let uid = live.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    ObjectRef { uid: Uid::parse(uid), ..on.clone() }
}

/// Makes the plan of a failover, or of its revert.
pub(super) fn plan(input: PlanInput<'_>, plan: &mut Plan, way: &FailoverPlan, revert: bool) {
    plan.confirm = Confirm::Context;
    let way = &from_where_it_stands(input.cluster, plan, way);
    match &way.kind {
        FailoverKind::Selector { namespace, service, from, to } => {
            let (from, to) = if revert { (to, from) } else { (from, to) };
            selector(input, plan, &service_ref(input.cluster, namespace, service), from, to);
            soak(plan, way);
        }
        FailoverKind::Weight(shift) => {
            weight(input, plan, way, &turned(shift, revert), false);
        }
        FailoverKind::Evacuate(pick) => evacuate(input, plan, pick, revert),
        FailoverKind::Standby(standby) => self::standby(input, plan, way, standby, revert),
    }
    match &way.watched {
        Some(watched) => watch::warn(input.cluster, plan, watched),
        None => plan.warnings.push(Warning::NotWatched),
    }
    if plan.kubectl.is_empty() {
        let back = if revert { " --revert" } else { "" };
        let words = format!("failover {}{back}", quote(&way.name));
        plan.kubectl = pilothouse_in(input.cluster, &plan.intent.context, &words);
    }
}

/// Raises the error limit by the errors that already exist. They are often the reason for the failover, so only
/// additional errors may stop it.
fn from_where_it_stands(cluster: &Cluster, plan: &mut Plan, way: &FailoverPlan) -> FailoverPlan {
    let mut way = way.clone();
    let Some(watched) = way.watched.as_mut() else { return way };
    let now = error_ratio(&cluster.traffic, watched).map_or(0.0, |ratio| (ratio * 1000.0).round() / 10.0);
    if now <= watched.max_error_percent {
        return way;
    }
    watched.max_error_percent += now;
    if let Act::Failover { plan: held, .. } = &mut plan.intent.act {
        held.watched.clone_from(&way.watched);
    }
    way
}

fn turned(shift: &WeightShift, revert: bool) -> WeightShift {
    if !revert {
        return shift.clone();
    }
    // A revert goes back in one step, because something is wrong in the new place.
    WeightShift { from: shift.to.clone(), to: shift.from.clone(), steps: vec![100], ..shift.clone() }
}

fn soak(plan: &mut Plan, way: &FailoverPlan) {
    let Some(on) = plan.steps.last().map(|s| s.on.clone()) else { return };
    if way.soak_secs > 0 {
        let gate = Gate::Soak { secs: way.soak_secs, watched: way.watched.clone() };
        plan.steps.push(Step::new(StepKind::Check(gate), on));
    }
}

/// Plans a blue/green switch: changes the Service's selector from one value to another.
fn selector(
    input: PlanInput<'_>,
    plan: &mut Plan,
    service: &ObjectRef,
    from: &[(Name, Name)],
    to: &[(Name, Name)],
) {
    let Some(live) = read(input.lookups, plan, &Name::default(), service) else { return };
    let service = pinned(service, live);
    let empty = serde_json::Map::new();
    let selector = live.pointer("/spec/selector").and_then(Value::as_object).unwrap_or(&empty);
    let value = |key: &Name| selector.get(key.as_str()).and_then(Value::as_str);
    if to.iter().all(|(key, wanted)| value(key) == Some(wanted)) {
        plan.warnings.push(Warning::SelectedAlready { service, labels: words(to) });
        return;
    }
    for (key, was) in from {
        if value(key) != Some(was) {
            let now = value(key).unwrap_or("nothing").to_owned();
            let (service, label, was) = (service.clone(), key.clone(), was.clone());
            plan.refusals.push(Refusal::OtherSelector { service, label, now, was });
        }
    }
    let mut after: Vec<(Name, Name)> = selector
        .iter()
        .filter(|(key, _)| !to.iter().any(|(k, _)| k.as_str() == key.as_str()))
        .map(|(key, value)| (Name::from(key.as_str()), Name::from(value.as_str().unwrap_or_default())))
        .collect();
    after.extend(to.iter().cloned());
    let fields = to
        .iter()
        .map(|(key, wanted)| FieldChange {
            pointer: format!("/spec/selector/{}", key.replace('~', "~0").replace('/', "~1")),
            from: selector.get(key.as_str()).cloned().unwrap_or(Value::Null),
            to: Value::from(wanted.as_str()),
        })
        .collect();
    let wanted = Selector::from_labels(after.iter().cloned());
    let pods: Vec<_> = input
        .cluster
        .pods
        .iter()
        .filter(|p| p.namespace == service.namespace && wanted.matches(*p))
        .filter(|p| !p.is_terminating() && !p.phase.is_finished())
        .collect();
    let ready = u32::try_from(pods.iter().filter(|p| p.ready).count()).unwrap_or(u32::MAX);
    if ready == 0 {
        plan.refusals.push(Refusal::NoReadyPod { service: service.clone(), labels: words(&after) });
    } else if usize::try_from(ready).unwrap_or(usize::MAX) < pods.len() {
        plan.warnings.push(Warning::SomeNotReady { labels: words(&after), ready, pods: pods.len() });
    }
    let row = input.cluster.derived.services.iter().find(|r| r.service.uid == service.uid);
    let before = row.map_or(0, |r| r.ready);
    if ready < before {
        plan.warnings.push(Warning::FewerBackends { ready, before });
    }
    plan.services.push(match row {
        Some(row) => service_effect(input.cluster, row, Leaving::All, ready),
        None => ServiceEffect {
            namespace: service.namespace.clone(),
            name: service.name.clone(),
            ready_before: before,
            ready_after: ready,
            ..ServiceEffect::default()
        },
    });
    plan.warnings.push(Warning::ConnectionsStay);
    let change = Change { words: format!("selector {} to {}", words(from), words(to)), fields };
    plan.steps.push(Step::new(StepKind::Change(change), service.clone()));
    let gate = Gate::ServedBy { labels: after, at_least: ready.max(1) };
    plan.steps.push(Step::new(StepKind::Check(gate), service.clone()));
    plan.undo = format!("selector back to {}", words(from));
    let patch: serde_json::Map<String, Value> =
        to.iter().map(|(k, v)| (k.to_string(), Value::from(v.as_str()))).collect();
    let patch = serde_json::json!({ "spec": { "selector": patch } }).to_string();
    plan.kubectl = kubectl(
        input.cluster,
        plan,
        &format!(
            "-n {} patch service {} --type=merge -p {}",
            quote(&service.namespace),
            quote(&service.name),
            quote(&patch)
        ),
    );
}

fn words(labels: &[(Name, Name)]) -> String {
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

/// Plans the change of the weights of two backends of a route, in steps. `rises` is true if earlier steps start the
/// pods behind `shift.to`.
fn weight(input: PlanInput<'_>, plan: &mut Plan, way: &FailoverPlan, shift: &WeightShift, rises: bool) {
    let route = shift.object(input.cluster.id());
    let Some(live) = read(input.lookups, plan, &Name::default(), &route) else { return };
    let route = pinned(&route, live);
    let pairs = routes::pairs(&shift.kind, live, &shift.from, &shift.to);
    if pairs.is_empty() {
        let known: Vec<String> =
            routes::backends(&shift.kind, live).iter().map(|b| b.name.to_string()).collect();
        let (from, to, known) = (shift.from.clone(), shift.to.clone(), All(known));
        plan.refusals.push(Refusal::NoSuchBackends { route, from, to, known });
        return;
    }
    ready_behind(input.cluster, plan, shift, rises);
    if let Some(by) = slices::shifted(input.cluster, shift).and_then(|canary| canary.worse()) {
        let (to, from) = (shift.to.clone(), shift.from.clone());
        plan.warnings.push(Warning::CanaryWorse { to, from, by });
    }
    plan.diff.extend(pairs.first().map(|pair| shares(input.cluster, shift, pair)).unwrap_or_default());
    let now = |pair: &routes::Pair| format!("{}:{}", pair.from.weight, pair.to.weight);
    let mut before: Vec<(String, Value)> =
        pairs.iter().flat_map(|p| [p.from.held.clone(), p.to.held.clone()]).collect();
    let mut share = pairs.first().map(now).unwrap_or_default();
    let names = pairs.iter().flat_map(|p| p.from.named.iter().chain(&p.to.named));
    let names: Vec<FieldChange> = names.map(|(at, name)| FieldChange::guard(at, name)).collect();
    for percent in &shift.steps {
        let after: Vec<(String, Value)> = pairs.iter().flat_map(|pair| pair.at(*percent)).collect();
        let mut fields: Vec<FieldChange> = before
            .iter()
            .zip(&after)
            .filter(|(from, to)| from.1 != to.1)
            .map(|(from, to)| FieldChange { pointer: to.0.clone(), from: from.1.clone(), to: to.1.clone() })
            .collect();
        if fields.is_empty() {
            continue;
        }
        fields.extend(names.iter().cloned());
        let moved = pairs.iter().find(|p| !p.has(*percent));
        let to = moved.map(|p| p.weights(*percent)).map(|(a, b)| format!("{a}:{b}")).unwrap_or_default();
        let words = format!("weight {}:{} from {share} to {to}", shift.from, shift.to);
        plan.steps.push(Step::new(StepKind::Change(Change { words, fields }), route.clone()));
        if shift.kind.as_str() == "HTTPRoute" {
            plan.steps.push(Step::new(StepKind::Check(Gate::RouteAccepted), route.clone()));
        }
        soak(plan, way);
        before = after;
        share = to;
    }
    if plan.steps.is_empty() {
        plan.warnings.push(Warning::WeightsAlready { route });
    }
    let weights = pairs.first().map(now).unwrap_or_default();
    plan.undo = format!("weight {}:{} back to {weights}", shift.from, shift.to);
}

/// Describes the two backends as they are: the weight, and the share of the requests of both that each gets.
fn shares(cluster: &Cluster, shift: &WeightShift, pair: &routes::Pair) -> Vec<String> {
    let rps = |backend: &routes::Backend| {
        cluster.measured(&shift.namespace, routes::service_name(&backend.name))?.traffic.rps
    };
    let both = [&pair.from, &pair.to];
    // Two subsets of one Service are measured together.
    let apart = routes::service_name(&pair.from.name) != routes::service_name(&pair.to.name);
    let sum = rps(&pair.from).zip(rps(&pair.to)).map(|(a, b)| a + b).filter(|sum| apart && *sum > 0.0);
    let line = |backend: &&routes::Backend| {
        let gets = rps(backend).zip(sum).map_or_else(String::new, |(rps, sum)| {
            format!(", gets {:.1} % ({rps:.0} rps)", rps / sum * 100.0)
        });
        format!("  now: {} weight {}{gets}", backend.name, backend.weight)
    };
    both.iter().map(line).collect()
}

/// Checks that the Service that gets the traffic has a ready endpoint.
fn ready_behind(cluster: &Cluster, plan: &mut Plan, shift: &WeightShift, rises: bool) {
    let name = routes::service_name(&shift.to);
    let row = cluster
        .derived
        .services
        .iter()
        .find(|r| r.service.namespace == shift.namespace && r.service.name == *name);
    match row {
        // An ExternalName Service has no endpoints in this cluster.
        Some(row) if row.service.kind == ServiceType::ExternalName => {
            plan.warnings.push(Warning::OutsideCluster { backend: shift.to.clone() });
        }
        Some(row) if row.ready == 0 && rises && !row.service.selector.is_empty() => {
            let labels = row.service.selector.labels.to_vec();
            let service = cluster.object(Kind::Service, &shift.namespace, &name.into(), &row.service.uid);
            plan.steps.push(Step::new(StepKind::Check(Gate::ServedBy { labels, at_least: 1 }), service));
        }
        Some(row) if row.ready == 0 => {
            let (namespace, service) = (shift.namespace.clone(), name.into());
            plan.refusals.push(Refusal::NoReadyEndpoint { namespace, service });
        }
        Some(row) => {
            let from = cluster.measured(&shift.namespace, routes::service_name(&shift.from));
            let moved = from.and_then(|from| from.traffic.rps).filter(|rps| rps.is_finite());
            let ready = row.ready.saturating_add(rising(cluster, plan, &row.service));
            let mut effect = service_effect(cluster, row, Leaving::All, ready);
            // The last step counts: the requests of both, by the new weights.
            let percent = shift.steps.last().copied().unwrap_or(100);
            let here = effect.rps_before.unwrap_or(0.0) * f64::from(row.ready);
            effect.rps_after =
                moved.map(|moved| (moved + here) * f64::from(percent) / 100.0 / f64::from(ready));
            plan.services.push(effect);
        }
        None => plan.warnings.push(Warning::BackendUnknown { backend: shift.to.clone() }),
    }
}

/// Counts the pods that the steps so far start behind a Service of this cluster.
fn rising(cluster: &Cluster, plan: &Plan, service: &Service) -> u32 {
    let started = |step: &Step| match step.what {
        StepKind::Scale { from, to } if step.context.is_empty() && step.on.namespace == service.namespace => {
            let workload = cluster.workload(&step.on.kind, &step.on.namespace, &step.on.name)?;
            let serves = !service.selector.is_empty() && workload.may_have_pods_for(&service.selector);
            u32::try_from(to.saturating_sub(from)).ok().filter(|_| serves)
        }
        _ => None,
    };
    plan.steps.iter().filter_map(started).sum()
}

/// Plans a drain of the nodes. They stay cordoned until the revert.
fn evacuate(input: PlanInput<'_>, plan: &mut Plan, pick: &Pick, revert: bool) {
    plan.intent.targets = nodes_of(input.cluster, pick);
    if plan.intent.targets.is_empty() {
        plan.refusals.push(Refusal::NoNode);
        return;
    }
    if revert {
        nodes::cordon(input, plan, false);
    } else {
        let options = DrainOptions { ignore_daemonsets: true, ..DrainOptions::default() };
        nodes::drain(input, plan, &options);
    }
    plan.confirm = Confirm::Context;
}

fn replicas(live: &Value) -> i32 {
    let replicas = live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    i32::try_from(replicas).unwrap_or(i32::MAX)
}

/// Plans that another cluster takes over the workloads, or gives them back.
fn standby(input: PlanInput<'_>, plan: &mut Plan, way: &FailoverPlan, standby: &Standby, revert: bool) {
    if standby.context == plan.intent.context {
        plan.refusals.push(Refusal::StandbyIsHere { context: standby.context.clone() });
        return;
    }
    let here = Name::default();
    let (up_in, down_in) = if revert { (&here, &standby.context) } else { (&standby.context, &here) };
    let (mut ready, mut down) = (Vec::new(), Vec::new());
    for (kind, namespace, name) in &standby.workloads {
        let on = input.cluster.object(kind.clone(), namespace, name, &Uid::default());
        let taker = read(input.lookups, plan, up_in, &on);
        let giver = read(input.lookups, plan, down_in, &on);
        let (Some(taker), Some(giver)) = (taker, giver) else { continue };
        let (has, wanted) = (replicas(taker), replicas(giver));
        if images(taker) != images(giver) {
            let place = |context: &Name| {
                if context.is_empty() { plan.intent.context.clone() } else { context.clone() }
            };
            plan.warnings.push(Warning::ImagesDiffer {
                on: on.clone(),
                images: All(images(giver)),
                context: place(down_in),
                others: All(images(taker)),
                other: place(up_in),
            });
        }
        if has < wanted {
            let mut step = Step::new(StepKind::Scale { from: has, to: wanted }, pinned(&on, taker));
            step.context = up_in.clone();
            plan.steps.push(step);
        }
        if wanted > 0 {
            let replicas = wanted.max(has);
            let mut step = Step::new(StepKind::Check(Gate::Ready { replicas }), pinned(&on, taker));
            step.context = up_in.clone();
            ready.push(step);
        }
        if standby.scale_down && wanted > 0 {
            let mut step = Step::new(StepKind::Scale { from: wanted, to: 0 }, pinned(&on, giver));
            step.context = down_in.clone();
            down.push(step);
        }
    }
    // The workloads must be ready before traffic moves, even if this plan does not scale them.
    plan.steps.extend(ready);
    match &standby.shift {
        None if standby.scale_down => plan.refusals.push(Refusal::ScaleDownNeedsRoute),
        Some(shift) => weight(input, plan, way, &turned(shift, revert), up_in.is_empty()),
        None => plan.warnings.push(Warning::TrafficNotMoved),
    }
    plan.steps.extend(down);
    if plan.steps.iter().all(Step::is_check) && plan.refusals.is_empty() {
        plan.steps.clear();
        plan.warnings.push(Warning::StandbyAlready);
    }
    plan.kubectl = String::new();
    plan.undo = "each scaling and shift backwards, as far as it got".into();
}

fn images(live: &Value) -> Vec<String> {
    let containers = live.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let image = |c: &Value| c.get("image").and_then(Value::as_str).map(str::to_owned);
    containers.into_iter().flatten().filter_map(image).collect()
}
