//! Silences, and the matchers that silences and filters use.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::stamp;
use crate::prom::tsdb::Labels;

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matcher {
    pub name: String,
    pub value: String,
    pub is_regex: bool,
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

/// A regular expression in Prometheus' form: it must match the whole text.
pub(super) fn whole(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::Regex::new(&format!("^(?s:{pattern})$"))
}

impl Matcher {
    /// Reads `name="value"` with one of `=`, `!=`, `=~`, `!~`; quotes may be left out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("bad matcher format: {text}");
        let at = text.find(['=', '!']).ok_or_else(bad)?;
        let (name, rest) = text.split_at_checked(at).ok_or_else(bad)?;
        let operators = [("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)];
        let (value, is_regex, is_equal) = operators
            .into_iter()
            .find_map(|(op, regex, equal)| Some((rest.strip_prefix(op)?, regex, equal)))
            .ok_or_else(bad)?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        let (name, value) = (name.trim().to_owned(), value.replace("\\\"", "\"").replace("\\\\", "\\"));
        let one = Self { name, value, is_regex, is_equal };
        one.check().map_or(Ok(one), Err)
    }

    /// The mistake in the text.
    pub fn check(&self) -> Option<String> {
        if self.name.is_empty() || !self.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Some(format!("invalid label name \"{}\"", self.name));
        }
        whole(&self.value).err().filter(|_| self.is_regex).map(|e| format!("invalid regular expression: {e}"))
    }

    /// An absent label counts as an empty one.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).map(|value| &**value).unwrap_or_default();
        let same = if self.is_regex {
            whole(&self.value).is_ok_and(|regex| regex.is_match(value))
        } else {
            value == self.value
        };
        same == self.is_equal
    }
}

/// One silence.
#[derive(Debug, Clone)]
pub struct Silence {
    pub id: String,
    pub matchers: Vec<Matcher>,
    pub starts: DateTime<Utc>,
    pub ends: DateTime<Utc>,
    pub updated: DateTime<Utc>,
    pub by: String,
    pub comment: String,
}

/// A posted silence.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    #[serde(default)]
    id: Option<String>,
    matchers: Vec<Matcher>,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    created_by: String,
    comment: String,
}

impl Silence {
    /// Parses a posted silence. The error is a code and the real Alertmanager's message.
    pub fn read(body: &[u8], now: DateTime<Utc>) -> Result<Self, (u16, String)> {
        let posted: Posted =
            serde_json::from_slice(body).map_err(|error| (422, format!("parsing silence body: {error}")))?;
        let bad = |text: &str| Err((400, text.to_owned()));
        if posted.matchers.is_empty() {
            return Err((422, "silence.matchers in body should have at least 1 items".to_owned()));
        }
        if let Some(wrong) = posted.matchers.iter().find_map(Matcher::check) {
            return bad(&format!("invalid label matcher: {wrong}"));
        }
        let empty =
            |m: &Matcher| m.value.is_empty() || (m.is_regex && whole(&m.value).is_ok_and(|r| r.is_match("")));
        if posted.matchers.iter().all(empty) {
            return bad("silence invalid: at least one matcher must not match the empty string");
        }
        if posted.ends_at < posted.starts_at {
            return bad("Failed to create silence: start time must be before end time");
        }
        if posted.ends_at <= now {
            return bad("Failed to create silence: end time can't be in the past");
        }
        Ok(Self {
            id: posted.id.unwrap_or_default(),
            matchers: posted.matchers,
            starts: posted.starts_at,
            ends: posted.ends_at,
            updated: now,
            by: posted.created_by,
            comment: posted.comment,
        })
    }

    pub fn state(&self, now: DateTime<Utc>) -> &'static str {
        if self.ends <= now {
            "expired"
        } else if self.starts > now {
            "pending"
        } else {
            "active"
        }
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// As `gettableSilence`.
    pub(super) fn value(&self, now: DateTime<Utc>) -> Value {
        let matchers: Vec<Value> = self
            .matchers
            .iter()
            .map(|m| json!({"name": m.name, "value": m.value, "isRegex": m.is_regex, "isEqual": m.is_equal}))
            .collect();
        json!({"id": self.id, "matchers": matchers, "startsAt": stamp(self.starts), "endsAt": stamp(self.ends),
            "updatedAt": stamp(self.updated), "createdBy": self.by, "comment": self.comment,
            "status": {"state": self.state(now)}})
    }
}
