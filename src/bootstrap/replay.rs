//! Replays a recording: the same panes, from a file in place of a cluster; and the report of a recording.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Event, Fact};
use pilothouse_core::facts::world::{ClusterInfo, World};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Start;
use super::appearance as look;
use super::desk::{save, save_report};
use crate::cli::Output;
use crate::clock::Clock;
use crate::hub::{CONTROL, FACTS, Hub, Queues};
use crate::report::headless::{print, tell};
use crate::report::{exit, incident};
use crate::source::recording::Recording;
use crate::terminal::Terminal;
use crate::ui::app::Ui;
use crate::ui::pane;
use crate::ui::request::{Effect, Reply};
use crate::ui::run::{Input, Outcome, Stage, WorldCell, queue, run};

/// How often the clock of a replay moves.
const STEP: Duration = Duration::from_millis(50);
/// Why nothing of a cluster can be read or changed.
const NO_CLUSTER: &str = "this is a recording: there is no cluster to ask";

/// What the header says about the clusters. All of them are read-only.
fn infos(recording: &Recording) -> Vec<ClusterInfo> {
    let contexts = recording.header.contexts.iter();
    (0u16..)
        .zip(contexts)
        .map(|(id, context)| ClusterInfo {
            id: ClusterId(id),
            context: context.as_str().into(),
            server: "a recording".into(),
            read_only: true,
            replayed: true,
            ..ClusterInfo::default()
        })
        .collect()
}

/// Prints the report of a recording.
pub fn report(file: &Path, output: Output) -> u8 {
    match reported(file, output) {
        Ok(text) if print(&text).is_ok() => exit::DONE,
        Ok(_) => exit::FAILED,
        Err(why) => {
            tell(&format!("pilothouse: {why}"));
            exit::USAGE
        }
    }
}

/// Returns the world at the end of a recording.
pub fn world(recording: Recording) -> Result<World, String> {
    let infos = infos(&recording);
    let clock = Clock::manual(Stamp::default());
    let mut hub = Hub::new(infos, Vec::new(), clock.clone(), |_| ());
    let mut published = None;
    for event in recording {
        let event = event?;
        let at = event.at;
        let last = *published.get_or_insert(at);
        // like in the console, which publishes at least every second
        let mut now = last;
        while at.since(now) >= 1_000 {
            // what happened in a pause is at its end or in its first minute
            now = if at.since(now) > 300_000 { at.plus_secs(-1) } else { now.plus_secs(1) };
            clock.set(now);
            hub.publish(true);
            published = Some(now);
        }
        clock.set(at.max(now));
        hub.apply(event);
        hub.publish(false);
    }
    hub.publish(true);
    Ok(hub.world().clone())
}

fn reported(file: &Path, output: Output) -> Result<String, String> {
    let world = world(Recording::open(file)?)?;
    let mut out = String::new();
    for cluster in world.clusters.iter() {
        let report = incident::report(&world, cluster);
        out += &match output {
            Output::Text => incident::markdown(&report),
            Output::Json => format!("{}\n", serde_json::to_string(&report).map_err(|e| e.to_string())?),
        };
    }
    Ok(out)
}

/// Opens the console on a recording.
pub(crate) fn console(start: &Start, file: &Path, speed: f64) -> u8 {
    let opened = super::runtime().map_err(|e| e.to_string()).and_then(|runtime| {
        let outcome = open(start, &runtime, Recording::open(file)?, speed);
        runtime.shutdown_timeout(Duration::from_millis(100));
        outcome
    });
    match opened {
        Ok(Outcome::Quit) => exit::DONE,
        Ok(Outcome::Hangup) => exit::FAILED,
        Ok(Outcome::Terminated) => exit::INTERRUPTED,
        Err(why) => {
            tell(&format!("pilothouse: {why}"));
            exit::USAGE
        }
    }
}

fn open(
    start: &Start,
    runtime: &tokio::runtime::Runtime,
    mut recording: Recording,
    speed: f64,
) -> Result<Outcome, String> {
    let infos = infos(&recording);
    let first = recording.next().transpose()?.ok_or("the recording has no events")?;
    let clock = Clock::manual(first.at);
    let (inbox_in, inbox) = queue();
    let cell = WorldCell::new(inbox_in.clone());
    let (facts, facts_in) = mpsc::channel(FACTS);
    let (control, control_in) = mpsc::channel(CONTROL);
    let publish = cell.clone();
    let newest = Arc::new(std::sync::Mutex::new(Arc::new(World::default())));
    let keep = newest.clone();
    let hub = Hub::new(infos, Vec::new(), clock.clone(), move |world: Arc<World>| {
        *keep.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = world.clone();
        publish.publish(world);
    });
    let stop = CancellationToken::new();
    let queues = Queues { facts: facts_in, control: control_in, clusters: mpsc::channel(1).1 };
    let hub = super::session::hub_thread(hub, queues, stop.clone())?;
    let ended = inbox_in.clone();
    let (player, playing) = (clock.clone(), stop.clone());
    std::thread::Builder::new()
        .name("replay".into())
        .spawn(move || play(first, recording, speed, &player, &facts, &playing, &ended))
        .map_err(|e| format!("the replay cannot be started: {e}"))?;
    let (theme, _) = look::theme(start);
    let (mut ui, _) = Ui::new(&start.settings.ui);
    ui.columns = pane::chosen(&start.settings.ui.columns).0;
    ui.clipboard = look::clipboard();
    ui.zone = crate::clock::zone;
    let guard = runtime.enter();
    let terminal = Terminal::take().map_err(|e| format!("the terminal cannot be used: {e}"))?;
    let frames = terminal.start(&inbox_in).map_err(|e| format!("the terminal cannot be used: {e}"))?;
    let stage = Stage {
        world: cell,
        inbox,
        frames,
        clock: clock.clone(),
        theme,
        ascii: look::wants_ascii(start),
        hyperlinks: look::wants_links(start),
        max_fps: start.settings.ui.max_fps,
        size: Terminal::size(),
    };
    let outcome = run(ui, stage, |effect| {
        let said = |text: String| {
            let _full = inbox_in.try_send(Input::Notice(text));
        };
        let told = |fact| Event { at: clock.now(), cluster: ClusterId::default(), fact };
        match effect {
            Effect::Remark(cluster, remark) => {
                let _full = control.try_send(Event { cluster, ..told(Fact::Remark(remark)) });
            }
            Effect::Silence(cluster, change) => {
                let _full = control.try_send(Event { cluster, ..told(Fact::Silence(change)) });
            }
            Effect::ScreenDump(text) => said(saved(save(&start.home, &clock, ("screens", "screen"), &text))),
            Effect::Save(_, text) => said(saved(save(&start.home, &clock, ("texts", "text"), &text))),
            Effect::Report(cluster) => {
                let world = newest.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
                said(save_report(&start.home, &clock, &world, cluster));
            }
            Effect::Plan(ticket, _, _)
            | Effect::Fetch(ticket, _)
            | Effect::Resume(ticket, _)
            | Effect::Contexts(ticket) => {
                let _full = inbox_in.try_send(Input::Reply(ticket, Reply::Failed(NO_CLUSTER.into())));
            }
            Effect::OpenCluster(context) => {
                let _full = inbox_in.try_send(Input::NotOpened(context, NO_CLUSTER.into()));
            }
            Effect::FollowLogs(ticket, _) => {
                let _full = inbox_in.try_send(Input::LogEnded(ticket));
                said(NO_CLUSTER.into());
            }
            Effect::Suspend => {
                if let Err(why) = crate::terminal::suspend() {
                    said(why.into());
                }
            }
            Effect::Run { .. } | Effect::Order(..) | Effect::Dismiss(_) | Effect::CloseCluster(_) => {
                said(NO_CLUSTER.into());
            }
            Effect::StopLogs(_)
            | Effect::Cancel(_)
            | Effect::Copy(_)
            | Effect::Redraw
            | Effect::Mouse
            | Effect::Quit => {}
        }
    });
    drop(terminal);
    drop(guard);
    stop.cancel();
    if hub.join().is_err() {
        tracing::error!("the hub ended by a panic");
    }
    Ok(outcome)
}

fn saved(result: std::io::Result<String>) -> String {
    match result {
        Ok(path) => format!("written to {path}"),
        Err(e) => format!("nothing was written: {e}"),
    }
}

/// Sends the events when their time has come, `speed` times as fast as they were recorded, and moves the clock.
fn play(
    first: Event,
    recording: Recording,
    speed: f64,
    clock: &Clock,
    facts: &mpsc::Sender<Event>,
    stop: &CancellationToken,
    told: &std::sync::mpsc::SyncSender<Input>,
) {
    let (began, start) = (Clock::instant(), first.at);
    let now = || {
        let elapsed = Clock::instant().saturating_duration_since(began).as_secs_f64();
        Stamp(start.0.saturating_add((elapsed * speed * 1000.0) as i64))
    };
    let mut said = "the recording has ended".to_owned();
    for event in std::iter::once(Ok(first)).chain(recording) {
        let event = match event {
            Ok(event) => event,
            Err(why) => {
                said = why;
                break;
            }
        };
        while now() < event.at {
            if stop.is_cancelled() {
                return;
            }
            clock.set(now());
            std::thread::park_timeout(STEP);
        }
        clock.set(event.at.max(clock.now()));
        if facts.blocking_send(event).is_err() {
            return;
        }
    }
    let _full = told.try_send(Input::Notice(said));
    // the queue stays open, so that the panes stay as they were at the end
    while !stop.is_cancelled() {
        std::thread::park_timeout(STEP);
    }
}
