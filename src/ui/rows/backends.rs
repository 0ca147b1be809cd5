//! The backends of one Service, with all values that are shown.

use std::collections::HashMap;
use std::sync::Arc;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::image;
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::traffic::{BAD_ERRORS, BackendTraffic, GRAVE_ERRORS, Share};
use pilothouse_core::facts::table::Table;
use pilothouse_core::facts::world::{Cluster, ServiceRow, TrafficRow};

use super::PaneRows;
use crate::ui::cell::Grade;

/// One backend with all values that are shown.
#[derive(Clone, Debug, Default)]
pub struct Backend {
    pub name: Name,
    pub traffic: Option<BackendTraffic>,
    pub share: Share,
    pub ready: Option<bool>,
    /// Whether the backend has been in rotation for longer than the window of the rates and still has no measurement.
    pub silent: bool,
    pub pod: Option<Uid>,
    pub node: Option<Name>,
    pub zone: Option<Name>,
    pub version: String,
}

/// The inputs of the backends of a Service. The backends are collected again only when the inputs change.
#[derive(Clone, Debug)]
pub struct Inputs {
    service: (Name, Name),
    traffic: Arc<[Arc<TrafficRow>]>,
    services: Table<ServiceRow>,
    pods: Table<Pod>,
}

impl Inputs {
    fn of(cluster: &Cluster, service: &(Name, Name)) -> Self {
        Self {
            service: service.clone(),
            traffic: cluster.derived.traffic.clone(),
            services: cluster.derived.services.clone(),
            pods: cluster.pods.clone(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.service == other.service
            && Arc::ptr_eq(&self.traffic, &other.traffic)
            && self.services.same_rows(&other.services)
            && self.pods.same_rows(&other.pods)
    }
}

/// Collects the backends of a Service again if one of the inputs has changed.
pub fn refresh(rows: &mut PaneRows, cluster: &Cluster, service: &(Name, Name)) {
    let now = Inputs::of(cluster, service);
    if rows.backends_of.as_ref().is_some_and(|of| of.is_same(&now)) {
        return;
    }
    rows.backends = collect(cluster, &service.0, &service.1);
    rows.backends_of = Some(now);
}

/// Explains why some or all shares are not judged.
pub fn note(cluster: &Cluster, namespace: &str, name: &str) -> Option<String> {
    cluster.measured(namespace, name)?.shares.note.map(|note| note.to_string())
}

/// Collects the backends of a Service.
pub fn collect(cluster: &Cluster, namespace: &str, name: &str) -> Vec<Backend> {
    let mut backends: Vec<Backend> = Vec::new();
    let mut place: HashMap<Name, usize> = HashMap::new();
    let measured = cluster.measured(namespace, name);
    let row =
        cluster.derived.services.iter().find(|r| r.service.namespace == namespace && r.service.name == name);
    if let Some(measured) = measured {
        for (backend, share) in measured.backends() {
            place.insert(backend.name.clone(), backends.len());
            backends.push(Backend {
                name: backend.name.clone(),
                traffic: Some(backend.clone()),
                share: *share,
                ready: backend.up,
                ..Backend::default()
            });
        }
    }
    let is_new = |pod: &Name| measured.is_some_and(|row| row.shares.arriving.contains(pod));
    for endpoint in row.iter().flat_map(|r| r.slices.iter()).flat_map(|s| s.endpoints.iter()) {
        let id = endpoint.pod.clone().unwrap_or_else(|| endpoint.address.clone());
        let at = *place.entry(id.clone()).or_insert_with(|| {
            let share = Share { new: is_new(&id), ..Share::default() };
            backends.push(Backend { name: id, share, ..Backend::default() });
            backends.len() - 1
        });
        if let Some(backend) = backends.get_mut(at) {
            backend.ready = Some(backend.ready.unwrap_or(false) | endpoint.ready);
            backend.pod.clone_from(&endpoint.pod_uid);
            backend.node.clone_from(&endpoint.node);
            backend.zone.clone_from(&endpoint.zone);
        }
    }
    for name in measured.iter().flat_map(|row| &row.shares.silent) {
        if let Some(backend) = place.get(name).and_then(|at| backends.get_mut(*at)) {
            backend.silent = true;
        }
    }
    for pod in cluster.pods.iter().filter(|p| p.namespace == namespace) {
        if let Some(backend) = place.get(&pod.name).and_then(|at| backends.get_mut(*at)) {
            backend.pod = Some(pod.uid.clone());
            backend.version = pod
                .shape
                .containers
                .first()
                .map_or_else(String::new, |c| image::version(&c.image).to_owned());
            if backend.node.is_none() {
                backend.node.clone_from(&pod.node);
            }
        }
    }
    backends
}

impl Backend {
    /// Returns the severity of a backend.
    pub fn grade(&self) -> Grade {
        let errors = self.traffic.as_ref().and_then(|t| t.error_ratio).unwrap_or(0.0);
        if self.ready == Some(false) {
            Grade::Critical
        } else if self.share.out {
            // its errors are from an earlier time
            Grade::Info
        } else if errors >= GRAVE_ERRORS {
            Grade::Critical
        } else if errors >= BAD_ERRORS || self.share.marked {
            Grade::Warning
        } else if self.silent {
            Grade::Info
        } else {
            Grade::Fine
        }
    }

    /// Returns the identity of a row.
    pub fn key(&self) -> Uid {
        Uid::Text(Name::from(format!("backend {}", self.name)))
    }

    /// Returns the pod, if the backend is a pod.
    pub fn object(&self, cluster: &Cluster, namespace: &Name) -> Option<ObjectRef> {
        self.pod.as_ref().map(|uid| cluster.object(Kind::Pod, namespace, &self.name, uid))
    }
}
