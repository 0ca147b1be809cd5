//! Empties one node, or evicts the given pods of a namespace. It lists, watches, evicts and waits until all pods are
//! gone, the timeout expires, the user stops it, or a change of the node prevents the drain from continuing.
//! [`pod_events`] handles the events of pods, [`observed_node`] tracks the state of the node, [`node_checks`] decides
//! what follows from it, and [`ending`] records the pods that are left.

mod ending;
mod node_checks;
mod observed_node;
mod pod_events;
mod pod_eviction;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use pilothouse_core::domain::budget::Pdb;
use pilothouse_core::domain::id::Uid;
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::facts::world::StepState;
use serde_json::Value;

use self::ending::StopReason;
use self::observed_node::ObservedNode;
pub(super) use self::pod_eviction::{EvictionState, PodEviction};
use super::super::requests::mutation;
use super::api::{DrainApi, PodQuery};
use super::budget::{self, Budget, BudgetKey};
use super::eviction_result::{EvictionResult, result_of};
use super::progress::DrainRun;
use super::summary::DrainFailures;
use super::watch::{News, Refused, Watch};
use crate::clock::Clock;
use crate::wire::error::ApiError;

/// A pod that still exists this long after its grace period is reported.
const OVERDUE: Duration = Duration::from_secs(10);
/// The maximum time that the loop sleeps.
const IDLE: Duration = Duration::from_secs(30);
/// How long to wait for the answers to sent evictions after a cancel, a timeout, or a signal to terminate.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
const LAST_MOMENT: Duration = Duration::from_millis(200);

type Sends = FuturesUnordered<BoxFuture<'static, (usize, EvictionResult)>>;

enum NodeEvent {
    Pods(News<Pod>),
    Node(News<Value>),
    /// An eviction was answered.
    Answered(usize, EvictionResult),
    /// A read of a budget was answered.
    Budget(BudgetKey, Result<Option<Pdb>, ApiError>),
    /// A read of the node was answered.
    NodeRead(Result<Option<Bytes>, ApiError>),
    Stop(StopReason),
    Timer,
}

struct NodeDrain<'b, 'a> {
    run: &'b DrainRun<'a>,
    query: PodQuery,
    api: Arc<dyn DrainApi>,
    evictions: Vec<PodEviction>,
    /// The pods according to their watch.
    live: BTreeMap<Uid, Pod>,
    /// The pods that have been judged.
    known: BTreeSet<Uid>,
    budgets: BTreeMap<BudgetKey, Budget>,
    listed: bool,
    /// The node, or `None` if single pods are evicted on any node.
    observed: Option<ObservedNode>,
    /// The time since which no pod is left.
    emptied: Option<Instant>,
    troubled: bool,
    /// The number of consecutive denials of the pods' watch.
    denials: u32,
    /// Whether the last read of the node failed.
    unread: bool,
    failures: DrainFailures,
}

pub(super) async fn empty(
    run: &DrainRun<'_>,
    query: PodQuery,
    evictions: Vec<PodEviction>,
    api: Option<Arc<dyn DrainApi>>,
) -> DrainFailures {
    let mut failures = DrainFailures::default();
    let Some(api) = api else {
        failures.failed.push(("not sent: there is no writing connection".into(), query.to_string()));
        return failures;
    };
    let (mut node, mut observed) = (None, None);
    let pods = api.watch_pods(&query);
    if let PodQuery::Node(name) = &query
        && run.empties
    {
        let (uid, was_not_ready) = (run.nodes.get(name).cloned(), run.not_ready.contains(name));
        observed = Some(ObservedNode::new(uid, was_not_ready, Clock::instant()));
        node = Some(api.watch_node(name));
    }
    let known = run.planned.iter().chain(evictions.iter().map(|e| &e.what.on.uid)).cloned().collect();
    let drain = NodeDrain {
        run,
        query,
        api,
        evictions,
        live: BTreeMap::new(),
        known,
        budgets: BTreeMap::new(),
        listed: false,
        observed,
        emptied: None,
        troubled: false,
        denials: 0,
        unread: false,
        failures,
    };
    drain.run(pods, node).await
}

impl NodeDrain<'_, '_> {
    async fn run(mut self, mut pods: Watch<Pod>, mut node: Option<Watch<Value>>) -> DrainFailures {
        let run = self.run;
        let deadline = run.deadline.map(Clock::deadline);
        let mut sends = Sends::new();
        let mut reads = FuturesUnordered::new();
        let mut node_reads: FuturesUnordered<BoxFuture<'static, _>> = FuturesUnordered::new();
        let mut pauses = run.control.pauses();
        let mut closing: Option<(StopReason, Instant)> = None;
        let mut denied = None;
        loop {
            if closing.is_none() {
                self.catch_up(node.as_mut());
            }
            let now = Clock::instant();
            let mut wake = now + IDLE;
            if closing.is_none() && self.listed {
                wake = wake.min(self.issue(&mut sends));
                for (key, budget) in &mut self.budgets {
                    let holds = self.evictions.iter().any(|i| i.is_held_by(key));
                    if holds && !budget.reading && budget.next <= now {
                        budget.reading = true;
                        reads.push(budget::read(self.api.clone(), key.clone()));
                    } else if holds && !budget.reading {
                        wake = wake.min(budget.next);
                    }
                }
                wake = wake.min(self.overdue_at());
                match self.node_check_due(now) {
                    Some(due) if due <= now => node_reads.push(self.read_node(now)),
                    Some(due) => wake = wake.min(due),
                    None => {}
                }
            }
            run.report().await;
            if closing.is_some_and(|(_, limit)| sends.is_empty() || limit <= now)
                || denied.is_some()
                || (closing.is_none() && self.is_over())
            {
                break;
            }
            wake = match (closing, deadline) {
                (Some((_, limit)), _) => wake.min(limit),
                (None, Some(deadline)) => wake.min(deadline),
                (None, None) => wake,
            };
            let stopping = closing.is_some_and(|(why, _)| why == StopReason::ProcessEnds);
            let event = tokio::select! {
                biased;
                () = run.session.stop.cancelled(), if !stopping => NodeEvent::Stop(StopReason::ProcessEnds),
                () = run.control.cancelled(), if closing.is_none() => NodeEvent::Stop(StopReason::Cancelled),
                () = run.halt.cancelled(), if closing.is_none() => NodeEvent::Stop(StopReason::Undermined),
                Some((i, result)) = sends.next(), if !sends.is_empty() => NodeEvent::Answered(i, result),
                Some(read) = node_reads.next(), if !node_reads.is_empty() => NodeEvent::NodeRead(read),
                news = next(node.as_mut()), if closing.is_none() => NodeEvent::Node(news),
                Some((key, read)) = reads.next(), if !reads.is_empty() => NodeEvent::Budget(key, read),
                () = tokio::time::sleep_until(wake.into()) => NodeEvent::Timer,
                changed = pauses.changed() => {
                    if changed.is_err() {
                        // the sender of pauses was dropped, so the action can only be canceled
                        pauses = run.control.pauses();
                    }
                    run.with(|_| ());
                    NodeEvent::Timer
                }
                news = pods.next(), if !stopping => NodeEvent::Pods(news),
            };
            match event {
                NodeEvent::Stop(why) => {
                    let wait = if why == StopReason::ProcessEnds { LAST_MOMENT } else { LAST_ANSWERS };
                    closing = Some((why, Clock::deadline(wait)));
                }
                NodeEvent::Answered(i, result) => self.answered(i, result),
                NodeEvent::Budget(key, read) => self.budget_read(&key, read),
                NodeEvent::NodeRead(read) => self.node_read(read),
                NodeEvent::Node(news) => self.node_news(news),
                NodeEvent::Pods(News::Trouble { why, refused }) => {
                    self.troubled = true;
                    let words = format!("its pods are not followed now: {why}");
                    run.with(|progress| progress.troubles.insert(self.query.clone(), words));
                    self.not_followed(&why, refused);
                    denied = (refused == Refused::ForGood && !self.listed).then_some(why);
                }
                NodeEvent::Pods(news) => {
                    self.denials = 0;
                    if std::mem::take(&mut self.troubled) {
                        run.with(|progress| progress.troubles.remove(&self.query));
                    }
                    self.pod_news(news).await;
                }
                NodeEvent::Timer => {
                    if closing.is_none() && deadline.is_some_and(|d| d <= Clock::instant()) {
                        closing = Some((StopReason::Deadline, Clock::deadline(LAST_ANSWERS)));
                    } else if closing.is_none() {
                        self.look_closer().await;
                    }
                }
            }
        }
        if let Some(why) = denied {
            self.leave_the_rest(&format!("its pods cannot be listed: {why}"));
        }
        self.finish(closing.map(|(why, _)| why)).await;
        run.with(|progress| progress.troubles.remove(&self.query));
        run.report().await;
        self.failures
    }

    /// Sends the evictions that are possible now. Returns the time of the next attempt.
    fn issue(&mut self, sends: &mut Sends) -> Instant {
        let (run, now) = (self.run, Clock::instant());
        let mut wake = now + IDLE;
        if run.control.is_paused() || run.control.is_cancelled() || run.is_stopping() {
            return wake;
        }
        if run.halt.is_cancelled() || self.observed.as_ref().is_some_and(|observed| !observed.is_fresh(now)) {
            return wake;
        }
        let most = match run.options.pods_at_once {
            0 => usize::MAX,
            n => usize::from(n),
        };
        let mut under_way = self.evictions.iter().filter(|i| i.is_under_way()).count();
        for (i, item) in self.evictions.iter_mut().enumerate() {
            match item.state {
                EvictionState::Pending => {}
                EvictionState::RetryAt(at) if at <= now => {}
                EvictionState::RetryAt(at) => {
                    wake = wake.min(at);
                    continue;
                }
                _ => continue,
            }
            let unchecked = |came| self.observed.as_ref().is_some_and(|node| !node.is_since(came));
            if item.came.is_some_and(unchecked) {
                continue;
            }
            if under_way >= most {
                break;
            }
            if let Err(at) = run.session.limiter.take(now) {
                wake = wake.min(at);
                break;
            }
            let request = mutation(&item.what.what, &item.what.on, None, "");
            let request = request.and_then(|request| {
                // the record is on disk before the request is sent
                let written = run.note(item.step, StepState::Running, "sending");
                if written { Ok(request) } else { Err("the step cannot be written to the journal".into()) }
            });
            match request {
                Ok(request) => {
                    item.state = EvictionState::Sending;
                    under_way += 1;
                    let (api, step) = (self.api.clone(), item.what.clone());
                    sends.push(Box::pin(async move {
                        let answer = api.send(request).await;
                        (i, result_of(&*api, &step, answer).await)
                    }));
                }
                Err(why) => {
                    let why = format!("not sent: {why}");
                    item.state = EvictionState::Done;
                    self.failures.failed.push((why.clone(), item.name()));
                    run.note(item.step, StepState::Failed, &why);
                }
            }
        }
        wake
    }
}

/// Returns the next event of a watched node.
async fn next(watch: Option<&mut Watch<Value>>) -> News<Value> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
