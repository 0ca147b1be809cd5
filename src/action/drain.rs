//! Runs consecutive evictions of a plan, on several nodes at the same time. Each node's pods are followed with one LIST
//! and one WATCH instead of a GET for each pod and second. The node itself is followed in the same way.
//!
//! `node` empties one node. `watch` follows the node and its pods. `eviction_result` interprets the server's
//! answer to an eviction. `budget` reads the disruption budgets that block evictions. `api` sends the requests.
//! The nodes share a `DrainRun`. `summary` describes how the drain ended.

mod api;
mod budget;
mod eviction_result;
mod node;
mod progress;
mod summary;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::plan::{Act, DrainOptions, Fate, Step, StepKind};
use pilothouse_core::facts::world::{ActionView, Outcome};
use tokio_util::sync::CancellationToken;

use self::api::{ClusterApi, DrainApi, PodQuery};
use self::node::PodEviction;
use self::progress::{DrainProgress, DrainRun};
use self::summary::{StoppedBy, conclude};
use super::control::Control;
use super::recorder::Recorder;
use super::session::Session;
use super::step_check::patience;

/// Returns the requests for the cluster of a context, or `None` if it cannot be written to.
type ApiOf<'a> = dyn Fn(&str) -> Option<Arc<dyn DrainApi>> + Sync + 'a;

/// Runs the evictions among `range` of the plan's steps. Returns the outcome with a message. `settle_for` is the
/// timeout for single pods, or `None` for the default of the kind of step.
pub(super) async fn run(
    session: &Session,
    recorder: &Recorder,
    action: &mut ActionView,
    range: Range<usize>,
    control: &Control,
    settle_for: Option<Duration>,
) -> (Outcome, String) {
    let api_of = |context: &str| ClusterApi::of(session, context);
    run_with(session, recorder, action, range, control, settle_for, &api_of).await
}

async fn run_with(
    session: &Session,
    recorder: &Recorder,
    action: &mut ActionView,
    range: Range<usize>,
    control: &Control,
    settle_for: Option<Duration>,
    api_of: &ApiOf<'_>,
) -> (Outcome, String) {
    let plan = action.plan.clone();
    let (options, single) = match &plan.intent.act {
        Act::Drain(options) => (options.clone(), None),
        Act::Evict(options) => (DrainOptions::default(), Some(options)),
        // a failover plans its evictions with these options
        _ => (DrainOptions { ignore_daemonsets: true, ..DrainOptions::default() }, None),
    };
    let steps: Vec<(usize, &Step)> =
        plan.steps.iter().enumerate().skip(range.start).take(range.len()).collect();
    let grace_period = single.map_or(options.grace_period, |o| o.grace_period);
    let evict = match steps.first() {
        Some((_, step)) => step.what.clone(),
        None if options.disable_eviction => StepKind::Delete { grace_period },
        None => StepKind::Evict { grace_period },
    };
    let deadline = match single {
        Some(_) => Some(settle_for.unwrap_or_else(|| patience(&evict))),
        None => (options.timeout > 0).then(|| Duration::from_secs(options.timeout)),
    };
    let mut queries: BTreeMap<PodQuery, Vec<PodEviction>> = BTreeMap::new();
    // a resumed action evicts only its remaining pods
    let empties = matches!(plan.intent.act, Act::Drain(_) | Act::Failover { .. });
    let mut nodes = BTreeMap::new();
    if empties {
        let cordoned = plan.steps.iter().filter(|s| s.what == StepKind::Cordon).map(|s| &s.on);
        for node in plan.intent.targets.iter().chain(cordoned).filter(|o| o.kind == Kind::Node) {
            queries.entry(PodQuery::Node(node.name.clone())).or_default();
            nodes.insert(node.name.clone(), node.uid.clone());
        }
    }
    for (i, step) in &steps {
        let node = plan.pods.iter().find(|p| p.pod.uid == step.on.uid).map(|p| p.node.clone());
        let query = match node {
            Some(node) if single.is_none() && !node.is_empty() => PodQuery::Node(node),
            _ => {
                let others = steps.iter().filter(|(_, s)| s.on.namespace == step.on.namespace).count();
                let only = (others == 1).then(|| step.on.name.clone());
                PodQuery::Namespace(step.on.namespace.clone(), only)
            }
        };
        queries.entry(query).or_default().push(PodEviction::new(*i, (*step).clone()));
    }
    let owners = plan.pods.iter().filter(|p| p.fate == Fate::Skip && p.owner.starts_with("DaemonSet/"));
    let run = DrainRun {
        session,
        recorder,
        control,
        evict,
        deadline,
        judges_late: empties && options.pod_selector.is_none(),
        pdbs: plan.pdbs.clone(),
        empties,
        nodes,
        not_ready: plan.not_ready.iter().cloned().collect(),
        halt: CancellationToken::new(),
        accepted: AtomicUsize::new(0),
        planned_evictions: steps.len(),
        confirmed: plan.steps.iter().filter(|s| s.is_eviction()).map(|s| s.on.namespace.clone()).collect(),
        planned: plan.pods.iter().map(|p| p.pod.uid.clone()).collect(),
        daemonsets: owners.map(|p| (p.pod.namespace.clone(), p.owner.clone())).collect(),
        progress: Mutex::new(DrainProgress {
            action,
            steps: range.collect(),
            waits: BTreeMap::new(),
            troubles: BTreeMap::new(),
            dirty: false,
        }),
        options,
    };
    let at_once = if single.is_some() { usize::MAX } else { usize::from(run.options.nodes_at_once.max(1)) };
    let mut queue: VecDeque<_> = queries.into_iter().collect();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        while running.len() < at_once
            && let Some((query, evictions)) = queue.pop_front()
        {
            let api = api_of(evictions.first().map_or("", |e| e.what.context.as_str()));
            running.push(node::empty(&run, query, evictions, api));
        }
        match running.next().await {
            Some(of_node) => failures.push(of_node),
            None => break,
        }
    }
    drop(running);
    run.report().await;
    let ended = StoppedBy {
        interrupted: session.stop.is_cancelled(),
        cancelled: control.is_cancelled(),
        halted: run.halt.is_cancelled(),
    };
    let progress = run.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    conclude(&progress, failures, ended)
}
