//! The metrics of the sidecars of a mesh, as Istio documents them. The sidecar of a pod reports the requests that it
//! receives (`reporter="destination"`) and those that it sends (`reporter="source"`), so a request between two pods of
//! the mesh is reported twice. The metrics of durations have no labels of the answer, as where a Telemetry removes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::ledger::{Ledger, Told};
use super::sheet::{Desk, Sheet};
use crate::traffic::field::{Asker, CODES, Service};
use crate::traffic::{Counts, Field, Pod};

/// The upper bounds in milliseconds, those of Istio's that traffic counts.
const LE: [&str; 11] = ["5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "+Inf"];

/// The other end of a request: `unknown` if it has no sidecar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Peer {
    namespace: Arc<str>,
    workload: Arc<str>,
    app: Arc<str>,
    version: Arc<str>,
}

impl Peer {
    fn unknown() -> Self {
        let word: Arc<str> = "unknown".into();
        Self { namespace: word.clone(), workload: word.clone(), app: word.clone(), version: word }
    }

    fn of(pod: &Pod) -> Self {
        let hash = pod.label("pod-template-hash").map(|hash| format!("-{hash}"));
        let owner = &*pod.owner.1;
        let workload = hash.and_then(|hash| owner.strip_suffix(&*hash)).unwrap_or(owner);
        let version = pod.label("version").cloned().unwrap_or_else(|| "unknown".into());
        Self { namespace: pod.namespace.clone(), workload: workload.into(), app: pod.app.clone(), version }
    }
}

/// The counters of one sidecar, since its container started.
#[derive(Default)]
struct Sidecar {
    started: Option<DateTime<Utc>>,
    /// By the Service's index and the sender.
    inbound: BTreeMap<(usize, Peer), Counts>,
    /// By the Service's index and the receiver; whether anybody answered.
    outbound: BTreeMap<(usize, Peer, bool), Counts>,
    sheet: Sheet,
    is_there: bool,
}

/// All sidecars, by the UIDs of their pods.
#[derive(Default)]
pub(super) struct Mesh {
    sidecars: BTreeMap<Arc<str>, Sidecar>,
}

/// The pods of a Service that sends requests, as one peer: they differ only in their versions.
fn sender(field: &Field, asker: Asker) -> Option<(usize, &Pod)> {
    let at = asker?;
    let service = field.services.get(at).filter(|service| service.mesh)?;
    Some((at, field.pod(service.backends.first()?.pod)?))
}

impl Mesh {
    /// Counts what has happened since the last scrape, and exports every sidecar.
    pub(super) fn export(&mut self, desk: &mut Desk<'_>, field: &Field, ledger: &mut Ledger, told: &[Told]) {
        for sidecar in self.sidecars.values_mut() {
            sidecar.is_there = false;
        }
        for pod in field.live().filter(|pod| pod.behaviour.mesh) {
            let sidecar = self.sidecars.entry(pod.uid.clone()).or_default();
            if sidecar.started != pod.started {
                (sidecar.inbound, sidecar.outbound) = (BTreeMap::new(), BTreeMap::new());
                sidecar.started = pod.started;
            }
            sidecar.is_there = true;
        }
        self.count(field, ledger, told);
        self.sidecars.retain(|_, sidecar| {
            if !sidecar.is_there {
                sidecar.sheet.close(desk.db, desk.at);
            }
            sidecar.is_there
        });
        for pod in field.live() {
            let Some(sidecar) = self.sidecars.get_mut(&pod.uid) else { continue };
            report(desk, sidecar, field, pod);
            sidecar.sheet.finish(desk.db, desk.at);
        }
    }

    fn count(&mut self, field: &Field, ledger: &mut Ledger, told: &[Told]) {
        let mut sent: BTreeMap<(usize, usize, Peer, bool), Counts> = BTreeMap::new();
        for one in told {
            let pod = one.pod.and_then(|slot| field.pod(slot));
            let from = sender(field, one.asker);
            if let Some(sidecar) = pod.and_then(|pod| self.sidecars.get_mut(&pod.uid)) {
                let peer = from.map_or_else(Peer::unknown, |(_, pod)| Peer::of(pod));
                sidecar.inbound.entry((one.to, peer)).or_default().add(&one.counts);
            }
            if let Some((at, _)) = from {
                let peer = pod.map_or_else(Peer::unknown, Peer::of);
                sent.entry((at, one.to, peer, pod.is_some())).or_default().add(&one.counts);
            }
        }
        for ((asker, to, peer, answered), counts) in sent {
            for (slot, counts) in ledger.among_pods(asker, &counts) {
                let uid = field.pod(slot).map(|pod| &pod.uid);
                if let Some(sidecar) = uid.and_then(|uid| self.sidecars.get_mut(uid)) {
                    sidecar.outbound.entry((to, peer.clone(), answered)).or_default().add(&counts);
                }
            }
        }
    }
}

fn report(desk: &mut Desk<'_>, sidecar: &mut Sidecar, field: &Field, pod: &Pod) {
    let instance = desk.words.of(&format!("{}:15090", if pod.ip.is_empty() { &pod.name } else { &pod.ip }));
    let job = desk.words.of("envoy-stats");
    let base = [("namespace", &pod.namespace), ("pod", &pod.name), ("job", &job), ("instance", &instance)];
    let alive = pod.is_alive();
    desk.put(&mut sidecar.sheet, &base, "up", &[], f64::from(u8::from(alive)));
    if !alive {
        return;
    }
    let own = Peer::of(pod);
    let inbound =
        sidecar.inbound.iter().map(|((to, peer), counts)| ("destination", *to, peer, &own, true, counts));
    let outbound = sidecar
        .outbound
        .iter()
        .map(|((to, peer, answered), counts)| ("source", *to, &own, peer, *answered, counts));
    for (reporter, to, from, dest, answered, counts) in inbound.chain(outbound) {
        let Some(service) = field.services.get(to) else { continue };
        let host = format!("{}.{}.svc.cluster.local", service.id.name, service.id.namespace);
        let secured = from != &Peer::unknown();
        let labels = [
            ("reporter", reporter),
            ("source_workload", &*from.workload),
            ("source_workload_namespace", &*from.namespace),
            ("source_app", &*from.app),
            ("source_version", &*from.version),
            ("destination_workload", &*dest.workload),
            ("destination_workload_namespace", &*dest.namespace),
            ("destination_app", &*dest.app),
            ("destination_version", &*dest.version),
            ("destination_service", &*host),
            ("destination_service_name", &*service.id.name),
            ("destination_service_namespace", &*service.id.namespace),
            ("request_protocol", if service.grpc { "grpc" } else { "http" }),
            ("connection_security_policy", security(reporter, secured)),
        ];
        for (place, count) in counts.codes.iter().enumerate().filter(|(_, count)| **count > 0) {
            let [code, grpc, flags] = answer(place, service, answered);
            let more = [("response_code", code), ("response_flags", flags), ("grpc_response_status", grpc)];
            let mut all: Vec<(&'static str, &str)> = labels.to_vec();
            all.extend(more.into_iter().filter(|(_, value)| !value.is_empty()));
            desk.put(&mut sidecar.sheet, &base, "istio_requests_total", &all, *count as f64);
        }
        let mut sum = 0;
        for (le, count) in LE.iter().zip(counts.buckets) {
            sum += count;
            let mut all: Vec<(&'static str, &str)> = labels.to_vec();
            all.push(("le", le));
            desk.put(
                &mut sidecar.sheet,
                &base,
                "istio_request_duration_milliseconds_bucket",
                &all,
                sum as f64,
            );
        }
        let millis = counts.sum * 1000.0;
        desk.put(&mut sidecar.sheet, &base, "istio_request_duration_milliseconds_sum", &labels, millis);
        desk.put(&mut sidecar.sheet, &base, "istio_request_duration_milliseconds_count", &labels, sum as f64);
    }
}

/// Only the receiver knows whether a connection is secured.
fn security(reporter: &str, secured: bool) -> &'static str {
    match (reporter, secured) {
        ("destination", true) => "mutual_tls",
        ("destination", false) => "none",
        _ => "unknown",
    }
}

/// The response code, the gRPC status and the flags of Envoy for a place in [`CODES`]. gRPC answers with code 200, and a
/// proxy that got no answer says why: UF, a connection failed; UH, no healthy host; UT, a timeout.
fn answer(place: usize, service: &Service, answered: bool) -> [&'static str; 3] {
    let code = CODES.get(place).copied().unwrap_or("0");
    match (code, answered, service.grpc) {
        ("200", _, true) => [code, "0", "-"],
        ("200", _, false) => [code, "", "-"],
        ("500", true, true) => ["200", "13", "-"],
        (_, true, true) => ["200", "14", "-"],
        (_, true, false) => [code, "", "-"],
        ("502", false, is_grpc) => ["503", if is_grpc { "14" } else { "" }, "UF"],
        ("503", false, is_grpc) => ["503", if is_grpc { "14" } else { "" }, "UH"],
        (_, false, is_grpc) => ["504", if is_grpc { "4" } else { "" }, "UT"],
    }
}
