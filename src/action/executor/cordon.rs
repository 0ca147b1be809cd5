//! The nodes that an action cordoned, and how it uncordons them.

use pilothouse_core::domain::plan::{Act, Step, StepKind};
use pilothouse_core::facts::world::{ActionView, StepState};

use super::super::journal::How;
use super::{Control, Ended, Executor, was_sent};

impl Executor {
    /// Whether a step undoes a write of the action. If another client has written the same value since, the value
    /// belongs to that client.
    pub(super) fn takes_back(&self, act: &Act, what: &StepKind) -> bool {
        match act {
            Act::Undo(_) => true,
            Act::Resume(rest) => rest.takes_back,
            Act::Uncordon => self.follows.as_ref().is_some_and(|f| f.how == How::Compensated),
            // an uncordon that was not planned releases a node
            Act::Drain(_) | Act::Failover { revert: false, .. } => *what == StepKind::Uncordon,
            _ => false,
        }
    }

    /// Uncordons the nodes that this action cordoned, as additional steps.
    pub(super) async fn uncordon(&self, action: &mut ActionView) -> String {
        let ours: Vec<Step> =
            cordoned(action).into_iter().map(|step| Step { what: StepKind::Uncordon, ..step }).collect();
        let mut said = Vec::new();
        for step in ours {
            let Some(i) = self.recorder.add_step(action, &step) else {
                return "not uncordoned: the step cannot be written to the journal".into();
            };
            let (state, note) = match self.step(action, i, &step, &Control::default(), None).await {
                Ended::Verified(note) => (StepState::Verified, note),
                Ended::Skipped(note) => (StepState::Skipped, note),
                Ended::Failed(note) | Ended::NotSent(note) | Ended::Barred(note) | Ended::Stopped(note) => {
                    (StepState::Failed, note)
                }
                Ended::Unknown(note) => (StepState::Unknown, note),
            };
            self.recorder.mark(action, i, state, &note).await;
            said.push(format!("{} {note}", step.on.name));
        }
        said.join(", ")
    }
}

/// Returns the steps by which this action, or the action that it resumes, cordoned nodes.
pub(super) fn cordoned(action: &ActionView) -> Vec<Step> {
    let pairs = action.plan.steps.iter().zip(&action.steps);
    // a cordon with an unknown outcome may have been applied
    let own = pairs.filter(|(step, seen)| step.what == StepKind::Cordon && was_sent(seen.state));
    let inherited = action.inherited.iter().map(|node| Step::new(StepKind::Cordon, node.clone()));
    own.map(|(step, _)| step.clone()).chain(inherited).collect()
}
