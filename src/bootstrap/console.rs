//! The live console: terminal, screen, session, runner of actions, and the desk that performs the effects of the
//! screen.

use std::collections::HashMap;
use std::time::Duration;

use pilothouse_core::domain::preset;
use pilothouse_core::facts::world::ActionView;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Start;
use super::appearance as look;
use super::desk::{Desk, hand};
use super::session::{Begin, Purpose, Session};
use crate::action::facts::{Facts, FactsError};
use crate::action::runner::{Parts, Runner, WithoutJournal};
use crate::clock::Clock;
use crate::hub::action_event;
use crate::report::exit;
use crate::report::headless::tell;
use crate::source::Wanted;
use crate::terminal::{self, Terminal};
use crate::ui::app::Ui;
use crate::ui::pane;
use crate::ui::request::Effect;
use crate::ui::run::{Input, Outcome, Stage, WorldCell, queue, run};

/// The capacity of the queue of effects.
const EFFECTS: usize = 64;
/// The capacity of the queue of reports.
const REPORTS: usize = 64;
/// How long the sources may take to stop.
const CLOSE: Duration = Duration::from_millis(150);

pub(super) fn console(start: &Start) -> u8 {
    let _log = crate::telemetry::start(start.home.state.as_deref());
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

/// Returns what the console begins with. One cluster is connected before the terminal is taken, so that its credential
/// plugin can ask there. Several are connected beside each other, and none of them is waited for.
fn begin(start: &Start, runtime: &tokio::runtime::Runtime) -> Result<Begin, String> {
    let chosen = start.chosen()?;
    if chosen.len() > 1 {
        // their plugins run while the screen has the terminal
        start.leave_the_terminal();
        return Ok(Begin::Chosen(chosen));
    }
    let connection = runtime.block_on(start.connect())?;
    let of = start.settings.of_cluster(&connection.context, true);
    Ok(Begin::Connected(of, Box::new(connection)))
}

/// Opens the console. All errors in the configuration are reported before the terminal is taken.
fn open(start: &Start, runtime: &tokio::runtime::Runtime) -> Result<Outcome, String> {
    let begin = begin(start, runtime)?;
    let connection = match &begin {
        Begin::Connected(_, connection) => Some(connection.clone()),
        Begin::Chosen(_) => None,
    };
    let (theme, fault) = look::theme(start);
    let mut problems = connection.as_ref().map_or_else(Vec::new, |connection| connection.notes.clone());
    // an error in the theme that the config file names is among the errors of the file
    problems.extend(fault.filter(|_| !start.loaded.is_of_file("ui.theme")));
    problems.extend(start.loaded.problems.iter().map(ToString::to_string));
    let journal = start.journal().quiet();
    let kept = journal.clone();
    let (past, gaps) = journal.history();
    problems.extend(gaps.iter().map(ToString::to_string));
    problems.extend(journal.folder().err().map(|e| e.to_string()));
    let (inbox_in, inbox) = queue();
    let cell = WorldCell::new(inbox_in.clone());
    let publish = cell.clone();
    let guard = runtime.enter();
    let publish = move |world: &_| publish.publish(std::sync::Arc::clone(world));
    let told = inbox_in.clone();
    let ended = std::sync::Arc::new(move |why: String| {
        tracing::error!("{why}");
        let _full = told.try_send(Input::Unrecorded(why));
    });
    let contexts = begin.contexts();
    let reads_only =
        |context: &String| start.settings.of_cluster(context, false).settings.guards.reads_only(context);
    let may_write = !contexts.iter().all(reads_only);
    let tap = super::session::recorder_of(start, contexts, ended)?;
    let is_recorded = tap.is_some();
    let told = inbox_in.clone();
    let noticed = Box::new(move |words: String| {
        let _full = told.try_send(Input::Problem(words));
    });
    let purpose = Purpose { writes: true, wanted: Wanted::All, tap, tell: noticed };
    let session = Session::begin(start, begin, past, purpose, publish)?;
    cell.publish(session.world.borrow().clone());
    let (mut ui, _) = Ui::new(&start.settings.ui);
    ui.columns = pane::chosen(&start.settings.ui.columns).0;
    ui.presets = preset::all(&start.settings.prometheus.own_presets).into();
    ui.clipboard = look::clipboard();
    ui.is_recorded = is_recorded;
    ui.trace_url.clone_from(&start.settings.logs.trace_url);
    ui.graph_url.clone_from(&start.settings.prometheus.graph_url);
    ui.zone = crate::clock::zone;
    ui.fleet.colours = look::colours(start);
    // if several namespaces are requested, all are shown and the user can select one
    let asked = super::session::namespaces(start);
    ui.begins_in(match asked.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    });
    if may_write {
        let (journal, now) = (journal.clone(), start.clock.now());
        // pruning can read all journals, and nothing waits for it
        runtime.spawn_blocking(move || journal.prune(now));
    }
    let (reports, reported) = mpsc::channel(REPORTS);
    session.supervisor.spawn_once(show_actions(reported, &session, start.clock.clone()));
    let (user, host) = super::who::who();
    let runner = Runner::new(Parts {
        clusters: session.clusters.clients(),
        facts: Facts::Live(session.world.clone()),
        journal,
        clock: start.clock.clone(),
        without_journal: WithoutJournal::Ask,
        user,
        host,
        reports,
    });
    let desk = Desk {
        clusters: session.clusters.clone(),
        runner: runner.clone(),
        clock: start.clock.clone(),
        world: session.world.clone(),
        inbox: inbox_in.clone(),
        control: session.control.clone(),
        supervisor: session.supervisor.child(),
        opener: session.opener.clone(),
        recorded: start.global.record.clone(),
        home: start.home.clone(),
        logs: HashMap::new(),
        asked: HashMap::new(),
    };
    let (effects, effects_in) = mpsc::channel(EFFECTS);
    session.supervisor.spawn_once(desk.serve(effects_in));
    if let Some(connection) = &connection
        && let Some(why) = runtime.block_on(async {
            let asked = super::session::no_such_namespace(start, connection);
            // a server that does not respond is shown as such, and start-up does not wait for it
            tokio::time::timeout(Duration::from_secs(2), asked).await.ok().flatten()
        })
    {
        problems.push(why);
    }
    let (mut world, told) = (session.world.clone(), inbox_in.clone());
    session.supervisor.spawn_once(async move {
        while world.changed().await.is_ok() {}
        hand(&told, Input::Problem(FactsError::Frozen.to_string())).await;
    });
    drop(guard);
    start.leave_the_terminal();
    let terminal = Terminal::take().map_err(|e| format!("the terminal cannot be used: {e}"))?;
    let frames = terminal.start(&inbox_in).map_err(|e| format!("the terminal cannot be used: {e}"))?;
    for problem in problems {
        let _full = inbox_in.try_send(Input::Problem(problem));
    }
    if let Some(remarks) = super::choice::in_short(&start.remarks()) {
        let _full = inbox_in.try_send(Input::Notice(remarks));
    }
    let stage = Stage {
        world: cell,
        inbox,
        frames,
        clock: start.clock.clone(),
        theme,
        ascii: look::wants_ascii(start),
        hyperlinks: look::wants_links(start),
        max_fps: start.settings.ui.max_fps,
        size: Terminal::size(),
    };
    let refused = inbox_in;
    let outcome = run(ui, stage, move |effect| {
        if effect == Effect::Suspend {
            if let Err(why) = terminal::suspend() {
                let _full = refused.try_send(Input::Notice(why.into()));
            }
            return;
        }
        if let Err(TrySendError::Full(effect) | TrySendError::Closed(effect)) = effects.try_send(effect) {
            let _full = refused.try_send(not_started(effect));
        }
    });
    // a signal leaves the terminal open; a closed terminal accepts no output, so this does not wait for it
    drop(terminal);
    runtime.block_on(async {
        if !runner.shutdown().await {
            tracing::warn!("an action did not come to its end in time; its journal says how far it got");
        }
        session.close(CLOSE).await;
    });
    for record in kept.kept() {
        tell(&format!("pilothouse: kept in memory only: {record}"));
    }
    Ok(outcome)
}

/// Tells that an effect was not started because too much is going on.
fn not_started(effect: Effect) -> Input {
    match effect {
        Effect::OpenCluster(context) => Input::NotOpened(context, "busy, try again".into()),
        _ => Input::Notice("busy: that was not started, try again".into()),
    }
}

/// Passes the reports of actions to the hub on its priority queue.
fn show_actions(
    mut reports: mpsc::Receiver<ActionView>,
    session: &Session,
    clock: Clock,
) -> impl Future<Output = ()> + Send + 'static {
    let (control, clusters) = (session.control.clone(), session.clusters.clients());
    async move {
        while let Some(action) = reports.recv().await {
            let now = clusters.now_in(action.cluster, &clock);
            if control.send(action_event(action, now)).await.is_err() {
                return;
            }
        }
    }
}
