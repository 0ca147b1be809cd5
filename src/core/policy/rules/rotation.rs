//! Pods that were taken out of rotation: they stay until somebody brings them back or deletes them, and take no part in
//! anything meanwhile, so that nothing else reminds of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::label::Labels;
use crate::domain::pod::Pod;
use crate::facts::world::{Cause, Course, Kin, Reach, Severity, Suggestion};

use super::{Scene, count, title_of};

pub(super) const RULE: &str = "out-of-rotation";

/// One line for the pods that one Service misses.
pub fn out_of_rotation(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let mut groups: BTreeMap<(Name, Option<Name>), Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in scene.apart.values().filter(|pod| !pod.is_terminating() && !pod.phase.is_finished()) {
        groups.entry((pod.namespace.clone(), service_of(scene, pod))).or_default().push(pod);
    }
    let told = groups.into_iter().filter_map(|((namespace, service), mut pods)| {
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let objects: Vec<ObjectRef> = pods.iter().map(|pod| reference(pod)).collect();
        let first = objects.first()?.clone();
        let of = service.map_or_else(String::new, |service| format!(" of service {namespace}/{service}"));
        let (title, what) = match objects.as_slice() {
            [one] => (format!("pod {} is out of rotation{of}", title_of(one)), one.name.to_string()),
            several => {
                let pods = count(several.len() as u64, "pod");
                (format!("{pods} of {namespace} are out of rotation{of}"), pods)
            }
        };
        Some(Cause {
            rule: RULE,
            severity: Severity::Info,
            title,
            since: None,
            evidence: pods.iter().map(|pod| evidence(pod)).collect(),
            action: Some(Suggestion {
                command: "rotation",
                title: format!(
                    "put {what} back into rotation (or delete it, when it is not needed any more)"
                ),
                on: first,
            }),
            reach: Reach { pods: u32::try_from(objects.len()).unwrap_or(u32::MAX), ..Reach::default() },
            objects,
            kin: Kin::default(),
            course: Course::default(),
        })
    });
    told.collect()
}

/// The Service that selected the pod while it had its labels.
fn service_of(scene: &Scene<'_, '_>, pod: &Pod) -> Option<Name> {
    let mut all: Vec<(Name, Name)> = pod.labels().iter().cloned().collect();
    all.retain(|(key, _)| pod.taken().iter().all(|(taken, _)| taken != key));
    all.extend(pod.taken().iter().cloned());
    let selects = |selector: &crate::domain::selector::Selector| {
        !selector.is_empty() && selector.matches(Labels::new(&all, &[])) && !selector.matches(pod)
    };
    let services = scene.services_in(&pod.namespace).iter();
    services.filter(|row| selects(&row.service.selector)).map(|row| row.service.name.clone()).min()
}

fn evidence(pod: &Pod) -> String {
    let labels: Vec<String> = pod.taken().iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("{}: labels taken from it: {}; it keeps running until it is deleted", pod.name, labels.join(", "))
}

fn reference(pod: &Pod) -> ObjectRef {
    ObjectRef::new(Kind::Pod, &pod.namespace, &pod.name, &pod.uid)
}
