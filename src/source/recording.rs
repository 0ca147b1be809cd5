//! Recordings: the facts of a console as compressed JSON lines (gzip) after a header with the version. A recording has no
//! tokens, no values of Secrets and no log lines, because facts have none; the samples of error groups are left out.
//!
//! Facts that repeat themselves (heartbeats, measured use, summaries of logs) are thinned out.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::log::{ErrorGroup, LogSummary};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Batch, Event, Fact, RECORDING, RecordingHeader};

use crate::clock::Clock;

/// Events that wait for the disk, and about how many bytes they need. If there are more, the recording ends, because one
/// with a gap would be wrong.
const QUEUE: usize = 8_192;
const QUEUE_BYTES: usize = 128 << 20;
/// How often what was recorded is written to the file. A console that is killed loses this much.
const FLUSH: Duration = Duration::from_secs(1);
/// How long the end of the console waits for the last bytes.
const LAST: Duration = Duration::from_millis(500);
/// The longest line that is read, in bytes.
const LONGEST: u64 = 64 << 20;
/// The first bytes of a compressed file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// A node's heartbeat is kept this often, which is often enough to see that it stops.
const LEASES_MS: u64 = 15_000;
/// The use of nodes and pods, and the summaries of logs, are kept this often.
const POLLS_MS: u64 = 30_000;

/// Is called if a recording ends before the console does, with the reason.
pub type Ended = Arc<dyn Fn(String) + Send + Sync>;

/// Writes events to a file, on a thread of its own.
pub struct Recorder {
    to: Option<SyncSender<Event>>,
    /// The size of the events that wait.
    waiting: Arc<AtomicUsize>,
    thin: Thin,
    place: String,
    ended: Ended,
    /// The thread closes it after the last byte.
    done: Receiver<()>,
}

impl Recorder {
    /// Creates the file, which must not exist, readable by its owner only.
    pub fn create(path: &Path, contexts: Vec<String>, ended: Ended) -> Result<Self, String> {
        use std::os::unix::fs::OpenOptionsExt;
        let failed = |e: std::io::Error| format!("--record {}: {e}", path.display());
        let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let mut out = GzEncoder::new(BufWriter::new(file), Compression::default());
        let header = RecordingHeader { schema: RECORDING.into(), contexts };
        write(&mut out, &header).and_then(|()| out.flush()).map_err(failed)?;
        let (to, from) = sync_channel::<Event>(QUEUE);
        let (open, done) = sync_channel::<()>(1);
        let place = path.display().to_string();
        let (told, at) = (ended.clone(), place.clone());
        let waiting = Arc::new(AtomicUsize::new(0));
        let done_with = waiting.clone();
        let work = move || {
            if let Err(e) = write_all(out, &from, &done_with) {
                told(format!("the recording {at} ended: {e}"));
            }
            drop(open);
        };
        std::thread::Builder::new().name("recording".into()).spawn(work).map_err(failed)?;
        Ok(Self { to: Some(to), waiting, thin: Thin::default(), place, ended, done })
    }

    /// Records an event. Never waits.
    pub fn record(&mut self, event: &Event) {
        let Some(to) = &self.to else { return };
        let Some(event) = self.thin.kept(event) else { return };
        let bytes = event.fact.bytes();
        let sent = if self.waiting.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            Err(TrySendError::Full(event))
        } else {
            self.waiting.fetch_add(bytes, Ordering::Relaxed);
            to.try_send(event)
        };
        match sent {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                (self.ended)(format!("the recording {} ended: the disk is too slow", self.place));
                self.to = None;
            }
            // the thread has said why
            Err(TrySendError::Disconnected(_)) => self.to = None,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.to = None;
        // it ends with an error in any case: the end is closed, or the disk hangs
        let _closed = self.done.recv_timeout(LAST);
    }
}

/// Writes the events until the sender is gone, and at least every [`FLUSH`] to the file.
fn write_all(
    mut out: GzEncoder<BufWriter<File>>,
    from: &Receiver<Event>,
    waiting: &AtomicUsize,
) -> std::io::Result<()> {
    let mut flushed = Clock::instant();
    let mut is_new = false;
    loop {
        match from.recv_timeout(FLUSH) {
            Ok(event) => {
                waiting.fetch_sub(event.fact.bytes(), Ordering::Relaxed);
                write(&mut out, &event)?;
                is_new = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return out.finish()?.flush(),
        }
        let now = Clock::instant();
        if is_new && now.saturating_duration_since(flushed) >= FLUSH {
            out.flush()?;
            (flushed, is_new) = (now, false);
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
                let is_due = self.is_due(event, "logs", &summary.source);
                if groups == Some(summary.groups.len()) && !is_due {
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
    from: Box<dyn BufRead + Send>,
    place: String,
    /// The number of the line that was read last.
    line: usize,
}

impl Recording {
    /// Opens a recording and reads its header. The lines of a file that is not compressed are read as they are.
    pub fn open(path: &Path) -> Result<Self, String> {
        let place = path.display().to_string();
        let failed = |e: std::io::Error| format!("{place}: {e}");
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let is_compressed = file.fill_buf().map_err(failed)?.starts_with(&GZIP);
        let mut from: Box<dyn BufRead + Send> =
            if is_compressed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
        let Some(first) = next_line(&mut from).map_err(failed)? else {
            return Err(format!("{place}: the file is empty, so it is no recording"));
        };
        let header: RecordingHeader = serde_json::from_str(&first)
            .map_err(|e| format!("{place}:1: this is no recording of pilothouse ({e})"))?;
        if header.schema != RECORDING {
            return Err(format!("{place}: its format is {}, but {RECORDING} is needed", header.schema));
        }
        Ok(Self { header, from, place, line: 1 })
    }
}

/// Returns the next line, or `None` at the end. The end of a compressed file is missing if the console was killed.
fn next_line(from: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    match from.take(LONGEST).read_until(b'\n', &mut line) {
        Ok(0) => return Ok(None),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Ok(read) if read as u64 == LONGEST => return Err(std::io::Error::other("the line is too long")),
        Ok(_) => {}
        Err(e) => return Err(e),
    }
    String::from_utf8(line).map(Some).map_err(|e| std::io::Error::new(ErrorKind::InvalidData, e))
}

impl Iterator for Recording {
    type Item = Result<Event, String>;

    /// Returns the next event. The last line of a console that was killed can be incomplete; it is left out.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = match next_line(&mut self.from) {
                Ok(text) => text?,
                Err(e) => return Some(Err(format!("{}:{}: {e}", self.place, self.line + 1))),
            };
            self.line += 1;
            if text.trim().is_empty() {
                continue;
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
    use std::os::unix::fs::PermissionsExt as _;

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
        let quiet: Ended = Arc::new(|why| panic!("{why}"));
        let mut recorder = Recorder::create(&path, vec!["prod".into()], quiet.clone()).unwrap();
        assert!(Recorder::create(&path, Vec::new(), quiet).is_err(), "it does not overwrite");
        let node = event(0, Fact::Nodes(Batch::Upsert(vec![Node { name: "n1".into(), ..Node::default() }])));
        recorder.record(&node);
        for secs in 0..60 {
            let lease = NodeLease { node: "n1".into(), ..NodeLease::default() };
            recorder.record(&event(secs, Fact::Leases(Batch::Upsert(vec![lease]))));
            recorder.record(&event(secs, logs("password=hunter2", if secs < 45 { 1 } else { 2 })));
        }
        drop(recorder);
        let mut text = String::new();
        MultiGzDecoder::new(File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
        // one node, 4 heartbeats, and the logs at 0, 30, 45
        assert!(!text.contains("hunter2") && text.contains("timeout 1"), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let recording = Recording::open(&path).unwrap();
        assert_eq!(recording.header.contexts, ["prod"]);
        let events: Vec<Event> = recording.collect::<Result<_, _>>().unwrap();
        assert_eq!((events.len(), &events[0]), (8, &node));
        // a console that was killed leaves a file without an end
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, whole.get(..whole.len() * 3 / 4).unwrap()).unwrap();
        let events: Vec<_> = Recording::open(&path).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(events.len() < 8, "{}", events.len());
    }

    #[test]
    fn a_recording_that_the_disk_ends_says_so() {
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        let out = GzEncoder::new(BufWriter::new(full), Compression::default());
        let (to, from) = sync_channel(1);
        to.send(event(0, logs("", 1))).unwrap();
        drop(to);
        assert_eq!(
            write_all(out, &from, &AtomicUsize::new(usize::MAX / 2)).map_err(|e| e.kind()),
            Err(ErrorKind::StorageFull)
        );
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
