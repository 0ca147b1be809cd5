//! Which Services lose ready endpoints, and the load on the remaining ones.

use std::collections::{BTreeSet, HashSet};

use super::{Drain, lacking};
use crate::domain::id::Name;
use crate::domain::plan::{Burden, Lacking, ServiceEffect, Warning};
use crate::domain::pod::Pod;
use crate::facts::world::{Cluster, ServiceRow};

/// Returns the effect on a Service that keeps `ready_after` ready endpoints. The calculation assumes an even load,
/// because the effect of the policy is not known in advance.
pub fn effect(cluster: &Cluster, row: &ServiceRow, ready_after: u32) -> ServiceEffect {
    let (namespace, name) = (row.service.namespace.clone(), row.service.name.clone());
    let seen = cluster.traffic.services.iter().filter(|t| t.namespace == namespace && t.name == name);
    let rps = seen.filter_map(|t| t.rps).find(|rps| rps.is_finite());
    let each = |backends: u32| (backends > 0).then(|| rps.map(|rps| rps / f64::from(backends))).flatten();
    ServiceEffect {
        namespace,
        name,
        ready_before: row.ready,
        ready_after,
        share_after: (ready_after > 0).then(|| 1.0 / f64::from(ready_after)),
        rps_before: each(row.ready),
        rps_after: each(ready_after),
    }
}

pub(super) fn judge(cluster: &Cluster, going: &[&Pod], drain: &mut Drain) {
    let tables = [&cluster.services.cover, &cluster.slices.cover];
    drain.unread.extend(lacking(Lacking::Services, &tables, going));
    let leaving: HashSet<(&Name, &Name)> = going.iter().map(|p| (&p.namespace, &p.name)).collect();
    for row in cluster.derived.services.iter() {
        let lost = row
            .slices
            .iter()
            .flat_map(|s| s.endpoints.iter())
            .filter(|e| e.ready)
            .filter_map(|e| e.pod.as_ref())
            .filter(|name| leaving.contains(&(&row.service.namespace, *name)))
            .collect::<BTreeSet<_>>()
            .len();
        if lost > 0 {
            let after = row.ready.saturating_sub(u32::try_from(lost).unwrap_or(u32::MAX));
            drain.services.push(effect(cluster, row, after));
        }
    }
    drain
        .services
        .sort_by(|a, b| (a.ready_after, &a.namespace, &a.name).cmp(&(b.ready_after, &b.namespace, &b.name)));
    let last = drain.services.iter().filter(|s| s.ready_after == 0);
    let last = last.map(|s| format!("{}/{}", s.namespace, s.name)).collect();
    let loaded = drain.services.iter().filter(|s| is_burdened(s)).map(burden).collect();
    drain.warnings.extend(Warning::of(last, |services| Warning::LastEndpoints { services }));
    drain.warnings.extend(Warning::of(loaded, |services| Warning::Burdened { services }));
}

/// Returns true if the load of each remaining backend increases by 50 % or more.
fn is_burdened(s: &ServiceEffect) -> bool {
    s.ready_after > 0 && u64::from(s.ready_before) * 2 >= u64::from(s.ready_after) * 3
}

fn burden(s: &ServiceEffect) -> Burden {
    Burden {
        service: format!("{}/{}", s.namespace, s.name),
        backends: (s.ready_before, s.ready_after),
        rps: s.rps_before.zip(s.rps_after),
    }
}
