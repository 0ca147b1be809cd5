//! The rows of the Alerts pane: each alert, or all alerts with one name together.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilothouse_core::domain::alert::{AlertRow, AlertState};
use pilothouse_core::domain::cause::Severity;
use pilothouse_core::domain::id::{Name, ObjectRef, Uid};
use pilothouse_core::domain::time::Stamp;

use super::super::cell::Grade;

/// One row: an alert, or several of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertLine {
    /// The alerts; never empty. The most severe one comes first.
    pub alerts: Vec<Arc<AlertRow>>,
    /// The row stands for all alerts with this name.
    pub group: Option<Name>,
}

/// Returns the severity of a row. Only an alert that nobody suppresses asks for attention.
pub fn grade_of(row: &AlertRow) -> Grade {
    match (row.alert.state, row.alert.severity) {
        (AlertState::Firing, Some(Severity::Critical)) => Grade::Critical,
        (AlertState::Firing, Some(Severity::Warning)) => Grade::Warning,
        (AlertState::Firing, Some(Severity::Info)) | (AlertState::Pending, Some(_)) => Grade::Info,
        _ => Grade::Fine,
    }
}

impl AlertLine {
    fn single(row: &Arc<AlertRow>) -> Self {
        Self { alerts: vec![row.clone()], group: None }
    }

    /// The most severe alert of the row.
    pub fn first(&self) -> Option<&Arc<AlertRow>> {
        self.alerts.first()
    }

    pub fn grade(&self) -> Grade {
        self.first().map_or(Grade::Fine, |row| grade_of(row))
    }

    /// Returns the identity of the row.
    pub fn key(&self) -> Uid {
        Uid::Text(match (&self.group, self.first()) {
            (Some(name), _) => Name::from(format!("alertname {name}")),
            (None, Some(row)) => row.alert.fingerprint.clone(),
            (None, None) => Name::default(),
        })
    }

    /// When the oldest alert began.
    pub fn since(&self) -> Option<Stamp> {
        self.alerts.iter().map(|row| row.alert.since).min()
    }

    /// The object, if all alerts of the row are about the same.
    pub fn object(&self) -> Option<&ObjectRef> {
        let object = self.first()?.object()?;
        self.alerts.iter().all(|row| row.object() == Some(object)).then_some(object)
    }
}

/// The rows, and what they were built from.
#[derive(Debug, Default)]
pub struct AlertLines {
    pub list: Vec<AlertLine>,
    of: Option<(Arc<[Arc<AlertRow>]>, bool)>,
}

impl AlertLines {
    /// Builds the rows again if the alerts or the grouping have changed.
    pub fn refresh(&mut self, alerts: &Arc<[Arc<AlertRow>]>, by_name: bool) {
        if self.of.as_ref().is_some_and(|(of, by)| Arc::ptr_eq(of, alerts) && *by == by_name) {
            return;
        }
        self.of = Some((alerts.clone(), by_name));
        if !by_name {
            self.list = alerts.iter().map(AlertLine::single).collect();
            return;
        }
        let mut groups: BTreeMap<&str, Vec<Arc<AlertRow>>> = BTreeMap::new();
        for row in alerts.iter() {
            groups.entry(row.alert.name()).or_default().push(row.clone());
        }
        let line = |(name, mut alerts): (&str, Vec<Arc<AlertRow>>)| {
            alerts.sort_by(|a, b| grade_of(b).cmp(&grade_of(a)).then(a.alert.since.cmp(&b.alert.since)));
            let group = (alerts.len() > 1).then(|| Name::from(name));
            AlertLine { alerts, group }
        };
        self.list = groups.into_iter().map(line).collect();
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::alert::Alert;

    use super::*;

    fn row(name: &str, fingerprint: &str, severity: Option<Severity>, state: AlertState) -> Arc<AlertRow> {
        let labels = [("alertname".into(), Name::from(name))];
        let alert = Alert {
            fingerprint: fingerprint.into(),
            labels: labels.into(),
            severity,
            state,
            since: Stamp::from_secs(fingerprint.len() as i64),
            ..Alert::default()
        };
        Arc::new(AlertRow { alert: Arc::new(alert), objects: Arc::default(), namespace: Name::default() })
    }

    #[test]
    fn alerts_of_one_name_are_one_row_with_the_worst_first() {
        let (critical, warning) = (Some(Severity::Critical), Some(Severity::Warning));
        let all: Arc<[Arc<AlertRow>]> = [
            row("Down", "a", warning, AlertState::Firing),
            row("Down", "bb", critical, AlertState::Firing),
            row("Down", "ccc", critical, AlertState::Silenced),
            row("Full", "d", None, AlertState::Firing),
        ]
        .into();
        let mut lines = AlertLines::default();
        lines.refresh(&all, true);
        let told: Vec<_> =
            lines.list.iter().map(|l| (l.key().to_string(), l.grade(), l.alerts.len())).collect();
        assert_eq!(
            told,
            [("alertname Down".into(), Grade::Critical, 3), ("d".into(), Grade::Fine, 1)],
            "a name with one alert is that alert"
        );
        assert_eq!(lines.list[0].first().unwrap().alert.fingerprint, "bb", "a silenced one asks for nothing");
        assert_eq!(lines.list[0].since(), Some(Stamp::from_secs(1)), "of the oldest");
        lines.refresh(&all, false);
        assert_eq!(lines.list.len(), 4);
    }
}
