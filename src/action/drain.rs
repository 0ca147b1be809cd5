//! Evictions that follow each other in a plan: side by side, node by node, with one LIST and one WATCH of a node's pods
//! in the place of a GET per pod and second, and one of the node itself.
//!
//! [`node`] empties one node; [`watch`] keeps it and its pods current; [`answer`] reads what the server says to an eviction;
//! [`budget`] asks the budgets that hold pods back. What all nodes share is the [`Board`].

mod answer;
mod budget;
mod node;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::plan::{Act, DrainOptions, Fate, PdbEffect, Plan, Step, StepKind};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};

use tokio_util::sync::CancellationToken;

use super::executor::{Control, Executor, patience};
use super::settle::Wrote;
use crate::wire::client::escape;

/// Where the pods of some steps are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Node(Name),
    /// Single pods: those of a namespace, or only this one. Whoever may evict here need not see the whole node.
    Namespace(Name, Option<Name>),
}

impl Place {
    fn path(&self) -> String {
        let field =
            |field: &str, value: &str| format!("fieldSelector={}", escape(&format!("{field}={value}")));
        match self {
            Self::Node(node) => format!("/api/v1/pods?{}", field("spec.nodeName", node)),
            Self::Namespace(namespace, Some(pod)) => {
                format!("/api/v1/namespaces/{namespace}/pods?{}", field("metadata.name", pod))
            }
            Self::Namespace(namespace, None) => format!("/api/v1/namespaces/{namespace}/pods"),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(node) => f.write_str(node),
            Self::Namespace(namespace, _) => f.write_str(namespace),
        }
    }
}

/// What is left of a place, in words: a reason and the pod or node that it is about.
#[derive(Debug, Default)]
struct Ending {
    failed: Vec<(String, String)>,
    unknown: Vec<(String, String)>,
    /// Nodes that could not be looked at in the end.
    unseen: Vec<(String, String)>,
    /// Somebody took the node's cordon back.
    uncordoned: bool,
    /// The node that is not ready any more.
    not_ready: Option<String>,
}

/// How many pods more than planned may come and be evicted at least.
const SPARE: usize = 5;

/// What the places of one run share.
struct Board<'a> {
    exec: &'a Executor,
    control: &'a Control,
    options: DrainOptions,
    evict: StepKind,
    deadline: Option<Duration>,
    /// Pods that come in between are judged: not where single pods were named, and not by a selector's text.
    judges_late: bool,
    pdbs: Vec<PdbEffect>,
    /// Whole nodes are emptied, which have to stay cordoned.
    empties: bool,
    /// The nodes' UIDs in the plan.
    nodes: BTreeMap<Name, Uid>,
    /// Nodes that were not ready in the plan.
    not_ready: BTreeSet<Name>,
    /// Set when what the drain stands on is gone: nothing more is sent anywhere.
    halt: CancellationToken,
    /// Evictions that the server took.
    evicted: AtomicUsize,
    /// Evictions in the plan.
    evictions: usize,
    /// Protected namespaces of which pods go by the plan: whoever confirmed it has confirmed these.
    confirmed: BTreeSet<Name>,
    /// Pods that the plan judged.
    planned: BTreeSet<Uid>,
    /// The DaemonSets that the plan knew: namespace and `DaemonSet/name`.
    daemonsets: BTreeSet<(Name, String)>,
    told: Mutex<Told<'a>>,
}

/// What is told of the action.
struct Told<'a> {
    action: &'a mut ActionView,
    /// The steps that evict.
    steps: Vec<usize>,
    /// Budgets that hold pods back: their numbers, and since when.
    waits: BTreeMap<(Name, Name), (String, Stamp)>,
    /// What is in the way at a place: its pods cannot be followed now, or they do not end.
    troubles: BTreeMap<Place, String>,
    dirty: bool,
}

impl Board<'_> {
    fn with<T>(&self, work: impl FnOnce(&mut Told<'_>) -> T) -> T {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.dirty = true;
        work(&mut told)
    }

    /// Writes a step's state down. False if that failed.
    fn note(&self, step: usize, state: StepState, note: &str) -> bool {
        self.with(|told| self.exec.note(told.action, step, state, note, &Wrote::default()))
    }

    /// Shows a note that is not worth a record.
    fn show(&self, step: usize, note: &str) {
        self.with(|told| {
            if let Some(step) = told.action.steps.get_mut(step) {
                note.clone_into(&mut step.note);
            }
        });
    }

    /// A step for a pod that the plan did not know.
    fn add(&self, pod: &ObjectRef) -> Option<usize> {
        let step = Step::new(self.evict.clone(), pod.clone());
        self.with(|told| {
            let i = self.exec.added(told.action, &step)?;
            told.steps.push(i);
            Some(i)
        })
    }

    /// One eviction more; the number so far and that of the plan if it is too many by now.
    fn count_evicted(&self) -> Option<(usize, usize)> {
        let evicted = self.evicted.fetch_add(1, Ordering::Relaxed) + 1;
        let most = self.evictions.saturating_mul(2).max(self.evictions.saturating_add(SPARE));
        (self.empties && evicted > most).then_some((evicted, self.evictions))
    }

    /// True if nobody has confirmed that pods of this protected namespace go.
    fn is_newly_protected(&self, namespace: &Name) -> bool {
        self.exec.guards.protects_namespace(namespace) && !self.confirmed.contains(namespace)
    }

    /// Sends the view out if anything is new.
    async fn tell(&self) {
        let now = self.exec.clock.now();
        let view = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut told.dirty) {
                return;
            }
            told.action.paused = self.control.is_paused();
            told.action.message = told.message(now);
            told.action.clone()
        };
        self.exec.tell(&view).await;
    }

    fn stopping(&self) -> bool {
        self.exec.stop.is_cancelled()
    }
}

impl Told<'_> {
    /// `14/23 evicted · waits for PDB shop/cart (0 allowed, needs 3 has 3, since 2m)`
    fn message(&self, now: Stamp) -> String {
        let states = || self.steps.iter().filter_map(|i| self.action.steps.get(*i)).map(|s| s.state);
        let gone = states().filter(|s| *s == StepState::Verified).count();
        let going = states().filter(|s| *s == StepState::Accepted).count();
        let others = states().filter(|s| *s == StepState::Skipped).count();
        let mut said = vec![format!("{gone}/{} evicted", self.steps.len())];
        if others > 0 {
            said.push(format!("{others} gone already or left alone"));
        }
        if self.action.paused {
            said.push("paused".into());
        }
        if going > 0 {
            said.push(format!("{going} terminating"));
        }
        for ((namespace, name), (numbers, since)) in &self.waits {
            let since = age(now.since(*since));
            said.push(format!("waits for PDB {namespace}/{name} ({numbers}, since {since})"));
        }
        said.extend(self.troubles.iter().map(|(place, why)| format!("{place}: {why}")));
        said.join(" · ")
    }
}

/// Runs the evictions among `range` of the plan's steps; the outcome, and how it ended in words.
pub(super) async fn run(
    exec: &Executor,
    action: &mut ActionView,
    range: Range<usize>,
    control: &Control,
    settle_for: Option<Duration>,
) -> (Outcome, String) {
    let plan = action.plan.clone();
    let (options, single) = match &plan.intent.act {
        Act::Drain(options) => (options.clone(), None),
        Act::Evict(options) => (DrainOptions::default(), Some(options)),
        // as failover plans it
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
    let limit = match single {
        Some(_) => Some(settle_for.unwrap_or_else(|| patience(&evict))),
        None => (options.timeout > 0).then(|| Duration::from_secs(options.timeout)),
    };
    let mut places: BTreeMap<Place, Vec<node::Item>> = BTreeMap::new();
    // the rest of an action is these very pods
    let whole = matches!(plan.intent.act, Act::Drain(_) | Act::Failover { .. });
    let mut nodes = BTreeMap::new();
    if whole {
        let cordoned = plan.steps.iter().filter(|s| s.what == StepKind::Cordon).map(|s| &s.on);
        for node in plan.intent.targets.iter().chain(cordoned).filter(|o| o.kind == Kind::Node) {
            places.entry(Place::Node(node.name.clone())).or_default();
            nodes.insert(node.name.clone(), node.uid.clone());
        }
    }
    for (i, step) in &steps {
        let node = plan.pods.iter().find(|p| p.pod.uid == step.on.uid).map(|p| p.node.clone());
        let place = match node {
            Some(node) if single.is_none() && !node.is_empty() => Place::Node(node),
            _ => {
                let others = steps.iter().filter(|(_, s)| s.on.namespace == step.on.namespace).count();
                let only = (others == 1).then(|| step.on.name.clone());
                Place::Namespace(step.on.namespace.clone(), only)
            }
        };
        places.entry(place).or_default().push(node::Item::new(*i, (*step).clone()));
    }
    let owners = plan.pods.iter().filter(|p| p.fate == Fate::Skip && p.owner.starts_with("DaemonSet/"));
    let board = Board {
        exec,
        control,
        evict,
        deadline: limit,
        judges_late: whole && options.pod_selector.is_none(),
        pdbs: plan.pdbs.clone(),
        empties: whole,
        nodes,
        not_ready: plan.not_ready.iter().cloned().collect(),
        halt: CancellationToken::new(),
        evicted: AtomicUsize::new(0),
        evictions: steps.len(),
        confirmed: plan.steps.iter().filter(|s| s.is_eviction()).map(|s| s.on.namespace.clone()).collect(),
        planned: plan.pods.iter().map(|p| p.pod.uid.clone()).collect(),
        daemonsets: owners.map(|p| (p.pod.namespace.clone(), p.owner.clone())).collect(),
        told: Mutex::new(Told {
            action,
            steps: range.collect(),
            waits: BTreeMap::new(),
            troubles: BTreeMap::new(),
            dirty: false,
        }),
        options,
    };
    let at_once = if single.is_some() { usize::MAX } else { usize::from(board.options.nodes_at_once.max(1)) };
    let mut queue: VecDeque<_> = places.into_iter().collect();
    let mut running = FuturesUnordered::new();
    let mut endings = Vec::new();
    loop {
        while running.len() < at_once
            && let Some((place, items)) = queue.pop_front()
        {
            running.push(node::empty(&board, place, items));
        }
        match running.next().await {
            Some(ending) => endings.push(ending),
            None => break,
        }
    }
    drop(running);
    board.tell().await;
    let told = board.told.into_inner().unwrap_or_else(PoisonError::into_inner);
    conclude(exec, control, &told, endings, board.halt.is_cancelled())
}

/// What continues the same drain, from the kubectl command that it is.
fn again(kubectl: &str) -> String {
    let words = kubectl.strip_prefix("kubectl ");
    words.map_or_else(|| kubectl.to_owned(), |words| format!("pilothouse {words}"))
}

/// What can be done about a drain that stopped by itself.
fn ways_on(plan: &Plan, uncordoned: bool, not_ready: &[&str]) -> Vec<String> {
    let mut ways = Vec::new();
    if uncordoned {
        ways.push(format!("to cordon it again and continue the drain: {}", again(&plan.kubectl)));
    } else if !not_ready.is_empty() {
        // the same way to the cluster
        let way = plan.kubectl.split_once(" drain ").map_or("kubectl", |(way, _)| way);
        let off = again(&format!("{way} out-of-service {}", not_ready.join(" ")));
        ways.push(format!("if the machine is really off: {off}"));
        ways.push(format!("to continue the drain although the node is not ready: {}", again(&plan.kubectl)));
    } else {
        return ways;
    }
    ways.push("to leave it at that, nothing needs to be done".into());
    ways
}

/// `halted`: the drain was undermined.
fn conclude(
    exec: &Executor,
    control: &Control,
    told: &Told<'_>,
    endings: Vec<Ending>,
    halted: bool,
) -> (Outcome, String) {
    let (mut failed, mut unknown, mut unseen) = (Vec::new(), Vec::new(), Vec::new());
    let uncordoned = endings.iter().any(|ending| ending.uncordoned);
    let not_ready: Vec<&str> = endings.iter().filter_map(|ending| ending.not_ready.as_deref()).collect();
    let ways = ways_on(&told.action.plan, uncordoned, &not_ready);
    for ending in endings {
        failed.extend(ending.failed);
        unknown.extend(ending.unknown);
        unseen.extend(ending.unseen);
    }
    let states = || told.steps.iter().filter_map(|i| told.action.steps.get(*i)).map(|s| s.state);
    let gone = states().filter(|s| *s == StepState::Verified).count();
    let before = states().filter(|s| *s == StepState::Skipped).count();
    let mut said = vec![format!("{gone} of {} pods evicted", told.steps.len())];
    let stopped = exec.stop.is_cancelled() || control.is_cancelled();
    if before > 0 && !stopped && !halted {
        said.push(format!("{before} left by themselves or were not waited for"));
    }
    if stopped {
        let going = states().filter(|s| *s == StepState::Accepted).count();
        let left = told.steps.len() - gone - going;
        let why = if exec.stop.is_cancelled() { "interrupted" } else { "cancelled" };
        said.push(format!("{why}: {going} still terminating, {left} not evicted"));
    }
    if halted && !stopped {
        let going = states().filter(|s| *s == StepState::Accepted).count();
        let left = told.steps.len().saturating_sub(gone + going);
        said.push(format!("{going} still terminating, {left} not evicted"));
    }
    said.extend(grouped(&failed));
    said.extend(grouped(&unknown));
    said.extend(grouped(&unseen));
    said.extend(ways);
    let outcome = match (unknown.is_empty(), stopped, failed.is_empty()) {
        (false, ..) => Outcome::Unknown,
        (true, true, _) => Outcome::Cancelled,
        (true, false, false) => Outcome::Failed,
        (true, false, true) => Outcome::Done,
    };
    (outcome, said.join("; "))
}

/// `REASON: a, b, c` for each reason once.
fn grouped(what: &[(String, String)]) -> Vec<String> {
    let mut by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (why, who) in what {
        by.entry(why).or_default().push(who);
    }
    let names = |who: Vec<&str>| {
        let more = who.len().saturating_sub(5);
        let first = who.into_iter().take(5).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{first} and {more} more") } else { first }
    };
    by.into_iter().map(|(why, who)| format!("{}: {why}", names(who))).collect()
}
