//! The backends of one service: share against what is expected, errors, readiness, place, version.

use std::collections::HashMap;
use std::sync::Arc;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::image;
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::traffic::{BAD_ERRORS, BackendTraffic, GRAVE_ERRORS, Share};
use pilothouse_core::facts::table::Table;
use pilothouse_core::facts::world::{Cluster, ServiceRow, TrafficRow};

use super::super::app::Bases;
use super::super::list::Spec;
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::orders::Order;
use super::traffic::errors_role;
use super::{Cell, Grade, RowView, cell, millis, plain, rate, ratio};

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

/// The orders that `o` goes through.
pub const ORDERS: [Order; 9] = [
    Order::worst("worst first"),
    Order::rises("by name", "BACKEND"),
    Order::falls("by requests", "RPS"),
    Order::falls("by errors", "ERR%"),
    Order::falls("by p95", "P95"),
    Order::rises("not ready first", "READY"),
    Order::rises("by zone", "ZONE"),
    Order::rises("by node", "NODE"),
    Order::rises("by version", "VERSION"),
];

/// The columns.
pub const COLUMNS: [Column; 11] = [
    Column::name("BACKEND", 10, 48),
    Column::left("READY", 5, 5, 0),
    Column::right("RPS", 4, 6, 0),
    Column::right("ERR%", 4, 5, 0),
    Column::right("P95", 5, 6, 3),
    Column::right("SHARE", 5, 5, 0),
    Column::right("EXP", 4, 5, 0),
    Column::left("", 8, 10, 0),
    Column::left("ZONE", 4, 14, 8),
    Column::name("NODE", 8, 30),
    Column::left("VERSION", 7, 24, 9),
];

/// What the backends of a service are collected from: as long as it stays, so do they.
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

/// Collects the backends of a service again if something about them may be different.
pub fn refresh(bases: &mut Bases, cluster: &Cluster, service: &(Name, Name)) {
    let now = Inputs::of(cluster, service);
    if bases.backends_of.as_ref().is_some_and(|of| of.is_same(&now)) {
        return;
    }
    bases.backends = collect(cluster, &service.0, &service.1);
    bases.backends_of = Some(now);
}

/// Why shares are not judged, or not all of them.
pub fn note(cluster: &Cluster, namespace: &str, name: &str) -> Option<String> {
    cluster.measured(namespace, name)?.shares.note.clone()
}

/// The backends of a service.
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

/// Whether it is wanted.
pub fn passes(backend: &Backend, spec: &Spec, more: impl Fn() -> Vec<String>) -> bool {
    let texts = [
        backend.name.as_str(),
        backend.node.as_ref().map_or("", Name::as_str),
        backend.zone.as_ref().map_or("", Name::as_str),
        &backend.version,
    ];
    spec.filter.passes_or(&texts, more)
}

/// The order of two rows.
pub fn order(a: &Backend, b: &Backend, order: usize) -> std::cmp::Ordering {
    let rps = |x: &Backend| x.traffic.as_ref().and_then(|t| t.rps).unwrap_or(-1.0);
    let errors = |x: &Backend| x.traffic.as_ref().and_then(|t| t.error_ratio).unwrap_or(-1.0);
    let p95 = |x: &Backend| x.traffic.as_ref().and_then(|t| t.p95_ms).unwrap_or(-1.0);
    let by = match order {
        1 => std::cmp::Ordering::Equal,
        2 => rps(b).total_cmp(&rps(a)),
        3 => errors(b).total_cmp(&errors(a)),
        4 => p95(b).total_cmp(&p95(a)),
        5 => a.ready.cmp(&b.ready),
        6 => a.zone.cmp(&b.zone),
        7 => a.node.cmp(&b.node),
        8 => a.version.cmp(&b.version),
        _ => b.grade().cmp(&a.grade()).then_with(|| errors(b).total_cmp(&errors(a))),
    };
    by.then_with(|| a.name.cmp(&b.name))
}

/// One row.
pub fn row(backend: &Backend) -> RowView {
    let grade = backend.grade();
    let traffic = backend.traffic.as_ref();
    let errors = traffic.and_then(|t| t.error_ratio);
    let share = |v: Option<f64>| v.map_or_else(|| "–".into(), |v| format!("{:.1}", v * 100.0));
    let verdict: Cell = match (backend.share.significant, backend.share.observed, backend.share.expected) {
        _ if backend.share.out => cell(Role::Info, "out"),
        _ if backend.silent => cell(Role::Info, "silent"),
        _ if backend.share.new && backend.share.significant.is_none() => cell(Role::Dim, "new"),
        // the others have what it lacks
        (Some(true), ..) if !backend.share.marked => cell(Role::Dim, "▼ less"),
        (Some(true), Some(o), Some(e)) if o < e => cell(Role::Warning, "▼ too few"),
        (Some(true), ..) => cell(Role::Warning, "▲ too many"),
        (Some(false), ..) => cell(Role::Dim, "ok"),
        (None, ..) => cell(Role::Dim, ""),
    };
    let ready = match backend.ready {
        Some(true) => plain("yes"),
        Some(false) => cell(Role::Critical, "NO"),
        None => cell(Role::Dim, "–"),
    };
    RowView {
        grade,
        cells: vec![
            cell(if grade >= Grade::Warning { Role::Strong } else { Role::Text }, backend.name.as_str()),
            ready,
            plain(rate(traffic.and_then(|t| t.rps))),
            cell(errors_role(errors), ratio(errors)),
            plain(millis(traffic.and_then(|t| t.p95_ms.or(t.mean_ms)))),
            plain(share(backend.share.observed)),
            cell(Role::Dim, share(backend.share.expected)),
            verdict,
            plain(backend.zone.as_ref().map_or("", Name::as_str)),
            cell(Role::Dim, backend.node.as_ref().map_or("", Name::as_str)),
            plain(backend.version.as_str()),
        ],
        ..RowView::default()
    }
}
