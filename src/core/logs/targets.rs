//! Chooses the pods whose logs are read: those of an object that the user opened; and, without a request, pods that are
//! not ready, that restarted recently, that belong to a Service with errors, or that a recent rollout created. The most
//! informative come first.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::image;
use crate::domain::pod::{ContainerShape, Phase, Pod};
use crate::domain::time::Stamp;
use crate::domain::traffic::BAD_ERRORS;
use crate::facts::world::{ChangeKind, Cluster};

/// Maximum number of pods of one object whose logs are read at the same time.
pub const MOST_PODS: usize = 20;
/// How long a restart or a rollout counts as recent.
const RECENT_SECS: u64 = 15 * 60;
/// Number of pods that are followed for each rollout without any sign of a problem. All pods of a faulty release show
/// its errors, so a few are enough, and a large rollout must not displace other pods.
const OF_A_ROLLOUT: usize = 5;
/// In seconds, because a pod's age is known only to the second.
const SLACK_SECS: i64 = 2;

/// True if the pod belongs to this workload: its owner, or the owner of its owner.
pub fn belongs(pod: &Pod, cluster: &Cluster, kind: &Kind, namespace: &str, name: &str) -> bool {
    pod.namespace == namespace
        && (cluster.top_owner(pod).is_some_and(|(k, n)| k == *kind && n == name)
            || pod.owner.as_ref().is_some_and(|o| o.kind == *kind && o.name == name))
}

/// The pods whose logs belong to an object: a pod, a Service, a node (within a namespace, if one is selected), a
/// workload. They change while the object exists, because a rolling update replaces them.
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

/// Orders pods by how informative their logs are: unhealthy pods first, then those with more restarts, then younger
/// ones.
pub fn worst_first(a: &Pod, b: &Pod) -> Ordering {
    b.is_bad()
        .cmp(&a.is_bad())
        .then_with(|| if a.is_bad() { b.restarts.cmp(&a.restarts) } else { Ordering::Equal })
        .then_with(|| b.created.cmp(&a.created))
        .then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
}

/// The containers in a pod's shape, init containers first.
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
    /// The image without its tag.
    pub image: Name,
    /// The pod's node; empty before the pod is scheduled.
    pub node: Name,
}

/// The containers of a pod that are worth a stream: before the pod has started, the init container that ended; later
/// the running ones, the one that was terminated last first.
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

/// The latest rollout of each workload, if it is recent: without Prometheus, only logs show the errors of a release.
fn fresh_rollouts(cluster: &Cluster, now: Stamp) -> HashMap<(Name, Kind, Name), Stamp> {
    let mut fresh: HashMap<_, Stamp> = HashMap::new();
    for change in cluster.derived.changes.iter() {
        if matches!(change.kind, ChangeKind::Rollout { .. }) && now.secs_since(change.at) <= RECENT_SECS {
            let object = &change.object;
            let workload = (object.namespace.clone(), object.kind.clone(), object.name.clone());
            let at = fresh.entry(workload).or_default();
            *at = (*at).max(change.at);
        }
    }
    fresh
}

/// The containers to follow, at most `limit`, and the number of pods that could be followed.
pub fn choose(cluster: &Cluster, limit: usize, now: Stamp) -> (Vec<Choice>, u32) {
    let failing: HashSet<(&str, &str)> = cluster
        .traffic
        .services
        .iter()
        .flat_map(|s| s.backends.iter().map(move |b| (s.namespace.as_str(), b)))
        .filter(|(_, b)| b.error_ratio.is_some_and(|r| r >= BAD_ERRORS))
        .map(|(namespace, b)| (namespace, b.name.as_str()))
        .collect();
    let behind = |pod: &Pod| {
        failing.contains(&(pod.namespace.as_str(), pod.name.as_str()))
            || failing.contains(&("", pod.name.as_str()))
    };
    let rollouts = fresh_rollouts(cluster, now);
    let since = rollouts.values().min().copied();
    let rolled_out = |pod: &Pod| {
        // most pods are older than all of these rollouts
        since.filter(|since| pod.created.plus_secs(SLACK_SECS) >= *since)?;
        let (kind, name) = cluster.top_owner(pod)?;
        let workload = (pod.namespace.clone(), kind, name);
        let at = rollouts.get(&workload)?;
        (pod.created.plus_secs(SLACK_SECS) >= *at && !pod.is_terminating()).then_some(workload)
    };
    let mut candidates = 0u32;
    let mut chosen: Vec<(u8, &Pod)> = Vec::new();
    let mut fresh: HashMap<_, Vec<&Pod>> = HashMap::new();
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
            if let Some(rollout) = rolled_out(pod) {
                fresh.entry(rollout).or_default().push(pod);
            }
            continue;
        };
        chosen.push((rank, pod));
    }
    for pods in fresh.values_mut() {
        pods.sort_by_key(|pod| &pod.name);
        chosen.extend(pods.iter().take(OF_A_ROLLOUT).map(|pod| (4, *pod)));
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
            version: Name::from(image::version(&c.image)),
            image: Name::from(image::split(&c.image).0),
            node: pod.node.clone().unwrap_or_default(),
        })
    });
    (streams.take(limit).collect(), candidates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pod::{LastExit, PodShape, Trouble};
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::state::ClusterState;

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

    fn chosen(pods: Vec<Pod>, limit: usize) -> (Vec<String>, u32) {
        let mut state = ClusterState::new(ClusterInfo::default());
        state.apply(Fact::Pods(Batch::Upsert(pods)), Stamp(0));
        let cluster = state.publish(Stamp(0), false).unwrap();
        let (choices, candidates) = choose(&cluster, limit, Stamp(1000));
        (choices.iter().map(|c| format!("{}/{}", c.pod, c.container)).collect(), candidates)
    }

    #[test]
    fn each_container_is_a_stream_and_the_one_that_ended_comes_first() {
        let running = pod(1, Phase::Running, Some("side"));
        assert_eq!(chosen(vec![running.clone()], 9).0, ["p1/side", "p1/app", "p1/proxy"]);
        assert_eq!(chosen(vec![running], 2).0, ["p1/side", "p1/app"], "streams are containers");
    }

    #[test]
    fn some_pods_of_a_fresh_rollout_are_followed_after_those_in_trouble() {
        use crate::domain::id::Owner;
        use crate::domain::workload::Workload;
        let owner = |kind, name: &str, uid: &str| {
            let (name, uid, group) = (name.into(), Uid::parse(uid), "apps".into());
            Some(Arc::new(Owner { kind, name, uid, group }))
        };
        let replicaset = |revision, created| Workload {
            kind: Kind::ReplicaSet,
            uid: Uid::parse(&format!("rs{revision}")),
            namespace: "shop".into(),
            name: Name::from(format!("api-{revision}")),
            created,
            revision: Some(revision),
            images: [Name::from(format!("shop:v{revision}"))].into(),
            owner: owner(Kind::Deployment, "api", "d"),
            ..Workload::default()
        };
        let of = |n, revision: u32, created| Pod {
            ready: true,
            trouble: None,
            restarts: 0,
            created,
            owner: owner(Kind::ReplicaSet, &format!("api-{revision}"), &format!("rs{revision}")),
            ..pod(n, Phase::Running, None)
        };
        let rollout = Stamp::from_secs(10_000);
        let followed = |now| {
            let mut state = ClusterState::new(ClusterInfo::default());
            let sets = vec![replicaset(1, Stamp(0)), replicaset(2, rollout)];
            let (generation, version) = (1, crate::domain::id::Version(1));
            let whole =
                [Batch::Begin { generation }, Batch::Upsert(sets), Batch::End { generation, version }];
            for batch in whole {
                state.apply(Fact::ReplicaSets(batch), now);
            }
            let mut pods = vec![of(50, 1, Stamp(0)), Pod { ready: false, ..of(60, 1, Stamp(0)) }];
            pods.extend((10..20).map(|n| of(n, 2, rollout)));
            state.apply(Fact::Pods(Batch::Upsert(pods)), now);
            let cluster = state.publish(now, false).unwrap();
            let (choices, _) = choose(&cluster, 99, now);
            let mut pods: Vec<String> = choices.iter().map(|c| c.pod.to_string()).collect();
            pods.dedup();
            pods
        };
        assert_eq!(followed(rollout.plus_secs(30)), ["p60", "p10", "p11", "p12", "p13", "p14"]);
        let long_after = rollout.plus_secs(i64::try_from(RECENT_SECS).unwrap() + 1);
        assert_eq!(followed(long_after), ["p60"], "an old rollout is followed no more");
    }

    #[test]
    fn a_pod_whose_init_container_crashes_is_followed_there() {
        let waits = pod(2, Phase::Pending, None);
        let crashes = pod(1, Phase::Pending, Some("migrate"));
        assert_eq!(chosen(vec![crashes, waits], 9), (vec!["p1/migrate".to_owned()], 1));
    }
}
