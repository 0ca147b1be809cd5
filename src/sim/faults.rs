//! Injected faults: which requests are throttled, refused, delayed, truncated or left hanging. Set with `/sim/faults`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rng::Random;

/// The kinds of faults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// 429 of API priority and fairness: plain text, with Retry-After.
    Throttle {
        #[serde(default = "one")]
        retry_after: u32,
    },
    /// A Status with this code.
    Status {
        code: u16,
        #[serde(default)]
        message: String,
    },
    /// A body that is not a Status.
    Plain { code: u16, body: String },
    /// The answer is delayed.
    Delay { ms: u64 },
    /// The connection ends without an answer, and the request is not applied.
    Disconnect,
    /// The connection ends without an answer after the request was applied.
    Lost,
    /// There is never an answer. To silence open watches, use `/sim/watches/stall`.
    Stall,
}

fn one() -> u32 {
    1
}

/// Which requests a fault affects. An empty list matches everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    pub id: u64,
    pub verbs: Vec<String>,
    /// `pods`, `pods/eviction`, `deployments`; with the group only if names clash (`pods.metrics.k8s.io`).
    pub resources: Vec<String>,
    pub namespaces: Vec<String>,
    pub names: Vec<String>,
    pub users: Vec<String>,
    pub fault: Option<Fault>,
    /// How many more requests it affects; `None`: until it is removed.
    pub times: Option<u32>,
    /// The probability that it affects a request; `None`: always.
    pub chance: Option<f64>,
}

/// The values of a request that a rule is matched against.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub plural: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub user: &'a str,
}

impl Rule {
    fn meets(&self, request: &Request<'_>) -> bool {
        let any = |list: &[String], have: &str| list.is_empty() || list.iter().any(|one| one == have);
        let resource = if request.subresource.is_empty() {
            request.plural.to_owned()
        } else {
            format!("{}/{}", request.plural, request.subresource)
        };
        let resources = self.resources.is_empty()
            || self
                .resources
                .iter()
                .any(|one| *one == resource || *one == format!("{resource}.{}", request.group));
        resources
            && any(&self.verbs, request.verb)
            && any(&self.namespaces, request.namespace)
            && any(&self.names, request.name)
            && any(&self.users, request.user)
    }
}

/// The faults that apply to a request: first the delay, then the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    pub delay: Duration,
    pub fault: Option<Fault>,
}

/// The rules in force. At most [`Faults::LIMIT`] of them.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<(u64, Vec<Rule>)>,
}

impl Faults {
    pub const LIMIT: usize = 256;

    fn with<T>(&self, f: impl FnOnce(&mut (u64, Vec<Rule>)) -> T) -> T {
        f(&mut self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a rule and returns its number; `None` if there are too many.
    pub fn add(&self, mut rule: Rule) -> Option<u64> {
        self.with(|(last, rules)| {
            if rules.len() >= Self::LIMIT {
                return None;
            }
            *last += 1;
            rule.id = *last;
            rules.push(rule);
            Some(*last)
        })
    }

    pub fn remove(&self, id: u64) -> bool {
        self.with(|(_, rules)| {
            let before = rules.len();
            rules.retain(|rule| rule.id != id);
            rules.len() != before
        })
    }

    pub fn clear(&self) {
        self.with(|(_, rules)| rules.clear());
    }

    pub fn list(&self) -> Vec<Rule> {
        self.with(|(_, rules)| rules.clone())
    }

    /// The faults that apply to this request. Delays add up; of other faults, the oldest rule applies.
    pub fn judge(&self, request: &Request<'_>, random: &Random) -> Verdict {
        self.with(|(_, rules)| {
            let mut verdict = Verdict::default();
            for rule in rules.iter_mut().filter(|rule| rule.times != Some(0) && rule.meets(request)) {
                if verdict.fault.is_some() && !matches!(rule.fault, Some(Fault::Delay { .. })) {
                    continue;
                }
                if rule.chance.is_some_and(|chance| random.unit() >= chance) {
                    continue;
                }
                match &rule.fault {
                    Some(Fault::Delay { ms }) => verdict.delay += Duration::from_millis(*ms),
                    other => verdict.fault.clone_from(other),
                }
                if let Some(times) = &mut rule.times {
                    *times -= 1;
                }
            }
            rules.retain(|rule| rule.times != Some(0));
            verdict
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_what_it_names_and_as_often_as_it_says() {
        let (faults, random) = (Faults::default(), Random::new(1));
        let rule =
            r#"{"verbs":["create"],"resources":["pods/eviction"],"fault":{"kind":"throttle"},"times":1}"#;
        faults.add(serde_json::from_str(rule).unwrap()).unwrap();
        faults.add(serde_json::from_str(r#"{"fault":{"kind":"delay","ms":5}}"#).unwrap()).unwrap();
        let mut request = Request {
            verb: "list",
            group: "",
            plural: "pods",
            subresource: "",
            namespace: "a",
            name: "",
            user: "u",
        };
        assert_eq!(faults.judge(&request, &random), Verdict { delay: Duration::from_millis(5), fault: None });
        request.verb = "create";
        request.subresource = "eviction";
        assert_eq!(faults.judge(&request, &random).fault, Some(Fault::Throttle { retry_after: 1 }));
        assert_eq!(faults.judge(&request, &random).fault, None);
        assert!(serde_json::from_str::<Rule>(r#"{"verb":["create"]}"#).is_err());
    }
}
