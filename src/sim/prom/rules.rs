//! Alerting rules, evaluated every 15 simulated seconds after the scrape: pending, firing, and sent to the
//! Alertmanager.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::eval::{eval, parse, vector};
use super::scrape::{EVERY, SharedTsdb};
use super::tsdb::{Labels, NAME, Open, Tsdb};
use crate::alerts::{Alertmanager, Told};
use crate::engine::Part;

/// One alerting rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub expr: String,
    /// How long the expression must hold before the alert fires.
    pub hold: Duration,
    pub labels: BTreeMap<String, String>,
    /// May contain `{{ $labels.NAME }}`, `{{ $value }}`, `{{ printf "%.4g" $value }}` and `{{ $value | humanizePercentage }}`.
    pub annotations: BTreeMap<String, String>,
}

fn rule(name: &str, expr: &str, hold: u64, severity: &str, summary: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        expr: expr.to_owned(),
        hold: Duration::from_secs(hold),
        labels: BTreeMap::from([("severity".to_owned(), severity.to_owned())]),
        annotations: BTreeMap::from([("summary".to_owned(), summary.to_owned())]),
    }
}

/// The rules that every cluster has.
pub fn built_in() -> Vec<Rule> {
    vec![
        rule(
            "KubePodCrashLooping",
            r#"max by (namespace, pod, container) (max_over_time(kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff"}[5m])) >= 1"#,
            60,
            "warning",
            "Pod {{ $labels.namespace }}/{{ $labels.pod }} ({{ $labels.container }}) is in waiting state (reason: CrashLoopBackOff).",
        ),
        rule(
            "KubeNodeNotReady",
            r#"max by (node) (kube_node_status_condition{condition="Ready",status="true"}) == 0"#,
            60,
            "warning",
            "{{ $labels.node }} has been unready for more than a minute.",
        ),
        rule(
            "HighErrorRatio",
            r#"sum by (namespace, service) (rate(http_requests_total{code=~"5.."}[2m])) / sum by (namespace, service) (rate(http_requests_total[2m])) > 0.05"#,
            60,
            "critical",
            "{{ $labels.namespace }}/{{ $labels.service }} fails {{ $value | humanizePercentage }} of its requests.",
        ),
        rule(
            "HighLatency",
            "histogram_quantile(0.95, sum by (namespace, service, le) (rate(http_request_duration_seconds_bucket[2m]))) > 0.5",
            60,
            "warning",
            "95 % of the requests to {{ $labels.namespace }}/{{ $labels.service }} take up to {{ printf \"%.4g\" $value }} s.",
        ),
        rule(
            "HpaMaxedOut",
            "max by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_current_replicas) >= max by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_spec_max_replicas)",
            300,
            "warning",
            "{{ $labels.namespace }}/{{ $labels.horizontalpodautoscaler }} has run at its maximum for 5 minutes.",
        ),
        rule(
            "TargetDown",
            "100 * (count by (namespace, service, job) (up == 0) / count by (namespace, service, job) (up)) > 10",
            120,
            "warning",
            "{{ printf \"%.4g\" $value }} % of the {{ $labels.job }} targets are down.",
        ),
    ]
}

/// One alert of a rule.
#[derive(Debug, Clone)]
pub struct Active {
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub value: f64,
    pub since: DateTime<Utc>,
    pub firing: bool,
    open: Option<Open>,
}

/// A rule with its current alerts.
#[derive(Debug)]
pub struct Held {
    pub rule: Rule,
    pub active: BTreeMap<Labels, Active>,
    /// When it was last evaluated, and the error.
    pub last: Option<DateTime<Utc>>,
    pub error: Option<String>,
}

/// The rules of one cluster. Clones share them.
#[derive(Debug, Clone)]
pub struct Rules(Arc<Mutex<Vec<Held>>>);

impl Rules {
    pub fn new(rules: Vec<Rule>) -> Self {
        let held = |rule| Held { rule, active: BTreeMap::new(), last: None, error: None };
        Self(Arc::new(Mutex::new(rules.into_iter().map(held).collect())))
    }

    pub fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number in the form of templates.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number with four digits that count.
fn four_digits(value: f64) -> String {
    let before = if value == 0.0 { 1.0 } else { value.abs().log10().floor() + 1.0 };
    let decimals = (4.0 - before).clamp(0.0, 9.0);
    let text = format!("{value:.*}", decimals as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn filled(template: &str, labels: &Labels, value: f64) -> String {
    let mut out = template
        .replace("{{ printf \"%.4g\" $value }}", &four_digits(value))
        .replace("{{ $value | humanizePercentage }}", &format!("{}%", short((value * 1e4).round() / 100.0)))
        .replace("{{ $value }}", &short(value));
    for (name, value) in labels.iter() {
        out = out.replace(&format!("{{{{ $labels.{name} }}}}"), value);
    }
    out
}

impl Held {
    fn evaluate(&mut self, db: &Tsdb, now: DateTime<Utc>) {
        self.last = Some(now);
        let found = parse(&self.rule.expr).and_then(|expr| vector(eval(db, &expr, now.timestamp_millis())?));
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.error = Some(error.to_string());
                return;
            }
        };
        self.error = None;
        let hold = TimeDelta::from_std(self.rule.hold).unwrap_or(TimeDelta::MAX);
        let mut old = std::mem::take(&mut self.active);
        for (seen, value) in found {
            let mut labels = seen.clone();
            labels.remove(NAME);
            for (name, value) in &self.rule.labels {
                labels.insert(name.as_str(), value.as_str());
            }
            labels.insert("alertname", self.rule.name.as_str());
            let mut one = old.remove(&labels).unwrap_or_else(|| Active {
                labels: labels.clone(),
                annotations: BTreeMap::new(),
                value,
                since: now,
                firing: false,
                open: None,
            });
            one.value = value;
            one.firing = one.firing || now - one.since >= hold;
            let texts = self.rule.annotations.iter();
            one.annotations = texts.map(|(name, text)| (name.clone(), filled(text, &seen, value))).collect();
            self.active.insert(labels, one);
        }
        // Kept for now, so that the caller can report them as resolved.
        for (labels, one) in old {
            self.active.insert(labels, Active { value: f64::NAN, ..one });
        }
    }
}

/// The part of the engine that evaluates the rules.
pub struct Ruler {
    rules: Rules,
    db: SharedTsdb,
    alertmanager: Alertmanager,
    last: Option<DateTime<Utc>>,
}

impl Ruler {
    pub fn new(rules: &Rules, db: &SharedTsdb, alertmanager: &Alertmanager) -> Self {
        Self { rules: rules.clone(), db: db.clone(), alertmanager: alertmanager.clone(), last: None }
    }

    fn evaluate(&self, now: DateTime<Utc>) {
        let mut rules = self.rules.lock();
        let mut told = Vec::new();
        let at = now.timestamp_millis();
        for held in rules.iter_mut() {
            held.evaluate(&self.db.read(), now);
            if held.error.is_some() {
                continue;
            }
            let mut db = self.db.write();
            held.active.retain(|_, one| {
                let over = one.value.is_nan();
                if one.firing {
                    told.push(Told {
                        labels: one.labels.clone(),
                        annotations: one.annotations.clone(),
                        since: one.since,
                        over: over.then_some(now),
                    });
                }
                let state = if one.firing { "firing" } else { "pending" };
                let mut labels = one.labels.clone();
                labels.insert(NAME, "ALERTS");
                labels.insert("alertstate", state);
                let open = db.open(labels);
                if let Some(before) = one.open.replace(open)
                    && (over || before != open)
                {
                    db.close(before, at);
                }
                if !over {
                    db.push(open, at, 1.0);
                }
                !over
            });
        }
        drop(rules);
        self.alertmanager.tell(told, now);
    }
}

impl Part for Ruler {
    fn name(&self) -> &'static str {
        "prometheus-rules"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let last = self.last.filter(|last| *last <= at);
        if let Some(last) = last
            && at - last < EVERY
        {
            return Some(last + EVERY);
        }
        self.last = Some(at);
        self.evaluate(at);
        Some(at + EVERY)
    }
}
