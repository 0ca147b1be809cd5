//! The headless actions. The command line becomes an intent, the runner executes it, and its reports are printed.

use std::sync::Arc;

use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan, Pick};
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::near::meant;
use pilothouse_core::domain::plan::{Act, Intent, Plan};
use pilothouse_core::facts::world::{ActionView, ClusterInfo};
use pilothouse_core::plan::undo;
use pilothouse_core::policy::pick::nodes_of;
use tokio::sync::mpsc;

use super::Start;
use super::cluster::clients;
use super::gauge::Watch;
use super::session::{FIRST, info};
use super::signals::Signals;
use crate::action::cluster::Clusters;
use crate::action::facts::{Facts, FactsError, Fetched};
use crate::action::fetch_targets::{self, FetchError};
use crate::action::journal::How;
use crate::action::resume;
use crate::action::runner::{Confirmed, NotRehearsed, Parts, Runner, SHUTDOWN, WithoutJournal};
use crate::action::target::{Place, target};
use crate::cli::{ActionCommand, ActionFlags, Output};
use crate::clock::Clock;
use crate::report::headless::{confirm, print, tell};
use crate::report::{exit, plan as report};
use crate::wire::connect::Connection;
use crate::wire::error::ApiError;

/// The capacity of the queue of reports.
const REPORTS: usize = 64;

/// The objects of an action, as typed.
enum Targets<'a> {
    /// With their kinds, or all of this kind; in the connection's namespace unless they name one.
    Named(Option<Kind>, &'a [String]),
    /// Objects that the plan determines (failover), or that were recorded before (undo).
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
            Self::Named(Some(Kind::Node), names) => {
                for name in names {
                    let name = name.strip_prefix("node/").unwrap_or(name);
                    add(ObjectRef::new(
                        place.cluster,
                        Kind::Node,
                        &Name::default(),
                        &name.into(),
                        &Uid::default(),
                    ));
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

/// Runs a headless action of the command line.
pub(super) async fn run(start: &Start, command: &ActionCommand) -> u8 {
    let flags = command.flags().clone();
    if let Some((act, kind, names)) = command.act() {
        return status(attempt(start, act, Targets::Named(kind, names), &flags).await);
    }
    let done = match command {
        ActionCommand::Drain { zone, pool, drain, .. } => {
            let pick = zone.as_ref().map(|z| Pick::Zone(z.as_str().into()));
            let pick = pick.or_else(|| pool.as_ref().map(|p| Pick::Pool(p.as_str().into())));
            match picked_nodes(start, &pick.unwrap_or(Pick::Nodes(Vec::new()))).await {
                Ok(nodes) => {
                    let act = Act::Drain(drain.clone().into());
                    attempt(start, act, Targets::Named(Some(Kind::Node), &nodes), &flags).await
                }
                Err(e) => Err(e),
            }
        }
        ActionCommand::Failover { plan, revert, .. } => match failover_plan(start, plan) {
            Ok(plan) => {
                let act = Act::Failover { plan: Box::new(plan), revert: *revert };
                attempt(start, act, Targets::Pinned(Vec::new()), &flags).await
            }
            Err(e) => Err((exit::USAGE, e)),
        },
        ActionCommand::Resume { id, uncordon, dismiss, .. } => {
            Box::pin(super::resume::attempt(start, id, *uncordon, *dismiss, &flags)).await
        }
        ActionCommand::Undo { id: None, .. } => Ok(super::journal::undoable(start, flags.output)),
        ActionCommand::Undo { id: Some(id), .. } => match undo_of(start, id) {
            Ok((act, targets)) => attempt(start, act, Targets::Pinned(targets), &flags).await,
            Err(e) => Err((exit::USAGE, e)),
        },
        // each of the others names its objects
        _ => Err((exit::USAGE, "this command names no object".into())),
    };
    status(done)
}

/// The exit status; why it failed is told.
fn status(done: Result<u8, (u8, String)>) -> u8 {
    match done {
        Ok(status) => status,
        Err((status, why)) => {
            tell(&format!("pilothouse: {why}"));
            status
        }
    }
}

/// Returns the plan with this name: from the config, or `zone/NAME`, or `pool/NAME`.
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
    Ok(FailoverPlan {
        name: name.into(),
        kind,
        watched: None,
        soak_secs: 0,
        suggested: true,
        in_context: String::new(),
    })
}

/// Returns the inverse of an action in the journal.
fn undo_of(start: &Start, id: &str) -> Result<(Act, Vec<ObjectRef>), String> {
    let (actions, _) = start.journal().history();
    let action = actions.iter().find(|a| a.id == id);
    let action =
        action.ok_or_else(|| format!("there is no action {id}; `pilothouse journal list` lists all"))?;
    if action.outcome.is_none() {
        return Err(format!("{id} still runs: cancel it first"));
    }
    let context = &action.plan.intent.context;
    if start.names_context() && start.cluster.context != context.as_str() {
        return Err(format!("{id} was done in context {context}"));
    }
    let mut intent = undo::intent(action);
    intent.set_cluster(FIRST);
    Ok((intent.act, intent.targets))
}

/// Returns the names of the nodes in a zone or pool.
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
            in_context: String::new(),
        }),
        revert: false,
    };
    let of = start.settings.of_cluster(&connection.context, true);
    let info = info(&start.basis(&connection.context), FIRST, &of, Some(&connection));
    let scene = fetch_targets::fetch(&reader, info, act, &[], start.clock.now())
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
        [] => Place { cluster: FIRST, namespace: connection.namespace.as_str().into(), asked: false },
        [one] => Place { cluster: FIRST, namespace: one.as_str().into(), asked: true },
        _ => return Err(usage("an action takes exactly one -n".into())),
    };
    let targets = targets.resolve(&place).map_err(usage)?;
    let context = connection.context.as_str().into();
    let headless = Headless::new(start, &connection, &act, flags).await?;
    let plan = headless.rehearse(&Intent { cluster: FIRST, context, act, targets }, None).await?;
    headless.finish(start, plan, flags, None).await
}

/// The runner of one headless action, and its reports.
pub(super) struct Headless {
    pub runner: Runner,
    reports: mpsc::Receiver<ActionView>,
    /// The polls of watched values stop when this is dropped.
    _watch: Watch,
}

impl Headless {
    /// Creates the runner for `act`, which determines the values to watch.
    pub(super) async fn new(
        start: &Start,
        connection: &Connection,
        act: &Act,
        flags: &ActionFlags,
    ) -> Result<Self, (u8, String)> {
        let usage = |why: String| (exit::USAGE, why);
        let of = start.settings.of_cluster(&connection.context, true);
        let basis = start.basis(&connection.context);
        let info: ClusterInfo = info(&basis, FIRST, &of, Some(connection));
        let without_journal = without_journal(flags, &info.context).map_err(usage)?;
        let reader = connection.reader().map_err(|e| usage(e.to_string()))?;
        let watch = Watch::of(start, &reader, act).await.map_err(usage)?;
        let clusters = Clusters::default();
        let clients = clients(&basis, &of, FIRST, connection, (reader, &clusters), true).map_err(usage)?;
        clusters.insert(clients);
        let (told, reports) = mpsc::channel(REPORTS);
        let (user, host) = super::who::who();
        let runner = Runner::new(Parts {
            clusters,
            facts: Facts::Fetched(Fetched { info, traffic: watch.seen() }),
            journal: start.journal(),
            clock: start.clock.clone(),
            without_journal,
            user,
            host,
            reports: told,
        });
        Ok(Self { runner, reports, _watch: watch })
    }

    /// Plans the intent. `follows` is the unfinished action that it resumes.
    pub(super) async fn rehearse(
        &self,
        intent: &Intent,
        follows: Option<&Name>,
    ) -> Result<Plan, (u8, String)> {
        self.runner.rehearse(intent, follows).await.map_err(|e| (status_of(&e), e.to_string()))
    }

    /// Prints a plan that is only shown. Otherwise, confirms and executes the plan and prints the result.
    pub(super) async fn finish(
        self,
        start: &Start,
        plan: Plan,
        flags: &ActionFlags,
        follows: Option<(Name, How)>,
    ) -> Result<u8, (u8, String)> {
        if flags.is_dry_run() {
            show(&plan, flags)?;
            return Ok(report::plan_status(&plan));
        }
        if !plan.refusals.is_empty() {
            match flags.output {
                Output::Json => json(&report::refused(&plan))?,
                Output::Text => show(&plan, flags)?,
            }
            return Ok(exit::REFUSED);
        }
        for line in report::text(&plan) {
            tell(&line);
        }
        let consent = confirm(&plan, flags, &start.settings.guards).map_err(|why| (exit::REFUSED, why))?;
        let done = self.carry_out(Confirmed { read: Arc::new(plan), consent, follows }).await?;
        match flags.output {
            Output::Json => json(&report::document(&done.plan, Some(&done)))?,
            Output::Text => printed(&report::result_text(&done).join("\n"))?,
        }
        Ok(report::result_status(&done))
    }

    /// Runs the action to its end and prints its progress to standard error. Ctrl-C cancels. A second Ctrl-C, or a
    /// signal to terminate, ends it immediately.
    async fn carry_out(mut self, confirmed: Confirmed) -> Result<ActionView, (u8, String)> {
        let mut started = self.runner.start(confirmed);
        let (mut last, mut signals, mut ends) = (String::new(), Signals::new(), None);
        loop {
            tokio::select! {
                done = &mut started.done => {
                    return done.map_err(|_| (exit::FAILED, "internal error: the action ended without a result".into()));
                }
                // a server that does not respond must not block the exit, because the journal records that the
                // request was sent
                () = tokio::time::sleep_until(ends.unwrap_or_else(Clock::instant).into()), if ends.is_some() => {
                    return Err((exit::INTERRUPTED, "ended in the middle: see pilothouse journal list".into()));
                }
                Some(progress) = self.reports.recv() => {
                    let line = progress.message;
                    if !line.is_empty() && line != last {
                        tell(&line);
                        last = line;
                    }
                }
                // the first Ctrl-C finishes what was sent and ends in order; a second one, or a signal to terminate,
                // ends immediately
                again = signals.next() => match self.runner.control(&started.id) {
                    Some(control) if !again && !control.is_cancelled() => {
                        tell("cancelling: no further requests are sent; Ctrl-C again exits at once");
                        control.cancel(false);
                    }
                    _ => {
                        ends.get_or_insert_with(|| Clock::deadline(SHUTDOWN));
                        self.runner.stop();
                    }
                }
            }
        }
    }
}

/// Returns the behavior if the journal cannot be written, or an error if the flag names another context.
fn without_journal(flags: &ActionFlags, context: &Name) -> Result<WithoutJournal, String> {
    match &flags.journal_in_memory {
        Some(named) if *context != *named.as_str() => {
            Err(format!("--journal-in-memory {named} is not this context, which is {context}"))
        }
        Some(_) => Ok(WithoutJournal::Agreed),
        // no question can be asked
        None if flags.yes || flags.is_dry_run() => Ok(WithoutJournal::Refuse),
        None => Ok(WithoutJournal::Ask),
    }
}

/// Returns the exit status if there is no plan.
fn status_of(error: &NotRehearsed) -> u8 {
    match error {
        NotRehearsed::Facts(FactsError::Fetch(error)) => scene_status(error),
        NotRehearsed::Facts(FactsError::Replaced(_) | FactsError::OtherCluster { .. }) => exit::REFUSED,
        NotRehearsed::Facts(FactsError::Frozen | FactsError::NoCluster) => exit::FAILED,
        NotRehearsed::NotOpened(_) => exit::USAGE,
        NotRehearsed::AnotherCluster(_) => exit::REFUSED,
    }
}

fn scene_status(error: &FetchError) -> u8 {
    match error {
        FetchError::Read { error: ApiError::Forbidden { .. }, .. } => exit::REFUSED,
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
