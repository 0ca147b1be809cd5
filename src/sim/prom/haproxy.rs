//! The metrics of the HAProxy in front of a Service: names, labels and values as in the exporter of HAProxy 2.6,
//! compared with a running one.

use super::sheet::{Base, Desk, Sheet};
use crate::traffic::field::{Backend, Service};
use crate::traffic::{Fate, Field};
use crate::world::Policy;

/// The states of a server; exactly one of them is 1.
const STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];

/// Number of retries on the same server after a failed connection.
const RETRIES: u64 = 3;

/// The state of a server: one that its controller has taken out is in maintenance, one that is terminating gets no new
/// requests. One without weight is up like the others.
fn state(backend: &Backend) -> &'static str {
    match (backend.ready, backend.terminating) {
        (false, true) => "DRAIN",
        (false, false) => "MAINT",
        (true, _) if backend.down => "DOWN",
        (true, _) => "UP",
    }
}

/// Averages are whole milliseconds, rounded up.
fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).ceil() / 1000.0
}

fn responses(desk: &mut Desk<'_>, sheet: &mut Sheet, base: &Base<'_>, name: &'static str, ok: u64, bad: u64) {
    for (code, count) in [("1xx", 0), ("2xx", ok), ("3xx", 0), ("4xx", 0), ("5xx", bad), ("other", 0)] {
        desk.put(sheet, base, name, &[("code", code)], count as f64);
    }
}

/// Exports one proxy with its servers.
pub(super) fn export(desk: &mut Desk<'_>, sheet: &mut Sheet, field: &Field, service: &Service) {
    let Some(proxy) = &service.proxy else { return };
    let (job, instance) = (desk.words.of("haproxy"), desk.words.of(&format!("haproxy-{proxy}:8404")));
    let target = [("job", &job), ("instance", &instance)];
    desk.put(sheet, &target, "up", &[], 1.0);
    let base = [("proxy", proxy), ("job", &job), ("instance", &instance)];
    let (mut sessions, mut active, mut total) = (0, 0, 0.0);
    for backend in &service.backends {
        let Some(pod) = field.pod(backend.pod) else { continue };
        let counts =
            pod.counts.iter().find(|(of, _)| field.services.get(*of).is_some_and(|s| s.id == service.id));
        let in_flight = counts.map_or(0, |(_, counts)| counts.in_flight);
        let weight = if service.policy == Policy::Weighted { pod.weight } else { 1.0 };
        let state = state(backend);
        sessions += in_flight;
        if state == "UP" && weight > 0.0 {
            active += 1;
            total += weight;
        }
        // The server is part of each series' key, so it is a label of the series.
        let server = ("server", &*backend.name);
        for one in STATES {
            let held = f64::from(u8::from(one == state));
            desk.put(sheet, &base, "haproxy_server_status", &[server, ("state", one)], held);
        }
        let Fate { picked, ok, errors, timeouts, refused } = backend.fate;
        for (code, count) in [("1xx", 0), ("2xx", ok), ("3xx", 0), ("4xx", 0), ("5xx", errors), ("other", 0)]
        {
            let labels = [server, ("code", code)];
            desk.put(sheet, &base, "haproxy_server_http_responses_total", &labels, count as f64);
        }
        let lost = timeouts + refused;
        for (name, value) in [
            // The weight does not change while the server is down; only its state says that it gets nothing.
            ("haproxy_server_weight", weight),
            ("haproxy_server_uweight", weight),
            ("haproxy_server_current_sessions", in_flight as f64),
            ("haproxy_server_current_queue", 0.0),
            // Every attempt is a session, but a request is balanced once.
            ("haproxy_server_sessions_total", (picked + lost * RETRIES) as f64),
            ("haproxy_server_loadbalanced_total", picked as f64),
            ("haproxy_server_response_time_average_seconds", millis(backend.ewma)),
            ("haproxy_server_connection_errors_total", lost as f64),
            ("haproxy_server_retry_warnings_total", (lost * RETRIES) as f64),
            // No server here accepts a request and never answers it.
            ("haproxy_server_response_errors_total", 0.0),
            ("haproxy_server_check_failures_total", f64::from(backend.failed_checks)),
        ] {
            desk.put(sheet, &base, name, &[server], value);
        }
    }
    let Fate { picked, ok, errors, timeouts, refused } = service.total;
    // The proxy itself answers requests that no server has answered.
    let lost = timeouts + refused + service.unrouted;
    responses(desk, sheet, &base, "haproxy_backend_http_responses_total", ok, errors + lost);
    for (name, value) in [
        ("haproxy_backend_current_sessions", sessions as f64),
        ("haproxy_backend_active_servers", f64::from(active)),
        ("haproxy_backend_weight", total),
        ("haproxy_backend_sessions_total", (picked + service.unrouted) as f64),
        ("haproxy_backend_loadbalanced_total", picked as f64),
        ("haproxy_backend_connection_errors_total", lost as f64),
    ] {
        desk.put(sheet, &base, name, &[], value);
    }
    for one in ["DOWN", "UP"] {
        let held = f64::from(u8::from((one == "UP") == (active > 0)));
        desk.put(sheet, &base, "haproxy_backend_status", &[("state", one)], held);
    }
}
