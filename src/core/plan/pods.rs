//! Actions on single pods: eviction, and moving a pod out of or into the rotation of a Service.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{PlanInput, gone, kubectl, live};
use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::node::Node;
use crate::domain::plan::{
    Act, Change, Choice, Confirm, DrainOptions, EvictOptions, Fate, FieldChange, Plan, PodFate, Refusal,
    Since, Step, StepKind, Warning,
};
use crate::domain::pod::Pod;
use crate::domain::workload::POD_NAME;
use crate::facts::world::Cluster;
use crate::policy::kubectl::quote;
use crate::policy::whatif::{Leaving, service_effect};
use crate::policy::{drain as draining, health};

fn pod<'a>(cluster: &'a Cluster, plan: &mut Plan, target: &ObjectRef) -> Option<&'a Pod> {
    let found = cluster.pods.iter().find(|p| p.uid == target.uid);
    if found.is_none() {
        plan.refusals.push(gone(target));
    }
    found.map(AsRef::as_ref)
}

/// Plans the eviction of single pods by the eviction API, or by DELETE.
pub(super) fn evict(input: PlanInput<'_>, plan: &mut Plan, options: &EvictOptions) {
    let PlanInput { cluster, now, .. } = input;
    plan.confirm = Confirm::Suffix;
    let grace_period = options.grace_period;
    for target in plan.intent.targets.clone() {
        let Some(pod) = pod(cluster, plan, &target) else { continue };
        let owner = pod.owner.as_ref().map_or_else(String::new, |o| format!("{}/{}", o.kind, o.name));
        let reason = if pod.mirror {
            plan.refusals.push(Refusal::StaticPod { pod: pod.name.clone() });
            "static pod (mirror)"
        } else if pod.owner.is_none() {
            plan.warnings.push(Warning::NoController { pod: pod.name.clone() });
            "nothing will re-create it"
        } else {
            ""
        };
        if pod.shape.empty_dir {
            plan.warnings.push(Warning::EmptyDirLost { pod: pod.name.clone() });
        }
        plan.pods.push(PodFate {
            pod: target.clone(),
            node: pod.node.clone().unwrap_or_default(),
            fate: Fate::Evict,
            reason: reason.into(),
            owner,
        });
        let what =
            if options.delete { StepKind::Delete { grace_period } } else { StepKind::Evict { grace_period } };
        plan.steps.push(Step::new(what, target));
    }
    let as_drain = DrainOptions { disable_eviction: options.delete, grace_period, ..DrainOptions::default() };
    let judged = draining::single(cluster, std::mem::take(&mut plan.pods), &as_drain);
    plan.pods = judged.pods;
    plan.pdbs = judged.pdbs;
    plan.services = judged.services;
    let on_one = |node: &&Arc<Node>| plan.pods.iter().any(|pod| pod.node == node.name);
    for node in cluster.nodes.iter().filter(on_one) {
        let verdict = health::judge(node, None, None, now);
        if verdict.state.is_dead() {
            let since = Since(verdict.since.map(|at| at.told(now)));
            let (node, state) = (node.name.clone(), verdict.state.as_str());
            plan.warnings.push(Warning::NodeNotReady { node, state, since });
        }
    }
    plan.warnings.extend(judged.warnings);
    plan.unread = judged.unread;
    plan.choices.push(Choice {
        words: "delete pods instead of evicting them: PodDisruptionBudgets are not checked".into(),
        act: Act::Evict(EvictOptions { delete: !options.delete, ..options.clone() }),
        on: options.delete,
    });
    if options.delete {
        plan.warnings.push(Warning::BudgetsNotAsked);
    }
    let bare = plan.pods.iter().filter(|pod| pod.owner.is_empty()).count();
    plan.undo = match bare {
        0 => "nothing: evicted pods do not come back, their controllers start new ones",
        n if n == plan.pods.len() => "nothing: evicted pods do not come back",
        _ => "nothing: evicted pods do not come back; those that have a controller are replaced by new ones",
    }
    .into();
    let words = |t: &ObjectRef| {
        let grace = if grace_period < 0 { String::new() } else { format!(" --grace-period={grace_period}") };
        if options.delete {
            return format!("-n {} delete pod {}{grace}", quote(&t.namespace), quote(&t.name));
        }
        // kubectl has no command for an eviction.
        let mut body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "namespace": t.namespace.as_str(), "name": t.name.as_str() },
        });
        if let (true, Some(body)) = (grace_period >= 0, body.as_object_mut()) {
            body.insert("deleteOptions".into(), json!({ "gracePeriodSeconds": grace_period }));
        }
        let path = format!("/api/v1/namespaces/{}/pods/{}/eviction", t.namespace, t.name);
        format!("create --raw {} -f - <<< {}", quote(&path), quote(&body.to_string()))
    };
    let each = plan.intent.targets.iter().map(|t| kubectl(cluster, plan, &words(t)));
    plan.kubectl = each.collect::<Vec<_>>().join(" && ");
}

/// The annotation that stores the labels removed from a pod, as a JSON object. Anyone can restore them from it.
pub const OUT_OF_ROTATION: &str = "pilothouse.dev/out-of-rotation";

/// Returns a key as a segment of a JSON pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn label_field(key: &str, from: Value, to: Value) -> FieldChange {
    FieldChange { pointer: format!("/metadata/labels/{}", escape(key)), from, to }
}

fn note_field(from: Value, to: Value) -> FieldChange {
    FieldChange { pointer: format!("/metadata/annotations/{}", escape(OUT_OF_ROTATION)), from, to }
}

/// The labels that leave a pod so that the Service no longer selects it. One that its controller does not select by,
/// if there is one: then the pod stays its controller's, and no replacement is made.
fn labels_to_take(cluster: &Cluster, pod: &Pod, selector: &[(Name, Name)]) -> (Vec<(Name, Name)>, bool) {
    let owner = pod.owner.as_ref().and_then(|o| cluster.workloads(&o.kind)?.iter().find(|w| w.uid == o.uid));
    let Some(owner) = owner else { return (selector.to_vec(), pod.owner.is_some()) };
    let owned = |key: &Name| {
        owner.selector.labels.iter().any(|(k, _)| k == key)
            || owner.selector.expressions.iter().any(|r| r.key == *key)
    };
    match selector.iter().find(|(key, _)| !owned(key)) {
        Some(free) => (vec![free.clone()], false),
        None => (selector.to_vec(), true),
    }
}

/// Plans that a pod leaves its Service and keeps running, so that a person can inspect it.
pub(super) fn out_of_rotation(input: PlanInput<'_>, plan: &mut Plan, service: &Name) {
    let cluster = input.cluster;
    plan.confirm = Confirm::Suffix;
    let mut commands = Vec::new();
    let mut leaving: Vec<Name> = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(pod) = pod(cluster, plan, &target) else { continue };
        let found = cluster.services.iter().find(|s| s.namespace == pod.namespace && s.name == *service);
        let Some(found) = found else {
            let (namespace, service) = (pod.namespace.clone(), service.clone());
            let cover = &cluster.services.cover;
            plan.refusals.push(if cover.covers(&namespace) {
                Refusal::ServiceMissing { namespace, service }
            } else {
                Refusal::ServiceUnknown { namespace, service, note: cover.note().unwrap_or_default() }
            });
            continue;
        };
        if found.selector.is_empty() || !found.selector.matches(pod) {
            plan.refusals.push(Refusal::NotSelected { service: service.clone(), pod: pod.name.clone() });
            continue;
        }
        let Some(live) = live(input, plan, &target) else { continue };
        let (taken, orphaned) = labels_to_take(cluster, pod, &found.selector.labels);
        if taken.iter().all(|(key, _)| *key == POD_NAME) && !taken.is_empty() && !orphaned {
            let (service, pod) = (service.clone(), pod.name.clone());
            plan.refusals.push(Refusal::LabelSetAgain { service, pod, label: POD_NAME });
            continue;
        }
        let mut fields = Vec::new();
        let mut note = Map::new();
        for (key, _) in &taken {
            let value = live.pointer("/metadata/labels").and_then(|l| l.get(key.as_str()));
            let Some(value) = value else { continue };
            fields.push(label_field(key, value.clone(), Value::Null));
            note.insert(key.to_string(), value.clone());
        }
        fields.push(note_field(Value::Null, Value::String(Value::Object(note).to_string())));
        if orphaned {
            let owner =
                pod.owner.as_ref().map_or_else(String::new, |o| format!("{}/{}", o.kind.short(), o.name));
            plan.warnings.push(Warning::LeavesController { pod: pod.name.clone(), owner });
            if pod.owner.as_ref().is_some_and(|o| o.kind == Kind::StatefulSet) {
                plan.refusals.push(Refusal::SharedIdentity { pod: pod.name.clone() });
            }
        }
        let keys: Vec<&str> = taken.iter().map(|(k, _)| k.as_str()).collect();
        commands.push(kubectl(
            cluster,
            plan,
            &format!(
                "-n {} label pod {} {}",
                quote(&pod.namespace),
                quote(&pod.name),
                keys.iter().map(|k| quote(&format!("{k}-"))).collect::<Vec<_>>().join(" ")
            ),
        ));
        leaving.push(pod.name.clone());
        let words = format!("take it out of service {service} (label {})", keys.join(", "));
        plan.steps.push(Step::new(StepKind::Change(Change { words, fields }), target));
    }
    after(cluster, plan, service, &leaving);
    plan.undo = "the labels are put back".into();
    plan.kubectl = commands.join(" && ");
}

/// Adds the effect on the Service: how many ready endpoints it keeps.
fn after(cluster: &Cluster, plan: &mut Plan, service: &Name, leaving: &[Name]) {
    let namespace = plan.intent.targets.first().map(|t| t.namespace.clone()).unwrap_or_default();
    let row = cluster
        .derived
        .services
        .iter()
        .find(|row| row.service.name == *service && row.service.namespace == namespace);
    let Some(row) = cluster.in_rotation(row.map(AsRef::as_ref)) else {
        plan.warnings.push(Warning::EndpointsUnknown { service: service.clone() });
        plan.confirm = Confirm::Context;
        return;
    };
    let endpoints = row.slices.iter().flat_map(|s| s.endpoints.iter());
    let lost = endpoints
        .filter(|e| e.ready && e.pod.as_ref().is_some_and(|p| leaving.contains(p)))
        .filter_map(|e| e.pod.as_ref())
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    let ready_after = row.ready.saturating_sub(u32::try_from(lost).unwrap_or(u32::MAX));
    if ready_after == 0 && lost > 0 {
        plan.warnings.push(Warning::LastEndpoint { namespace, service: service.clone() });
        plan.confirm = Confirm::Context;
    }
    let effect = service_effect(cluster, row, Leaving::Pods(leaving), ready_after);
    plan.warnings.extend(Warning::of_breaks(&effect));
    plan.services.push(effect);
}

/// Plans that a pod gets back the labels that were removed.
pub(super) fn into_rotation(input: PlanInput<'_>, plan: &mut Plan) {
    let mut commands = Vec::new();
    for target in plan.intent.targets.clone() {
        if pod(input.cluster, plan, &target).is_none() {
            continue;
        }
        let Some(live) = live(input, plan, &target) else { continue };
        let note = live.pointer("/metadata/annotations").and_then(|a| a.get(OUT_OF_ROTATION));
        let taken =
            note.and_then(Value::as_str).and_then(|t| serde_json::from_str::<Map<String, Value>>(t).ok());
        let Some(taken) = taken else {
            let pod = target.name.clone();
            plan.refusals.push(Refusal::NeverTakenOut { pod, annotation: OUT_OF_ROTATION });
            continue;
        };
        let labels = live.pointer("/metadata/labels");
        let mut fields = Vec::new();
        for (key, value) in &taken {
            match labels.and_then(|l| l.get(key)) {
                None => fields.push(label_field(key, Value::Null, value.clone())),
                Some(now) if now == value => {}
                Some(now) => plan.refusals.push(Refusal::OtherLabel {
                    pod: target.name.clone(),
                    label: key.clone(),
                    now: now.to_string(),
                    was: value.to_string(),
                }),
            }
        }
        fields.push(note_field(note.cloned().unwrap_or(json!(null)), Value::Null));
        let labels: Vec<String> =
            taken.iter().map(|(k, v)| quote(&format!("{k}={}", v.as_str().unwrap_or_default()))).collect();
        commands.push(kubectl(
            input.cluster,
            plan,
            &format!(
                "-n {} label pod {} {}",
                quote(&target.namespace),
                quote(&target.name),
                labels.join(" ")
            ),
        ));
        let words = "put it back into rotation".to_owned();
        plan.steps.push(Step::new(StepKind::Change(Change { words, fields }), target));
    }
    plan.warnings.push(Warning::OneTooMany);
    plan.undo = "out of rotation again".into();
    plan.kubectl = commands.join(" && ");
}
