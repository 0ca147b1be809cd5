//! The live console: terminal, screen, session, and the desk that carries out what the screen asks for.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid};
use pilothouse_core::model::plan::{Evidence, Intent, Plan};
use pilothouse_core::model::world::World;
use pilothouse_core::policy::plan::View;
use pilothouse_core::policy::plan::failover::error_ratio;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Start;
use super::appearance as look;
use super::logs::{follow, shown};
use super::session::Session;
use crate::action::executor::{Control, Executor, Pace, new_id};
use crate::action::gate::Gauge;
use crate::action::journal::Journal;
use crate::action::reach::Reach;
use crate::action::rehearse::rehearse;
use crate::action::requests::path;
use crate::clock::Clock;
use crate::config::Home;
use crate::hub::action_event;
use crate::report::exit;
use crate::report::headless::tell;
use crate::source::logs::{LogFilter, LogStore};
use crate::source::objects::{self, ApiResource};
use crate::source::supervise::Supervisor;
use crate::terminal::Terminal;
use crate::ui::app::Ui;
use crate::ui::request::{Effect, Rehearsal, Reply, Request, TableLine, TableText, Ticket};
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
    resources: Arc<tokio::sync::OnceCell<Vec<ApiResource>>>,
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
                Effect::Run { intent, fingerprint, answer } => self.run(intent, fingerprint, answer),
                Effect::CancelAction(id) => {
                    if let Some(control) = self.running.get(&id) {
                        control.cancel(false);
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
        let (reach, guards, now) = (self.reach(), self.guards.clone(), self.clock.now());
        async move {
            let cluster = world.cluster(intent.cluster)?;
            Some(rehearse(cluster, &intent, &guards, View::Whole, now, &reach).await)
        }
    }

    fn reach(&self) -> Reach {
        Reach::new(self.reader.clone(), self.writer.clone())
    }

    /// The error ratios of the newest world.
    fn gauge(&self, cluster: ClusterId) -> Gauge {
        let world = self.world.clone();
        Arc::new(move |watched| error_ratio(world.borrow().cluster(cluster)?, watched))
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
    fn run(&mut self, intent: Intent, fingerprint: u64, answer: String) {
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
        let executor = Executor {
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
        let rehearsal = self.rehearsal(intent);
        // not with the sources: these are dropped when we stop, an execution has to come to an end of its own
        self.executions.spawn(async move {
            let Some(plan) = rehearsal.await else { return };
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

    fn fetch(&self, ticket: Ticket, request: Request) {
        let (reader, inbox, resources) = (self.reader.clone(), self.inbox.clone(), self.resources.clone());
        let lines = self.lines.clone();
        self.supervisor.spawn_once(async move {
            let reply = match request {
                Request::Yaml { kind, namespace, name, .. } => {
                    yaml(&reader, &resources, kind, namespace, name).await
                }
                Request::Table { resource, namespace, .. } => {
                    table(&reader, &resources, &resource, namespace).await
                }
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

/// Lines of an error group that are handed over at most.
const ERROR_LINES: usize = 200;

fn error_lines(store: &LogStore, fingerprint: Name) -> Reply {
    let filter = LogFilter { fingerprint: Some(fingerprint), ..LogFilter::default() };
    Reply::Lines(store.lines(&filter, ERROR_LINES).into_iter().map(shown).collect())
}

type Resources = tokio::sync::OnceCell<Vec<ApiResource>>;

async fn known<'a>(reader: &ReadClient, resources: &'a Resources) -> Result<&'a Vec<ApiResource>, String> {
    resources.get_or_try_init(|| objects::resources(reader)).await.map_err(|e| e.to_string())
}

async fn yaml(
    reader: &ReadClient,
    resources: &Resources,
    kind: Kind,
    namespace: Name,
    name: Name,
) -> Result<Reply, String> {
    let object = ObjectRef::new(kind, &namespace, &name, &Uid::default());
    let path = if let Some(path) = path(&object) {
        path
    } else {
        let all = known(reader, resources).await?;
        let resource = all.iter().find(|r| r.kind == object.kind.as_str());
        let resource = resource.ok_or_else(|| format!("the server has no kind {}", object.kind))?;
        resource.path(resource.namespaced.then_some(namespace.as_str()), Some(&name))
    };
    let text = objects::yaml(reader, &path).await.map_err(|e| e.to_string())?;
    Ok(Reply::Text(text.lines().map(str::to_owned).collect()))
}

async fn table(
    reader: &ReadClient,
    resources: &Resources,
    word: &str,
    namespace: Option<Name>,
) -> Result<Reply, String> {
    let all = known(reader, resources).await?;
    let resource = all.iter().find(|r| r.answers_to(word));
    let resource = resource.ok_or_else(|| format!("the server has no resource {word:?}"))?;
    let table = objects::table(reader, resource, namespace.as_deref()).await.map_err(|e| e.to_string())?;
    let kind = Name::from(resource.kind.as_str());
    let narrow: Vec<bool> = table.columns.iter().map(|c| c.priority == 0).collect();
    let pick = |cells: Vec<String>| -> Vec<String> {
        cells.into_iter().zip(&narrow).filter(|(_, keep)| **keep).map(|(cell, _)| cell).collect()
    };
    let mut columns = pick(table.columns.iter().map(|c| c.name.clone()).collect());
    let namespaced = resource.namespaced && namespace.is_none();
    if namespaced {
        columns.insert(0, "Namespace".into());
    }
    let rows = table
        .rows
        .into_iter()
        .map(|row| {
            let mut cells = pick(row.cells);
            if namespaced {
                cells.insert(0, row.namespace.clone());
            }
            TableLine { kind: kind.clone(), namespace: row.namespace.into(), name: row.name.into(), cells }
        })
        .collect();
    Ok(Reply::Table(TableText { columns, rows }))
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
