//! The backends of one Service with all that is shown of them.

use std::collections::HashMap;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::image;
use pilothouse_core::domain::traffic::{BAD_ERRORS, BackendTraffic, GRAVE_ERRORS};
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::policy::shares::{self, Share};

use crate::ui::cell::Grade;

/// One backend with everything that is shown of it.
#[derive(Clone, Debug, Default)]
pub struct Backend {
    pub name: Name,
    pub traffic: Option<BackendTraffic>,
    pub share: Share,
    pub ready: Option<bool>,
    /// In rotation for longer than the window of the rates, and nothing is measured of it.
    pub silent: bool,
    pub pod: Option<Uid>,
    pub node: Option<Name>,
    pub zone: Option<Name>,
    pub version: String,
}

/// The backends of a service, and the note on their shares.
pub fn collect(cluster: &Cluster, namespace: &str, name: &str) -> (Vec<Backend>, Option<String>) {
    let mut backends: Vec<Backend> = Vec::new();
    let mut place: HashMap<Name, usize> = HashMap::new();
    let traffic = cluster.traffic.services.iter().find(|t| t.namespace == namespace && t.name == name);
    let (mut note, mut silent) = (None, Vec::new());
    let row =
        cluster.derived.services.iter().find(|r| r.service.namespace == namespace && r.service.name == name);
    if let Some(traffic) = traffic {
        let shares = shares::judge(traffic, cluster.in_rotation(row.map(AsRef::as_ref)), cluster.traffic.at);
        (note, silent) = (shares.note, shares.silent);
        for (backend, share) in traffic.backends.iter().zip(shares.backends) {
            place.insert(backend.name.clone(), backends.len());
            backends.push(Backend {
                name: backend.name.clone(),
                traffic: Some(backend.clone()),
                share,
                ready: backend.up,
                ..Backend::default()
            });
        }
    }
    let is_new = |pod: &Name| {
        let at = cluster.traffic.at;
        let row = cluster.in_rotation(row.map(AsRef::as_ref));
        traffic.zip(row).is_some_and(|(traffic, row)| shares::is_new(traffic, row, pod, at))
    };
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
    for name in silent {
        if let Some(backend) = place.get(&name).and_then(|at| backends.get_mut(*at)) {
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
    (backends, note)
}

impl Backend {
    /// How bad.
    pub fn grade(&self) -> Grade {
        let errors = self.traffic.as_ref().and_then(|t| t.error_ratio).unwrap_or(0.0);
        if self.ready == Some(false) {
            Grade::Critical
        } else if self.share.out {
            // its errors are from before
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

    /// The row's identity.
    pub fn key(&self) -> Uid {
        Uid::Text(Name::from(format!("backend {}", self.name)))
    }

    /// The pod, if it is one.
    pub fn object(&self, namespace: &Name) -> Option<ObjectRef> {
        self.pod.as_ref().map(|uid| ObjectRef::new(Kind::Pod, namespace, &self.name, uid))
    }
}
