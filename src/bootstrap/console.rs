//! The live console: terminal, screen, session, and the desk that carries out what the screen asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Start;
use super::appearance as look;
use super::desk::{Desk, FROZEN, hand};
use super::failover::validate;
use super::session::Session;
use crate::action::executor::Pace;

use crate::report::exit;
use crate::report::headless::tell;
use crate::source::Wanted;
use crate::terminal::{self, Terminal};
use crate::ui::app::Ui;
use crate::ui::request::Effect;
use crate::ui::run::{Input, Outcome, Stage, WorldCell, queue, run};

/// Effects that wait to be carried out.
const EFFECTS: usize = 64;
/// From the end of the loop to the end of the process.
const SHUTDOWN: Duration = Duration::from_millis(600);
const CLOSE: Duration = Duration::from_millis(150);

pub fn console(start: &Start) -> u8 {
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

/// Everything that can be wrong with the configuration is said before the terminal is taken.
fn open(start: &Start, runtime: &tokio::runtime::Runtime) -> Result<Outcome, String> {
    let connection = runtime.block_on(start.connect())?;
    let (theme, fault) = look::theme(start);
    let mut problems = connection.notes.clone();
    // one that the file names is among the file's problems
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
    let publish = move |world: &_| publish.publish(Arc::clone(world));
    let session = Session::open(start, connection, past, Wanted::All, publish)?;
    cell.publish(session.world.borrow().clone());
    let (mut ui, _) = Ui::new(&start.settings.ui);
    ui.clipboard = look::clipboard();
    // of several all are shown, and one can be picked
    ui.namespace = match super::session::namespaces(start).as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    };
    let writer = if start.settings.guards.read_only {
        None
    } else {
        Some(session.connection.writer().map_err(|e| e.to_string())?)
    };
    if writer.is_some() {
        let (journal, now) = (journal.clone(), start.clock.now());
        // it may have to read them all, and nothing waits for it
        runtime.spawn_blocking(move || journal.prune(now));
    }
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
        lines: session.lines.clone(),
        control: session.control.clone(),
        supervisor: session.supervisor.child(),
        stop: session.supervisor.token(),
        home: start.home.clone(),
        running: HashMap::new(),
        pace: Pace::default(),
        executions: executions.clone(),
        logs: HashMap::new(),
        resources: Arc::default(),
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
    start.leave_the_terminal();
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
        if effect == Effect::Suspend {
            if let Err(why) = terminal::suspend() {
                let _full = refused.try_send(Input::Notice(why.into()));
            }
            return;
        }
        if effects.try_send(effect).is_err() {
            let _full = refused.try_send(Input::Notice("busy: that was not started, try again".into()));
        }
    });
    // a signal alone leaves the terminal there; one that is gone takes nothing, and is not waited for
    drop(terminal);
    let stop = session.supervisor.token();
    runtime.block_on(async {
        stop.cancel();
        executions.close();
        if tokio::time::timeout(SHUTDOWN, executions.wait()).await.is_err() {
            tracing::warn!("an action did not come to its end in time; its journal says how far it got");
        }
        session.close(CLOSE).await;
    });
    for record in kept.kept() {
        tell(&format!("pilothouse: kept in memory only: {record}"));
    }
    Ok(outcome)
}
