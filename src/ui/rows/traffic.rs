//! Services joined with their traffic, which are the rows of the Traffic pane.

use std::collections::HashMap;
use std::sync::Arc;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::service::ServiceType;
use pilothouse_core::domain::traffic::{BAD_ERRORS, GRAVE_ERRORS, ServiceTraffic};
use pilothouse_core::facts::world::{Cluster, ServiceRow, Severity, SloRow, TrafficRow};

use super::PaneRows;
use crate::ui::cell::Grade;

/// A Service with its traffic.
#[derive(Clone, Debug, Default)]
pub struct Joined {
    pub row: Option<Arc<ServiceRow>>,
    pub traffic: Option<Arc<ServiceTraffic>>,
    /// The highest severity of its findings in NOW.
    pub found: Option<Severity>,
    /// The highest rate of all Services, which is the full length of the bar.
    pub most_rps: f64,
    /// Its traffic with the shares of its backends.
    pub measured: Option<Arc<TrafficRow>>,
    /// The worst of its service level objectives.
    pub slo: Option<Arc<SloRow>>,
}

impl Joined {
    /// Returns the namespace and name.
    pub fn name(&self) -> (&str, &str) {
        match (&self.row, &self.traffic) {
            (Some(row), _) => (&row.service.namespace, &row.service.name),
            (None, Some(traffic)) => (&traffic.namespace, &traffic.name),
            (None, None) => ("", ""),
        }
    }

    /// Returns the identity of a row.
    pub fn key(&self) -> Uid {
        if let Some(row) = &self.row {
            return row.service.uid.clone();
        }
        let (ns, name) = self.name();
        Uid::Text(Name::from(format!("traffic {ns}/{name}")))
    }

    /// Returns the object of the row.
    pub fn object(&self, cluster: &Cluster) -> ObjectRef {
        let (ns, name) = self.name();
        let uid = self.row.as_ref().map(|r| r.service.uid.clone()).unwrap_or_default();
        cluster.object(Kind::Service, &ns.into(), &name.into(), &uid)
    }

    /// Returns the severity of a row.
    pub fn grade(&self) -> Grade {
        let errors = self.traffic.as_ref().and_then(|t| t.error_ratio).unwrap_or(0.0);
        let dead = self.row.as_ref().is_some_and(|r| {
            r.ready == 0 && !r.service.selector.is_empty() && r.service.kind != ServiceType::ExternalName
        });
        let wanted = self.row.as_ref().is_some_and(|r| r.total > 0) || self.traffic.is_some();
        let partly = self.row.as_ref().is_some_and(|r| r.ready < r.total);
        let measured = if errors >= GRAVE_ERRORS || (dead && wanted) {
            Grade::Critical
        } else if errors >= BAD_ERRORS || dead {
            Grade::Warning
        } else if partly {
            Grade::Info
        } else {
            Grade::Fine
        };
        // NOW keeps a finding while its numbers cross the threshold repeatedly, so the row keeps its severity too
        measured.max(match self.found {
            Some(Severity::Critical) => Grade::Critical,
            Some(Severity::Warning) => Grade::Warning,
            Some(Severity::Info) | None => Grade::Fine,
        })
    }
}

/// Returns true if the first objective is worse: by its state, then by the budget that is left.
fn is_worse(a: &SloRow, b: &SloRow) -> bool {
    let left = |row: &SloRow| row.verdict.budget_left.unwrap_or(1.0);
    (b.verdict.state, left(a)) < (a.verdict.state, left(b))
}

/// Returns the Services with findings, ordered by name.
fn found(cluster: &Cluster) -> Vec<(Name, Name, Severity)> {
    let causes = cluster.derived.causes.iter();
    let services = causes.filter_map(|c| Some((c.objects.first()?, c.severity)));
    let mut found: Vec<_> = services
        .filter(|(object, _)| object.kind == Kind::Service)
        .map(|(object, severity)| (object.namespace.clone(), object.name.clone(), severity))
        .collect();
    found.sort();
    found
}

/// Joins Services with their traffic if one of the inputs has changed. Returns `true` if it did.
pub fn join(rows: &mut PaneRows, cluster: &Cluster) -> bool {
    let found = found(cluster);
    let same = found == rows.found
        && rows.services.as_ref().is_some_and(|s| s.same_rows(&cluster.derived.services))
        && rows.traffic.as_ref().is_some_and(|t| Arc::ptr_eq(t, &cluster.derived.traffic))
        && rows.slos.as_ref().is_some_and(|s| Arc::ptr_eq(s, &cluster.derived.slos));
    if same {
        return false;
    }
    let mut by_name: HashMap<(&str, &str), usize> = HashMap::new();
    let services = cluster.derived.services.iter();
    let mut joined: Vec<Joined> =
        services.map(|row| Joined { row: Some(row.clone()), ..Joined::default() }).collect();
    for (i, row) in cluster.derived.services.iter().enumerate() {
        by_name.insert((&row.service.namespace, &row.service.name), i);
    }
    for measured in cluster.derived.traffic.iter() {
        let traffic = &measured.traffic;
        let at = by_name
            .get(&(traffic.namespace.as_str(), traffic.name.as_str()))
            .and_then(|i| joined.get_mut(*i));
        let (traffic, measured) = (Some(traffic.clone()), Some(measured.clone()));
        match at {
            Some(held) => (held.traffic, held.measured) = (traffic, measured),
            None => joined.push(Joined { traffic, measured, ..Joined::default() }),
        }
    }
    // the findings are ordered by severity, so the worst one overwrites the others
    let worst: HashMap<(&str, &str), Severity> =
        found.iter().map(|(ns, name, severity)| ((ns.as_str(), name.as_str()), *severity)).collect();
    let rates = || cluster.traffic.services.iter().filter_map(|t| t.rps).filter(|r| r.is_finite());
    let most = rates().fold(0.0, f64::max);
    let mut slos: HashMap<(&str, &str), &Arc<SloRow>> = HashMap::new();
    for slo in cluster.derived.slos.iter() {
        let held = slos.entry((&slo.namespace, &slo.service)).or_insert(slo);
        if is_worse(slo, held) {
            *held = slo;
        }
    }
    for one in &mut joined {
        one.most_rps = most;
        one.found = worst.get(&one.name()).copied();
        one.slo = slos.get(&one.name()).map(|slo| (*slo).clone());
    }
    rows.found = found;
    rows.joined = joined;
    rows.services = Some(cluster.derived.services.clone());
    rows.traffic = Some(cluster.derived.traffic.clone());
    rows.slos = Some(cluster.derived.slos.clone());
    true
}
