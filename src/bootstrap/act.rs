//! The headless actions: fetch what the plan needs, rehearse, confirm, execute; the same planner, executor, journal
//! and guards as the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Pick};
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::model::plan::{Act, DrainOptions, EvictOptions, Plan, Refusal, ScaleBy};
use pilothouse_core::model::world::{ActionView, Outcome, StepState};
use pilothouse_core::policy::pick::nodes_of;
use pilothouse_core::policy::plan::View;
use pilothouse_core::policy::plan::failover::error_ratio;
use pilothouse_core::policy::undo;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Start;
use super::session::info;
use crate::action::executor::{Executor, new_id};
use crate::action::gate::Gauge;
use crate::action::reach::{Clients, Reach};
use crate::action::rehearse::rehearse;
use crate::action::scene::{self, SceneError};
use crate::cli::{ActionCommand, ActionFlags, Output};
use crate::report::headless::{Confirmed, confirm, print, tell};
use crate::report::{exit, plan as report};
use crate::source::supervise::Supervisor;
use crate::wire::error::ApiError;

/// How long a plan waits for the error ratio that would stop it.
const FIRST_POLL: Duration = Duration::from_secs(5);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What an action is about, as it was typed.
enum Targets<'a> {
    Nodes(&'a [String]),
    /// `KIND/NAME` in the connection's namespace, unless a kind is given.
    Named(Option<Kind>, &'a [String]),
    /// Worked out by the plan (failover), or pinned before (undo).
    Pinned(Vec<ObjectRef>),
}

impl Targets<'_> {
    fn resolve(self, namespace: &Name) -> Result<Vec<ObjectRef>, String> {
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
            Self::Named(None, texts) => {
                for text in texts {
                    add(scene::target(text, namespace)?);
                }
            }
            Self::Named(Some(kind), names) => {
                for name in names {
                    let name = name.split_once('/').map_or(name.as_str(), |(_, name)| name);
                    add(scene::target(&format!("{}/{name}", kind.short()), namespace)?);
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
        ActionCommand::Undo { id, .. } => match undoing(start, id.as_deref()) {
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
                "there is no failover plan {name:?}; the config has {known}; zone/NAME and pool/NAME need none"
            ));
        }
    };
    let kind = FailoverKind::Evacuate(pick);
    Ok(FailoverPlan { name: name.into(), kind, watched: None, soak_secs: 0, suggested: true })
}

/// The inverse of a journaled action; without an id the list of them.
fn undoing(start: &Start, id: Option<&str>) -> Result<(Act, Vec<ObjectRef>), String> {
    let (actions, _) = start.journal().history();
    let sent = |a: &&Arc<ActionView>| a.steps.iter().any(|s| s.state != StepState::Waiting);
    let Some(id) = id else {
        let lines: Vec<String> = actions
            .iter()
            .filter(sent)
            .take(20)
            .map(|a| {
                let outcome = a.outcome.map_or("running", Outcome::as_str);
                format!("  {}  {}  {outcome}  {}", a.id, a.started, undo::title(&a.plan))
            })
            .collect();
        return Err(format!("name the action to undo: pilothouse undo ID\n{}", lines.join("\n")));
    };
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
    let undoing = undo::undoing(action);
    let mut targets: Vec<ObjectRef> = Vec::new();
    for step in &undoing.steps {
        if !targets.contains(&step.on) {
            targets.push(step.on.clone());
        }
    }
    Ok((Act::Undo(Box::new(undoing)), targets))
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
    let connection = start.connect().await.map_err(usage)?;
    let namespace = Name::from(start.global.namespace.as_deref().unwrap_or(&connection.namespace));
    let targets = targets.resolve(&namespace).map_err(usage)?;
    let contexts = contexts(&act);
    let watches = matches!(&act, Act::Failover { plan, .. } if plan.watched.is_some());
    let info = info(start, &connection);
    let read_only = info.read_only;
    let reader = connection.reader().map_err(|e| usage(e.to_string()))?;
    let now = start.clock.now();
    let is_drain = matches!(act, Act::Drain(_));
    let mut scene = scene::fetch(&reader, info, act, &targets, now)
        .await
        .map_err(|e| (scene_status(&e), e.to_string()))?;
    // polled only while something is watched by it
    let (gauge, polls) = gauge(start, watches).map_err(usage)?;
    if let Some((traffic, _)) = &polls {
        Arc::make_mut(&mut scene.cluster).traffic = first_poll(start, traffic.clone()).await;
    }
    // in read-only mode the client that can write is never made
    let writer = if read_only { None } else { Some(connection.writer().map_err(|e| usage(e.to_string()))?) };
    let guards = &start.settings.guards;
    let can_write = writer.is_some();
    let mut reach = Reach::new(reader, writer);
    reach.others = others(start, &contexts, read_only).await.map_err(usage)?;
    let mut plan = rehearse(&scene.cluster, &scene.intent, guards, View::Targets, now, &reach).await;
    if flags.is_dry_run() {
        show(&plan, flags)?;
        return Ok(report::plan_status(&plan));
    }
    if is_drain {
        let why = format!("executing a drain comes with a later version; until then: {}", plan.kubectl);
        plan.refusals.push(Refusal::new("version", why));
    }
    if !can_write || !plan.refusals.is_empty() {
        show(&plan, flags)?;
        return Ok(exit::REFUSED);
    }
    for line in report::text(&plan) {
        tell(&line);
    }
    match confirm(&plan, flags, guards) {
        Confirmed::Yes => {}
        Confirmed::No(why) => return Err((exit::REFUSED, why)),
    }
    let (user, host) = super::who();
    let (tell_to, mut told) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let executor = Executor {
        reach,
        gauge,
        journal: start.journal(),
        clock: start.clock.clone(),
        tell: tell_to,
        stop,
        user,
        host,
    };
    let id = new_id(&start.clock, COUNT.fetch_add(1, Ordering::Relaxed));
    let stop = executor.stop.clone();
    let run = executor.run(id, &plan, CancellationToken::new(), None);
    tokio::pin!(run);
    let mut last = String::new();
    let asked = interrupted();
    tokio::pin!(asked);
    let done = loop {
        tokio::select! {
            done = &mut run => break done,
            Some(progress) = told.recv() => {
                let line = progress.message.clone();
                if !line.is_empty() && line != last && flags.output == Output::Text {
                    tell(&line);
                    last = line;
                }
            }
            () = &mut asked, if !stop.is_cancelled() => stop.cancel(),
        }
    };
    match flags.output {
        Output::Json => json(&report::document(&plan, Some(&done)))?,
        Output::Text => printed(&report::result_text(&done).join("\n"))?,
    }
    Ok(report::result_status(&done))
}

/// The other clusters that an action reaches.
pub(super) fn contexts(act: &Act) -> BTreeSet<Name> {
    match act {
        Act::Failover { plan, .. } => match &plan.kind {
            FailoverKind::Standby(standby) => BTreeSet::from([standby.context.clone()]),
            _ => BTreeSet::new(),
        },
        Act::Undo(undoing) => {
            undoing.steps.iter().map(|s| s.context.clone()).filter(|c| !c.is_empty()).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Opens them.
pub(super) async fn others(
    start: &Start,
    contexts: &BTreeSet<Name>,
    read_only: bool,
) -> Result<Arc<BTreeMap<Name, Clients>>, String> {
    let mut others = BTreeMap::new();
    for context in contexts {
        let connection = start.connect_to(Some(context)).await?;
        let reader = connection.reader().map_err(|e| e.to_string())?;
        let writer = if read_only { None } else { Some(connection.writer().map_err(|e| e.to_string())?) };
        others.insert(context.clone(), Clients { reader, writer });
    }
    Ok(Arc::new(others))
}

/// The newest traffic, and what keeps it new.
type Polls = (watch::Receiver<Arc<TrafficSeen>>, Supervisor);

/// The first answer of the polls: a plan without it could not say how things stand. Without one it says so.
async fn first_poll(start: &Start, mut traffic: watch::Receiver<Arc<TrafficSeen>>) -> Arc<TrafficSeen> {
    if !start.settings.prometheus.url.is_empty() {
        let first = traffic.wait_for(|seen| !seen.services.is_empty());
        if tokio::time::timeout(FIRST_POLL, first).await.is_err() {
            tracing::warn!("no traffic metric came in time");
        }
    }
    traffic.borrow().clone()
}

/// What an error ratio is read from: the polls of the configured Prometheus, which end with the second value.
fn gauge(start: &Start, wanted: bool) -> Result<(Gauge, Option<Polls>), String> {
    if !wanted {
        return Ok((Arc::new(|_| None), None));
    }
    let supervisor = Supervisor::new();
    let traffic = super::session::traffic(start, &supervisor)?;
    let newest = traffic.clone();
    Ok((Arc::new(move |watched| error_ratio(&newest.borrow(), watched)), Some((traffic, supervisor))))
}

/// Ctrl-C, a hang-up or a termination.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut hup), Ok(mut term)) = (signal(SignalKind::hangup()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = hup.recv() => {}
        _ = term.recv() => {}
    }
}

fn scene_status(error: &SceneError) -> u8 {
    match error {
        SceneError::Read { error: ApiError::Forbidden { .. }, .. } => exit::REFUSED,
        _ => exit::FAILED,
    }
}

fn show(plan: &Plan, flags: &ActionFlags) -> Result<(), (u8, String)> {
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
