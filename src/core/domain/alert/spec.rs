//! A silence as the object of an action. An Alertmanager gives a silence its id only when it is created, so the object
//! is identified by what the silence says: its matchers, author, comment and end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::silence::{AlertSilence, Matcher, words};
use super::{Alert, NAME};
use crate::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid};
use crate::domain::text::clean;
use crate::domain::time::Stamp;

/// The kind of the objects that stand for silences.
const KIND: &str = "AlertmanagerSilence";

/// The pointer to the silence in its object; null: there is none.
pub const SILENCE: &str = "/spec/silence";

/// The pointer to the ids of the silences in their object.
pub const SILENCE_IDS: &str = "/status/alertmanager/ids";

/// Returns true for the kind of the objects that stand for silences. They are no objects of Kubernetes.
pub fn is_silence(kind: &Kind) -> bool {
    matches!(kind, Kind::Other(name) if name == KIND)
}

/// What a silence says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceSpec {
    /// Ordered.
    pub matchers: Vec<Matcher>,
    pub author: Name,
    pub comment: Name,
    pub ends: Stamp,
}

impl SilenceSpec {
    /// Returns what a known silence says, as it is shown.
    pub fn of(silence: &AlertSilence) -> Self {
        let mut matchers = silence.matchers.clone();
        matchers.sort();
        let AlertSilence { author, comment, ends, .. } = silence.clone();
        Self { matchers, author, comment, ends }
    }

    /// Returns the silence in the form of the API, without its beginning, which the Alertmanager can change.
    pub fn value(&self) -> Value {
        let matchers = self
            .matchers
            .iter()
            .map(|m| json!({"name": m.name, "value": m.value, "isRegex": m.is_regex, "isEqual": m.is_equal}));
        json!({
            "matchers": matchers.collect::<Vec<_>>(),
            "endsAt": self.ends.to_string(),
            "createdBy": self.author,
            "comment": self.comment,
        })
    }

    /// Reads the form that [`Self::value`] writes, which is that of the API.
    pub fn read(value: &Value) -> Option<Self> {
        let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(Name::from);
        let flag = |of: &Value, key: &str, default| of.get(key).and_then(Value::as_bool).unwrap_or(default);
        let matcher = |m: &Value| {
            Some(Matcher {
                name: text(m, "name")?,
                value: text(m, "value")?,
                is_regex: flag(m, "isRegex", false),
                is_equal: flag(m, "isEqual", true),
            })
        };
        let matchers = value.get("matchers")?.as_array()?.iter().map(matcher);
        let mut matchers = matchers.collect::<Option<Vec<_>>>()?;
        matchers.sort();
        Some(Self {
            matchers,
            author: text(value, "createdBy").unwrap_or_default(),
            comment: text(value, "comment").unwrap_or_default(),
            ends: Stamp::parse(value.get("endsAt")?.as_str()?)?,
        })
    }

    /// Whether its matchers accept an alert. A matcher that cannot be read accepts none.
    pub fn hides(&self, alert: &Alert) -> bool {
        self.matchers.iter().all(|matcher| matcher.accepts(&alert.labels) == Some(true))
    }

    /// Returns the object that stands for the silence. `through` is the Service or the URL of the Alertmanager, or "" for
    /// the one of the config. The namespace is that of the matchers, whose protection applies.
    pub fn object(&self, cluster: ClusterId, through: &str) -> ObjectRef {
        let equal = |name: &str| {
            let is = |m: &&Matcher| m.name == name && m.is_equal && !m.is_regex;
            self.matchers.iter().find(is).map(|m| m.value.clone())
        };
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let what: String =
            equal(NAME).map_or_else(|| "alerts".into(), |name| name.chars().map(safe).collect());
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.value().to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let name = Name::from(format!("{what}-{:08x}", hash >> 32));
        let uid = Uid::Text(Name::from(format!("{UID}{through}")));
        let namespace = equal("namespace").unwrap_or_default();
        ObjectRef::new(cluster, Kind::Other(KIND.into()), &namespace, &name, &uid)
    }

    /// Returns the matchers as amtool writes them, for people: without what could control a terminal.
    pub fn words(&self) -> String {
        clean(&words(&self.matchers)).into_owned()
    }
}

/// Returns the object that stands for a silence whose id is known.
pub fn by_id(silence: &AlertSilence, cluster: ClusterId, through: &str) -> ObjectRef {
    ObjectRef { name: silence.id.clone(), ..SilenceSpec::of(silence).object(cluster, through) }
}

/// A silence that a person asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSilence {
    /// The Service or the URL of the Alertmanager, or "" for the one of the config.
    pub through: Name,
    /// The name of the alerts that were selected.
    pub alert: Name,
    /// Their fingerprints.
    #[serde(default)]
    pub selected: Vec<Name>,
    /// Matchers, and whether the silence has them. The others are labels of the selected alerts.
    pub matchers: Vec<(Matcher, bool)>,
    pub author: Name,
    pub comment: Name,
    /// When it was asked for.
    pub from: Stamp,
    /// How long it lasts.
    pub secs: u32,
}

impl NewSilence {
    /// Returns what the silence will say.
    pub fn spec(&self) -> SilenceSpec {
        let on = self.matchers.iter().filter(|(_, on)| *on);
        let mut matchers: Vec<Matcher> = on.map(|(matcher, _)| matcher.clone()).collect();
        matchers.sort();
        let (author, comment) = (self.author.clone(), self.comment.clone());
        SilenceSpec { matchers, author, comment, ends: self.from.plus_secs(i64::from(self.secs)) }
    }

    /// Returns the object that the action is about, whatever matchers are chosen.
    pub fn target(&self, cluster: ClusterId) -> ObjectRef {
        let object = self.spec().object(cluster, &self.through);
        ObjectRef { name: self.alert.clone(), ..object }
    }
}

/// How the UID of a silence's object begins. The Service or the URL of its Alertmanager follows.
const UID: &str = "alertmanager ";

/// Whether the place of an Alertmanager is its URL, and not its Service.
pub fn is_url(through: &str) -> bool {
    through.contains("://")
}

/// Returns the Service or the URL of the Alertmanager of a silence's object, or "" for the one of the config. `None`: the
/// object is no silence.
pub fn through(on: &ObjectRef) -> Option<String> {
    let Uid::Text(uid) = &on.uid else { return None };
    uid.strip_prefix(UID).filter(|_| is_silence(&on.kind)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_known_by_what_it_says() {
        let matcher = |name: &str, value: &str| Matcher::equal(&name.into(), &value.into());
        let spec = SilenceSpec {
            matchers: vec![matcher("alertname", "Full disk"), matcher("namespace", "shop")],
            author: "ann".into(),
            comment: "known".into(),
            ends: Stamp(1_764_000_000_123),
        };
        let object = spec.object(ClusterId(0), "monitoring/am:web");
        assert!(object.name.starts_with("Full-disk-") && object.namespace == "shop", "{object}");
        assert_eq!(through(&object).as_deref(), Some("monitoring/am:web"));
        assert_eq!(SilenceSpec::read(&spec.value()), Some(spec.clone()));
        // as an Alertmanager tells it, in another order and with more
        let told = AlertSilence {
            id: "1".into(),
            matchers: spec.matchers.iter().rev().cloned().collect(),
            author: "ann".into(),
            comment: "known".into(),
            ends: spec.ends,
            ..AlertSilence::default()
        };
        assert_eq!(SilenceSpec::of(&told).object(ClusterId(0), "monitoring/am:web"), object);
        let other = SilenceSpec { ends: Stamp(1), ..spec };
        assert_ne!(other.object(ClusterId(0), "monitoring/am:web").name, object.name);
        assert_eq!(SilenceSpec::read(&Value::Null), None);
    }
}
