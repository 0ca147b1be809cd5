//! The headless actions: fetch what the plan needs, rehearse, confirm, execute; the same planner, executor, journal
//! and guards as the keys.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Pick};
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::near::meant;
use pilothouse_core::domain::plan::{Act, DrainOptions, EvictOptions, Plan, ScaleBy};
use pilothouse_core::plan::DataScope;
use pilothouse_core::plan::undo;
use pilothouse_core::policy::pick::nodes_of;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Start;
use super::failover::{contexts, others};
use super::gauge::Watch;
use super::session::info;
use crate::action::executor::{Control, Executor, Pace, new_id};
use crate::action::identity;
use crate::action::journal::Follows;
use crate::action::reach::Reach;
use crate::action::rehearse::rehearse;
use crate::action::resume;
use crate::action::scene::{self, SceneError};
use crate::action::target::{Place, target};
use crate::cli::{ActionCommand, ActionFlags, Output};
use crate::clock::Clock;
use crate::report::headless::{Confirmed, confirm, print, tell};
use crate::report::{exit, plan as report};
use crate::wire::error::ApiError;

/// From being told to end to the end.
const SHUTDOWN: Duration = Duration::from_millis(600);

/// What an action is about, as it was typed.
enum Targets<'a> {
    Nodes(&'a [String]),
    /// With their kinds, or all of this kind; in the connection's namespace unless they name one.
    Named(Option<Kind>, &'a [String]),
    /// Worked out by the plan (failover), or pinned before (undo).
    Pinned(Vec<ObjectRef>),
}

impl Targets<'_> {
    fn resolve(self, place: &Place) -> Result<Vec<ObjectRef>, String> {
        let mut targets: Vec<ObjectRef> = Vec::new();
        let mut add = |target: ObjectRef| {
            if !targets.contains(&target) {
                targets.push(target);
            }
        };
        match self {
            Self::Nodes(names) => {
                for name in names {
                    let name = name.strip_prefix("node/").unwrap_or(name);
                    add(ObjectRef::new(Kind::Node, &Name::default(), &name.into(), &Uid::default()));
                }
            }
            Self::Named(kind, texts) => {
                for text in texts {
                    add(target(text, place, kind.as_ref())?);
                }
            }
            Self::Pinned(objects) => return Ok(objects),
        }
        Ok(targets)
    }
}

/// A headless action of the command line.
pub async fn run(start: &Start, command: ActionCommand) -> u8 {
    let flags = command.flags().clone();
    let done = match &command {
        ActionCommand::Drain { nodes, zone, pool, drain, .. } => {
            let options: DrainOptions = drain.clone().into();
            let pick = zone.as_ref().map(|z| Pick::Zone(z.as_str().into()));
            let pick = pick.or_else(|| pool.as_ref().map(|p| Pick::Pool(p.as_str().into())));
            match pick {
                None => attempt(start, Act::Drain(options), Targets::Nodes(nodes), &flags).await,
                Some(pick) => match picked_nodes(start, &pick).await {
                    Ok(nodes) => attempt(start, Act::Drain(options), Targets::Nodes(&nodes), &flags).await,
                    Err(e) => Err(e),
                },
            }
        }
        ActionCommand::Cordon { nodes, .. } => {
            attempt(start, Act::Cordon, Targets::Nodes(nodes), &flags).await
        }
        ActionCommand::Uncordon { nodes, .. } => {
            attempt(start, Act::Uncordon, Targets::Nodes(nodes), &flags).await
        }
        ActionCommand::OutOfService { nodes, .. } => {
            attempt(start, Act::OutOfService, Targets::Nodes(nodes), &flags).await
        }
        ActionCommand::InService { nodes, .. } => {
            attempt(start, Act::InService, Targets::Nodes(nodes), &flags).await
        }
        ActionCommand::Restart { workload, .. } => {
            attempt(start, Act::Restart, Targets::Named(None, std::slice::from_ref(workload)), &flags).await
        }
        ActionCommand::Rollback { workload, to_revision, .. } => {
            let act = Act::Rollback { to_revision: to_revision.filter(|n| *n != 0) };
            attempt(start, act, Targets::Named(None, std::slice::from_ref(workload)), &flags).await
        }
        ActionCommand::PauseRollout { workload, .. } => {
            attempt(start, Act::PauseRollout, Targets::Named(None, std::slice::from_ref(workload)), &flags)
                .await
        }
        ActionCommand::ResumeRollout { workload, .. } => {
            attempt(start, Act::ResumeRollout, Targets::Named(None, std::slice::from_ref(workload)), &flags)
                .await
        }
        ActionCommand::Scale { workload, replicas, current_replicas, .. } => {
            let by = ScaleBy { replicas: *replicas, current_replicas: *current_replicas };
            attempt(start, Act::Scale(by), Targets::Named(None, std::slice::from_ref(workload)), &flags).await
        }
        ActionCommand::Bounds { hpa, min, max, .. } => {
            let kind = Some(Kind::HorizontalPodAutoscaler);
            let act = Act::Bounds { min: *min, max: *max };
            attempt(start, act, Targets::Named(kind, std::slice::from_ref(hpa)), &flags).await
        }
        ActionCommand::Evict { pods, delete, grace_period, .. } => {
            let act = Act::Evict(EvictOptions { delete: *delete, grace_period: *grace_period });
            attempt(start, act, Targets::Named(Some(Kind::Pod), pods), &flags).await
        }
        ActionCommand::OutOfRotation { pods, service, .. } => {
            let act = Act::OutOfRotation { service: service.as_str().into() };
            attempt(start, act, Targets::Named(Some(Kind::Pod), pods), &flags).await
        }
        ActionCommand::IntoRotation { pods, .. } => {
            attempt(start, Act::IntoRotation, Targets::Named(Some(Kind::Pod), pods), &flags).await
        }
        ActionCommand::Failover { plan, revert, .. } => match failover_plan(start, plan) {
            Ok(plan) => {
                let act = Act::Failover { plan: Box::new(plan), revert: *revert };
                attempt(start, act, Targets::Pinned(Vec::new()), &flags).await
            }
            Err(e) => Err((exit::USAGE, e)),
        },
        ActionCommand::Resume { id, uncordon, dismiss, .. } => {
            super::resume::attempt(start, id, *uncordon, *dismiss, &flags).await
        }
        ActionCommand::Undo { id: None, .. } => Ok(super::journal::undoable(start, flags.output)),
        ActionCommand::Undo { id: Some(id), .. } => match undo_of(start, id) {
            Ok((act, targets)) => attempt(start, act, Targets::Pinned(targets), &flags).await,
            Err(e) => Err((exit::USAGE, e)),
        },
    };
    match done {
        Ok(status) => status,
        Err((status, why)) => {
            tell(&format!("pilothouse: {why}"));
            status
        }
    }
}

/// The plan of a name: of the config, or `zone/NAME`, `pool/NAME`.
fn failover_plan(start: &Start, name: &str) -> Result<FailoverPlan, String> {
    let plans = &start.settings.failover;
    if let Some(plan) = plans.iter().find(|p| p.name == name) {
        return Ok(plan.clone());
    }
    let pick = match name.split_once('/') {
        Some(("zone", zone)) => Pick::Zone(zone.into()),
        Some(("pool", pool)) => Pick::Pool(pool.into()),
        _ => {
            let known: Vec<&str> = plans.iter().map(|p| p.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!(
                "there is no failover plan {name:?}; the config has {known}; zone/NAME and pool/NAME need none{}",
                meant(name, plans.iter().map(|p| p.name.as_str()))
            ));
        }
    };
    let kind = FailoverKind::Evacuate(pick);
    Ok(FailoverPlan { name: name.into(), kind, watched: None, soak_secs: 0, suggested: true })
}

/// The inverse of a journaled action.
fn undo_of(start: &Start, id: &str) -> Result<(Act, Vec<ObjectRef>), String> {
    let (actions, _) = start.journal().history();
    let action = actions.iter().find(|a| a.id == id);
    let action =
        action.ok_or_else(|| format!("there is no action {id}; `pilothouse journal list` has them"))?;
    if action.outcome.is_none() {
        return Err(format!("{id} still runs: cancel it first"));
    }
    let context = &action.plan.intent.context;
    if start.global.context.first().is_some_and(|c| c != context.as_str()) {
        return Err(format!("{id} was done in context {context}"));
    }
    let derived = undo::derive_undo(action);
    let mut targets: Vec<ObjectRef> = Vec::new();
    for step in &derived.steps {
        if !targets.contains(&step.on) {
            targets.push(step.on.clone());
        }
    }
    Ok((Act::Undo(Box::new(derived)), targets))
}

/// The names of the nodes of a zone or pool.
async fn picked_nodes(start: &Start, pick: &Pick) -> Result<Vec<String>, (u8, String)> {
    let connection = start.connect().await.map_err(|e| (exit::USAGE, e))?;
    let reader = connection.reader().map_err(|e| (exit::USAGE, e.to_string()))?;
    let act = Act::Failover {
        plan: Box::new(FailoverPlan {
            name: Name::default(),
            kind: FailoverKind::Evacuate(Pick::Nodes(Vec::new())),
            watched: None,
            soak_secs: 0,
            suggested: true,
        }),
        revert: false,
    };
    let scene = scene::fetch(&reader, info(start, &connection), act, &[], start.clock.now())
        .await
        .map_err(|e| (scene_status(&e), e.to_string()))?;
    let names: Vec<String> = nodes_of(&scene.cluster, pick).iter().map(|n| n.name.to_string()).collect();
    if names.is_empty() {
        let known = match pick {
            Pick::Zone(zone) => format!("there is no node in zone {zone}"),
            Pick::Pool(pool) => format!("there is no node in pool {pool}"),
            Pick::Nodes(_) => "no node".into(),
        };
        return Err((exit::USAGE, known));
    }
    Ok(names)
}

async fn attempt(
    start: &Start,
    act: Act,
    targets: Targets<'_>,
    flags: &ActionFlags,
) -> Result<u8, (u8, String)> {
    let usage = |why: String| (exit::USAGE, why);
    let (unfinished, gaps) = resume::look(&start.journal());
    for gap in &gaps {
        tell(&format!("pilothouse: {gap}"));
    }
    for unfinished in &unfinished {
        tell(&unfinished.line());
    }
    let connection = start.connect().await.map_err(usage)?;
    for note in &connection.notes {
        tell(note);
    }
    let place = match start.global.namespace.as_slice() {
        [] => Place { namespace: connection.namespace.as_str().into(), asked: false },
        [one] => Place { namespace: one.as_str().into(), asked: true },
        _ => return Err(usage("an action takes one -n, so that there is no doubt what it changes".into())),
    };
    let targets = targets.resolve(&place).map_err(usage)?;
    let contexts = contexts(&act);
    let info = info(start, &connection);
    let read_only = info.read_only;
    let reader = connection.reader().map_err(|e| usage(e.to_string()))?;
    let now = start.clock.now();
    let watched = Watch::of(start, &act).await.map_err(usage)?;
    let mut scene = scene::fetch(&reader, info, act, &targets, now)
        .await
        .map_err(|e| (scene_status(&e), e.to_string()))?;
    Arc::make_mut(&mut scene.cluster).traffic = watched.seen();
    // in read-only mode the client that can write is never made
    let writer = if read_only { None } else { Some(connection.writer().map_err(|e| usage(e.to_string()))?) };
    let guards = &start.settings.guards;
    let can_write = writer.is_some();
    let mut reach = Reach::new(reader, writer);
    reach.others = others(&start.dialer(), &contexts, read_only).await.map_err(usage)?;
    let plan = rehearse(&scene.cluster, &scene.intent, guards, DataScope::TargetsOnly, now, &reach).await;
    if let Some(id) = identity::followed(&scene.intent.act, None) {
        let here = identity::clusters(&reach, &plan).await;
        let notes = identity::same(&start.journal(), id, &here, &plan.intent.context).await;
        for note in notes.map_err(|why| (exit::REFUSED, why))? {
            tell(&note);
        }
    }
    if flags.is_dry_run() {
        show(&plan, flags)?;
        return Ok(report::plan_status(&plan));
    }
    if !can_write || !plan.refusals.is_empty() {
        match flags.output {
            Output::Json => json(&report::refused(&plan))?,
            Output::Text => show(&plan, flags)?,
        }
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
    let watched = Watch::of(start, &plan.intent.act).await.map_err(|why| (exit::USAGE, why))?;
    let (tell_to, mut told) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let executor = Executor {
        reach,
        gauge: watched.gauge(),
        journal: start.journal(),
        guards: start.settings.guards.clone(),
        clock: start.clock.clone(),
        tell: tell_to,
        stop,
        user,
        host,
        pace: Pace::default(),
        memory_journal,
        follows,
    };
    let id = new_id(&start.clock);
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
