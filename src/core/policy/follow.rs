//! Whose logs are read: of what a person opened, and of what is worth following when nobody has asked for any: pods that
//! are not ready, that restarted lately, or that stand behind a Service with errors. Most telling first.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::pod::{ContainerShape, Phase, Pod};
use crate::domain::time::Stamp;
use crate::model::changes::split_image;
use crate::model::world::Cluster;

/// Most pods of an object whose logs are read at once.
pub const MOST_PODS: usize = 20;
/// A restart counts for this long.
const RECENT_SECS: u64 = 15 * 60;
/// Errors of a backend count from this ratio on.
const ERRORS: f64 = 0.01;

/// True if the pod is of this workload: its owner, or the owner of its owner.
pub fn belongs(pod: &Pod, cluster: &Cluster, kind: &Kind, namespace: &str, name: &str) -> bool {
    pod.namespace == namespace
        && (cluster.top_owner(pod).is_some_and(|(k, n)| k == *kind && n == name)
            || pod.owner.as_ref().is_some_and(|o| o.kind == *kind && o.name == name))
}

/// The pods whose logs are those of an object: a pod, a Service, a node (within a namespace, if one is chosen), a
/// workload. They change while the object stays: a rolling update brings others.
pub fn pods_of<'a>(cluster: &'a Cluster, object: &ObjectRef, within: Option<&Name>) -> Vec<&'a Arc<Pod>> {
    match &object.kind {
        Kind::Pod => cluster
            .pods
            .by_uid(&object.uid)
            .or_else(|| cluster.pod(&object.namespace, &object.name))
            .into_iter()
            .collect(),
        Kind::Service => {
            let row = cluster
                .derived
                .services
                .iter()
                .find(|r| r.service.namespace == object.namespace && r.service.name == object.name);
            let selector = row.map(|r| r.service.selector.clone()).filter(|s| !s.is_empty());
            let here = cluster.pods.iter().filter(|p| p.namespace == object.namespace);
            here.filter(|p| selector.as_ref().is_some_and(|s| s.matches(*p))).collect()
        }
        Kind::Node => cluster
            .pods
            .iter()
            .filter(|p| p.node.as_ref() == Some(&object.name))
            .filter(|p| within.is_none_or(|ns| p.namespace == *ns))
            .collect(),
        kind => cluster
            .pods
            .iter()
            .filter(|p| belongs(p, cluster, kind, &object.namespace, &object.name))
            .collect(),
    }
}

/// Which pod's log says more: of what is bad first, then of what restarted more often, then the younger one.
pub fn worst_first(a: &Pod, b: &Pod) -> Ordering {
    b.is_bad()
        .cmp(&a.is_bad())
        .then_with(|| if a.is_bad() { b.restarts.cmp(&a.restarts) } else { Ordering::Equal })
        .then_with(|| b.created.cmp(&a.created))
        .then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
}

/// The containers that a pod's shape has, init containers first.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerShape> {
    pod.shape.init_containers.iter().chain(&pod.shape.containers)
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub namespace: Name,
    pub pod: Name,
    pub uid: Uid,
    pub container: Name,
    /// `namespace/workload`.
    pub workload: Name,
    /// The image's tag.
    pub version: Name,
}

/// The containers of a pod that are worth a stream: of one that has not begun, the init container that ended; else those
/// that go on running, the one that ended last in front.
fn telling(pod: &Pod) -> Vec<&ContainerShape> {
    let ended = pod.last_exit.as_ref().map(|exit| &exit.container);
    if pod.phase == Phase::Pending {
        return containers(pod).filter(|c| ended == Some(&c.name)).collect();
    }
    let mut found: Vec<_> =
        pod.shape.containers.iter().chain(pod.shape.init_containers.iter().filter(|c| c.sidecar)).collect();
    found.sort_by_key(|c| ended != Some(&c.name));
    found
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
        // an init container that crashes keeps its pod pending
        let crashed = pod.phase == Phase::Pending && pod.last_exit.is_some();
        if pod.phase != Phase::Running && !crashed {
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
    let streams = chosen.into_iter().flat_map(|(_, pod)| {
        let workload = cluster.top_owner(pod).map_or_else(|| pod.name.clone(), |(_, name)| name);
        let workload = Name::from(format!("{}/{workload}", pod.namespace));
        telling(pod).into_iter().map(move |c| Choice {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            container: c.name.clone(),
            workload: workload.clone(),
            version: Name::from(split_image(&c.image).1),
        })
    });
    (streams.take(most).collect(), candidates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pod::{LastExit, PodShape, Trouble};
    use crate::model::event::{Batch, Fact};
    use crate::model::state::ClusterState;
    use crate::model::world::ClusterInfo;

    fn pod(n: u32, phase: Phase, ended: Option<&str>) -> Pod {
        let container =
            |name: &str, sidecar| ContainerShape { name: name.into(), image: "shop:v1".into(), sidecar };
        Pod {
            uid: Uid::parse(&format!("u{n}")),
            namespace: "shop".into(),
            name: Name::from(format!("p{n}")),
            phase,
            trouble: Some(Trouble::CrashLoop),
            restarts: 5,
            last_exit: ended.map(|name| {
                Arc::new(LastExit {
                    reason: "Error".into(),
                    code: 1,
                    at: Some(Stamp(0)),
                    container: name.into(),
                })
            }),
            shape: Arc::new(PodShape {
                containers: [container("app", false), container("side", false)].into(),
                init_containers: [container("migrate", false), container("proxy", true)].into(),
                ..PodShape::default()
            }),
            ..Pod::default()
        }
    }

    fn chosen(pods: Vec<Pod>, most: usize) -> (Vec<String>, u32) {
        let mut state = ClusterState::new(ClusterInfo::default());
        state.apply(Fact::Pods(Batch::Upsert(pods)), Stamp(0));
        let cluster = state.publish(Stamp(0), false).unwrap();
        let (choices, candidates) = choose(&cluster, most, Stamp(1000));
        (choices.iter().map(|c| format!("{}/{}", c.pod, c.container)).collect(), candidates)
    }

    #[test]
    fn each_container_is_a_stream_and_the_one_that_ended_comes_first() {
        let running = pod(1, Phase::Running, Some("side"));
        assert_eq!(chosen(vec![running.clone()], 9).0, ["p1/side", "p1/app", "p1/proxy"]);
        assert_eq!(chosen(vec![running], 2).0, ["p1/side", "p1/app"], "streams are containers");
    }

    #[test]
    fn a_pod_whose_init_container_crashes_is_followed_there() {
        let waits = pod(2, Phase::Pending, None);
        let crashes = pod(1, Phase::Pending, Some("migrate"));
        assert_eq!(chosen(vec![crashes, waits], 9), (vec!["p1/migrate".to_owned()], 1));
    }
}
