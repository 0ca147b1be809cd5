//! The journal: the intents, the requests and their results. A record is on disk before its request is sent.
//!
//! There is one append-only file per process (mode 0600, locked while the process runs) with a JSON line per record and a
//! CRC-32 over its text. Every record is synced to the disk before the action goes on. A crash can leave an incomplete last
//! line: it is reported and skipped, and everything before it counts. `folder` decides which files are trusted,
//! `told` turns records into actions, `place` adds the cluster to each line, `claim` lets one process resume an action,
//! `prune` removes old files.

mod claim;
pub(crate) mod folder;
mod place;
mod prune;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pilothouse_core::domain::id::{Name, ObjectRef};
use pilothouse_core::domain::plan::{Plan, Step};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{ActionView, Outcome, StepState, StepView};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::identity::Clusters;

use place::{Body, Contexts};

pub use claim::{Claim, ClaimError};
pub use told::{Chapter, Gap, Mark, Told, actions};

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// A confirmed plan, before anything is sent.
    Intent {
        id: Name,
        at: Stamp,
        user: String,
        host: String,
        plan: Box<Plan>,
        /// The unfinished action of another process that this one resumes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<Follows>,
        /// The clusters of the action.
        #[serde(default, skip_serializing_if = "Clusters::is_empty")]
        clusters: Clusters,
    },
    /// A step that was not in the plan: a new pod on the node, or a node that is uncordoned again.
    Added {
        id: Name,
        at: Stamp,
        step: Box<Step>,
        /// The step's number in later records. Older journals counted instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<usize>,
    },
    /// The current or next state of a step.
    Step {
        id: Name,
        at: Stamp,
        step: usize,
        state: StepState,
        note: String,
        /// The value that a restart writes. A later process uses it to determine whether the restart was applied.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        stamp: String,
        /// A checksum of the template after a restart. A later process uses it to determine whether the rollout
        /// belongs to the restart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<u32>,
    },
    Ended {
        id: Name,
        at: Stamp,
        outcome: Outcome,
        message: String,
        /// The process was ended by a hang-up, so steps are left that can be resumed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        interrupted: bool,
    },
    /// An unfinished action of another process was closed without an action of its own.
    Followed { id: Name, at: Stamp, by: Name, how: How },
}

/// Names an unfinished action that is closed, and how it is closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Follows {
    pub id: Name,
    pub how: How,
    /// The nodes that the closed action had cordoned. This action may uncordon them.
    #[serde(default)]
    pub cordoned: Vec<ObjectRef>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    Resumed,
    Compensated,
    Dismissed,
}

impl How {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::Compensated => "compensated",
            Self::Dismissed => "dismissed",
        }
    }
}

impl Record {
    pub fn id(&self) -> &Name {
        match self {
            Self::Intent { id, .. }
            | Self::Added { id, .. }
            | Self::Step { id, .. }
            | Self::Ended { id, .. }
            | Self::Followed { id, .. } => id,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    crc: u32,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// The reason why the journal cannot be used.
#[derive(Debug)]
pub struct JournalError {
    /// The path. It is empty if there is no folder for the journal.
    pub path: PathBuf,
    pub error: Error,
}

impl std::error::Error for JournalError {}

impl std::fmt::Display for JournalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.as_os_str().is_empty() {
            return write!(f, "there is no journal: {}", self.error);
        }
        write!(f, "journal {}: {}", self.path.display(), self.error)
    }
}

/// Whether a [`Probe`] sees a record before or after it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// Called for each record, so that a test can end the process at any of them.
pub type Probe = Arc<dyn Fn(&Record, Moment) + Send + Sync>;

/// This process's journal. The file is created with the first record, so a process that only reads leaves no file.
#[derive(Clone)]
pub struct Journal {
    /// The folder, or `None` if this user has none.
    folder: Option<Arc<PathBuf>>,
    owner: Arc<str>,
    file: Arc<Mutex<Open>>,
    /// The contexts of the actions that this process has begun.
    contexts: Arc<Mutex<BTreeMap<Name, Contexts>>>,
    /// Records that could not be written to disk, for an action that the user continued anyway. They are also printed
    /// unless `quiet` is set.
    kept: Arc<Mutex<Vec<String>>>,
    quiet: bool,
    probe: Option<Probe>,
}

/// The open file.
#[derive(Default)]
struct Open {
    file: Option<File>,
    /// Whether this process created the file before and is reopening it.
    made: bool,
    /// The actions whose intent is in this file. Their other records are written here too.
    begun: BTreeSet<Name>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Journal {
    /// `owner` names the file and must be unique to this process (start time and pid).
    pub fn new(folder: PathBuf, owner: &str) -> Self {
        Self {
            folder: Some(Arc::new(folder)),
            owner: owner.into(),
            file: Arc::default(),
            contexts: Arc::default(),
            kept: Arc::default(),
            quiet: false,
            probe: None,
        }
    }

    /// Returns the journal of a user without a folder. It can neither be written nor read.
    pub fn nowhere() -> Self {
        Self { folder: None, ..Self::new(PathBuf::new(), "") }
    }

    /// A journal that calls `probe` for each record before it is written and after it is on disk.
    pub fn with_probe(folder: PathBuf, owner: &str, probe: Probe) -> Self {
        Self { probe: Some(probe), ..Self::new(folder, owner) }
    }

    /// Checks that records can be written now and that the folder has room for a large plan. Returns an error if not.
    pub fn usable(&self) -> Result<(), JournalError> {
        const ROOM: usize = 64 << 10;
        // one attempt at a time, because every rehearsal calls this
        let _one = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder()?.join(format!("{}.try", self.owner));
        let written = folder::make(self.folder()?).and_then(|()| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let written = file.write_all(&vec![b' '; ROOM]).and_then(|()| file.sync_data());
            written.and(std::fs::remove_file(&path))
        });
        written.map_err(|error| JournalError { path: self.path(), error })
    }

    /// Prints nothing for records in memory, because the screen is in use. Print [`Journal::kept`] at the end.
    pub fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// Writes to disk, or, if that fails, to memory and standard error, because the user confirmed that the action
    /// continues so.
    pub fn write_or_keep(&self, record: &Record) -> Result<(), JournalError> {
        let body = self.body(record)?;
        if self.write_body(record, &body).is_ok() {
            return Ok(());
        }
        let body = body.get().to_owned();
        if !self.quiet {
            // a closed standard error is no reason to stop, because the record is in memory
            let _unheard = writeln!(std::io::stderr().lock(), "journal: {body}");
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        Ok(())
    }

    /// Returns the records that are only in memory.
    pub fn kept(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the folder with the files of all processes.
    pub fn folder(&self) -> Result<&Path, JournalError> {
        self.folder.as_deref().map(PathBuf::as_path).ok_or_else(|| JournalError {
            path: PathBuf::new(),
            error: Error::new(
                ErrorKind::NotFound,
                "this user has no home directory; set HOME or XDG_STATE_HOME to a folder of your own",
            ),
        })
    }

    fn path(&self) -> PathBuf {
        self.folder().map(|folder| folder.join(format!("{}.jsonl", self.owner))).unwrap_or_default()
    }

    /// Appends a record and waits until it is on disk. After an error, the request must not be sent.
    pub fn write(&self, record: &Record) -> Result<(), JournalError> {
        self.write_body(record, &self.body(record)?)
    }

    fn body(&self, record: &Record) -> Result<Box<RawValue>, JournalError> {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        let body = serde_json::value::to_raw_value(&Body::of(self, &mut contexts, record));
        body.map_err(|e| JournalError { path: self.path(), error: e.into() })
    }

    fn write_body(&self, record: &Record, body: &RawValue) -> Result<(), JournalError> {
        let see = |moment| self.probe.as_ref().into_iter().for_each(|probe| probe(record, moment));
        see(Moment::Before);
        self.folder()?;
        let error = |error| JournalError { path: self.path(), error };
        let line = Line { crc: crc32fast::hash(body.get().as_bytes()), body };
        let mut text = serde_json::to_vec(&line).map_err(|e| error(e.into()))?;
        text.push(b'\n');
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.append(&mut open, record, &text);
        drop(open);
        see(Moment::After);
        written.map_err(error)
    }

    fn append(&self, open: &mut Open, record: &Record, text: &[u8]) -> std::io::Result<()> {
        let path = self.path();
        if let Some(file) = &open.file
            && let Err(gone) = folder::in_place(file, &path)
        {
            // its actions can no longer be recorded, so no further step of them may start
            *open = Open::default();
            return Err(gone);
        }
        let begins = matches!(record, Record::Intent { .. } | Record::Followed { .. });
        if !begins && !open.begun.contains(record.id()) {
            return Err(Error::other("the file with the beginning of this action is gone"));
        }
        let file = match &mut open.file {
            Some(file) => file,
            None => open.file.insert(self.open(open.made)?),
        };
        open.made = true;
        if let Err(error) = file.write_all(text).and_then(|()| file.sync_data()) {
            // half a line may be in the file, so the next record starts on a new line
            open.file = None;
            return Err(error);
        }
        match record {
            Record::Intent { id, .. } => drop(open.begun.insert(id.clone())),
            Record::Ended { id, .. } => drop(open.begun.remove(id)),
            Record::Added { .. } | Record::Step { .. } | Record::Followed { .. } => {}
        }
        Ok(())
    }

    /// Opens the file. `again` tells whether it was created before.
    fn open(&self, again: bool) -> std::io::Result<File> {
        /// The number of attempts to lock a new file. Other processes lock it for a moment to check it.
        const LOOKS: u32 = 1000;
        let Some(folder) = &self.folder else { return Err(ErrorKind::NotFound.into()) };
        folder::make(folder)?;
        let path = self.path();
        let mut file = if again { folder::append(&path)? } else { folder::create(&path)? };
        for look in 0.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if look < LOOKS => std::thread::yield_now(),
                Err(e) => return Err(Error::other(e.to_string())),
            }
        }
        if again {
            file.write_all(b"\n")?;
        }
        // the file's name must survive a crash, like its contents
        File::open(&**folder)?.sync_all()?;
        Ok(file)
    }

    /// Returns the content of every file in the folder, the newest first, and the parts that could not be read.
    pub fn chapters(&self) -> (Vec<Chapter>, Vec<Gap>) {
        let Ok(folder) = self.folder() else { return (Vec::new(), Vec::new()) };
        let entries = match folder::trusted(folder).and_then(|()| std::fs::read_dir(folder)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return (Vec::new(), Vec::new()),
            Err(e) => {
                let what = format!("journal {}: {e}: no action of it can be shown", folder.display());
                return (Vec::new(), vec![Gap::lost(what)]);
            }
        };
        let is_journal = |path: &PathBuf| path.extension().is_some_and(|e| e == "jsonl");
        let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(is_journal).collect();
        // the files are named after the start time of their process
        paths.sort_unstable_by(|a, b| b.cmp(a));
        let (mut chapters, mut gaps, mut room) = (Vec::new(), Vec::new(), told::KEPT_BYTES);
        for path in paths {
            let file = match folder::open(&path) {
                Ok(file) => file,
                Err(e) => {
                    gaps.push(Gap::lost(format!("{}: {e}", path.display())));
                    continue;
                }
            };
            let own = path == self.path();
            // checked first, so that records written between the check and the read do not belong to a dead process
            let alive = own || is_locked(&file);
            let (chapter, more) = told::read(file, &path, &mut room);
            gaps.extend(more);
            chapters.push(Chapter { alive, own, ..chapter });
        }
        (chapters, gaps)
    }

    /// Returns every action in the journals of the folder, the newest first, and the parts that could not be read.
    pub fn history(&self) -> (Vec<Arc<ActionView>>, Vec<Gap>) {
        let (chapters, gaps) = self.chapters();
        (told::actions(chapters), gaps)
    }
}

/// Whether a running process has locked the file.
fn is_locked(file: &File) -> bool {
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => false,
        Ok(()) => {
            if let Err(error) = file.unlock() {
                // closing the file does the same
                tracing::debug!(%error, "cannot be unlocked");
            }
            false
        }
    }
}

/// Returns the view of an action that has just been confirmed.
pub fn view(id: &Name, at: Stamp, plan: &Plan, foreign: bool) -> ActionView {
    ActionView { foreign, ..ActionView::new(id.clone(), Arc::new(plan.clone()), at) }
}

/// Appends a step that was not in the plan.
pub fn add(action: &mut ActionView, step: &Step) {
    Arc::make_mut(&mut action.plan).steps.push(step.clone());
    action.steps.push(StepView::waiting(step));
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{ClusterId, Kind, ObjectRef, Uid};
    use pilothouse_core::domain::plan::{Act, Intent, Step, StepKind};

    use super::*;

    fn plan() -> Plan {
        let node = ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &"n".into(), &Uid::Uuid(1));
        let intent = Intent {
            cluster: ClusterId(0),
            context: "test".into(),
            act: Act::Cordon,
            targets: vec![node.clone()],
        };
        let mut plan = Plan::new(intent, Stamp(0));
        plan.steps.push(Step::new(StepKind::Cordon, node));
        plan
    }

    pub(super) fn intent(id: &str) -> Record {
        Record::Intent {
            id: id.into(),
            at: Stamp(1000),
            user: "u".into(),
            host: "h".into(),
            plan: Box::new(plan()),
            follows: None,
            clusters: Clusters::new(),
        }
    }

    pub(super) fn ended(id: &str) -> Record {
        Record::Ended {
            id: id.into(),
            at: Stamp(2000),
            outcome: Outcome::Done,
            message: "ok".into(),
            interrupted: false,
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_living_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("journal"), "a");
        assert!(journal.history().0.is_empty());
        journal.write(&intent("1")).unwrap();
        let other = Journal::new(folder.path().join("journal"), "b");
        assert_eq!(other.history().0[0].outcome, None, "its process lives");
        drop(journal);
        let (actions, problems) = other.history();
        assert_eq!(actions[0].outcome, Some(Outcome::Unknown), "its process is gone and it never ended");
        assert!(actions[0].foreign);
        assert!(problems.is_empty());
    }

    #[test]
    fn what_was_dismissed_or_resumed_is_not_unfinished_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("journal"), "a");
        for id in ["1", "2", "3"] {
            journal.write(&intent(id)).unwrap();
        }
        drop(journal);
        let other = Journal::new(folder.path().join("journal"), "b");
        let closed = |how, id: &str| Record::Followed { id: id.into(), at: Stamp(3000), by: "9".into(), how };
        other.write(&closed(How::Dismissed, "1")).unwrap();
        other.write(&closed(How::Resumed, "2")).unwrap();
        let unfinished: Vec<_> =
            other.history().0.iter().filter(|a| a.unfinished).map(|a| a.id.clone()).collect();
        assert_eq!(unfinished, ["3"]);
    }

    #[test]
    fn a_torn_last_line_is_reported_and_loses_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned(), "a");
        journal.write(&intent("1")).unwrap();
        journal.write(&ended("1")).unwrap();
        drop(journal);
        let path = folder.path().join("a.jsonl");
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
        for cut in first..whole.len() - 1 {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (actions, problems) = Journal::new(folder.path().to_owned(), "b").history();
            assert_eq!(actions.len(), 1);
            assert_eq!(actions[0].outcome, Some(Outcome::Unknown));
            assert_eq!(problems.is_empty(), cut == first, "cut at {cut}");
        }
        let mut damaged = whole.clone();
        damaged[first + 30] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(Journal::new(folder.path().to_owned(), "b").history().1.len(), 1);
    }

    #[test]
    fn the_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("j"), "a");
        journal.write(&intent("1")).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("j/a.jsonl")), 0o600);
        assert_eq!(mode(&folder.path().join("j")), 0o700);
    }

    #[test]
    fn a_disk_that_refuses_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let journal = Journal::new(folder.path().join("file/journal"), "a");
        assert!(journal.write(&intent("1")).is_err() && journal.usable().is_err());
        let journal = Journal::new(folder.path().join("journal"), "a");
        journal.usable().unwrap();
        assert_eq!(
            std::fs::read_dir(journal.folder().unwrap()).unwrap().count(),
            0,
            "looking leaves nothing behind"
        );
    }
    /// The lines of the journal `a`, without their checksums.
    fn bodies(folder: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join("a.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["body"].clone())
            .collect()
    }

    #[test]
    fn each_line_names_the_cluster_of_its_action_or_step() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned(), "a");
        let of = |server: &str, uid: &str| super::super::identity::Identity {
            server: server.into(),
            uid: uid.into(),
        };
        let (here, there) = (of("https://a", "1"), of("https://b", "2"));
        let known = Clusters::from([(Name::default(), here), ("standby".into(), there)]);
        let Record::Intent { id, at, user, host, mut plan, follows, .. } = intent("1") else { panic!() };
        let away = Step { context: "standby".into(), ..plan.steps[0].clone() };
        plan.steps.push(away.clone());
        let begins = Record::Intent { id, at, user, host, plan, follows, clusters: known };
        let step = |step| Record::Step {
            id: "1".into(),
            at: Stamp(1),
            step,
            state: StepState::Running,
            note: String::new(),
            stamp: String::new(),
            template: None,
        };
        let added = Record::Added { id: "1".into(), at: Stamp(1), step: Box::new(away), number: Some(2) };
        for record in [begins, step(0), step(1), added, step(2), ended("1")] {
            journal.write(&record).unwrap();
        }
        let told: Vec<String> =
            bodies(folder.path()).iter().map(|body| body["cluster"].to_string()).collect();
        let a = r#"{"context":"test","server":"https://a","uid":"1"}"#;
        let b = r#"{"context":"standby","server":"https://b","uid":"2"}"#;
        assert_eq!(told, [a, a, b, b, b, a]);
        // of an action of another process, whose journal names its cluster
        drop(journal);
        let other = Journal::new(folder.path().to_owned(), "b");
        let how = How::Dismissed;
        other.write(&Record::Followed { id: "1".into(), at: Stamp(3), by: "9".into(), how }).unwrap();
        let text = std::fs::read_to_string(folder.path().join("b.jsonl")).unwrap();
        assert!(text.contains(&format!(r#""cluster":{a}"#)), "{text}");
    }

    #[test]
    fn a_journal_of_an_earlier_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned(), "a");
        for record in [intent("1"), ended("1"), intent("2")] {
            journal.write(&record).unwrap();
        }
        drop(journal);
        let (now, _) = Journal::new(folder.path().to_owned(), "b").history();
        // earlier versions wrote clusters neither beside the record nor in the objects
        let lines = bodies(folder.path()).into_iter().map(|mut body| {
            assert!(body.as_object_mut().unwrap().remove("cluster").is_some());
            for on in ["/plan/intent/targets/0", "/plan/steps/0/on"] {
                if let Some(on) = body.pointer_mut(on) {
                    assert!(on.as_object_mut().unwrap().remove("cluster").is_some());
                }
            }
            let body = body.to_string();
            format!("{{\"crc\":{},\"body\":{body}}}\n", crc32fast::hash(body.as_bytes()))
        });
        let lines: String = lines.collect();
        std::fs::write(folder.path().join("a.jsonl"), lines).unwrap();
        let (then, gaps) = Journal::new(folder.path().to_owned(), "b").history();
        assert!(gaps.is_empty(), "{gaps:?}");
        assert_eq!((then, now.len()), (now, 2));
    }
}
