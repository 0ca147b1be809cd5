//! The destinations of a container's log: an open log on the screen, or the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::{Level, Mark};
use pilothouse_core::domain::source::SourceState;
use tokio::sync::{Notify, mpsc};

use super::Target;
use super::store::{LogInput, LogLine, Origin};
use super::twice::{Side, Twice};
use crate::clock::Clock;
use crate::wire::error::ApiError;

/// A part of a container's log.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Line(LogLine),
    /// A note about the container, which replaces the previous one. `None` removes it.
    Note {
        /// The pod, as `namespace/name`.
        pod: Name,
        container: Name,
        words: Option<String>,
        /// Whether the log could not be read.
        failed: bool,
    },
    /// Nothing of the pod is read.
    Nothing {
        /// The pod, as `namespace/name`.
        pod: Name,
        why: Nothing,
    },
}

/// Why a pod has no log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    NeverRestarted,
}

impl Nothing {
    pub fn words(self) -> &'static str {
        match self {
            Self::NeverRestarted => "no container has been restarted: there is no log of a run before",
        }
    }
}

/// A destination. Its functions return `false` if the receiver was dropped.
pub(super) trait Out: Send {
    fn put(&mut self, told: Told) -> impl Future<Output = bool> + Send;
    /// Counts lines that were cut.
    fn cut(&mut self, _lines: u64) {}
    /// Notes why the log cannot be read, or that it can.
    fn fails(&mut self, _error: Option<&ApiError>) {}
}

impl Out for mpsc::Sender<Told> {
    async fn put(&mut self, told: Told) -> bool {
        self.send(told).await.is_ok()
    }
}

/// The followed logs that cannot be read, and why.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// By `namespace/pod/container`: the error, and whether a permission is missing.
    held: Mutex<BTreeMap<Name, (String, bool)>>,
    /// Notified of each change.
    pub changed: Notify,
}

impl Troubles {
    fn set(&self, log: &Name, error: Option<&ApiError>) {
        let new = error.map(|e| {
            let denied = matches!(e, ApiError::Forbidden { .. } | ApiError::Unauthorized(_));
            (e.to_string(), denied)
        });
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(log) == new.as_ref() {
            return;
        }
        match new {
            Some(new) => held.insert(log.clone(), new),
            None => held.remove(log),
        };
        self.changed.notify_one();
    }

    /// Returns the state of a source that follows this number of logs, and its error.
    pub(super) fn state(&self, logs: usize) -> (SourceState, Option<Name>) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((first, (why, _))) = held.first_key_value() else { return (SourceState::Live, None) };
        let words = format!("{} of {logs} logs cannot be read: {first}: {why}", held.len());
        let is_denied = held.len() >= logs && held.values().all(|(_, denied)| *denied);
        let state = if is_denied { SourceState::Denied } else { SourceState::Live };
        (state, Some(Name::from(words)))
    }
}

/// Writes to the store. A note about a container stands among its lines.
#[derive(Debug)]
pub(super) struct Kept {
    input: LogInput,
    origin: Origin,
    /// `namespace/pod/container`.
    log: Name,
    twice: Arc<Twice>,
    troubles: Arc<Troubles>,
    clock: Clock,
}

impl Kept {
    pub(super) fn new(
        input: LogInput,
        target: &Target,
        twice: Arc<Twice>,
        troubles: Arc<Troubles>,
        clock: Clock,
    ) -> Self {
        let origin = Origin {
            workload: target.workload.clone(),
            version: target.version.clone(),
            node: target.node.clone(),
            image: target.image.clone(),
        };
        let log = Name::from(format!("{}/{}/{}", target.namespace, target.pod, target.container));
        Self { input, origin, log, twice, troubles, clock }
    }

    /// Adds a line, unless a log store delivered it already.
    pub(super) fn keep(&self, line: LogLine) {
        if self.twice.is_first(Side::Api, &line) {
            self.input.push(line, &self.origin);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.troubles.set(&self.log, None);
    }
}

impl Out for Kept {
    async fn put(&mut self, told: Told) -> bool {
        match told {
            Told::Line(line) => self.keep(line),
            Told::Note { pod, container, words: Some(words), .. } => {
                let note = LogLine {
                    at: self.clock.now(),
                    pod,
                    container,
                    level: Level::Warn,
                    text: words,
                    mark: Some(Mark::Note),
                    ..LogLine::default()
                };
                self.input.push(note, &self.origin);
            }
            Told::Note { words: None, .. } | Told::Nothing { .. } => {}
        }
        true
    }

    fn cut(&mut self, lines: u64) {
        self.input.lost(lines);
    }

    fn fails(&mut self, error: Option<&ApiError>) {
        self.troubles.set(&self.log, error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_with_a_count() {
        let troubles = Troubles::default();
        let denied = ApiError::Forbidden { message: "no".into() };
        assert_eq!(troubles.state(2), (SourceState::Live, None));
        troubles.set(&"n/a/app".into(), Some(&denied));
        let (state, words) = troubles.state(2);
        assert_eq!(state, SourceState::Live);
        assert!(words.unwrap().starts_with("1 of 2 logs cannot be read: n/a/app: "));
        troubles.set(&"n/b/app".into(), Some(&denied));
        assert_eq!(troubles.state(2).0, SourceState::Denied, "none can be read");
        troubles.set(&"n/b/app".into(), Some(&ApiError::Unreachable("refused".into())));
        assert_eq!(troubles.state(2).0, SourceState::Live, "the kubelet is down, which passes");
        for log in ["n/a/app", "n/b/app"] {
            troubles.set(&log.into(), None);
        }
        assert_eq!(troubles.state(2), (SourceState::Live, None));
    }
}
