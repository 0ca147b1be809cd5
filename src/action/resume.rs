//! Unfinished actions, whose process ended before the action did. They are found in the journals and compared step by
//! step with the cluster. The user can then run the remaining steps or undo the action.
//!
//! An action is unfinished if its process is dead and it has no recorded end, or if the recorded end says that it was
//! terminated or lost a permission or its login. It must also not have been resumed, undone or dismissed.

use std::collections::BTreeSet;

use futures::future::join_all;
use pilothouse_core::domain::failover::FailoverKind;
use pilothouse_core::domain::id::{Name, ObjectRef};
use pilothouse_core::domain::plan::{Act, DerivedPlan, Intent, Plan, Step, StepKind};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{StepState, StepView};
use pilothouse_core::plan::drift::{last_change, written};
use pilothouse_core::plan::undo;

use super::cluster::PlanClients;
use super::foundations::{self, undone};
use super::identity::Clusters;
pub use super::journal::Mark;
use super::journal::{Chapter, ClaimError, Gap, How, Journal, Record, Told};
use super::live_object::Live;
use super::step_check::{Standing, overtaken_since, standing};

/// The maximum number of simultaneous reads.
const AT_ONCE: usize = 16;

/// An unfinished action according to the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfinished {
    pub id: Name,
    pub at: Stamp,
    pub user: String,
    pub host: String,
    /// The plan, including the steps that were added while it ran.
    pub plan: Plan,
    /// The recorded state of each step.
    pub marks: Vec<Mark>,
    /// The nodes that an earlier action of the chain had cordoned.
    pub inherited: Vec<ObjectRef>,
    /// The clusters of its contexts. The map is empty in older journals.
    pub clusters: Clusters,
    /// Whether one of its records is damaged, so that requests may be missing.
    pub damaged: bool,
    /// Whether it takes back what another action wrote (`resume --uncordon`).
    pub compensates: bool,
}

impl Unfinished {
    /// Returns the title, such as `drain node/node-0041`.
    pub fn title(&self) -> String {
        undo::title(&self.plan)
    }

    /// Whether resuming plans the action again, because the pods to evict depend on the current state.
    pub fn empties_nodes(&self) -> bool {
        match &self.plan.intent.act {
            Act::Drain(_) => true,
            Act::Failover { plan, revert } => matches!(plan.kind, FailoverKind::Evacuate(_)) && !revert,
            _ => false,
        }
    }

    /// Formats one line for standard error.
    pub fn line(&self) -> String {
        let damaged = if self.damaged { "; a record of it is damaged, so this may not be all" } else { "" };
        format!(
            "unfinished in {}: {} ({}): pilothouse resume {}{damaged}",
            self.plan.intent.context,
            self.title(),
            self.id,
            self.id
        )
    }
}

/// The state of its steps according to the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    pub steps: Vec<StepView>,
    /// The steps that are not applied, in order.
    pub rest: Vec<Step>,
    /// Whether steps are applied but not in effect yet.
    pub settling: bool,
    /// The reason why the action cannot continue: another client made a change, a step failed, or an object cannot be
    /// read.
    pub blocked: Option<String>,
    /// The nodes that the action cordoned.
    pub cordoned: Vec<ObjectRef>,
    pub summary: String,
}

/// The result of resuming.
#[derive(Clone, Debug, PartialEq)]
pub enum Remaining {
    /// All steps are applied.
    Nothing,
    /// An intent to plan from the current state: the same intent again, or the remaining steps.
    Intent(Intent),
    /// The action must not continue, for this reason.
    Blocked(String),
}

/// Returns the unfinished actions of dead processes, the oldest first, each once.
pub fn unfinished(journal: &Journal) -> Vec<Unfinished> {
    look(journal).0
}

/// Also returns the parts of the journals that cannot be read.
pub fn look(journal: &Journal) -> (Vec<Unfinished>, Vec<Gap>) {
    let (chapters, gaps) = journal.chapters();
    (among(&chapters), gaps)
}

/// Returns the unfinished actions of these chapters.
pub fn among(chapters: &[Chapter]) -> Vec<Unfinished> {
    let followed: BTreeSet<&Name> = chapters.iter().flat_map(|c| c.followed.keys()).collect();
    let all = chapters.iter().flat_map(|c| c.actions.iter().map(|action| (c.alive, action)));
    let open = all.filter(|(alive, a)| a.end.as_ref().map_or(!alive, |end| end.interrupted));
    let open = open.map(|(_, action)| action);
    let ways = chapters.iter().flat_map(|c| c.followed.values());
    let compensations: BTreeSet<&Name> =
        ways.filter(|(how, _)| *how == How::Compensated).map(|(_, by)| by).collect();
    let of = |told: &Told| Unfinished { compensates: compensations.contains(&told.id), ..of(told) };
    let mut found: Vec<Unfinished> = open.filter(|a| !followed.contains(&a.id)).map(of).collect();
    found.sort_by_key(|u| u.at);
    found
}

fn of(told: &Told) -> Unfinished {
    Unfinished {
        id: told.id.clone(),
        at: told.at,
        user: told.user.clone(),
        host: told.host.clone(),
        plan: told.plan.clone(),
        marks: told.marks.clone(),
        inherited: told.inherited.clone(),
        clusters: told.clusters.clone(),
        damaged: told.damaged,
        compensates: false,
    }
}

/// Reads the objects of steps that were sent and not verified. Changes nothing.
pub async fn settle(reach: &PlanClients, action: &Unfinished) -> Settled {
    let all: Vec<(&Step, &Mark)> = action.plan.steps.iter().zip(&action.marks).collect();
    let mut found = Vec::with_capacity(all.len());
    for some in all.chunks(AT_ONCE) {
        found.extend(join_all(some.iter().map(|(step, mark)| now(reach, step, mark))).await);
    }
    let states: Vec<StepState> = found.iter().map(|(state, _)| *state).collect();
    for step in foundations::of(&action.plan, &states, states.len()) {
        let Some(at) = action.plan.steps.iter().position(|s| std::ptr::eq(s, step)) else { continue };
        let changed = match reach.live(step).await {
            Ok(live) => undone(&step.what, &step.on, live.as_ref()).map(|why| (StepState::Failed, why)),
            Err(why) => Some((StepState::Unknown, format!("cannot be read: {why}"))),
        };
        if let (Some(changed), Some(held)) = (changed, found.get_mut(at)) {
            *held = changed;
        }
    }
    let mut settled = Settled {
        steps: Vec::new(),
        rest: Vec::new(),
        settling: false,
        blocked: None,
        cordoned: Vec::new(),
        summary: String::new(),
    };
    let (mut applied, mut open) = (0usize, 0usize);
    for ((step, mark), (state, note)) in all.into_iter().zip(found) {
        let words = format!("{} {}: {note}", step.what, step.on);
        match state {
            StepState::Waiting | StepState::Held | StepState::Running => settled.rest.push(step.clone()),
            StepState::Accepted => {
                settled.settling = true;
                applied += 1;
            }
            StepState::Verified | StepState::Skipped => applied += 1,
            StepState::Failed | StepState::Unknown => {
                open += 1;
                settled.blocked.get_or_insert(words);
            }
        }
        let is_cordon = step.what == StepKind::Cordon && step.context.is_empty();
        if is_cordon && state == StepState::Verified {
            settled.cordoned.push(step.on.clone());
        }
        if step.what == StepKind::Uncordon {
            settled.cordoned.retain(|node| state != StepState::Verified || node.uid != step.on.uid);
        }
        settled.steps.push(StepView {
            what: step.what.to_string(),
            on: step.on.to_string(),
            state,
            at: mark.at,
            note,
        });
    }
    settled.summary = format!(
        "{applied} of {} steps are applied, {} are left{}",
        settled.steps.len(),
        settled.rest.len(),
        if open > 0 { format!(", {open} need a look") } else { String::new() }
    );
    settled
}

/// Returns the state of one step according to the cluster.
async fn now(reach: &PlanClients, step: &Step, mark: &Mark) -> (StepState, String) {
    let as_it_is = || (mark.state, mark.note.clone());
    match mark.state {
        StepState::Running | StepState::Accepted | StepState::Unknown if step.is_check() => {
            (StepState::Waiting, "is looked at again".into())
        }
        StepState::Running | StepState::Accepted | StepState::Unknown => {
            let live = match reach.live(step).await {
                Ok(live) => live,
                Err(e) => return (StepState::Unknown, format!("cannot be read: {e}")),
            };
            let is_own = |live: &&Live| live.restarted_at.as_deref() == Some(mark.stamp.as_str());
            let own = live.as_ref().filter(is_own);
            if let Some(why) = own.and_then(|live| overtaken_since(&step.what, live, mark.template)) {
                return (StepState::Failed, why);
            }
            match standing(&step.what, &step.on, live.as_ref(), &mark.stamp) {
                Standing::Verified(note) => (StepState::Verified, note),
                Standing::Settling(note) => (StepState::Accepted, format!("applied: {note}")),
                // the server accepted the write, so another client has undone it since
                Standing::NotApplied if mark.accepted && !step.is_eviction() => {
                    let who = live.as_ref().zip(written(&step.what));
                    let who = who.map_or_else(String::new, |(live, field)| last_change(&live.value, field));
                    (StepState::Failed, format!("was applied, and taken back since{who}"))
                }
                Standing::NotApplied => (StepState::Waiting, "was not applied".into()),
                Standing::Overridden(note) => (StepState::Failed, note),
            }
        }
        _ => as_it_is(),
    }
}

/// Returns the remaining work.
pub fn resume_intent(action: &Unfinished, settled: &Settled) -> Remaining {
    if action.empties_nodes() {
        // the action is planned again, and pods that are gone or terminating are not evicted again, because their
        // UIDs differ; skipped pods may have been left when the drain stopped
        let all = settled.steps.iter().all(|s| s.state == StepState::Verified);
        return if all && !settled.settling && settled.blocked.is_none() {
            Remaining::Nothing
        } else {
            Remaining::Intent(action.plan.intent.clone())
        };
    }
    if let Some(why) = &settled.blocked {
        return Remaining::Blocked(why.clone());
    }
    if settled.rest.is_empty() {
        return Remaining::Nothing;
    }
    let plan = &action.plan;
    let rest = DerivedPlan {
        of: action.id.clone(),
        title: match &plan.intent.act {
            // this action already contained the remaining steps of another one
            Act::Resume(rest) => rest.title.clone(),
            _ => undo::title(plan),
        },
        steps: settled.rest.clone(),
        not_restored: String::new(),
        confirm: plan.confirm,
        watched: plan.intent.act.watched().cloned(),
        takes_back: match &plan.intent.act {
            Act::Undo(_) => true,
            Act::Resume(rest) => rest.takes_back,
            Act::Uncordon => action.compensates,
            // an uncordon that was not planned
            Act::Failover { revert: false, .. } => {
                settled.rest.iter().any(|step| step.what == StepKind::Uncordon)
            }
            _ => false,
        },
    };
    Remaining::Intent(Intent { act: Act::Resume(Box::new(rest)), ..plan.intent.clone() })
}

/// Returns the nodes that the action cordoned, according to its journal, and the nodes that it inherited. A step
/// counts if it was sent and not refused.
pub fn cordoned(action: &Unfinished) -> Vec<ObjectRef> {
    let sent = |state| matches!(state, StepState::Verified | StepState::Accepted | StepState::Unknown);
    let steps = action.plan.steps.iter().zip(&action.marks);
    let own = steps.filter(|(step, mark)| step.what == StepKind::Cordon && sent(mark.state));
    own.map(|(step, _)| step.on.clone()).chain(action.inherited.iter().cloned()).collect()
}

/// Returns the intent that uncordons the nodes that the action cordoned, for any kind of action.
pub fn compensation(action: &Unfinished, settled: &Settled) -> Option<Intent> {
    let intent = &action.plan.intent;
    (!settled.cordoned.is_empty()).then(|| Intent {
        act: Act::Uncordon,
        targets: settled.cordoned.clone(),
        ..intent.clone()
    })
}

/// Records that an unfinished action needs no further action, because everything was applied or the user dismisses
/// it.
pub fn close(journal: &Journal, id: &Name, by: &Name, how: How, at: Stamp) -> Result<(), ClaimError> {
    let _claim = journal.claim(id)?;
    Ok(journal.write(&Record::Followed { id: id.clone(), at, by: by.clone(), how })?)
}
