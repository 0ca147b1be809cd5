//! Actions on nodes: cordon, drain, and the out-of-service taint.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{DataScope, PlanInput, gone, here, kubectl};
use crate::domain::id::{Name, ObjectRef};
use crate::domain::node::{OUT_OF_SERVICE, Taint};
use crate::domain::plan::{
    Act, Change, Choice, Confirm, DrainOptions, Fate, FieldChange, Lacking, Lookup, LookupResult, Plan,
    PodFate, Refusal, Since, Step, StepKind, Unread, Warning,
};
use crate::domain::pod::Pod;
use crate::facts::table::Coverage;
use crate::facts::world::{Cluster, NodeState};
use crate::policy::kubectl::quote;
use crate::policy::{drain as draining, health};

/// Returns how many nodes can be cordoned at once before the context's name must be typed.
fn most_cordoned(nodes: usize) -> usize {
    (nodes / 20).max(1)
}

pub(super) fn cordon(input: PlanInput<'_>, plan: &mut Plan, on: bool) {
    let cluster = input.cluster;
    let verb = if on { "cordon" } else { "uncordon" };
    let mut names = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(node) = cluster.nodes.iter().find(|n| n.uid == target.uid) else {
            plan.refusals.push(gone(&target));
            continue;
        };
        names.push(quote(&node.name));
        if node.cordoned == on {
            let node = node.name.clone();
            plan.warnings.push(if on {
                Warning::CordonedAlready { node }
            } else {
                Warning::UncordonedAlready { node }
            });
            continue;
        }
        let what = if on { StepKind::Cordon } else { StepKind::Uncordon };
        plan.steps.push(Step::new(what, target));
    }
    if on {
        too_many_cordoned(input, plan);
        plan.undo = "uncordon what this cordoned".into();
    } else {
        plan.undo = "cordon what this uncordoned".into();
    }
    plan.kubectl = kubectl(cluster, plan, &format!("{verb} {}", names.join(" ")));
}

/// Returns the lookup of the other nodes. A headless command reads only its targets, so it has to ask for them.
pub(super) fn fleet_lookup(cluster: &Cluster, targets: &[ObjectRef]) -> Lookup {
    let mut zones: BTreeMap<Name, u32> = BTreeMap::new();
    let ours = cluster.nodes.iter().filter(|n| targets.iter().any(|t| t.uid == n.uid));
    for zone in ours.filter_map(|n| n.zone.clone()) {
        *zones.entry(zone).or_default() += 1;
    }
    if targets.len() < 2 {
        // A single target is not treated as a whole zone.
        zones.clear();
    }
    Lookup::Fleet(zones.into_iter().collect())
}

fn too_many_cordoned(input: PlanInput<'_>, plan: &mut Plan) {
    let PlanInput { cluster, scope, lookups, .. } = input;
    if matches!(plan.intent.act, Act::Failover { .. }) && scope == DataScope::TargetsOnly {
        // A failover always asks for the context's name.
        return;
    }
    let (all, already) = if scope == DataScope::TargetsOnly {
        match lookups.get(&fleet_lookup(cluster, &plan.intent.targets)) {
            Some(LookupResult::Fleet(fleet)) => {
                let drains = matches!(plan.intent.act, Act::Drain(_));
                if let Some(zone) = fleet.whole_zones.first().filter(|_| drains) {
                    plan.warnings.push(Warning::WholeZone { zone: zone.clone() });
                    plan.confirm = Confirm::Context;
                }
                (fleet.nodes, fleet.cordoned.len())
            }
            found => {
                if plan.intent.targets.len() > 1 {
                    let why = match found {
                        Some(LookupResult::Unread(why)) => why.as_str(),
                        _ => "it was not asked",
                    };
                    plan.warnings.push(Warning::NodesUnknown { why: why.to_owned() });
                    plan.confirm = Confirm::Context;
                }
                return;
            }
        }
    } else if !cluster.nodes.cover.is_complete() || cluster.nodes.fresh.stale_since.is_some() {
        plan.warnings.push(Warning::CordonedUnknown);
        plan.confirm = Confirm::Context;
        return;
    } else {
        (cluster.nodes.len(), cluster.nodes.iter().filter(|n| n.cordoned).count())
    };
    let new = plan
        .intent
        .targets
        .iter()
        .filter(|t| cluster.nodes.iter().any(|n| n.uid == t.uid && !n.cordoned))
        .count();
    let most = most_cordoned(all);
    if new > 0 && already + new > most {
        plan.warnings.push(Warning::ManyCordoned { cordoned: already + new, nodes: all, most });
        plan.confirm = Confirm::Context;
    }
}

/// Returns the lookups of the DaemonSets that a drain of these nodes needs.
pub(super) fn drain_lookups(cluster: &Cluster, targets: &[ObjectRef]) -> Vec<Lookup> {
    let nodes: Vec<Name> = targets.iter().map(|t| t.name.clone()).collect();
    let sets = draining::daemonsets_to_read(cluster, &nodes);
    sets.into_iter().map(|on| Lookup::Object { context: Name::default(), on }).collect()
}

pub(super) fn drain(input: PlanInput<'_>, plan: &mut Plan, options: &DrainOptions) {
    let PlanInput { cluster, scope, lookups, now, .. } = input;
    plan.confirm = Confirm::Suffix;
    let mut names = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(node) = cluster.nodes.iter().find(|n| n.uid == target.uid) else {
            plan.refusals.push(gone(&target));
            continue;
        };
        names.push(node.name.clone());
        let verdict = health::judge(node, None, None, now);
        if verdict.state.is_dead() {
            let (name, state) = (node.name.clone(), verdict.state.as_str());
            let since = Since(verdict.since.map(|at| at.told(now)));
            plan.not_ready.push(name.clone());
            if verdict.state == NodeState::Unknown {
                let warning = Warning::KubeletSilent { node: name.clone(), state, since };
                plan.warnings.insert(plan.silent.len(), warning);
                plan.silent.push(name);
            } else {
                plan.warnings.push(Warning::NodeNotReady { node: name, state, since });
            }
        }
        if !node.cordoned {
            plan.steps.push(Step::new(StepKind::Cordon, target));
        }
    }
    for (table, cover, fresh) in [
        ("pods", &cluster.pods.cover, cluster.pods.fresh),
        ("daemonsets", &cluster.daemonsets.cover, cluster.daemonsets.fresh),
        ("poddisruptionbudgets", &cluster.pdbs.cover, cluster.pdbs.fresh),
    ] {
        // Like kubectl, a drain reads objects one by one if it may not list them, or it continues without them.
        let enough = match cover {
            Coverage::Complete => true,
            Coverage::Never | Coverage::Loading { .. } => {
                table == "daemonsets" && scope == DataScope::TargetsOnly
            }
            Coverage::Namespaces(_) | Coverage::Denied(_) | Coverage::NotInstalled => table != "pods",
        };
        if !enough {
            let note = cover.note().unwrap_or_default();
            plan.refusals.push(Refusal::TableIncomplete { table, note });
        } else if let Some(since) = fresh.stale_since {
            plan.refusals.push(Refusal::TableStale { table, since: since.told(now) });
        }
    }
    let drain = draining::rehearse(cluster, &names, options, lookups, scope == DataScope::FullCluster, now);
    let grace_period = options.grace_period;
    let evict = if options.disable_eviction {
        StepKind::Delete { grace_period }
    } else {
        StepKind::Evict { grace_period }
    };
    let going = drain.pods.iter().filter(|p| matches!(p.fate, Fate::Evict | Fate::Wait));
    plan.steps.extend(going.map(|p| Step::new(evict.clone(), p.pod.clone())));
    plan.pods = drain.pods;
    plan.pdbs = drain.pdbs;
    plan.services = drain.services;
    plan.unplaced = drain.unplaced;
    if drain.whole_zone && names.len() > 1 {
        plan.confirm = Confirm::Context;
    }
    plan.warnings.extend(drain.warnings);
    plan.unread = drain.unread;
    plan.refusals.extend(drain.refusals);
    too_many_cordoned(input, plan);
    choices(cluster, plan, options, &names);
    let cordons = plan.steps.iter().any(|step| step.what == StepKind::Cordon);
    let given_back = if cordons { "uncordon" } else { "nothing, as it was cordoned before" };
    plan.undo = format!("{given_back}; evicted pods do not move back");
    let mut words = format!("drain {}", names.iter().map(|n| quote(n)).collect::<Vec<_>>().join(" "));
    for (on, flag) in [
        (options.force, "--force"),
        (options.ignore_daemonsets, "--ignore-daemonsets"),
        (options.delete_emptydir_data, "--delete-emptydir-data"),
        (options.disable_eviction, "--disable-eviction"),
    ] {
        if on {
            words.push(' ');
            words.push_str(flag);
        }
    }
    for (value, unset, flag, unit) in [
        (options.grace_period, -1, "--grace-period", ""),
        (i64::try_from(options.timeout).unwrap_or(i64::MAX), 0, "--timeout", "s"),
        (
            i64::try_from(options.skip_wait_for_delete_timeout).unwrap_or(i64::MAX),
            0,
            "--skip-wait-for-delete-timeout",
            "",
        ),
    ] {
        if value != unset {
            words.push_str(&format!(" {flag}={value}{unit}"));
        }
    }
    if let Some(selector) = &options.pod_selector {
        words.push_str(&format!(" --pod-selector={}", quote(selector)));
    }
    plan.kubectl = kubectl(cluster, plan, &words);
}

/// Adds the switches of `kubectl drain` to the choices, with the pods that each switch affects.
fn choices(cluster: &Cluster, plan: &mut Plan, options: &DrainOptions, nodes: &[Name]) {
    let on_nodes = |p: &&std::sync::Arc<Pod>| {
        p.node.as_ref().is_some_and(|n| nodes.contains(n)) && !p.phase.is_finished() && !p.mirror
    };
    let names = |wanted: fn(&Pod) -> bool| {
        let names: Vec<&str> =
            cluster.pods.iter().filter(on_nodes).filter(|p| wanted(p)).map(|p| p.name.as_str()).collect();
        match names.len() {
            0 => "no pod".to_owned(),
            n if n > 3 => {
                format!("{} and {} more", names.iter().take(3).copied().collect::<Vec<_>>().join(", "), n - 3)
            }
            _ => names.join(", "),
        }
    };
    let daemons = |p: &Pod| draining::daemonset_of(p).is_some();
    let flip = |edit: fn(&mut DrainOptions)| {
        let mut other = options.clone();
        edit(&mut other);
        Act::Drain(other)
    };
    let instead = Choice {
        words: "out-of-service instead: the machine is off, its pods are deleted by force".into(),
        act: Act::OutOfService,
        on: false,
    };
    let dead = !plan.silent.is_empty() && plan.silent.len() == nodes.len();
    plan.choices = dead.then_some(instead).into_iter().collect();
    plan.choices.extend([
        Choice {
            words: format!("--ignore-daemonsets: leave {}", names(daemons)),
            act: flip(|o| o.ignore_daemonsets = !o.ignore_daemonsets),
            on: options.ignore_daemonsets,
        },
        Choice {
            words: format!("--delete-emptydir-data: lose the data of {}", names(|p| p.shape.empty_dir)),
            act: flip(|o| o.delete_emptydir_data = !o.delete_emptydir_data),
            on: options.delete_emptydir_data,
        },
        Choice {
            words: format!(
                "--force: also delete pods that no controller re-creates: {}",
                names(|p| p.owner.is_none())
            ),
            act: flip(|o| o.force = !o.force),
            on: options.force,
        },
        Choice {
            words: "--disable-eviction: delete pods without checking PodDisruptionBudgets".into(),
            act: flip(|o| o.disable_eviction = !o.disable_eviction),
            on: options.disable_eviction,
        },
        Choice {
            words: "--pods-at-once=1: evict one pod at a time".into(),
            act: flip(|o| o.pods_at_once = u16::from(o.pods_at_once != 1)),
            on: options.pods_at_once == 1,
        },
        Choice {
            words: "--timeout=10m: stop after 10 minutes, even if pods remain".into(),
            act: flip(|o| o.timeout = if o.timeout == 600 { 0 } else { 600 }),
            on: options.timeout == 600,
        },
    ]);
}

pub(super) fn out_of_service(input: PlanInput<'_>, plan: &mut Plan, on: bool) {
    let cluster = input.cluster;
    plan.confirm = if on { Confirm::Context } else { Confirm::Yes };
    let said = Taint {
        key: OUT_OF_SERVICE.into(),
        value: "nodeshutdown".into(),
        effect: "NoExecute".into(),
        added: None,
    };
    let mut names = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(row) = cluster.derived.nodes.iter().find(|row| row.node.uid == target.uid) else {
            plan.refusals.push(gone(&target));
            continue;
        };
        let node = &row.node;
        names.push(quote(&node.name));
        if on && !row.state.is_dead() {
            plan.refusals.push(Refusal::NodeNotDead { node: node.name.clone(), state: row.state.as_str() });
            continue;
        }
        let live = match input.lookups.get(&here(&target)) {
            Some(LookupResult::Objects(objects)) => objects.first(),
            _ => None,
        };
        let Some(live) = live else {
            plan.refusals.push(Refusal::NodeNotRead { node: node.name.clone() });
            continue;
        };
        let before = live.pointer("/spec/taints").cloned().unwrap_or(Value::Null);
        let mut taints: Vec<Value> = before.as_array().cloned().unwrap_or_default();
        let has = |taint: &Value| taint.get("key").and_then(Value::as_str) == Some(OUT_OF_SERVICE);
        if taints.iter().any(has) == on {
            let node = node.name.clone();
            plan.warnings.push(if on {
                Warning::TaintedAlready { node }
            } else {
                Warning::NotTainted { node }
            });
            continue;
        }
        if on {
            taints.push(json!({ "key": said.key, "value": said.value, "effect": said.effect }));
        } else {
            taints.retain(|taint| !has(taint));
        }
        let after = if taints.is_empty() { Value::Null } else { Value::Array(taints) };
        let words = if on { "taint out-of-service" } else { "remove the taint out-of-service" };
        plan.steps.push(Step::new(
            StepKind::Change(Change {
                words: words.into(),
                fields: vec![FieldChange { pointer: "/spec/taints".into(), from: before, to: after }],
            }),
            target.clone(),
        ));
        if on {
            for pod in cluster.pods.iter().filter(|p| p.node.as_ref() == Some(&node.name)) {
                if pod.phase.is_finished() {
                    continue;
                }
                let stays = pod.shape.scheduling.tolerations.iter().any(|t| t.tolerates(&said));
                plan.pods.push(PodFate {
                    pod: pod.reference(cluster.id()),
                    node: node.name.clone(),
                    fate: if stays { Fate::Skip } else { Fate::Evict },
                    reason: if stays {
                        "tolerates the taint"
                    } else {
                        "deleted by force, its volumes detached"
                    }
                    .into(),
                    owner: pod.owner.as_ref().map_or_else(String::new, |o| format!("{}/{}", o.kind, o.name)),
                });
            }
        }
    }
    let loading = matches!(cluster.pods.cover, Coverage::Never | Coverage::Loading { .. });
    if on && input.scope == DataScope::FullCluster && loading {
        // The plan would change when the pods are loaded.
        let note = cluster.pods.cover.note().unwrap_or_default();
        plan.refusals.push(Refusal::TableIncomplete { table: "pods", note });
    } else if on && let Some(why) = cluster.pods.cover.note() {
        plan.unread.push(Unread { what: Lacking::Pods, namespaces: Vec::new(), why });
    }
    if on && !plan.pods.is_empty() {
        let nodes: Vec<Name> = plan.intent.targets.iter().map(|t| t.name.clone()).collect();
        let going = plan.pods.iter().filter(|p| p.fate == Fate::Evict);
        let going: Vec<&Pod> =
            going.filter_map(|p| cluster.pods.by_uid(&p.pod.uid).map(AsRef::as_ref)).collect();
        let drain = draining::elsewhere(cluster, &nodes, &going, input.scope == DataScope::FullCluster);
        plan.warnings.extend(drain.warnings);
        plan.unplaced = drain.unplaced;
    }
    if on {
        plan.warnings.push(Warning::MachineMustBeOff);
    }
    let sign = if on { "=nodeshutdown:NoExecute" } else { ":NoExecute-" };
    plan.kubectl = kubectl(cluster, plan, &format!("taint nodes {} {OUT_OF_SERVICE}{sign}", names.join(" ")));
    plan.undo =
        if on { "removes the taint; deleted pods are not restored" } else { "adds the taint again" }.into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ClusterId, Uid};
    use crate::domain::node::Node;
    use crate::domain::plan::{Fleet, Intent, Lookups};
    use crate::domain::settings::GuardSettings;
    use crate::domain::time::Stamp;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::plan::{plan, takes_many_nodes};
    use crate::state::ClusterState;

    /// Returns what a headless command asks for if it knows `targets` nodes of zone a.
    fn asks(act: Act, targets: u128, fleet: &LookupResult) -> (Confirm, bool) {
        let info = ClusterInfo { context: "test".into(), ..ClusterInfo::default() };
        let mut state = ClusterState::new(info);
        let node = |n: u128| Node {
            uid: Uid::Uuid(n),
            name: format!("n{n}").into(),
            zone: Some("a".into()),
            ..Node::default()
        };
        let nodes: Vec<Node> = (1..=targets).map(node).collect();
        let on = |n: &Node| n.reference(ClusterId(0));
        let targets: Vec<ObjectRef> = nodes.iter().map(on).collect();
        state.apply(Fact::Nodes(Batch::Upsert(nodes)), Stamp(0));
        let cluster = state.publish(Stamp(0), false).unwrap();
        let lookups = Lookups(vec![(fleet_lookup(&cluster, &targets), fleet.clone())]);
        let intent = Intent { cluster: ClusterId(0), context: "test".into(), act, targets };
        let guards = GuardSettings::default();
        let input = PlanInput {
            cluster: &cluster,
            guards: &guards,
            scope: DataScope::TargetsOnly,
            lookups: &lookups,
            now: Stamp(0),
        };
        let plan = plan(input, &intent);
        (plan.confirm, takes_many_nodes(&plan))
    }

    #[test]
    fn many_nodes_ask_for_the_context_where_only_the_targets_are_known() {
        let fleet = |nodes, cordoned: usize, zones: &[&str]| {
            LookupResult::Fleet(Fleet {
                nodes,
                cordoned: vec!["other".into(); cordoned],
                whole_zones: zones.iter().map(|z| (*z).into()).collect(),
            })
        };
        let drain = || Act::Drain(DrainOptions::default());
        for (act, targets, fleet, confirm) in [
            (drain(), 1, fleet(12, 0, &[]), Confirm::Suffix),
            (drain(), 1, fleet(12, 1, &[]), Confirm::Context),
            (drain(), 2, fleet(12, 0, &[]), Confirm::Context),
            (drain(), 2, fleet(40, 0, &[]), Confirm::Count),
            (drain(), 3, fleet(40, 0, &[]), Confirm::Context),
            (drain(), 2, fleet(100, 0, &["a"]), Confirm::Context),
            (Act::Cordon, 2, fleet(100, 0, &["a"]), Confirm::Count),
            (Act::Cordon, 1, fleet(12, 0, &[]), Confirm::Yes),
            (Act::Cordon, 2, fleet(12, 0, &[]), Confirm::Context),
            (Act::Uncordon, 3, fleet(12, 3, &[]), Confirm::Count),
            (drain(), 1, LookupResult::Unread("403".into()), Confirm::Suffix),
            (drain(), 2, LookupResult::Unread("403".into()), Confirm::Context),
            (Act::Cordon, 2, LookupResult::Unread("403".into()), Confirm::Context),
        ] {
            let asked = asks(act.clone(), targets, &fleet);
            assert_eq!(asked, (confirm, confirm == Confirm::Context), "{act:?} of {targets}: {fleet:?}");
        }
    }
}
