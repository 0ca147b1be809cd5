//! Label selectors: `matchLabels` and `matchExpressions`, matched as apimachinery matches them.

mod parse;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::label::Labels;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    /// An unknown operator. A selector with one matches nothing, and a plan that needs it says so.
    Unsupported,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Requirement {
    pub key: Name,
    pub operator: Operator,
    pub values: Box<[Name]>,
}

/// A selector. A nil selector in the API is [`Selector::nothing`]; an empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Selector {
    pub labels: Box<[(Name, Name)]>,
    pub expressions: Box<[Requirement]>,
    /// A nil selector: matches no object.
    pub nothing: bool,
}

impl Selector {
    pub fn nothing() -> Self {
        Self { nothing: true, ..Self::default() }
    }

    pub fn from_labels(labels: impl IntoIterator<Item = (Name, Name)>) -> Self {
        Self { labels: labels.into_iter().collect(), ..Self::default() }
    }

    /// Whether the selector matches an object with these labels.
    pub fn matches<'a>(&self, labels: impl Into<Labels<'a>>) -> bool {
        let labels = labels.into();
        let get = |key: &str| labels.get(key);
        !self.nothing
            && self.labels.iter().all(|(key, value)| get(key) == Some(value))
            && self.expressions.iter().all(|r| {
                let value = get(&r.key);
                match r.operator {
                    Operator::In => value.is_some_and(|v| r.values.contains(v)),
                    Operator::NotIn => value.is_none_or(|v| !r.values.contains(v)),
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                    Operator::Unsupported => false,
                }
            })
    }

    pub fn is_empty(&self) -> bool {
        !self.nothing && self.labels.is_empty() && self.expressions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_apimachinery_does() {
        let labels = [("app".into(), "a".into()), ("tier".into(), "web".into())];
        let with = |operator, values: &[&str]| Selector {
            expressions: [Requirement {
                key: "tier".into(),
                operator,
                values: values.iter().map(|v| Name::from(*v)).collect(),
            }]
            .into(),
            ..Selector::default()
        };
        assert!(Selector::default().matches(&labels));
        assert!(!Selector::nothing().matches(&labels));
        assert!(Selector::from_labels([("app".into(), "a".into())]).matches(&labels));
        assert!(!Selector::from_labels([("app".into(), "b".into())]).matches(&labels));
        assert!(with(Operator::In, &["web", "db"]).matches(&labels));
        assert!(!with(Operator::NotIn, &["web"]).matches(&labels));
        assert!(with(Operator::NotIn, &["web"]).matches(&[]), "NotIn holds where the key is absent");
        assert!(with(Operator::Exists, &[]).matches(&labels));
        assert!(!with(Operator::DoesNotExist, &[]).matches(&labels));
        assert!(!with(Operator::Unsupported, &[]).matches(&labels));
    }
}
