//! Which Services lose ready endpoints, and the load on the remaining ones.

use std::collections::{BTreeSet, HashSet};

use super::{Drain, lacking};
use crate::domain::id::Name;
use crate::domain::plan::{Burden, Lacking, ServiceEffect, Warning};
use crate::domain::pod::Pod;
use crate::facts::world::Cluster;
use crate::policy::whatif::{Leaving, service_effect};

pub(super) fn judge(cluster: &Cluster, going: &[&Pod], drain: &mut Drain) {
    let tables = [&cluster.services.cover, &cluster.slices.cover];
    drain.unread.extend(lacking(Lacking::Services, &tables, going));
    let leaving: HashSet<(&Name, &Name)> = going.iter().map(|p| (&p.namespace, &p.name)).collect();
    for row in cluster.derived.services.iter() {
        let endpoints = row.slices.iter().flat_map(|s| s.endpoints.iter());
        let lost: BTreeSet<&Name> = endpoints
            .filter(|e| e.ready)
            .filter_map(|e| e.pod.as_ref())
            .filter(|name| leaving.contains(&(&row.service.namespace, *name)))
            .collect();
        if !lost.is_empty() {
            let after = row.ready.saturating_sub(u32::try_from(lost.len()).unwrap_or(u32::MAX));
            let pods: Vec<Name> = lost.into_iter().cloned().collect();
            drain.services.push(service_effect(cluster, row, Leaving::Pods(&pods), after));
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
    drain.warnings.extend(drain.services.iter().flat_map(Warning::of_breaks));
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
