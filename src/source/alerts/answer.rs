//! Reads the answers of an Alertmanager (API v2).

use std::collections::BTreeMap;
use std::sync::Arc;

use pilothouse_core::domain::alert::{
    Alert, AlertSilence, AlertState, AlertsSeen, Matcher, NAME, SEVERITY, SilenceState, severity,
};
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::KIND;
use crate::source::server::{Answer, ServerError};

/// The maximum number of alerts that are kept.
pub(super) const MOST: usize = 5_000;
/// The maximum number of silences that are kept.
const MOST_SILENCES: usize = 2_000;
/// The maximum number of labels or annotations of an alert.
const PAIRS: usize = 64;
/// The maximum length of a label's value, and of an annotation, in bytes.
const LABEL: usize = 1_024;
const ANNOTATION: usize = 8_192;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GotAlert {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: Option<Stamp>,
    #[serde(default)]
    fingerprint: String,
    #[serde(rename = "generatorURL", default)]
    generator: String,
    #[serde(default)]
    receivers: Vec<Receiver>,
    status: Option<GotStatus>,
}

#[derive(Deserialize)]
struct Receiver {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GotStatus {
    state: String,
    silenced_by: Vec<String>,
    inhibited_by: Vec<String>,
    muted_by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GotSilence {
    id: String,
    matchers: Vec<GotMatcher>,
    starts_at: Stamp,
    ends_at: Stamp,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    comment: String,
    status: Option<GotState>,
}

#[derive(Deserialize)]
struct GotState {
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GotMatcher {
    name: String,
    value: String,
    #[serde(default)]
    is_regex: bool,
    is_equal: Option<bool>,
}

/// The form of an error.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    Object { message: String },
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ServerError> {
    if !answer.status.is_success() {
        return Err(match serde_json::from_slice(&answer.body) {
            Ok(Said::Text(words) | Said::Object { message: words }) => answer.refusal(&words),
            Err(_) => answer.refused(&KIND),
        });
    }
    serde_json::from_slice(&answer.body).map_err(|error| answer.not_understood(&KIND, &error.to_string()))
}

fn label(text: &str) -> Name {
    Name::from(text::cap(&text::clean(text), LABEL).as_ref())
}

/// A text that can have several lines.
fn paragraph(text: &str) -> Name {
    Name::from(text::cap(&text::clean_lines(text), ANNOTATION).trim_end())
}

fn names(names: &[String]) -> Arc<[Name]> {
    let mut names: Vec<Name> = names.iter().map(|name| label(name)).collect();
    names.sort();
    names.dedup();
    names.into()
}

/// The labels and annotations of an alert, as they are read.
pub(super) struct Texts {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

impl Texts {
    /// Makes an alert that fires, without what only an Alertmanager knows. An empty fingerprint is computed.
    pub(super) fn alert(self, fingerprint: &str, since: Stamp) -> Alert {
        let id = if fingerprint.is_empty() { self.fingerprint() } else { fingerprint.to_owned() };
        let pair = |(name, value): (&String, &String)| (label(name), label(value));
        let mut labels: Vec<(Name, Name)> = self.labels.iter().map(pair).collect();
        let pair = |(name, value): (&String, &String)| (label(name), paragraph(value));
        let mut annotations: Vec<(Name, Name)> = self.annotations.iter().map(pair).collect();
        for all in [&mut labels, &mut annotations] {
            // a text that was cleaned can sort elsewhere
            all.sort();
            all.truncate(PAIRS);
        }
        let of = |name: &str| self.labels.get(name).map(String::as_str);
        Alert {
            fingerprint: label(&id),
            severity: severity(of(NAME).unwrap_or_default(), of(SEVERITY)),
            labels: labels.into(),
            annotations: annotations.into(),
            since,
            ..Alert::default()
        }
    }

    /// The fingerprint as an Alertmanager computes it: FNV-1a over the names and values of the labels.
    fn fingerprint(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (name, value) in &self.labels {
            for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        format!("{hash:016x}")
    }
}

/// Keeps the most severe alerts, each once, and orders them by fingerprint.
pub(super) fn bounded(mut alerts: Vec<Alert>) -> AlertsSeen {
    alerts.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    alerts.dedup_by(|a, b| a.fingerprint == b.fingerprint);
    let total = u32::try_from(alerts.len()).unwrap_or(u32::MAX);
    if alerts.len() > MOST {
        let rank = |alert: &Alert| (!alert.is_trouble(), std::cmp::Reverse(alert.severity), alert.state);
        alerts.sort_by_key(rank);
        alerts.truncate(MOST);
        alerts.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    }
    let alerts = alerts.into_iter().map(Arc::new).collect();
    AlertsSeen { alerts, total, ..AlertsSeen::default() }
}

/// Reads the answer to `/api/v2/alerts`.
pub fn alerts(answer: &Answer) -> Result<AlertsSeen, ServerError> {
    let got: Vec<GotAlert> = read(answer)?;
    let alert = |got: GotAlert| {
        let status = got.status.unwrap_or_default();
        let state = match &status {
            GotStatus { silenced_by, .. } if !silenced_by.is_empty() => AlertState::Silenced,
            GotStatus { inhibited_by, .. } if !inhibited_by.is_empty() => AlertState::Inhibited,
            GotStatus { muted_by, .. } if !muted_by.is_empty() => AlertState::Muted,
            // it does not say by what
            GotStatus { state, .. } if state == "suppressed" => AlertState::Silenced,
            _ => AlertState::Firing,
        };
        let receivers: Vec<String> = got.receivers.into_iter().map(|one| one.name).collect();
        let texts = Texts { labels: got.labels, annotations: got.annotations };
        Alert {
            state,
            receivers: names(&receivers),
            silenced_by: names(&status.silenced_by),
            inhibited_by: names(&status.inhibited_by),
            muted_by: names(&status.muted_by),
            generator: label(&got.generator),
            ..texts.alert(&got.fingerprint, got.starts_at.unwrap_or_default())
        }
    };
    Ok(bounded(got.into_iter().map(alert).collect()))
}

/// Silences that are known, and a note if some are left out.
pub(super) type Silences = (Arc<[Arc<AlertSilence>]>, Option<String>);

/// Reads the answer to `/api/v2/silences`, without the silences that have ended.
pub fn silences(answer: &Answer) -> Result<Silences, ServerError> {
    let got: Vec<GotSilence> = read(answer)?;
    let matcher = |got: GotMatcher| Matcher {
        name: label(&got.name),
        value: label(&got.value),
        is_regex: got.is_regex,
        is_equal: got.is_equal.unwrap_or(true),
    };
    let silence = |got: GotSilence| AlertSilence {
        id: label(&got.id),
        matchers: got.matchers.into_iter().map(matcher).collect(),
        author: label(&got.created_by),
        comment: label(&got.comment),
        starts: got.starts_at,
        ends: got.ends_at,
        state: got.status.map_or(SilenceState::Active, |status| SilenceState::parse(&status.state)),
    };
    let mut all: Vec<AlertSilence> = got.into_iter().map(silence).collect();
    all.retain(|silence| silence.state != SilenceState::Expired);
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let total = all.len();
    all.truncate(MOST_SILENCES);
    let note =
        (total > all.len()).then(|| format!("it has {total} silences, of which {} are kept", all.len()));
    Ok((all.into_iter().map(Arc::new).collect(), note))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use pilothouse_core::domain::cause::Severity;

    use super::*;
    use crate::source::server::Asked;

    fn answer(code: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(code).unwrap();
        Answer { asked: Asked::Url, status, body: body.as_bytes().to_vec().into(), retry_after: None }
    }

    const ONE: &str = r#"[{"labels":{"alertname":"Full","severity":"critical","node":"n1\u001b"},
        "annotations":{"summary":"a\nb"},"startsAt":"2026-11-29T10:00:00.123Z","endsAt":"2026-11-29T10:09:00Z",
        "updatedAt":"2026-11-29T10:05:00Z","fingerprint":"f1","generatorURL":"http://p/graph",
        "receivers":[{"name":"b"},{"name":"a"}],
        "status":{"state":"suppressed","silencedBy":["s1"],"inhibitedBy":[],"mutedBy":[]}}]"#;

    #[test]
    fn an_alert_is_read() {
        let seen = alerts(&answer(200, ONE)).unwrap();
        let alert = seen.alert("f1").unwrap();
        assert_eq!((alert.name(), alert.severity), ("Full", Some(Severity::Critical)));
        assert_eq!(alert.label("node").unwrap(), "n1␛", "no control character gets in");
        assert_eq!((alert.state, alert.summary()), (AlertState::Silenced, "a\nb"));
        assert_eq!(alert.since, Stamp::parse("2026-11-29T10:00:00.123Z").unwrap());
        assert_eq!(alert.receivers.iter().map(Name::as_str).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn the_state_says_what_hides_an_alert() {
        for (status, want) in [
            (r#"{"state":"active"}"#, AlertState::Firing),
            (r#"{"state":"unprocessed","silencedBy":[]}"#, AlertState::Firing),
            (r#"{"state":"suppressed","silencedBy":["s"],"inhibitedBy":["i"]}"#, AlertState::Silenced),
            (r#"{"state":"suppressed","inhibitedBy":["i"]}"#, AlertState::Inhibited),
            (r#"{"state":"suppressed","mutedBy":["nights"]}"#, AlertState::Muted),
            (r#"{"state":"suppressed"}"#, AlertState::Silenced),
        ] {
            let body = format!(r#"[{{"labels":{{"alertname":"A"}},"status":{status}}}]"#);
            assert_eq!(alerts(&answer(200, &body)).unwrap().alerts[0].state, want, "{status}");
        }
    }

    #[test]
    fn errors_are_told_in_words() {
        for (code, body, want) in [
            (400, r#""bad matcher format: x""#, "400: bad matcher format: x"),
            (
                422,
                r#"{"code":602,"message":"filter in query is required"}"#,
                "422: filter in query is required",
            ),
            (404, "404 page not found\n", "is this URL the base URL of an Alertmanager"),
            (502, "<html>", "502: Bad Gateway"),
            (
                200,
                "<!doctype html>",
                "an HTML page, perhaps for a login, and not JSON; is this URL an Alertmanager?",
            ),
            (200, r#"[{"name":"x"}]"#, "missing field `labels`"),
            (200, r#"{"status":"success"}"#, "invalid type: map, expected a sequence"),
            (200, r#"[{"labels":{"a":1}}]"#, "expected a string"),
        ] {
            let error = alerts(&answer(code, body)).unwrap_err().to_string();
            assert!(error.contains(want), "{want}: {error}");
        }
    }

    #[test]
    fn too_many_alerts_leave_out_the_least_severe_ones() {
        let one = |i: usize| {
            let severity = if i.is_multiple_of(1000) { "critical" } else { "info" };
            format!(r#"{{"labels":{{"alertname":"A{i}","severity":"{severity}"}}}}"#)
        };
        let all: Vec<String> = (0..MOST + 500).map(one).collect();
        let seen = alerts(&answer(200, &format!("[{}]", all.join(",")))).unwrap();
        assert_eq!((seen.alerts.len(), seen.total as usize), (MOST, MOST + 500));
        assert_eq!(seen.trouble(), 6, "every critical one is kept");
        assert!(seen.alerts.is_sorted_by(|a, b| a.fingerprint < b.fingerprint));
    }

    #[test]
    fn a_fingerprint_is_computed_as_an_alertmanager_does() {
        // of amtool, for {alertname="A"}
        let seen = alerts(&answer(200, r#"[{"labels":{}},{"labels":{}}]"#)).unwrap();
        assert_eq!(seen.alerts.len(), 1, "the same labels are the same alert");
        assert_eq!(seen.alerts[0].fingerprint, "cbf29ce484222325");
    }

    #[test]
    fn silences_that_have_ended_are_left_out() {
        let one = |id: &str, state: &str| {
            format!(
                r#"{{"id":"{id}","matchers":[{{"name":"a","value":"x","isRegex":false}}],"startsAt":"2026-11-29T10:00:00Z",
                "endsAt":"2026-11-29T11:00:00Z","updatedAt":"2026-11-29T10:00:00Z","createdBy":"ann","comment":"c",
                "status":{{"state":"{state}"}}}}"#
            )
        };
        let all = [one("b", "active"), one("a", "pending"), one("c", "expired")];
        let (silences, note) = silences(&answer(200, &format!("[{}]", all.join(",")))).unwrap();
        let told: Vec<_> = silences.iter().map(|s| (s.id.as_str(), s.state.as_str(), s.words())).collect();
        let words = || r#"{a="x"}"#.to_owned();
        assert_eq!(told, [("a", "pending", words()), ("b", "active", words())]);
        assert_eq!(note, None);
    }
}
