//! Rules about nodes.

use std::collections::BTreeMap;

use crate::domain::cause::{
    Cause, Evidence, Finding, Heartbeats, Impact, NodeLoss, Remediation, Severity, Suggestion,
};
use crate::domain::id::{Name, ObjectRef};
use crate::facts::world::{Cluster, NodeRow, NodeState};
use crate::policy::health;

use super::RuleContext;

fn reference(cluster: &Cluster, row: &NodeRow) -> ObjectRef {
    row.node.reference(cluster.id())
}

fn cordon(cluster: &Cluster, row: &NodeRow) -> Option<Suggestion> {
    (!row.node.cordoned).then(|| Suggestion { what: Remediation::Cordon, on: reference(cluster, row) })
}

/// Suggests the out-of-service taint for a node that the control plane has lost. When a person confirms that the
/// machine is off, its pods are deleted and its volumes detached. A cordon would change nothing, because nothing is
/// scheduled on such a node.
fn out_of_service(cluster: &Cluster, row: &NodeRow, zone: Option<Name>) -> Suggestion {
    Suggestion { what: Remediation::OutOfService { zone }, on: reference(cluster, row) }
}

fn lost_alone(context: &RuleContext<'_, '_>) -> bool {
    context.cluster.derived.nodes.iter().filter(|row| row.state == NodeState::Unknown).count() == 1
}

/// The time that a new node may need to become Ready. Its kubelet reports first, and its network follows.
const JOINING_SECS: u64 = 120;
/// The node's first Ready condition is as old as the node. The clocks of the kubelet and the API server may differ by
/// this much.
const FIRST_SECS: u64 = 10;

/// Returns true if the node is new and was never Ready.
fn is_joining(context: &RuleContext<'_, '_>, row: &NodeRow) -> bool {
    let first = row
        .node
        .condition("Ready")
        .is_none_or(|ready| ready.since.is_none_or(|since| since.secs_since(row.node.created) <= FIRST_SECS));
    first && context.now.secs_since(row.node.created) < JOINING_SECS
}

/// Finds nodes that are not Ready. A zone without any Ready node has one line.
pub(super) fn not_ready(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let mut zones: BTreeMap<Name, (Vec<&NodeRow>, usize)> = BTreeMap::new();
    let rows: Vec<_> = context.cluster.derived.nodes.iter().collect();
    let mut found = Vec::new();
    for row in &rows {
        if row.state.is_dead() && is_joining(context, row) {
            found.push(Cause { severity: Severity::Info, action: None, ..one(context, row) });
            continue;
        }
        let zone = zones.entry(row.node.zone.clone().unwrap_or_default()).or_default();
        zone.1 += 1;
        if row.state.is_dead() {
            zone.0.push(row);
        }
    }
    let several = zones.len() > 1;
    for (zone, (mut down, all)) in zones {
        down.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        if several && !zone.is_empty() && down.len() == all && all >= 3 {
            found.push(whole_zone(context.cluster, &zone, &down));
        } else {
            found.extend(down.into_iter().map(|row| one(context, row)));
        }
    }
    found
}

fn one(context: &RuleContext<'_, '_>, row: &NodeRow) -> Cause {
    let why = health::judge(&row.node, None, None, context.now).why;
    // The pods of an out-of-service node are released. The node is no emergency, but it still needs a repair.
    let let_go = row.is_out_of_service();
    // Before the pods are read, their number is not known. It is not 0.
    let pods_known = context.cluster.pods.cover.is_read();
    let mut evidence: Vec<Evidence> = vec![format!("condition Ready: {why}").into()];
    if let Some(since) = row.since {
        evidence.push(format!("since {} (lastTransitionTime)", since.told(context.now)).into());
    }
    for taint in row.node.taints.iter() {
        evidence.push(format!("taint {}={}:{}", taint.key, taint.value, taint.effect).into());
    }
    if pods_known {
        let totals = row.totals;
        evidence
            .push(format!("{} of its pods are bad, {} terminating", totals.bad, totals.terminating).into());
    }
    let loss = NodeLoss::Node {
        state: row.state,
        zone: row.node.zone.clone(),
        out_of_service: let_go,
        pods: pods_known.then_some(row.totals.pods),
        terminating: row.totals.terminating,
    };
    let severity = if let_go { Severity::Info } else { Severity::Critical };
    Cause {
        since: row.since,
        evidence,
        action: match row.state {
            _ if let_go => None,
            // If several nodes are lost at once, the network is the more likely cause. No node should be declared
            // dead then.
            NodeState::Unknown => lost_alone(context).then(|| out_of_service(context.cluster, row, None)),
            _ => cordon(context.cluster, row),
        },
        impact: Impact { pods: row.totals.pods, nodes: 1, ..Impact::default() },
        ..Cause::new(Finding::NodeNotReady(loss), severity, vec![reference(context.cluster, row)])
    }
}

fn whole_zone(cluster: &Cluster, zone: &Name, down: &[&NodeRow]) -> Cause {
    let pods = down.iter().map(|row| row.totals.pods).sum::<u32>();
    let left = cluster.derived.counts.nodes_ready;
    // All nodes of the zone are out of service and their pods are released, but the nodes still need a repair.
    let let_go = down.iter().all(|row| row.is_out_of_service());
    let loss = NodeLoss::Zone {
        zone: zone.clone(),
        nodes: down.len(),
        out_of_service: let_go,
        pods,
        ready_elsewhere: left,
    };
    let severity = if let_go { Severity::Info } else { Severity::Critical };
    let since = |row: &NodeRow| row.since.map_or_else(|| "unknown".into(), |s| s.to_string());
    let evidence = |row: &&NodeRow| {
        Evidence::from(format!("{} {} since {}", row.node.name, row.state.as_str(), since(row)))
    };
    Cause {
        since: down.iter().filter_map(|row| row.since).min(),
        evidence: down.iter().map(evidence).collect(),
        action: down
            .first()
            .filter(|_| !let_go && left > 0)
            .map(|row| out_of_service(cluster, row, Some(zone.clone()))),
        impact: Impact { pods, nodes: u32::try_from(down.len()).unwrap_or(u32::MAX), ..Impact::default() },
        ..Cause::new(
            Finding::NodeNotReady(loss),
            severity,
            down.iter().map(|row| reference(cluster, row)).collect(),
        )
    }
}

/// Finds nodes whose heartbeats stopped while the control plane still calls them Ready.
pub(super) fn suspect(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let rows = || context.cluster.derived.nodes.iter().filter(|row| row.state == NodeState::Suspect);
    let all = context.cluster.derived.nodes.len();
    let silent = rows().count();
    // If most nodes stop at once, the connection or the API server is the more likely cause.
    if silent > 2 && silent * 2 > all {
        return vec![Cause {
            since: rows().filter_map(|row| row.since).min(),
            evidence: vec!["leases in kube-node-lease are renewed every 10 s".to_owned().into()],
            impact: Impact { nodes: u32::try_from(silent).unwrap_or(u32::MAX), ..Impact::default() },
            ..Cause::new(
                Finding::NodeSuspect(Heartbeats::Most { silent, of: all }),
                Severity::Warning,
                rows().map(|row| reference(context.cluster, row)).collect(),
            )
        }];
    }
    rows()
        .map(|row| Cause {
            since: row.since,
            evidence: vec![
                format!(
                    "its Lease in kube-node-lease has not changed for more than {} s (renewed every 10 s)",
                    health::SUSPECT_AFTER_MS / 1000
                )
                .into(),
            ],
            action: cordon(context.cluster, row),
            impact: Impact { pods: row.totals.pods, nodes: 1, ..Impact::default() },
            ..Cause::new(
                Finding::NodeSuspect(Heartbeats::Node { pods: row.totals.pods }),
                Severity::Warning,
                vec![reference(context.cluster, row)],
            )
        })
        .collect()
}

/// Finds nodes with pressure conditions, or with conditions of a problem detector.
pub(super) fn pressure(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let rows = context.cluster.derived.nodes.iter().filter(|row| !row.state.is_dead());
    rows.filter(|row| !row.problems.is_empty())
        .filter_map(|row| {
            let problems = health::lasting_problems(&row.node, context.now);
            let names = problems.iter().map(|c| health::problem_words(c).into()).collect();
            let pods = row.totals.pods;
            (!problems.is_empty()).then(|| Cause {
                since: problems.iter().filter_map(|c| c.since).min(),
                evidence: problems
                    .iter()
                    .map(|c| format!("{}: {} {}", health::problem_words(c), c.reason, c.message).into())
                    .collect(),
                action: cordon(context.cluster, row),
                impact: Impact { pods, nodes: 1, ..Impact::default() },
                ..Cause::new(
                    Finding::NodePressure { problems: names, pods },
                    Severity::Warning,
                    vec![reference(context.cluster, row)],
                )
            })
        })
        .collect()
}
