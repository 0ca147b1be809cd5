//! The palette (`:`) finds objects by name, and commands. Hits are ranked by how well the name matches. Only the best
//! ones are kept.

pub mod prom;
mod words;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Pick};
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid};
use pilothouse_core::facts::world::{Cluster, World};

use super::super::app::{Hit, Target, Ui};
use super::super::command::{COMMANDS, Cmd};
use super::super::widget::text::contains_fold;

/// The maximum number of hits.
const MOST: usize = 30;
/// Plans from this number on are ranked alike.
const MOST_PLANS: u32 = 200;

/// Returns the rank of a match, the best first: equal, prefix, prefix of a word, substring.
fn score(text: &str, needle: &str) -> Option<u32> {
    if needle.is_empty() || !contains_fold(text, needle) {
        return None;
    }
    let lower = text.to_lowercase();
    let class = if lower == needle {
        0
    } else if lower.starts_with(needle) {
        1
    } else if lower.split(['-', '/', '.', ' ']).any(|word| word.starts_with(needle)) {
        2
    } else {
        3
    };
    Some(class * 1000 + u32::try_from(text.len()).unwrap_or(999).min(999))
}

/// Returns the verb of a plan, so that `weight` plans are also found by that word.
fn verb_of(plan: &FailoverPlan) -> &'static str {
    if matches!(plan.kind, FailoverKind::Weight(_)) { "failover weight" } else { "failover" }
}

/// Describes a plan. The direction of a shift comes first, because the end of the words may not fit.
fn words_of(kind: &FailoverKind) -> String {
    match kind {
        FailoverKind::Weight(shift) => {
            let route = shift.object(ClusterId(0));
            format!("from {} to {}, weight of {route}", shift.from, shift.to)
        }
        other => other.to_string(),
    }
}

fn of_object(object: ObjectRef) -> Hit {
    Hit {
        kind: object.kind.short(),
        title: if object.namespace.is_empty() {
            object.name.to_string()
        } else {
            format!("{}/{}", object.namespace, object.name)
        },
        detail: String::new(),
        target: Target::Object(object),
    }
}

/// Returns the cluster of the failover plans.
fn home<'w>(ui: &Ui, world: &'w World) -> Option<&'w Cluster> {
    world.cluster(ui.failovers_in).map(|cluster| &**cluster)
}

/// Returns the best hits for the typed text.
pub fn search(ui: &Ui, world: &World, typed: &str) -> Vec<Hit> {
    if let Some(query) = prom::query(typed) {
        return prom::hits(ui, query);
    }
    let needle = typed.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut hits: Vec<(u32, Hit)> = Vec::new();
    if matches!(needle.as_str(), "q" | "quit" | "exit") {
        let title = "quit".to_owned();
        hits.push((
            0,
            Hit { target: Target::Quit, kind: "quit".into(), title, detail: "quit at once".into() },
        ));
    }
    for command in
        COMMANDS.iter().filter(|c| !c.title.is_empty() && !matches!(c.cmd, Cmd::Confirm | Cmd::Cancel))
    {
        if needle.is_empty() && !world.has_several() && matches!(command.cmd, Cmd::AllClusters | Cmd::Compare)
        {
            continue;
        }
        // the list of plans is already open, so running the command again would only reopen it
        if typed.ends_with(' ') && command.id == needle {
            continue;
        }
        let best = if needle.is_empty() {
            (command.hint > 0).then_some(5000)
        } else {
            score(command.id, &needle).or_else(|| score(command.title, &needle))
        };
        if let Some(best) = best {
            let key = ui.key(command.cmd).or_else(|| ui.keymap.key_in(command.contexts, command.cmd));
            let key = key.map_or_else(String::new, |k| format!("[{k}] "));
            hits.push((
                best + 500,
                Hit {
                    target: Target::Command(command.id),
                    kind: "command".into(),
                    title: command.id.into(),
                    detail: format!("{key}{}", command.doc),
                },
            ));
        }
    }
    for cluster in world.live().filter(|c| c.info.id != ui.cluster) {
        if let Some(best) = score(&cluster.info.context, &needle) {
            hits.push((
                best,
                Hit {
                    target: Target::Context(cluster.info.context.clone()),
                    kind: "context".into(),
                    title: cluster.info.context.to_string(),
                    detail: "bring this cluster to the front".into(),
                },
            ));
        }
    }
    let node = ui.failovers_node.as_ref().and_then(|name| home(ui, world)?.node(name).cloned());
    let is_elsewhere = |plan: &FailoverPlan| match (&plan.kind, &node) {
        (FailoverKind::Evacuate(Pick::Zone(zone)), Some(node)) => node.zone.as_ref() != Some(zone),
        (FailoverKind::Evacuate(Pick::Nodes(nodes)), Some(node)) => !nodes.contains(&node.name),
        (_, node) => node.is_some(),
    };
    for (at, plan) in ui.failovers.iter().enumerate() {
        for (verb, revert) in [(verb_of(plan), false), ("failover-revert", true)] {
            // the plan that the console suggests has not run yet, so there is nothing to revert
            if revert && plan.suggested {
                continue;
            }
            let title = format!("{verb} {}", plan.name);
            if let Some(best) = score(&title, &needle) {
                let far = home(ui, world).filter(|cluster| cluster.id() != ui.cluster);
                let place = far.map_or_else(String::new, |cluster| format!(" in {}", cluster.info.name()));
                let origin = match (plan.suggested, far) {
                    (true, None) => " (suggested for this cluster)",
                    (true, Some(_)) => " (suggested)",
                    (false, _) => " (from the config)",
                };
                let way = if revert { "back: " } else { "" };
                // plans come before the command that requested them, in their own order: the better one is first
                let class = (best / 1000 * 1000).saturating_sub(1000);
                let order = u32::try_from(at).unwrap_or(u32::MAX).min(MOST_PLANS);
                hits.push((
                    class + order + (MOST_PLANS + 1) * u32::from(is_elsewhere(plan)),
                    Hit {
                        target: Target::Failover(at, revert),
                        kind: "plan".into(),
                        title,
                        detail: format!("{way}{}{place}{origin}", words_of(&plan.kind)),
                    },
                ));
            }
        }
    }
    for (best, object) in objects(ui, world, &needle, |_| true) {
        hits.push((best, of_object(object)));
    }
    hits.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.title.cmp(&b.1.title)));
    hits.truncate(MOST);
    let rest: Vec<Hit> = hits.into_iter().map(|(_, hit)| hit).collect();
    // the meaning of the whole line comes first, unless an object has that name
    let (exact, rest): (Vec<Hit>, Vec<Hit>) =
        rest.into_iter().partition(|hit| matches!(hit.target, Target::Object(_)) && hit.title == needle);
    let mut hits = words::read(ui, world, &needle);
    hits.splice(0..0, exact);
    for hit in rest.into_iter().chain(words::kinds(ui, &needle)) {
        if !hits.iter().any(|held| held.target == hit.target) {
            hits.push(hit);
        }
    }
    hits.truncate(MOST);
    hits
}

fn objects(
    ui: &Ui,
    world: &World,
    needle: &str,
    wanted: impl Fn(&ObjectRef) -> bool,
) -> Vec<(u32, ObjectRef)> {
    let Some(cluster) = ui.shown(world).filter(|_| !needle.is_empty()) else { return Vec::new() };
    // only the best hits are converted to objects, so that a scan of 150,000 names does not allocate memory for the
    // others
    let mut best: BinaryHeap<(u32, Reverse<usize>, ObjectRef)> = BinaryHeap::new();
    let (namespace, name) = match needle.split_once('/') {
        Some((ns, name)) => (Some(ns), name),
        None => (None, needle),
    };
    let mut offer = |order: usize, kind: &Kind, ns: &Name, text: &Name, uid: &Uid| {
        if namespace.is_some_and(|wanted| !contains_fold(ns, wanted)) {
            return;
        }
        let Some(score) = (if name.is_empty() { Some(9000) } else { score(text, name) }) else { return };
        if best.len() >= MOST && best.peek().is_some_and(|worst| worst.0 <= score) {
            return;
        }
        let object = cluster.object(kind.clone(), ns, text, uid);
        if !wanted(&object) {
            return;
        }
        best.push((score, Reverse(order), object));
        if best.len() > MOST {
            best.pop();
        }
    };
    let none = Name::default();
    for node in cluster.nodes.iter() {
        offer(0, &Kind::Node, &none, &node.name, &node.uid);
    }
    for row in cluster.derived.workloads.iter() {
        offer(1, &row.workload.kind, &row.workload.namespace, &row.workload.name, &row.workload.uid);
    }
    for service in cluster.services.iter() {
        offer(2, &Kind::Service, &service.namespace, &service.name, &service.uid);
    }
    for hpa in cluster.hpas.iter() {
        offer(3, &Kind::HorizontalPodAutoscaler, &hpa.namespace, &hpa.name, &hpa.uid);
    }
    for pdb in cluster.pdbs.iter() {
        offer(4, &Kind::PodDisruptionBudget, &pdb.namespace, &pdb.name, &pdb.uid);
    }
    for pod in cluster.pods.iter() {
        offer(5, &Kind::Pod, &pod.namespace, &pod.name, &pod.uid);
    }
    best.into_sorted_vec()
        .into_iter()
        .map(|(score, Reverse(order), object)| (score + order as u32, object))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_match_scores_lower() {
        let s = |text| score(text, "cart").unwrap();
        assert!(s("cart") < s("cart-db") && s("cart-db") < s("shop-cart") && s("shop-cart") < s("mycart"));
        assert_eq!(score("checkout", "cart"), None);
    }
}
