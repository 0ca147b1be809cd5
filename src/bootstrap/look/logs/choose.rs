//! Which pods `pilothouse logs` reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::selector::Selector;
use pilothouse_core::domain::text::few;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::logs::targets::{belongs, choose, containers, pods_of};
use tokio::time::Instant;

use crate::source::logs::pod::PodWatch;
use crate::wire::client::ReadClient;

/// The maximum number of pods that are asked for ephemeral containers, which are not in the World.
const ASKED: usize = 20;

/// Whether the objects that a selection needs have been read, as far as they can be.
pub(super) fn is_ready(cluster: &Cluster) -> bool {
    const NEEDED: [&str; 7] =
        ["pods", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "services"];
    cluster
        .tables()
        .iter()
        .filter(|(plural, ..)| NEEDED.contains(plural))
        .all(|(_, cover, _)| !matches!(cover, Coverage::Never | Coverage::Loading { .. }))
}

/// An object of the command line: `deploy/api`, `shop/deploy/api`, `shop/api` in a namespace, or `api`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    kind: Option<Kind>,
    namespace: Option<Name>,
    name: Name,
}

impl Chosen {
    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let bad =
            || format!("`{word}` is no object: use NAMESPACE/KIND/NAME, KIND/NAME, NAMESPACE/NAME or NAME");
        let parts: Vec<&str> = word.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(bad());
        }
        let (kind, namespace, name) = match parts.as_slice() {
            [name] => (None, None, name),
            [before, name] => match Kind::from_word(before) {
                Some(kind) => (Some(kind), None, name),
                None => (None, Some(before), name),
            },
            [namespace, kind, name] => (Some(Kind::from_word(kind).ok_or_else(bad)?), Some(namespace), name),
            _ => return Err(bad()),
        };
        Ok(Self { kind, namespace: namespace.map(|name| Name::from(*name)), name: Name::from(*name) })
    }

    fn is_here(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
    }

    /// The pods of the object. The pods of a Service are read only if no workload or pod has the name.
    fn pods<'a>(&self, cluster: &'a Cluster) -> Vec<&'a Arc<Pod>> {
        let name = self.name.as_str();
        let is_of = |pod: &Pod| match &self.kind {
            Some(Kind::Pod) => pod.name == name,
            Some(Kind::Node) => pod.node.as_ref().is_some_and(|node| node == name),
            Some(Kind::Service) => false,
            Some(kind) => belongs(pod, cluster, kind, &pod.namespace, name),
            None => {
                pod.name == name
                    || cluster.top_owner(pod).is_some_and(|(_, owner)| owner == name)
                    || pod.owner.as_ref().is_some_and(|owner| owner.name == name)
            }
        };
        let found: Vec<&Arc<Pod>> =
            cluster.pods.iter().filter(|pod| self.is_here(&pod.namespace) && is_of(pod)).collect();
        if !found.is_empty() || !matches!(self.kind, None | Some(Kind::Service)) {
            return found;
        }
        let services = cluster.derived.services.iter().map(|row| &row.service);
        let services = services.filter(|s| s.name == name && self.is_here(&s.namespace));
        let object = |namespace: &Name| {
            ObjectRef::new(cluster.id(), Kind::Service, namespace, &self.name, &Uid::default())
        };
        services.flat_map(|s| pods_of(cluster, &object(&s.namespace), None)).collect()
    }
}

impl Chosen {
    /// Whether it is a workload or a Service of the cluster, which can have pods later.
    fn exists(&self, cluster: &Cluster) -> bool {
        let is_this = |kind: &Kind, namespace: &str, name: &str| {
            self.kind.as_ref().is_none_or(|wanted| wanted == kind)
                && self.is_here(namespace)
                && self.name == *name
        };
        cluster
            .derived
            .workloads
            .iter()
            .any(|row| is_this(&row.workload.kind, &row.workload.namespace, &row.workload.name))
            || cluster
                .derived
                .services
                .iter()
                .any(|row| is_this(&Kind::Service, &row.service.namespace, &row.service.name))
    }
}

impl std::fmt::Display for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.kind, &self.namespace) {
            (Some(kind), Some(namespace)) => write!(f, "{namespace}/{}/{}", kind.short(), self.name),
            (Some(kind), None) => write!(f, "{}/{}", kind.short(), self.name),
            (None, Some(namespace)) => write!(f, "{namespace}/{}", self.name),
            (None, None) => write!(f, "{}", self.name),
        }
    }
}

/// The pods that are selected by all parts together.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// Any of these objects; empty: no condition.
    pub objects: Vec<Chosen>,
    pub selector: Option<Selector>,
    pub nodes: Vec<Name>,
    /// The labels and nodes as they were written, which can be mistyped.
    pub conditions: Vec<String>,
    /// Whether all pods were asked for.
    pub all: bool,
}

impl Selection {
    /// Whether nothing was selected, so that the pods in trouble are read.
    pub(super) fn is_open(&self) -> bool {
        self.objects.is_empty() && self.selector.is_none() && self.nodes.is_empty() && !self.all
    }

    /// Why there is no pod. Labels and nodes are named, because they can be mistyped.
    pub(super) fn nothing(&self) -> String {
        match self.conditions.as_slice() {
            [] if self.is_open() => "no pod is in trouble".into(),
            [] => "no pod is selected".into(),
            conditions => format!("no pod is selected by {}", conditions.join(" ")),
        }
    }

    /// Returns the first object without pods that is not a known workload or Service, because it is likely mistyped. A
    /// known one is an error as well, unless its pods are waited for.
    pub(super) fn unknown(&self, cluster: &Cluster, waits: bool) -> Option<&Chosen> {
        let has_none = |object: &&Chosen| object.pods(cluster).is_empty();
        self.objects.iter().filter(has_none).find(|object| !(waits && object.exists(cluster)))
    }

    /// Returns the pods.
    pub(super) fn pods(&self, cluster: &Cluster, now: Stamp) -> Vec<Arc<Pod>> {
        if self.is_open() {
            let (chosen, _) = choose(cluster, usize::MAX, now);
            let mut pods: Vec<Arc<Pod>> = chosen
                .iter()
                .filter_map(|choice| cluster.pod(&choice.namespace, &choice.pod))
                .cloned()
                .collect();
            pods.dedup_by(|a, b| a.uid == b.uid);
            return pods;
        }
        let mut found: Vec<&Arc<Pod>> = Vec::new();
        if self.objects.is_empty() {
            found.extend(cluster.pods.iter());
        }
        for object in &self.objects {
            found.extend(object.pods(cluster));
        }
        found.retain(|pod| {
            let on_node =
                self.nodes.is_empty() || pod.node.as_ref().is_some_and(|node| self.nodes.contains(node));
            on_node && self.selector.as_ref().is_none_or(|selector| selector.matches(*pod))
        });
        let mut seen = std::collections::HashSet::new();
        found.retain(|pod| seen.insert(pod.uid.clone()));
        found.into_iter().cloned().collect()
    }
}

/// The name of a pod's workload; for a pod without an owner, its own.
pub(super) fn workload(pod: &Pod, cluster: &Cluster) -> Name {
    cluster.top_owner(pod).map_or_else(|| pod.name.clone(), |(_, name)| name)
}

/// The containers of the command line; none: all.
pub(super) struct Containers {
    names: Vec<Name>,
    /// Whether one of them is an ephemeral container, so that any pod can have it.
    ephemeral: bool,
}

impl Containers {
    /// Checks that each name is one of a container of the pods. If not, it is likely mistyped.
    pub(super) async fn find(
        names: Vec<Name>,
        pods: &[Arc<Pod>],
        cluster: &Cluster,
        reader: &ReadClient,
    ) -> Result<Self, String> {
        let mut known: Vec<Name> = Vec::new();
        let mut seen: BTreeSet<Name> = BTreeSet::new();
        let all = pods.iter().flat_map(|pod| containers(pod).map(|container| container.name.clone()));
        known.extend(all.filter(|name| seen.insert(name.clone())));
        // no pod is there yet if its lines are waited for
        if pods.is_empty() || names.iter().all(|name| known.contains(name)) {
            return Ok(Self { names, ephemeral: false });
        }
        let asked = pods.iter().take(ASKED).map(async |pod| {
            let watch = PodWatch::new(reader, &pod.namespace, &pod.name, pod.uid.clone());
            watch.since(Instant::now()).await.ok()
        });
        for state in futures::future::join_all(asked).await.into_iter().flatten() {
            let all = state.containers.iter().map(|container| container.name.clone());
            known.extend(all.filter(|name| seen.insert(name.clone())));
        }
        let Some(name) = names.iter().find(|name| !known.contains(name)) else {
            return Ok(Self { names, ephemeral: true });
        };
        let of = |pod: &Arc<Pod>| format!("{}/{}", pod.namespace, workload(pod, cluster));
        let workloads: Vec<String> = pods.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect();
        Err(format!("no container named {name} in {}: {}", few(&workloads), few(&known)))
    }

    pub(super) fn names(&self) -> &[Name] {
        &self.names
    }

    /// Whether the pod can have one of the containers.
    pub(super) fn takes(&self, pod: &Pod) -> bool {
        self.names.is_empty() || self.ephemeral || containers(pod).any(|c| self.names.contains(&c.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_a_kind_or_a_namespace_and_a_name() {
        let parsed =
            |word: &str| Chosen::parse(word).map(|c| (c.kind.clone(), c.namespace.clone(), c.to_string()));
        assert_eq!(parsed("deployments/api"), Ok((Some(Kind::Deployment), None, "deploy/api".into())));
        assert_eq!(parsed("shop/api"), Ok((None, Some("shop".into()), "shop/api".into())));
        assert_eq!(parsed("api"), Ok((None, None, "api".into())));
        assert_eq!(
            parsed("shop/deploy/api"),
            Ok((Some(Kind::Deployment), Some("shop".into()), "shop/deploy/api".into()))
        );
        for word in ["", "/api", "deploy/", "a/b/c", "a/deploy/b/c"] {
            assert!(parsed(word).is_err(), "{word}");
        }
    }
}
