//! The rows of nodes and their counts.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::id::{Name, Uid, Version};
use crate::domain::node::Node;
use crate::domain::time::Stamp;
use crate::policy::health;

use super::{Derivation, put};
use crate::facts::past::{GIB, Track};
use crate::facts::reduce::{Delta, Dirty, Facts, Parts};
use crate::facts::world::{NodeRow, NodeState};

impl Derivation {
    pub(super) fn node(
        &mut self,
        facts: &Facts,
        delta: &Delta<Node>,
        now: Stamp,
        dirty: &mut HashSet<Name>,
        owners: &mut HashSet<Uid>,
    ) {
        self.changes.node(delta, facts.nodes.table().cover.is_complete(), now);
        if let Some(old) = &delta.old
            && delta.new.as_ref().is_none_or(|new| new.name != old.name)
            && self.node_by_name.get(&old.name) == Some(&old.uid)
        {
            self.node_by_name.remove(&old.name);
            self.mark_dead(&old.name, false, owners);
        }
        if let Some(old) = &delta.old
            && delta.new.is_none()
        {
            self.nodes.remove(&old.uid, Version(0));
        }
        if let Some(new) = &delta.new {
            self.node_by_name.insert(new.name.clone(), new.uid.clone());
            dirty.insert(new.name.clone());
        }
    }

    pub(super) fn recount_nodes(&mut self) {
        let rows = self.nodes.table();
        self.counts.nodes = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let count =
            |f: fn(&NodeRow) -> bool| u32::try_from(rows.iter().filter(|r| f(r)).count()).unwrap_or(u32::MAX);
        self.counts.nodes_ready = count(|r| r.state <= NodeState::Suspect);
        self.counts.nodes_cordoned = count(|r| r.node.cordoned);
        self.counts.nodes_out_of_service = count(NodeRow::is_out_of_service);
        self.counts.pods_out_of_service =
            rows.iter().filter(|r| r.is_out_of_service()).map(|r| r.totals.bad).sum();
    }

    /// Returns the nodes whose past goes on although no row of theirs changed: after a poll that did not measure them,
    /// and when the numbers from before the first poll come.
    pub(super) fn nodes_with_past(&mut self, dirty: &Dirty) -> Vec<Name> {
        self.are_trends_new = dirty.parts.meets(Parts::TRENDS);
        let polled = dirty.parts.meets(Parts::USAGE);
        let goes_on = |row: &&Arc<NodeRow>| {
            polled && row.usage.is_none() && row.past.is_some() || self.are_trends_new && row.usage.is_some()
        };
        self.nodes.table().iter().filter(goes_on).map(|row| row.node.name.clone()).collect()
    }

    pub(super) fn refresh_node(
        &mut self,
        facts: &Facts,
        name: &Name,
        now: Stamp,
        owners: &mut HashSet<Uid>,
    ) -> bool {
        let Some(node) = self.node_by_name.get(name).and_then(|uid| facts.nodes.get(uid)) else {
            return false;
        };
        let lease = self.lease_by_node.get(name).and_then(|uid| facts.leases.get(uid));
        let leases = facts.leases.table();
        let live = leases.cover.is_complete() && leases.fresh.stale_since.is_none();
        let watched = live.then_some(facts.leases_back);
        let verdict = health::judge(node, lease.map(AsRef::as_ref), watched, now);
        self.mark_dead(name, verdict.state.is_dead(), owners);
        let usage = facts.node_usage.get(name).cloned();
        let before = self.nodes.get(&node.uid).and_then(|row| row.past.clone());
        let past = match &usage {
            Some(usage) => {
                let cores = usage.cpu_milli as f64 / 1_000.0;
                let numbers = [Some(cores), Some(usage.memory_bytes as f64 / GIB)];
                let after = Track::after(before.as_ref(), numbers, usage.at);
                let earlier = facts.earlier.node(name, node.internal_ip.as_ref());
                // once, because later gaps are gaps of the polls
                match earlier.filter(|_| before.is_none() || self.are_trends_new) {
                    Some(earlier) => Some(Arc::new(after.with(earlier))),
                    None => Some(after),
                }
            }
            // a node that is no longer measured has a gap for each poll that it missed
            None => before.map(|before| {
                if before.is_overdue(now) { Track::after(Some(&before), [None, None], now) } else { before }
            }),
        };
        let past = past.filter(|past| !past.is_empty());
        let row = NodeRow {
            node: node.clone(),
            state: verdict.state,
            since: verdict.since,
            problems: health::problems(node).into_iter().map(|c| health::problem_words(c).into()).collect(),
            totals: self.node_totals.get(name).copied().unwrap_or_default(),
            usage,
            past,
        };
        put(&mut self.nodes, row)
    }
}
