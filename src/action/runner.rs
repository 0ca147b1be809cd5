//! The runner: every action of the console and of a headless command goes through it. Rehearse, confirm (the front end
//! asks, the answer is judged here), rehearse once more, execute, report. It holds the actions that run, so that they can
//! be paused, cancelled and ended together.

mod take_up;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::plan::{Confirm, Intent, Plan, Warning};
use pilothouse_core::facts::world::{ActionView, Outcome};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answers::Answers;
use super::cluster::{ClusterClients, Clusters, PlanClients};
use super::executor::{Control, Executor, new_id};
use super::facts::{Facts, FactsError};
use super::identity;
use super::journal::{ClaimError, Follows, How, Journal, JournalError};
use super::recorder::Recorder;
use super::rehearse::rehearse;
use super::resume;
use super::session::Session;
use crate::clock::Clock;

pub use take_up::{NotTakenUp, TakenUp};

/// From being told to end to the end: what was sent is read back or noted, and nothing else is sent.
pub const SHUTDOWN: Duration = Duration::from_millis(600);

/// What happens where the journal cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutJournal {
    /// The plan warns, and asks for the context's name.
    Ask,
    /// A flag has named the context for it.
    Agreed,
    /// Nothing is sent.
    Refuse,
}

/// What a runner is made of.
pub struct Parts {
    pub clusters: Clusters,
    pub facts: Facts,
    pub journal: Journal,
    pub clock: Clock,
    pub without_journal: WithoutJournal,
    /// Who is at the keyboard, and where: for the journal.
    pub user: String,
    pub host: String,
    /// Each transition of each action goes here.
    pub reports: mpsc::Sender<ActionView>,
}

/// How a plan was confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// By flags, at once: nobody read it, so nothing could change meanwhile.
    Flags,
    /// By a person who typed this.
    Typed(String),
}

/// A plan that was read, and the consent to it.
#[derive(Clone, Debug)]
pub struct Confirmed {
    pub read: Arc<Plan>,
    pub consent: Consent,
    /// The unfinished action that this one goes on with, or takes back.
    pub follows: Option<(Name, How)>,
}

/// An action that was started.
#[derive(Debug)]
pub struct Started {
    pub id: Name,
    /// How it ended; nothing comes if its task is lost.
    pub done: oneshot::Receiver<ActionView>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum NotRehearsed {
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error("{0}")]
    NotOpened(String),
}

/// Carries actions out. Clones share everything.
#[derive(Clone)]
pub struct Runner(Arc<Shared>);

struct Shared {
    parts: Parts,
    running: Mutex<HashMap<Name, Control>>,
    tasks: TaskTracker,
    /// Cancelled at the end: no new step starts.
    stop: CancellationToken,
    answers: Mutex<Answers>,
}

/// What the server is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Only what was not answered a moment ago.
    New,
    Everything,
}

/// Removes an action from the ones that run, however its task ends.
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
        }))
    }

    fn clients(&self, cluster: ClusterId) -> Result<&ClusterClients, FactsError> {
        self.0.parts.clusters.get(cluster).ok_or(FactsError::NoCluster)
    }

    /// Plans an intent and asks the server about it; changes nothing. Access reviews and dry runs that were answered a
    /// moment ago are not repeated, as an open dialog is rehearsed every two seconds.
    pub async fn rehearse(&self, intent: &Intent) -> Result<Plan, NotRehearsed> {
        Ok(self.rehearsal(intent, Ask::New).await?.0)
    }

    async fn rehearsal(&self, intent: &Intent, ask: Ask) -> Result<(Plan, PlanClients), NotRehearsed> {
        let parts = &self.0.parts;
        let (clients, now) = (self.clients(intent.cluster)?, parts.clock.now());
        let facts = parts.facts.of(clients, intent, now).await?;
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
        Ok((plan, plan_clients))
    }

    /// Compares the clusters that a plan is for with those of the action that it takes back. Ok: what a person should
    /// know. Err: it is another cluster.
    pub async fn same_clusters(&self, plan: &Plan) -> Result<Vec<String>, String> {
        let Some(id) = identity::followed(&plan.intent.act, None) else { return Ok(Vec::new()) };
        let clients = self.clients(plan.intent.cluster).map_err(|e| e.to_string())?;
        let plan_clients = clients.for_plan(&plan.intent.act.contexts()).await?;
        let here = identity::clusters(&plan_clients, plan).await;
        identity::same(&self.0.parts.journal, id, &here, &plan.intent.context).await
    }

    /// Starts what was confirmed, in a task of its own. It is rehearsed once more before anything is sent, and refused if it
    /// goes beyond the plan that was read.
    pub fn start(&self, confirmed: Confirmed) -> Started {
        let id = new_id(&self.0.parts.clock);
        let control = Control::default();
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), control.clone());
        let entry = Entry(self.clone(), id.clone());
        let (told, done) = oneshot::channel();
        self.0.tasks.spawn(async move {
            let ended = entry.0.run(entry.1.clone(), confirmed, control).await;
            drop(entry);
            // whoever started it has gone on
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
                Some(follows(&parts.journal, old, how).await)
            }
        };
        let executor = Executor {
            session: Session {
                reach: plan_clients,
                guards: clients.guards.clone(),
                clock: parts.clock.clone(),
                stop: self.0.stop.clone(),
                limiter: clients.limiter.clone(),
            },
            recorder: Recorder {
                journal: parts.journal.clone(),
                clock: parts.clock.clone(),
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
            // it was not taken up after all
            self.report(before).await;
        }
        done
    }

    /// The plan to carry out and its clients, or why nothing may be sent.
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
        let (plan, plan_clients) =
            self.rehearsal(intent, Ask::Everything).await.map_err(|e| e.to_string())?;
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

    /// An action that was started and of which nothing is sent: it is reported like any other.
    async fn refused(&self, id: Name, read: Arc<Plan>, why: &str) -> ActionView {
        let now = self.0.parts.clock.now();
        let action = ActionView {
            ended: Some(now),
            outcome: Some(Outcome::Refused),
            message: format!("nothing was sent: {why}"),
            ..ActionView::new(id, read, now)
        };
        self.report(action.clone()).await;
        action
    }

    /// True if the records may stay in memory because the disk does not take them.
    async fn may_keep_in_memory(&self, plan: &Plan, consent: &Consent) -> bool {
        match self.0.parts.without_journal {
            WithoutJournal::Agreed => true,
            WithoutJournal::Refuse => false,
            // the context's name was typed over the warning that says so
            WithoutJournal::Ask => {
                matches!(consent, Consent::Typed(_))
                    && plan.confirm == Confirm::Context
                    && usable(&self.0.parts.journal).await.is_err()
            }
        }
    }

    async fn report(&self, action: ActionView) {
        // a listener that is gone changes nothing about the action
        if self.0.parts.reports.send(action).await.is_err() {
            tracing::debug!("nobody listens to the reports of actions");
        }
    }

    /// Shows an unfinished action as dealt with.
    async fn took_up(&self, id: &Name, words: &str) {
        if let Some(mut old) = self.0.parts.facts.action(id) {
            old.unfinished = false;
            old.message = format!("{words}: {}", old.message);
            self.report(old).await;
        }
    }

    /// Writes down that an unfinished action needs no action of its own, and shows it so.
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

    /// The controls of an action that runs here.
    pub fn control(&self, id: &Name) -> Option<Control> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// How many actions run.
    pub fn running(&self) -> usize {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Starts no further step. Whoever waits for the ends does so for [`SHUTDOWN`] at most.
    pub fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
    }

    /// Stops, and waits for the actions to come to their ends. False: the time was up, and the journal says how far they got.
    pub async fn shutdown(&self) -> bool {
        self.stop();
        tokio::time::timeout(SHUTDOWN, self.0.tasks.wait()).await.is_ok()
    }
}

/// What an action takes over from the one that it goes on with.
async fn follows(journal: &Journal, id: Name, how: How) -> Follows {
    let (journal, old) = (journal.clone(), id.clone());
    let read = move || {
        let found = resume::unfinished(&journal).into_iter().find(|u| u.id == old);
        found.map(|u| resume::cordoned(&u)).unwrap_or_default()
    };
    let cordoned = match how {
        How::Resumed => tokio::task::spawn_blocking(read).await.unwrap_or_default(),
        How::Compensated | How::Dismissed => Vec::new(),
    };
    Follows { id, how, cordoned }
}

/// Whether the journal can be written now, without holding up anybody who waits.
async fn usable(journal: &Journal) -> Result<(), String> {
    let journal = journal.clone();
    let tried = tokio::task::spawn_blocking(move || journal.usable().map_err(|e| e.to_string())).await;
    tried.unwrap_or_else(|e| Err(e.to_string()))
}
