//! Follows log files that the user names, by name as `tail -F` does, over rotations. A missing file is waited for. A name
//! can be a pattern, such as `/var/log/app/*.log`; files that match it later are followed too.

mod stdin;
mod tail;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::Mark;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::Fact;
use pilothouse_core::facts::world::Cluster;

pub use self::stdin::{STDIN, StdinLine, StdinRead, read_stdin};
use self::tail::{Tail, Take, is_compressed};
use super::Setup;
use super::logs::join::{Joiner, raw};
use super::logs::store::Origin;
use super::logs::{LogInput, keep_telling};
use super::sink::FactSink;
use crate::clock::Clock;

/// How often a file is read. An entry of several lines is complete if a read finds no more lines of it.
const EVERY: Duration = Duration::from_millis(500);
/// How often a healthy source reports its state.
const SAY_EVERY_MS: u64 = 10_000;
/// The number of failed reads after which the file counts as missing. A rotation takes a moment.
const FAILED_LOOKS: u32 = 4;
/// After how many reads the files of a pattern are searched again.
const SEARCH_EVERY: u32 = 4;
/// The maximum number of files of a pattern that are followed. The others are counted.
const FILES: usize = 200;

/// Starts one source for each file or pattern. Duplicates are ignored.
pub(super) fn start(setup: &Setup<'_>, sink: &FactSink) -> Vec<Name> {
    let mut files: Vec<&PathBuf> = setup.settings.logs.files.iter().collect();
    files.sort();
    files.dedup();
    let start = |path: &PathBuf| {
        let shown = path.display().to_string();
        let input = setup.lines.input(&format!("log file {}", text::clean(&shown)), "files");
        let (name, path, kept, out) = (input.source().clone(), path.clone(), input.clone(), sink.clone());
        setup.supervisor.spawn(name.to_string(), sink.clone(), move || {
            follow(Files::new(&path, kept.clone(), out.clock().clone()), out.clone())
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

async fn follow(mut log: Files, out: FactSink) {
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
                if is_new && log.is_holding() && !std::mem::replace(&mut waited, true) {
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

/// One file, or all files that match a pattern.
struct Files {
    /// The pattern, if the name is one.
    pattern: Option<String>,
    logs: Vec<FileLog>,
    /// How many files match.
    matching: usize,
    looks: u32,
    input: LogInput,
    clock: Clock,
}

impl Files {
    fn new(path: &Path, input: LogInput, clock: Clock) -> Self {
        let text = path.to_string_lossy();
        let is_pattern = text.contains(['*', '?', '[']) && !path.exists();
        let logs = if is_pattern { Vec::new() } else { vec![FileLog::new(Tail::new(path), &clock)] };
        let pattern = is_pattern.then(|| text.into_owned());
        Self { pattern, logs, matching: 1, looks: 0, input, clock }
    }

    /// Reads the new lines of all files. Returns `true` if there are more already.
    fn look(&mut self) -> io::Result<bool> {
        let search = self.looks.is_multiple_of(SEARCH_EVERY);
        let first = self.looks == 0;
        self.looks = self.looks.wrapping_add(1);
        if let Some(pattern) = self.pattern.clone().filter(|_| search) {
            self.search(&pattern, first)?;
        }
        let mut more = false;
        let mut failed = None;
        let input = &self.input;
        let is_pattern = self.pattern.is_some();
        self.logs.retain_mut(|log| match log.look(input) {
            Ok(left) => {
                log.failed = 0;
                more |= left;
                true
            }
            Err(error) => {
                log.failed += 1;
                // a file of a pattern that is gone is followed again when it is there again
                let stays = !is_pattern || log.failed < FAILED_LOOKS;
                failed = Some(error);
                stays
            }
        });
        let open = self.logs.iter().filter(|log| log.tail.is_open()).count();
        self.input.following(open, u32::try_from(self.matching).unwrap_or(u32::MAX));
        match failed {
            Some(error) if open == 0 || !is_pattern => Err(error),
            _ => Ok(more),
        }
    }

    /// Follows the files that match the pattern and are not followed yet.
    fn search(&mut self, pattern: &str, first: bool) -> io::Result<()> {
        let invalid = |e: glob::PatternError| io::Error::new(ErrorKind::Unsupported, e.to_string());
        let options =
            glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
        let found: Vec<PathBuf> =
            glob::glob_with(pattern, options).map_err(invalid)?.filter_map(Result::ok).collect();
        let mut matching = 0;
        for path in found {
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if !metadata.is_file() || is_old(&path) {
                continue;
            }
            matching += 1;
            let known = self.logs.iter().any(|log| log.tail.path() == path || log.tail.has(&path, &metadata));
            if known || self.logs.len() >= FILES {
                continue;
            }
            let tail = if first { Tail::new(&path) } else { Tail::of_new(&path) };
            self.logs.push(FileLog::new(tail, &self.clock));
        }
        self.matching = matching;
        if matching == 0 && self.logs.is_empty() {
            return Err(io::Error::new(
                ErrorKind::Unsupported,
                "no file matches; files are read once they are there",
            ));
        }
        Ok(())
    }

    fn is_holding(&self) -> bool {
        self.logs.iter().any(|log| log.joiner.is_holding())
    }
}

/// Whether the name is that of a file that was rotated: it is compressed, or ends with a number.
fn is_old(path: &Path) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    is_compressed(path)
        || name.rsplit_once('.').is_some_and(|(_, end)| digits(end))
        || name.rsplit_once('-').is_some_and(|(_, end)| digits(end) && end.len() >= 8)
}

/// Passes the lines of a file to the store.
struct FileLog {
    tail: Tail,
    joiner: Joiner,
    origin: Origin,
    clock: Clock,
    /// The number of reads that failed since the last one that did not.
    failed: u32,
}

impl FileLog {
    fn new(tail: Tail, clock: &Clock) -> Self {
        let path = tail.path();
        let name = path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
        // the lines are shown under the name of the file; a slash would look like a namespace
        let name = Name::from(text::clean(&name).replace('/', "_"));
        Self {
            joiner: Joiner::new(Name::default(), name.clone()),
            origin: Origin { workload: name, ..Origin::default() },
            tail,
            clock: clock.clone(),
            failed: 0,
        }
    }

    /// Reads the new lines. Returns `true` if there are more already.
    fn look(&mut self, input: &LogInput) -> io::Result<bool> {
        let (now, local) = (self.clock.now(), self.clock.local());
        let mut into =
            Into { joiner: &mut self.joiner, input, origin: &self.origin, now, local, last: now, any: false };
        let looked = self.tail.look(&mut into);
        if !into.any {
            for entry in self.joiner.flush() {
                input.push(entry, &self.origin);
            }
        }
        input.lost(self.tail.cut());
        looked
    }
}

/// The destination of a file's lines.
struct Into<'a> {
    joiner: &'a mut Joiner,
    input: &'a LogInput,
    origin: &'a Origin,
    now: Stamp,
    local: Stamp,
    /// The time of the last line.
    last: Stamp,
    any: bool,
}

impl Take for Into<'_> {
    fn line(&mut self, line: &[u8], written: Option<Stamp>) {
        self.any = true;
        // a line that names no time gets that of the last write to its file
        let at = written.map_or(self.now, |written| Stamp(self.now.0 - (self.local.0 - written.0).max(0)));
        let raw = raw(line).with_own_time(at);
        self.last = raw.at.unwrap_or(at);
        for entry in self.joiner.take(raw, at) {
            self.input.push(entry, self.origin);
        }
    }

    fn gap(&mut self, why: &str) {
        for entry in self.joiner.flush() {
            self.input.push(entry, self.origin);
        }
        self.input.push(self.joiner.marked(Mark::Gap, self.last, why), self.origin);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;
    use std::sync::Arc;

    use pilothouse_core::domain::log::Level;

    use super::super::logs::join::JUDGE_CAP;
    use super::super::logs::{LogFilter, LogStore};
    use super::*;

    const NOW: Stamp = Stamp(1_800_000_000_000);

    struct Rig {
        folder: tempfile::TempDir,
        store: Arc<LogStore>,
        log: Files,
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
            let log = Files::new(&path, store.input("log file app.log", "files"), Clock::manual(NOW));
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
            let lines = self.store.lines(&LogFilter::default(), 100_000);
            lines.iter().filter(|line| line.mark.is_none()).map(|line| line.text.clone()).collect()
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

    fn gaps(rig: &Rig) -> u64 {
        rig.log.input.summary(NOW).gaps
    }

    #[test]
    fn a_truncated_file_that_has_grown_past_its_old_length_is_noticed() {
        let mut rig = Rig::with("INFO old 1\nINFO old 2\n");
        rig.lines();
        fs::write(rig.path("app.log"), "INFO new 1\nINFO new 2\nINFO new 3\nINFO new 4\n").unwrap();
        let want = ["INFO old 1", "INFO old 2", "INFO new 1", "INFO new 2", "INFO new 3", "INFO new 4"];
        assert_eq!(rig.lines(), want);
        assert_eq!(gaps(&rig), 1, "nobody knows what was written before it was truncated");
    }

    #[test]
    fn the_rest_of_a_file_that_was_copied_and_truncated_is_read_from_the_copy() {
        let mut rig = Rig::with("INFO 1\n");
        rig.lines();
        rig.append("app.log", "INFO 2\nINFO ha");
        rig.lines();
        for round in 0..3 {
            rig.append("app.log", &format!("lf {round}\nINFO last {round}\n"));
            fs::rename(rig.path("app.log.1"), rig.path("app.log.2")).unwrap_or_default();
            fs::copy(rig.path("app.log"), rig.path("app.log.1")).unwrap();
            fs::write(rig.path("app.log"), format!("INFO first {round}\nINFO ha")).unwrap();
            rig.lines();
        }
        let want: Vec<String> = ["INFO 1".to_owned(), "INFO 2".to_owned()]
            .into_iter()
            .chain((0..3).flat_map(|n| {
                [format!("INFO half {n}"), format!("INFO last {n}"), format!("INFO first {n}")]
            }))
            .collect();
        assert_eq!(rig.lines(), want);
        assert_eq!(gaps(&rig), 0);
    }

    #[test]
    fn two_rotations_between_two_reads_lose_nothing() {
        let mut rig = Rig::with("INFO 1\n");
        rig.lines();
        for n in 2..5 {
            rig.append("app.log", &format!("INFO {n}\n"));
            for old in [2, 1] {
                let (from, to) = (format!("app.log.{old}"), format!("app.log.{}", old + 1));
                fs::rename(rig.path(&from), rig.path(&to)).unwrap_or_default();
            }
            fs::rename(rig.path("app.log"), rig.path("app.log.1")).unwrap();
            rig.append("app.log", "");
        }
        rig.append("app.log", "INFO 5\n");
        assert_eq!(rig.lines(), ["INFO 1", "INFO 2", "INFO 3", "INFO 4", "INFO 5"]);
        assert_eq!(gaps(&rig), 0);
    }

    #[test]
    fn a_pattern_follows_what_matches_and_what_comes_later() {
        let mut rig = Rig::with("INFO a\n");
        rig.append("other.txt", "INFO no\n");
        rig.append("app.log.1", "INFO rotated\n");
        let pattern = rig.path("*.log*");
        let input = rig.store.input("log file pattern", "files");
        rig.log = Files::new(&pattern, input, Clock::manual(NOW));
        assert_eq!(rig.lines(), ["INFO a"]);
        rig.append("new.log", "INFO b\n");
        rig.append("app.log", "INFO a2\n");
        for _ in 0..SEARCH_EVERY {
            rig.lines();
        }
        assert_eq!(rig.lines(), ["INFO a", "INFO a2", "INFO b"]);
        let summary = rig.log.input.summary(NOW);
        assert_eq!((summary.following, summary.candidates), (2, 2));
        // a rotated file has another name, but is no new file
        fs::rename(rig.path("new.log"), rig.path("new-1.log")).unwrap();
        rig.append("new-1.log", "INFO b2\n");
        rig.append("new.log", "INFO b3\n");
        for _ in 0..SEARCH_EVERY {
            rig.lines();
        }
        assert_eq!(rig.lines(), ["INFO a", "INFO a2", "INFO b", "INFO b2", "INFO b3"]);
        let folder = tempfile::tempdir().unwrap();
        let none = folder.path().join("*.log");
        let mut none = Files::new(&none, rig.store.input("x", "files"), Clock::manual(NOW));
        assert!(words(&none.look().unwrap_err()).contains("no file matches"));
    }

    /// A real logrotate, with a writer that reopens its file or not.
    fn rotated(option: &str, rounds: u32, reopens: bool) {
        let mut rig = Rig::with("INFO begins\n");
        rig.lines();
        let (log, config, state) = (rig.path("app.log"), rig.path("conf"), rig.path("state"));
        let text = format!("{} {{\n rotate 9\n {option}\n}}\n", log.display());
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let open = || OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let mut writer = open();
        let mut want = vec!["INFO begins".to_owned()];
        for round in 0..rounds {
            for n in 0..50 {
                let line = format!("INFO round {round} line {n}");
                writeln!(writer, "{line}").unwrap();
                want.push(line);
            }
            if round % 2 == 0 {
                rig.lines();
            }
            let done = std::process::Command::new("logrotate")
                .args(["--force", "--state"])
                .args([&state, &config])
                .output()
                .expect("logrotate");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            let line = format!("INFO after {round}");
            writeln!(writer, "{line}").unwrap();
            want.push(line);
            rig.lines();
            if reopens {
                writer = open();
            }
        }
        let got = rig.lines();
        assert_eq!(got, want, "{option}");
        assert_eq!(gaps(&rig), 0);
    }

    #[test]
    #[ignore = "needs logrotate"]
    fn a_real_logrotate_that_renames_loses_and_doubles_nothing() {
        rotated("create 0644", 6, true);
        rotated("nocreate", 6, true);
    }

    #[test]
    #[ignore = "needs logrotate"]
    fn a_real_logrotate_that_copies_and_truncates_loses_and_doubles_nothing() {
        rotated("copytruncate", 6, false);
        // the name of the copy has the day
        rotated("copytruncate\n dateext", 1, false);
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
        let store = Arc::new(LogStore::new(1 << 20));
        let mut log = Files::new(folder.path(), store.input("x", "files"), Clock::manual(NOW));
        assert_eq!(log.look().unwrap_err().kind(), ErrorKind::InvalidInput);
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
        all.spawn_once(follow(Files::new(&path, rig.log.input.clone(), Clock::manual(NOW)), out));
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
