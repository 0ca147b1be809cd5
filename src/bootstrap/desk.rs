//! The desk: carries out what the screen asks for, each in a task of its own; the screen never waits for it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::plan::{Act, Confirm, Evidence, Intent, Plan, Sequel};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Event, Fact};
use pilothouse_core::facts::world::{ActionView, World};
use pilothouse_core::plan::View;
use pilothouse_core::plan::failover::error_ratio;
use pilothouse_core::plan::undo;
use pilothouse_core::policy::failover;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Dialer;
use super::failover::{contexts, others};
use super::fetch::{Resources, error_lines, kinds, routes, table, yaml};
use super::logs::follow;
use crate::action::executor::{Control, Executor, Pace, new_id};
use crate::action::gate::Gauge;
use crate::action::identity;
use crate::action::journal::{Follows, How, Journal};
use crate::action::reach::Reach;
use crate::action::rehearse::rehearse;
use crate::action::resume::{self, Remaining, Settled, Unfinished};
use crate::clock::Clock;
use crate::config::Home;
use crate::hub::action_event;
use crate::source::logs::LogStore;
use crate::source::supervise::Supervisor;
use crate::ui::request::{Effect, Order, Rehearsal, Reply, Request, Ticket};
use crate::ui::run::Input;
use crate::wire::client::ReadClient;
use crate::wire::write::WriteClient;

/// What is said when the hub has ended.
pub(super) const FROZEN: &str =
    "internal error: the picture is frozen; nothing can be judged by it: restart pilothouse";

/// What effects are carried out with.
pub(super) struct Desk {
    pub reader: ReadClient,
    /// None in read-only mode: what does not exist cannot be used by mistake.
    pub writer: Option<WriteClient>,
    pub journal: Journal,
    pub clock: Clock,
    pub guards: pilothouse_core::domain::settings::GuardSettings,
    /// The plans of the config.
    pub failover: Vec<FailoverPlan>,
    pub dialer: Dialer,
    pub world: watch::Receiver<Arc<World>>,
    pub inbox: SyncSender<Input>,
    pub lines: Arc<LogStore>,
    pub control: mpsc::Sender<pilothouse_core::facts::event::Event>,
    pub supervisor: Supervisor,
    pub stop: CancellationToken,
    pub home: Home,
    pub running: HashMap<Name, Control>,
    pub pace: Pace,
    /// Ends by itself once `stop` is set: the step that was sent is read or noted, no other begins.
    pub executions: TaskTracker,
    pub logs: HashMap<Ticket, Supervisor>,
    pub resources: Arc<Resources>,
}

/// Hands something to the screen; waits a little while its queue is full, for it is never full for long.
pub(super) async fn hand(inbox: &SyncSender<Input>, mut input: Input) {
    loop {
        match inbox.try_send(input) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => return,
            Err(TrySendError::Full(back)) => input = back,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Desk {
    pub async fn serve(mut self, mut effects: mpsc::Receiver<Effect>) {
        while let Some(effect) = effects.recv().await {
            match effect {
                Effect::Plan(ticket, intent) => self.plan(ticket, intent),
                Effect::Run { read, answer, resumes } => {
                    self.run(read, answer, resumes);
                }
                Effect::Resume(ticket, id) => self.resume(ticket, id),
                Effect::Dismiss(id) => self.dismiss(id),
                Effect::Order(id, order) => {
                    if let Some(control) = self.running.get(&id) {
                        match order {
                            Order::Cancel { uncordon } => control.cancel(uncordon),
                            Order::Pause(on) => control.pause(on),
                        }
                    }
                }
                Effect::Fetch(ticket, request) => self.fetch(ticket, request),
                Effect::FollowLogs(ticket, request) => {
                    let group = self.supervisor.child();
                    follow(&group, &self.reader, ticket, request, self.world.clone(), &self.inbox);
                    self.logs.insert(ticket, group);
                }
                Effect::StopLogs(ticket) => {
                    if let Some(group) = self.logs.remove(&ticket) {
                        group.cancel();
                    }
                }
                Effect::ScreenDump(text) | Effect::Save(text) => {
                    let said = match dump(&self.home, &self.clock, &text) {
                        Ok(path) => format!("written to {path}"),
                        Err(e) => format!("nothing was written: {e}"),
                    };
                    hand(&self.inbox, Input::Notice(said)).await;
                }
                Effect::Silence(cluster, change) => {
                    let event = Event { at: self.clock.now(), cluster, fact: Fact::Silence(change) };
                    let _frozen = self.control.send(event).await;
                }
                Effect::Copy(_) | Effect::Redraw | Effect::Mouse | Effect::Suspend | Effect::Quit => {}
            }
        }
    }

    /// A rehearsal over the newest world.
    fn rehearsal(&self, intent: Intent) -> impl Future<Output = Option<Plan>> + use<> {
        let world = self.world.borrow().clone();
        let (mut reach, guards, now) = (self.reach(), self.guards.clone(), self.clock.now());
        let (dialer, journal, read_only) = (self.dialer.clone(), self.journal.clone(), self.writer.is_none());
        async move {
            let cluster = world.cluster(intent.cluster)?;
            // a context that cannot be opened is a refusal of the plan, with the reason that reading it gives
            reach.others = others(&dialer, &contexts(&intent.act), read_only).await.unwrap_or_default();
            let mut plan = rehearse(cluster, &intent, &guards, View::Whole, now, &reach).await;
            if !read_only && let Err(e) = usable(&journal).await {
                plan.warnings.push(format!(
                    "{e}: the record of this would be kept in memory only and is lost with this process"
                ));
                plan.confirm = Confirm::Context;
                plan.answer = plan.intent.context.to_string();
            }
            Some(plan)
        }
    }

    fn reach(&self) -> Reach {
        Reach::new(self.reader.clone(), self.writer.clone())
    }

    /// The error ratios of the newest world.
    fn gauge(&self, cluster: ClusterId) -> Gauge {
        let world = self.world.clone();
        Arc::new(move |watched| error_ratio(&world.borrow().cluster(cluster)?.traffic, watched))
    }

    /// The hub is gone: what is shown is frozen, and nothing may be judged by it.
    fn is_frozen(&self) -> bool {
        self.world.has_changed().is_err()
    }

    fn plan(&self, ticket: Ticket, intent: Intent) {
        if self.is_frozen() {
            let _full = self.inbox.try_send(Input::Reply(ticket, Reply::Failed(FROZEN.into())));
            return;
        }
        let (inbox, rehearsal) = (self.inbox.clone(), self.rehearsal(intent));
        self.supervisor.spawn_once(async move {
            let reply = match rehearsal.await {
                Some(plan) => {
                    Reply::Rehearsal(Rehearsal { plan: Arc::new(plan), evidence: Evidence::default() })
                }
                None => Reply::Failed("that cluster is not there".into()),
            };
            hand(&inbox, Input::Reply(ticket, reply)).await;
        });
    }

    /// Carries out what was confirmed, if the plan does not go beyond the one that was read.
    fn run(&mut self, read: Arc<Plan>, answer: String, resumes: Option<Name>) {
        if self.is_frozen() {
            let _full = self.inbox.try_send(Input::Notice(FROZEN.into()));
            return;
        }
        if self.writer.is_none() {
            let _full = self.inbox.try_send(Input::Notice("read-only: nothing was sent".into()));
            return;
        }
        let intent = read.intent.clone();
        let id = new_id(&self.clock);
        let running = Control::default();
        self.running.retain(|_, control| !control.is_cancelled());
        self.running.insert(id.clone(), running.clone());
        let (user, host) = super::who();
        let (told, mut tellings) = mpsc::channel(64);
        let mut executor = Executor {
            reach: self.reach(),
            gauge: self.gauge(intent.cluster),
            journal: self.journal.clone(),
            guards: self.guards.clone(),
            clock: self.clock.clone(),
            tell: told,
            stop: self.stop.clone(),
            user,
            host,
            pace: self.pace.clone(),
            memory_journal: false,
            follows: None,
        };
        let before = resumes.as_ref().and_then(|old| {
            self.world.borrow().actions.iter().find(|a| a.id == *old).map(|a| ActionView::clone(a))
        });
        let (inbox, control, clock) = (self.inbox.clone(), self.control.clone(), self.clock.clone());
        let taken_up = control.clone();
        self.supervisor.spawn_once(async move {
            while let Some(view) = tellings.recv().await {
                let at = clock.now();
                if control.send(action_event(view, at)).await.is_err() {
                    return;
                }
            }
        });
        let contexts = contexts(&intent.act);
        let rehearsal = self.rehearsal(intent);
        let (dialer, contexts) = (self.dialer.clone(), contexts);
        // not with the sources: these are dropped when we stop, an execution has to come to an end of its own
        self.executions.spawn(async move {
            let Some(plan) = rehearsal.await else { return };
            executor.reach.others = others(&dialer, &contexts, false).await.unwrap_or_default();
            let why = if let Some(refusal) = plan.refusals.first() {
                format!("nothing was sent: {}", refusal.reason)
            } else if let Some(what) = plan.goes_beyond(&read) {
                format!("nothing was sent: {what} changed after the plan was shown; look again")
            } else if plan.answer != answer {
                "nothing was sent: that is not what had to be typed".to_owned()
            } else {
                if let Some(old) = resumes {
                    executor.follows = Some(follows(&executor.journal, old).await);
                }
                if let Some(mut old) = before {
                    old.unfinished = false;
                    old.message = format!("taken up by {id}: {}", old.message);
                    let at = executor.clock.now();
                    // without a hub there is nobody to show it to
                    let _unshown = taken_up.send(action_event(old, at)).await;
                }
                // the context's name was typed over the warning that says so
                executor.memory_journal =
                    plan.confirm == Confirm::Context && usable(&executor.journal).await.is_err();
                let done = executor.run(id, &plan, running.clone(), None).await;
                running.cancel(false);
                let outcome =
                    done.outcome.map_or("unfinished", pilothouse_core::facts::world::Outcome::as_str);
                format!("{} {outcome}: {}", plan.intent.act.as_str(), done.message)
            };
            hand(&inbox, Input::Notice(why)).await;
        });
    }

    /// Writes down that an unfinished action is dealt with, and shows it so.
    fn dismiss(&mut self, id: Name) {
        let by = new_id(&self.clock);
        let (journal, inbox, control, at) =
            (self.journal.clone(), self.inbox.clone(), self.control.clone(), self.clock.now());
        let before = self.world.borrow().actions.iter().find(|a| a.id == id).map(|a| ActionView::clone(a));
        self.executions.spawn(async move {
            let (of, who) = (id.clone(), by.clone());
            let close = move || resume::close(&journal, &of, &who, How::Dismissed, at);
            let closed = tokio::task::spawn_blocking(close).await;
            let closed = closed.map_err(|e| e.to_string()).and_then(|c| c.map_err(|e| e.to_string()));
            if let (Some(mut old), Ok(())) = (before, &closed) {
                old.unfinished = false;
                old.message.push_str(&format!("; dismissed by {by}"));
                // without a hub there is nobody to show it to
                let _unshown = control.send(action_event(old, at)).await;
            }
            let said =
                closed.map_or_else(|why| format!("not dismissed: {why}"), |()| format!("{id}: dismissed"));
            hand(&inbox, Input::Notice(said)).await;
        });
    }

    /// What is left of an unfinished action, by its journal and by where the cluster stands.
    fn resume(&self, ticket: Ticket, id: Name) {
        let (journal, mut reach, dialer) = (self.journal.clone(), self.reach(), self.dialer.clone());
        let here = self.world.borrow().clusters.first().map(|c| c.info.context.clone());
        let (inbox, read_only, now) = (self.inbox.clone(), self.writer.is_none(), self.clock.now());
        self.supervisor.spawn_once(async move {
            let reply = match resume::unfinished(&journal).into_iter().find(|u| u.id == id) {
                None => Reply::Failed("this action is already resumed, undone or dismissed".into()),
                Some(action) if here.as_ref() != Some(&action.plan.intent.context) => Reply::Failed({
                    let context = &action.plan.intent.context;
                    format!("belongs to context {context}: start pilothouse --context {context}")
                }),
                Some(action) => {
                    let contexts = action.plan.steps.iter().map(|s| s.context.clone());
                    let contexts = contexts.filter(|c| !c.is_empty()).collect();
                    reach.others = others(&dialer, &contexts, read_only).await.unwrap_or_default();
                    let here = identity::clusters(&reach, &action.plan).await;
                    let compared = identity::compare(&action.clusters, &here, &action.plan.intent.context);
                    if let Err(why) = compared {
                        Reply::Failed(why)
                    } else {
                        let settled = resume::settle(&reach, &action).await;
                        rest_of(&action, &settled, &journal, now)
                    }
                }
            };
            hand(&inbox, Input::Reply(ticket, reply)).await;
        });
    }

    fn fetch(&self, ticket: Ticket, request: Request) {
        let (reader, inbox, resources) = (self.reader.clone(), self.inbox.clone(), self.resources.clone());
        let lines = self.lines.clone();
        let (world, mut plans) = (self.world.borrow().clone(), self.failover.clone());
        let dialer = self.dialer.clone();
        self.supervisor.spawn_once(async move {
            let reply = match request {
                Request::Yaml { kind, namespace, name, .. } => {
                    yaml(&reader, &resources, kind, namespace, name).await
                }
                Request::Table { resource, namespace, .. } => {
                    table(&reader, &resources, &resource, namespace).await
                }
                Request::Kinds { .. } => kinds(&reader, &resources).await,
                Request::Contexts { cluster } => {
                    let here = world.cluster(cluster).map(|c| c.info.context.to_string());
                    dialer.contexts(here.as_deref().unwrap_or_default()).map(Reply::Text)
                }
                Request::FailoverPlans { cluster } => match world.cluster(cluster) {
                    Some(cluster) => {
                        plans.extend(failover::suggest(cluster, &routes(&reader).await));
                        Ok(Reply::Plans(plans))
                    }
                    None => Err("that cluster is not there".into()),
                },
                Request::ErrorLines { fingerprint, .. } => Ok(error_lines(&lines, fingerprint)),
            };
            let reply = reply.unwrap_or_else(Reply::Failed);
            hand(&inbox, Input::Reply(ticket, reply)).await;
        });
    }
}

/// What an action takes over from the one that it goes on with.
async fn follows(journal: &Journal, id: Name) -> Follows {
    let journal = journal.clone();
    let old = id.clone();
    let read = move || {
        let found = resume::unfinished(&journal).into_iter().find(|u| u.id == old);
        found.map(|u| resume::cordoned(&u)).unwrap_or_default()
    };
    let cordoned = tokio::task::spawn_blocking(read).await.unwrap_or_default();
    Follows { id, how: How::Resumed, cordoned }
}

/// Whether the journal can be written now, without holding up anybody who waits.
async fn usable(journal: &Journal) -> Result<(), String> {
    let journal = journal.clone();
    let tried = tokio::task::spawn_blocking(move || journal.usable().map_err(|e| e.to_string())).await;
    tried.unwrap_or_else(|e| Err(e.to_string()))
}

/// The intent that goes on with an action, or why there is none.
fn rest_of(action: &Unfinished, settled: &Settled, journal: &Journal, now: Stamp) -> Reply {
    match resume::resume_intent(action, settled) {
        Remaining::Intent(intent) => Reply::Resume(intent),
        Remaining::Plan(plan) => {
            let sequel = Sequel {
                of: action.id.clone(),
                title: undo::title(&action.plan),
                steps: plan.steps.clone(),
                remains: String::new(),
                confirm: action.plan.confirm,
                watched: match &action.plan.intent.act {
                    Act::Failover { plan, .. } => plan.watched.clone(),
                    Act::Resume(rest) => rest.watched.clone(),
                    _ => None,
                },
            };
            Reply::Resume(Intent { act: Act::Resume(Box::new(sequel)), ..plan.intent.clone() })
        }
        Remaining::Nothing => {
            let closed = resume::close(journal, &action.id, &action.id, How::Resumed, now);
            let note = closed.err().map_or_else(String::new, |e| format!(" ({e})"));
            Reply::Failed(format!("nothing is left to do: {}{note}", settled.summary))
        }
        Remaining::Blocked(why) => Reply::Failed(format!(
            "it cannot be resumed: {why}; check the cluster, then: pilothouse resume {} --dismiss",
            action.id
        )),
    }
}

/// Writes the screen into a fresh file of the state folder; no name from the cluster is in its path.
fn dump(home: &Home, clock: &Clock, text: &str) -> std::io::Result<String> {
    use std::os::unix::fs::OpenOptionsExt;
    let state = home.state.as_ref().ok_or_else(|| std::io::Error::other("there is no home directory"))?;
    let folder = state.join("screens");
    crate::telemetry::private_folder(&folder)?;
    let at = clock.now().to_string().replace(':', "");
    let path = folder.join(format!("screen-{at}.txt"));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    Ok(path.display().to_string())
}
