//! Jobs: pods that end, as many as have to end well.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::doc::{Condition, after, is_ready, list, put, seconds, set_condition, write_status};
use super::events::Recorder;
use super::feed::{Feed, Queue, sooner};
use super::workload::{Maker, Name, mark_all, mark_owners};
use crate::clock::{parse, stamp};
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Delete, Key, Object, Propagation, Store};

const NAME: &str = "job-controller";
const MANAGER: &str = "kube-controller-manager";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

#[derive(Debug)]
pub struct Jobs {
    store: Store,
    maker: Maker,
    jobs: Feed,
    pods: Feed,
    queue: Queue<Key>,
}

fn holds(job: &Object, kind: &str) -> bool {
    job.condition(kind) == Some("True")
}

impl Jobs {
    pub fn new(store: &Store, recorder: &Recorder) -> Self {
        Self {
            store: store.clone(),
            maker: Maker::new(store, recorder, NAME),
            jobs: Feed::new(store, Res::Jobs),
            pods: Feed::new(store, Res::Pods),
            queue: Queue::default(),
        }
    }

    /// The labels and the selector that the API server gives a Job.
    fn prepare(&self, job: &Arc<Object>) -> Arc<Object> {
        if !job.at("/spec/selector").is_null() {
            return job.clone();
        }
        let (name, uid) = (job.name().to_owned(), job.uid().to_owned());
        let prepared = super::doc::change(&self.store, job, MANAGER, |value| {
            put(
                value,
                &["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"],
                json!(uid),
            );
            for (label, text) in [
                ("batch.kubernetes.io/controller-uid", &uid),
                ("batch.kubernetes.io/job-name", &name),
                ("controller-uid", &uid),
                ("job-name", &name),
            ] {
                put(value, &["spec", "template", "metadata", "labels", label], json!(text));
            }
        });
        prepared.unwrap_or_else(|_| job.clone())
    }

    fn sync(&mut self, job: &Arc<Object>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if job.is_terminating() {
            return None;
        }
        if holds(job, "Complete") || holds(job, "Failed") {
            return self.expire(job, at);
        }
        let job = &self.prepare(job);
        let pods = self.maker.pods(job);
        let phase =
            |wanted: &str| pods.iter().filter(|pod| pod.text("/status/phase") == wanted).count() as i64;
        let (succeeded, failed) = (phase("Succeeded"), phase("Failed"));
        let mut active: Vec<Arc<Object>> = self.maker.active(job);
        let wanted = job.int("/spec/completions").unwrap_or(1);
        let parallel = job.int("/spec/parallelism").unwrap_or(1);
        let limit = job.int("/spec/backoffLimit").unwrap_or(6);
        let suspended = job.at("/spec/suspend") == &Value::Bool(true);
        let restarts: i64 = pods
            .iter()
            .flat_map(|pod| list(&pod.value, "/status/containerStatuses"))
            .filter_map(|one| one.get("restartCount")?.as_i64())
            .sum();
        let mut conditions = list(&job.value, "/status/conditions").to_vec();
        let begun = job.time("/status/startTime");
        let deadline =
            job.int("/spec/activeDeadlineSeconds").zip(begun).map(|(n, from)| after(from, seconds(n)));
        let failure = if failed + restarts > limit {
            Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit"))
        } else if deadline.is_some_and(|due| due <= at) {
            Some(("DeadlineExceeded", "Job was active longer than specified deadline"))
        } else {
            None
        };
        let mut next = deadline;
        let mut ended = None;
        if let Some((reason, message)) = failure {
            self.end(job, &mut active);
            for kind in ["FailureTarget", "Failed"] {
                set_condition(&mut conditions, Condition::new(kind, "True", reason, message), at);
            }
            self.maker.recorder.warning(job, NAME, reason, message);
        } else if succeeded >= wanted {
            self.end(job, &mut active);
            let message = "Reached expected number of succeeded pods";
            for kind in ["SuccessCriteriaMet", "Complete"] {
                set_condition(
                    &mut conditions,
                    Condition::new(kind, "True", "CompletionsReached", message),
                    at,
                );
            }
            ended = Some(stamp(at));
            self.maker.recorder.normal(job, NAME, "Completed", "Job completed");
        } else if suspended {
            self.end(job, &mut active);
            set_condition(
                &mut conditions,
                Condition::new("Suspended", "True", "JobSuspended", "Job suspended"),
                at,
            );
        } else {
            if holds(job, "Suspended") {
                set_condition(
                    &mut conditions,
                    Condition::new("Suspended", "False", "JobResumed", "Job resumed"),
                    at,
                );
            }
            let held = Self::held_back(&pods, failed, at);
            next = sooner(next, held);
            if held.is_none() {
                self.fill(job, &pods, &mut active, (wanted - succeeded).min(parallel), wanted);
            }
        }
        let mut status = job.at("/status").clone();
        let ready = active.iter().filter(|pod| is_ready(pod)).count();
        for (field, n) in [("active", active.len() as i64), ("succeeded", succeeded), ("failed", failed)] {
            put(&mut status, &[field], if n > 0 { json!(n) } else { Value::Null });
        }
        for (field, value) in [
            ("ready", json!(ready)),
            ("terminating", json!(pods.iter().filter(|pod| pod.is_terminating()).count())),
            ("uncountedTerminatedPods", json!({})),
            ("completionTime", json!(ended)),
            ("conditions", if conditions.is_empty() { Value::Null } else { json!(conditions) }),
        ] {
            put(&mut status, &[field], value);
        }
        if begun.is_none() && !suspended {
            put(&mut status, &["startTime"], json!(stamp(at)));
        }
        write_status(&self.store, job, MANAGER, status);
        next
    }

    /// Nothing more is to run.
    fn end(&self, job: &Object, active: &mut Vec<Arc<Object>>) {
        for pod in active.drain(..) {
            self.maker.delete(job, &pod);
        }
    }

    /// After failures it waits, 10 s and then twice as long each time.
    fn held_back(pods: &[Arc<Object>], failed: i64, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if failed == 0 {
            return None;
        }
        let ends = pods.iter().flat_map(|pod| list(&pod.value, "/status/containerStatuses"));
        let last =
            ends.filter_map(|one| parse(one.pointer("/state/terminated/finishedAt")?.as_str()?)).max()?;
        let wait = (10_i64 << (failed - 1).clamp(0, 6)).min(600);
        Some(after(last, TimeDelta::seconds(wait))).filter(|due| *due > at)
    }

    fn fill(
        &mut self,
        job: &Object,
        pods: &[Arc<Object>],
        active: &mut Vec<Arc<Object>>,
        want: i64,
        completions: i64,
    ) {
        let indexed = job.text("/spec/completionMode") == "Indexed";
        let index = |pod: &Object| pod.annotation(INDEX).and_then(|text| text.parse::<i64>().ok());
        let taken = pods.iter().filter(|pod| pod.text("/status/phase") != "Failed");
        let mut taken: BTreeSet<i64> = taken.filter_map(|pod| index(pod)).collect();
        let going =
            pods.iter().filter(|pod| pod.is_terminating() && !super::doc::is_finished(pod)).count() as i64;
        while (active.len() as i64) + going < want {
            let free = (0..completions).find(|n| !taken.contains(n)).unwrap_or_default();
            let made = self.maker.pod(job, job.at("/spec/template"), Name::Generated, |pod| {
                if indexed {
                    put(pod, &["metadata", "annotations", INDEX], json!(free.to_string()));
                    put(pod, &["metadata", "labels", INDEX], json!(free.to_string()));
                }
            });
            let Ok(made) = made else { return };
            taken.insert(free);
            active.push(made);
        }
        while (active.len() as i64) > want.max(0)
            && let Some(pod) = active.pop()
        {
            self.maker.delete(job, &pod);
        }
    }

    fn expire(&self, job: &Object, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let kept = job.int("/spec/ttlSecondsAfterFinished")?;
        let ended = list(&job.value, "/status/conditions").iter();
        let ended = ended.filter_map(|one| parse(one.get("lastTransitionTime")?.as_str()?)).max()?;
        let due = after(ended, seconds(kept));
        if due > at {
            return Some(due);
        }
        let options = Delete { propagation: Propagation::Background, ..Delete::default() };
        // Someone may have been faster.
        drop(self.store.delete(Res::Jobs, job.namespace(), job.name(), &options));
        None
    }
}

impl Part for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        mark_all(&mut self.queue, self.jobs.read());
        mark_owners(&mut self.queue, self.pods.read(), Res::Jobs);
        for key in self.queue.take(at) {
            let Some(job) = self.store.get(key.res, &key.namespace, &key.name) else { continue };
            let next = self.sync(&job, at);
            self.queue.set(key, next);
        }
        self.queue.next()
    }
}
