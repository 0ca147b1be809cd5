//! Disruption budgets: how many disruptions are allowed now. The API server debits a budget at an eviction; this loop
//! computes the budgets again, and returns a debit that led to no disruption.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::doc::{Condition, after, is_ready, list, map_of, put, set_condition, share, text, write_status};
use super::events::Recorder;
use super::feed::{Feed, News, Queue, sooner};
use super::members::Members;
use crate::clock::parse;
use crate::engine::Part;
use crate::resources::Res;
use crate::selector::Labels;
use crate::store::{Key, Object, Store};

const NAME: &str = "controllermanager";
const MANAGER: &str = "kube-controller-manager";
/// A pod counts as disrupted for this long after its eviction was allowed.
const DISRUPTED: TimeDelta = TimeDelta::minutes(2);

#[derive(Debug)]
pub(super) struct Budgets {
    store: Store,
    recorder: Recorder,
    budgets: Feed,
    pods: Feed,
    /// Percentages refer to the sizes of these.
    owners: Vec<Feed>,
    members: Members,
    queue: Queue<Key>,
}

/// The desired number of pods, and how many of them must be healthy.
struct Plan {
    expected: i64,
    desired: i64,
}

impl Budgets {
    pub(super) fn new(store: &Store, recorder: &Recorder) -> Self {
        let owners = [Res::Deployments, Res::ReplicaSets, Res::StatefulSets];
        Self {
            store: store.clone(),
            recorder: recorder.clone(),
            budgets: Feed::new(store, Res::Pdbs),
            pods: Feed::new(store, Res::Pods),
            owners: owners.into_iter().map(|res| Feed::new(store, res)).collect(),
            members: Members::default(),
            queue: Queue::default(),
        }
    }

    fn listen(&mut self) {
        for news in self.budgets.read() {
            match news {
                News::Reset => {}
                News::Now(budget, _) => {
                    let key = budget.key();
                    self.members.set(&self.store, &key, Labels::of(budget.at("/spec/selector")));
                    self.queue.mark(key);
                }
                News::Gone(budget) => {
                    self.members.forget(&budget.key());
                    self.queue.forget(&budget.key());
                }
            }
        }
        self.members.pods(self.pods.read(), &mut self.queue);
        for feed in &mut self.owners {
            for news in feed.read() {
                if let News::Now(now, Some(before)) = news
                    && now.at("/spec/replicas") != before.at("/spec/replicas")
                {
                    for budget in self.store.list(Res::Pdbs, Some(now.namespace())) {
                        self.queue.mark(budget.key());
                    }
                }
            }
        }
    }

    /// The controller of a pod: its UID and its desired number of pods.
    fn scale(&self, pod: &Object) -> Result<Option<(String, i64)>, String> {
        let Some(owner) = pod.controller() else { return Ok(None) };
        let find = |owner: &Value| self.store.by_uid(text(owner, "uid"));
        let Some(mut found) = find(owner) else {
            return Ok(None);
        };
        if found.res == Res::ReplicaSets
            && let Some(above) = found.controller().and_then(find)
        {
            found = above;
        }
        if found.res.info().has("scale") {
            return Ok(Some((found.uid().to_owned(), found.int("/spec/replicas").unwrap_or(1))));
        }
        let info = found.res.info();
        Err(format!("{} does not implement the scale subresource", info.qualified()))
    }

    fn expected(&self, pods: &[Arc<Object>], unmanaged: &mut Vec<String>) -> Result<i64, String> {
        let mut scales = BTreeMap::new();
        for pod in pods {
            match self.scale(pod)? {
                Some((uid, n)) => {
                    scales.insert(uid, n);
                }
                None => unmanaged.push(pod.name().to_owned()),
            }
        }
        Ok(scales.values().sum())
    }

    fn plan(
        &self,
        budget: &Object,
        pods: &[Arc<Object>],
        unmanaged: &mut Vec<String>,
    ) -> Result<Plan, String> {
        let (min, max) = (budget.at("/spec/minAvailable"), budget.at("/spec/maxUnavailable"));
        if !max.is_null() {
            let expected = self.expected(pods, unmanaged)?;
            let gone = share(max, expected, true).ok_or("maxUnavailable cannot be read")?;
            return Ok(Plan { expected, desired: (expected - gone).max(0) });
        }
        if let Some(n) = min.as_i64() {
            return Ok(Plan { expected: pods.len() as i64, desired: n });
        }
        if min.is_null() {
            return Ok(Plan { expected: pods.len() as i64, desired: 0 });
        }
        let expected = self.expected(pods, unmanaged)?;
        Ok(Plan { expected, desired: share(min, expected, true).ok_or("minAvailable cannot be read")? })
    }

    fn sync(&self, key: &Key, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let budget = self.store.get(Res::Pdbs, &key.namespace, &key.name)?;
        let mut pods = self.members.of(&self.store, key);
        pods.retain(|pod| !super::doc::is_finished(pod));
        let mut status = budget.at("/status").clone();
        let mut conditions = list(&budget.value, "/status/conditions").to_vec();
        let mut unmanaged = Vec::new();
        let plan = match self.plan(&budget, &pods, &mut unmanaged) {
            Ok(plan) => plan,
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.recorder.warning(&budget, NAME, "CalculateExpectedPodCountFailed", &message);
                let failed = Condition::new("DisruptionAllowed", "False", "SyncFailed", &why);
                set_condition(&mut conditions, failed, at);
                put(&mut status, &["disruptionsAllowed"], json!(0));
                put(&mut status, &["conditions"], json!(conditions));
                write_status(&self.store, &budget, MANAGER, status);
                return None;
            }
        };
        if !unmanaged.is_empty() {
            let names = unmanaged.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" ");
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As \
                a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To \
                account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value. Pods: [{names}]",
                Labels::of(budget.at("/spec/selector"))
            );
            self.recorder.warning(&budget, NAME, "UnmanagedPods", &message);
        }
        if pods.is_empty() {
            self.recorder.normal(&budget, NAME, "NoPods", "No matching pods found");
        }
        let (disrupted, next) = self.disrupted(&budget, &pods, at);
        let healthy = pods
            .iter()
            .filter(|pod| is_ready(pod) && !pod.is_terminating() && !disrupted.contains_key(pod.name()))
            .count() as i64;
        let allowed = if plan.expected > 0 { (healthy - plan.desired).max(0) } else { 0 };
        let condition = if allowed > 0 {
            Condition::new("DisruptionAllowed", "True", "SufficientPods", "")
        } else {
            Condition::new("DisruptionAllowed", "False", "InsufficientPods", "")
        };
        set_condition(&mut conditions, condition, at);
        for one in &mut conditions {
            put(one, &["observedGeneration"], json!(budget.generation()));
            if one.get("message").is_none() {
                put(one, &["message"], json!(""));
            }
        }
        for (field, value) in [
            ("disruptionsAllowed", json!(allowed)),
            ("currentHealthy", json!(healthy)),
            ("desiredHealthy", json!(plan.desired)),
            ("expectedPods", json!(plan.expected)),
            ("observedGeneration", json!(budget.generation())),
            ("disruptedPods", if disrupted.is_empty() { Value::Null } else { Value::Object(disrupted) }),
            ("conditions", json!(conditions)),
        ] {
            put(&mut status, &[field], value);
        }
        // An eviction may have debited the budget since it was read: then it is computed again from the new version.
        let version = budget.text("/metadata/resourceVersion").to_owned();
        let how =
            crate::store::Write::by(MANAGER).status().if_uid(Some(budget.uid())).if_version(Some(&version));
        let written = self.store.write(Res::Pdbs, budget.namespace(), budget.name(), &how, |value| {
            put(value, &["status"], status);
            Ok(())
        });
        if written.is_err() { Some(at) } else { next }
    }

    /// The pods with an allowed eviction that are not yet marked as disrupted, and when the first of them is forgotten.
    fn disrupted(
        &self,
        budget: &Object,
        pods: &[Arc<Object>],
        at: DateTime<Utc>,
    ) -> (Map<String, Value>, Option<DateTime<Utc>>) {
        let mut out = Map::new();
        let mut next = None;
        for (name, since) in map_of(&budget.value, "/status/disruptedPods") {
            let Some(pod) = pods.iter().find(|pod| pod.name() == name && !pod.is_terminating()) else {
                continue;
            };
            let due = since.as_str().and_then(parse).map(|since| after(since, DISRUPTED));
            match due {
                Some(due) if due > at => {
                    next = sooner(next, Some(due));
                    out.insert(name, since);
                }
                _ => {
                    let space = budget.namespace();
                    let message =
                        format!("Pod was expected by PDB {space}/{space} to be deleted but it wasn't");
                    self.recorder.warning(pod, NAME, "NotDeleted", &message);
                }
            }
        }
        (out, next)
    }
}

impl Part for Budgets {
    fn name(&self) -> &'static str {
        "budgets"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.listen();
        for key in self.queue.take(at) {
            let next = self.sync(&key, at);
            self.queue.set(key, next);
        }
        self.queue.next()
    }
}
