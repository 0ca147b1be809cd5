//! Which logs are worth following when nobody has asked for any: of pods that are not ready, that restarted lately, or
//! that stand behind a Service with errors. Most telling first.

use std::collections::HashSet;

use crate::domain::id::Name;
use crate::domain::pod::{Phase, Pod};
use crate::domain::time::Stamp;
use crate::model::changes::split_image;
use crate::model::world::Cluster;

/// A restart counts for this long.
const RECENT_SECS: u64 = 15 * 60;
/// Errors of a backend count from this ratio on.
const ERRORS: f64 = 0.01;

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub namespace: Name,
    pub pod: Name,
    pub container: Name,
    /// `namespace/workload`.
    pub workload: Name,
    /// The image's tag.
    pub version: Name,
    pub restarts: u32,
}

/// The containers to follow, at most `most`, and how many pods could be followed at all.
pub fn choose(cluster: &Cluster, most: usize, now: Stamp) -> (Vec<Choice>, u32) {
    let failing: HashSet<(&str, &str)> = cluster
        .traffic
        .services
        .iter()
        .flat_map(|s| s.backends.iter().map(move |b| (s.namespace.as_str(), b)))
        .filter(|(_, b)| b.error_ratio.is_some_and(|r| r >= ERRORS))
        .map(|(namespace, b)| (namespace, b.name.as_str()))
        .collect();
    let behind = |pod: &Pod| {
        failing.contains(&(pod.namespace.as_str(), pod.name.as_str()))
            || failing.contains(&("", pod.name.as_str()))
    };
    let mut candidates = 0u32;
    let mut chosen: Vec<(u8, &Pod)> = Vec::new();
    for pod in cluster.pods.iter() {
        if pod.phase != Phase::Running {
            continue;
        }
        candidates += 1;
        let restarted = pod
            .last_exit
            .as_ref()
            .and_then(|e| e.at)
            .is_some_and(|at| pod.restarts > 0 && now.secs_since(at) <= RECENT_SECS);
        let rank = if behind(pod) {
            0
        } else if pod.trouble.is_some() {
            1
        } else if restarted {
            2
        } else if !pod.ready && !pod.is_terminating() {
            3
        } else {
            continue;
        };
        chosen.push((rank, pod));
    }
    chosen.sort_by(|a, b| (a.0, &a.1.namespace, &a.1.name).cmp(&(b.0, &b.1.namespace, &b.1.name)));
    let containers = chosen.into_iter().flat_map(|(_, pod)| {
        let workload = cluster.top_owner(pod).map_or_else(|| pod.name.clone(), |(_, name)| name);
        let workload = Name::from(format!("{}/{workload}", pod.namespace));
        pod.shape.containers.iter().map(move |c| Choice {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container: c.name.clone(),
            workload: workload.clone(),
            version: Name::from(split_image(&c.image).1),
            restarts: pod.restarts,
        })
    });
    (containers.take(most).collect(), candidates)
}
