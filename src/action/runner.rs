//! The runner executes every action of the console and of headless commands. It rehearses, judges the user's
//! confirmation, rehearses once more, executes and reports. It holds the running actions, so that they can be paused,
//! canceled and ended together.

mod take_up;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::plan::{Confirm, Intent, Plan, Warning};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{ActionView, Outcome};
use pilothouse_core::plan::watch;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answers::Answers;
use super::cluster::{ClusterClients, Clusters, PlanClients};
use super::executor::{Control, Executor, new_id};
use super::facts::{Facts, FactsError};
use super::identity::{self, Recognized};
use super::journal::{ClaimError, Follows, How, Journal, JournalError};
use super::recorder::Recorder;
use super::rehearse::rehearse;
use super::resume;
use super::session::Session;
use crate::clock::Clock;

pub use take_up::{NotTakenUp, TakenUp};

/// The maximum time to end after a signal to terminate. Sent requests are read back or recorded, and no further
/// request is sent.
pub const SHUTDOWN: Duration = Duration::from_millis(600);

/// The behavior if the journal cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutJournal {
    /// The plan has a warning and asks for the context's name.
    Ask,
    /// The user named the context with a flag.
    Agreed,
    /// No request is sent.
    Refuse,
}

/// The parts of a runner.
pub struct Parts {
    pub clusters: Clusters,
    pub facts: Facts,
    pub journal: Journal,
    /// Names actions, and dates what is about no open cluster.
    pub clock: Clock,
    pub without_journal: WithoutJournal,
    /// The user, for the journal. The host follows.
    pub user: String,
    pub host: String,
    /// Receives each transition of each action.
    pub reports: mpsc::Sender<ActionView>,
}

/// The way in which a plan was confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// By flags, immediately. No user read the plan, so it cannot have changed since.
    Flags,
    /// By a user who typed this text.
    Typed(String),
}

/// The plan that the user read, and its confirmation.
#[derive(Clone, Debug)]
pub struct Confirmed {
    pub read: Arc<Plan>,
    pub consent: Consent,
    /// The unfinished action that this one resumes or undoes.
    pub follows: Option<(Name, How)>,
}

/// A started action.
#[derive(Debug)]
pub struct Started {
    pub id: Name,
    /// Receives the final state. It receives nothing if the task is lost.
    pub done: oneshot::Receiver<ActionView>,
}

/// The reason why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum NotRehearsed {
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error("{0}")]
    NotOpened(String),
    #[error("{0}")]
    AnotherCluster(String),
}

/// Executes actions. Clones share everything.
#[derive(Clone)]
pub struct Runner(Arc<Shared>);

struct Shared {
    parts: Parts,
    running: Mutex<HashMap<Name, Running>>,
    tasks: TaskTracker,
    /// Canceled at the end, so that no further step starts.
    stop: CancellationToken,
    answers: Mutex<Answers>,
    /// The comparison of the clusters of the action that was last planned to be resumed or undone, by its ID.
    recognized: Mutex<Option<(Name, Recognized)>>,
}

/// An action whose task has not ended.
struct Running {
    control: Control,
    /// The plan that the user read. What runs does not go beyond it.
    read: Arc<Plan>,
}

/// Whether an action changes objects of a cluster: it was started there, or it has steps in the cluster's context.
fn is_in(plan: &Plan, id: ClusterId, context: &str) -> bool {
    let intent = &plan.intent;
    intent.cluster == id
        || intent.act.contexts().iter().any(|other| *other == context)
        || plan.steps.iter().any(|step| step.context == context)
}

/// The questions that are sent to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Only questions without a recent answer.
    New,
    Everything,
}

/// Removes an action from the running ones when its task ends in any way.
struct Entry(Runner, Name);

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Runner {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            parts,
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            answers: Mutex::default(),
            recognized: Mutex::default(),
        }))
    }

    fn clients(&self, cluster: ClusterId) -> Result<Arc<ClusterClients>, FactsError> {
        self.0.parts.clusters.get(cluster).ok_or(FactsError::NoCluster)
    }

    /// Returns the time by the server of a cluster.
    fn now_in(&self, cluster: ClusterId) -> Stamp {
        self.0.parts.clusters.now_in(cluster, &self.0.parts.clock)
    }

    /// Plans an intent and queries the server about it. Changes nothing. Access reviews and dry runs with recent
    /// answers are not repeated, because an open dialog is rehearsed every two seconds. `follows` is the unfinished
    /// action that the intent resumes.
    pub async fn rehearse(&self, intent: &Intent, follows: Option<&Name>) -> Result<Plan, NotRehearsed> {
        Ok(self.rehearsal(intent, follows, Ask::New).await?.0)
    }

    async fn rehearsal(
        &self,
        intent: &Intent,
        follows: Option<&Name>,
        ask: Ask,
    ) -> Result<(Plan, PlanClients), NotRehearsed> {
        let parts = &self.0.parts;
        let (clients, now) = (self.clients(intent.cluster)?, self.now_in(intent.cluster));
        let facts = parts.facts.of(&clients, intent, now).await?;
        let plan_clients = clients.for_plan(&intent.act.contexts()).await.map_err(NotRehearsed::NotOpened)?;
        let answers = || self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = match ask {
            Ask::New => std::mem::take(&mut *answers()),
            Ask::Everything => Answers::default(),
        };
        let (cluster, guards) = (&facts.cluster, &clients.guards);
        let mut plan =
            rehearse(cluster, &facts.intent, guards, facts.scope, now, &plan_clients, &mut known).await;
        if ask == Ask::New {
            *answers() = known;
        }
        if parts.without_journal == WithoutJournal::Ask
            && !clients.is_read_only()
            && let Err(e) = usable(&parts.journal).await
        {
            plan.warnings.push(Warning::JournalUnusable { error: e });
            plan.confirm = Confirm::Context;
            plan.answer = plan.intent.context.to_string();
        }
        if let Some(id) = identity::followed(&intent.act, follows) {
            watch::resumed(cluster, &mut plan, id);
            self.recognize(id, &plan, &plan_clients, ask).await?.warn(&mut plan);
        }
        Ok((plan, plan_clients))
    }

    /// Compares the clusters of a plan with those of the action that it resumes or undoes. Returns an error if one is
    /// another one.
    async fn recognize(
        &self,
        id: &Name,
        plan: &Plan,
        plan_clients: &PlanClients,
        ask: Ask,
    ) -> Result<Recognized, NotRehearsed> {
        let last = || self.0.recognized.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last().as_ref().filter(|(of, _)| of == id).map(|(_, found)| found.clone());
        if let Some(found) = known.filter(|_| ask == Ask::New) {
            return Ok(found);
        }
        let here = identity::clusters(plan_clients, plan).await;
        let found = identity::same(&self.0.parts.journal, id, &here, &plan.intent.context).await;
        let found = found.map_err(NotRehearsed::AnotherCluster)?;
        *last() = Some((id.clone(), found.clone()));
        Ok(found)
    }

    /// Starts a confirmed plan in its own task. It is rehearsed once more before a request is sent, and refused if it
    /// exceeds the plan that the user read.
    pub fn start(&self, confirmed: Confirmed) -> Started {
        let id = new_id(&self.0.parts.clock);
        let control = Control::default();
        let running = Running { control: control.clone(), read: confirmed.read.clone() };
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), running);
        let entry = Entry(self.clone(), id.clone());
        let (told, done) = oneshot::channel();
        self.0.tasks.spawn(async move {
            let ended = Box::pin(entry.0.run(entry.1.clone(), confirmed, control)).await;
            drop(entry);
            // the receiver may have been dropped
            let _unheard = told.send(ended);
        });
        Started { id, done }
    }

    async fn run(&self, id: Name, confirmed: Confirmed, control: Control) -> ActionView {
        let (plan, plan_clients) = match self.admit(&confirmed).await {
            Ok(admitted) => admitted,
            Err(why) => return self.refused(id, confirmed.read, &why).await,
        };
        let parts = &self.0.parts;
        let clients = match self.clients(plan.intent.cluster) {
            Ok(clients) => clients,
            Err(e) => return self.refused(id, confirmed.read, &e.to_string()).await,
        };
        let before = confirmed.follows.as_ref().and_then(|(old, _)| parts.facts.action(old));
        let follows = match confirmed.follows {
            None => None,
            Some((old, how)) => {
                self.took_up(&old, &format!("resumed by {id}")).await;
                Some(follows(&parts.journal, old, how, clients.id).await)
            }
        };
        let executor = Executor {
            session: Session {
                reach: plan_clients,
                guards: clients.guards.clone(),
                clock: clients.clock.clone(),
                stop: self.0.stop.clone(),
                limiter: clients.limiter.clone(),
            },
            recorder: Recorder {
                journal: parts.journal.clone(),
                clock: clients.clock.clone(),
                progress: parts.reports.clone(),
                memory_journal: self.may_keep_in_memory(&plan, &confirmed.consent).await,
            },
            gauge: parts.facts.gauge(plan.intent.cluster),
            user: parts.user.clone(),
            host: parts.host.clone(),
            follows,
        };
        let done = executor.run(id, &plan, control, None).await;
        if let (Some(Outcome::Refused), Some(before)) = (done.outcome, before) {
            // the action was not resumed after all
            self.report(before).await;
        }
        done
    }

    /// Returns the plan to execute and its clients, or the reason why no request may be sent.
    async fn admit(&self, confirmed: &Confirmed) -> Result<(Plan, PlanClients), String> {
        let intent = &confirmed.read.intent;
        let clients = self.clients(intent.cluster).map_err(|e| e.to_string())?;
        if clients.is_read_only() {
            return Err("read-only".into());
        }
        let Consent::Typed(answer) = &confirmed.consent else {
            let plan_clients = clients.for_plan(&intent.act.contexts()).await?;
            return Ok((Plan::clone(&confirmed.read), plan_clients));
        };
        let follows = confirmed.follows.as_ref().map(|(id, _)| id);
        let rehearsed = self.rehearsal(intent, follows, Ask::Everything).await;
        let (plan, plan_clients) = rehearsed.map_err(|e| e.to_string())?;
        if let Some(refusal) = plan.refusals.first() {
            return Err(refusal.to_string());
        }
        if let Some(what) = plan.goes_beyond(&confirmed.read) {
            return Err(format!("{what} changed after the plan was shown; look again"));
        }
        if plan.answer != *answer {
            return Err("that is not what had to be typed".into());
        }
        Ok((plan, plan_clients))
    }

    /// Reports a started action that sends no request, like any other action.
    async fn refused(&self, id: Name, read: Arc<Plan>, why: &str) -> ActionView {
        let now = self.now_in(read.intent.cluster);
        let action = ActionView {
            ended: Some(now),
            outcome: Some(Outcome::Refused),
            message: format!("nothing was sent: {why}"),
            ..ActionView::new(id, read, now)
        };
        self.report(action.clone()).await;
        action
    }

    /// Whether the records may stay in memory because they cannot be written to disk.
    async fn may_keep_in_memory(&self, plan: &Plan, consent: &Consent) -> bool {
        match self.0.parts.without_journal {
            WithoutJournal::Agreed => true,
            WithoutJournal::Refuse => false,
            // the user typed the context's name below the warning about this
            WithoutJournal::Ask => {
                matches!(consent, Consent::Typed(_))
                    && plan.confirm >= Confirm::Context
                    && usable(&self.0.parts.journal).await.is_err()
            }
        }
    }

    async fn report(&self, action: ActionView) {
        // a dropped receiver does not affect the action
        if self.0.parts.reports.send(action).await.is_err() {
            tracing::debug!("nobody listens to the reports of actions");
        }
    }

    /// Shows an unfinished action as closed.
    async fn took_up(&self, id: &Name, words: &str) {
        if let Some(mut old) = self.0.parts.facts.action(id) {
            old.unfinished = false;
            old.message = format!("{words}: {}", old.message);
            self.report(old).await;
        }
    }

    /// Records that an unfinished action needs no further action, and shows it as closed.
    pub async fn close(&self, id: &Name, how: How) -> Result<(), ClaimError> {
        let (by, at) = (new_id(&self.0.parts.clock), self.0.parts.clock.now());
        let (journal, of, who) = (self.0.parts.journal.clone(), id.clone(), by.clone());
        let close = move || resume::close(&journal, &of, &who, how, at);
        let closed = tokio::task::spawn_blocking(close).await;
        let lost = |e| JournalError { path: PathBuf::new(), error: std::io::Error::other(e) };
        closed.map_err(|e| ClaimError::Disk(lost(e)))??;
        self.took_up(id, &format!("{} by {by}", how.as_str())).await;
        Ok(())
    }

    /// Returns the controls of an action that runs in this process.
    pub fn control(&self, id: &Name) -> Option<Control> {
        self.0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .map(|action| action.control.clone())
    }

    /// Returns the plan of an action that runs in a cluster, from the moment in which it is started: the World has it only
    /// after it was rehearsed once more.
    pub fn running_in(&self, id: ClusterId, context: &str) -> Option<Arc<Plan>> {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.values().find(|action| is_in(&action.read, id, context)).map(|action| action.read.clone())
    }

    /// Returns the number of running actions.
    pub fn running(&self) -> usize {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Starts no further step. Callers wait at most [`SHUTDOWN`] for the actions to end.
    pub fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
    }

    /// Stops, and waits for the actions to end. Returns `false` if the time is over, in which case the journal
    /// contains their state.
    pub async fn shutdown(&self) -> bool {
        self.stop();
        tokio::time::timeout(SHUTDOWN, self.0.tasks.wait()).await.is_ok()
    }
}

/// Returns what an action inherits from the one that it resumes.
async fn follows(journal: &Journal, id: Name, how: How, cluster: ClusterId) -> Follows {
    let (journal, old) = (journal.clone(), id.clone());
    let read = move || {
        let found = resume::unfinished(&journal).into_iter().find(|u| u.id == old);
        found.map(|u| resume::cordoned(&u)).unwrap_or_default()
    };
    let mut cordoned = match how {
        How::Resumed => tokio::task::spawn_blocking(read).await.unwrap_or_default(),
        How::Compensated | How::Dismissed => Vec::new(),
    };
    // another process numbers clusters differently
    for node in &mut cordoned {
        node.cluster = cluster;
    }
    Follows { id, how, cordoned }
}

/// Checks whether the journal can be written now, without blocking other tasks.
async fn usable(journal: &Journal) -> Result<(), String> {
    let journal = journal.clone();
    let tried = tokio::task::spawn_blocking(move || journal.usable().map_err(|e| e.to_string())).await;
    tried.unwrap_or_else(|e| Err(e.to_string()))
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Standby};
    use pilothouse_core::domain::id::{Kind, ObjectRef, Uid};
    use pilothouse_core::domain::plan::{Act, DerivedPlan, Step, StepKind};

    use super::*;

    #[test]
    fn a_failover_runs_in_its_standby_too() {
        let standby =
            Standby { context: "eu-2".into(), workloads: Vec::new(), shift: None, scale_down: false };
        let dr = FailoverPlan {
            name: "dr".into(),
            kind: FailoverKind::Standby(standby),
            watched: None,
            soak_secs: 0,
            suggested: false,
            in_context: String::new(),
        };
        let plan = |act: Act| {
            let intent = Intent { cluster: ClusterId(0), context: "eu-1".into(), act, targets: Vec::new() };
            Plan::new(intent, Stamp(0))
        };
        let failover = plan(Act::Failover { plan: Box::new(dr), revert: false });
        // what takes a failover up, or takes it back, says where it goes in its steps
        let mut there = plan(Act::Cordon);
        let on = ObjectRef::new(ClusterId(0), Kind::Node, &Name::default(), &"n".into(), &Uid::default());
        let step = |context: &str| Step { what: StepKind::Cordon, on: on.clone(), context: context.into() };
        there.steps = vec![step("us-1")];
        let rest = || {
            Box::new(DerivedPlan {
                of: "7".into(),
                title: "failover dr".into(),
                steps: vec![step(""), step("eu-2")],
                not_restored: String::new(),
                confirm: Confirm::Context,
                watched: None,
                takes_back: false,
            })
        };
        let runs = |plan: &Plan| {
            let clusters = [(0, "eu-1"), (1, "eu-2"), (2, "us-1")];
            clusters.map(|(id, context)| is_in(plan, ClusterId(id), context))
        };
        assert_eq!(runs(&plan(Act::Cordon)), [true, false, false]);
        assert_eq!(runs(&failover), [true, true, false]);
        assert_eq!(runs(&there), [true, false, true]);
        for act in [Act::Undo(rest()), Act::Resume(rest())] {
            // before it is planned, and with the steps that are left
            let unplanned = plan(act.clone());
            let planned = Plan { steps: vec![step("us-1")], ..plan(act) };
            assert_eq!([runs(&unplanned), runs(&planned)], [[true, true, false], [true; 3]]);
        }
    }
}
