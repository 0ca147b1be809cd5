//! The live console: terminal, screen, session, and the desk that carries out what the screen asks for.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::model::plan::{Evidence, Intent, Plan};
use pilothouse_core::model::world::World;
use pilothouse_core::policy::failover;
use pilothouse_core::policy::plan::View;
use pilothouse_core::policy::plan::failover::error_ratio;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::appearance as look;
use super::failover::{contexts, others, validate};
use super::fetch::{Resources, error_lines, routes, table, yaml};
use super::logs::follow;
use super::session::Session;
use super::{Dialer, Start};
use crate::action::executor::{Control, Executor, Pace, new_id};
use crate::action::gate::Gauge;
use crate::action::journal::Journal;
use crate::action::reach::Reach;
use crate::action::rehearse::rehearse;
use crate::clock::Clock;
use crate::config::Home;
use crate::hub::action_event;
use crate::report::exit;
use crate::report::headless::tell;
use crate::source::logs::LogStore;
use crate::source::supervise::Supervisor;
use crate::terminal::Terminal;
use crate::ui::app::Ui;
use crate::ui::request::{Effect, Order, Rehearsal, Reply, Request, Ticket};
use crate::ui::run::{Input, Outcome, Stage, WorldCell, queue, run};
use crate::wire::client::ReadClient;
use crate::wire::write::WriteClient;

/// What is said when the hub has ended.
const FROZEN: &str = "internal error: the picture is frozen; nothing can be judged by it: restart pilothouse";
/// Effects that wait to be carried out.
const EFFECTS: usize = 64;
/// From the end of the loop to the end of the process.
const SHUTDOWN: Duration = Duration::from_millis(600);
const CLOSE: Duration = Duration::from_millis(150);

pub fn console(start: &Start) -> u8 {
    let _log = crate::telemetry::start(&start.home.state);
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&e.to_string()),
    };
    let status = match open(start, &runtime) {
        Ok(outcome) => match outcome {
            Outcome::Quit => exit::DONE,
            Outcome::Hangup => exit::FAILED,
            Outcome::Terminated => exit::INTERRUPTED,
        },
        Err(why) => {
            tell(&format!("pilothouse: {why}"));
            exit::USAGE
        }
    };
    runtime.shutdown_timeout(Duration::from_millis(100));
    status
}

fn failed(why: &str) -> u8 {
    tell(&format!("pilothouse: {why}"));
    exit::FAILED
}

/// Everything that can be wrong with the configuration is said before the terminal is taken.
fn open(start: &Start, runtime: &tokio::runtime::Runtime) -> Result<Outcome, String> {
    let connection = runtime.block_on(start.connect())?;
    let (theme, mut problems) = look::theme(start);
    problems.extend(start.loaded.problems.iter().map(ToString::to_string));
    let journal = start.journal();
    let (past, torn) = journal.history();
    problems.extend(torn);
    let (inbox_in, inbox) = queue();
    let cell = WorldCell::new(inbox_in.clone());
    let publish = cell.clone();
    let guard = runtime.enter();
    let mut session = Session::open(start, connection, past, move |world| publish.publish(world.clone()))?;
    cell.publish(session.world.borrow().clone());
    session.follow_logs(start);
    let (mut ui, key_problems) = Ui::new(&start.settings.ui);
    ui.namespace = start.global.namespace.as_deref().map(Name::from);
    // keys that could not be read might have been meant to keep an action away
    let read_only = start.settings.guards.read_only || !key_problems.is_empty();
    problems.extend(key_problems);
    let writer = if read_only { None } else { Some(session.connection.writer().map_err(|e| e.to_string())?) };
    let executions = TaskTracker::new();
    let desk = Desk {
        reader: session.reader.clone(),
        writer,
        journal,
        clock: start.clock.clone(),
        guards: start.settings.guards.clone(),
        failover: start.settings.failover.clone(),
        dialer: start.dialer(),
        world: session.world.clone(),
        inbox: inbox_in.clone(),
        lines: session.logs.clone(),
        control: session.control.clone(),
        supervisor: session.supervisor.child(),
        stop: session.supervisor.token(),
        home: start.home.clone(),
        running: HashMap::new(),
        pace: Pace::default(),
        executions: executions.clone(),
        logs: HashMap::new(),
        resources: Arc::default(),
        count: 0,
    };
    let (effects, effects_in) = mpsc::channel(EFFECTS);
    session.supervisor.spawn_once(desk.serve(effects_in));
    if let Some(why) = runtime.block_on(async {
        let asked = super::session::no_such_namespace(start, &session.connection);
        // a server that does not answer is shown, not waited for
        tokio::time::timeout(Duration::from_secs(2), asked).await.ok().flatten()
    }) {
        problems.push(why);
    }
    if !start.settings.failover.is_empty() {
        let (plans, dialer, reader) =
            (start.settings.failover.clone(), start.dialer(), session.reader.clone());
        let (info, now) = (super::session::info(start, &session.connection), start.clock.now());
        let told = inbox_in.clone();
        session.supervisor.spawn_once(async move {
            for (name, against) in validate(&plans, &dialer, &reader, &info, now).await {
                if let Some(first) = against.first() {
                    hand(&told, Input::Problem(format!("failover plan {name}: {first}"))).await;
                }
            }
        });
    }
    let (mut world, told) = (session.world.clone(), inbox_in.clone());
    session.supervisor.spawn_once(async move {
        while world.changed().await.is_ok() {}
        hand(&told, Input::Problem(FROZEN.into())).await;
    });
    drop(guard);
    let terminal = Terminal::take().map_err(|e| format!("the terminal cannot be used: {e}"))?;
    let frames = terminal.start(&inbox_in).map_err(|e| format!("the terminal cannot be used: {e}"))?;
    for problem in problems {
        let _full = inbox_in.try_send(Input::Problem(problem));
    }
    let stage = Stage {
        world: cell,
        inbox,
        frames,
        clock: start.clock.clone(),
        theme,
        ascii: look::wants_ascii(start),
        max_fps: start.settings.ui.max_fps,
        size: Terminal::size(),
    };
    let refused = inbox_in;
    let outcome = run(ui, stage, move |effect| {
        if effects.try_send(effect).is_err() {
            let _full = refused.try_send(Input::Notice("busy: that was not started, try again".into()));
        }
    });
    if outcome == Outcome::Hangup {
        terminal.abandon();
    } else {
        drop(terminal);
    }
    let stop = session.supervisor.token();
    runtime.block_on(async {
        stop.cancel();
        executions.close();
        if tokio::time::timeout(SHUTDOWN, executions.wait()).await.is_err() {
            tracing::warn!("an action did not come to its end in time; its journal says how far it got");
        }
        session.close(CLOSE).await;
    });
    Ok(outcome)
}

/// Carries out effects, each in a task of its own; the screen never waits for it.
struct Desk {
    reader: ReadClient,
    /// None in read-only mode: what does not exist cannot be used by mistake.
    writer: Option<WriteClient>,
    journal: Journal,
    clock: Clock,
    guards: pilothouse_core::domain::settings::GuardSettings,
    /// The plans of the config.
    failover: Vec<FailoverPlan>,
    dialer: Dialer,
    world: watch::Receiver<Arc<World>>,
    inbox: SyncSender<Input>,
    /// None where logs are not followed.
    lines: Option<Arc<LogStore>>,
    control: mpsc::Sender<pilothouse_core::model::event::Event>,
    supervisor: Supervisor,
    stop: CancellationToken,
    home: Home,
    running: HashMap<Name, Control>,
    pace: Pace,
    /// Ends by itself once `stop` is set: the step that was sent is read or noted, no other begins.
    executions: TaskTracker,
    logs: HashMap<Ticket, Supervisor>,
    resources: Arc<Resources>,
    count: u32,
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
    async fn serve(mut self, mut effects: mpsc::Receiver<Effect>) {
        while let Some(effect) = effects.recv().await {
            match effect {
                Effect::Plan(ticket, intent) => self.plan(ticket, intent),
                Effect::Run { intent, fingerprint, answer, resumes } => {
                    self.run(intent, fingerprint, answer, resumes).await;
                }
                Effect::Resume(ticket, id) => self.resume(ticket, &id),
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
                    follow(&group, &self.reader, ticket, &request, &self.inbox);
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
                Effect::Copy(_) | Effect::Redraw | Effect::Quit => {}
            }
        }
    }

    /// A rehearsal over the newest world.
    fn rehearsal(&self, intent: Intent) -> impl Future<Output = Option<Plan>> + use<> {
        let world = self.world.borrow().clone();
        let (mut reach, guards, now) = (self.reach(), self.guards.clone(), self.clock.now());
        let (dialer, read_only) = (self.dialer.clone(), self.writer.is_none());
        async move {
            let cluster = world.cluster(intent.cluster)?;
            // a context that cannot be opened is a refusal of the plan, with the reason that reading it gives
            reach.others = others(&dialer, &contexts(&intent.act), read_only).await.unwrap_or_default();
            Some(rehearse(cluster, &intent, &guards, View::Whole, now, &reach).await)
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

    /// Carries out what was confirmed, if it is still the same plan.
    async fn run(&mut self, intent: Intent, fingerprint: u64, answer: String, _resumes: Option<Name>) {
        if self.is_frozen() {
            let _full = self.inbox.try_send(Input::Notice(FROZEN.into()));
            return;
        }
        if self.writer.is_none() {
            let _full = self.inbox.try_send(Input::Notice("read-only: nothing was sent".into()));
            return;
        }
        self.count += 1;
        let id = new_id(&self.clock, self.count);
        let running = Control::default();
        self.running.retain(|_, control| !control.is_cancelled());
        self.running.insert(id.clone(), running.clone());
        let (user, host) = super::who();
        let (told, mut tellings) = mpsc::channel(64);
        let mut executor = Executor {
            reach: self.reach(),
            gauge: self.gauge(intent.cluster),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            tell: told,
            stop: self.stop.clone(),
            user,
            host,
            pace: self.pace.clone(),
            memory_journal: false,
            follows: None,
        };
        let (inbox, control, clock) = (self.inbox.clone(), self.control.clone(), self.clock.clone());
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
            } else if plan.fingerprint() != fingerprint {
                "nothing was sent: the plan has changed since it was shown; look again".to_owned()
            } else if plan.answer != answer {
                "nothing was sent: that is not what had to be typed".to_owned()
            } else {
                let done = executor.run(id, &plan, running.clone(), None).await;
                running.cancel(false);
                let outcome =
                    done.outcome.map_or("unfinished", pilothouse_core::model::world::Outcome::as_str);
                format!("{} {outcome}: {}", plan.intent.act.as_str(), done.message)
            };
            hand(&inbox, Input::Notice(why)).await;
        });
    }

    fn resume(&self, ticket: Ticket, _id: &Name) {
        let _full = self.inbox.try_send(Input::Reply(ticket, Reply::Failed("not yet".into())));
    }

    fn fetch(&self, ticket: Ticket, request: Request) {
        let (reader, inbox, resources) = (self.reader.clone(), self.inbox.clone(), self.resources.clone());
        let lines = self.lines.clone();
        let (world, mut plans) = (self.world.borrow().clone(), self.failover.clone());
        self.supervisor.spawn_once(async move {
            let reply = match request {
                Request::Yaml { kind, namespace, name, .. } => {
                    yaml(&reader, &resources, kind, namespace, name).await
                }
                Request::Table { resource, namespace, .. } => {
                    table(&reader, &resources, &resource, namespace).await
                }
                Request::FailoverPlans { cluster } => match world.cluster(cluster) {
                    Some(cluster) => {
                        plans.extend(failover::suggest(cluster, &routes(&reader).await));
                        Ok(Reply::Plans(plans))
                    }
                    None => Err("that cluster is not there".into()),
                },
                Request::ErrorLines { fingerprint, .. } => match lines {
                    Some(store) => Ok(error_lines(&store, fingerprint)),
                    None => Err("logs are not followed: logs.enabled is false".into()),
                },
            };
            let reply = reply.unwrap_or_else(Reply::Failed);
            hand(&inbox, Input::Reply(ticket, reply)).await;
        });
    }
}

/// Writes the screen into a fresh file of the state folder; no name from the cluster is in its path.
fn dump(home: &Home, clock: &Clock, text: &str) -> std::io::Result<String> {
    use std::os::unix::fs::OpenOptionsExt;
    let folder = home.state.join("screens");
    std::fs::create_dir_all(&folder)?;
    let at = clock.now().to_string().replace(':', "");
    let path = folder.join(format!("screen-{at}.txt"));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    Ok(path.display().to_string())
}
