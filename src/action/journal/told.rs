//! Reads journals. Records are folded into actions one by one, so the memory depends on the actions, not on the file's
//! size.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use pilothouse_core::domain::id::{Name, ObjectRef};
use pilothouse_core::domain::plan::Plan;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{ActionView, Outcome, Place, StepState, StepView};

use super::{How, Line, Record};
use crate::action::identity::Clusters;

/// A longer record counts as damaged, because no plan is that large.
const RECORD_CAP: usize = 16 << 20;
/// The maximum size of the kept records of ended actions, in bytes. The oldest are dropped first.
pub(super) const KEPT_BYTES: usize = 8 << 20;
/// The maximum number of problems that are listed for one file.
const TOLD: usize = 20;

/// An action according to its records.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: Name,
    pub at: Stamp,
    pub user: String,
    pub host: String,
    /// The clusters of its contexts. The map is empty in older journals.
    pub clusters: Clusters,
    /// The plan, including the steps that were added while it ran.
    pub plan: Plan,
    /// The recorded state of each step.
    pub marks: Vec<Mark>,
    /// Nodes that an earlier action of the same chain had cordoned.
    pub inherited: Vec<ObjectRef>,
    pub end: Option<End>,
    /// Whether one of its records is damaged, so that it may be incomplete.
    pub damaged: bool,
    /// The number of each step in the records.
    numbers: Vec<usize>,
    bytes: usize,
}

/// The latest record of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mark {
    pub state: StepState,
    pub at: Option<Stamp>,
    pub note: String,
    /// The value that a restart wrote.
    pub stamp: String,
    /// A checksum of the template after the restart.
    pub template: Option<u32>,
    /// Whether the server accepted the step, regardless of later checks.
    pub accepted: bool,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub at: Stamp,
    pub outcome: Outcome,
    pub message: String,
    /// Whether the process was terminated, so that steps are left that can be resumed.
    pub interrupted: bool,
}

/// The file of one process.
#[derive(Debug, Default)]
pub struct Chapter {
    /// The actions, the ended ones first.
    pub actions: Vec<Told>,
    /// Closed actions of other processes: how they were closed, and by which action.
    pub followed: BTreeMap<Name, (How, Name)>,
    /// Whether the process of the file is still running.
    pub alive: bool,
    /// Whether the file belongs to this process.
    pub own: bool,
}

/// A part of a journal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub what: String,
    /// Whether an action may be missing or shown with a wrong state. If `false`, no request that was sent is lost.
    pub lost: bool,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl Gap {
    pub(super) fn lost(what: String) -> Self {
        Self { what, lost: true }
    }
}

/// A file that is being read.
struct Fold<'a> {
    path: &'a Path,
    open: Vec<Told>,
    closed: VecDeque<Told>,
    closed_bytes: usize,
    dropped: usize,
    followed: BTreeMap<Name, (How, Name)>,
    /// Actions with records but without an intent.
    orphans: BTreeSet<Name>,
    /// Actions that a damaged record names.
    hurt: BTreeSet<Name>,
    damaged: usize,
    gaps: Vec<Gap>,
}

/// Reads a file. `room` is the number of bytes of ended actions that can still be kept. The function reduces it.
pub(super) fn read(file: File, path: &Path, room: &mut usize) -> (Chapter, Vec<Gap>) {
    let mut fold = Fold {
        path,
        open: Vec::new(),
        closed: VecDeque::new(),
        closed_bytes: 0,
        dropped: 0,
        followed: BTreeMap::new(),
        orphans: BTreeSet::new(),
        hurt: BTreeSet::new(),
        damaged: 0,
        gaps: Vec::new(),
    };
    if let Err(e) = fold.lines(BufReader::new(file), *room) {
        fold.gaps.push(Gap::lost(format!("{}: {e}", path.display())));
    }
    *room = room.saturating_sub(fold.closed_bytes);
    fold.finish()
}

impl Fold<'_> {
    fn lines(&mut self, mut input: impl BufRead, room: usize) -> std::io::Result<()> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let length = (&mut input).take(RECORD_CAP as u64).read_until(b'\n', &mut line)?;
            if length == 0 {
                break;
            }
            let whole = line.last() == Some(&b'\n');
            if whole {
                line.pop();
            } else if length == RECORD_CAP {
                skip_line(&mut input)?;
                self.damage(number, &line, true);
                continue;
            }
            match parse(&line) {
                Some(record) => self.take(record, length, room),
                None if line.is_empty() => {}
                None => self.damage(number, &line, whole),
            }
        }
        Ok(())
    }

    /// Records a damaged line. `whole` tells whether the line has an end, so that it is not the remainder of a crash.
    fn damage(&mut self, number: usize, line: &[u8], whole: bool) {
        self.damaged += 1;
        let named = named(line);
        let of = named.as_ref().map_or_else(String::new, |id| format!(" of {id}"));
        if self.damaged <= TOLD {
            let path = self.path.display();
            let what = if whole {
                format!("{path}:{number}: a record{of} is damaged and was skipped")
            } else {
                format!(
                    "{path}:{number}: the last record{of} is torn and was skipped; nothing was sent by it"
                )
            };
            self.gaps.push(Gap { what, lost: whole });
        }
        if whole && self.hurt.len() < TOLD {
            self.hurt.extend(named);
        }
    }

    fn take(&mut self, record: Record, bytes: usize, room: usize) {
        let id = record.id().clone();
        match record {
            Record::Followed { id, by, how, .. } => {
                self.followed.insert(id, (how, by));
            }
            Record::Intent { id, at, user, host, plan, follows, clusters } => {
                if let Some(follows) = &follows {
                    self.followed.insert(follows.id.clone(), (follows.how, id.clone()));
                }
                self.open.push(Told {
                    at,
                    user,
                    host,
                    clusters,
                    marks: vec![Mark::default(); plan.steps.len()],
                    numbers: (0..plan.steps.len()).collect(),
                    plan: *plan,
                    inherited: follows.map(|f| f.cordoned).unwrap_or_default(),
                    end: None,
                    damaged: false,
                    bytes,
                    id,
                });
            }
            other => {
                let open = self.open.iter_mut().rev();
                let Some(told) = open.chain(self.closed.iter_mut().rev()).find(|a| a.id == id) else {
                    if self.orphans.len() < TOLD {
                        self.orphans.insert(id);
                    }
                    return;
                };
                told.take(other, bytes);
                let ended = told.end.as_ref().is_some_and(|end| !end.interrupted);
                if let Some(at) = self.open.iter().position(|a| ended && a.id == id) {
                    let told = self.open.remove(at);
                    self.closed_bytes += told.bytes;
                    self.closed.push_back(told);
                    self.forget(room);
                }
            }
        }
    }

    fn forget(&mut self, room: usize) {
        while self.closed_bytes > room
            && let Some(oldest) = self.closed.pop_front()
        {
            self.closed_bytes = self.closed_bytes.saturating_sub(oldest.bytes);
            self.dropped += 1;
        }
    }

    fn finish(mut self) -> (Chapter, Vec<Gap>) {
        let path = self.path.display();
        for id in &self.orphans {
            let what =
                format!("{path}: the action {id} cannot be shown: its first record is damaged or missing");
            self.gaps.push(Gap::lost(what));
        }
        if self.damaged > TOLD {
            let what = format!("{path}: {} more records are damaged", self.damaged - TOLD);
            self.gaps.push(Gap::lost(what));
        }
        if self.dropped > 0 {
            let what = format!("{path}: {} older actions that have ended are not shown", self.dropped);
            self.gaps.push(Gap { what, lost: false });
        }
        let mut actions: Vec<Told> = self.closed.into_iter().chain(self.open).collect();
        for told in &mut actions {
            told.damaged |= self.hurt.contains(&told.id);
        }
        let chapter = Chapter { actions, followed: self.followed, alive: false, own: false };
        (chapter, self.gaps)
    }
}

impl Told {
    fn take(&mut self, record: Record, bytes: usize) {
        match record {
            Record::Added { step, number, .. } => {
                let next = self.numbers.last().map_or(0, |n| n + 1);
                self.numbers.push(number.unwrap_or(next));
                self.plan.steps.push(*step);
                self.marks.push(Mark::default());
                self.bytes += bytes;
            }
            Record::Step { at, step, state, note, stamp, template, .. } => {
                // nearly always its usual place, unless a record was lost
                let place = match self.numbers.get(step) {
                    Some(number) if *number == step => Some(step),
                    _ => self.numbers.iter().position(|number| *number == step),
                };
                let Some(mark) = place.and_then(|place| self.marks.get_mut(place)) else {
                    // the record that added the step is lost
                    self.damaged = true;
                    return;
                };
                mark.state = state;
                mark.accepted |= state == StepState::Accepted;
                mark.at = Some(at);
                mark.note = note;
                if !stamp.is_empty() {
                    mark.stamp = stamp;
                }
                mark.template = template.or(mark.template);
            }
            Record::Ended { at, outcome, message, interrupted, .. } => {
                self.end = Some(End { at, outcome, message, interrupted });
            }
            Record::Intent { .. } | Record::Followed { .. } => {}
        }
    }

    /// Converts the action to the screen's type. `alive` tells whether its process is still running, in which case a
    /// missing end is not an error.
    fn shown(self, alive: bool, foreign: bool) -> ActionView {
        let mut action = ActionView::new(self.id, Arc::new(self.plan), self.at);
        action.foreign = foreign;
        action.inherited = self.inherited;
        if let Some(own) = self.clusters.get("") {
            action.place = Place { server: own.server.as_str().into(), uid: own.uid.as_str().into() };
        }
        for (held, mark) in action.steps.iter_mut().zip(self.marks) {
            *held = StepView { state: mark.state, at: mark.at, note: mark.note, ..held.clone() };
        }
        match self.end {
            Some(end) => {
                action.ended = Some(end.at);
                action.unfinished = end.interrupted;
                action.outcome = Some(end.outcome);
                action.message = end.message;
            }
            None if alive => {}
            None => {
                let unsent =
                    |state| matches!(state, StepState::Waiting | StepState::Held | StepState::Skipped);
                let sent = action.steps.iter().filter(|s| !unsent(s.state)).count();
                action.outcome = Some(Outcome::Unknown);
                action.unfinished = true;
                action.message = format!(
                    "its process ended in the middle: {sent} of {} steps were sent; look before repeating any",
                    action.steps.len()
                );
            }
        }
        if self.damaged {
            action.message.push_str("; a record of it is damaged, so this may not be all");
        }
        action
    }
}

/// Returns every action of the files, the newest first.
pub fn actions(chapters: Vec<Chapter>) -> Vec<Arc<ActionView>> {
    let mut followed: Vec<(Name, (How, Name))> = Vec::new();
    let mut actions: Vec<ActionView> = Vec::new();
    for chapter in chapters {
        followed.extend(chapter.followed);
        let (alive, foreign) = (chapter.alive, !chapter.own);
        actions.extend(chapter.actions.into_iter().map(|told| told.shown(alive, foreign)));
    }
    let place: BTreeMap<Name, usize> = actions.iter().enumerate().map(|(n, a)| (a.id.clone(), n)).collect();
    for (id, (how, by)) in followed {
        if let Some(action) = place.get(&id).and_then(|n| actions.get_mut(*n)) {
            action.message.push_str(&format!("; {} by {by}", how.as_str()));
            action.unfinished = false;
        }
    }
    actions.sort_by_key(|a| std::cmp::Reverse(a.started));
    actions.into_iter().map(Arc::new).collect()
}

fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let held = input.fill_buf()?;
        if held.is_empty() {
            return Ok(());
        }
        if let Some(end) = held.iter().position(|b| *b == b'\n') {
            input.consume(end + 1);
            return Ok(());
        }
        let length = held.len();
        input.consume(length);
    }
}

fn parse(line: &[u8]) -> Option<Record> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    (crc32fast::hash(line.body.get().as_bytes()) == line.crc).then_some(())?;
    serde_json::from_str(line.body.get()).ok()
}

/// Returns the action that a damaged record names, if that part can be read.
fn named(line: &[u8]) -> Option<Name> {
    let (mark, longest) = (b"\"id\":\"", 64);
    let after = line.windows(mark.len()).position(|w| w == mark)? + mark.len();
    let id: Vec<u8> = line.iter().skip(after).take(longest).take_while(|b| **b != b'"').copied().collect();
    let plain = !id.is_empty() && id.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    plain.then(|| String::from_utf8_lossy(&id).as_ref().into())
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{ClusterId, Kind, Uid};
    use pilothouse_core::domain::plan::{Act, Intent, Step, StepKind};

    use super::super::Journal;
    use super::*;

    fn node(name: &str) -> ObjectRef {
        ObjectRef::new(ClusterId(0), Kind::Node, &"".into(), &name.into(), &Uid::Uuid(1))
    }

    fn intent(id: &str, at: i64) -> Record {
        let intent = Intent {
            cluster: ClusterId(0),
            context: "test".into(),
            act: Act::Cordon,
            targets: vec![node("n0")],
        };
        let mut plan = Plan::new(intent, Stamp(0));
        plan.steps.push(Step::new(StepKind::Cordon, node("n0")));
        Record::Intent {
            id: id.into(),
            at: Stamp(at),
            user: "u".into(),
            host: "h".into(),
            plan: Box::new(plan),
            follows: None,
            clusters: Clusters::new(),
        }
    }

    fn added(id: &str, number: Option<usize>) -> Record {
        let name = format!("n{}", number.unwrap_or(9));
        let step = Box::new(Step::new(StepKind::Uncordon, node(&name)));
        Record::Added { id: id.into(), at: Stamp(1), step, number }
    }

    fn step(id: &str, step: usize) -> Record {
        let (state, note) = (StepState::Verified, format!("step {step}"));
        Record::Step { id: id.into(), at: Stamp(1), step, state, note, stamp: String::new(), template: None }
    }

    fn ended(id: &str) -> Record {
        let (outcome, message) = (Outcome::Done, "ok".into());
        Record::Ended { id: id.into(), at: Stamp(2), outcome, message, interrupted: false }
    }

    /// The content of a file of these records in which the lines in `damaged` are damaged.
    fn of(records: &[Record], damaged: &[usize], mut room: usize) -> (Chapter, Vec<Gap>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let journal = Journal::new(folder.path().to_owned(), "a");
        for record in records {
            journal.write(record).unwrap();
        }
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        let line = |(n, line): (usize, &str)| {
            if damaged.contains(&n) { line.replace("\"at\":", "\"At\":") } else { line.to_owned() }
        };
        let lines: Vec<String> = text.lines().enumerate().map(line).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        read(File::open(&path).unwrap(), &path, &mut room)
    }

    #[test]
    fn a_damaged_first_record_names_what_cannot_be_shown() {
        let records = [intent("1", 1), step("1", 0), intent("2", 2), ended("2")];
        let (chapter, gaps) = of(&records, &[0], KEPT_BYTES);
        assert_eq!(chapter.actions.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["2"]);
        let told: Vec<String> = gaps.iter().map(ToString::to_string).collect();
        assert!(gaps.iter().all(|gap| gap.lost) && told.len() == 2, "{told:?}");
        assert!(told[0].ends_with("a.jsonl:1: a record of 1 is damaged and was skipped"), "{told:?}");
        assert!(told[1].contains("the action 1 cannot be shown"), "{told:?}");
    }

    #[test]
    fn steps_keep_their_numbers_when_one_is_lost() {
        let records = [intent("1", 1), added("1", Some(1)), added("1", Some(2)), step("1", 1), step("1", 2)];
        let (chapter, gaps) = of(&records, &[1], KEPT_BYTES);
        let told = &chapter.actions[0];
        assert!(told.damaged && gaps.len() == 1);
        assert_eq!((told.plan.steps.len(), told.marks.len()), (2, 2));
        assert_eq!(told.plan.steps[1].on.name.as_str(), "n2");
        assert_eq!(told.marks[1].note, "step 2");
        // older journals counted the steps
        let (chapter, _) = of(&[intent("1", 1), added("1", None), step("1", 1)], &[], KEPT_BYTES);
        assert_eq!(chapter.actions[0].marks[1].note, "step 1");
    }

    #[test]
    fn what_is_kept_is_bounded_and_nothing_unfinished_is_forgotten() {
        let mut records = vec![intent("open", 0)];
        for n in 0..50 {
            records.extend([intent(&n.to_string(), n), ended(&n.to_string())]);
        }
        let (chapter, gaps) = of(&records, &[], 3000);
        let ids: Vec<&str> = chapter.actions.iter().map(|a| a.id.as_str()).collect();
        assert!(ids.len() < 20 && ids.contains(&"open") && ids.contains(&"49"), "{ids:?}");
        let dropped = 51 - ids.len();
        assert!(gaps[0].what.ends_with(&format!("{dropped} older actions that have ended are not shown")));
        assert!(!gaps[0].lost);
    }

    #[test]
    fn a_clock_that_goes_back_changes_nothing_but_the_order_that_is_shown() {
        let at = |record: Record, time: i64| match record {
            Record::Step { id, step, state, note, stamp, template, .. } => {
                Record::Step { id, at: Stamp(time), step, state, note, stamp, template }
            }
            Record::Ended { id, outcome, message, .. } => {
                Record::Ended { id, at: Stamp(time), outcome, message, interrupted: true }
            }
            other => other,
        };
        let first = [intent("1", 900), at(step("1", 0), 500), at(ended("1"), 100)];
        let by = "2".into();
        let taken = Record::Followed { id: "1".into(), at: Stamp(10), by, how: How::Resumed };
        let (chapter, gaps) = of(&[&first[..], &[intent("2", 50)]].concat(), &[], KEPT_BYTES);
        assert!(gaps.is_empty());
        assert_eq!(chapter.actions[0].marks[0].state, StepState::Verified, "by their order in the file");
        let open = |chapter: &Chapter| {
            let chapters = std::slice::from_ref(chapter);
            crate::action::resume::among(chapters).iter().map(|u| u.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(open(&chapter), ["2", "1"], "both, whatever their times");
        let (chapter, _) = of(&[&first[..], &[intent("2", 50), taken]].concat(), &[], KEPT_BYTES);
        assert_eq!(open(&chapter), ["2"], "taken up before it began, by its time");
        let shown = actions(vec![chapter]);
        let unfinished: Vec<&str> = shown.iter().filter(|a| a.unfinished).map(|a| a.id.as_str()).collect();
        assert_eq!(unfinished, ["2"]);
    }

    #[test]
    fn a_record_without_an_end_of_line_is_not_read_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let journal = Journal::new(folder.path().to_owned(), "a");
        journal.write(&intent("1", 1)).unwrap();
        drop(journal);
        let good = std::fs::read(&path).unwrap();
        let long = [vec![b'x'; RECORD_CAP * 2 + 5], b"\n".to_vec(), good].concat();
        std::fs::write(&path, long).unwrap();
        let (chapter, gaps) = read(File::open(&path).unwrap(), &path, &mut KEPT_BYTES.clone());
        assert_eq!((chapter.actions.len(), gaps.len(), gaps[0].lost), (1, 1, true));
    }
}
