//! The health of nodes: the verdict from the control plane's state and the heartbeat.

use crate::domain::node::{Condition, Node, NodeLease, Status};
use crate::domain::settings::glob;
use crate::domain::time::Stamp;
use crate::facts::world::NodeState;

/// A kubelet renews its Lease every 10 s. After two missed renewals the node is suspect. The grace period of the
/// control plane is longer.
pub const SUSPECT_AFTER_MS: u64 = 22_000;

/// The state of a node, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVerdict {
    pub state: NodeState,
    pub since: Option<Stamp>,
    pub why: String,
}

/// Judges a node. `watched` is the time since which leases have been watched without a break. Without it, a missing
/// renewal has no meaning.
pub fn judge(node: &Node, lease: Option<&NodeLease>, watched: Option<Stamp>, now: Stamp) -> NodeVerdict {
    let ready = node.condition("Ready");
    let (state, since, why) = match ready {
        None => (NodeState::Unknown, Some(node.created), "the kubelet never posted a status".to_owned()),
        Some(c) => {
            let why = if c.message.is_empty() { c.reason.to_string() } else { c.message.to_string() };
            match c.status {
                Status::True => (NodeState::Ready, c.since, String::new()),
                Status::False => (NodeState::NotReady, c.since, why),
                Status::Unknown => (NodeState::Unknown, c.since, why),
            }
        }
    };
    if state == NodeState::Ready
        && let (Some(watched), Some(lease)) = (watched, lease)
        && now.since(lease.seen_at.max(watched)) > SUSPECT_AFTER_MS
    {
        return NodeVerdict {
            state: NodeState::Suspect,
            since: Some(lease.seen_at),
            why: format!(
                "no heartbeat for {} s; the control plane still says Ready",
                now.secs_since(lease.seen_at)
            ),
        };
    }
    NodeVerdict { state, since, why }
}

/// How to read a condition of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// True is healthy. False is a problem.
    Good,
    /// True is a problem.
    Bad,
    /// The condition is shown, but it causes no finding. For an unknown type, it is not known which status is a
    /// problem.
    Told,
}

/// The node conditions by type. The first match counts. The table has the kubelet's own conditions, those of
/// node-problem-detector and similar detectors of cloud providers, and the `…Ready` conditions of agents. `*` stands
/// for any text.
const MEANINGS: [(&str, Meaning); 20] = [
    // `judge` handles this condition.
    ("Ready", Meaning::Told),
    // A new etcd member becomes a voter later.
    ("EtcdIsVoter", Meaning::Told),
    ("*Unhealthy", Meaning::Bad),
    ("*NotReady", Meaning::Bad),
    ("*Unready", Meaning::Bad),
    ("*Ready", Meaning::Good),
    ("*Healthy", Meaning::Good),
    ("*Pressure", Meaning::Bad),
    ("*Unavailable", Meaning::Bad),
    ("OutOfDisk", Meaning::Bad),
    ("*Deadlock", Meaning::Bad),
    ("ReadonlyFilesystem", Meaning::Bad),
    ("Frequent*", Meaning::Bad),
    ("Corrupt*", Meaning::Bad),
    ("*Problem", Meaning::Bad),
    ("XfsShutdown", Meaning::Bad),
    ("CperHardwareErrorFatal", Meaning::Bad),
    ("*Hung", Meaning::Bad),
    ("*OOMKilling", Meaning::Bad),
    ("*Error", Meaning::Bad),
];

fn meaning(kind: &str) -> Meaning {
    let known = MEANINGS.iter().find(|(pattern, _)| glob(pattern, kind));
    known.map_or(Meaning::Told, |(_, meaning)| *meaning)
}

/// Returns true if the condition reports a problem. Ready is not included.
pub fn is_problem(condition: &Condition) -> bool {
    match meaning(&condition.kind) {
        Meaning::Good => condition.status == Status::False,
        Meaning::Bad => condition.status == Status::True,
        Meaning::Told => false,
    }
}

/// Returns the conditions that report a problem. Ready is not included.
pub fn problems(node: &Node) -> Vec<&Condition> {
    node.conditions.iter().filter(|c| is_problem(c)).collect()
}

/// The time in which a new node is completed. A pod sets up its network, and its agents start one by one.
const COMPLETE_AFTER_SECS: u64 = 60;

/// Returns the problems that are not a normal part of a node's start.
pub fn lasting_problems(node: &Node, now: Stamp) -> Vec<&Condition> {
    let comes_up = |c: &Condition| meaning(&c.kind) == Meaning::Good || c.kind == "NetworkUnavailable";
    let lasts = |c: &&Condition| {
        !comes_up(c) || c.since.is_none_or(|since| now.secs_since(since) >= COMPLETE_AFTER_SECS)
    };
    problems(node).into_iter().filter(lasts).collect()
}

/// Returns a problem in short words: `NetworkingReady=False`, `KernelDeadlock`.
pub fn problem_words(condition: &Condition) -> String {
    match condition.status {
        Status::True => condition.kind.to_string(),
        status => format!("{}={}", condition.kind, status.as_str()),
    }
}

/// Returns a name that fits into a column: `DiskPressure` becomes `DiskPress`.
pub fn short_problem(kind: &str) -> &str {
    match kind {
        "MemoryPressure" => "MemPress",
        "DiskPressure" => "DiskPress",
        "PIDPressure" => "PIDPress",
        "NetworkUnavailable" => "NoNetwork",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::node::Condition;

    fn node(ready: Status) -> Node {
        Node {
            conditions: Arc::from([Condition {
                kind: "Ready".into(),
                status: ready,
                reason: "R".into(),
                message: "".into(),
                since: Some(Stamp(1000)),
            }]),
            ..Node::default()
        }
    }

    #[test]
    fn conditions_by_what_they_mean() {
        use Status::{False, True, Unknown};
        for (kind, status, is_problem) in [
            ("Ready", False, false),
            ("EtcdIsVoter", True, false),
            ("EtcdIsVoter", False, false),
            ("KernelReady", True, false),
            ("NetworkingReady", True, false),
            ("StorageReady", True, false),
            ("ContainerRuntimeReady", True, false),
            ("NetworkingReady", False, true),
            ("AcceleratedHardwareReady", False, true),
            ("NetworkingReady", Unknown, false),
            ("MemoryPressure", True, true),
            ("MemoryPressure", False, false),
            ("NetworkUnavailable", True, true),
            ("KernelDeadlock", True, true),
            ("KernelDeadlock", False, false),
            ("ReadonlyFilesystem", True, true),
            ("FrequentKubeletRestart", True, true),
            ("FrequentContainerdRestart", True, true),
            ("FrequentUnregisterNetDevice", True, true),
            ("CorruptDockerOverlay2", True, true),
            ("KubeletUnhealthy", True, true),
            ("KubeletUnhealthy", False, false),
            ("NTPProblem", True, true),
            ("FilesystemCorruptionProblem", True, true),
            ("SriovCapable", True, false),
            ("SriovCapable", False, false),
        ] {
            let mut node = node(True);
            node.conditions =
                Arc::from([Condition { kind: kind.into(), status, ..node.conditions[0].clone() }]);
            assert_eq!(problems(&node).len(), usize::from(is_problem), "{kind}={}", status.as_str());
        }
    }

    #[test]
    fn a_node_that_joins_is_given_time_for_its_network() {
        let problem = |kind: &str, since: i64| {
            let mut node = node(Status::True);
            let status = if kind.ends_with("Ready") { Status::False } else { Status::True };
            node.conditions = Arc::from([Condition {
                kind: kind.into(),
                status,
                since: Some(Stamp::from_secs(since)),
                ..node.conditions[0].clone()
            }]);
            lasting_problems(&node, Stamp::from_secs(1_000)).len()
        };
        assert_eq!((problem("NetworkUnavailable", 970), problem("NetworkUnavailable", 900)), (0, 1));
        assert_eq!((problem("StorageReady", 970), problem("StorageReady", 900)), (0, 1));
        assert_eq!(problem("DiskPressure", 970), 1);
    }

    #[test]
    fn a_silent_lease_makes_a_ready_node_suspect_only() {
        let lease = NodeLease { seen_at: Stamp(0), ..NodeLease::default() };
        let at = |ready, watched: Option<i64>, ms| {
            judge(&node(ready), Some(&lease), watched.map(Stamp), Stamp(ms)).state
        };
        assert_eq!(at(Status::True, Some(0), 20_000), NodeState::Ready);
        assert_eq!(at(Status::True, Some(0), 23_000), NodeState::Suspect);
        assert_eq!(at(Status::True, None, 23_000), NodeState::Ready, "our own blindness is not its fault");
        assert_eq!(at(Status::True, Some(20_000), 23_000), NodeState::Ready, "it has had no time to be seen");
        assert_eq!(at(Status::True, Some(20_000), 43_000), NodeState::Suspect);
        assert_eq!(at(Status::Unknown, Some(0), 23_000), NodeState::Unknown);
        assert_eq!(at(Status::False, Some(0), 23_000), NodeState::NotReady);
    }
}
