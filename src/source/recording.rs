//! Recordings: the facts of a console as JSON lines after a header with the version. A recording has no tokens, no
//! values of Secrets and no log lines, because facts have none; the samples of error groups are left out.
//!
//! Facts that repeat themselves (heartbeats, measured use, summaries of logs) are thinned out, so that an hour is a
//! few megabytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Lines, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::log::{ErrorGroup, LogSummary};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Batch, Event, Fact, RECORDING, RecordingHeader};

/// Events that wait for the disk. If there are more, the recording ends, because one with a gap would be wrong.
const QUEUE: usize = 8_192;
/// The longest line that is read, in bytes.
const LONGEST: usize = 64 << 20;
/// A node's heartbeat is kept this often, which is often enough to see that it stops.
const LEASES_MS: u64 = 15_000;
/// The use of nodes and pods, and the summaries of logs, are kept this often.
const POLLS_MS: u64 = 30_000;

/// Writes events to a file, on a thread of its own.
pub struct Recorder {
    to: Option<SyncSender<Event>>,
    thin: Thin,
}

impl Recorder {
    /// Creates the file, which must not exist, readable by its owner only.
    pub fn create(path: &Path, contexts: Vec<String>) -> Result<Self, String> {
        use std::os::unix::fs::OpenOptionsExt;
        let failed = |e: std::io::Error| format!("--record {}: {e}", path.display());
        let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let mut out = BufWriter::new(file);
        let header = RecordingHeader { schema: RECORDING.into(), contexts };
        write(&mut out, &header).and_then(|()| out.flush()).map_err(failed)?;
        let (to, from) = sync_channel::<Event>(QUEUE);
        let place = path.display().to_string();
        let work = move || {
            while let Ok(event) = from.recv() {
                let mut written = write(&mut out, &event);
                // all that waits, then to the disk
                while written.is_ok() {
                    let Ok(event) = from.try_recv() else { break };
                    written = write(&mut out, &event);
                }
                if let Err(e) = written.and_then(|()| out.flush()) {
                    tracing::error!("the recording {place} ended: {e}");
                    return;
                }
            }
        };
        std::thread::Builder::new().name("recording".into()).spawn(work).map_err(failed)?;
        Ok(Self { to: Some(to), thin: Thin::default() })
    }

    /// Records an event. Never waits.
    pub fn record(&mut self, event: &Event) {
        let Some(to) = &self.to else { return };
        let Some(event) = self.thin.kept(event) else { return };
        match to.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::error!("the recording ended: the disk is too slow");
                self.to = None;
            }
            Err(TrySendError::Disconnected(_)) => self.to = None,
        }
    }
}

fn write(out: &mut impl Write, of: &impl serde::Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, of)?;
    out.write_all(b"\n")
}

/// Leaves out what repeats itself and what a recording must not contain.
#[derive(Default)]
struct Thin {
    leases: HashMap<(ClusterId, Name), Stamp>,
    polls: HashMap<(ClusterId, &'static str, Name), Stamp>,
    groups: HashMap<(ClusterId, Name), usize>,
}

impl Thin {
    /// Returns the event as it is recorded, or `None` if it is left out.
    fn kept(&mut self, event: &Event) -> Option<Event> {
        let (at, cluster) = (event.at, event.cluster);
        let fact = match &event.fact {
            Fact::Leases(Batch::Upsert(rows)) => {
                let kept: Vec<_> = rows
                    .iter()
                    .filter(|lease| {
                        let last =
                            self.leases.entry((cluster, lease.node.clone())).or_insert(Stamp(i64::MIN));
                        let due = *last == Stamp(i64::MIN) || at.since(*last) >= LEASES_MS;
                        if due {
                            *last = at;
                        }
                        due
                    })
                    .cloned()
                    .collect();
                if kept.is_empty() {
                    return None;
                }
                Fact::Leases(Batch::Upsert(kept))
            }
            Fact::NodeUsage { source, .. } if !self.is_due(event, "nodes", source) => return None,
            Fact::PodUsage { source, .. } if !self.is_due(event, "pods", source) => return None,
            Fact::Logs(summary) => {
                // a new group is kept at once
                let groups = self.groups.insert((cluster, summary.source.clone()), summary.groups.len());
                if groups == Some(summary.groups.len()) && !self.is_due(event, "logs", &summary.source) {
                    return None;
                }
                Fact::Logs(redacted(summary))
            }
            fact => fact.clone(),
        };
        Some(Event { at, cluster, fact })
    }

    fn is_due(&mut self, event: &Event, what: &'static str, source: &Name) -> bool {
        let last = self.polls.entry((event.cluster, what, source.clone())).or_insert(Stamp(i64::MIN));
        let due = *last == Stamp(i64::MIN) || event.at.since(*last) >= POLLS_MS;
        if due {
            *last = event.at;
        }
        due
    }
}

/// The groups of a summary without their sample lines. The templates stay, whose numbers, ids and addresses are masked.
fn redacted(summary: &LogSummary) -> LogSummary {
    let groups = summary
        .groups
        .iter()
        .map(|group| Arc::new(ErrorGroup { sample: Name::default(), ..ErrorGroup::clone(group) }));
    LogSummary { groups: groups.collect(), ..summary.clone() }
}

/// A recording that is read, line by line.
pub struct Recording {
    pub header: RecordingHeader,
    lines: Lines<BufReader<File>>,
    place: String,
    /// The number of the line that was read last.
    line: usize,
}

impl Recording {
    /// Opens a recording and reads its header.
    pub fn open(path: &Path) -> Result<Self, String> {
        let place = path.display().to_string();
        let file = File::open(path).map_err(|e| format!("{place}: {e}"))?;
        let mut lines = BufReader::new(file).lines();
        let first = match lines.next() {
            None => return Err(format!("{place}: the file is empty, so it is no recording")),
            Some(line) => line.map_err(|e| format!("{place}: {e}"))?,
        };
        let header: RecordingHeader = serde_json::from_str(&first)
            .map_err(|e| format!("{place}:1: this is no recording of pilothouse ({e})"))?;
        if header.schema != RECORDING {
            return Err(format!("{place}: its format is {}, but {RECORDING} is needed", header.schema));
        }
        Ok(Self { header, lines, place, line: 1 })
    }
}

impl Iterator for Recording {
    type Item = Result<Event, String>;

    /// Returns the next event. The last line of a console that was killed can be incomplete; it is left out.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = match self.lines.next()? {
                Ok(text) => text,
                Err(e) => return Some(Err(format!("{}:{}: {e}", self.place, self.line + 1))),
            };
            self.line += 1;
            if text.trim().is_empty() {
                continue;
            }
            if text.len() > LONGEST {
                return Some(Err(format!("{}:{}: the line is too long", self.place, self.line)));
            }
            return match serde_json::from_str(&text) {
                Ok(event) => Some(Ok(event)),
                Err(e) if e.is_eof() => None,
                Err(e) => Some(Err(format!("{}:{}: {e}", self.place, self.line))),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::node::{Node, NodeLease};

    use super::*;

    fn event(secs: i64, fact: Fact) -> Event {
        Event { at: Stamp::from_secs(secs), cluster: ClusterId(0), fact }
    }

    fn logs(sample: &str, groups: usize) -> Fact {
        let group = |n: usize| {
            let template = Name::from(format!("timeout {n}"));
            Arc::new(ErrorGroup { sample: sample.into(), template, ..ErrorGroup::default() })
        };
        let groups = (0..groups).map(group).collect();
        Fact::Logs(LogSummary { source: "logs".into(), groups, ..LogSummary::default() })
    }

    #[test]
    fn what_is_written_is_read_again_without_samples_and_repetitions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut recorder = Recorder::create(&path, vec!["prod".into()]).unwrap();
        assert!(Recorder::create(&path, Vec::new()).is_err(), "it does not overwrite");
        let node = event(0, Fact::Nodes(Batch::Upsert(vec![Node { name: "n1".into(), ..Node::default() }])));
        recorder.record(&node);
        for secs in 0..60 {
            let lease = NodeLease { node: "n1".into(), ..NodeLease::default() };
            recorder.record(&event(secs, Fact::Leases(Batch::Upsert(vec![lease]))));
            recorder.record(&event(secs, logs("password=hunter2", if secs < 45 { 1 } else { 2 })));
        }
        let written = |events: usize| loop {
            let text = std::fs::read_to_string(&path).unwrap();
            if text.lines().count() > events {
                return text;
            }
            std::thread::yield_now();
        };
        // one node, 4 heartbeats, and the logs at 0, 30, 45
        let text = written(8);
        assert!(!text.contains("hunter2") && text.contains("timeout 1"), "{text}");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let recording = Recording::open(&path).unwrap();
        assert_eq!(recording.header.contexts, ["prod"]);
        let events: Vec<Event> = recording.collect::<Result<_, _>>().unwrap();
        assert_eq!((events.len(), &events[0]), (8, &node));
    }

    #[test]
    fn a_file_that_is_no_recording_says_where_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            match Recording::open(&path) {
                Err(why) => why,
                Ok(recording) => match recording.collect::<Result<Vec<_>, _>>() {
                    Ok(events) => events.len().to_string(),
                    Err(why) => why,
                },
            }
        };
        let header = format!("{{\"schema\":\"{RECORDING}\",\"contexts\":[]}}\n");
        assert!(read("").contains("is empty"));
        assert!(read("hello\n").contains("x:1: this is no recording"));
        assert!(read("{\"schema\":\"other/v9\",\"contexts\":[]}\n").contains("other/v9"));
        assert!(read(&format!("{header}{{\"a\":1}}\n")).contains("x:2: "));
        assert_eq!(read(&header), "0");
        assert_eq!(read(&format!("{header}{{\"at\":\"2026-01-0")), "0", "it was killed while it wrote");
        assert!(Recording::open(&folder.path().join("none")).is_err());
    }
}
