//! The headless actions: fetch what the plan needs, rehearse, confirm, execute; the same planner, executor, journal
//! and guards as the keys.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::model::plan::{Act, DrainOptions, Plan, ScaleBy};
use pilothouse_core::policy::plan::View;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Start;
use super::session::info;
use crate::action::executor::{Control, Executor, Pace, new_id};
use crate::action::journal::Follows;
use crate::action::reach::Reach;
use crate::action::rehearse::rehearse;
use crate::action::resume;
use crate::action::scene::{self, SceneError};
use crate::cli::{ActionFlags, Output};
use crate::clock::Clock;
use crate::report::headless::{Confirmed, confirm, print, tell};
use crate::report::{exit, plan as report};
use crate::wire::error::ApiError;

/// From being told to end to the end.
const SHUTDOWN: Duration = Duration::from_millis(600);
pub(super) static COUNT: AtomicU32 = AtomicU32::new(0);

fn nodes(names: &[String]) -> Vec<ObjectRef> {
    let mut targets: Vec<ObjectRef> = Vec::new();
    for name in names {
        let name = name.strip_prefix("node/").unwrap_or(name);
        if !targets.iter().any(|t| t.name == name) {
            targets.push(ObjectRef::new(Kind::Node, &Name::default(), &name.into(), &Uid::default()));
        }
    }
    targets
}

pub async fn cordon(start: &Start, names: &[String], on: bool, flags: &ActionFlags) -> u8 {
    act(start, if on { Act::Cordon } else { Act::Uncordon }, Ok(nodes(names)), flags).await
}

pub async fn drain(start: &Start, names: &[String], options: DrainOptions, flags: &ActionFlags) -> u8 {
    act(start, Act::Drain(options), Ok(nodes(names)), flags).await
}

pub async fn restart(start: &Start, workload: &str, flags: &ActionFlags) -> u8 {
    act(start, Act::Restart, Err(workload), flags).await
}

pub async fn scale(
    start: &Start,
    workload: &str,
    replicas: i32,
    seen: Option<i32>,
    flags: &ActionFlags,
) -> u8 {
    act(start, Act::Scale(ScaleBy { replicas, current_replicas: seen }), Err(workload), flags).await
}

/// `targets`: nodes, or the text of a workload that still needs the connection's namespace.
async fn act(start: &Start, act: Act, targets: Result<Vec<ObjectRef>, &str>, flags: &ActionFlags) -> u8 {
    match attempt(start, act, targets, flags).await {
        Ok(status) => status,
        Err((status, why)) => {
            tell(&format!("pilothouse: {why}"));
            status
        }
    }
}

async fn attempt(
    start: &Start,
    act: Act,
    targets: Result<Vec<ObjectRef>, &str>,
    flags: &ActionFlags,
) -> Result<u8, (u8, String)> {
    let usage = |why: String| (exit::USAGE, why);
    for unfinished in resume::unfinished(&start.journal()) {
        tell(&unfinished.line());
    }
    let connection = start.connect().await.map_err(usage)?;
    let namespace = Name::from(start.global.namespace.as_deref().unwrap_or(&connection.namespace));
    let targets = match targets {
        Ok(nodes) => nodes,
        Err(workload) => vec![scene::target(workload, &namespace).map_err(usage)?],
    };
    let info = info(start, &connection);
    let read_only = info.read_only;
    let reader = connection.reader().map_err(|e| usage(e.to_string()))?;
    let now = start.clock.now();
    let scene = scene::fetch(&reader, info, act, &targets, now)
        .await
        .map_err(|e| (scene_status(&e), e.to_string()))?;
    // in read-only mode the client that can write is never made
    let writer = if read_only { None } else { Some(connection.writer().map_err(|e| usage(e.to_string()))?) };
    let guards = &start.settings.guards;
    let can_write = writer.is_some();
    let reach = Reach::new(reader, writer);
    let plan = rehearse(&scene.cluster, &scene.intent, guards, View::Targets, now, &reach).await;
    if flags.is_dry_run() {
        show(&plan, flags)?;
        return Ok(report::plan_status(&plan));
    }
    if !can_write || !plan.refusals.is_empty() {
        show(&plan, flags)?;
        return Ok(exit::REFUSED);
    }
    carry_out(start, reach, &plan, flags, None).await
}

/// Confirms, executes and reports a plan without refusals. `follows`: the unfinished action that it takes up.
pub(super) async fn carry_out(
    start: &Start,
    reach: Reach,
    plan: &Plan,
    flags: &ActionFlags,
    follows: Option<Follows>,
) -> Result<u8, (u8, String)> {
    let memory_journal = match &flags.journal_in_memory {
        Some(named) if plan.intent.context != *named.as_str() => {
            let why =
                format!("--journal-in-memory {named} is not this context, which is {}", plan.intent.context);
            return Err((exit::USAGE, why));
        }
        named => named.is_some(),
    };
    for line in report::text(plan) {
        tell(&line);
    }
    match confirm(plan, flags, &start.settings.guards) {
        Confirmed::Yes => {}
        Confirmed::No(why) => return Err((exit::REFUSED, why)),
    }
    let (user, host) = super::who();
    let (tell_to, mut told) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let executor = Executor {
        reach,
        gauge: std::sync::Arc::new(|_| None),
        journal: start.journal(),
        clock: start.clock.clone(),
        tell: tell_to,
        stop,
        user,
        host,
        pace: Pace::default(),
        memory_journal,
        follows,
    };
    let id = new_id(&start.clock, COUNT.fetch_add(1, Ordering::Relaxed));
    let (stop, control) = (executor.stop.clone(), Control::default());
    let run = executor.run(id, plan, control.clone(), None);
    tokio::pin!(run);
    let mut last = String::new();
    let (mut signals, mut ends) = (Signals::new(), None);
    let done = loop {
        tokio::select! {
            done = &mut run => break done,
            // a server that does not answer must not keep us: the journal says that it was sent
            () = tokio::time::sleep_until(ends.unwrap_or_else(Clock::instant).into()), if ends.is_some() => {
                return Err((exit::INTERRUPTED, "ended in the middle: see pilothouse journal list".into()));
            }
            Some(progress) = told.recv() => {
                let line = progress.message;
                if !line.is_empty() && line != last {
                    tell(&line);
                    last = line;
                }
            }
            // once: finish what was sent and end in order; twice, or told to end: now
            again = signals.next() => {
                if again || control.is_cancelled() {
                    ends.get_or_insert_with(|| Clock::deadline(SHUTDOWN));
                    stop.cancel();
                } else {
                    tell("cancelled: nothing more is sent; once more ends it now");
                    control.cancel(false);
                }
            }
        }
    };
    match flags.output {
        Output::Json => json(&report::document(&done.plan, Some(&done)))?,
        Output::Text => printed(&report::result_text(&done).join("\n"))?,
    }
    Ok(report::result_status(&done))
}

/// What ends an action from outside.
struct Signals([Option<tokio::signal::unix::Signal>; 3]);

impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self([SignalKind::interrupt(), SignalKind::hangup(), SignalKind::terminate()].map(|k| signal(k).ok()))
    }

    /// True: a hang-up or a termination, false: Ctrl-C.
    async fn next(&mut self) -> bool {
        async fn of(signal: &mut Option<tokio::signal::unix::Signal>) {
            let told = match signal {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if told.is_none() {
                std::future::pending::<()>().await;
            }
        }
        let Self([interrupt, hangup, terminate]) = self;
        tokio::select! {
            () = of(interrupt) => false,
            () = of(hangup) => true,
            () = of(terminate) => true,
        }
    }
}

pub(super) fn scene_status(error: &SceneError) -> u8 {
    match error {
        SceneError::Read { error: ApiError::Forbidden { .. }, .. } => exit::REFUSED,
        _ => exit::FAILED,
    }
}

pub(super) fn show(plan: &Plan, flags: &ActionFlags) -> Result<(), (u8, String)> {
    match flags.output {
        Output::Json => json(&report::document(plan, None)),
        Output::Text => printed(&report::text(plan).join("\n")),
    }
}

fn json(document: &impl serde::Serialize) -> Result<(), (u8, String)> {
    let text = serde_json::to_string(document).map_err(|e| (exit::FAILED, e.to_string()))?;
    printed(&text)
}

fn printed(text: &str) -> Result<(), (u8, String)> {
    print(text).map_err(|e| (exit::FAILED, format!("standard output: {e}")))
}
