//! The journal: what was intended, sent and known of it, on disk before the first request goes out.
//!
//! One append-only file per process (mode 0600, locked while the process lives), a JSON line per record with a CRC-32
//! over its text, fsync for every record that a request depends on. A torn last line is what a crash leaves: it is
//! reported and skipped, everything before it counts.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pilothouse_core::domain::id::{Name, ObjectRef};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::model::plan::{Plan, Step};
use pilothouse_core::model::world::{ActionView, Outcome, StepState, StepView};
use serde::{Deserialize, Serialize};

/// One thing to remember.
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
        /// The unfinished action of another process that this one takes up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<Follows>,
    },
    /// A step that the plan did not have: a pod that came in between, a node that is given back.
    Added { id: Name, at: Stamp, step: Box<Step> },
    /// A step's state is about to be, or has become, this.
    Step {
        id: Name,
        at: Stamp,
        step: usize,
        state: StepState,
        note: String,
        /// What a restart writes: by it a later process knows whether it was applied.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        stamp: String,
    },
    Ended {
        id: Name,
        at: Stamp,
        outcome: Outcome,
        message: String,
        /// The process was told to end (hang-up): steps are left that somebody may take up.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        interrupted: bool,
    },
    /// An unfinished action of another process was dealt with without an action of its own.
    Followed { id: Name, at: Stamp, by: Name, how: How },
}

/// Which unfinished action is dealt with, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Follows {
    pub id: Name,
    pub how: How,
    /// The nodes that it had cordoned: they are this action's to give back.
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

    /// The action of another process that this deals with, how, and by which action.
    pub fn follows(&self) -> Option<(&Name, How, &Name)> {
        match self {
            Self::Intent { id, follows: Some(f), .. } => Some((&f.id, f.how, id)),
            Self::Followed { id, how, by, .. } => Some((id, *how, by)),
            _ => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    crc: u32,
    #[serde(borrow)]
    body: &'a serde_json::value::RawValue,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("journal {path}: {error}")]
pub struct JournalError {
    pub path: PathBuf,
    pub error: std::io::Error,
}

/// On which side of the disk a record is when a [`Probe`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// Sees each record on its way: how a test ends the process at any of them.
pub type Probe = Arc<dyn Fn(&Record, Moment) + Send + Sync>;

/// This process's journal. The file is made with the first record, so that looking around leaves nothing behind.
#[derive(Clone)]
pub struct Journal {
    folder: Arc<PathBuf>,
    owner: Arc<str>,
    file: Arc<Mutex<Option<File>>>,
    /// What the disk refused and a person went on with; printed as well unless `quiet`.
    kept: Arc<Mutex<Vec<String>>>,
    quiet: bool,
    probe: Option<Probe>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// One process's file.
#[derive(Debug)]
pub struct Chapter {
    pub records: Vec<Record>,
    /// Its process still runs.
    pub alive: bool,
    /// It is this process's.
    pub own: bool,
}

impl Journal {
    /// `owner` names the file and must be unique to this process (start time and pid).
    pub fn new(folder: PathBuf, owner: &str) -> Self {
        Self {
            folder: Arc::new(folder),
            owner: owner.into(),
            file: Arc::default(),
            kept: Arc::default(),
            quiet: false,
            probe: None,
        }
    }

    /// A journal that shows `probe` each record before it is written and after it is on disk.
    pub fn with_probe(folder: PathBuf, owner: &str, probe: Probe) -> Self {
        Self { probe: Some(probe), ..Self::new(folder, owner) }
    }

    /// Whether records can be written now: room for a large plan, in the journal's own folder. Err: why not.
    pub fn usable(&self) -> Result<(), JournalError> {
        const ROOM: usize = 64 << 10;
        let path = self.folder.join(format!("{}.try", self.owner));
        let written = make_folder(&self.folder).and_then(|()| {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(&vec![b' '; ROOM])?;
            file.sync_data()
        });
        let removed = std::fs::remove_file(&path);
        written.and(removed).map_err(|error| JournalError { path: self.path(), error })
    }

    /// Nothing is printed when records stay in memory: the screen is taken. Print [`Journal::kept`] at the end.
    pub fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// To disk; where that refuses, to memory and standard error: a person has said to go on with this action so.
    pub fn write_or_keep(&self, record: &Record) -> Result<(), JournalError> {
        let Err(refused) = self.write(record) else { return Ok(()) };
        let Ok(body) = serde_json::to_string(record) else { return Err(refused) };
        if !self.quiet {
            // nobody left to read it is no reason to stop: it is in memory
            let _unheard = writeln!(std::io::stderr().lock(), "journal: {body}");
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        Ok(())
    }

    /// The records that are in memory only.
    pub fn kept(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.jsonl", self.owner))
    }

    /// Appends and waits until it is on disk. An error means: do not send.
    pub fn write(&self, record: &Record) -> Result<(), JournalError> {
        let see = |moment| self.probe.as_ref().into_iter().for_each(|probe| probe(record, moment));
        see(Moment::Before);
        let error = |error| JournalError { path: self.path(), error };
        let body = serde_json::value::to_raw_value(record).map_err(|e| error(e.into()))?;
        let line = Line { crc: crc32fast::hash(body.get().as_bytes()), body: &body };
        let mut text = serde_json::to_vec(&line).map_err(|e| error(e.into()))?;
        text.push(b'\n');
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match held.as_mut() {
            Some(file) => file,
            None => held.insert(self.create().map_err(error)?),
        };
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if written.is_err() {
            // half a line may be in it: the next record must not be glued to it
            *held = None;
        }
        drop(held);
        see(Moment::After);
        written.map_err(error)
    }

    fn create(&self) -> std::io::Result<File> {
        make_folder(&self.folder)?;
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path())?;
        file.try_lock().map_err(|e| std::io::Error::other(e.to_string()))?;
        if file.metadata()?.len() > 0 {
            file.write_all(b"\n")?;
        }
        // the file's name must survive a crash as well as its contents
        File::open(&*self.folder)?.sync_all()?;
        Ok(file)
    }

    /// Every file of the folder, and what could not be read.
    pub fn chapters(&self) -> (Vec<Chapter>, Vec<String>) {
        let (mut chapters, mut problems) = (Vec::new(), Vec::new());
        let entries = match std::fs::read_dir(&*self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return (chapters, problems),
            Err(e) => return (chapters, vec![format!("{}: {e}", self.folder.display())]),
        };
        for path in entries.flatten().map(|e| e.path()) {
            if path.extension().is_none_or(|e| e != "jsonl") {
                continue;
            }
            // asked first: what a process writes between the two looks is then not taken for a dead one's end
            let own = path == self.path();
            let alive = own || is_locked(&path);
            match read(&path) {
                Ok((records, torn)) => {
                    problems.extend(torn);
                    chapters.push(Chapter { records, alive, own });
                }
                Err(e) => problems.push(format!("{}: {e}", path.display())),
            }
        }
        (chapters, problems)
    }

    /// Every action that any journal in the folder knows, newest first, and what could not be read.
    pub fn history(&self) -> (Vec<Arc<ActionView>>, Vec<String>) {
        let (chapters, problems) = self.chapters();
        let mut actions: Vec<ActionView> =
            chapters.iter().flat_map(|c| replay(&c.records, c.alive, !c.own)).collect();
        for (id, how, by) in chapters.iter().flat_map(|c| &c.records).filter_map(Record::follows) {
            if let Some(action) = actions.iter_mut().find(|a| a.id == *id) {
                action.message.push_str(&format!("; {} by {by}", how.as_str()));
            }
        }
        actions.sort_by_key(|a| std::cmp::Reverse(a.started));
        (actions.into_iter().map(Arc::new).collect(), problems)
    }
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// True if a living process holds it.
fn is_locked(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

fn read(path: &Path) -> std::io::Result<(Vec<Record>, Option<String>)> {
    let mut records = Vec::new();
    let mut damaged = None;
    for (number, line) in BufReader::new(File::open(path)?).split(b'\n').enumerate() {
        let line = line?;
        match parse(&line) {
            Some(record) => records.push(record),
            None if line.is_empty() => {}
            None => {
                let problem =
                    format!("{}:{}: a torn or damaged record was skipped", path.display(), number + 1);
                damaged = Some(problem);
            }
        }
    }
    Ok((records, damaged))
}

fn parse(line: &[u8]) -> Option<Record> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    (crc32fast::hash(line.body.get().as_bytes()) == line.crc).then_some(())?;
    serde_json::from_str(line.body.get()).ok()
}

/// Folds records into actions. `alive`: their process still runs, so an open end is no accident.
pub fn replay(records: &[Record], alive: bool, foreign: bool) -> Vec<ActionView> {
    let mut actions: Vec<ActionView> = Vec::new();
    for record in records {
        if let Record::Intent { id, at, plan, follows, .. } = record {
            let inherited = follows.as_ref().map(|f| f.cordoned.clone()).unwrap_or_default();
            actions.push(ActionView { inherited, ..view(id, *at, plan, foreign) });
            continue;
        }
        let Some(action) = actions.iter_mut().find(|a| a.id == *record.id()) else { continue };
        match record {
            Record::Step { at, step, state, note, .. } => {
                if let Some(held) = action.steps.get_mut(*step) {
                    held.state = *state;
                    held.at = Some(*at);
                    held.note.clone_from(note);
                }
            }
            Record::Added { step, .. } => add(action, step),
            Record::Ended { at, outcome, message, interrupted, .. } => {
                action.ended = Some(*at);
                action.unfinished = *interrupted && !alive;
                action.outcome = Some(*outcome);
                action.message.clone_from(message);
            }
            Record::Intent { .. } | Record::Followed { .. } => {}
        }
    }
    if !alive {
        for action in actions.iter_mut().filter(|a| a.outcome.is_none()) {
            let unsent = |state| matches!(state, StepState::Waiting | StepState::Held | StepState::Skipped);
            let sent = action.steps.iter().filter(|s| !unsent(s.state)).count();
            action.outcome = Some(Outcome::Unknown);
            action.unfinished = true;
            action.message = format!(
                "its process ended in the middle: {sent} of {} steps were sent; look before repeating any",
                action.steps.len()
            );
        }
    }
    actions
}

/// An action that has just been confirmed.
pub fn view(id: &Name, at: Stamp, plan: &Plan, foreign: bool) -> ActionView {
    ActionView { foreign, ..ActionView::new(id.clone(), Arc::new(plan.clone()), at) }
}

/// Appends a step that the plan did not have.
pub fn add(action: &mut ActionView, step: &Step) {
    Arc::make_mut(&mut action.plan).steps.push(step.clone());
    action.steps.push(StepView::waiting(step));
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{Kind, ObjectRef, Uid};
    use pilothouse_core::model::plan::{Act, Intent, Step, StepKind};

    use super::*;

    fn plan() -> Plan {
        let node = ObjectRef::new(Kind::Node, &"".into(), &"n".into(), &Uid::Uuid(1));
        let intent = Intent {
            cluster: pilothouse_core::domain::id::ClusterId(0),
            context: "test".into(),
            act: Act::Cordon,
            targets: vec![node.clone()],
        };
        let mut plan = Plan::new(intent, Stamp(0));
        plan.steps.push(Step::new(StepKind::Cordon, node));
        plan
    }

    fn intent(id: &str) -> Record {
        Record::Intent {
            id: id.into(),
            at: Stamp(1000),
            user: "u".into(),
            host: "h".into(),
            plan: Box::new(plan()),
            follows: None,
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
    fn a_torn_last_line_is_reported_and_loses_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned(), "a");
        let ended = Record::Ended {
            id: "1".into(),
            at: Stamp(2000),
            outcome: Outcome::Done,
            message: "ok".into(),
            interrupted: false,
        };
        journal.write(&intent("1")).unwrap();
        journal.write(&ended).unwrap();
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
        assert_eq!(std::fs::read_dir(journal.folder()).unwrap().count(), 0, "looking leaves nothing behind");
    }
}
