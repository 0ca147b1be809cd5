//! Rules about nodes.

use std::collections::BTreeMap;

use crate::domain::id::{Kind, Name, ObjectRef};
use crate::facts::world::{Cause, Cluster, Course, Kin, NodeRow, NodeState, Reach, Severity, Suggestion};
use crate::policy::health;

use super::{Scene, count};

fn reference(row: &NodeRow) -> ObjectRef {
    ObjectRef::new(Kind::Node, &Name::default(), &row.node.name, &row.node.uid)
}

fn cordon(row: &NodeRow) -> Option<Suggestion> {
    (!row.node.cordoned).then(|| Suggestion {
        command: "cordon",
        title: format!("cordon {}", row.node.name),
        on: reference(row),
    })
}

/// The way out for a machine that the control plane has lost: its pods are deleted and its volumes detached once a person
/// says that it is off. Nothing is scheduled on it anyway, so cordoning it would change nothing.
fn out_of_service(row: &NodeRow) -> Suggestion {
    Suggestion {
        command: "out-of-service",
        title: format!("take {} out of service, if its machine is really off", row.node.name),
        on: reference(row),
    }
}

fn lost_alone(scene: &Scene<'_, '_>) -> bool {
    scene.cluster.derived.nodes.iter().filter(|row| row.state == NodeState::Unknown).count() == 1
}

/// A node that joins is not Ready at once: its kubelet reports first, then its network comes.
const JOINING_SECS: u64 = 120;
/// Its first condition is that of its creation, give or take the clocks of the kubelet and the API server.
const FIRST_SECS: u64 = 10;

/// True if it has just been made and was not Ready yet.
fn is_joining(scene: &Scene<'_, '_>, row: &NodeRow) -> bool {
    let first = row
        .node
        .condition("Ready")
        .is_none_or(|ready| ready.since.is_none_or(|since| since.secs_since(row.node.created) <= FIRST_SECS));
    first && scene.now.secs_since(row.node.created) < JOINING_SECS
}

/// One line a node; a zone in which nothing is Ready any more is one line.
pub fn not_ready(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let mut zones: BTreeMap<Name, (Vec<&NodeRow>, usize)> = BTreeMap::new();
    let rows: Vec<_> = scene.cluster.derived.nodes.iter().collect();
    let mut found = Vec::new();
    for row in &rows {
        if row.state.is_dead() && is_joining(scene, row) {
            found.push(Cause { severity: Severity::Info, action: None, ..one(scene, row) });
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
            found.push(whole_zone(scene.cluster, &zone, &down));
        } else {
            found.extend(down.into_iter().map(|row| one(scene, row)));
        }
    }
    found
}

fn one(scene: &Scene<'_, '_>, row: &NodeRow) -> Cause {
    let why = health::judge(&row.node, None, None, scene.now).why;
    let mut title = format!("node {} {}", row.node.name, row.state.as_str());
    if let Some(zone) = &row.node.zone {
        title.push_str(&format!(", {zone}"));
    }
    // what is on it has been let go: it is no emergency any more, and stays to be repaired
    let let_go = row.is_out_of_service();
    if let_go {
        title.push_str(", out of service");
    }
    // before they are read, none are known, which is not the same as none
    let pods_known = scene.cluster.pods.cover.is_read();
    if pods_known {
        title.push_str(&format!(": {} on it", count(row.totals.pods, "pod")));
    } else {
        title.push_str(": its pods are not known");
    }
    if row.totals.terminating > 0 {
        title.push_str(&format!(", {} stuck Terminating", row.totals.terminating));
    }
    let mut evidence = vec![format!("condition Ready: {why}")];
    if let Some(since) = row.since {
        evidence.push(format!("since {} (lastTransitionTime)", since.told(scene.now)));
    }
    for taint in row.node.taints.iter() {
        evidence.push(format!("taint {}={}:{}", taint.key, taint.value, taint.effect));
    }
    if pods_known {
        evidence
            .push(format!("{} of its pods are bad, {} terminating", row.totals.bad, row.totals.terminating));
    }
    Cause {
        rule: "node-not-ready",
        kin: Kin::default(),
        course: Course::default(),
        severity: if let_go { Severity::Info } else { Severity::Critical },
        title,
        objects: vec![reference(row)],
        since: row.since,
        evidence,
        action: match row.state {
            _ if let_go => None,
            // of several that are lost at once none is to be declared dead: the network is likelier
            NodeState::Unknown => lost_alone(scene).then(|| out_of_service(row)),
            _ => cordon(row),
        },
        reach: Reach { pods: row.totals.pods, nodes: 1, ..Reach::default() },
    }
}

fn whole_zone(cluster: &Cluster, zone: &Name, down: &[&NodeRow]) -> Cause {
    let pods = down.iter().map(|row| row.totals.pods).sum::<u32>();
    let left = cluster.derived.counts.nodes_ready;
    // said to be off, one and all: what was on them has been let go, and they stay to be repaired
    let let_go = down.iter().all(|row| row.is_out_of_service());
    Cause {
        rule: "node-not-ready",
        kin: Kin::default(),
        course: Course::default(),
        severity: if let_go { Severity::Info } else { Severity::Critical },
        title: format!(
            "{zone}: all {} nodes down{}, {} on them; {left} nodes Ready elsewhere",
            down.len(),
            if let_go { " and out of service" } else { "" },
            count(pods, "pod")
        ),
        objects: down.iter().map(|row| reference(row)).collect(),
        since: down.iter().filter_map(|row| row.since).min(),
        evidence: down
            .iter()
            .map(|row| {
                format!(
                    "{} {} since {}",
                    row.node.name,
                    row.state.as_str(),
                    row.since.map_or_else(|| "unknown".into(), |s| s.to_string())
                )
            })
            .collect(),
        action: down.first().filter(|_| !let_go && left > 0).map(|row| Suggestion {
            command: "out-of-service",
            title: format!("take the nodes of {zone} out of service, if their machines are really off"),
            on: reference(row),
        }),
        reach: Reach { pods, nodes: u32::try_from(down.len()).unwrap_or(u32::MAX), ..Reach::default() },
    }
}

/// Heartbeats stopped, the control plane has not noticed yet.
pub fn suspect(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let rows = || scene.cluster.derived.nodes.iter().filter(|row| row.state == NodeState::Suspect);
    let all = scene.cluster.derived.nodes.len();
    let silent = rows().count();
    // all at once is more likely our view, or the API server's, than the machines
    if silent > 2 && silent * 2 > all {
        let since = rows().filter_map(|row| row.since).min();
        return vec![Cause {
            rule: "node-suspect",
            kin: Kin::default(),
            course: Course::default(),
            severity: Severity::Warning,
            title: format!(
                "{silent} of {all} nodes stopped renewing their leases: look at the control plane or our own connection first"
            ),
            objects: rows().map(|row| reference(row)).collect(),
            since,
            evidence: vec!["leases in kube-node-lease are renewed every 10 s".into()],
            action: None,
            reach: Reach { nodes: u32::try_from(silent).unwrap_or(u32::MAX), ..Reach::default() },
        }];
    }
    rows()
        .map(|row| Cause {
            rule: "node-suspect",
            kin: Kin::default(),
            course: Course::default(),
            severity: Severity::Warning,
            title: format!(
                "node {} stopped its heartbeat, still Ready by the control plane: {}",
                row.node.name,
                count(row.totals.pods, "pod")
            ),
            objects: vec![reference(row)],
            since: row.since,
            evidence: vec![format!(
                "its Lease in kube-node-lease has not changed for more than {} s (renewed every 10 s)",
                health::SUSPECT_AFTER_MS / 1000
            )],
            action: cordon(row),
            reach: Reach { pods: row.totals.pods, nodes: 1, ..Reach::default() },
        })
        .collect()
}

/// Pressure conditions and what a problem detector adds.
pub fn pressure(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let rows = scene.cluster.derived.nodes.iter().filter(|row| !row.state.is_dead());
    rows.filter(|row| !row.problems.is_empty())
        .filter_map(|row| {
            let problems = health::lasting_problems(&row.node, scene.now);
            let names: Vec<String> = problems.iter().map(|c| health::problem_words(c)).collect();
            (!problems.is_empty()).then(|| Cause {
                rule: "node-pressure",
                kin: Kin::default(),
                course: Course::default(),
                severity: Severity::Warning,
                title: format!(
                    "node {} {}: {}",
                    row.node.name,
                    names.join(", "),
                    count(row.totals.pods, "pod")
                ),
                objects: vec![reference(row)],
                since: problems.iter().filter_map(|c| c.since).min(),
                evidence: problems
                    .iter()
                    .map(|c| format!("{}: {} {}", health::problem_words(c), c.reason, c.message))
                    .collect(),
                action: cordon(row),
                reach: Reach { pods: row.totals.pods, nodes: 1, ..Reach::default() },
            })
        })
        .collect()
}
