//! The effect of an action on a Service that loses backends: the same prediction for drains, scaling, pods out of rotation
//! and failovers.

use super::{Change, Prediction, predict};
use crate::domain::id::Name;
use crate::domain::plan::{Busiest, ServiceEffect};
use crate::domain::traffic::Break;
use crate::facts::world::{Cluster, ServiceRow, TrafficRow};

/// The backends that a Service loses.
#[derive(Clone, Copy, Debug)]
pub enum Leaving<'a> {
    /// These pods.
    Pods(&'a [Name]),
    /// As many, and nobody knows which. Those with the fewest requests are taken, so that the busiest one stays.
    Count(u32),
    /// All of them: other pods take their place, and what these can carry is not known.
    All,
}

/// Returns the effect on a Service that keeps `ready_after` ready endpoints.
pub fn service_effect(
    cluster: &Cluster,
    row: &ServiceRow,
    leaving: Leaving<'_>,
    ready_after: u32,
) -> ServiceEffect {
    let (namespace, name) = (row.service.namespace.clone(), row.service.name.clone());
    let measured = cluster.measured(&namespace, &name);
    let rps = measured.and_then(|m| m.traffic.rps).filter(|rps| rps.is_finite());
    let each = |backends: u32| (backends > 0).then(|| rps.map(|rps| rps / f64::from(backends))).flatten();
    let mut effect = ServiceEffect {
        namespace,
        name,
        ready_before: row.ready,
        ready_after,
        share_after: (ready_after > 0).then(|| 1.0 / f64::from(ready_after)),
        rps_before: each(row.ready),
        rps_after: each(ready_after),
        busiest: None,
        breaks: Vec::new(),
    };
    let changes = measured.and_then(|measured| changes(measured, leaving)).filter(|_| ready_after > 0);
    if let Some((measured, changes)) = measured.zip(changes) {
        let prediction = predict(cluster, measured, &changes);
        effect.busiest = busiest(&prediction);
        // What is beyond a limit already is not the effect of the action.
        let before: Vec<&str> = predict(cluster, measured, &[]).breaks.iter().map(Break::code).collect();
        effect.breaks = prediction.breaks.into_iter().filter(|b| !before.contains(&b.code())).collect();
    }
    effect
}

fn changes(measured: &TrafficRow, leaving: Leaving<'_>) -> Option<Vec<Change>> {
    Some(match leaving {
        Leaving::All => return None,
        Leaving::Pods(pods) => pods.iter().cloned().map(Change::Drop).collect(),
        Leaving::Count(count) => {
            let mut backends: Vec<(f64, &Name)> = measured
                .backends()
                .filter(|(_, share)| !share.out)
                .map(|(b, _)| (b.rps.unwrap_or(0.0), &b.name))
                .collect();
            backends.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)));
            backends.into_iter().take(count as usize).map(|(_, name)| Change::Drop(name.clone())).collect()
        }
    })
}

/// Returns the backend with the most requests after the change.
fn busiest(prediction: &Prediction) -> Option<Busiest> {
    let known = prediction.backends.iter().filter_map(|p| Some((p, p.rps_after?)));
    let (p, rps_after) = known.max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Busiest {
        backend: p.name.clone(),
        rps_before: p.rps_before,
        rps_after,
        of_request: p.of_request,
        of_limit: p.of_limit,
        of_most: p.of_most,
    })
}
