//! The destinations of a container's log: an open log on the screen, or the store.

use pilothouse_core::domain::id::Name;
use tokio::sync::mpsc;

use super::store::{LogInput, LogLine, Origin};

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
    },
}

/// A destination. Its functions return `false` if the receiver was dropped.
pub(super) trait Out: Send {
    fn put(&mut self, told: Told) -> impl Future<Output = bool> + Send;
    /// Counts lines that were cut.
    fn cut(&mut self, _lines: u64) {}
}

impl Out for mpsc::Sender<Told> {
    async fn put(&mut self, told: Told) -> bool {
        self.send(told).await.is_ok()
    }
}

/// Writes to the store. Notes are dropped, because no screen shows this log.
#[derive(Debug)]
pub(super) struct Kept {
    input: LogInput,
    origin: Origin,
}

impl Kept {
    pub fn new(input: LogInput, origin: Origin) -> Self {
        Self { input, origin }
    }
}

impl Out for Kept {
    async fn put(&mut self, told: Told) -> bool {
        if let Told::Line(line) = told {
            self.input.push(line, &self.origin);
        }
        true
    }

    fn cut(&mut self, lines: u64) {
        self.input.lost(lines);
    }
}
