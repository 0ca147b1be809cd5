//! The command `resume`: reads an action whose process ended before the action did, and runs the remaining steps.

use std::time::Duration;

use super::Start;
use super::act::Headless;
use crate::action::executor::new_id;
use crate::action::journal::{ClaimError, How};
use crate::action::resume::{self, Remaining};
use crate::action::runner::NotTakenUp;
use crate::cli::ActionFlags;
use crate::report::exit;
use crate::report::headless::{names_all, tell};

/// How long to wait for steps to take effect before the remaining steps run.
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
    let closing = |e: ClaimError| match e {
        ClaimError::Held(..) | ClaimError::Followed(..) => (exit::REFUSED, e.to_string()),
        ClaimError::Disk(_) => (exit::FAILED, e.to_string()),
    };
    if dismiss {
        // this does not contact any cluster
        let (by, at) = (new_id(&start.clock), start.clock.now());
        resume::close(&journal, &action.id, &by, How::Dismissed, at).map_err(closing)?;
        tell(&format!("{}: dismissed", action.title()));
        return Ok(exit::DONE);
    }
    let connection = start.connect().await.map_err(usage)?;
    let headless = Headless::new(start, &connection, &action.plan.intent.act, flags).await?;
    let waiting = |summary: &str| tell(&format!("waiting: {summary}"));
    let taken = headless.runner.take_up(&action.id, SETTLES_WITHIN, waiting).await;
    let taken = taken.map_err(|e| match e {
        NotTakenUp::OtherContext(context) => usage(format!("{id} was of context {context}: add --context")),
        NotTakenUp::NotOpened(why) => usage(why),
        NotTakenUp::OtherCluster(_) | NotTakenUp::NotUnfinished => (exit::REFUSED, e.to_string()),
    })?;
    for warning in &taken.recognized.warnings {
        tell(&format!("! {warning}"));
    }
    tell(&format!("{} ({id}): {}", action.title(), taken.settled.summary));
    for step in &taken.settled.steps {
        tell(&format!("  {:8} {} {}: {}", step.state.as_str(), step.what, step.on, step.note));
    }
    let (intent, how) = if uncordon {
        let Some(intent) = taken.compensation() else {
            let why = "it cordoned no node, or that cannot be read now: nothing was taken back";
            return Err((exit::REFUSED, format!("{id}: {why}")));
        };
        (intent, How::Compensated)
    } else {
        match taken.remaining() {
            Remaining::Intent(intent) => (intent, How::Resumed),
            Remaining::Nothing => {
                let address = &taken.recognized.moved_to;
                let is_named =
                    |address: &str| flags.confirm.as_deref().is_some_and(|c| names_all(c, address));
                if let Some(why) = taken.is_doubtful().filter(|_| !is_named(address)) {
                    let why = format!(
                        "nothing is left to do, if it is the same cluster: {why}: --confirm {address}"
                    );
                    return Err((exit::REFUSED, why));
                }
                if !flags.is_dry_run() {
                    headless.runner.close(&action.id, How::Resumed).await.map_err(closing)?;
                }
                tell("nothing is left to do");
                return Ok(exit::DONE);
            }
            Remaining::Blocked(why) => {
                let why = format!("not resumed: {why}; look, and then: pilothouse resume {id} --dismiss");
                return Err((exit::REFUSED, why));
            }
        }
    };
    let plan = headless.rehearse(&intent, Some(&action.id)).await?;
    let refused = !plan.refusals.is_empty() && !flags.is_dry_run() && !start.settings.guards.read_only;
    let status = headless.finish(start, plan, flags, Some((action.id.clone(), how))).await?;
    if refused {
        tell(&format!("pilothouse: not resumed; look, and then: pilothouse resume {id} --dismiss"));
    }
    Ok(status)
}
