//! The metrics of an ingress-nginx controller: its calls to the Services of Ingresses. A request to a canary has the
//! Ingress and Service beside which the canary exists, and the canary's upstream in its own label. The histogram lacks
//! the controller's highest bound, 10 s, because traffic does not count it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::export::LE;
use super::ledger::{Ledger, Told};
use super::sheet::{Desk, Sheet};
use crate::traffic::field::CODES;
use crate::traffic::{Counts, Field, Pod};

/// The counters of one controller, since its container started.
#[derive(Default)]
struct Controller {
    started: Option<DateTime<Utc>>,
    /// By the Service's index.
    counts: BTreeMap<usize, Counts>,
    sheet: Sheet,
    is_there: bool,
}

/// All controllers, by the UIDs of their pods.
#[derive(Default)]
pub(super) struct Nginx {
    controllers: BTreeMap<Arc<str>, Controller>,
}

impl Nginx {
    /// Counts what has happened since the last scrape, and exports every controller.
    pub(super) fn export(&mut self, desk: &mut Desk<'_>, field: &Field, ledger: &mut Ledger, told: &[Told]) {
        for controller in self.controllers.values_mut() {
            controller.is_there = false;
        }
        let services = field.services.iter().filter(|service| service.ingress);
        let pods = services.flat_map(|service| service.backends.iter()).filter_map(|one| field.pod(one.pod));
        let pods: Vec<&Pod> = pods.collect();
        for pod in &pods {
            let controller = self.controllers.entry(pod.uid.clone()).or_default();
            if controller.started != pod.started {
                (controller.counts, controller.started) = (BTreeMap::new(), pod.started);
            }
            controller.is_there = true;
        }
        let mut sent: BTreeMap<(usize, usize), Counts> = BTreeMap::new();
        for one in told.iter().filter(|one| field.doors.contains_key(&one.to)) {
            let asker = one.asker.filter(|at| field.services.get(*at).is_some_and(|service| service.ingress));
            if let Some(asker) = asker {
                sent.entry((asker, one.to)).or_default().add(&one.counts);
            }
        }
        for ((asker, to), counts) in sent {
            for (slot, counts) in ledger.among_pods(asker, &counts) {
                let uid = field.pod(slot).map(|pod| &pod.uid);
                if let Some(controller) = uid.and_then(|uid| self.controllers.get_mut(uid)) {
                    controller.counts.entry(to).or_default().add(&counts);
                }
            }
        }
        self.controllers.retain(|_, controller| {
            if !controller.is_there {
                controller.sheet.close(desk.db, desk.at);
            }
            controller.is_there
        });
        for pod in pods {
            let Some(controller) = self.controllers.get_mut(&pod.uid) else { continue };
            report(desk, controller, field, pod);
            controller.sheet.finish(desk.db, desk.at);
        }
    }
}

fn report(desk: &mut Desk<'_>, controller: &mut Controller, field: &Field, pod: &Pod) {
    let instance = desk.words.of(&format!("{}:10254", if pod.ip.is_empty() { &pod.name } else { &pod.ip }));
    let job = desk.words.of("ingress-nginx-controller-metrics");
    let class = desk.words.of("k8s.io/ingress-nginx");
    let target = [("job", &job), ("instance", &instance)];
    let alive = pod.is_alive();
    desk.put(&mut controller.sheet, &target, "up", &[], f64::from(u8::from(alive)));
    if !alive {
        return;
    }
    let base = [
        ("job", &job),
        ("instance", &instance),
        ("controller_class", &class),
        ("controller_namespace", &pod.namespace),
        ("controller_pod", &pod.name),
    ];
    for (to, counts) in &controller.counts {
        let Some(door) = field.doors.get(to) else { continue };
        let mut labels: Vec<(&'static str, &str)> = vec![
            ("namespace", &door.namespace),
            ("ingress", &door.ingress),
            ("service", &door.service),
            ("host", &door.host),
            ("path", &door.path),
            ("method", "GET"),
        ];
        if !door.canary.is_empty() {
            labels.push(("canary", &door.canary));
        }
        for (code, count) in CODES.iter().zip(counts.codes).filter(|(_, count)| *count > 0) {
            let mut all = labels.clone();
            all.push(("status", code));
            desk.put(&mut controller.sheet, &base, "nginx_ingress_controller_requests", &all, count as f64);
        }
        let mut sum = 0;
        for (le, count) in LE.iter().zip(counts.buckets) {
            sum += count;
            let mut all = labels.clone();
            all.push(("le", le));
            let name = "nginx_ingress_controller_request_duration_seconds_bucket";
            desk.put(&mut controller.sheet, &base, name, &all, sum as f64);
        }
        for (name, value) in [
            ("nginx_ingress_controller_request_duration_seconds_sum", counts.sum),
            ("nginx_ingress_controller_request_duration_seconds_count", sum as f64),
        ] {
            desk.put(&mut controller.sheet, &base, name, &labels, value);
        }
    }
}
