//! Pods that were taken out of rotation. They keep running until a person brings them back or deletes them. No other
//! finding mentions them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::cause::{Cause, Evidence, Finding, Impact, Remediation, Severity, Suggestion};
use crate::domain::id::{Name, ObjectRef};
use crate::domain::label::Labels;
use crate::domain::pod::Pod;

use super::RuleContext;

/// Finds pods that were taken out of rotation. The pods of one Service share one line.
pub(super) fn out_of_rotation(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let mut groups: BTreeMap<(Name, Option<Name>), Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in context.apart.values().filter(|pod| !pod.is_terminating() && !pod.phase.is_finished()) {
        groups.entry((pod.namespace.clone(), service_of(context, pod))).or_default().push(pod);
    }
    let found = groups.into_iter().filter_map(|((_, service), mut pods)| {
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let objects: Vec<ObjectRef> = pods.iter().map(|pod| pod.reference(context.cluster.id())).collect();
        let (first, pods_out) = (objects.first()?.clone(), objects.len());
        Some(Cause {
            evidence: pods.iter().map(|pod| evidence(pod)).collect(),
            action: Some(Suggestion { what: Remediation::IntoRotation { pods: pods_out }, on: first }),
            impact: Impact { pods: u32::try_from(pods_out).unwrap_or(u32::MAX), ..Impact::default() },
            ..Cause::new(Finding::OutOfRotation { pods: pods_out, service }, Severity::Info, objects)
        })
    });
    found.collect()
}

/// Returns the Service that selected the pod before its labels were removed.
fn service_of(context: &RuleContext<'_, '_>, pod: &Pod) -> Option<Name> {
    let mut all: Vec<(Name, Name)> = pod.labels().iter().cloned().collect();
    all.retain(|(key, _)| pod.taken().iter().all(|(taken, _)| taken != key));
    all.extend(pod.taken().iter().cloned());
    let selects = |selector: &crate::domain::selector::Selector| {
        !selector.is_empty() && selector.matches(Labels::new(&all, &[])) && !selector.matches(pod)
    };
    let services = context.services_in(&pod.namespace).iter();
    services.filter(|row| selects(&row.service.selector)).map(|row| row.service.name.clone()).min()
}

fn evidence(pod: &Pod) -> Evidence {
    let labels: Vec<String> = pod.taken().iter().map(|(k, v)| format!("{k}={v}")).collect();
    let labels = labels.join(", ");
    format!("{}: labels removed: {labels}; it keeps running until it is deleted", pod.name).into()
}
