//! Empties one node (or the given pods of a namespace): list, watch, evict, wait; until all are gone, the time is
//! over, somebody says stop, or the node is no longer what it was. [`turns`] has what each piece of news means for its
//! pod, [`sight`] what is known of the node itself, and [`look`] what
//! follows from it.

mod look;
mod sight;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use pilothouse_core::domain::budget::Pdb;
use pilothouse_core::domain::id::Uid;
use pilothouse_core::domain::plan::Step;
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::facts::world::StepState;
use serde_json::Value;

use self::sight::Sight;
use super::super::requests::mutation;
use super::answer::{Answer, settle};
use super::budget::{self, Budget, Key};
use super::watch::{self, News, Refused, Watch};
use super::{Board, Ending, Place};
use crate::clock::Clock;
use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::write::WriteClient;

/// How long a lost answer is looked for by the watch alone.
const UNKNOWN_FOR: Duration = Duration::from_secs(15);
/// A pod that is still there so long after its grace period is asked about.
const OVERDUE: Duration = Duration::from_secs(10);
/// The longest that nothing is done.
const IDLE: Duration = Duration::from_secs(30);
/// How long answers under way are awaited after a cancel, at a deadline, and when the process is told to end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
const LAST_MOMENT: Duration = Duration::from_millis(200);

/// One pod to evict.
pub struct Item {
    step: usize,
    what: Step,
    at: At,
    /// Whose budget refused it last, and in which words.
    held: Option<(Key, String)>,
    /// What is written down of it.
    note: String,
    /// Why it does not end, once it is overdue.
    stuck: Option<&'static str>,
    /// When it came, if the plan did not know it: it is not sent before a later look at its node.
    came: Option<Instant>,
}

/// Where a pod is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Todo,
    /// Not before then.
    Later(Instant),
    /// By a budget that is known; without one it is `Later`.
    Held,
    Sending,
    /// The server took it: the watch tells when it is gone.
    Going,
    /// No answer came, then.
    Unknown(Instant),
    Done,
}

impl Item {
    pub fn new(step: usize, what: Step) -> Self {
        Self { step, what, at: At::Todo, held: None, note: String::new(), stuck: None, came: None }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.what.on.namespace, self.what.on.name)
    }

    fn is_held_by(&self, key: &Key) -> bool {
        self.at == At::Held && self.held.as_ref().is_some_and(|(by, _)| by == key)
    }

    /// Sent, and not gone.
    fn is_under_way(&self) -> bool {
        matches!(self.at, At::Sending | At::Going | At::Unknown(_))
    }

    /// Not sent, or refused: it may be sent.
    fn is_open(&self) -> bool {
        matches!(self.at, At::Todo | At::Later(_) | At::Held)
    }
}

/// Why nothing more is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    Deadline,
    Cancelled,
    /// Somebody or something has taken away what the drain stands on.
    Undermined,
    Stopped,
}

type Sends = FuturesUnordered<BoxFuture<'static, (usize, Answer)>>;

enum Tick {
    Pods(News<Pod>),
    Answer(usize, Answer),
    Budget(Key, Result<Option<Pdb>, ApiError>),
    Looked(Result<Option<Bytes>, ApiError>),
    Node(News<Value>),
    Close(Close),
    Timer,
}

struct Work<'b, 'a> {
    board: &'b Board<'a>,
    place: Place,
    reader: ReadClient,
    writer: WriteClient,
    items: Vec<Item>,
    live: BTreeMap<Uid, Pod>,
    known: BTreeSet<Uid>,
    budgets: BTreeMap<Key, Budget>,
    listed: bool,
    /// None where single pods go, wherever they are.
    sight: Option<Sight>,
    /// Since when no pod is left.
    emptied: Option<Instant>,
    troubled: bool,
    /// Answers in a row by which its pods may not be looked at.
    denials: u32,
    /// The last look at the node failed.
    unseen: bool,
    ending: Ending,
}

pub(super) async fn empty(board: &Board<'_>, place: Place, items: Vec<Item>) -> Ending {
    let mut ending = Ending::default();
    let clients = board.exec.reach.of(items.first().map_or("", |i| i.what.context.as_str()));
    let Some((reader, Some(writer))) = clients.map(|c| (c.reader.clone(), c.writer.clone())) else {
        ending.failed.push(("not sent: there is no writing connection".into(), place.to_string()));
        return ending;
    };
    let (clock, mut node, mut sight) = (&board.exec.clock, None, None);
    let pods = watch::pods(reader.clone(), clock.clone(), place.path());
    if let Place::Node(name) = &place
        && board.empties
    {
        let (uid, down) = (board.nodes.get(name).cloned(), board.not_ready.contains(name));
        sight = Some(Sight::new(uid, down, Clock::instant()));
        node = Some(watch::node(reader.clone(), clock.clone(), name));
    }
    let known = board.planned.iter().chain(items.iter().map(|i| &i.what.on.uid)).cloned().collect();
    let work = Work {
        board,
        place,
        reader,
        writer,
        items,
        live: BTreeMap::new(),
        known,
        budgets: BTreeMap::new(),
        listed: false,
        sight,
        emptied: None,
        troubled: false,
        denials: 0,
        unseen: false,
        ending,
    };
    work.run(pods, node).await
}

impl Work<'_, '_> {
    async fn run(mut self, mut pods: Watch<Pod>, mut node: Option<Watch<Value>>) -> Ending {
        let board = self.board;
        let deadline = board.deadline.map(Clock::deadline);
        let mut sends = Sends::new();
        let mut reads = FuturesUnordered::new();
        let mut looks: FuturesUnordered<BoxFuture<'static, _>> = FuturesUnordered::new();
        let mut pauses = board.control.pauses();
        let mut closing: Option<(Close, Instant)> = None;
        let mut denied = None;
        loop {
            if closing.is_none() {
                self.catch_up(node.as_mut());
            }
            let now = Clock::instant();
            let mut wake = now + IDLE;
            if closing.is_none() && self.listed {
                wake = wake.min(self.issue(&mut sends));
                for (key, budget) in &mut self.budgets {
                    let holds = self.items.iter().any(|i| i.is_held_by(key));
                    if holds && !budget.reading && budget.next <= now {
                        budget.reading = true;
                        reads.push(budget::read(self.reader.clone(), key.clone()));
                    } else if holds && !budget.reading {
                        wake = wake.min(budget.next);
                    }
                }
                wake = wake.min(self.overdue_at());
                match self.look_due(now) {
                    Some(due) if due <= now => looks.push(self.look(now)),
                    Some(due) => wake = wake.min(due),
                    None => {}
                }
            }
            board.tell().await;
            if closing.is_some_and(|(_, limit)| sends.is_empty() || limit <= now)
                || denied.is_some()
                || (closing.is_none() && self.is_over())
            {
                break;
            }
            wake = match (closing, deadline) {
                (Some((_, limit)), _) => wake.min(limit),
                (None, Some(deadline)) => wake.min(deadline),
                (None, None) => wake,
            };
            let stopping = closing.is_some_and(|(why, _)| why == Close::Stopped);
            let tick = tokio::select! {
                biased;
                () = board.exec.stop.cancelled(), if !stopping => Tick::Close(Close::Stopped),
                () = board.control.cancelled(), if closing.is_none() => Tick::Close(Close::Cancelled),
                () = board.halt.cancelled(), if closing.is_none() => Tick::Close(Close::Undermined),
                Some((i, answer)) = sends.next(), if !sends.is_empty() => Tick::Answer(i, answer),
                Some(looked) = looks.next(), if !looks.is_empty() => Tick::Looked(looked),
                news = next(node.as_mut()), if closing.is_none() => Tick::Node(news),
                Some((key, read)) = reads.next(), if !reads.is_empty() => Tick::Budget(key, read),
                () = tokio::time::sleep_until(wake.into()) => Tick::Timer,
                changed = pauses.changed() => {
                    if changed.is_err() {
                        // whoever could pause it is gone, and cancelling is all that is left
                        pauses = board.control.pauses();
                    }
                    board.with(|_| ());
                    Tick::Timer
                }
                news = pods.next(), if !stopping => Tick::Pods(news),
            };
            match tick {
                Tick::Close(why) => {
                    let wait = if why == Close::Stopped { LAST_MOMENT } else { LAST_ANSWERS };
                    closing = Some((why, Clock::deadline(wait)));
                }
                Tick::Answer(i, answer) => self.answer(i, answer),
                Tick::Budget(key, read) => self.budget(&key, read),
                Tick::Looked(looked) => self.looked(looked),
                Tick::Node(news) => self.heard(news),
                Tick::Pods(News::Trouble { why, refused }) => {
                    self.troubled = true;
                    let words = format!("its pods are not followed now: {why}");
                    board.with(|told| told.troubles.insert(self.place.clone(), words));
                    self.not_followed(&why, refused);
                    denied = (refused == Refused::ForGood && !self.listed).then_some(why);
                }
                Tick::Pods(news) => {
                    self.denials = 0;
                    if std::mem::take(&mut self.troubled) {
                        board.with(|told| told.troubles.remove(&self.place));
                    }
                    self.news(news).await;
                }
                Tick::Timer => {
                    if closing.is_none() && deadline.is_some_and(|d| d <= Clock::instant()) {
                        closing = Some((Close::Deadline, Clock::deadline(LAST_ANSWERS)));
                    } else if closing.is_none() {
                        self.look_closer().await;
                    }
                }
            }
        }
        if let Some(why) = denied {
            self.leave_the_rest(&format!("its pods cannot be listed: {why}"));
        }
        self.finish(closing.map(|(why, _)| why)).await;
        board.with(|told| told.troubles.remove(&self.place));
        board.tell().await;
        self.ending
    }

    /// Sends what may be sent now; when to come back for the rest.
    fn issue(&mut self, sends: &mut Sends) -> Instant {
        let (board, now) = (self.board, Clock::instant());
        let mut wake = now + IDLE;
        if board.control.is_paused() || board.control.is_cancelled() || board.stopping() {
            return wake;
        }
        if board.halt.is_cancelled() || self.sight.as_ref().is_some_and(|sight| !sight.is_fresh(now)) {
            return wake;
        }
        let most = match board.options.pods_at_once {
            0 => usize::MAX,
            n => usize::from(n),
        };
        let mut under_way = self.items.iter().filter(|i| i.is_under_way()).count();
        for (i, item) in self.items.iter_mut().enumerate() {
            match item.at {
                At::Todo => {}
                At::Later(at) if at <= now => {}
                At::Later(at) => {
                    wake = wake.min(at);
                    continue;
                }
                _ => continue,
            }
            let unseen = |came| self.sight.as_ref().is_some_and(|sight| !sight.is_since(came));
            if item.came.is_some_and(unseen) {
                continue;
            }
            if under_way >= most {
                break;
            }
            if let Err(at) = board.exec.pace.take(now) {
                wake = wake.min(at);
                break;
            }
            let request = mutation(&item.what.what, &item.what.on, None, "");
            let request = request.and_then(|request| {
                // on disk before it is on the wire
                let written = board.note(item.step, StepState::Running, "sending");
                if written { Ok(request) } else { Err("the step cannot be written down".into()) }
            });
            match request {
                Ok(request) => {
                    item.at = At::Sending;
                    under_way += 1;
                    let (writer, reader, step) =
                        (self.writer.clone(), self.reader.clone(), item.what.clone());
                    sends.push(Box::pin(async move {
                        let answer = request.send(&writer, false).await;
                        (i, settle(&reader, &step, answer).await)
                    }));
                }
                Err(why) => {
                    let why = format!("not sent: {why}");
                    item.at = At::Done;
                    self.ending.failed.push((why.clone(), item.name()));
                    board.note(item.step, StepState::Failed, &why);
                }
            }
        }
        wake
    }

    /// Ends what is not sent yet.
    fn leave_the_rest(&mut self, why: &str) {
        for i in 0..self.items.len() {
            if self.items.get(i).is_some_and(Item::is_open) {
                self.set(i, At::Done, StepState::Skipped, &format!("not evicted: {why}"));
            }
        }
        if !self.ending.failed.iter().any(|(said, _)| said == why) {
            self.ending.failed.push((why.to_owned(), self.place.to_string()));
        }
    }

    /// What is left when nothing more is sent: looked at once more, and written down as it is.
    async fn finish(&mut self, close: Option<Close>) {
        for i in 0..self.items.len() {
            if self.items.get(i).is_some_and(|item| item.at == At::Sending) {
                let why = "sent, and no answer came before the end";
                self.set(i, At::Unknown(Clock::instant()), StepState::Unknown, why);
            }
        }
        let Some(close) = close else { return };
        if close != Close::Stopped && self.items.iter().any(Item::is_under_way) {
            let path = self.place.path();
            let look = watch::look(&self.reader, &path, &self.board.exec.clock);
            let look = tokio::time::timeout(Duration::from_secs(3), look);
            if let Some(Ok(Ok(pods))) = self.unless_stopped(look).await {
                self.all(pods);
            }
        }
        let secs = self.board.deadline.unwrap_or_default().as_secs();
        for i in 0..self.items.len() {
            let Some(item) = self.items.get(i) else { continue };
            let (name, held) = (item.name(), item.held.is_some().then(|| item.note.clone()));
            match (item.at, close) {
                (At::Done, _) => {}
                (At::Unknown(_), _) => {
                    self.ending
                        .unknown
                        .push(("sent, and it is not known whether it was applied".into(), name));
                }
                // as they are: whoever takes it up reads where they stand
                (_, Close::Stopped) => {}
                (At::Going, Close::Deadline) => {
                    let why = item.stuck.unwrap_or("still terminating");
                    self.fail(i, &format!("not gone within {secs} s: {why}"));
                }
                (At::Going, Close::Cancelled | Close::Undermined) => {
                    self.set(i, At::Done, StepState::Accepted, "terminating; no longer watched");
                }
                (_, Close::Deadline) => {
                    let why = held.unwrap_or_else(|| "its turn did not come".into());
                    self.fail(i, &format!("not evicted within {secs} s: {why}"));
                }
                (_, Close::Undermined) => {
                    self.set(i, At::Done, StepState::Skipped, "not evicted: the drain was stopped");
                }
                (_, Close::Cancelled) => {
                    self.set(i, At::Done, StepState::Skipped, "cancelled before it was evicted");
                }
            }
        }
        let keys: Vec<Key> = self.budgets.keys().cloned().collect();
        self.board.with(|told| {
            told.waits.retain(|key, _| !keys.contains(key));
            told.troubles.remove(&self.place);
        });
    }

    fn set(&mut self, i: usize, at: At, state: StepState, note: &str) {
        let Some(item) = self.items.get_mut(i) else { return };
        item.at = at;
        note.clone_into(&mut item.note);
        // a transition that cannot be written down has happened all the same
        self.board.note(item.step, state, note);
    }

    fn fail(&mut self, i: usize, why: &str) {
        if let Some(item) = self.items.get(i) {
            self.ending.failed.push((why.to_owned(), item.name()));
        }
        self.set(i, At::Done, StepState::Failed, why);
    }
}

/// The next piece of news of a node that is watched.
async fn next(watch: Option<&mut Watch<Value>>) -> News<Value> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
