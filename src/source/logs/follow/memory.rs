//! A log that is read from memory. Its lines take the same way into the store as those of a connection, so benchmarks and
//! tests of that way need no server.

use std::sync::Arc;

use pilothouse_core::domain::id::Name;

use super::{LogQuery, Stream};
use crate::clock::Clock;
use crate::source::logs::Target;
use crate::source::logs::join::{SHORT, raw};
use crate::source::logs::out::{Kept, Troubles};
use crate::source::logs::store::{LogInput, Origin};
use crate::source::logs::twice::Twice;

/// The log of one container, as its kubelet sends it.
pub struct MemoryLog {
    stream: Stream,
    kept: Kept,
}

impl MemoryLog {
    pub fn new(input: LogInput, (namespace, pod, container): (&str, &str, &str), origin: Origin) -> Self {
        let (namespace, pod, container) = (Name::from(namespace), Name::from(pod), Name::from(container));
        let target = Target {
            namespace: namespace.clone(),
            pod: pod.clone(),
            container: container.clone(),
            workload: origin.workload,
            version: origin.version,
            image: origin.image,
            node: origin.node,
            ..Target::default()
        };
        // there is no log store
        let twice = Twice::default();
        twice.expect(false);
        let clock = Clock::system();
        let kept = Kept::new(input, &target, Arc::new(twice), Arc::new(Troubles::default()), clock);
        let query = LogQuery { namespace, pod, container, ..LogQuery::default() };
        Self { stream: Stream::new(query, String::new()), kept }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, data: &[u8]) {
        let mut raws = Vec::with_capacity(data.len() / SHORT + 1);
        self.stream.lines.feed(data, |line| raws.push(raw(line)));
        for line in self.stream.entries(raws) {
            self.kept.keep(line);
        }
    }

    /// Completes the last entry.
    pub fn finish(&mut self) {
        let mut raws = Vec::new();
        self.stream.lines.finish(|line| raws.push(raw(line)));
        for line in self.stream.entries(raws).into_iter().chain(self.stream.joiner.flush()) {
            self.kept.keep(line);
        }
    }
}
