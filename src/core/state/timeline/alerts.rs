//! The lines about alerts: when each began and ended.

use std::sync::Arc;

use super::super::changes::WINDOW_SECS;
use super::{Line, LineKind, What};
use crate::domain::alert::{AlertRow, AlertState};
use crate::domain::time::Stamp;
use crate::facts::history::Happened;
use crate::facts::world::Cluster;

/// Adds the beginning of each alert of now and of the history, and the end of each alert of the history. Alerts that are
/// no trouble, such as `Watchdog`, and alerts that are pending have no lines.
pub(super) fn alerts(cluster: &Cluster, now: Stamp, all: &mut Vec<Line>) {
    let oldest = now.plus_secs(-WINDOW_SECS);
    let tells = |row: &AlertRow| row.alert.severity.is_some() && row.alert.state != AlertState::Pending;
    for row in cluster.derived.alerts.iter().filter(|row| tells(row)) {
        all.extend(began(row, oldest));
    }
    for moment in cluster.derived.history.iter() {
        let Happened::AlertEnded(row) = &moment.what else { continue };
        if tells(row) {
            all.extend(began(row, oldest));
            let lasted_ms = moment.at.since(row.alert.since);
            all.push(line(row, moment.at, What::AlertEnded(row.clone(), lasted_ms)));
        }
    }
}

fn began(row: &Arc<AlertRow>, oldest: Stamp) -> Option<Line> {
    let alert = &row.alert;
    (alert.since >= oldest)
        .then(|| line(row, alert.since, What::AlertBegan(row.clone())).severe(alert.severity))
}

fn line(row: &AlertRow, at: Stamp, what: What) -> Line {
    let mut line = Line::new(at, LineKind::Alert, row.object().cloned(), what);
    line.namespace = row.namespace.clone();
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::{Alert, AlertsSeen};
    use crate::domain::cause::Severity;
    use crate::domain::id::Name;
    use crate::facts::event::Fact;
    use crate::facts::world::{ClusterInfo, World};
    use crate::state::{ClusterState, past, timeline};

    fn alert(name: &str, since: i64, state: AlertState) -> Arc<Alert> {
        let labels = [(Name::from("alertname"), Name::from(name))].into();
        let severity = Some(Severity::Warning);
        let since = Stamp::from_secs(since);
        Arc::new(Alert { fingerprint: name.into(), labels, severity, since, state, ..Alert::default() })
    }

    fn poll(state: &mut ClusterState, secs: i64, source: &str, alerts: &[Arc<Alert>]) {
        let at = Stamp::from_secs(secs);
        let seen = AlertsSeen { source: source.into(), at, alerts: alerts.into(), ..AlertsSeen::default() };
        state.apply(Fact::Alerts(seen), at);
        state.publish(at, true);
    }

    fn told(state: &ClusterState, at: i64) -> Vec<String> {
        let world = World { at: Stamp::from_secs(at), ..World::default() };
        let lines = timeline::lines(&world, state.published());
        let own = lines.iter().filter(|line| line.kind == LineKind::Alert);
        own.map(|line| format!("{} {}", line.at.0 / 1_000, line.what)).collect()
    }

    #[test]
    fn an_alert_begins_when_it_says_so_and_ends_when_it_is_gone() {
        let mut state = ClusterState::new(ClusterInfo::default());
        let (down, full) = (alert("Down", 90, AlertState::Firing), alert("Full", 130, AlertState::Firing));
        poll(&mut state, 100, "am", std::slice::from_ref(&down));
        poll(&mut state, 140, "am", &[down, full.clone(), alert("Soon", 139, AlertState::Pending)]);
        // a silenced alert has not ended
        let hidden = Arc::new(Alert { state: AlertState::Silenced, ..Alert::clone(&full) });
        poll(&mut state, 200, "am", &[hidden]);
        assert_eq!(told(&state, 210), ["200 Down ended after 1m50s", "130 Full fires", "90 Down fires"]);
        let days = |n: i64| n * 86_400;
        assert_eq!(
            told(&state, days(3)),
            told(&state, 210),
            "the clock of another cluster's server is ahead"
        );
        // the alerts of a moment
        let then = |secs: i64| -> Vec<String> {
            let cluster = past::cluster(state.published(), Stamp::from_secs(secs));
            cluster.alerts.alerts.iter().map(|alert| alert.name().to_owned()).collect()
        };
        assert_eq!(then(150), ["Down", "Full", "Soon"]);
        assert_eq!(then(120), ["Down"]);
        assert!(then(95).is_empty(), "nothing had been read at that time");
        // another source tells others, so none has ended
        poll(&mut state, 220, "rules", &[]);
        assert_eq!(told(&state, 230).len(), 2, "{:?}", told(&state, 230));
    }
}
