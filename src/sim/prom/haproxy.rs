//! What the exporter of HAProxy says of the proxy before a Service: names and states as the one built into HAProxy 2.x.

use super::sheet::{Base, Desk, Sheet};
use crate::traffic::field::{Backend, Service};
use crate::traffic::{Fate, Field};
use crate::world::Policy;

/// The states of a server; exactly one of them is 1.
const STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];

/// The state of a server: one that its controller has taken out is in maintenance, one that ends gets nothing new.
fn state(backend: &Backend, weight: f64) -> &'static str {
    match (backend.ready, backend.terminating) {
        (false, true) => "DRAIN",
        (false, false) => "MAINT",
        (true, _) if backend.down => "DOWN",
        (true, _) if weight <= 0.0 => "DRAIN",
        (true, _) => "UP",
    }
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
    let (mut sessions, mut active) = (0, 0);
    for backend in &service.backends {
        let Some(pod) = field.pod(backend.pod) else { continue };
        let counts =
            pod.counts.iter().find(|(of, _)| field.services.get(*of).is_some_and(|s| s.id == service.id));
        let in_flight = counts.map_or(0, |(_, counts)| counts.in_flight);
        let configured = if service.policy == Policy::Weighted { pod.weight } else { 1.0 };
        let state = state(backend, configured);
        let effective = if state == "UP" { configured } else { 0.0 };
        sessions += in_flight;
        active += u64::from(state == "UP");
        // The server stands in the key of each series, so it is given as a label of the series.
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
        for (name, value) in [
            ("haproxy_server_weight", effective),
            ("haproxy_server_uweight", configured),
            ("haproxy_server_current_sessions", in_flight as f64),
            ("haproxy_server_current_queue", 0.0),
            ("haproxy_server_sessions_total", picked as f64),
            ("haproxy_server_loadbalanced_total", picked as f64),
            ("haproxy_server_response_time_average_seconds", backend.ewma),
            ("haproxy_server_connection_errors_total", (timeouts + refused) as f64),
            ("haproxy_server_check_failures_total", f64::from(backend.missed / 2000)),
        ] {
            desk.put(sheet, &base, name, &[server], value);
        }
    }
    let Fate { ok, errors, timeouts, refused, .. } = service.total;
    // What no server has answered, the proxy answers itself.
    let bad = errors + timeouts + refused + service.unrouted;
    responses(desk, sheet, &base, "haproxy_backend_http_responses_total", ok, bad);
    desk.put(sheet, &base, "haproxy_backend_current_sessions", &[], sessions as f64);
    desk.put(sheet, &base, "haproxy_backend_active_servers", &[], active as f64);
    for one in ["DOWN", "UP"] {
        let held = f64::from(u8::from((one == "UP") == (active > 0)));
        desk.put(sheet, &base, "haproxy_backend_status", &[("state", one)], held);
    }
}
