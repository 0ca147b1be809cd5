//! Which budgets block which pods, for how long at least, and what would unblock them.

use std::collections::{BTreeMap, HashMap};

use super::{Drain, grace_secs, lacking, span};
use crate::domain::budget::Pdb;
use crate::domain::id::{Name, Uid};
use crate::domain::plan::{BudgetWait, DrainOptions, Fate, Lacking, PdbEffect, Warning};
use crate::domain::pod::{Phase, Pod};
use crate::facts::world::Cluster;

type Key = (Name, Name);

/// The data collected about one budget.
struct Asked<'a> {
    pdb: &'a Pdb,
    left: i32,
    /// The number of pods whose evictions the budget counts, and the longest grace period among them.
    pods: u64,
    grace: u64,
    blocks: Vec<Name>,
    /// True if the budget blocks pods that are not ready.
    unready: bool,
    /// Another budget that selects the same pod.
    shared_with: Option<Name>,
}

/// Marks the pods that budgets block now. The server counts each eviction, so the pods of one budget are summed.
pub(super) fn judge(cluster: &Cluster, going: &[&Pod], options: &DrainOptions, drain: &mut Drain) {
    drain.unread.extend(lacking(Lacking::Budgets, &[&cluster.pdbs.cover], going));
    let mut asked: BTreeMap<Key, Asked<'_>> = BTreeMap::new();
    let at: HashMap<Uid, usize> =
        drain.pods.iter().enumerate().map(|(i, fate)| (fate.pod.uid.clone(), i)).collect();
    for pod in going {
        // The server does not check budgets for these pods.
        if pod.phase != Phase::Running && pod.phase != Phase::Unknown || pod.is_terminating() {
            continue;
        }
        let matching: Vec<&Pdb> = cluster
            .pdbs
            .iter()
            .map(AsRef::as_ref)
            .filter(|p| p.namespace == pod.namespace && p.selector.matches(*pod))
            .collect();
        let mut held = None;
        for pdb in &matching {
            let budget = asked.entry((pdb.namespace.clone(), pdb.name.clone())).or_insert_with(|| Asked {
                pdb,
                left: pdb.allowed,
                pods: 0,
                grace: 0,
                blocks: Vec::new(),
                unready: false,
                shared_with: None,
            });
            if matching.len() == 1 {
                held = budget.ask(pod, grace_secs(pod, options));
            } else {
                budget.shared_with =
                    matching.iter().find(|other| other.name != pdb.name).map(|other| other.name.clone());
                budget.blocks.push(pod.name.clone());
            }
        }
        if matching.len() > 1 {
            held = Some(format!(
                "has more than one PodDisruptionBudget ({}), which the eviction API never allows",
                matching.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
            ));
        }
        if let Some(reason) = held
            && let Some(fate) = at.get(&pod.uid).and_then(|i| drain.pods.get_mut(*i))
        {
            fate.fate = Fate::Wait;
            fate.reason = reason;
        }
    }
    drain.pdbs = asked.into_values().map(Asked::effect).collect();
    let never = drain
        .pdbs
        .iter()
        .filter(|p| p.wait == Some(BudgetWait::Unbounded))
        .map(|p| format!("{}/{}", p.namespace, p.name));
    let never = Warning::of(never.collect(), |budgets| Warning::BudgetsNeverAllow { budgets });
    drain.warnings.extend(never);
}

impl Asked<'_> {
    /// Returns why the eviction API would refuse one more pod. Returns `None` if it would evict the pod.
    fn ask(&mut self, pod: &Pod, grace: u64) -> Option<String> {
        let pdb = self.pdb;
        let who = format!("PDB {}/{}", pdb.namespace, pdb.name);
        if !pod.ready
            && (pdb.always_allow_unhealthy
                || (pdb.current_healthy >= pdb.desired_healthy && pdb.desired_healthy > 0))
        {
            return None;
        }
        self.pods += 1;
        self.grace = self.grace.max(grace);
        if pdb.observed_generation < pdb.generation {
            self.blocks.push(pod.name.clone());
            return Some(format!("{who} is still being processed by the controller"));
        }
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        self.blocks.push(pod.name.clone());
        self.unready |= !pod.ready;
        Some(format!(
            "{who} needs {} healthy and has {}: {} allowed",
            pdb.desired_healthy, pdb.current_healthy, pdb.allowed
        ))
    }

    fn effect(self) -> PdbEffect {
        let (wait, note) = self.wait();
        PdbEffect {
            namespace: self.pdb.namespace.clone(),
            name: self.pdb.name.clone(),
            allowed: self.pdb.allowed,
            blocks: self.blocks,
            since: self.pdb.blocked_since(),
            wait,
            note,
        }
    }

    /// Returns how long the pods of the budget take at least, and why.
    fn wait(&self) -> (Option<BudgetWait>, String) {
        let pdb = self.pdb;
        let never = |why: String| (Some(BudgetWait::Unbounded), why);
        if let Some(other) = &self.shared_with {
            return never(format!(
                "pods here match PDB {other} too, which the eviction API never allows: narrow a selector"
            ));
        }
        if self.pods == 0 {
            return (None, String::new());
        }
        let failed = pdb.conditions.iter().find(|c| c.reason == "SyncFailed");
        if let Some(failed) = failed.filter(|_| pdb.allowed <= 0) {
            return never(format!("its controller cannot compute it: {}", failed.message));
        }
        if pdb.observed_generation < pdb.generation {
            return (None, "its controller has not seen its newest version yet".into());
        }
        if let Ok(allowed @ 1..) = u64::try_from(pdb.allowed) {
            let rounds = self.pods.div_ceil(allowed);
            let total = rounds.saturating_mul(self.grace);
            let note = if rounds == 1 {
                format!("lets all {} go at once", self.pods)
            } else {
                format!(
                    "{} pods, {allowed} at a time: {rounds} rounds, {} if each takes its grace of {} s, and on top \
                     what each replacement needs to become ready",
                    self.pods,
                    span(total),
                    self.grace
                )
            };
            return (Some(BudgetWait::AtLeast(total)), note);
        }
        let (needs, expected, has) = (pdb.desired_healthy, pdb.expected, pdb.current_healthy);
        if expected <= 0 {
            return never(
                "counts no pod of a controller that it knows: only a number in minAvailable works for such pods".into(),
            );
        }
        if needs >= expected {
            let remedy = match (&pdb.max_unavailable, &pdb.min_available) {
                (Some(_), None) => "maxUnavailable is raised",
                (_, Some(all)) if *all == "100%" => "minAvailable is lowered",
                _ => "minAvailable is lowered or there are more replicas",
            };
            return never(format!(
                "needs {needs} healthy of {expected}: no drain can ever pass until {remedy}"
            ));
        }
        let mut note = format!(
            "needs {needs} healthy of {expected} and has {has}: waits until {} more become ready",
            (needs - has + 1).max(1)
        );
        if self.unready && !pdb.always_allow_unhealthy {
            note.push_str(
                "; unready pods here are held too: mend them, or set unhealthyPodEvictionPolicy to AlwaysAllow",
            );
        }
        (None, note)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::id::{Kind, Owner, Version};
    use crate::domain::pod::PodOwn;
    use crate::domain::selector::Selector;
    use crate::domain::time::Stamp;
    use crate::domain::workload::{POD_INDEX, POD_NAME};
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::policy::drain::rehearse;
    use crate::state::ClusterState;

    /// The server sees the labels that distinguish the pods of a StatefulSet.
    #[test]
    fn a_budget_for_one_pod_of_a_statefulset_holds_it() {
        let pod = |n: u128| Pod {
            uid: Uid::Uuid(n),
            version: Version(1),
            namespace: "shop".into(),
            name: format!("db-{n}").into(),
            node: Some("n".into()),
            owner: Some(Arc::new(Owner {
                kind: Kind::StatefulSet,
                name: "db".into(),
                uid: Uid::Uuid(90),
                group: "apps".into(),
            })),
            own: Some(Arc::new(PodOwn {
                labels: [
                    (POD_NAME.into(), format!("db-{n}").into()),
                    (POD_INDEX.into(), n.to_string().into()),
                ]
                .into(),
                ..PodOwn::default()
            })),
            phase: Phase::Running,
            ready: true,
            ..Pod::default()
        };
        for (key, value) in [(POD_INDEX, "0"), (POD_NAME, "db-0")] {
            let pdb = Pdb {
                uid: Uid::Uuid(80),
                namespace: "shop".into(),
                name: "one".into(),
                selector: Arc::new(Selector::from_labels([(key.into(), value.into())])),
                max_unavailable: Some("0".into()),
                current_healthy: 1,
                desired_healthy: 1,
                expected: 1,
                ..Pdb::default()
            };
            let mut state = ClusterState::new(ClusterInfo::default());
            state.apply(Fact::Pods(Batch::Upsert(vec![pod(0), pod(1)])), Stamp(0));
            state.apply(Fact::Pdbs(Batch::Upsert(vec![pdb])), Stamp(0));
            let cluster = state.publish(Stamp(0), false).unwrap();
            let drain = rehearse(
                &cluster,
                &["n".into()],
                &DrainOptions::default(),
                &crate::domain::plan::Lookups::default(),
                false,
                Stamp(0),
            );
            let fates: Vec<_> = drain.pods.iter().map(|p| (p.pod.name.to_string(), p.fate)).collect();
            assert_eq!(fates, [("db-0".into(), Fate::Wait), ("db-1".into(), Fate::Evict)], "{key}");
        }
    }
}
