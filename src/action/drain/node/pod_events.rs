//! Handles the events of pods.

use std::time::{Duration, Instant};

use pilothouse_core::domain::budget::Pdb;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::plan::{Fate, Step};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::StepState;
use pilothouse_core::policy::drain::{DaemonSet, daemonset_of, fate};

use super::super::super::live_object::Live;
use super::super::super::step_check::{Standing, UNKNOWN_FOR, standing};
use super::super::api::PodQuery;
use super::super::budget::{self, Budget, BudgetKey, may_go};
use super::super::eviction_result::EvictionResult;
use super::super::progress::DrainProgress;
use super::super::watch::News;
use super::{EvictionState, IDLE, NodeDrain, OVERDUE, PodEviction};
use crate::clock::Clock;
use crate::wire::error::ApiError;

impl NodeDrain<'_, '_> {
    pub(super) async fn pod_news(&mut self, news: News<Pod>) {
        match news {
            News::All(pods) => {
                self.all(pods);
                let late: Vec<Pod> =
                    self.live.values().filter(|p| !self.known.contains(&p.uid)).cloned().collect();
                self.late(late).await;
            }
            News::Seen(pod) => {
                let (uid, late) = (pod.uid.clone(), !self.known.contains(&pod.uid));
                self.live.insert(uid.clone(), pod.clone());
                match self.index(&uid) {
                    Some(i) => self.seen(i),
                    None if late => self.late(vec![pod]).await,
                    None => {}
                }
            }
            News::Gone(uid) => {
                self.live.remove(&uid);
                if let Some(i) = self.index(&uid) {
                    self.gone(i);
                }
            }
            News::Alive | News::Trouble { .. } => {}
        }
    }

    fn index(&self, uid: &Uid) -> Option<usize> {
        self.evictions.iter().position(|item| item.what.on.uid == *uid)
    }

    /// Handles a complete list. A pod that is not in it is gone.
    pub(super) fn all(&mut self, pods: Vec<Pod>) {
        self.live = pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
        self.listed = true;
        for i in 0..self.evictions.len() {
            let there = self.evictions.get(i).is_some_and(|item| self.live.contains_key(&item.what.on.uid));
            if there { self.seen(i) } else { self.gone(i) }
        }
    }

    fn gone(&mut self, i: usize) {
        match self.evictions.get(i).map(|item| item.state) {
            Some(EvictionState::Pending | EvictionState::RetryAt(_) | EvictionState::HeldByBudget) => {
                self.set(i, EvictionState::Done, StepState::Skipped, "gone already");
            }
            Some(EvictionState::Terminating | EvictionState::Unknown(_)) => {
                self.set(i, EvictionState::Done, StepState::Verified, "gone");
            }
            // the pending answer will say more
            Some(EvictionState::Sending | EvictionState::Done) | None => {}
        }
    }

    fn seen(&mut self, i: usize) {
        let Some(item) = self.evictions.get(i) else { return };
        let Some(pod) = self.live.get(&item.what.on.uid).filter(|p| p.is_terminating()) else { return };
        let skipped = self.waited_enough(pod);
        match item.state {
            EvictionState::Pending | EvictionState::RetryAt(_) | EvictionState::HeldByBudget if skipped => {
                self.skip_wait(i);
            }
            EvictionState::Pending | EvictionState::RetryAt(_) | EvictionState::HeldByBudget => {
                self.set(
                    i,
                    EvictionState::Terminating,
                    StepState::Accepted,
                    "was terminating already: only waited for",
                );
            }
            EvictionState::Unknown(_) => {
                self.set(
                    i,
                    EvictionState::Terminating,
                    StepState::Accepted,
                    "the answer was lost; it was applied",
                );
            }
            EvictionState::Terminating if skipped => self.skip_wait(i),
            EvictionState::Sending | EvictionState::Terminating | EvictionState::Done => {}
        }
    }

    fn waited_enough(&self, pod: &Pod) -> bool {
        let limit = self.run.options.skip_wait_for_delete_timeout;
        let now = self.run.session.clock.now();
        limit > 0 && pod.deleting.is_some_and(|at| now.secs_since(at) > limit)
    }

    fn skip_wait(&mut self, i: usize) {
        let limit = self.run.options.skip_wait_for_delete_timeout;
        let why = format!("has been terminating for more than {limit} s: not waited for");
        self.set(i, EvictionState::Done, StepState::Skipped, &why);
    }

    /// Judges pods that the plan did not contain, with kubectl's filters. They are evicted too, stay, or end the
    /// drain of this node.
    async fn late(&mut self, pods: Vec<Pod>) {
        let mut refused = Vec::new();
        for pod in pods {
            self.known.insert(pod.uid.clone());
            if self.run.halt.is_cancelled()
                || !self.run.judges_late
                || !matches!(self.query, PodQuery::Node(_))
            {
                continue;
            }
            if !pod.is_terminating() && self.run.is_newly_protected(&pod.namespace) {
                let why = "was scheduled here meanwhile, and its namespace is protected: not evicted; confirm again to evict it";
                self.failures.failed.push((why.into(), format!("{}/{}", pod.namespace, pod.name)));
                continue;
            }
            let set = self.daemonset(&pod).await;
            let (fate, reason) = fate(&pod, &self.run.options, &set, self.run.session.clock.now());
            match fate {
                Fate::Skip => {}
                Fate::Evict | Fate::Wait => {
                    let on = pod.reference(self.api.cluster());
                    if let Some(step) = self.run.add_step(&on) {
                        let what = Step::new(self.run.evict.clone(), on);
                        self.evictions.push(PodEviction {
                            came: Some(Clock::instant()),
                            ..PodEviction::new(step, what)
                        });
                        self.seen(self.evictions.len() - 1);
                    } else {
                        let why = "came meanwhile, and its step cannot be written to the journal";
                        refused.push((why.into(), pod));
                    }
                }
                Fate::Refuse => refused.push((format!("came meanwhile: {reason}"), pod)),
            }
        }
        if let Some((why, pod)) = refused.first() {
            let why = format!("{}/{} {why}", pod.namespace, pod.name);
            self.leave_the_rest(&why);
        }
    }

    async fn daemonset(&self, pod: &Pod) -> DaemonSet {
        let Some(owner) = daemonset_of(pod) else { return DaemonSet::There };
        let (cluster, any) = (self.api.cluster(), Uid::default());
        let on = ObjectRef::new(cluster, Kind::DaemonSet, &pod.namespace, &owner.name, &any);
        if self.run.daemonsets.contains(&(on.namespace.clone(), format!("{}/{}", on.kind, on.name))) {
            return DaemonSet::There;
        }
        match self.unless_stopped(self.api.get(on)).await {
            Some(Ok(None)) => DaemonSet::Gone,
            Some(Ok(Some(_))) => DaemonSet::There,
            // the DaemonSet is unknown, so its pod is never evicted
            Some(Err(error)) => DaemonSet::Unread(error.to_string()),
            None => DaemonSet::Unread(String::new()),
        }
    }

    pub(super) fn answered(&mut self, i: usize, result: EvictionResult) {
        let Some(item) = self.evictions.get(i) else { return };
        let there = self.live.get(&item.what.on.uid).map(Pod::is_terminating);
        let again = matches!(result, EvictionResult::Retry(..) | EvictionResult::Budget(..));
        match result {
            // regardless of the answer: the pod was deleted or began to terminate while the request was pending
            _ if again && there.is_none() => self.set(i, EvictionState::Done, StepState::Verified, "gone"),
            _ if again && there == Some(true) => {
                self.set(
                    i,
                    EvictionState::Terminating,
                    StepState::Accepted,
                    "terminating, whatever the answer said",
                );
            }
            EvictionResult::Accepted if there.is_none() => {
                self.evicted();
                self.set(i, EvictionState::Done, StepState::Verified, "gone");
            }
            EvictionResult::Accepted => {
                self.evicted();
                self.progress(i);
                self.set(i, EvictionState::Terminating, StepState::Accepted, "accepted: terminating");
            }
            EvictionResult::Gone(note) => self.set(i, EvictionState::Done, StepState::Verified, &note),
            EvictionResult::Budget(name, said) => self.hold(i, name, said),
            EvictionResult::Retry(wait, why) => {
                let at = self.run.session.clock.now().plus_secs(i64::try_from(wait.as_secs()).unwrap_or(0));
                let note = format!("{why}; again at {}", at.clock_secs());
                self.set(i, EvictionState::RetryAt(Clock::deadline(wait)), StepState::Waiting, &note);
            }
            EvictionResult::NamespaceTerminating(why) => {
                self.set(
                    i,
                    EvictionState::Terminating,
                    StepState::Waiting,
                    &format!("goes with its namespace: {why}"),
                );
            }
            EvictionResult::Failed(why) => self.fail(i, &why),
            EvictionResult::Unknown(_) if there.is_none() => {
                self.set(i, EvictionState::Done, StepState::Verified, "gone");
            }
            EvictionResult::Unknown(_) if there == Some(true) => {
                self.set(
                    i,
                    EvictionState::Terminating,
                    StepState::Accepted,
                    "the answer was lost; it was applied",
                );
            }
            EvictionResult::Unknown(why) => {
                let note = format!("{why}; the pod is read again, the eviction is not repeated");
                self.set(i, EvictionState::Unknown(Clock::instant()), StepState::Unknown, &note);
            }
        }
    }

    /// Counts an accepted eviction. Pods that are recreated as fast as they are evicted must not keep the drain
    /// running forever.
    fn evicted(&mut self) {
        if let Some((evicted, planned)) = self.run.count_accepted() {
            let why = format!(
                "stopped: {evicted} pods were evicted, more than twice the {planned} of the plan: they come back to the node"
            );
            self.undermined(why);
        }
    }

    /// Schedules the next read of a budget soon after one of its pods was evicted.
    fn progress(&mut self, i: usize) {
        let held = self.evictions.get_mut(i).and_then(|item| item.held.take());
        if let Some(budget) = held.and_then(|(key, _)| self.budgets.get_mut(&key)) {
            budget.progress();
        }
        self.tell_waits();
    }

    fn hold(&mut self, i: usize, name: Option<Name>, said: String) {
        let Some(item) = self.evictions.get_mut(i) else { return };
        let on = &item.what.on;
        let planned = || {
            let blocks = |p: &&_| holds(p, on);
            self.run.pdbs.iter().find(blocks).map(|p| p.name.clone())
        };
        let Some(name) = name.or_else(planned) else {
            let wait = budget::again();
            let at = self.run.session.clock.now().plus_secs(i64::try_from(wait.as_secs()).unwrap_or(5));
            let note = format!("a budget refuses: {said}; next try at {}", at.clock_secs());
            self.set(i, EvictionState::RetryAt(Clock::deadline(wait)), StepState::Held, &note);
            return;
        };
        let key = (on.namespace.clone(), name);
        let now = self.run.session.clock.now();
        let budget = self.budgets.entry(key.clone()).or_insert_with(|| Budget::new(now));
        budget.refused = Clock::instant();
        let words = budget.words(&key, &said);
        item.held = Some((key, said));
        self.set(i, EvictionState::HeldByBudget, StepState::Held, &words);
        self.tell_waits();
    }

    pub(super) fn budget_read(&mut self, key: &BudgetKey, read: Result<Option<Pdb>, ApiError>) {
        let Some(budget) = self.budgets.get_mut(key) else { return };
        let allowance = budget.take_reading(read);
        let next = budget.next.saturating_duration_since(Clock::instant());
        let at = self.run.session.clock.now().plus_secs(i64::try_from(next.as_secs()).unwrap_or(0));
        let mut tried = 0;
        for item in self.evictions.iter_mut().filter(|i| i.is_held_by(key)) {
            let pod = self.live.get(&item.what.on.uid);
            if may_go(&allowance, pod, tried) {
                tried += usize::from(pod.is_none_or(|p| p.ready));
                item.state = EvictionState::Pending;
                continue;
            }
            let said = item.held.as_ref().map_or("", |(_, said)| said);
            let words = budget.words(key, said);
            if item.note != words {
                self.run.note(item.step, StepState::Held, &words);
                item.note.clone_from(&words);
            }
            self.run.show(item.step, &format!("{words}; next look at {}", at.clock_secs()));
        }
        self.tell_waits();
    }

    /// Adds the budgets that block pods of this node to the action's message.
    fn tell_waits(&self) {
        let waits: Vec<(&BudgetKey, Option<(String, Stamp)>)> = self
            .budgets
            .iter()
            .map(|(key, budget)| {
                let holds = self.evictions.iter().any(|i| i.is_held_by(key));
                (key, holds.then(|| (budget.numbers(), budget.since)))
            })
            .collect();
        self.run.with(|progress: &mut DrainProgress<'_>| {
            for (key, wait) in waits {
                match wait {
                    Some(wait) => progress.waits.insert(key.clone(), wait),
                    None => progress.waits.remove(key),
                };
            }
        });
    }

    /// Returns the next time at which something is due without an event.
    pub(super) fn overdue_at(&self) -> Instant {
        let every = if self.run.options.skip_wait_for_delete_timeout > 0 { 1 } else { 5 };
        let waits = self
            .evictions
            .iter()
            .any(|i| matches!(i.state, EvictionState::Terminating | EvictionState::Unknown(_)));
        Clock::deadline(if waits { Duration::from_secs(every) } else { IDLE })
    }

    /// Reads pods whose answer was lost and that the watch does not mention. Reports pods that do not terminate.
    pub(super) async fn look_closer(&mut self) {
        for i in 0..self.evictions.len() {
            let Some(item) = self.evictions.get(i) else { continue };
            match item.state {
                EvictionState::Unknown(since) if is_older(since, UNKNOWN_FOR) => self.read_unknown(i).await,
                EvictionState::Terminating => self.seen(i),
                _ => {}
            }
        }
        let now = self.run.session.clock.now();
        let late = |item: &PodEviction| {
            let pod = self.live.get(&item.what.on.uid);
            item.state == EvictionState::Terminating
                && pod.and_then(|p| p.deleting).is_some_and(|at| now.secs_since(at) > OVERDUE.as_secs())
        };
        let overdue: Vec<usize> =
            self.evictions.iter().enumerate().filter(|(_, item)| late(item)).map(|(i, _)| i).collect();
        if overdue.is_empty() {
            return;
        }
        let Some(ready) = self.observed.as_ref().and_then(|observed| observed.ready) else { return };
        let why = if ready {
            "still terminating past its grace period: a finalizer, or a container that does not end"
        } else {
            "the kubelet does not answer, so the pod does not end; if the machine is really off, use out-of-service"
        };
        let words = format!("{} of its pods: {why}", overdue.len());
        for i in overdue {
            if self.evictions.get(i).is_some_and(|item| item.stuck != Some(why)) {
                self.set(i, EvictionState::Terminating, StepState::Accepted, why);
                if let Some(item) = self.evictions.get_mut(i) {
                    item.stuck = Some(why);
                }
            }
        }
        self.troubled = false;
        self.run.with(|progress| progress.troubles.insert(self.query.clone(), words));
    }

    /// Reads a pod whose eviction got no answer.
    async fn read_unknown(&mut self, i: usize) {
        let Some(item) = self.evictions.get(i) else { return };
        let (on, name) = (item.what.on.clone(), item.name());
        let Some(read) = self.unless_stopped(self.api.get(on.clone())).await else { return };
        let live = read.and_then(|body| body.map(|body| Live::of(&on.kind, &body)).transpose());
        match live.map(|live| standing(&self.run.evict, &on, live.as_ref(), "")) {
            Ok(Standing::Verified(note)) => self.set(i, EvictionState::Done, StepState::Verified, &note),
            Ok(Standing::Settling(_)) => {
                self.set(
                    i,
                    EvictionState::Terminating,
                    StepState::Accepted,
                    "the answer was lost; it was applied",
                );
            }
            Ok(_) => {
                let why = "no answer came, and the pod is not terminating; the eviction is not repeated";
                self.failures.unknown.push((why.into(), name));
                self.set(i, EvictionState::Done, StepState::Unknown, why);
            }
            // the permission or the credentials were lost, so another read would not say more
            Err(error) if error.is_denial() || matches!(error, ApiError::Unauthorized(_)) => {
                let why =
                    format!("no answer came, and the pod cannot be read any more: {error}; not repeated");
                self.failures.unknown.push((why.clone(), name));
                self.set(i, EvictionState::Done, StepState::Unknown, &why);
            }
            // the state stays unknown, and the pod is read again later
            Err(_) => {
                if let Some(item) = self.evictions.get_mut(i) {
                    item.state = EvictionState::Unknown(Clock::instant());
                }
            }
        }
    }

    /// Waits for a future. Returns `None` if the process received a signal to terminate, because it must not wait for
    /// slow requests.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.run.session.stop.cancelled() => None,
            done = work => Some(done),
        }
    }
}

fn is_older(since: Instant, than: Duration) -> bool {
    Clock::instant().saturating_duration_since(since) >= than
}

fn holds(pdb: &pilothouse_core::domain::plan::PdbEffect, pod: &ObjectRef) -> bool {
    pdb.namespace == pod.namespace && pdb.blocks.contains(&pod.name)
}
