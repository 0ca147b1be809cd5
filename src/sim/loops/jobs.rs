//! Jobs: pods that run to completion, until enough of them have succeeded.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::doc::{
    Condition, after, int, is_active, is_ready, list, put, seconds, set_condition, text, write_status,
};
use super::events::Recorder;
use super::feed::{Feed, News, Queue, sooner};
use super::workload::{Claims, Maker, Name};
use crate::clock::{parse, stamp};
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Delete, Key, Object, Propagation, Store};

const NAME: &str = "job-controller";
const MANAGER: &str = "kube-controller-manager";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

#[derive(Debug)]
pub(super) struct Jobs {
    store: Store,
    maker: Maker,
    claims: Claims,
    jobs: Feed,
    pods: Feed,
    /// By the UID of a Job that is not complete.
    tallies: HashMap<String, Tally>,
    queue: Queue<Key>,
}

/// The results of a Job's pods. Each pod is counted once, and stays counted after its deletion. The real controller
/// uses a finalizer on each pod for this.
#[derive(Debug, Default)]
struct Tally {
    counted: BTreeSet<String>,
    succeeded: i64,
    failed: i64,
    /// For an indexed Job: the completed indexes.
    indexes: BTreeSet<i64>,
}

fn index(pod: &Object) -> Option<i64> {
    pod.annotation(INDEX)?.parse().ok()
}

impl Tally {
    /// Starts with the counts in a Job's status, whose pods may be deleted already.
    fn of(job: &Object, pods: &[Arc<Object>]) -> Self {
        let mut out = Self { indexes: indexes(job.text("/status/completedIndexes")), ..Self::default() };
        for pod in pods {
            out.count(pod);
        }
        let status = job.at("/status");
        out.succeeded = out.succeeded.max(int(status, "succeeded"));
        // an indexed Job counts indexes: those of deleted pods, and those of the current ones
        out.succeeded = out.succeeded.max(i64::try_from(out.indexes.len()).unwrap_or(i64::MAX));
        out.failed = out.failed.max(int(status, "failed"));
        out
    }

    /// A pod that is deleted before it has succeeded counts as failed.
    fn count(&mut self, pod: &Object) {
        let well = pod.text("/status/phase") == "Succeeded";
        if is_active(pod) || !self.counted.insert(pod.uid().to_owned()) {
            return;
        }
        if !well {
            self.failed += 1;
        } else if index(pod).is_none_or(|n| self.indexes.insert(n)) {
            self.succeeded += 1;
        }
    }

    /// A deleted pod in its last version.
    fn gone(&mut self, pod: &Object) {
        if is_active(pod) {
            self.failed += i64::from(self.counted.insert(pod.uid().to_owned()));
        } else {
            self.count(pod);
        }
    }

    /// A pod that its Job deletes does not count as failed.
    fn spare(&mut self, pod: &Object) {
        self.counted.insert(pod.uid().to_owned());
    }
}

/// Parses indexes in the status's form: `1,3-5`. If there are more than any Job has, only the first ones.
fn indexes(text: &str) -> BTreeSet<i64> {
    let ranges = text.split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse::<i64>().ok()?..=to.parse::<i64>().ok()?)
    });
    ranges.flatten().take(100_000).collect()
}

/// Writes indexes in the status's form; two adjacent ones are written separately.
fn ranges(indexes: &BTreeSet<i64>) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for n in indexes {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *n => *end = *n,
            _ => runs.push((*n, *n)),
        }
    }
    let text = runs.iter().map(|(from, to)| match to - from {
        0 => from.to_string(),
        1 => format!("{from},{to}"),
        _ => format!("{from}-{to}"),
    });
    text.collect::<Vec<_>>().join(",")
}

fn holds(job: &Object, kind: &str) -> bool {
    job.condition(kind) == Some("True")
}

impl Jobs {
    pub(super) fn new(store: &Store, recorder: &Recorder) -> Self {
        Self {
            store: store.clone(),
            maker: Maker::new(store, recorder, NAME),
            claims: Claims::new(store, Res::Jobs),
            tallies: HashMap::new(),
            jobs: Feed::new(store, Res::Jobs),
            pods: Feed::new(store, Res::Pods),
            queue: Queue::default(),
        }
    }

    /// The labels and the selector that the API server sets for a Job.
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
            self.tallies.remove(job.uid());
            return self.expire(job, at);
        }
        let job = &self.prepare(job);
        let pods = self.claims.release(job, self.maker.pods(job));
        let mut tally = self.tallies.remove(job.uid()).unwrap_or_else(|| Tally::of(job, &pods));
        for pod in &pods {
            tally.count(pod);
        }
        let mut active: Vec<Arc<Object>> = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
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
        let failure = if tally.failed + restarts > limit {
            Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit"))
        } else if deadline.is_some_and(|due| due <= at) {
            Some(("DeadlineExceeded", "Job was active longer than specified deadline"))
        } else {
            None
        };
        let mut next = deadline;
        let mut ended = None;
        if let Some((reason, message)) = failure {
            // Pods that are still running fail with the Job.
            tally.failed += active.len() as i64;
            self.end(job, &mut tally, &mut active);
            for kind in ["FailureTarget", "Failed"] {
                set_condition(&mut conditions, Condition::new(kind, "True", reason, message), at);
            }
            self.maker.recorder.warning(job, NAME, reason, message);
        } else if tally.succeeded >= wanted {
            self.end(job, &mut tally, &mut active);
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
            self.end(job, &mut tally, &mut active);
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
            let held = Self::held_back(&pods, tally.failed, at);
            next = sooner(next, held);
            if held.is_none() {
                let want = (wanted - tally.succeeded).min(parallel);
                next = sooner(next, self.fill(job, &pods, &mut tally, &mut active, want, at));
            }
        }
        let mut status = job.at("/status").clone();
        let ready = active.iter().filter(|pod| is_ready(pod)).count();
        let counts =
            [("active", active.len() as i64), ("succeeded", tally.succeeded), ("failed", tally.failed)];
        for (field, n) in counts {
            put(&mut status, &[field], if n > 0 { json!(n) } else { Value::Null });
        }
        if !tally.indexes.is_empty() {
            put(&mut status, &["completedIndexes"], json!(ranges(&tally.indexes)));
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
        self.tallies.insert(job.uid().to_owned(), tally);
        next
    }

    /// No more pods are to run.
    fn end(&self, job: &Object, tally: &mut Tally, active: &mut Vec<Arc<Object>>) {
        for pod in active.drain(..) {
            tally.spare(&pod);
            self.maker.delete(job, &pod);
        }
    }

    /// Counts pods that were deleted before their Job was processed.
    fn lost(&mut self, pods: &[News]) {
        for one in pods {
            let News::Gone(pod) = one else { continue };
            let uid = pod.controller().map(|owner| text(owner, "uid"));
            if let Some(tally) = uid.and_then(|uid| self.tallies.get_mut(uid)) {
                tally.gone(pod);
            }
        }
    }

    /// After failures it waits, 10 s at first and twice as long each time.
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

    /// Creates or deletes pods until the right number is active. Returns when to continue with the rest.
    fn fill(
        &mut self,
        job: &Object,
        pods: &[Arc<Object>],
        tally: &mut Tally,
        active: &mut Vec<Arc<Object>>,
        want: i64,
        at: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let going =
            pods.iter().filter(|pod| pod.is_terminating() && !super::doc::is_finished(pod)).count() as i64;
        let (excess, missing) = (active.len() as i64 - want.max(0), want - active.len() as i64 - going);
        let (n, due) = self.maker.burst(job, excess.max(missing).max(0) as usize, at);
        if excess > 0 {
            let from = active.len().saturating_sub(n);
            for pod in active.drain(from..).rev() {
                tally.spare(&pod);
                self.maker.delete(job, &pod);
            }
            return due;
        }
        let indexed = job.text("/spec/completionMode") == "Indexed";
        let taken: BTreeSet<i64> = active.iter().filter_map(|pod| index(pod)).collect();
        let done = tally.indexes.clone();
        let mut free = (0..).filter(|n| !taken.contains(n) && !done.contains(n));
        for _ in 0..n {
            let index = free.next().unwrap_or_default();
            let made = self.maker.pod(job, job.at("/spec/template"), Name::Generated, |pod| {
                if indexed {
                    put(pod, &["metadata", "annotations", INDEX], json!(index.to_string()));
                    put(pod, &["metadata", "labels", INDEX], json!(index.to_string()));
                }
            });
            let Ok(made) = made else { return due };
            active.push(made);
        }
        due
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
        // Another client may have done it already.
        drop(self.store.delete(Res::Jobs, job.namespace(), job.name(), &options));
        None
    }
}

impl Part for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (jobs, pods) = (self.jobs.read(), self.pods.read());
        self.lost(&pods);
        for one in &jobs {
            if let News::Gone(job) = one {
                self.tallies.remove(job.uid());
            }
        }
        self.claims.listen(&mut self.queue, jobs, pods);
        for key in self.queue.take(at) {
            let Some(job) = self.store.get(key.res, &key.namespace, &key.name) else { continue };
            let next = self.sync(&job, at);
            self.queue.set(key, next);
        }
        self.queue.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_pods_that_are_gone_and_pods_that_are_there_add_up_by_index() {
        let pod = |n: i64| -> Arc<Object> {
            let value: Value = json!({"metadata": {"name": format!("p{n}"), "uid": format!("u{n}"),
                "annotations": {INDEX: n.to_string()}}, "status": {"phase": "Succeeded"}});
            Arc::new(Object::new(Res::Pods, value, 1))
        };
        let status = json!({"status": {"succeeded": 2, "completedIndexes": "0,1"}});
        let job = Object::new(Res::Jobs, status, 1);
        assert_eq!(Tally::of(&job, &[pod(2)]).succeeded, 3);
        assert_eq!(Tally::of(&job, &[pod(1), pod(2)]).succeeded, 3);
    }
}
