//! The backends of a service, as a prediction changes them.

use std::collections::HashMap;

use super::Change;
use crate::domain::id::Name;
use crate::domain::service::Endpoint;
use crate::domain::traffic::{BackendTraffic, Balancing, Part, Policy};
use crate::facts::world::{Cluster, TrafficRow};
use crate::policy::shares::expected;

/// One backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub name: Name,
    pub added: bool,
    pub gone: bool,
    pub rps: Option<f64>,
    pub share: Option<f64>,
    /// Thousandths of a core: in use, requested, and the limit.
    pub cpu: Option<f64>,
    pub request: Option<f64>,
    pub limit: Option<f64>,
    node: Option<Name>,
    zone: Option<Name>,
    traffic: BackendTraffic,
}

/// A service with its backends in rotation.
pub(super) struct Model {
    pub balancing: Balancing,
    pub members: Vec<Member>,
    before: Balancing,
    /// The backends before the changes.
    were: Vec<BackendTraffic>,
}

impl Model {
    pub(super) fn of(cluster: &Cluster, row: &TrafficRow) -> Self {
        let mut members: Vec<Member> = row
            .backends()
            .filter(|(_, share)| !share.out)
            .map(|(backend, share)| Member {
                name: backend.name.clone(),
                rps: backend.rps.filter(|rps| rps.is_finite()),
                share: share.observed.or(share.expected),
                traffic: backend.clone(),
                ..Member::default()
            })
            .collect();
        let endpoints =
            || row.endpoints.iter().flat_map(|r| r.slices.iter()).flat_map(|s| s.endpoints.iter());
        let id = |e: &Endpoint| e.pod.clone().unwrap_or_else(|| e.address.clone());
        if members.is_empty() {
            // Only the Service is measured, so the ready endpoints are taken to be equal.
            let mut names: Vec<Name> = endpoints().filter(|e| e.ready).map(id).collect();
            names.sort();
            names.dedup();
            let rps = row.traffic.rps.map(|rps| rps / names.len() as f64);
            let member = |name: Name| Member {
                traffic: BackendTraffic { name: name.clone(), rps, ..BackendTraffic::default() },
                name,
                rps,
                ..Member::default()
            };
            members = names.into_iter().map(member).collect();
        }
        // They get requests as soon as the balancer knows them.
        members.extend(row.shares.arriving.iter().map(|name| Member {
            name: name.clone(),
            traffic: BackendTraffic { name: name.clone(), ..BackendTraffic::default() },
            ..Member::default()
        }));
        let at: HashMap<Name, usize> = members.iter().enumerate().map(|(i, m)| (m.name.clone(), i)).collect();
        for endpoint in endpoints() {
            if let Some(member) = at.get(&id(endpoint)).and_then(|i| members.get_mut(*i)) {
                (member.node, member.zone) = (endpoint.node.clone(), endpoint.zone.clone());
            }
        }
        let namespace = &row.traffic.namespace;
        for pod in cluster.pods.iter().filter(|pod| pod.namespace == *namespace) {
            let Some(member) = at.get(&pod.name).and_then(|i| members.get_mut(*i)) else { continue };
            let milli = |milli: i64| (milli > 0).then_some(milli as f64);
            (member.request, member.limit) =
                (milli(pod.requests.cpu_milli), milli(pod.shape.cpu_limit_milli));
            member.cpu = cluster
                .pod_usage
                .get(&(namespace.clone(), pod.name.clone()))
                .map(|usage| usage.cpu_milli.max(0) as f64);
            if member.node.is_none() {
                member.node.clone_from(&pod.node);
            }
        }
        if members.iter().any(|m| m.zone.is_none() && m.node.is_some()) {
            let zones: HashMap<&Name, Option<&Name>> =
                cluster.nodes.iter().map(|node| (&node.name, node.zone.as_ref())).collect();
            for member in members.iter_mut().filter(|m| m.zone.is_none()) {
                member.zone =
                    member.node.as_ref().and_then(|node| zones.get(node).copied().flatten()).cloned();
            }
        }
        let were = members.iter().map(|m| m.traffic.clone()).collect();
        Self { before: row.balancing.clone(), balancing: row.balancing.clone(), members, were }
    }

    /// Applies a change. Returns false if it changes nothing, because nothing has that name.
    pub(super) fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Drop(name) => self.remove(|m| m.name == *name),
            Change::DropNode(node) => self.remove(|m| m.node.as_ref() == Some(node)),
            Change::DropZone(zone) => self.remove(|m| m.zone.as_ref() == Some(zone)),
            Change::Add { count, part } => self.add(*count, part.as_ref()),
            Change::Weight { backend, weight } => {
                let Some(place) = self.members.iter().position(|m| m.name == *backend && !m.gone) else {
                    return false;
                };
                if matches!(self.balancing.policy, Policy::RoundRobin | Policy::Random) {
                    // Until now, all weights are equal.
                    self.balancing.policy = Policy::Weighted;
                    for member in &mut self.members {
                        member.traffic.weight =
                            Some(member.traffic.weight.filter(|w| *w > 0.0).unwrap_or(1.0));
                    }
                }
                if let Some(member) = self.members.get_mut(place) {
                    member.traffic.weight = Some(weight.max(0.0));
                }
                true
            }
            Change::PartWeight { part, weight } => {
                let is_known = self.balancing.split.iter().any(|p| p.name == *part);
                let changed = |p: &Part| {
                    let weight = if p.name == *part { weight.max(0.0) } else { p.weight };
                    Part { weight, ..p.clone() }
                };
                self.balancing.split = self.balancing.split.iter().map(changed).collect();
                is_known
            }
        }
    }

    fn remove(&mut self, is_it: impl Fn(&Member) -> bool) -> bool {
        let mut any = false;
        for member in self.members.iter_mut().filter(|m| !m.gone && is_it(m)) {
            (member.gone, any) = (true, true);
        }
        any
    }

    /// Adds backends that are like the mean of the others in their part. Without a part, they are in the one with the
    /// largest weight.
    fn add(&mut self, count: u32, part: Option<&Name>) -> bool {
        let split = &self.balancing.split;
        let largest = || split.iter().max_by(|a, b| a.weight.total_cmp(&b.weight)).map(|p| p.name.clone());
        let part = part.cloned().or_else(largest);
        let of_part = part.as_ref().and_then(|name| split.iter().find(|p| p.name == *name));
        if part.is_some() && of_part.is_none() {
            return false;
        }
        let like = |m: &&Member| !m.gone && of_part.is_none_or(|part| part.backends.contains(&m.name));
        let mean = |of: fn(&Member) -> Option<f64>| {
            let known: Vec<f64> = self.members.iter().filter(like).filter_map(of).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let (request, limit) = (mean(|m| m.request), mean(|m| m.limit));
        let (mean_ms, weight) = (mean(|m| m.traffic.mean_ms), mean(|m| m.traffic.weight));
        let before = self.members.iter().filter(|m| m.added).count();
        let names: Vec<Name> =
            (1..=count as usize).map(|i| Name::from(format!("new {}", before + i))).collect();
        for name in &names {
            let traffic = BackendTraffic { name: name.clone(), mean_ms, weight, ..BackendTraffic::default() };
            let name = name.clone();
            self.members.push(Member { name, added: true, request, limit, traffic, ..Member::default() });
        }
        let with = |p: &Part| {
            let new = names.iter().filter(|_| Some(&p.name) == part.as_ref());
            Part { backends: p.backends.iter().chain(new).cloned().collect(), ..p.clone() }
        };
        self.balancing.split = self.balancing.split.iter().map(with).collect();
        count > 0
    }

    /// The sum of the measured requests per second.
    pub(super) fn measured(&self) -> Option<f64> {
        self.members.iter().filter_map(|m| m.rps).reduce(|a, b| a + b)
    }

    /// Returns the CPU that one request per second costs, over all backends of which both are known.
    pub(super) fn cost(&self) -> Option<f64> {
        let known = || self.members.iter().filter_map(|m| Some((m.cpu?, m.rps?)));
        let (cpu, rps) = known().fold((0.0, 0.0), |(cpu, rps), (c, r)| (cpu + c, rps + r));
        (rps > 0.0).then(|| cpu / rps)
    }

    /// Returns the parts of the route that have a weight and no backend, with their shares.
    pub(super) fn empty_parts(&self) -> Vec<(Name, f64)> {
        let sum: f64 = self.balancing.split.iter().map(|p| p.weight).sum();
        let has = |p: &Part| self.members.iter().any(|m| !m.gone && p.backends.contains(&m.name));
        let empty = self.balancing.split.iter().filter(|p| p.weight > 0.0 && !has(p));
        empty.map(|p| (p.name.clone(), p.weight / sum)).collect()
    }

    /// Returns the shares after the changes, and whether the policy gives them. Dropped backends have none.
    pub(super) fn shares(&self, rps: Option<f64>) -> (Vec<Option<f64>>, bool) {
        let left: Vec<usize> =
            self.members.iter().enumerate().filter(|(_, m)| !m.gone).map(|(i, _)| i).collect();
        let after = Self::policy_shares(
            &self.balancing,
            left.iter().filter_map(|i| self.members.get(*i)).map(|m| &m.traffic),
            rps,
        );
        let before = Self::policy_shares(&self.before, self.were.iter(), rps);
        let lost: f64 = self.empty_parts().iter().map(|(_, share)| share).sum();
        let kept = (1.0 - lost).max(0.0);
        // What the policy gives, times how much more or less than its share the backend gets now.
        let factor = |i: usize, member: &Member| {
            let expected = before.as_ref()?.get(i).copied().filter(|e| *e > 0.0)?;
            member.rps.and(member.share).map(|observed| observed / expected)
        };
        let raw: Vec<Option<f64>> = match &after {
            Some(after) => left
                .iter()
                .zip(after)
                .map(|(i, share)| Some(share * factor(*i, self.members.get(*i)?).unwrap_or(1.0)))
                .collect(),
            None => left.iter().map(|i| self.members.get(*i)?.share).collect(),
        };
        let sum: f64 = raw.iter().flatten().sum();
        let mut shares = vec![Some(0.0); self.members.len()];
        for (i, share) in left.into_iter().zip(raw) {
            if let Some(place) = shares.get_mut(i) {
                *place = share.filter(|_| sum > 0.0).map(|share| share / sum * kept);
            }
        }
        (shares, after.is_some())
    }

    /// The shares that a policy gives to backends that get `rps` together.
    fn policy_shares<'b>(
        balancing: &Balancing,
        backends: impl Iterator<Item = &'b BackendTraffic>,
        rps: Option<f64>,
    ) -> Option<Vec<f64>> {
        let backends: Vec<&BackendTraffic> = backends.collect();
        // Under least connections, the share depends on the sum of the requests, whoever gets them now.
        let each = rps.map(|rps| rps / backends.len().max(1) as f64);
        let times: Vec<f64> = backends.iter().filter_map(|b| b.mean_ms).collect();
        let usual = (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64);
        let with =
            |b: &&BackendTraffic| BackendTraffic { rps: each, mean_ms: b.mean_ms.or(usual), ..(*b).clone() };
        let with: Vec<BackendTraffic> = backends.iter().map(with).collect();
        Some(expected(balancing, &with.iter().collect::<Vec<_>>())?.into_iter().map(|e| e.share).collect())
    }
}
