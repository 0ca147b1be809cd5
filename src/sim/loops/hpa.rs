//! Horizontal pod autoscalers: every 15 s they set the replicas that their metrics need, within their limits and
//! policies.

mod count;
mod pace;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::doc::{Condition, after, int, list, put, quantity, set_condition, text, write_status};
use super::events::Recorder;
use super::feed::{Feed, News, Queue};
use crate::clock::stamp;
use crate::engine::Part;
use crate::resources::Res;
use crate::selector::Labels;
use crate::store::{Key, Object, Scope, Store, Write};
use crate::usage::Meter;
use count::{Aim, Proposal};
use pace::Memory;

const NAME: &str = "horizontal-pod-autoscaler";
const MANAGER: &str = "kube-controller-manager";
const PERIOD: TimeDelta = TimeDelta::seconds(15);

#[derive(Debug)]
pub(super) struct Hpas {
    store: Store,
    usage: Arc<Meter>,
    recorder: Recorder,
    hpas: Feed,
    memory: BTreeMap<Key, Memory>,
    queue: Queue<Key>,
}

/// One metric of an autoscaler.
struct Metric {
    resource: String,
    container: Option<String>,
    aim: Option<Aim>,
    field: &'static str,
}

impl Metric {
    fn of(spec: &Value) -> Option<Self> {
        let field = match text(spec, "type") {
            "Resource" => "resource",
            "ContainerResource" => "containerResource",
            _ => return None,
        };
        let inner = spec.get(field)?;
        let target = inner.get("target")?;
        let aim = match text(target, "type") {
            "Utilization" => Some(Aim::Utilization(int(target, "averageUtilization"))),
            "AverageValue" => Some(Aim::Average(quantity(target.get("averageValue")?))),
            _ => None,
        };
        let container = inner.get("container").and_then(Value::as_str).map(str::to_owned);
        Some(Self { resource: text(inner, "name").to_owned(), container, aim, field })
    }

    /// Its name in events.
    fn title(&self) -> String {
        let kind = if self.container.is_some() { "container resource" } else { "resource" };
        match self.aim {
            Some(Aim::Utilization(_)) => {
                format!("{} {kind} utilization (percentage of request)", self.resource)
            }
            _ => format!("{} {kind}", self.resource),
        }
    }

    fn reason(&self) -> &'static str {
        if self.container.is_some() { "FailedGetContainerResourceMetric" } else { "FailedGetResourceMetric" }
    }

    fn status(&self, proposal: Proposal) -> Value {
        let average = if self.resource == "cpu" {
            format!("{}m", proposal.average)
        } else {
            (proposal.average / 1000).to_string()
        };
        let mut current = json!({"averageValue": average});
        if let Some(percent) = proposal.utilization {
            put(&mut current, &["averageUtilization"], json!(percent));
        }
        let mut inner = json!({"name": self.resource, "current": current});
        if let Some(container) = &self.container {
            put(&mut inner, &["container"], json!(container));
        }
        let kind = if self.container.is_some() { "ContainerResource" } else { "Resource" };
        json!({"type": kind, self.field: inner})
    }
}

/// An autoscaler that is being processed.
struct Work {
    hpa: Arc<Object>,
    status: Value,
    conditions: Vec<Value>,
    at: DateTime<Utc>,
}

impl Work {
    fn set(&mut self, kind: &str, status: &str, (reason, message): (&str, &str)) {
        set_condition(&mut self.conditions, Condition::new(kind, status, reason, message), self.at);
    }
}

impl Hpas {
    pub(super) fn new(store: &Store, usage: &Arc<Meter>, recorder: &Recorder) -> Self {
        Self {
            store: store.clone(),
            usage: usage.clone(),
            recorder: recorder.clone(),
            hpas: Feed::new(store, Res::Hpas),
            memory: BTreeMap::new(),
            queue: Queue::default(),
        }
    }

    fn sync(&mut self, key: &Key, at: DateTime<Utc>) {
        let Some(hpa) = self.store.get(Res::Hpas, &key.namespace, &key.name) else { return };
        let conditions = list(&hpa.value, "/status/conditions").to_vec();
        let mut work = Work { status: hpa.at("/status").clone(), hpa, conditions, at };
        self.decide(key, &mut work);
        let Work { hpa, mut status, conditions, .. } = work;
        put(&mut status, &["conditions"], json!(conditions));
        write_status(&self.store, &hpa, MANAGER, status);
    }

    fn target(&self, hpa: &Object) -> Option<Arc<Object>> {
        let reference = hpa.at("/spec/scaleTargetRef");
        let res = Res::of_kind(text(reference, "apiVersion"), text(reference, "kind"))?;
        let found = self.store.get(res, hpa.namespace(), text(reference, "name"))?;
        res.info().has("scale").then_some(found)
    }

    fn decide(&mut self, key: &Key, work: &mut Work) {
        let hpa = work.hpa.clone();
        let at = work.at;
        let Some(target) = self.target(&hpa) else {
            let reference = hpa.at("/spec/scaleTargetRef");
            let name = text(reference, "name");
            let plural = format!("{}s", text(reference, "kind").to_lowercase());
            let why = format!(
                "the HPA controller was unable to get the target's current scale: {plural}.apps \"{name}\" not found"
            );
            work.set("AbleToScale", "False", ("FailedGetScale", &why));
            self.recorder.warning(
                &hpa,
                NAME,
                "FailedGetScale",
                &format!("{plural}.apps \"{name}\" not found"),
            );
            put(&mut work.status, &["desiredReplicas"], json!(0));
            return;
        };
        work.set(
            "AbleToScale",
            "True",
            ("SucceededGetScale", "the HPA controller was able to get the target's current scale"),
        );
        let current = target.int("/spec/replicas").unwrap_or(1);
        let (min, max) =
            (hpa.int("/spec/minReplicas").unwrap_or(1), hpa.int("/spec/maxReplicas").unwrap_or(1));
        put(&mut work.status, &["currentReplicas"], if current > 0 { json!(current) } else { Value::Null });
        if current == 0 && min != 0 {
            let why = "scaling is disabled since the replica count of the target is zero";
            work.set("ScalingActive", "False", ("ScalingDisabled", why));
            put(&mut work.status, &["desiredReplicas"], json!(0));
            return;
        }
        let (wanted, why) = if current > max {
            (max, "Current number of replicas above Spec.MaxReplicas".to_owned())
        } else if current < min {
            (min, "Current number of replicas below Spec.MinReplicas".to_owned())
        } else {
            let Some((proposed, title)) = self.measure(&hpa, &target, work, current) else { return };
            let behavior = hpa.at("/spec/behavior").clone();
            let memory = self.memory.entry(key.clone()).or_default();
            memory.forget(at);
            let (stable, held) = memory.stabilize(&behavior, current, proposed, at);
            let ready = ("ReadyForNewScale", "recommended size matches current size");
            work.set("AbleToScale", "True", held.unwrap_or(ready));
            let (wanted, limited) = memory.limit(&behavior, current, stable, (min, max), at);
            let in_range = ("DesiredWithinRange", "the desired count is within the acceptable range");
            work.set(
                "ScalingLimited",
                if limited.is_some() { "True" } else { "False" },
                limited.unwrap_or(in_range),
            );
            let why = if proposed > current {
                format!("{title} above target")
            } else {
                "All metrics below target".to_owned()
            };
            (wanted, why)
        };
        put(&mut work.status, &["desiredReplicas"], json!(wanted));
        if wanted != current {
            self.rescale(key, work, &target, (current, wanted), &why);
        }
    }

    /// The largest proposal of all metrics, with the name of its metric; `None` if it cannot be computed.
    fn measure(&self, hpa: &Object, target: &Object, work: &mut Work, current: i64) -> Option<(i64, String)> {
        let selector = Labels::of(target.at("/spec/selector"));
        let pods = self.store.list_by_label(Res::Pods, Some(target.namespace()), &selector);
        let mut best: Option<(i64, String)> = None;
        let mut failed: Option<(&'static str, String)> = None;
        let mut shown = Vec::new();
        for spec in list(&hpa.value, "/spec/metrics") {
            let proposal = match Metric::of(spec) {
                None => Err((
                    "InvalidMetricSourceType",
                    format!("unknown metric source type \"{}\"", text(spec, "type")),
                )),
                Some(metric) => match self.propose(hpa, &metric, &pods, current) {
                    Ok(proposal) => Ok((metric, proposal)),
                    Err(why) => Err((metric.reason(), why)),
                },
            };
            match proposal {
                Ok((metric, proposal)) => {
                    shown.push(metric.status(proposal));
                    if best.as_ref().is_none_or(|(n, _)| proposal.replicas > *n) {
                        best = Some((proposal.replicas, metric.title()));
                    }
                }
                Err((reason, why)) => {
                    shown.push(json!({"type": ""}));
                    self.recorder.warning(hpa, NAME, reason, &why);
                    failed.get_or_insert((reason, why));
                }
            }
        }
        put(&mut work.status, &["currentMetrics"], if shown.is_empty() { Value::Null } else { json!(shown) });
        let down = best.as_ref().is_none_or(|(n, _)| *n < current);
        if let Some((reason, why)) = failed.filter(|_| down) {
            let message = format!("the HPA was unable to compute the replica count: {why}");
            work.set("ScalingActive", "False", (reason, &message));
            let message =
                format!("invalid metrics (1 invalid out of {}), first error is: {why}", shown.len());
            self.recorder.warning(hpa, NAME, "FailedComputeMetricsReplicas", &message);
            return None;
        }
        let (n, title) = best?;
        let message = format!("the HPA was able to successfully calculate a replica count from {title}");
        work.set("ScalingActive", "True", ("ValidMetricFound", &message));
        Some((n, title))
    }

    fn propose(
        &self,
        hpa: &Object,
        metric: &Metric,
        pods: &[Arc<Object>],
        current: i64,
    ) -> Result<Proposal, String> {
        let resource = metric.resource.as_str();
        let container = metric.container.as_deref();
        let prefix = match metric.aim {
            Some(Aim::Utilization(_)) => format!("failed to get {resource} utilization: "),
            _ => format!("failed to get {resource} usage: "),
        };
        let aim = metric.aim.ok_or("invalid metric target")?;
        let classes = count::classify(&*self.usage, pods, resource, container, self.store.clock().now());
        if !classes.measured {
            return Err(format!(
                "{prefix}unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
            ));
        }
        let requests = match aim {
            Aim::Utilization(_) => {
                count::requests(pods, resource, container).map_err(|why| format!("{prefix}{why}"))?
            }
            Aim::Average(_) => BTreeMap::new(),
        };
        if classes.ready.is_empty() {
            return Err(format!("{prefix}did not receive metrics for targeted pods (pods might be unready)"));
        }
        let tolerance = |side: &str| {
            let own = hpa.at("/spec/behavior").get(side).and_then(|side| side.get("tolerance"));
            own.map_or(0.1, |own| quantity(own) as f64 / 1000.0)
        };
        Ok(count::propose(&classes, &requests, aim, current, (tolerance("scaleDown"), tolerance("scaleUp"))))
    }

    fn rescale(
        &mut self,
        key: &Key,
        work: &mut Work,
        target: &Object,
        (current, wanted): (i64, i64),
        why: &str,
    ) {
        let mut how = Write::by(MANAGER).if_uid(Some(target.uid()));
        how.scope = Scope::Main;
        how.subresource = Some("scale");
        let scaled = self.store.write(target.res, target.namespace(), target.name(), &how, |value| {
            put(value, &["spec", "replicas"], json!(wanted));
            Ok(())
        });
        if let Err(failure) = scaled {
            let message = format!("New size: {wanted}; reason: {why}; error: {}", failure.message);
            self.recorder.warning(&work.hpa, NAME, "FailedRescale", &message);
            let message =
                format!("the HPA controller was unable to update the target scale: {}", failure.message);
            work.set("AbleToScale", "False", ("FailedUpdateScale", &message));
            return;
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        work.set("AbleToScale", "True", ("SucceededRescale", &message));
        self.recorder.normal(
            &work.hpa,
            NAME,
            "SuccessfulRescale",
            &format!("New size: {wanted}; reason: {why}"),
        );
        put(&mut work.status, &["lastScaleTime"], json!(stamp(work.at)));
        let memory = self.memory.entry(key.clone()).or_default();
        if wanted > current {
            memory.ups.push((work.at, wanted - current));
        } else {
            memory.downs.push((work.at, current - wanted));
        }
    }
}

impl Part for Hpas {
    fn name(&self) -> &'static str {
        "autoscalers"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        for news in self.hpas.read() {
            match news {
                News::Reset => {}
                // An existing one keeps its schedule.
                News::Now(hpa, None) => self.queue.mark(hpa.key()),
                News::Now(..) => {}
                News::Gone(hpa) => {
                    self.queue.forget(&hpa.key());
                    self.memory.remove(&hpa.key());
                }
            }
        }
        for key in self.queue.take(at) {
            self.sync(&key, at);
            self.queue.set(key, Some(after(at, PERIOD)));
        }
        self.queue.next()
    }
}
