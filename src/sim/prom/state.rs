//! The metrics of kube-state-metrics for Deployments and autoscalers.

use super::sheet::{Desk, Sheet};
use crate::resources::Res;
use crate::store::{Object, Store};

fn number(object: &Object, pointer: &str) -> f64 {
    object.int(pointer).unwrap_or_default() as f64
}

/// Exports all of them as one target.
pub(super) fn objects(desk: &mut Desk<'_>, sheet: &mut Sheet, store: &Store) {
    let (job, instance) = (desk.words.of("kube-state-metrics"), desk.words.of("kube-state-metrics:8080"));
    let base = [("job", &job), ("instance", &instance)];
    desk.put(sheet, &base, "up", &[], 1.0);
    let base = [("job", &job)];
    for one in store.list(Res::Deployments, None) {
        let labels = [("namespace", one.namespace()), ("deployment", one.name())];
        for (name, pointer) in [
            ("kube_deployment_spec_replicas", "/spec/replicas"),
            ("kube_deployment_status_replicas", "/status/replicas"),
            ("kube_deployment_status_replicas_available", "/status/availableReplicas"),
            ("kube_deployment_status_replicas_unavailable", "/status/unavailableReplicas"),
        ] {
            desk.put(sheet, &base, name, &labels, number(&one, pointer));
        }
    }
    for one in store.list(Res::Hpas, None) {
        let labels = [("namespace", one.namespace()), ("horizontalpodautoscaler", one.name())];
        for (name, pointer) in [
            ("kube_horizontalpodautoscaler_spec_min_replicas", "/spec/minReplicas"),
            ("kube_horizontalpodautoscaler_spec_max_replicas", "/spec/maxReplicas"),
            ("kube_horizontalpodautoscaler_status_current_replicas", "/status/currentReplicas"),
            ("kube_horizontalpodautoscaler_status_desired_replicas", "/status/desiredReplicas"),
        ] {
            desk.put(sheet, &base, name, &labels, number(&one, pointer));
        }
    }
}
