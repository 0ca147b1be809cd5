//! Numbers of replicas: a workload's own, and the bounds of its autoscaler.

use serde_json::Value;

use super::workloads::workload;
use super::{Grounds, View, gone, here, kubectl};
use crate::domain::autoscaler::Hpa;
use crate::domain::id::{Kind, ObjectRef, Uid};
use crate::domain::kinds::Purpose;
use crate::domain::plan::{
    Change, Confirm, FieldChange, Found, Need, Plan, Refusal, ScaleBy, Step, StepKind,
};
use crate::domain::pod::Pod;
use crate::domain::quantity;
use crate::domain::workload::Workload;
use crate::facts::world::Cluster;
use crate::plan::drift::last_change;
use crate::policy::drain as draining;
use crate::policy::kubectl::quote;
use crate::policy::placement::place;

/// The HPA that scales a workload, found by its reference and not by its name.
pub fn autoscaler_of<'a>(cluster: &'a Cluster, target: &ObjectRef) -> Option<&'a Hpa> {
    cluster.hpas.iter().map(AsRef::as_ref).find(|h| {
        h.namespace == target.namespace && h.target_kind == target.kind && h.target_name == target.name
    })
}

pub(super) fn scale(grounds: Grounds<'_>, plan: &mut Plan, by: &ScaleBy) {
    let cluster = grounds.cluster;
    if by.replicas < 0 {
        plan.refusals.push(Refusal::new(
            "precondition",
            format!("{} replicas: a number of 0 or more is needed", by.replicas),
        ));
    }
    for target in plan.intent.targets.clone() {
        if !target.kind.takes(Purpose::Scale) {
            let why = format!("a {} cannot be scaled", target.kind);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        let Some(w) = workload(cluster, plan, &target) else { continue };
        if let Some(seen) = by.current_replicas
            && seen != w.replicas
        {
            let who = match grounds.extras.get(&here(&target)) {
                Some(Found::Objects(objects)) => objects.first().map(|l| last_change(l, "/spec/replicas")),
                _ => None,
            };
            let who = who.unwrap_or_default();
            let why = format!("{} has {} replicas, not {seen}{who}", w.name, w.replicas);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        if w.replicas == by.replicas {
            plan.warnings.push(format!("{} has {} replicas already: nothing to do", w.name, w.replicas));
            continue;
        }
        if by.replicas > w.replicas && w.ready == 0 && w.replicas > 0 {
            plan.warnings.push(format!(
                "none of {}'s {} replicas is ready: more of them may not help",
                w.name, w.replicas
            ));
        }
        if let Some(hpa) = autoscaler_of(cluster, &target) {
            plan.warnings.push(autoscaled(hpa, by.replicas));
        } else if !cluster.hpas.cover.is_complete() {
            plan.warnings.push("whether an autoscaler owns this is not known: HPAs are not loaded".into());
        }
        let confirm = if by.replicas == 0 {
            plan.warnings.push(format!("{} will have no pods", w.name));
            Confirm::Context
        } else if by.replicas < w.replicas {
            if w.kind == Kind::StatefulSet {
                plan.warnings
                    .push(format!("the highest ordinals go first, down to {}-{}", w.name, by.replicas));
            }
            Confirm::Suffix
        } else {
            Confirm::Yes
        };
        plan.confirm = plan.confirm.max(confirm);
        services_after(cluster, plan, w, by.replicas);
        quotas(grounds, plan, w, by.replicas);
        headroom(grounds, plan, w, by.replicas);
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

/// The Services that lose endpoints when a workload shrinks.
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
            plan.warnings.push(format!("service {namespace}/{name} is left without a ready endpoint"));
        }
        plan.services.push(draining::service_effect(cluster, row, ready_after));
    }
}

/// What an autoscaler will make of a manual number.
fn autoscaled(hpa: &Hpa, wanted: i32) -> String {
    let name = &hpa.name;
    if wanted == 0 {
        return format!("0 replicas switch HPA {name} off until someone scales up");
    }
    if wanted > hpa.max {
        return format!(
            "HPA {name} takes it back to its maximum {} within seconds: raise maxReplicas instead",
            hpa.max
        );
    }
    if wanted < hpa.min {
        return format!(
            "HPA {name} takes it back to its minimum {} within seconds: lower minReplicas instead",
            hpa.min
        );
    }
    format!(
        "HPA {name} ({}-{}) recomputes the number at its next sync: change its bounds instead",
        hpa.min, hpa.max
    )
}

/// Most new pods that are looked for a place for.
const MOST_PLACED: i32 = 5_000;

/// Whether more pods of this kind find a node now.
fn headroom(grounds: Grounds<'_>, plan: &mut Plan, w: &Workload, replicas: i32) {
    let more = replicas.saturating_sub(w.replicas).min(MOST_PLACED);
    let cluster = grounds.cluster;
    if more <= 0 || grounds.view == View::Targets {
        return;
    }
    if !cluster.pods.cover.is_complete() || !cluster.nodes.cover.is_complete() {
        plan.warnings.push("whether more pods find a node is not known: not all pods and nodes are".into());
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
        plan.warnings.push(format!(
            "at {replicas} replicas {} of {more} more pods find no node now: {}",
            placement.unplaced.len(),
            first.reason
        ));
        plan.confirm = plan.confirm.max(Confirm::Suffix);
    }
}

/// The quotas of the namespace that more pods would not fit under.
fn quotas(grounds: Grounds<'_>, plan: &mut Plan, w: &Workload, replicas: i32) {
    let more = i64::from(replicas) - i64::from(w.replicas);
    if more <= 0 {
        return;
    }
    let objects = match grounds.extras.get(&Need::Quotas(w.namespace.clone())) {
        Some(Found::Objects(objects)) => objects,
        Some(Found::Unread(why)) => {
            plan.warnings.push(format!("whether a quota stands against it is not known: {why}"));
            return;
        }
        _ => return,
    };
    let pods = &grounds.cluster.pods;
    let pod = pods.iter().find(|p| p.namespace == w.namespace && w.selector.matches(*p));
    for quota in objects {
        let name = quota.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
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
                plan.warnings
                    .push(format!("quota {name} limits {resource}; what a new pod asks for is not known"));
                continue;
            };
            let fit = if each <= 0 { more } else { ((hard - used).max(0) / each).min(more) };
            if fit < more {
                plan.warnings.push(format!(
                    "quota {name} leaves room for {fit} of {more} more pods: {resource} {used} of {hard} used, {each} each"
                ));
                plan.confirm = plan.confirm.max(Confirm::Suffix);
            }
        }
    }
}

/// Whether there is room for the pods that wider bounds ask for: up to a maximum that is raised, else to the minimum.
fn room_for(grounds: Grounds<'_>, plan: &mut Plan, hpa: &Hpa, to_min: i32, to_max: i32) {
    let most = if to_max > hpa.max {
        to_max
    } else if to_min > hpa.min {
        to_min
    } else {
        return;
    };
    match grounds.cluster.workload(&hpa.target_kind, &hpa.namespace, &hpa.target_name) {
        Some(w) => {
            quotas(grounds, plan, w, most);
            headroom(grounds, plan, w, most);
        }
        // a headless command fetches the autoscaler alone, and judges no headroom anyway
        None if grounds.view == View::Targets => {}
        None => plan.warnings.push(format!(
            "whether {most} pods find room is not known: {} {} is not among what is watched",
            hpa.target_kind, hpa.target_name
        )),
    }
}

/// minReplicas and maxReplicas of an autoscaler.
pub(super) fn bounds(grounds: Grounds<'_>, plan: &mut Plan, min: Option<i32>, max: Option<i32>) {
    let cluster = grounds.cluster;
    let mut commands = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(hpa) = cluster.hpas.iter().find(|h| h.uid == target.uid) else {
            plan.refusals.push(gone(&target));
            continue;
        };
        let (to_min, to_max) = (min.unwrap_or(hpa.min), max.unwrap_or(hpa.max));
        if to_min < 0 || to_max < 1 || to_min > to_max {
            let why = format!("{to_min}-{to_max} are no bounds: 0 <= min <= max and max >= 1");
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        if hpa.keda {
            plan.warnings.push(format!("{} belongs to a KEDA ScaledObject, which reverts this", hpa.name));
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
            plan.warnings.push(format!("{} has these bounds already: nothing to do", hpa.name));
            continue;
        }
        if to_max < hpa.max || to_min < hpa.min {
            plan.confirm = plan.confirm.max(Confirm::Suffix);
        }
        room_for(grounds, plan, hpa, to_min, to_max);
        if let Some(now) = hpa.current {
            if now > to_max {
                plan.warnings
                    .push(format!("it has {now} replicas: {} of them go at its next sync", now - to_max));
            } else if now < to_min {
                plan.warnings
                    .push(format!("it has {now} replicas: {} more start at its next sync", to_min - now));
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
