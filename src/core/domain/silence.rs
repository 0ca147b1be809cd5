//! Silences, which hide findings for a time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::ObjectRef;
use super::settings::glob;
use super::time::Stamp;

/// Hides the findings whose rule, namespace and name match, until it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// A glob for the rule.
    pub rule: String,
    /// A glob for the namespace of the finding's object; `*` also matches objects without one, such as nodes.
    pub namespace: String,
    /// A glob for the object's name.
    pub name: String,
    /// When it ends; None: never.
    pub until: Option<Stamp>,
    /// The reason that the user gave.
    pub reason: String,
    /// It was set in the console, and ends with the console.
    #[serde(default)]
    pub in_session: bool,
}

impl Silence {
    pub fn matches(&self, rule: &str, object: Option<&ObjectRef>) -> bool {
        let (namespace, name) = object.map_or(("", ""), |o| (o.namespace.as_str(), o.name.as_str()));
        glob(&self.rule, rule) && glob(&self.namespace, namespace) && glob(&self.name, name)
    }

    /// For example `until 2026-01-01T00:00:00Z: known`.
    pub fn words(&self) -> String {
        let until = match self.until {
            Some(until) => format!("until {}", Stamp(until.0 - until.0 % 1000)),
            None => "for good, by the config".into(),
        };
        let ends = if self.in_session { ", or until the console ends" } else { "" };
        if self.reason.is_empty() {
            format!("{until}{ends}")
        } else {
            format!("{until}{ends}: {}", self.reason)
        }
    }

    pub fn is_over(&self, now: Stamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} namespace {} name {}, {}", self.rule, self.namespace, self.name, self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ClusterId, Kind, Uid};

    #[test]
    fn by_rule_namespace_and_name() {
        let silence = |rule: &str, namespace: &str, name: &str| Silence {
            rule: rule.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Silence::default()
        };
        let web =
            ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &"web-1".into(), &Uid::default());
        let node = ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &"n1".into(), &Uid::default());
        for (silence, rule, object, want) in [
            (silence("not-ready", "shop", "web-*"), "not-ready", Some(&web), true),
            (silence("not-ready", "shop", "web-*"), "crash-loop", Some(&web), false),
            (silence("*", "shop", "*"), "crash-loop", Some(&web), true),
            (silence("*", "data", "*"), "crash-loop", Some(&web), false),
            (silence("node-*", "*", "n1"), "node-pressure", Some(&node), true),
            (silence("node-*", "shop", "n1"), "node-pressure", Some(&node), false),
            (silence("source", "*", "*"), "source", None, true),
        ] {
            assert_eq!(silence.matches(rule, object), want, "{silence:?} {rule}");
        }
        let hour = Silence { until: Some(Stamp(5)), ..silence("*", "*", "*") };
        assert!(!hour.is_over(Stamp(4)) && hour.is_over(Stamp(5)));
        let asked = Silence { until: Some(Stamp(1_999)), in_session: true, ..hour };
        assert_eq!(asked.words(), "until 1970-01-01T00:00:01Z, or until the console ends");
    }
}
