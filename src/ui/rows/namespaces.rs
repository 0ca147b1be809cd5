//! The known namespaces with their pods.

use std::collections::{HashMap, HashSet};

use pilothouse_core::domain::id::Name;
use pilothouse_core::facts::world::Cluster;

/// One row: a namespace, or all namespaces if the name is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub name: Name,
    pub pods: usize,
}

impl Place {
    /// Returns the name as shown on the screen.
    pub fn title(&self) -> &str {
        if self.name.is_empty() { "all namespaces" } else { &self.name }
    }
}

/// Returns a row for all namespaces, then one for each namespace by name.
pub fn places(cluster: &Cluster) -> Vec<Place> {
    let mut pods: HashMap<&Name, usize> = HashMap::new();
    for pod in cluster.pods.iter() {
        *pods.entry(&pod.namespace).or_default() += 1;
    }
    let each = collect(cluster).into_iter().map(|name| {
        let pods = pods.get(&name).copied().unwrap_or(0);
        Place { name, pods }
    });
    let all = Place { name: Name::default(), pods: cluster.pods.len() };
    std::iter::once(all).chain(each).collect()
}

/// Returns all known namespaces by name.
pub fn collect(cluster: &Cluster) -> Vec<Name> {
    let mut seen: HashSet<&Name> = HashSet::new();
    seen.extend(cluster.pods.iter().map(|p| &p.namespace));
    seen.extend(cluster.services.iter().map(|s| &s.namespace));
    seen.extend(cluster.derived.workloads.iter().map(|w| &w.workload.namespace));
    seen.extend(cluster.info.namespaces.iter());
    seen.extend(cluster.identity.namespaces.iter().flatten());
    let mut names: Vec<Name> = seen.into_iter().cloned().collect();
    names.sort();
    names
}
