//! What `pilothouse logs` says about the logs that it reads.

use std::collections::{BTreeSet, HashSet};

use pilothouse_core::domain::id::Name;

use crate::report::headless::Voice;
use crate::source::logs::{LogLine, Nothing};
use crate::ui::widget::text::{count, grouped};

/// Writes notes about containers to standard error.
#[derive(Default)]
pub(super) struct Notes {
    /// The pods and containers whose logs could not be read. A log that can be read again is not among them.
    unread: BTreeSet<(Name, Name)>,
    /// The pods of which nothing is read, and why.
    nothing: Vec<(Name, Nothing)>,
    /// Whether a reason was told why lines are missing.
    told: bool,
    /// The containers with lines.
    read: HashSet<(Name, Name)>,
    voice: Voice,
}

impl Notes {
    pub(super) fn new(voice: Voice) -> Self {
        Self { voice, ..Self::default() }
    }

    pub(super) fn take(&mut self, pod: Name, container: Name, words: Option<String>, failed: bool) {
        let Some(words) = words else {
            self.unread.remove(&(pod, container));
            return;
        };
        self.told = true;
        // a note about the whole selection has no pod
        if pod.is_empty() {
            return self.voice.tell(&format!("{words}; max_streams in [logs] is the limit"));
        }
        let blank = if container.is_empty() { "" } else { " " };
        self.voice.tell(&format!("{pod}{blank}{container}: {words}"));
        if failed {
            self.unread.insert((pod, container));
        }
    }

    pub(super) fn nothing(&mut self, pod: Name, why: Nothing) {
        self.nothing.push((pod, why));
    }

    pub(super) fn line(&mut self, line: &LogLine) {
        self.read.insert((line.pod.clone(), line.container.clone()));
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether there is a reason why lines are missing.
    pub(super) fn has_reason(&self) -> bool {
        self.told || !self.nothing.is_empty()
    }

    /// Says each reason once, with the pod or the number of pods.
    pub(super) fn tell_nothing(&self) {
        match self.nothing.as_slice() {
            [] => {}
            [(pod, why)] => self.voice.tell(&format!("{pod}: {}", why.words())),
            [(_, why), ..] => {
                self.voice.tell(&format!("{}: {}", count(self.nothing.len(), "pod"), why.words()));
            }
        }
    }

    /// Says that only the newest lines were read.
    pub(super) fn tell_part(&self, tail: u32) {
        let containers = count(self.read.len(), "container");
        let each = if self.read.len() == 1 { "" } else { "each of " };
        self.voice.tell(&format!("the newest {} lines of {each}{containers}", grouped(tail.into())));
    }
}
