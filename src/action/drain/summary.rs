//! Describes how a drain ended: what was evicted, what was not and why, and what to do about it.

use std::collections::BTreeMap;

use pilothouse_core::domain::plan::Plan;
use pilothouse_core::facts::world::{Outcome, StepState};

use super::progress::DrainProgress;

/// The failures at one node. Each entry has a reason and the pod or node.
#[derive(Debug, Default)]
pub(super) struct DrainFailures {
    pub failed: Vec<(String, String)>,
    pub unknown: Vec<(String, String)>,
    /// The nodes that could not be read at the end.
    pub unread: Vec<(String, String)>,
    /// Whether another client uncordoned the node.
    pub uncordoned: bool,
    /// The node, if it is no longer ready.
    pub not_ready: Option<String>,
}

/// The reasons why the drain ended early.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoppedBy {
    /// The process received a signal to terminate.
    pub interrupted: bool,
    /// The user canceled the drain.
    pub cancelled: bool,
    /// The drain could not continue at one of the nodes.
    pub halted: bool,
}

/// Returns the command that continues the same drain, from its kubectl command.
fn again(kubectl: &str) -> String {
    let words = kubectl.strip_prefix("kubectl ");
    words.map_or_else(|| kubectl.to_owned(), |words| format!("pilothouse {words}"))
}

/// Returns advice about a drain that stopped by itself.
fn ways_on(plan: &Plan, uncordoned: bool, not_ready: &[&str]) -> Vec<String> {
    let mut ways = Vec::new();
    if uncordoned {
        ways.push(format!("to cordon it again and continue the drain: {}", again(&plan.kubectl)));
    } else if !not_ready.is_empty() {
        // the flags that select the cluster are kept
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

/// Returns the outcome of a drain and its message.
pub(super) fn conclude(
    progress: &DrainProgress<'_>,
    failures: Vec<DrainFailures>,
    ended: StoppedBy,
) -> (Outcome, String) {
    let (mut failed, mut unknown, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    let uncordoned = failures.iter().any(|of_node| of_node.uncordoned);
    let not_ready: Vec<&str> = failures.iter().filter_map(|of_node| of_node.not_ready.as_deref()).collect();
    let ways = ways_on(&progress.action.plan, uncordoned, &not_ready);
    for of_node in failures {
        failed.extend(of_node.failed);
        unknown.extend(of_node.unknown);
        unread.extend(of_node.unread);
    }
    let gone = progress.count(StepState::Verified);
    let skipped = progress.count(StepState::Skipped);
    let terminating = progress.count(StepState::Accepted);
    let left = progress.steps.len().saturating_sub(gone + terminating);
    let mut said = vec![format!("{gone} of {} pods evicted", progress.steps.len())];
    let stopped = ended.interrupted || ended.cancelled;
    if skipped > 0 && !stopped && !ended.halted {
        said.push(format!("{skipped} left by themselves or were not waited for"));
    }
    if stopped {
        let why = if ended.interrupted { "interrupted" } else { "cancelled" };
        said.push(format!("{why}: {terminating} still terminating, {left} not evicted"));
    } else if ended.halted {
        said.push(format!("{terminating} still terminating, {left} not evicted"));
    }
    said.extend(grouped(&failed));
    said.extend(grouped(&unknown));
    said.extend(grouped(&unread));
    said.extend(ways);
    let outcome = match (unknown.is_empty(), stopped, failed.is_empty()) {
        (false, ..) => Outcome::Unknown,
        (true, true, _) => Outcome::Cancelled,
        (true, false, false) => Outcome::Failed,
        (true, false, true) => Outcome::Done,
    };
    (outcome, said.join("; "))
}

/// Formats `a, b, c: REASON`, with each reason once.
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
