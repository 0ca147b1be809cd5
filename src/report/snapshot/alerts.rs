//! The alerts of a snapshot.

use pilothouse_core::domain::alert::AlertOrigin;
use pilothouse_core::domain::id::Name;
use pilothouse_core::facts::world::Cluster;

use super::{doc, object};

/// Returns the alerts, or `None` if no source of alerts has answered.
pub(super) fn alerts(cluster: &Cluster) -> Option<Vec<doc::Alert>> {
    if !cluster.alerts.is_known() {
        return None;
    }
    let texts = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let pairs = |pairs: &[(Name, Name)]| {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let has_receivers = cluster.alerts.origin == AlertOrigin::Alertmanager;
    let rows = cluster.derived.alerts.iter().map(|row| {
        let alert = &row.alert;
        doc::Alert {
            fingerprint: alert.fingerprint.to_string(),
            name: alert.name().to_owned(),
            severity: alert.severity,
            state: alert.state.as_str(),
            since: alert.since.to_string(),
            summary: alert.summary().to_owned(),
            objects: row.objects.iter().map(object).collect(),
            labels: pairs(&alert.labels),
            annotations: pairs(&alert.annotations),
            receivers: has_receivers.then(|| texts(&alert.receivers)),
            silenced_by: texts(&alert.silenced_by),
            inhibited_by: texts(&alert.inhibited_by),
            generator_url: (!alert.generator.is_empty()).then(|| alert.generator.to_string()),
        }
    });
    Some(rows.collect())
}
