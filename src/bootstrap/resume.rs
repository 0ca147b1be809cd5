//! `resume`: an action whose process ended in the middle is read back, and what is left of it carried out.

use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::{Intent, Plan, Refusal};
use pilothouse_core::plan::DataScope;

use super::Start;
use super::act::{carry_out, scene_status, show};
use super::failover::others;
use super::session::info;
use crate::action::executor::new_id;
use crate::action::identity;
use crate::action::journal::{ClaimError, Follows, How};
use crate::action::reach::Reach;
use crate::action::rehearse::rehearse;
use crate::action::resume::{self, Remaining, Settled, Unfinished};
use crate::action::scene;
use crate::cli::ActionFlags;
use crate::clock::Clock;
use crate::report::headless::tell;
use crate::report::{exit, plan as report};

/// How long steps that take effect are waited for before the rest follows.
const SETTLES_WITHIN: Duration = Duration::from_secs(600);

pub(super) async fn attempt(
    start: &Start,
    id: &str,
    uncordon: bool,
    dismiss: bool,
    flags: &ActionFlags,
) -> Result<u8, (u8, String)> {
    let usage = |why: String| (exit::USAGE, why);
    let journal = start.journal();
    let (found, gaps) = resume::look(&journal);
    for gap in &gaps {
        tell(&format!("pilothouse: {gap}"));
    }
    let Some(action) = found.into_iter().find(|u| u.id == *id) else {
        return Err(usage(format!("{id} is no unfinished action: see pilothouse journal list")));
    };
    let close = |how| {
        let by = new_id(&start.clock);
        let closed = resume::close(&journal, &action.id, &by, how, start.clock.now());
        closed.map_err(|e| match e {
            ClaimError::Held(..) | ClaimError::Followed(..) => (exit::REFUSED, e.to_string()),
            ClaimError::Disk(_) => (exit::FAILED, e.to_string()),
        })
    };
    if dismiss {
        close(How::Dismissed)?;
        tell(&format!("{}: dismissed", action.title()));
        return Ok(exit::DONE);
    }
    let connection = start.connect().await.map_err(usage)?;
    if action.plan.intent.context != *connection.context.as_str() {
        let why = format!("{id} was of context {}: add --context", action.plan.intent.context);
        return Err(usage(why));
    }
    let reader = connection.reader().map_err(|e| usage(e.to_string()))?;
    let read_only = start.settings.guards.read_only;
    let writer = if read_only { None } else { Some(connection.writer().map_err(|e| usage(e.to_string()))?) };
    let mut reach = Reach::new(reader, writer);
    let contexts = action.plan.steps.iter().map(|s| s.context.clone()).filter(|c| !c.is_empty()).collect();
    reach.others = others(&start.dialer(), &contexts, read_only).await.map_err(usage)?;
    let here = identity::clusters(&reach, &action.plan).await;
    let notes = identity::compare(&action.clusters, &here, &action.plan.intent.context);
    for note in notes.map_err(|why| (exit::REFUSED, why))? {
        tell(&note);
    }
    let settled = settled(&reach, &action).await;
    tell(&format!("{} ({id}): {}", action.title(), settled.summary));
    for step in &settled.steps {
        tell(&format!("  {:8} {} {}: {}", step.state.as_str(), step.what, step.on, step.note));
    }
    let (remaining, how) = if uncordon {
        let Some(intent) = resume::compensation(&action, &settled) else {
            let why = "it cordoned no node, or that cannot be read now: nothing was taken back";
            return Err((exit::REFUSED, format!("{id}: {why}")));
        };
        (Remaining::Intent(intent), How::Compensated)
    } else {
        (resume::resume_intent(&action, &settled), How::Resumed)
    };
    let mut plan = match remaining {
        Remaining::Nothing => {
            if !flags.is_dry_run() {
                close(how)?;
            }
            tell("nothing is left to do");
            return Ok(exit::DONE);
        }
        Remaining::Blocked(why) => {
            let why = format!("not resumed: {why}; look, and then: pilothouse resume {id} --dismiss");
            return Err((exit::REFUSED, why));
        }
        Remaining::Plan(plan) => *plan,
        Remaining::Intent(intent) => planned(start, &connection, &reach, intent).await?,
    };
    if read_only && plan.refusals.is_empty() {
        plan.refusals.push(Refusal::ReadOnly);
    }
    if flags.is_dry_run() || !plan.refusals.is_empty() {
        show(&plan, flags)?;
        return Ok(if flags.is_dry_run() { report::plan_status(&plan) } else { exit::REFUSED });
    }
    let cordoned = if how == How::Resumed { resume::cordoned(&action) } else { Vec::new() };
    let follows = Follows { id: action.id.clone(), how, cordoned };
    carry_out(start, reach, &plan, flags, Some(follows)).await
}

/// Reads back, and again while a step that others wait for takes effect.
async fn settled(reach: &Reach, action: &Unfinished) -> Settled {
    let deadline = Clock::deadline(SETTLES_WITHIN);
    loop {
        let settled = resume::settle(reach, action).await;
        let waits = settled.settling
            && !settled.rest.is_empty()
            && settled.blocked.is_none()
            && matches!(resume::resume_intent(action, &settled), Remaining::Plan(_));
        if !waits || Clock::instant() >= deadline {
            return settled;
        }
        tell(&format!("waiting: {}", settled.summary));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// The intent planned anew, on the very objects that it was meant for.
async fn planned(
    start: &Start,
    connection: &crate::wire::connect::Connection,
    reach: &Reach,
    intent: Intent,
) -> Result<Plan, (u8, String)> {
    let now = start.clock.now();
    let scene =
        scene::fetch(&reach.own.reader, info(start, connection), intent.act.clone(), &intent.targets, now)
            .await
            .map_err(|e| (scene_status(&e), e.to_string()))?;
    let others: Vec<Name> = scene
        .intent
        .targets
        .iter()
        .filter(|t| !intent.targets.iter().any(|meant| meant.uid == t.uid))
        .map(|t| t.name.clone())
        .collect();
    if let Some(name) = others.first() {
        return Err((exit::REFUSED, format!("{name} is another object now: nothing was sent")));
    }
    let guards = &start.settings.guards;
    Ok(rehearse(&scene.cluster, &scene.intent, guards, DataScope::TargetsOnly, now, reach).await)
}
