//! The severities that NOW finds for workloads. They are part of the severity of the rows.

use std::collections::HashMap;

use pilothouse_core::domain::id::Uid;
use pilothouse_core::facts::world::{Cluster, Severity};

/// The severities of workloads in NOW, by UID.
pub type Told = HashMap<Uid, Severity>;

/// Collects the severities.
pub fn told(cluster: &Cluster) -> Told {
    let mut told = Told::new();
    for cause in cluster.derived.causes.iter() {
        let tells = cause.included().into_iter().map(|(_, object)| object);
        for object in tells.filter(|o| cluster.workloads(&o.kind).is_some()) {
            let worst = told.entry(object.uid).or_insert(cause.severity);
            *worst = cause.severity.max(*worst);
        }
    }
    told
}
