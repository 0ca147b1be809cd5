//! `[failover.NAME]`: the config's failover plans, which move traffic or load.

use std::ops::Range;

use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Pick, Standby, Watched, WeightShift};
use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::kinds::Purpose;
use pilothouse_core::policy::routes;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{nearest, texts};

/// The keys with their documentation. A plan's kind decides which of them it has.
const KEYS: [(&str, &str); 16] = [
    ("kind", "selector, weight, evacuate or standby"),
    (
        "in_context",
        "the context of the cluster that the plan is for, or a glob such as \"eu-*\" (default: the first cluster that is opened)",
    ),
    ("service", "selector: NAMESPACE/NAME of the Service whose selector changes"),
    (
        "from",
        "selector: the labels to replace, \"version=blue\"; weight, standby: the backend that traffic moves away from",
    ),
    ("to", "selector: the new labels; weight, standby: the backend that traffic moves to"),
    ("route", "weight, standby: httproute/NAMESPACE/NAME, virtualservice/… or traefikservice/…"),
    (
        "steps",
        "weight, standby: the share of `to` after each shift, in percent of both backends; ascending, [5, 25, 50, 100]",
    ),
    ("zone", "evacuate: the zone to drain"),
    ("pool", "evacuate: the pool to drain, instead of a zone"),
    ("nodes", "evacuate: the list of nodes to drain, instead of a zone"),
    ("context", "standby: the context of the other cluster"),
    ("workloads", "standby: [\"deploy/NAMESPACE/NAME\"], which both clusters have under the same name"),
    ("scale_down", "standby: true scales the workloads of this cluster to 0 at the end"),
    ("watch", "NAMESPACE/NAME of the Service whose error rate is watched"),
    ("max_error_percent", "stops above this error rate of the watched Service, in percent (default 5)"),
    ("soak_secs", "seconds to watch the Service after each shift (default 30)"),
];

/// A mistake in a plan: where it is, what it is, and what to do.
pub struct Wrong {
    pub span: Range<usize>,
    pub what: String,
    pub hint: String,
}

/// The TOML values of one plan, and the mistakes found in them.
struct Written<'a> {
    name: &'a str,
    table: &'a DeTable<'a>,
    plan_span: Range<usize>,
    wrong: Vec<Wrong>,
}

/// Reads one plan. A plan with mistakes is not used; the result is the list of its mistakes.
pub fn read(name: &str, value: &Spanned<DeValue<'_>>) -> Result<FailoverPlan, Vec<Wrong>> {
    let DeValue::Table(table) = value.get_ref() else {
        let what = format!("failover.{name} must be a section");
        return Err(vec![Wrong { span: value.span(), what, hint: format!("write [failover.{name}]") }]);
    };
    let mut written = Written { name, table, plan_span: value.span(), wrong: Vec::new() };
    written.unknown();
    let plan = written.plan();
    match plan {
        Some(plan) if written.wrong.is_empty() => Ok(plan),
        _ => Err(written.wrong),
    }
}

impl Written<'_> {
    fn unknown(&mut self) {
        for (key, _) in self.table {
            let word = key.get_ref().as_ref();
            if !KEYS.iter().any(|(known, _)| *known == word) {
                let hint = nearest(word, KEYS.iter().map(|(known, _)| *known));
                self.wrong.push(Wrong {
                    span: key.span(),
                    what: format!("unknown key {word:?} in [failover.{}]", self.name),
                    hint,
                });
            }
        }
    }

    fn value(&self, key: &str) -> Option<(&DeValue<'_>, Range<usize>)> {
        self.table.iter().find(|(k, _)| k.get_ref() == key).map(|(_, v)| (v.get_ref(), v.span()))
    }

    fn bad(&mut self, key: &str, what: &str) {
        let span = self.value(key).map_or(self.plan_span.clone(), |(_, span)| span);
        let hint = KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, doc)| doc);
        self.wrong.push(Wrong {
            span,
            what: format!("failover.{}.{key} {what}", self.name),
            hint: hint.to_owned(),
        });
    }

    fn text(&mut self, key: &str) -> Option<String> {
        if let (DeValue::String(text), _) = self.value(key)? {
            return Some(text.to_string());
        }
        self.bad(key, "must be a text in quotes");
        None
    }

    fn needed(&mut self, key: &str) -> Option<String> {
        if self.value(key).is_none() {
            self.bad(key, "is missing");
            return None;
        }
        self.text(key)
    }

    fn number(&mut self, key: &str, default: u32, max: u32) -> u32 {
        let Some((value, _)) = self.value(key) else { return default };
        let number = match value {
            DeValue::Integer(n) => u32::from_str_radix(n.as_str(), n.radix()).ok().filter(|n| *n <= max),
            _ => None,
        };
        number.unwrap_or_else(|| {
            self.bad(key, &format!("must be a number from 0 to {max}"));
            default
        })
    }

    /// `NAMESPACE/NAME`
    fn pair(&mut self, key: &str, text: &str) -> Option<(Name, Name)> {
        match text.split_once('/') {
            Some((ns, name)) if !ns.is_empty() && !name.is_empty() && !name.contains('/') => {
                Some((ns.into(), name.into()))
            }
            _ => {
                self.bad(key, "must be NAMESPACE/NAME");
                None
            }
        }
    }

    /// `key=value,key=value`
    fn labels(&mut self, key: &str) -> Option<Vec<(Name, Name)>> {
        let text = self.needed(key)?;
        let labels: Option<Vec<(Name, Name)>> = text
            .split(',')
            .map(|pair| pair.split_once('=').map(|(k, v)| (k.trim().into(), v.trim().into())))
            .collect();
        if labels.is_none() {
            self.bad(key, "must be labels, key=value");
        }
        labels
    }

    fn plan(&mut self) -> Option<FailoverPlan> {
        let kind = match self.needed("kind")?.as_str() {
            "selector" => self.selector(),
            "weight" => self.weight().map(FailoverKind::Weight),
            "evacuate" => self.pick().map(FailoverKind::Evacuate),
            "standby" => self.standby(),
            _ => {
                self.bad("kind", "is unknown");
                None
            }
        }?;
        let max_error_percent = f64::from(self.number("max_error_percent", 5, 100));
        let watched = match self.text("watch") {
            Some(text) => {
                let (namespace, service) = self.pair("watch", &text)?;
                Some(Watched { namespace, service, max_error_percent })
            }
            None => None,
        };
        Some(FailoverPlan {
            name: self.name.into(),
            kind,
            watched,
            soak_secs: self.number("soak_secs", 30, 3600),
            suggested: false,
            in_context: self.text("in_context").unwrap_or_default(),
        })
    }

    fn selector(&mut self) -> Option<FailoverKind> {
        let service = self.needed("service")?;
        let (namespace, service) = self.pair("service", &service)?;
        let (from, to) = (self.labels("from")?, self.labels("to")?);
        Some(FailoverKind::Selector { namespace, service, from, to })
    }

    fn weight(&mut self) -> Option<WeightShift> {
        let route = self.needed("route")?;
        let parts: Vec<&str> = route.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [kind, namespace, name] => (routes::kind(kind), *namespace, *name),
            _ => (None, "", ""),
        };
        let Some(kind) = kind else {
            self.bad("route", "must be KIND/NAMESPACE/NAME");
            return None;
        };
        let steps = match self.value("steps") {
            None => vec![5, 25, 50, 100],
            Some((DeValue::Array(items), _)) => items
                .iter()
                .filter_map(|item| match item.get_ref() {
                    DeValue::Integer(n) => {
                        u8::from_str_radix(n.as_str(), n.radix()).ok().filter(|n| *n <= 100)
                    }
                    _ => None,
                })
                .collect(),
            Some(_) => Vec::new(),
        };
        let written = match self.value("steps") {
            Some((DeValue::Array(items), _)) => items.len(),
            _ => steps.len(),
        };
        if steps.is_empty() || written != steps.len() || !steps.is_sorted_by(|a, b| a < b) {
            self.bad("steps", "must be ascending percentages, 0 to 100");
        }
        Some(WeightShift {
            kind,
            namespace: namespace.into(),
            route: name.into(),
            from: self.needed("from")?.into(),
            to: self.needed("to")?.into(),
            steps,
        })
    }

    fn pick(&mut self) -> Option<Pick> {
        if let Some(zone) = self.text("zone") {
            return Some(Pick::Zone(zone.into()));
        }
        if let Some(pool) = self.text("pool") {
            return Some(Pick::Pool(pool.into()));
        }
        let nodes = self.value("nodes").and_then(|(value, _)| texts(value)).unwrap_or_default();
        if nodes.is_empty() {
            self.bad("zone", "or pool or nodes is missing");
            return None;
        }
        Some(Pick::Nodes(nodes.into_iter().map(Name::from).collect()))
    }

    fn standby(&mut self) -> Option<FailoverKind> {
        let context = self.needed("context")?;
        let listed = self.value("workloads").and_then(|(value, _)| texts(value)).unwrap_or_default();
        let workloads: Option<Vec<(Kind, Name, Name)>> = listed
            .iter()
            .map(|text| match text.split('/').collect::<Vec<_>>().as_slice() {
                [kind, namespace, name] => {
                    let kind = Kind::from_word(kind)?;
                    // a ReplicaSet can be scaled too, and has no rollout to wait for
                    (kind.takes(Purpose::Scale) && kind.takes(Purpose::Restart))
                        .then(|| (kind, Name::from(*namespace), Name::from(*name)))
                }
                _ => None,
            })
            .collect();
        let workloads = workloads.filter(|w| !w.is_empty());
        if workloads.is_none() {
            self.bad("workloads", "must be a list of deploy/NAMESPACE/NAME or sts/NAMESPACE/NAME");
        }
        let shift = if self.value("route").is_some() { Some(self.weight()?) } else { None };
        let scale_down = match self.value("scale_down") {
            None => false,
            Some((DeValue::Boolean(on), _)) => *on,
            Some(_) => {
                self.bad("scale_down", "must be true or false");
                false
            }
        };
        if scale_down && shift.is_none() {
            self.bad("scale_down", "needs a route: otherwise it is not known when the traffic has moved");
        }
        Some(FailoverKind::Standby(Standby {
            context: context.into(),
            workloads: workloads?,
            shift,
            scale_down,
        }))
    }
}

/// The part of the example file about plans, as comments, because there is no plan by default.
pub fn example() -> String {
    let mut out = String::from(
        "\n# [failover.NAME]: a way to move traffic or load, run with F or `pilothouse failover NAME`\n",
    );
    for (key, doc) in KEYS {
        out.push_str(&format!("#   {key}: {doc}\n"));
    }
    out.push_str(
        "#\n# [failover.checkout-green]\n# kind = \"selector\"\n# service = \"shop/checkout\"\n# from = \"version=blue\"\n# to = \"version=green\"\n# watch = \"shop/checkout\"\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::check::check;
    use super::*;

    #[test]
    fn the_kinds() {
        let text = r#"
[failover.green]
kind = "selector"
service = "shop/checkout"
from = "version=blue"
to = "version=green"
watch = "shop/checkout"
max_error_percent = 2
[failover.canary]
kind = "weight"
in_context = "eu-*"
route = "httproute/shop/checkout"
from = "v1"
to = "v2"
steps = [10, 100]
soak_secs = 5
[failover.b]
kind = "evacuate"
zone = "zone-b"
[failover.dr]
kind = "standby"
context = "dr"
workloads = ["deploy/shop/checkout"]
route = "httproute/shop/entry"
from = "checkout"
to = "checkout-standby"
scale_down = true
"#;
        let checked = check(text, Path::new("c"));
        assert_eq!(checked.problems, []);
        let plans = checked.settings.failover;
        assert_eq!(plans.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["green", "canary", "b", "dr"]);
        assert!((plans[0].watched.as_ref().unwrap().max_error_percent - 2.0).abs() < f64::EPSILON);
        assert_eq!([&plans[0].in_context, &plans[1].in_context], ["", "eu-*"]);
        let FailoverKind::Weight(shift) = &plans[1].kind else { panic!("{:?}", plans[1]) };
        assert_eq!((shift.steps.as_slice(), plans[1].soak_secs), ([10, 100].as_slice(), 5));
    }

    #[test]
    fn each_mistake_has_a_line_and_a_hint() {
        let text = "[failover.a]\nkind = \"weight\"\nroute = \"ingress/x/y\"\n[failover.b]\nkind = \"selector\"\nservice = \"checkout\"\nfrm = 1\n";
        let checked = check(text, Path::new("c"));
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 3, "{problems:#?}");
        assert!(problems[0].starts_with("c:3: failover.a.route must be KIND/NAMESPACE/NAME"), "{problems:?}");
        assert!(problems[1].starts_with("c:6: failover.b.service must be NAMESPACE/NAME"), "{problems:?}");
        assert!(
            problems[2].contains("unknown key \"frm\" in [failover.b] (did you mean \"from\"?)"),
            "{problems:?}"
        );
        assert!(checked.settings.failover.is_empty());
        assert!(!checked.unsafe_to_write);
    }
}
