//! The error ratio that stops an action by itself.

use std::sync::Arc;

use crate::domain::failover::Watched;
use crate::domain::id::Name;
use crate::domain::plan::{Plan, Refusal, Warning};
use crate::domain::source::{Feed, SourceState, SourceStatus};
use crate::domain::traffic::{ServiceTraffic, TrafficSeen};
use crate::facts::world::Cluster;

/// Adds a warning with the error limit that stops the action, and the current error ratio.
pub(super) fn warn(cluster: &Cluster, plan: &mut Plan, watched: &Watched) {
    let (namespace, service) = (watched.namespace.clone(), watched.service.clone());
    let limit = watched.max_error_percent;
    plan.warnings.push(match error_ratio(&cluster.traffic, watched) {
        Some(ratio) => Warning::Watched { namespace, service, limit, percent: ratio * 100.0 },
        None => Warning::WatchedUnknown { namespace, service, limit },
    });
}

/// Refuses to resume the action `id` if it is watched, and the Prometheus of the config is not asked about its cluster:
/// nothing would stop it. An error ratio that is unknown for another reason, such as a Prometheus that is late, is a
/// warning, as for a new action.
pub fn resumed(cluster: &Cluster, plan: &mut Plan, id: &Name) {
    let Some(watched) = plan.intent.act.watched().filter(|_| cluster.info.is_unmeasured) else { return };
    // the cluster's own Prometheus can have been found
    let is_asked =
        |source: &SourceStatus| matches!(source.state, SourceState::Live | SourceState::Stale { .. });
    if cluster.sources_of(Feed::Traffic).any(is_asked) || error_ratio(&cluster.traffic, watched).is_some() {
        return;
    }
    let refusal = Refusal::WatchedUnmeasured {
        id: id.clone(),
        namespace: watched.namespace.clone(),
        service: watched.service.clone(),
        context: plan.intent.context.clone(),
        limit: watched.max_error_percent,
    };
    plan.refusals.push(refusal);
}

/// Returns the error ratio of the watched Service, 0..1. Returns `None` if no metric has it.
pub fn error_ratio(traffic: &TrafficSeen, watched: &Watched) -> Option<f64> {
    // A proxy outside the cluster has no namespaces. Its backends are usually named NAMESPACE_NAME.
    let outside = format!("{}_{}", watched.namespace, watched.service);
    let of = |t: &&Arc<ServiceTraffic>| {
        (t.namespace == watched.namespace && t.name == watched.service)
            || (t.namespace.is_empty() && t.name == *outside)
    };
    traffic.services.iter().filter(of).find_map(|t| t.error_ratio)
}
