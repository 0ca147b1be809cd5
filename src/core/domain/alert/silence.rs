//! Silences of an Alertmanager: which alerts they hide, and until when.

use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::domain::id::Name;
use crate::domain::time::Stamp;

/// One condition on a label. A label that an alert does not have counts as an empty one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Matcher {
    pub name: Name,
    pub value: Name,
    /// The value is a regular expression for the whole value of the label.
    #[serde(default)]
    pub is_regex: bool,
    /// False: the condition is that the value does not match.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Matcher {
    /// The label has this value.
    pub fn equal(name: &Name, value: &Name) -> Self {
        Self { name: name.clone(), value: value.clone(), is_regex: false, is_equal: true }
    }

    /// Whether the matcher accepts the labels, or `None` if its regular expression cannot be read here.
    pub fn accepts(&self, labels: &[(Name, Name)]) -> Option<bool> {
        let value =
            labels.iter().find(|(name, _)| *name == self.name).map_or("", |(_, value)| value.as_str());
        let same = if self.is_regex {
            Regex::new(&format!("^(?s:{})$", self.value)).ok()?.is_match(value)
        } else {
            self.value == value
        };
        Some(same == self.is_equal)
    }
}

impl fmt::Display for Matcher {
    /// Writes `namespace="shop"`, as amtool reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match (self.is_regex, self.is_equal) {
            (false, true) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (true, false) => "!~",
        };
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "{}{operator}\"{value}\"", self.name)
    }
}

/// Whether a silence hides alerts now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SilenceState {
    #[default]
    Active,
    /// It begins later.
    Pending,
    Expired,
}

impl SilenceState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }

    /// Reads the word of the API. An unknown one counts as expired, because it hides nothing that is known.
    pub fn parse(word: &str) -> Self {
        [Self::Active, Self::Pending]
            .into_iter()
            .find(|state| state.as_str() == word)
            .unwrap_or(Self::Expired)
    }
}

/// A silence of an Alertmanager. All texts are cleaned for display.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertSilence {
    pub id: Name,
    /// Alerts that all of them accept are hidden.
    pub matchers: Vec<Matcher>,
    pub author: Name,
    pub comment: Name,
    pub starts: Stamp,
    pub ends: Stamp,
    pub state: SilenceState,
}

impl AlertSilence {
    /// Returns the matchers as amtool writes them: `{alertname="Full", namespace="shop"}`.
    pub fn words(&self) -> String {
        words(&self.matchers)
    }
}

/// Returns matchers as amtool writes them.
pub(super) fn words(matchers: &[Matcher]) -> String {
    let all: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_accept_what_an_alertmanager_accepts() {
        let labels: [(Name, Name); 2] = [("a".into(), "x1".into()), ("b".into(), "".into())];
        let matcher = |name: &str, value: &str, is_regex, is_equal| Matcher {
            name: name.into(),
            value: value.into(),
            is_regex,
            is_equal,
        };
        for (one, want, text) in [
            (matcher("a", "x1", false, true), Some(true), r#"a="x1""#),
            (matcher("a", "x", false, true), Some(false), r#"a="x""#),
            (matcher("a", "x", true, true), Some(false), r#"a=~"x""#),
            (matcher("a", "x.", true, true), Some(true), r#"a=~"x.""#),
            (matcher("a", "y|z", true, false), Some(true), r#"a!~"y|z""#),
            (matcher("b", "", false, true), Some(true), r#"b="""#),
            (matcher("absent", "", false, true), Some(true), r#"absent="""#),
            (matcher("absent", "v", false, false), Some(true), r#"absent!="v""#),
            (matcher("a", "(", true, true), None, r#"a=~"(""#),
            (matcher("a", "q\"\\", false, true), Some(false), r#"a="q\"\\""#),
        ] {
            assert_eq!((one.accepts(&labels), one.to_string().as_str()), (want, text));
        }
    }

    #[test]
    fn states_are_read_as_the_api_writes_them() {
        for state in [SilenceState::Active, SilenceState::Pending, SilenceState::Expired] {
            assert_eq!(SilenceState::parse(state.as_str()), state);
        }
        assert_eq!(SilenceState::parse("?"), SilenceState::Expired);
    }
}
