//! The state that the nodes of one drain share: its limits and its progress.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pilothouse_core::domain::id::{Name, ObjectRef, Uid};
use pilothouse_core::domain::plan::{DrainOptions, PdbEffect, Step, StepKind};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::world::{ActionView, StepState};
use tokio_util::sync::CancellationToken;

use super::super::control::Control;
use super::super::recorder::Recorder;
use super::super::session::Session;
use super::super::step_check::Wrote;
use super::api::PodQuery;

/// The minimum number of pods beyond the plan that may be evicted.
const SPARE: usize = 5;

/// The state that the nodes of one drain share.
pub(super) struct DrainRun<'a> {
    pub session: &'a Session,
    pub recorder: &'a Recorder,
    pub control: &'a Control,
    pub options: DrainOptions,
    /// The kind of step that removes a pod: an eviction or a deletion.
    pub evict: StepKind,
    pub deadline: Option<Duration>,
    /// Whether pods that are created during the drain are judged. They are not if the user named single pods, or if a
    /// label selector limits the pods.
    pub judges_late: bool,
    pub pdbs: Vec<PdbEffect>,
    /// Whether whole nodes are emptied, which must stay cordoned.
    pub empties: bool,
    /// The UIDs of the nodes in the plan.
    pub nodes: BTreeMap<Name, Uid>,
    /// The nodes that were not ready in the plan.
    pub not_ready: BTreeSet<Name>,
    /// Canceled if the drain cannot continue at one node. No further request is sent at any node.
    pub halt: CancellationToken,
    /// The number of evictions that the server accepted.
    pub accepted: AtomicUsize,
    /// The number of evictions in the plan.
    pub planned_evictions: usize,
    /// The protected namespaces with pods in the plan. The confirmation of the plan includes them.
    pub confirmed: BTreeSet<Name>,
    /// All pods in the plan, including those that it does not evict.
    pub planned: BTreeSet<Uid>,
    /// The DaemonSets in the plan, as namespace and `DaemonSet/name`.
    pub daemonsets: BTreeSet<(Name, String)>,
    pub progress: Mutex<DrainProgress<'a>>,
}

/// The progress of the drain.
pub(super) struct DrainProgress<'a> {
    pub action: &'a mut ActionView,
    /// The indexes of the steps that evict.
    pub steps: Vec<usize>,
    /// The budgets that block pods: their numbers, and since when.
    pub waits: BTreeMap<(Name, Name), (String, Stamp)>,
    /// The current problems: pods that cannot be followed or do not terminate.
    pub troubles: BTreeMap<PodQuery, String>,
    pub dirty: bool,
}

impl DrainRun<'_> {
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut DrainProgress<'_>) -> T) -> T {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.dirty = true;
        work(&mut progress)
    }

    /// Records a step's state. Returns `false` if it could not be written.
    pub(super) fn note(&self, step: usize, state: StepState, note: &str) -> bool {
        self.with(|progress| self.recorder.note(progress.action, step, state, note, &Wrote::default()))
    }

    /// Shows a note that is not recorded.
    pub(super) fn show(&self, step: usize, note: &str) {
        self.with(|progress| {
            if let Some(step) = progress.action.steps.get_mut(step) {
                note.clone_into(&mut step.note);
            }
        });
    }

    /// Adds a step for a pod that the plan did not contain. Returns `None` if it cannot be written.
    pub(super) fn add_step(&self, pod: &ObjectRef) -> Option<usize> {
        let step = Step::new(self.evict.clone(), pod.clone());
        self.with(|progress| {
            let i = self.recorder.add_step(progress.action, &step)?;
            progress.steps.push(i);
            Some(i)
        })
    }

    /// Counts an accepted eviction. Returns the number so far and the planned number if the drain has evicted too
    /// many pods.
    pub(super) fn count_accepted(&self) -> Option<(usize, usize)> {
        let accepted = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let planned = self.planned_evictions;
        let most = planned.saturating_mul(2).max(planned.saturating_add(SPARE));
        (self.empties && accepted > most).then_some((accepted, planned))
    }

    /// Whether the namespace is protected and the confirmation did not include its pods.
    pub(super) fn is_newly_protected(&self, namespace: &Name) -> bool {
        self.session.guards.protects_namespace(namespace) && !self.confirmed.contains(namespace)
    }

    /// Reports the action if it has changed.
    pub(super) async fn report(&self) {
        let now = self.session.clock.now();
        let view = {
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut progress.dirty) {
                return;
            }
            progress.action.paused = self.control.is_paused();
            progress.action.message = progress.message(now);
            progress.action.clone()
        };
        self.recorder.report(&view).await;
    }

    /// Whether the process has received a signal to terminate.
    pub(super) fn is_stopping(&self) -> bool {
        self.session.stop.is_cancelled()
    }
}

impl DrainProgress<'_> {
    /// Counts the evictions in this state.
    pub(super) fn count(&self, state: StepState) -> usize {
        let states = self.steps.iter().filter_map(|i| self.action.steps.get(*i)).map(|s| s.state);
        states.filter(|s| *s == state).count()
    }

    /// Formats the message, such as `14/23 evicted · waits for PDB shop/cart (0 allowed, needs 3 has 3, since 2m)`.
    fn message(&self, now: Stamp) -> String {
        let mut said = vec![format!("{}/{} evicted", self.count(StepState::Verified), self.steps.len())];
        let others = self.count(StepState::Skipped);
        if others > 0 {
            said.push(format!("{others} gone already or left alone"));
        }
        if self.action.paused {
            said.push("paused".into());
        }
        let terminating = self.count(StepState::Accepted);
        if terminating > 0 {
            said.push(format!("{terminating} terminating"));
        }
        for ((namespace, name), (numbers, since)) in &self.waits {
            let since = age(now.since(*since));
            said.push(format!("waits for PDB {namespace}/{name} ({numbers}, since {since})"));
        }
        said.extend(self.troubles.iter().map(|(query, why)| format!("{query}: {why}")));
        said.join(" · ")
    }
}
