//! Alerts of an Alertmanager or of the rules of a Prometheus, and the silences of an Alertmanager.

pub mod matchers;
mod silence;
mod spec;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use silence::{AlertSilence, Matcher, SilenceState};
pub use spec::{NewSilence, SILENCE, SILENCE_IDS, SilenceSpec, by_id, is_silence, is_url, through};

use super::cause::Severity;
use super::id::{Name, ObjectRef};
use super::time::Stamp;

/// The label with the name of an alert.
pub const NAME: &str = "alertname";
/// The label with the severity of an alert.
pub const SEVERITY: &str = "severity";

/// What becomes of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertState {
    /// Somebody is notified.
    #[default]
    Firing,
    /// Its expression is true, but not for long enough yet. Only Prometheus knows these alerts.
    Pending,
    /// A silence hides it.
    Silenced,
    /// Another alert suppresses it.
    Inhibited,
    /// A time interval of the Alertmanager's routes mutes it.
    Muted,
}

impl AlertState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Pending => "pending",
            Self::Silenced => "silenced",
            Self::Inhibited => "inhibited",
            Self::Muted => "muted",
        }
    }
}

/// The values of the label `severity` that people use, in lower case. `None`: the alert is no trouble.
const SEVERITIES: [(Option<Severity>, &[&str]); 4] = [
    (
        Some(Severity::Critical),
        &["critical", "crit", "page", "emergency", "fatal", "disaster", "sev1", "p1", "error", "blocker"],
    ),
    (
        Some(Severity::Warning),
        &["warning", "warn", "high", "major", "average", "medium", "ticket", "sev2", "sev3", "p2", "p3"],
    ),
    (
        Some(Severity::Info),
        &["info", "information", "informational", "notice", "low", "minor", "debug", "sev4", "p4", "p5"],
    ),
    (None, &["none", "ok", "normal", "heartbeat"]),
];

/// Alerts that fire all the time, or that only suppress others.
const NO_TROUBLE: [&str; 4] = ["Watchdog", "InfoInhibitor", "DeadMansSwitch", "DeadMansSnitch"];

/// Returns the severity of an alert, by its name and its label `severity`. An unknown value counts as a warning.
/// `None`: the alert is no trouble.
pub fn severity(alertname: &str, label: Option<&str>) -> Option<Severity> {
    if NO_TROUBLE.contains(&alertname) {
        return None;
    }
    let label = label.unwrap_or_default().trim().to_lowercase();
    let known = SEVERITIES.iter().find(|(_, words)| words.contains(&label.as_str()));
    known.map_or(Some(Severity::Warning), |(severity, _)| *severity)
}

/// One alert. All texts are cleaned for display.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The identity of its labels.
    pub fingerprint: Name,
    /// Ordered by name.
    pub labels: Arc<[(Name, Name)]>,
    /// Ordered by name.
    pub annotations: Arc<[(Name, Name)]>,
    pub state: AlertState,
    /// From the name and the label `severity`. `None`: the alert is no trouble, such as `Watchdog`.
    pub severity: Option<Severity>,
    /// When it began to fire; of a pending alert, when its expression became true.
    pub since: Stamp,
    /// The names of the receivers that are notified, ordered. Empty if they are not known.
    pub receivers: Arc<[Name]>,
    /// The ids of the silences that hide it.
    pub silenced_by: Arc<[Name]>,
    /// The fingerprints of the alerts that suppress it.
    pub inhibited_by: Arc<[Name]>,
    /// The names of the time intervals that mute it.
    #[serde(default)]
    pub muted_by: Arc<[Name]>,
    /// The URL of its expression in Prometheus. Empty if none is known.
    pub generator: Name,
}

impl Alert {
    pub fn label(&self, name: &str) -> Option<&Name> {
        find(&self.labels, name)
    }

    pub fn annotation(&self, name: &str) -> Option<&Name> {
        find(&self.annotations, name)
    }

    /// Returns the name of the alert, or "" if it has none.
    pub fn name(&self) -> &str {
        self.label(NAME).map_or("", Name::as_str)
    }

    /// Returns what the alert says in one line: the summary, or else the message or the description.
    pub fn summary(&self) -> &str {
        let texts = ["summary", "message", "description", "title"].into_iter();
        texts.filter_map(|name| self.annotation(name)).find(|text| !text.is_empty()).map_or("", Name::as_str)
    }

    /// Returns the longer text that explains the alert, if it has one besides the summary.
    pub fn description(&self) -> Option<&Name> {
        let texts = ["description", "message"].into_iter().filter_map(|name| self.annotation(name));
        texts.into_iter().find(|text| !text.is_empty() && *text != self.summary())
    }

    /// Returns the page that says what to do.
    pub fn runbook(&self) -> Option<&Name> {
        self.link(&["runbook_url", "runbook", "playbook_url", "playbook"])
    }

    /// Returns the page with its dashboard.
    pub fn dashboard(&self) -> Option<&Name> {
        self.link(&["dashboard_url", "dashboard", "__dashboard_url__", "grafana_url", "panel_url"])
    }

    fn link(&self, names: &[&str]) -> Option<&Name> {
        let is_url = |text: &&Name| text.starts_with("http://") || text.starts_with("https://");
        names.iter().filter_map(|name| self.annotation(name).or_else(|| self.label(name))).find(is_url)
    }

    /// Whether somebody has to look at it: it fires, nothing hides it, and it is a warning or worse.
    pub fn is_trouble(&self) -> bool {
        self.state == AlertState::Firing && self.severity >= Some(Severity::Warning)
    }
}

fn find<'a>(pairs: &'a [(Name, Name)], name: &str) -> Option<&'a Name> {
    let at = pairs.binary_search_by(|(have, _)| have.as_str().cmp(name)).ok()?;
    pairs.get(at).map(|(_, value)| value)
}

/// Who told the alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertOrigin {
    #[default]
    Alertmanager,
    /// The alerting rules of a Prometheus: no Alertmanager answers, so silences and receivers are not known.
    Rules,
}

impl AlertOrigin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "Alertmanager",
            Self::Rules => "Prometheus rules",
        }
    }
}

/// All alerts of one poll.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertsSeen {
    /// The name of the source. Empty if nothing was read yet.
    pub source: Name,
    /// When the alerts last changed. The status of the source has the time of the last poll.
    pub at: Stamp,
    pub origin: AlertOrigin,
    /// Ordered by fingerprint, each once.
    pub alerts: Arc<[Arc<Alert>]>,
    /// The silences that are active or will be, ordered by id. `None`: they are not known.
    #[serde(default)]
    pub silences: Option<Arc<[Arc<AlertSilence>]>>,
    /// The URL under which people open the Alertmanager. Empty if none is known.
    #[serde(default)]
    pub base: Name,
    /// How many alerts the answer had; more than [`Self::alerts`] if it was too long.
    pub total: u32,
}

impl AlertsSeen {
    /// Whether any poll has answered.
    pub fn is_known(&self) -> bool {
        !self.source.is_empty()
    }

    /// The number of alerts that are trouble.
    pub fn trouble(&self) -> usize {
        self.alerts.iter().filter(|alert| alert.is_trouble()).count()
    }

    pub fn silence(&self, id: &str) -> Option<&Arc<AlertSilence>> {
        self.silences.iter().flat_map(|all| all.iter()).find(|silence| silence.id == id)
    }

    pub fn alert(&self, fingerprint: &str) -> Option<&Arc<Alert>> {
        let at = self.alerts.binary_search_by(|alert| alert.fingerprint.as_str().cmp(fingerprint)).ok()?;
        self.alerts.get(at)
    }
}

/// An alert with the objects of the cluster that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    pub alert: Arc<Alert>,
    /// First the object that the alert's labels name, then the owners of that object (of a pod its workload). An object
    /// that the cluster does not have (any more) has no UID. Empty if the labels name none.
    pub objects: Arc<[ObjectRef]>,
    /// The namespace of the first object. Without an object, the namespace that the alert's labels name, or "".
    pub namespace: Name,
}

impl AlertRow {
    /// The object that the alert is about.
    pub fn object(&self) -> Option<&ObjectRef> {
        self.objects.first()
    }

    /// Whether the alert is about this object, whatever UID is known of it.
    pub fn is_about(&self, object: &ObjectRef) -> bool {
        let same = |own: &ObjectRef| {
            own.kind == object.kind && own.name == object.name && own.namespace == object.namespace
        };
        self.objects.iter().any(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Arc<[(Name, Name)]> {
        let mut pairs: Vec<(Name, Name)> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        pairs.sort();
        pairs.into()
    }

    #[test]
    fn severities() {
        use Severity::{Critical, Info, Warning};
        for (name, label, want) in [
            ("A", Some("critical"), Some(Critical)),
            ("A", Some("Page"), Some(Critical)),
            ("A", Some("warning"), Some(Warning)),
            ("A", Some("high"), Some(Warning)),
            ("A", Some("info"), Some(Info)),
            ("A", Some("none"), None),
            ("A", Some("purple"), Some(Warning)),
            ("A", None, Some(Warning)),
            ("Watchdog", Some("critical"), None),
            ("InfoInhibitor", None, None),
        ] {
            assert_eq!(severity(name, label), want, "{name} {label:?}");
        }
        let words: Vec<&&str> = SEVERITIES.iter().flat_map(|(_, words)| words.iter()).collect();
        assert!(words.iter().all(|word| word.to_lowercase() == ***word));
        let distinct: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!(distinct.len(), words.len(), "a word has one meaning");
    }

    #[test]
    fn texts_and_links_of_an_alert() {
        let alert = Alert {
            labels: pairs(&[("alertname", "Full"), ("severity", "page")]),
            annotations: pairs(&[
                ("description", "The disk of n1 is full."),
                ("runbook_url", "https://runbooks/full"),
                ("dashboard", "javascript:alert(1)"),
            ]),
            ..Alert::default()
        };
        assert_eq!((alert.name(), alert.summary()), ("Full", "The disk of n1 is full."));
        assert_eq!(alert.description(), None, "it is not said twice");
        assert_eq!(alert.runbook().unwrap(), "https://runbooks/full");
        assert_eq!(alert.dashboard(), None, "only pages are links");
    }
}
