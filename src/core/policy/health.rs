//! Node health: what the control plane says, what the heartbeat says, and the two together.

use crate::domain::node::{Node, NodeLease, Status};
use crate::domain::time::Stamp;
use crate::model::world::NodeState;

/// A Lease is renewed every 10 s; two missed renewals are worth a look before the control plane's grace is over.
pub const SUSPECT_AFTER_MS: u64 = 22_000;

/// A node's state with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVerdict {
    pub state: NodeState,
    pub since: Option<Stamp>,
    pub why: String,
}

/// Judges a node. `lease_is_live`: the lease source itself is working; when it is not, its silence means nothing.
pub fn judge(node: &Node, lease: Option<&NodeLease>, lease_is_live: bool, now: Stamp) -> NodeVerdict {
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
        && lease_is_live
        && let Some(lease) = lease
        && now.since(lease.seen_at) > SUSPECT_AFTER_MS
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

/// Conditions that are bad besides Ready: any True one that does not say that all is well by being True. Problem
/// detectors add their own types, all of them "True = bad".
pub fn problems(node: &Node) -> Vec<&crate::domain::node::Condition> {
    const GOOD_WHEN_TRUE: [&str; 1] = ["Ready"];
    node.conditions
        .iter()
        .filter(|c| c.status == Status::True && !GOOD_WHEN_TRUE.contains(&c.kind.as_str()))
        .collect()
}

/// `DiskPressure` -> `DiskPress`: fits a column.
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
    fn a_silent_lease_makes_a_ready_node_suspect_only() {
        let lease = NodeLease { seen_at: Stamp(0), ..NodeLease::default() };
        let at = |node: &Node, live, ms| judge(node, Some(&lease), live, Stamp(ms)).state;
        assert_eq!(at(&node(Status::True), true, 20_000), NodeState::Ready);
        assert_eq!(at(&node(Status::True), true, 23_000), NodeState::Suspect);
        assert_eq!(
            at(&node(Status::True), false, 23_000),
            NodeState::Ready,
            "our own blindness is not its fault"
        );
        assert_eq!(at(&node(Status::Unknown), true, 23_000), NodeState::Unknown);
        assert_eq!(at(&node(Status::False), true, 23_000), NodeState::NotReady);
    }
}
