//! The backends of one Service, with all values that are shown.

use std::collections::HashMap;
use std::sync::Arc;

use pilothouse_core::domain::haproxy::{PRESET, ServerRef, backend_of};
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::image;
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::traffic::{BAD_ERRORS, BackendTraffic, GRAVE_ERRORS, Share, Standing};
use pilothouse_core::facts::past::Trend;
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
    /// The requests per second that it gets although it is not ready.
    pub stray: Option<f64>,
    /// Whether some backend of the Service gets more than its share.
    pub beside_surplus: bool,
    pub trend: Option<Trend>,
    pub scale: Scale,
    pub pod: Option<Uid>,
    /// The server of a configured HAProxy, if the backend is no pod.
    pub server: Option<ObjectRef>,
    pub node: Option<Name>,
    pub zone: Option<Name>,
    pub version: String,
}

/// The numbers of full bars, which are the same for all backends of a Service, so that a bar that differs stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scale {
    pub share: f64,
    pub errors_percent: f64,
    pub p95_ms: f64,
}

impl Scale {
    /// Returns the scale of backends with these expected shares. It does not depend on the observed shares, because
    /// all bars would move with them.
    pub fn of_shares(expected: impl Iterator<Item = Option<f64>>) -> f64 {
        /// Steps for shares that differ, so that a bar keeps its length while an expected share moves a little.
        const STEPS: [f64; 6] = [0.1, 0.2, 0.3, 0.5, 0.75, 1.0];
        let expected: Vec<f64> = expected.map(|share| share.unwrap_or(0.0)).collect();
        let in_rotation = expected.iter().filter(|share| **share > 0.0).count();
        let count = if in_rotation == 0 { expected.len() } else { in_rotation };
        let twice_even = 2.0 / count.max(1) as f64;
        let most = expected.into_iter().fold(0.0, f64::max);
        let step = STEPS.into_iter().find(|step| most * 1.05 <= *step).unwrap_or(1.0);
        // an even share is half of a bar
        if most <= twice_even * 0.6 { twice_even.min(1.0) } else { twice_even.max(step).min(1.0) }
    }

    fn of(backends: &[Backend]) -> Self {
        let trends = || backends.iter().filter_map(|backend| backend.trend.as_ref());
        let most = |numbers: &dyn Fn(&Trend) -> f64| trends().map(numbers).fold(0.0, f64::max);
        Self {
            share: Self::of_shares(backends.iter().map(|backend| backend.share.expected)),
            errors_percent: most(&|trend| trend.errors_percent().flatten().fold(0.0, f64::max))
                .max(GRAVE_ERRORS * 100.0),
            p95_ms: most(&|trend| trend.p95_ms().flatten().fold(0.0, f64::max))
                .max(2.0 * Self::usual(backends)),
        }
    }

    /// Returns the response time that half of the backends had in half of the polls. Twice as much is a full bar, so
    /// that the usual time is half of a bar and a slow backend stands out.
    fn usual(backends: &[Backend]) -> f64 {
        let trends = backends.iter().filter_map(|backend| backend.trend.as_ref());
        let mut all: Vec<f64> = trends.flat_map(Trend::p95_ms).flatten().collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(0.0)
    }
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
    pub fn of(cluster: &Cluster, service: &(Name, Name)) -> Self {
        Self {
            service: service.clone(),
            traffic: cluster.derived.traffic.clone(),
            services: cluster.derived.services.clone(),
            pods: cluster.pods.clone(),
        }
    }

    pub fn is_same(&self, other: &Self) -> bool {
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
                trend: measured.past.backend(&backend.name).copied(),
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
    for stray in measured.iter().flat_map(|row| &row.shares.stray) {
        if let Some(backend) = place.get(&stray.backend).and_then(|at| backends.get_mut(*at)) {
            backend.stray = Some(stray.rps);
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
    let of_haproxy = measured.filter(|row| row.traffic.preset == PRESET);
    let proxy = of_haproxy.and_then(|_| backend_of(&cluster.info.haproxy, namespace, name));
    if let Some((haproxy, backend)) = proxy {
        let namespace = Name::from(namespace);
        for row in backends.iter_mut().filter(|row| row.pod.is_none() && row.traffic.is_some()) {
            let (haproxy, backend, server) = (haproxy.clone(), backend.clone(), row.name.clone());
            row.server = Some(ServerRef { haproxy, backend, server }.object(cluster.info.id, &namespace));
        }
    }
    let scale = Scale::of(&backends);
    let beside_surplus = backends.iter().any(Backend::has_surplus);
    for backend in &mut backends {
        (backend.scale, backend.beside_surplus) = (scale, beside_surplus);
    }
    backends
}

impl Backend {
    /// Returns the severity of a backend.
    pub fn grade(&self) -> Grade {
        let errors = self.traffic.as_ref().and_then(|t| t.error_ratio).unwrap_or(0.0);
        if self.ready == Some(false) || self.stray.is_some() {
            Grade::Critical
        } else if self.share.out {
            // its errors are from an earlier time
            Grade::Info
        } else if errors >= GRAVE_ERRORS {
            Grade::Critical
        } else if errors >= BAD_ERRORS {
            Grade::Warning
        } else if self.grade_of_share() > Grade::Fine {
            self.grade_of_share()
        } else if self.silent {
            Grade::Info
        } else {
            Grade::Fine
        }
    }

    /// Whether the backend gets more than its share.
    pub fn has_surplus(&self) -> bool {
        self.share.marked && self.share.standing == Standing::Over
    }

    /// Returns the severity of its share. A backend that gets too little because another one gets too much is not the
    /// one to look at.
    pub fn grade_of_share(&self) -> Grade {
        match (self.share.marked, self.has_surplus() || !self.beside_surplus) {
            (false, _) => Grade::Fine,
            (true, true) => Grade::Warning,
            (true, false) => Grade::Info,
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

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::haproxy::HaproxySettings;
    use pilothouse_core::domain::traffic::ServiceTraffic;
    use pilothouse_core::facts::world::ClusterInfo;

    use super::*;

    #[test]
    fn a_row_of_a_configured_haproxy_is_a_server_of_it() {
        let mut cluster = Cluster::default();
        let row = |preset: &str| {
            let backends = Arc::from([BackendTraffic { name: "a".into(), ..BackendTraffic::default() }]);
            let traffic = ServiceTraffic {
                name: "shop_cart".into(),
                preset: preset.into(),
                backends,
                ..ServiceTraffic::default()
            };
            let mut row = TrafficRow { traffic: Arc::new(traffic), ..TrafficRow::default() };
            row.shares.backends.push(Share::default());
            Arc::from([Arc::new(row)])
        };
        let server = |cluster: &Cluster| collect(cluster, "", "shop_cart")[0].server.clone();
        cluster.derived.traffic = row("haproxy");
        assert_eq!(server(&cluster), None, "no HAProxy is configured");
        let edge = HaproxySettings { name: "edge".into(), ..HaproxySettings::default() };
        cluster.info = Arc::new(ClusterInfo { haproxy: [edge].into(), ..ClusterInfo::default() });
        assert_eq!(server(&cluster).unwrap().name.as_str(), "edge/shop_cart/a");
        cluster.derived.traffic = row("http_requests_total");
        assert_eq!(server(&cluster), None, "measured by the applications");
    }
}
