//! Follows log files that the user names, by name as `tail -F` does. A file that is renamed is read to its end, and
//! the file that replaces it is read from its beginning. A truncated file is read from its beginning again. A missing
//! file is waited for.

mod stdin;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::Fact;
use pilothouse_core::facts::world::Cluster;

pub use self::stdin::{STDIN, StdinRead, read_stdin};
use super::Setup;
use super::logs::join::{JUDGE_CAP, Joiner, raw};
use super::logs::store::Origin;
use super::logs::{LogInput, keep_telling};
use super::sink::FactSink;
use crate::clock::Clock;
use crate::wire::frames::Lines;

/// How often a file is read. An entry of several lines is complete if a read finds no more lines of it.
const EVERY: Duration = Duration::from_millis(500);
/// How often a healthy source reports its state.
const SAY_EVERY_MS: u64 = 10_000;
/// The number of failed reads after which the file counts as missing. A rotation takes a moment.
const FAILED_LOOKS: u32 = 4;
/// The number of last lines that a file starts with, as in `tail`, and the number of bytes in which they are
/// searched.
const BEGIN_LINES: usize = 10;
const BEGIN_BYTES: u64 = 64 << 10;
/// The maximum number of bytes of a file in one read. The remaining bytes are read immediately afterwards.
const LOOK_BYTES: u64 = 8 << 20;

/// Starts one source for each file. Duplicates are ignored.
pub(super) fn start(setup: &Setup<'_>, sink: &FactSink) -> Vec<Name> {
    let mut files: Vec<&PathBuf> = setup.settings.logs.files.iter().collect();
    files.sort();
    files.dedup();
    let start = |path: &PathBuf| {
        let shown = path.display().to_string();
        let input = setup.lines.input(&format!("log file {}", text::clean(&shown)), "files");
        let (name, path, kept, out) = (input.source().clone(), path.clone(), input.clone(), sink.clone());
        setup.supervisor.spawn(name.to_string(), sink.clone(), move || {
            follow(FileLog::new(&path, kept.clone(), out.clock().clone()), out.clone())
        });
        keep_telling(&input, setup.supervisor, sink);
        name
    };
    files.into_iter().map(start).collect()
}

/// Whether each file has been read to its end once or cannot be read.
pub(super) fn is_settled(cluster: &Cluster, names: &[Name]) -> bool {
    names.iter().all(|name| {
        let failing = cluster.source(name).is_some_and(|s| s.state.is_trouble());
        failing || (cluster.source(name).is_some() && cluster.logs.of(name).is_some())
    })
}

async fn follow(mut log: FileLog, out: FactSink) {
    let mut held = SourceStatus { name: log.input.source().clone(), ..SourceStatus::default() };
    let mut failed_looks = 0;
    let mut waited = false;
    loop {
        // reading can block if the disk does not respond
        let looked = tokio::task::spawn_blocking(move || {
            let looked = log.look();
            (log, looked)
        });
        let looked = match looked.await {
            Ok((back, looked)) => {
                log = back;
                looked
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        let now = out.clock().now();
        let more = match looked {
            Ok(more) => {
                failed_looks = 0;
                let is_new = held.state != SourceState::Live;
                if is_new && log.joiner.is_holding() && !std::mem::replace(&mut waited, true) {
                    // the next read completes the last entry, which is part of the existing lines
                    tokio::time::sleep(EVERY).await;
                    continue;
                }
                if is_new {
                    // the existing lines are published before the state that they were read
                    out.fact(Fact::Logs(log.input.summary(now))).await;
                }
                if is_new || held.last_ok.is_none_or(|said| now.since(said) >= SAY_EVERY_MS) {
                    let (name, last_ok) = (held.name, Some(now));
                    held =
                        SourceStatus { name, state: SourceState::Live, last_ok, ..SourceStatus::default() };
                    out.status(held.clone()).await;
                }
                more
            }
            Err(error) => {
                failed_looks += 1;
                waited = false;
                let words = Name::from(words(&error));
                if held.last_ok.is_none() || failed_looks >= FAILED_LOOKS {
                    let state = match (&held.state, held.last_ok) {
                        (SourceState::Live, Some(since)) => SourceState::Stale { since },
                        (SourceState::Starting, _) => SourceState::Down { since: now },
                        (before, _) => before.clone(),
                    };
                    if held.state != state || held.error.as_ref() != Some(&words) {
                        (held.state, held.error, held.attempts) = (state, Some(words), failed_looks);
                        held.lasting =
                            matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput);
                        out.status(held.clone()).await;
                    }
                }
                false
            }
        };
        if !more {
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Describes the error of a file and its consequence.
fn words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file; it is read once it is there".into(),
        ErrorKind::InvalidInput => "this is not a regular file: only a file can be followed".into(),
        _ => text::clean(&error.to_string()).into_owned(),
    }
}

/// Passes the lines of a file to the store.
struct FileLog {
    tail: Tail,
    joiner: Joiner,
    input: LogInput,
    origin: Origin,
    clock: Clock,
}

impl FileLog {
    fn new(path: &Path, input: LogInput, clock: Clock) -> Self {
        let name = path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
        // the lines are shown under the name of the file; a slash would look like a namespace
        let name = Name::from(text::clean(&name).replace('/', "_"));
        Self {
            tail: Tail::new(path),
            joiner: Joiner::new(Name::default(), name.clone()),
            input,
            origin: Origin { workload: name, version: Name::default() },
            clock,
        }
    }

    /// Reads the new lines. Returns `true` if there are more already.
    fn look(&mut self) -> io::Result<bool> {
        let (now, local) = (self.clock.now(), self.clock.local());
        let (joiner, input, origin) = (&mut self.joiner, &self.input, &self.origin);
        let mut any = false;
        let looked = self.tail.look(&mut |line, written| {
            any = true;
            // a line without a timestamp gets the time of the last write to its file
            let at = written.map_or(now, |written| Stamp(now.0 - (local.0 - written.0).max(0)));
            if let Some(entry) = joiner.take(&raw(line), at) {
                input.push(entry, origin);
            }
        });
        if !any && let Some(entry) = joiner.flush() {
            input.push(entry, origin);
        }
        input.lost(self.tail.cut());
        input.following(usize::from(self.tail.now.is_some()), 1);
        looked
    }
}

/// Receives a line, and the time of the last write to the file if the line is older than this read.
type Take<'a> = &'a mut dyn FnMut(&[u8], Option<Stamp>);

/// A file that is followed by its name.
struct Tail {
    path: PathBuf,
    now: Option<Open>,
    /// The file that was renamed. Its writer may not have reopened the path yet.
    before: Option<Open>,
    /// Whether the path was opened once. A file that exists from the start is read from its end.
    has_looked: bool,
    /// The number of lines of closed files that were cut.
    cut: u64,
}

struct Open {
    file: File,
    /// The device and inode.
    id: (u64, u64),
    read: u64,
    lines: Lines,
    /// The number of cut lines that were reported.
    told: u64,
}

impl Tail {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), now: None, before: None, has_looked: false, cut: 0 }
    }

    /// Returns the number of newly cut lines. Each is reported once.
    fn cut(&mut self) -> u64 {
        let open = self.now.as_mut().map_or(0, Open::cut);
        std::mem::take(&mut self.cut) + open
    }

    /// Passes the new lines on. Returns `true` if there are more already.
    fn look(&mut self, take: Take<'_>) -> io::Result<bool> {
        if let Some(before) = &mut self.before {
            if before.read(LOOK_BYTES, take)? {
                return Ok(true);
            }
            before.lines.finish(|line| take(line, None));
            self.cut += before.cut();
            self.before = None;
        }
        let first = !std::mem::replace(&mut self.has_looked, true);
        let Some(now) = &mut self.now else {
            let mut opened = Open::new(&self.path)?;
            if first {
                opened.begin(take)?;
            }
            return self.now.insert(opened).read(LOOK_BYTES, take);
        };
        if now.read(LOOK_BYTES, take)? {
            return Ok(true);
        }
        let found = std::fs::metadata(&self.path)?;
        if id(&found) == now.id {
            if now.file.metadata()?.len() < now.read {
                now.lines.finish(|line| take(line, None));
                now.read = now.file.seek(SeekFrom::Start(0))?;
            }
            return now.read(LOOK_BYTES, take);
        }
        let opened = Open::new(&self.path)?;
        self.before = self.now.replace(opened);
        // the new file is read next time, after the rest of the old one, so that the writer can reopen the path until
        // then
        Ok(false)
    }
}

fn id(file: &std::fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn written(file: &std::fs::Metadata) -> Option<Stamp> {
    let age = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(age.as_millis()).ok().map(Stamp)
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        // opening a pipe without a writer would block
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        let file =
            OpenOptions::new().read(true).custom_flags(i32::try_from(flags).unwrap_or(0)).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(Self { file, id: id(&found), read: 0, lines: Lines::cut(JUDGE_CAP), told: 0 })
    }

    fn cut(&mut self) -> u64 {
        let cut = self.lines.oversized();
        cut - std::mem::replace(&mut self.told, cut)
    }

    /// Passes the last existing lines on, and continues after them.
    fn begin(&mut self, take: Take<'_>) -> io::Result<()> {
        let found = self.file.metadata()?;
        let from = found.len().saturating_sub(BEGIN_BYTES);
        self.read = self.file.seek(SeekFrom::Start(from))?;
        let mut end = Vec::new();
        self.read += (&mut self.file).take(found.len() - from).read_to_end(&mut end)? as u64;
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', &end).collect();
        // the last lines start after the end of the line before them; the first one may lack its beginning
        let skipped = match ends.len().checked_sub(BEGIN_LINES + 1) {
            Some(before) => ends.get(before).map_or(0, |at| at + 1),
            None if from > 0 => ends.first().map_or(end.len(), |at| at + 1),
            None => 0,
        };
        let at = written(&found);
        self.lines.feed(end.get(skipped..).unwrap_or_default(), |line| take(line, at));
        Ok(())
    }

    /// Passes the complete lines on. Returns `true` if there may be more than these bytes.
    fn read(&mut self, most: u64, take: Take<'_>) -> io::Result<bool> {
        let mut chunk = vec![0; 64 << 10];
        let mut left = most;
        while left > 0 {
            let got = match self.file.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            self.read += got as u64;
            left = left.saturating_sub(got as u64);
            self.lines.feed(chunk.get(..got).unwrap_or_default(), |line| take(line, None));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::sync::Arc;

    use pilothouse_core::domain::log::Level;

    use super::super::logs::{LogFilter, LogStore};
    use super::*;

    const NOW: Stamp = Stamp(1_800_000_000_000);

    struct Rig {
        folder: tempfile::TempDir,
        store: Arc<LogStore>,
        log: FileLog,
    }

    impl Rig {
        fn new() -> Self {
            Self::with("")
        }

        /// Creates a folder with a file `app.log` that has this text, if any.
        fn with(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("app.log");
            if !text.is_empty() {
                fs::write(&path, text).unwrap();
            }
            let store = Arc::new(LogStore::new(1 << 20));
            let log = FileLog::new(&path, store.input("log file app.log", "files"), Clock::manual(NOW));
            Self { folder, store, log }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn append(&self, name: &str, text: &str) {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).create(true).open(self.path(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// Reads until there are no new lines and each entry is complete. Returns all lines so far.
        fn lines(&mut self) -> Vec<String> {
            // the rest of an old file, the file, and the completion of its last entry
            for _ in 0..3 {
                while self.log.look().is_ok_and(|more| more) {}
            }
            let lines = self.store.lines(&LogFilter::default(), 1000);
            lines.iter().map(|line| line.text.to_string()).collect()
        }
    }

    #[test]
    fn a_file_that_is_there_begins_with_its_last_ten_lines() {
        let text = (0..30).map(|n| format!("INFO line {n}\n")).collect::<Vec<_>>().concat();
        let mut rig = Rig::with(&text);
        let lines = rig.lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[9].as_str()), (10, "INFO line 20", "INFO line 29"));
        rig.append("app.log", "INFO next\n");
        assert_eq!(rig.lines().last().unwrap(), "INFO next");
        assert_eq!(rig.lines().len(), 11, "nothing is read twice");
        // this also holds if the first of the last lines is longer than the searched bytes
        let mut rig = Rig::with(&format!("{}\nINFO short\n", "x".repeat(100_000)));
        assert_eq!(rig.lines(), ["INFO short"]);
    }

    #[test]
    fn errors_are_grouped_and_traces_are_one_entry() {
        let mut rig = Rig::with("INFO begins\n");
        rig.lines();
        rig.append("app.log", "\x1b[31mERROR\x1b[0m refused by 10.0.0.7\n\tat a.b(C.java:1)\x07\n");
        rig.append("app.log", "2026-01-01T00:00:00Z ERROR refused by 10.0.0.9\n");
        rig.lines();
        let lines = rig.store.lines(&LogFilter { at_least: Some(Level::Error), ..LogFilter::default() }, 9);
        let told: Vec<_> =
            lines.iter().map(|l| (l.text.lines().count(), l.container.as_str(), l.at)).collect();
        let stamp = Stamp::parse("2026-01-01T00:00:00Z").unwrap();
        assert_eq!(told, [(1, "app.log", stamp), (2, "app.log", NOW)], "its own time, else when it came");
        let text = lines[1].text.as_str();
        assert!(text.starts_with("ERROR refused by 10.0.0.7\n") && text.ends_with("(C.java:1)␇"), "{text}");
        let summary = rig.log.input.summary(NOW);
        assert_eq!((&*summary.unit, summary.following, summary.candidates), ("files", 1, 1));
        let group = &summary.groups[0];
        assert_eq!((group.count, &*group.workloads, group.pod_count), (2, &["app.log".into()][..], 0));
    }

    #[test]
    fn a_renamed_file_is_read_to_its_end_before_the_one_in_its_place() {
        let mut rig = Rig::with("INFO 1\n");
        rig.lines();
        rig.append("app.log", "INFO 2\nINFO half");
        fs::rename(rig.path("app.log"), rig.path("app.log.1")).unwrap();
        // for a moment no file has the name, and the writer still has the old one open
        assert_eq!(rig.log.look().unwrap_err().kind(), ErrorKind::NotFound);
        rig.append("app.log.1", " and half\n");
        rig.append("app.log", "INFO new\n");
        assert!(!rig.log.look().unwrap());
        // the writer reopens the path late
        rig.append("app.log.1", "INFO late");
        assert_eq!(rig.lines(), ["INFO 1", "INFO 2", "INFO half and half", "INFO late", "INFO new"]);
        rig.append("app.log.1", "INFO nobody reads this\n");
        rig.append("app.log", "INFO newer\n");
        assert_eq!(rig.lines().last().unwrap(), "INFO newer");
        assert_eq!(rig.lines().len(), 6);
    }

    #[test]
    fn a_file_that_is_replaced_at_once_is_read_from_its_beginning() {
        let mut rig = Rig::with("INFO old\n");
        rig.lines();
        rig.append("next", "INFO a\nINFO b\n");
        fs::rename(rig.path("next"), rig.path("app.log")).unwrap();
        assert_eq!(rig.lines(), ["INFO old", "INFO a", "INFO b"]);
    }

    #[test]
    fn a_truncated_file_is_read_from_its_beginning() {
        let mut rig = Rig::with("INFO a long line of before\nINFO half");
        rig.lines();
        fs::write(rig.path("app.log"), "INFO after\n").unwrap();
        assert_eq!(rig.lines(), ["INFO a long line of before", "INFO half", "INFO after"]);
        // the file is truncated, read, and written again
        fs::write(rig.path("app.log"), "").unwrap();
        rig.lines();
        rig.append("app.log", "INFO again and longer than all that was there before\n");
        assert_eq!(rig.lines().last().unwrap(), "INFO again and longer than all that was there before");
        assert_eq!(rig.lines().len(), 4);
    }

    #[test]
    fn a_file_that_comes_later_is_read_from_its_beginning() {
        let mut rig = Rig::new();
        let error = rig.log.look().unwrap_err();
        assert_eq!(words(&error), "there is no such file; it is read once it is there");
        assert_eq!(rig.log.input.summary(NOW).following, 0);
        let text = (0..30).map(|n| format!("INFO line {n}\n")).collect::<Vec<_>>().concat();
        rig.append("app.log", &text);
        assert_eq!(rig.lines().len(), 30);
    }

    #[test]
    fn only_a_regular_file_is_followed_and_long_lines_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            Tail::new(folder.path()).look(&mut |_, _| {}).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        let mut rig = Rig::with("INFO 1\n");
        rig.lines();
        rig.append("app.log", &format!("{}\n", "x".repeat(JUDGE_CAP + 1)));
        rig.lines();
        rig.lines();
        assert_eq!(rig.log.input.summary(NOW).dropped, 1, "told once");
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_says_what_is_wrong_and_that_it_is_over() {
        use pilothouse_core::domain::id::ClusterId;
        use pilothouse_core::facts::event::Event;
        use tokio::sync::mpsc;

        async fn status(told: &mut mpsc::Receiver<Event>) -> SourceStatus {
            match told.recv().await.unwrap().fact {
                Fact::Source(status) => status,
                other => panic!("{other:?}"),
            }
        }
        let rig = Rig::new();
        let path = rig.path("app.log");
        let (facts, mut seen) = mpsc::channel(64);
        let (control, mut told) = mpsc::channel(64);
        let out = FactSink::new(ClusterId(0), Clock::manual(NOW), facts, control);
        let all = super::super::supervise::Supervisor::new();
        all.spawn_once(follow(FileLog::new(&path, rig.log.input.clone(), Clock::manual(NOW)), out));
        let first = status(&mut told).await;
        assert_eq!(first.state, SourceState::Down { since: NOW });
        assert!(first.error.is_some_and(|e| e.contains("no such file")));
        fs::write(&path, "INFO x\n").unwrap();
        let live = status(&mut told).await;
        assert_eq!(
            (live.state, live.error, live.name.as_str()),
            (SourceState::Live, None, "log file app.log")
        );
        assert!(matches!(seen.recv().await.unwrap().fact, Fact::Logs(s) if s.following == 1));
        // a rotation takes a moment; a file that is missing for longer is reported
        fs::remove_file(&path).unwrap();
        let gone = status(&mut told).await;
        assert_eq!((gone.state, gone.attempts), (SourceState::Stale { since: NOW }, FAILED_LOOKS));
        assert!(all.shutdown(Duration::from_secs(5)).await);
    }
}
