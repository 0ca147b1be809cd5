//! Services that respond much later than usual.

use crate::domain::cause::{Cause, Finding, Impact, Severity, Shared};
use crate::domain::id::{Kind, ObjectRef, Uid};
use crate::domain::traffic::ServiceTraffic;

use super::RuleContext;

/// A service is slow if its latency is this many times the usual one …
const TIMES: f64 = 3.0;
/// … and if it is later by at least this much.
const LATER_MS: f64 = 100.0;
/// The finding ends only below this factor, so that it does not flicker.
const STILL: f64 = 1.5;
/// The minimum number of requests in the window. Fewer do not prove a problem.
const ENOUGH: f64 = 50.0;

fn about(context: &RuleContext<'_, '_>, service: &ServiceTraffic) -> ObjectRef {
    context.cluster.object(Kind::Service, &service.namespace, &service.name, &Uid::default())
}

/// Finds slow services. All of them share one line.
pub(super) fn slow(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let services = context.cluster.traffic.services.iter();
    services
        .filter_map(|s| {
            let (p95, usual, rps) = (s.p95_ms?, context.latency.usual_ms(s)?, s.rps?);
            let object = about(context, s);
            let slow = p95 >= usual * TIMES && p95 >= usual + LATER_MS && rps * f64::from(s.window_secs) >= ENOUGH;
            let held = context.was_found(&object) && p95 >= usual * STILL;
            (slow || held).then(|| Cause {
                evidence: vec![
                    format!(
                        "P50 {}, P95 {p95:.0} ms, P99 {} at {rps:.0} rps; measured by {} over {} s; the median of P95 in the last half hour is {usual:.0} ms",
                        ms(s.p50_ms),
                        ms(s.p99_ms),
                        s.preset,
                        s.window_secs
                    )
                    .into(),
                ],
                impact: Impact { services: 1, ..Impact::default() },
                shared: vec![Shared::Code],
                ..Cause::new(
                    Finding::ServiceSlow { p95_ms: p95, usual_ms: usual },
                    Severity::Warning,
                    vec![object],
                )
            })
        })
        .collect()
}

fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown".into(), |ms| format!("{ms:.0} ms"))
}
