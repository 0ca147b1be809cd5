//! What `pilothouse logs` says about the logs that it reads.

use std::collections::{BTreeSet, HashSet};

use pilothouse_core::domain::id::Name;

use crate::report::headless::tell;
use crate::source::logs::{LogLine, Nothing};
use crate::ui::widget::text::{count, grouped};

/// Writes notes about containers to standard error.
#[derive(Default)]
pub(super) struct Notes {
    /// The pods and containers whose logs could not be read. A log that can be read again is not among them.
    unread: BTreeSet<(Name, Name)>,
    /// The pods of which nothing is read, and why.
    nothing: Vec<(Name, Nothing)>,
    /// The containers with lines.
    read: HashSet<(Name, Name)>,
}

impl Notes {
    pub fn take(&mut self, pod: Name, container: Name, words: Option<String>, failed: bool) {
        let Some(words) = words else {
            self.unread.remove(&(pod, container));
            return;
        };
        let blank = if container.is_empty() { "" } else { " " };
        tell(&format!("pilothouse: {pod}{blank}{container}: {words}"));
        if failed {
            self.unread.insert((pod, container));
        }
    }

    pub fn nothing(&mut self, pod: Name, why: Nothing) {
        self.nothing.push((pod, why));
    }

    pub fn line(&mut self, line: &LogLine) {
        self.read.insert((line.pod.clone(), line.container.clone()));
    }

    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    pub fn has_nothing(&self) -> bool {
        !self.nothing.is_empty()
    }

    /// Says each reason once, with the pod or the number of pods.
    pub fn tell_nothing(&self) {
        for why in [Nothing::NotStarted, Nothing::NeverRestarted] {
            let pods: Vec<&Name> =
                self.nothing.iter().filter(|(_, w)| *w == why).map(|(pod, _)| pod).collect();
            match pods.as_slice() {
                [] => {}
                [pod] => tell(&format!("pilothouse: {pod}: {}", why.words())),
                pods => tell(&format!("pilothouse: {}: {}", count(pods.len(), "pod"), why.words())),
            }
        }
    }

    /// Says that only the newest lines were read.
    pub fn tell_part(&self, tail: u32) {
        let containers = count(self.read.len(), "container");
        let each = if self.read.len() == 1 { "" } else { "each of " };
        tell(&format!("pilothouse: the newest {} lines of {each}{containers}", grouped(tail.into())));
    }
}
