//! Changes of replicas: the number of a workload, and the bounds of its autoscaler.

use serde_json::Value;

use super::workloads::workload;
use super::{DataScope, PlanInput, gone, here, kubectl};
use crate::domain::autoscaler::Hpa;
use crate::domain::id::{Kind, ObjectRef, Uid};
use crate::domain::kinds::Purpose;
use crate::domain::plan::{
    Change, Confirm, FieldChange, Lookup, LookupResult, Plan, Refusal, ScaleBy, Step, StepKind, Warning,
};
use crate::domain::pod::Pod;
use crate::domain::quantity;
use crate::domain::workload::Workload;
use crate::facts::world::Cluster;
use crate::plan::drift::changed_by;
use crate::policy::kubectl::quote;
use crate::policy::placement::place;
use crate::policy::whatif::{Leaving, service_effect};

/// Returns the HPA that scales a workload. It is found by its scaleTargetRef, because its name can differ.
pub fn autoscaler_of<'a>(cluster: &'a Cluster, target: &ObjectRef) -> Option<&'a Hpa> {
    cluster.hpas.iter().map(AsRef::as_ref).find(|h| {
        h.namespace == target.namespace && h.target_kind == target.kind && h.target_name == target.name
    })
}

pub(super) fn scale(input: PlanInput<'_>, plan: &mut Plan, by: &ScaleBy) {
    let cluster = input.cluster;
    if by.replicas < 0 {
        plan.refusals.push(Refusal::NegativeReplicas { replicas: by.replicas });
    }
    for target in plan.intent.targets.clone() {
        if !target.kind.takes(Purpose::Scale) {
            plan.refusals.push(Refusal::NotScalable { kind: target.kind });
            continue;
        }
        let Some(w) = workload(cluster, plan, &target) else { continue };
        if let Some(seen) = by.current_replicas
            && seen != w.replicas
        {
            let who = match input.lookups.get(&here(&target)) {
                Some(LookupResult::Objects(objects)) => {
                    objects.first().map(|l| changed_by(l, "/spec/replicas"))
                }
                _ => None,
            };
            let who = who.unwrap_or_default();
            let (name, replicas) = (w.name.clone(), w.replicas);
            plan.refusals.push(Refusal::OtherReplicas { name, replicas, seen, who });
            continue;
        }
        if w.replicas == by.replicas {
            plan.warnings.push(Warning::ReplicasAlready { name: w.name.clone(), replicas: w.replicas });
            continue;
        }
        if by.replicas > w.replicas && w.ready == 0 && w.replicas > 0 {
            plan.warnings.push(Warning::NoneReady { name: w.name.clone(), replicas: w.replicas });
        }
        if let Some(hpa) = autoscaler_of(cluster, &target) {
            plan.warnings.push(autoscaled(hpa, by.replicas));
        } else if !cluster.hpas.cover.is_complete() {
            plan.warnings.push(Warning::AutoscalersUnknown);
        }
        let confirm = if by.replicas == 0 {
            plan.warnings.push(Warning::NoPodsLeft { name: w.name.clone() });
            Confirm::Context
        } else if by.replicas < w.replicas {
            if w.kind == Kind::StatefulSet {
                let (name, replicas) = (w.name.clone(), by.replicas);
                plan.warnings.push(Warning::HighestOrdinals { name, replicas });
            }
            Confirm::Suffix
        } else {
            Confirm::Yes
        };
        plan.confirm = plan.confirm.max(confirm);
        services_after(cluster, plan, w, by.replicas);
        quotas(input, plan, w, by.replicas);
        headroom(input, plan, w, by.replicas);
        plan.undo = format!("scale back to {}, if it still has {} then", w.replicas, by.replicas);
        plan.steps.push(Step::new(StepKind::Scale { from: w.replicas, to: by.replicas }, target));
    }
    let each = plan.intent.targets.iter().map(|target| {
        let from = plan.steps.iter().find(|s| s.on == *target).and_then(|s| match s.what {
            StepKind::Scale { from, .. } => Some(format!(" --current-replicas {from}")),
            _ => None,
        });
        let (kind, from) = (target.kind.short(), from.unwrap_or_default());
        let (ns, name) = (quote(&target.namespace), quote(&target.name));
        kubectl(cluster, plan, &format!("-n {ns} scale {kind}/{name} --replicas {}{from}", by.replicas))
    });
    plan.kubectl = each.collect::<Vec<_>>().join(" && ");
}

/// Adds the Services that lose endpoints when a workload is scaled down.
fn services_after(cluster: &Cluster, plan: &mut Plan, w: &Workload, replicas: i32) {
    let lost = u32::try_from(w.replicas - replicas).unwrap_or(0);
    if lost == 0 {
        return;
    }
    let behind = cluster.derived.services.iter().filter(|row| {
        let s = &row.service;
        s.namespace == w.namespace && !s.selector.is_empty() && w.may_have_pods_for(&s.selector)
    });
    for row in behind {
        let ready_after = row.ready.saturating_sub(lost);
        let (namespace, name) = (row.service.namespace.clone(), row.service.name.clone());
        if ready_after == 0 && row.ready > 0 {
            plan.warnings.push(Warning::LastEndpoint { namespace, service: name });
        }
        let effect = service_effect(cluster, row, Leaving::Count(lost), ready_after);
        plan.warnings.extend(Warning::of_breaks(&effect));
        plan.services.push(effect);
    }
}

/// Returns how an autoscaler reacts to a number that a person set.
fn autoscaled(hpa: &Hpa, wanted: i32) -> Warning {
    let (name, min, max) = (hpa.name.clone(), hpa.min, hpa.max);
    if wanted == 0 {
        return Warning::AutoscalerOff { hpa: name };
    }
    if wanted > hpa.max {
        return Warning::AutoscalerMaximum { hpa: name, max };
    }
    if wanted < hpa.min {
        return Warning::AutoscalerMinimum { hpa: name, min };
    }
    Warning::AutoscalerRecomputes { hpa: name, min, max }
}

/// The maximum number of new pods that are placed on nodes for the check.
const MOST_PLACED: i32 = 5_000;

/// Warns if additional pods of this workload fit on no node now.
fn headroom(input: PlanInput<'_>, plan: &mut Plan, w: &Workload, replicas: i32) {
    let more = replicas.saturating_sub(w.replicas).min(MOST_PLACED);
    let cluster = input.cluster;
    if more <= 0 || input.scope == DataScope::TargetsOnly {
        return;
    }
    if !cluster.pods.cover.is_complete() || !cluster.nodes.cover.is_complete() {
        plan.warnings.push(Warning::RoomUnknown);
        return;
    }
    let like = cluster
        .pods
        .iter()
        .find(|p| p.namespace == w.namespace && !p.phase.is_finished() && w.selector.matches(*p));
    let Some(like) = like else { return };
    let new: Vec<Pod> = (0..more)
        .map(|i| Pod {
            uid: Uid::Text(format!("new {i}").into()),
            name: format!("{}-new-{i}", w.name).into(),
            node: None,
            ..Pod::clone(like)
        })
        .collect();
    let placement = place(cluster, &[], &new.iter().collect::<Vec<_>>());
    if let Some(first) = placement.unplaced.first() {
        let (pods, reason) = (placement.unplaced.len(), first.reason.clone());
        plan.warnings.push(Warning::NoNode { replicas, pods, more, reason });
        plan.confirm = plan.confirm.max(Confirm::Suffix);
    }
}

/// Warns about the ResourceQuotas of the namespace that leave no room for more pods.
fn quotas(input: PlanInput<'_>, plan: &mut Plan, w: &Workload, replicas: i32) {
    let more = i64::from(replicas) - i64::from(w.replicas);
    if more <= 0 {
        return;
    }
    let objects = match input.lookups.get(&Lookup::Quotas(w.namespace.clone())) {
        Some(LookupResult::Objects(objects)) => objects,
        Some(LookupResult::Unread(why)) => {
            plan.warnings.push(Warning::QuotaUnknown { why: why.clone() });
            return;
        }
        _ => return,
    };
    let pods = &input.cluster.pods;
    let pod = pods.iter().find(|p| p.namespace == w.namespace && w.selector.matches(*p));
    for quota in objects {
        let name = quota.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        for (resource, each) in [
            ("pods", Some(1)),
            ("count/pods", Some(1)),
            ("requests.cpu", pod.map(|p| p.shape.requests.cpu_milli)),
            ("cpu", pod.map(|p| p.shape.requests.cpu_milli)),
            ("requests.memory", pod.map(|p| p.shape.requests.memory_bytes)),
            ("memory", pod.map(|p| p.shape.requests.memory_bytes)),
        ] {
            let amount = |of: &str| {
                let text = quota.get("status")?.get(of)?.get(resource)?.as_str()?;
                if resource.ends_with("cpu") { quantity::milli(text) } else { quantity::whole(text) }
            };
            let (Some(hard), Some(used)) = (amount("hard"), amount("used")) else { continue };
            let Some(each) = each else {
                plan.warnings.push(Warning::QuotaUnjudged { quota: name.clone(), resource });
                continue;
            };
            let fit = if each <= 0 { more } else { ((hard - used).max(0) / each).min(more) };
            if fit < more {
                let quota = name.clone();
                plan.warnings.push(Warning::QuotaFull { quota, resource, fit, more, used, hard, each });
                plan.confirm = plan.confirm.max(Confirm::Suffix);
            }
        }
    }
}

/// Checks the room for the pods that wider bounds allow: up to the new maximum if it is raised, or else up to the new
/// minimum.
fn room_for(input: PlanInput<'_>, plan: &mut Plan, hpa: &Hpa, to_min: i32, to_max: i32) {
    let most = if to_max > hpa.max {
        to_max
    } else if to_min > hpa.min {
        to_min
    } else {
        return;
    };
    match input.cluster.workload(&hpa.target_kind, &hpa.namespace, &hpa.target_name) {
        Some(w) => {
            quotas(input, plan, w, most);
            headroom(input, plan, w, most);
        }
        // A headless command reads only the autoscaler. It does not check the headroom in any case.
        None if input.scope == DataScope::TargetsOnly => {}
        None => {
            let (kind, name) = (hpa.target_kind.clone(), hpa.target_name.clone());
            plan.warnings.push(Warning::TargetUnknown { kind, name, most });
        }
    }
}

/// Plans new values of minReplicas and maxReplicas.
pub(super) fn bounds(input: PlanInput<'_>, plan: &mut Plan, min: Option<i32>, max: Option<i32>) {
    let cluster = input.cluster;
    let mut commands = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(hpa) = cluster.hpas.iter().find(|h| h.uid == target.uid) else {
            plan.refusals.push(gone(&target));
            continue;
        };
        let (to_min, to_max) = (min.unwrap_or(hpa.min), max.unwrap_or(hpa.max));
        if to_min < 0 || to_max < 1 || to_min > to_max {
            plan.refusals.push(Refusal::NoBounds { min: to_min, max: to_max });
            continue;
        }
        if hpa.keda {
            plan.warnings.push(Warning::KedaReverts { hpa: hpa.name.clone() });
        }
        let mut fields = Vec::new();
        for (pointer, from, to) in
            [("/spec/minReplicas", hpa.min, to_min), ("/spec/maxReplicas", hpa.max, to_max)]
        {
            if from != to {
                fields.push(FieldChange { pointer: pointer.into(), from: from.into(), to: to.into() });
            }
        }
        if fields.is_empty() {
            plan.warnings.push(Warning::BoundsAlready { hpa: hpa.name.clone() });
            continue;
        }
        if to_max < hpa.max || to_min < hpa.min {
            plan.confirm = plan.confirm.max(Confirm::Suffix);
        }
        room_for(input, plan, hpa, to_min, to_max);
        if let Some(now) = hpa.current {
            if now > to_max {
                plan.warnings.push(Warning::ReplicasGo { now, going: now - to_max });
            } else if now < to_min {
                plan.warnings.push(Warning::ReplicasStart { now, more: to_min - now });
            }
        }
        let words = format!("bounds {}-{} to {to_min}-{to_max}", hpa.min, hpa.max);
        plan.undo = format!("bounds back to {}-{}", hpa.min, hpa.max);
        commands.push(kubectl(
            cluster,
            plan,
            &format!(
                "-n {} patch hpa {} --type=merge -p '{{\"spec\":{{\"minReplicas\":{to_min},\"maxReplicas\":{to_max}}}}}'",
                quote(&hpa.namespace),
                quote(&hpa.name)
            ),
        ));
        plan.steps.push(Step::new(StepKind::Change(Change { words, fields }), target));
    }
    plan.kubectl = commands.join(" && ");
}
