//! The logs of applications: a few lines at the start, a sample of their requests, and an error line only for a real
//! error in the traffic.
//!
//! `words` has the messages, `format` writes them in the application's log format.

mod format;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::engine::Part;
use crate::logs::Notebook;
use crate::traffic::draw::Dice;
use crate::traffic::field::Wrong;
use crate::traffic::{Field, Pod, SharedField};
use format::Entry;

/// Error lines per simulated second, of all pods together and of one pod.
const ERRORS: f64 = 40.0;
const ERRORS_OF_ONE: u64 = 4;
/// No step writes more lines than this, however long it is.
const MOST: usize = 600;
/// The first lines of a container that started longer ago than this were written in the past.
const GREETS_WITHIN: TimeDelta = TimeDelta::seconds(90);

/// The part of the engine that writes application logs.
pub struct Lines {
    field: SharedField,
    logs: Arc<Notebook>,
    /// Lines of ordinary requests per simulated second.
    rate: f64,
    dice: Dice,
    /// The last step of traffic that was logged.
    steps: u64,
    /// By the pod's UID: the run of its container that has written its first lines.
    greeted: HashMap<Arc<str>, DateTime<Utc>>,
}

impl Lines {
    pub fn new(field: &SharedField, logs: &Arc<Notebook>, rate: f64, dice: fastrand::Rng) -> Self {
        Self {
            field: field.clone(),
            logs: logs.clone(),
            rate,
            dice: Dice(dice),
            steps: 0,
            greeted: HashMap::new(),
        }
    }

    fn greet(&mut self, field: &Field, out: &mut Vec<Written>) {
        for pod in field.live().filter(|pod| pod.is_alive()) {
            let Some(started) = pod.started else { continue };
            // A container may have started after this step.
            if started > field.at || self.greeted.get(&pod.uid) == Some(&started) || out.len() >= MOST {
                continue;
            }
            self.greeted.insert(pod.uid.clone(), started);
            if field.at - started < GREETS_WITHIN {
                for (n, entry) in words::start(pod).into_iter().enumerate() {
                    let at = (started + TimeDelta::milliseconds(40 + 130 * n as i64)).min(field.at);
                    write(out, pod, at, &entry, &mut self.dice);
                }
            }
        }
        if self.greeted.len() > field.by_uid.len() + 64 {
            self.greeted.retain(|uid, _| field.by_uid.contains_key(uid));
        }
    }

    /// Ordinary requests: each answered one has the same chance to be logged.
    fn requests(&mut self, field: &Field, out: &mut Vec<Written>) {
        let budget = (self.rate * field.seconds).min(MOST as f64 / 2.0);
        let chance = (budget / field.served_total.max(1) as f64).min(1.0);
        for (slot, n) in &field.served {
            let Some(pod) = field.pod(*slot) else { continue };
            for _ in 0..self.dice.binomial(*n, chance) {
                let entry = words::request(pod, &mut self.dice);
                let at = self.moment(field);
                write(out, pod, at, &entry, &mut self.dice);
            }
        }
    }

    fn errors(&mut self, field: &Field, out: &mut Vec<Written>) {
        let all: u64 = field.notes.iter().map(|note| note.count).sum();
        let chance = (ERRORS * field.seconds / all.max(1) as f64).min(1.0);
        let most = (ERRORS_OF_ONE as f64 * field.seconds).ceil() as u64;
        for note in &field.notes {
            let Some(pod) = field.pod(note.pod) else { continue };
            for _ in 0..self.dice.binomial(note.count, chance).min(most) {
                let called = |at: &usize| field.services.get(*at).map(|service| service.id.clone());
                let entry = match &note.wrong {
                    Wrong::Version => {
                        words::own(pod, pod.behaviour.version.message.as_deref(), &mut self.dice)
                    }
                    Wrong::Pod => words::own(pod, pod.behaviour.message.as_deref(), &mut self.dice),
                    Wrong::Overload => words::overload(pod, &mut self.dice),
                    Wrong::Timeout(to, address) => words::timeout(called(to), address, &mut self.dice),
                    Wrong::Refused(to, address) => words::refused(called(to), address, &mut self.dice),
                    Wrong::NoBackend(to) => words::no_backend(called(to), &mut self.dice),
                    Wrong::Answered(to) => words::answered(called(to), &mut self.dice),
                };
                let at = self.moment(field);
                write(out, pod, at, &entry, &mut self.dice);
            }
        }
    }

    /// A random time within the step.
    fn moment(&mut self, field: &Field) -> DateTime<Utc> {
        field.at - TimeDelta::milliseconds((field.seconds * 1000.0 * self.dice.0.f64()) as i64)
    }
}

/// Writes a line to a pod's log; the lines of one event are one entry.
struct Written {
    pod: Arc<str>,
    container: Arc<str>,
    at: DateTime<Utc>,
    lines: Vec<String>,
}

fn write(out: &mut Vec<Written>, pod: &Pod, at: DateTime<Utc>, entry: &Entry, dice: &mut Dice) {
    let lines = format::lines(pod, at, entry, dice);
    out.push(Written { pod: pod.uid.clone(), container: pod.container.clone(), at, lines });
}

impl Part for Lines {
    fn name(&self) -> &'static str {
        "application-logs"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let shared = self.field.clone();
        let field = shared.read();
        // It runs after traffic, and has lines to write when traffic has done a step.
        if field.steps == self.steps {
            return Some(at + TimeDelta::seconds(1));
        }
        self.steps = field.steps;
        let mut out = Vec::new();
        self.greet(&field, &mut out);
        self.errors(&field, &mut out);
        self.requests(&field, &mut out);
        let due = field.at + TimeDelta::milliseconds((field.seconds * 1000.0) as i64);
        drop(field);
        // A log is ordered by time.
        out.sort_by_key(|written| written.at);
        out.truncate(MOST);
        for Written { pod, container, at, lines } in out {
            for line in lines {
                self.logs.append(&pod, &container, at, line);
            }
        }
        Some(due.max(at + TimeDelta::milliseconds(200)))
    }
}
