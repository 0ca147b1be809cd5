//! The numbers of the past that the console has itself, for plots without a Prometheus.

use crate::domain::id::{Name, ObjectRef};
use crate::domain::range::{Ranged, Series, Span};
use crate::domain::time::Stamp;
use crate::facts::past::{GIB, POLLS, Past, Steps};
use crate::facts::world::Cluster;

use super::Own;

/// Returns the numbers of the past. `span` is what is shown: the polls are further apart or closer together, and do not
/// reach back as far. Returns `None` if there are none.
pub fn own(cluster: &Cluster, object: &ObjectRef, own: Own, span: Span) -> Option<Ranged> {
    match own {
        Own::Rps | Own::ErrorsPercent | Own::P95 => {
            let row = cluster.measured(&object.namespace, &object.name)?;
            let past: &Past = &row.past;
            let values: Vec<Option<f64>> = match own {
                Own::Rps => past.service.rps().collect(),
                Own::ErrorsPercent => past.service.errors_percent().collect(),
                _ => past.service.p95_ms().collect(),
            };
            polls(past.at(), past.every_ms(), values)
        }
        Own::NodeCpu | Own::NodeMemory => {
            let row = cluster.derived.nodes.iter().find(|row| row.node.name == object.name)?;
            let past = row.past.as_ref()?;
            let values = match own {
                Own::NodeCpu => past.numbers(0).collect(),
                _ => past.numbers(1).map(|gib| gib.map(|gib| gib * GIB)).collect(),
            };
            polls(past.at(), past.every_ms(), values)
        }
        Own::ReplicasNow | Own::ReplicasWanted => {
            let is = |namespace: &Name, name: &Name| *namespace == object.namespace && *name == object.name;
            let row = cluster.derived.hpas.iter().find(|row| is(&row.hpa.namespace, &row.hpa.name))?;
            steps(&row.past, own == Own::ReplicasWanted, span)
        }
    }
}

/// The numbers of polls, the newest last.
fn polls(at: Stamp, every_ms: u64, values: Vec<Option<f64>>) -> Option<Ranged> {
    values.iter().flatten().next()?;
    let step_secs = u32::try_from(every_ms.div_ceil(1_000)).unwrap_or(1).max(1);
    let back = i64::from(step_secs) * i64::try_from(POLLS - 1).unwrap_or(0);
    let span = Span { from: at.plus_secs(-back), step_secs, count: values.len() };
    Some(Ranged { span, series: vec![Series { labels: Vec::new(), values }], ..Ranged::default() })
}

/// Numbers that hold until they change.
fn steps(past: &Steps, wanted: bool, span: Span) -> Option<Ranged> {
    let value = |index: usize| {
        let (now, wants) = past.at(span.at(index))?;
        if wanted { wants } else { now }.map(f64::from)
    };
    let values: Vec<Option<f64>> = (0..span.count).map(value).collect();
    values.iter().flatten().next()?;
    Some(Ranged { span, series: vec![Series { labels: Vec::new(), values }], ..Ranged::default() })
}
