//! The clusters that the console can show: those that are open, and the other contexts of the kubeconfig; and a Service
//! in each of the open ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilothouse_core::domain::id::{ClusterId, Kind, Name, Uid};
use pilothouse_core::domain::image;
use pilothouse_core::domain::link::{ContextLine, Link};
use pilothouse_core::domain::service::Service;
use pilothouse_core::facts::world::{Cause, Cluster, Severity, World};

use crate::ui::cell::Grade;

/// A row of the list of clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterLine {
    pub context: Name,
    pub name: Name,
    /// The open cluster, or its place among the contexts of the kubeconfig.
    pub of: Of,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Open(ClusterId),
    Context(usize),
}

impl ClusterLine {
    pub fn key(&self) -> Uid {
        Uid::Text(self.context.clone())
    }

    /// Returns the open cluster of the row.
    pub fn cluster<'w>(&self, world: &'w World) -> Option<&'w Arc<Cluster>> {
        match self.of {
            Of::Open(id) => world.cluster(id),
            Of::Context(_) => None,
        }
    }
}

/// Counts the findings by severity, the worst first.
pub fn counts(cluster: &Cluster) -> [usize; 3] {
    [Severity::Critical, Severity::Warning, Severity::Info]
        .map(|severity| cluster.derived.causes.iter().filter(|cause| cause.severity == severity).count())
}

/// Returns how bad a cluster is. One without a connection or with data that is late can be bad without a finding.
pub fn grade(cluster: &Cluster) -> Grade {
    let found = match cluster.derived.causes.first().map(|cause| cause.severity) {
        Some(Severity::Critical) => Grade::Critical,
        Some(Severity::Warning) => Grade::Warning,
        Some(Severity::Info) => Grade::Info,
        None => Grade::Fine,
    };
    let known = match &cluster.link {
        Link::Failed { .. } => Grade::Critical,
        _ if cluster.sources.iter().any(|source| source.state.is_trouble()) => Grade::Warning,
        _ => Grade::Fine,
    };
    found.max(known)
}

/// Returns the open clusters, those with the worst trouble first.
pub fn by_trouble(world: &World) -> Vec<&Arc<Cluster>> {
    let mut all: Vec<&Arc<Cluster>> = world.live().collect();
    all.sort_by_key(|cluster| {
        let [critical, warning, _] = counts(cluster);
        (std::cmp::Reverse((grade(cluster), critical, warning)), cluster.id())
    });
    all
}

/// Builds the rows: the open clusters, those with the worst trouble first, then the other contexts by name.
pub fn lines(world: &World, contexts: &[ContextLine]) -> Vec<ClusterLine> {
    let open = by_trouble(world).into_iter().map(|cluster| ClusterLine {
        context: cluster.info.context.clone(),
        name: cluster.info.name().clone(),
        of: Of::Open(cluster.id()),
    });
    let rest = contexts.iter().enumerate().filter(|(_, line)| world.of_context(&line.context).is_none());
    let rest = rest.map(|(at, line)| ClusterLine {
        context: line.context.clone(),
        name: line.name.clone(),
        of: Of::Context(at),
    });
    open.chain(rest).collect()
}

/// The findings of all open clusters, ranked together.
pub type Everywhere = Vec<(ClusterId, Arc<Cause>)>;

/// Requests per second and the share of errors over all Services that are measured; unknown without any.
pub fn requests(cluster: &Cluster) -> (Option<f64>, Option<f64>) {
    let measured = || cluster.traffic.services.iter().filter_map(|t| Some((t.rps?, t.error_ratio)));
    let (mut all, mut judged, mut bad) = (0.0, 0.0, 0.0);
    for (rps, ratio) in measured().filter(|(rps, _)| rps.is_finite()) {
        all += rps;
        if let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) {
            judged += rps;
            bad += rps * ratio;
        }
    }
    let any = measured().next().is_some();
    (any.then_some(all), (judged > 0.0).then(|| bad / judged))
}

/// A Service in one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceLine {
    pub cluster: ClusterId,
    /// `None`: the cluster has no such Service, or that is not known.
    pub service: Option<Arc<Service>>,
    /// Whether the cluster's Services are read, so that one that is not there does not exist.
    pub is_known: bool,
    /// The versions of the pods that it selects, with their numbers, the most first.
    pub versions: Vec<(Name, usize)>,
    /// The ready and all endpoints.
    pub endpoints: Option<(u32, u32)>,
    /// The workloads that the pods belong to.
    pub workloads: Vec<(Kind, Name)>,
    /// The wanted replicas of these workloads.
    pub replicas: Option<i64>,
}

impl ServiceLine {
    pub fn key(&self) -> Uid {
        Uid::Text(Name::from(self.cluster.0.to_string()))
    }
}

/// Finds a Service in all open clusters, in the order of their IDs.
pub fn service(world: &World, (namespace, name): &(Name, Name)) -> Vec<ServiceLine> {
    world.live().map(|cluster| service_in(cluster, namespace, name)).collect()
}

fn service_in(cluster: &Arc<Cluster>, namespace: &Name, name: &Name) -> ServiceLine {
    let rows = &cluster.derived.services;
    let row = rows.iter().find(|row| row.service.namespace == *namespace && row.service.name == *name);
    let service = row.map(|row| row.service.clone());
    let mut versions: BTreeMap<Name, usize> = BTreeMap::new();
    let mut workloads: Vec<(Kind, Name)> = Vec::new();
    let selected = |service: &Arc<Service>| {
        let service = service.clone();
        cluster.pods.iter().filter(move |pod| {
            pod.namespace == service.namespace
                && !service.selector.is_empty()
                && service.selector.matches(*pod)
                && !pod.phase.is_finished()
        })
    };
    for pod in service.iter().flat_map(selected) {
        let version = pod.shape.containers.first().map_or("", |container| image::version(&container.image));
        *versions.entry(version.into()).or_default() += 1;
        if let Some(owner) = cluster.top_owner(pod).filter(|owner| !workloads.contains(owner)) {
            workloads.push(owner);
        }
    }
    let replicas = |(kind, name): &(Kind, Name)| {
        cluster.workload(kind, namespace, name).map(|workload| i64::from(workload.replicas))
    };
    let replicas: Option<i64> = workloads.iter().map(replicas).sum::<Option<i64>>();
    let mut versions: Vec<(Name, usize)> = versions.into_iter().collect();
    versions.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ServiceLine {
        cluster: cluster.id(),
        is_known: cluster.services.cover.covers(namespace),
        endpoints: row.map(|row| (row.ready, row.total)),
        service,
        versions,
        replicas: replicas.filter(|_| !workloads.is_empty()),
        workloads,
    }
}
