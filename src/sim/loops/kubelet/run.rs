//! The life cycle of one pod's containers: pulled, running, terminated, waiting for a restart. The world decides what
//! they do; this only keeps their state.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::super::doc::{after, int, list, quantity, text};
use crate::clock;
use crate::store::{Object, walk};
use crate::world::{App, Crash, PodTrouble, State};

/// How long a pod of a Job runs unless the annotation says otherwise.
const JOB: TimeDelta = TimeDelta::seconds(30);
/// The longest wait before a container is restarted or an image pulled again.
const LONGEST: i64 = 300;
/// The back-off of a container that ran for this long is reset.
const FORGIVEN: TimeDelta = TimeDelta::minutes(10);

/// The termination of a container's run.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub code: i64,
    pub reason: &'static str,
    pub started: DateTime<Utc>,
    pub finished: DateTime<Utc>,
    /// The number of the run.
    pub nth: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Its image is being pulled, or its sandbox created.
    Creating {
        until: DateTime<Utc>,
    },
    /// Its image cannot be pulled.
    NoImage {
        tries: u32,
        retry: DateTime<Utc>,
        fresh: bool,
    },
    Running {
        since: DateTime<Utc>,
    },
    /// Terminated, and restarted later.
    BackOff {
        until: DateTime<Utc>,
    },
    Done,
}

/// One container.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub name: String,
    pub image: String,
    pub restarts: i64,
    pub wait: i64,
    pub stage: Stage,
    pub last: Option<End>,
    pub told_pull: bool,
    /// When its probe fails next, if it fails at all.
    pub probe: Option<DateTime<Utc>>,
}

/// A pod on a node.
#[derive(Debug)]
pub(super) struct Run {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub node: Arc<str>,
    pub app: Arc<str>,
    pub start: DateTime<Utc>,
    pub ip: String,
    pub own_ip: Option<u32>,
    pub cells: Vec<Cell>,
    /// When SIGTERM was sent.
    pub ending: Option<DateTime<Utc>>,
}

/// A step of a container, for the event and the status.
#[derive(Debug)]
pub(super) enum Step {
    Pulling,
    /// Seconds; `None` if the node had the image.
    Pulled(Option<f64>),
    NoImage,
    PullBackOff,
    /// It was restarted after it had terminated.
    Started,
    Ended(End),
    BackOff,
    Unready,
}

/// The settings that decide the steps of a pod's containers.
pub(super) struct Fate<'a> {
    pub pod: &'a Object,
    pub app: Arc<App>,
    /// The scenario describes the application; without a description, its memory usage is not known.
    described: bool,
    pub trouble: PodTrouble,
    /// A factor from 0.85 to 1.15 that is always the same for one pod.
    pub jitter: f64,
    pub pull: TimeDelta,
}

fn span(duration: std::time::Duration, factor: f64) -> TimeDelta {
    TimeDelta::milliseconds((duration.as_secs_f64() * factor * 1000.0) as i64)
}

impl<'a> Fate<'a> {
    pub(super) fn new(state: &State, pod: &'a Object, run: &Run, jitter: f64, pull: TimeDelta) -> Self {
        let app = state.app(&run.namespace, &run.app);
        let id = crate::world::Id { namespace: run.namespace.clone(), name: run.app.clone() };
        Self {
            pod,
            app,
            described: state.apps.contains_key(&id),
            trouble: state.pod(pod.uid()),
            jitter,
            pull,
        }
    }

    fn container(&self, name: &str) -> &Value {
        list(&self.pod.value, "/spec/containers")
            .iter()
            .find(|one| text(one, "name") == name)
            .unwrap_or(&Value::Null)
    }

    /// The application is the first container; the other ones do not fail.
    fn is_main(&self, name: &str) -> bool {
        list(&self.pod.value, "/spec/containers").first().is_some_and(|one| text(one, "name") == name)
    }

    /// How the container terminates by itself, because of the pod's fault or of its version.
    pub(super) fn crash(&self, image: &str) -> Option<Crash> {
        self.trouble.crash.clone().or_else(|| self.app.version(image).crash)
    }

    /// When and how a run that started at `since` terminates by itself.
    fn end(&self, cell: &Cell, since: DateTime<Utc>) -> Option<(DateTime<Utc>, i64, &'static str)> {
        let mut ends = Vec::new();
        if self.is_main(&cell.name) {
            let version = self.app.version(&cell.image);
            let crash = self.crash(&cell.image);
            if let Some(crash) =
                crash.filter(|crash| crash.times.is_none_or(|times| cell.restarts < i64::from(times)))
            {
                let reason = match crash.code {
                    _ if crash.oom => "OOMKilled",
                    0 => "Completed",
                    _ => "Error",
                };
                ends.push((after(since, span(crash.after, 1.0)), i64::from(crash.code), reason));
            }
            let limit = quantity(
                walk(self.container(&cell.name), "/resources/limits/memory").unwrap_or(&Value::Null),
            );
            if limit > 0 && self.described {
                let room = limit as f64 / 1000.0 / 1_048_576.0 - self.app.memory_mib;
                if room <= 0.0 {
                    ends.push((after(since, TimeDelta::seconds(1)), 137, "OOMKilled"));
                } else if version.leak_mib_per_minute > 0.0 {
                    let ms = room / version.leak_mib_per_minute * 60_000.0;
                    ends.push((after(since, TimeDelta::milliseconds(ms.min(1e12) as i64)), 137, "OOMKilled"));
                }
            }
        }
        let asked = self.pod.annotation("sim.pilothouse/runs-for").and_then(crate::world::span::parse);
        let job = self.pod.controller().is_some_and(|owner| text(owner, "kind") == "Job");
        if asked.is_some() || job {
            let span = asked.and_then(|asked| TimeDelta::from_std(asked).ok()).unwrap_or(JOB);
            ends.push((after(since, span), 0, "Completed"));
        }
        ends.into_iter().min_by_key(|(at, _, _)| *at)
    }

    /// When a run that started at `since` passes its readiness probe; `None`: never.
    fn ready_at(&self, cell: &Cell, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.is_main(&cell.name) {
            return Some(since);
        }
        if self.trouble.unready || self.app.version(&cell.image).never_ready {
            return None;
        }
        Some(after(since, span(self.app.startup, self.jitter)))
    }

    pub(super) fn is_ready(&self, cell: &Cell, at: DateTime<Utc>) -> bool {
        matches!(cell.stage, Stage::Running { since } if self.ready_at(cell, since).is_some_and(|due| due <= at))
    }

    /// When the containers have terminated after SIGTERM; `None`: they do not terminate.
    pub(super) fn stopped_at(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.trouble.stuck {
            return None;
        }
        let before = list(&self.pod.value, "/spec/containers")
            .iter()
            .filter_map(|one| walk(one, "/lifecycle/preStop/sleep/seconds")?.as_i64())
            .max()
            .unwrap_or_default();
        let done = after(from, span(self.app.shutdown, self.jitter) + TimeDelta::seconds(before));
        Some(self.pod.time("/metadata/deletionTimestamp").map_or(done, |end| done.min(end.max(from))))
    }

    fn restarts(&self, code: i64) -> bool {
        match self.pod.text("/spec/restartPolicy") {
            "Never" => false,
            "OnFailure" => code != 0,
            // Pods of a Job without a restart policy, and those with a set duration, terminate for good.
            _ => true,
        }
    }
}

impl Cell {
    pub(super) fn new(container: &Value, until: DateTime<Utc>) -> Self {
        Self {
            name: text(container, "name").to_owned(),
            image: text(container, "image").to_owned(),
            restarts: 0,
            wait: 0,
            stage: Stage::Creating { until },
            last: None,
            told_pull: false,
            probe: None,
        }
    }

    /// A container that was running before this kubelet started.
    pub(super) fn adopted(container: &Value, status: &Value, at: DateTime<Utc>) -> Self {
        let mut cell = Self::new(container, at);
        cell.restarts = int(status, "restartCount");
        if let Some(running) = walk(status, "/state/running") {
            let since = clock::parse(text(running, "startedAt")).unwrap_or(at);
            cell.stage = Stage::Running { since };
            cell.told_pull = true;
        }
        cell
    }

    /// Advances to `at` by one step; returns what happened, or nothing.
    pub(super) fn advance(&mut self, fate: &Fate<'_>, has_image: bool, at: DateTime<Utc>) -> Option<Step> {
        let broken =
            fate.is_main(&self.name) && (fate.trouble.no_image || fate.app.version(&self.image).no_image);
        match self.stage.clone() {
            Stage::Creating { until } => {
                if !self.told_pull && (!has_image || broken) {
                    self.told_pull = true;
                    self.stage = Stage::Creating { until: after(until, fate.pull) };
                    return Some(Step::Pulling);
                }
                if until > at {
                    return None;
                }
                if broken {
                    self.stage =
                        Stage::NoImage { tries: 1, retry: after(at, TimeDelta::seconds(10)), fresh: true };
                    return Some(Step::NoImage);
                }
                let seconds = self.told_pull.then(|| fate.pull.num_milliseconds() as f64 / 1000.0);
                self.stage = Stage::Running { since: at };
                Some(Step::Pulled(seconds.filter(|_| !has_image)))
            }
            Stage::NoImage { tries, retry, fresh } => {
                if !broken {
                    self.stage = Stage::Creating { until: at };
                    self.told_pull = false;
                    return self.advance(fate, has_image, at);
                }
                if fresh && at >= after(retry, -TimeDelta::seconds(wait_of(tries) - 2)) {
                    // The failure is visible for a moment before the wait for the next attempt.
                    self.stage = Stage::NoImage { tries, retry, fresh: false };
                    return Some(Step::PullBackOff);
                }
                if at < retry {
                    return None;
                }
                let tries = tries + 1;
                self.stage = Stage::NoImage {
                    tries,
                    retry: after(at, TimeDelta::seconds(wait_of(tries))),
                    fresh: true,
                };
                Some(Step::NoImage)
            }
            Stage::Running { since } => {
                if let Some((due, code, reason)) = fate.end(self, since)
                    && due <= at
                {
                    let end =
                        End { code, reason, started: since, finished: due.max(since), nth: self.restarts };
                    self.last = Some(end.clone());
                    self.probe = None;
                    self.stage = if fate.restarts(code) {
                        if end.finished - since >= FORGIVEN {
                            self.wait = 0;
                        }
                        Stage::BackOff { until: after(end.finished, TimeDelta::seconds(self.wait)) }
                    } else {
                        Stage::Done
                    };
                    return Some(Step::Ended(end));
                }
                let fails = fate.ready_at(self, since).is_none();
                if !fails {
                    self.probe = None;
                    return None;
                }
                let period = int(
                    fate.container(&self.name).get("readinessProbe").unwrap_or(&Value::Null),
                    "periodSeconds",
                );
                let period = TimeDelta::seconds(if period > 0 { period } else { 10 });
                let due =
                    self.probe.unwrap_or_else(|| after(since, span(fate.app.startup, fate.jitter)).max(at));
                self.probe = Some(due);
                if due > at {
                    return None;
                }
                self.probe = Some(after(at, period));
                Some(Step::Unready)
            }
            Stage::BackOff { until } => {
                if until > at {
                    if self.wait > 0 && self.probe.is_none() {
                        self.probe = Some(until);
                        return Some(Step::BackOff);
                    }
                    return None;
                }
                self.probe = None;
                self.restarts += 1;
                self.wait = if self.wait == 0 { 10 } else { (self.wait * 2).min(LONGEST) };
                self.stage = Stage::Running { since: at };
                Some(Step::Started)
            }
            Stage::Done => None,
        }
    }

    /// When its state changes next by itself.
    pub(super) fn next(&self, fate: &Fate<'_>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.stage {
            Stage::Creating { until } | Stage::BackOff { until } => Some(*until),
            Stage::NoImage { tries, retry, fresh: true } => {
                Some(after(*retry, -TimeDelta::seconds(wait_of(*tries) - 2)))
            }
            Stage::NoImage { retry, .. } => Some(*retry),
            Stage::Running { since } => {
                let ready = fate.ready_at(self, *since).filter(|due| *due > at);
                [ready, self.probe, fate.end(self, *since).map(|(due, _, _)| due)].into_iter().flatten().min()
            }
            Stage::Done => None,
        }
    }

    /// Its machine was turned off.
    pub(super) fn power_cut(&mut self, at: DateTime<Utc>) -> bool {
        let Stage::Running { since } = self.stage else { return false };
        self.last =
            Some(End { code: 255, reason: "Unknown", started: since, finished: at, nth: self.restarts });
        self.stage = Stage::BackOff { until: at };
        self.wait = 0;
        true
    }
}

fn wait_of(tries: u32) -> i64 {
    (10_i64 << tries.saturating_sub(1).min(5)).min(LONGEST)
}
