//! Where what comes of a container's log goes: to whoever has it open, or into the store.

use pilothouse_core::domain::id::Name;
use tokio::sync::mpsc;

use super::store::{LogInput, LogLine, Origin};

/// What comes of a container's log.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Line(LogLine),
    /// A note about the container, which replaces the one before; None removes it.
    Note {
        /// `namespace/name`.
        pod: Name,
        container: Name,
        words: Option<String>,
    },
}

/// Where it goes. False: nobody wants it any more.
pub(super) trait Out: Send {
    fn put(&mut self, told: Told) -> impl Future<Output = bool> + Send;
    /// Lines of which only the beginning was taken.
    fn cut(&mut self, _lines: u64) {}
}

impl Out for mpsc::Sender<Told> {
    async fn put(&mut self, told: Told) -> bool {
        self.send(told).await.is_ok()
    }
}

/// Into the store. Notes are dropped: nobody has this log open.
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
