//! Rules about the sources of Pilothouse. Missing data must not look healthy.

use std::collections::BTreeMap;

use crate::domain::cause::{Cause, Finding, Severity};
use crate::domain::id::Name;
use crate::domain::source::{Feed, SourceState, SourceStatus};
use crate::domain::time::Stamp;

use super::RuleContext;

/// The sources that all panes depend on.
const VITAL: [&str; 2] = ["nodes", "pods"];

/// A failed request is sent again within seconds. A source that fails for a shorter time than this is not reported.
const PASSING_SECS: u64 = 5;

/// Returns true if the source may recover before a person notices. A denied source does not recover.
fn may_pass(source: &SourceStatus, now: Stamp) -> bool {
    let fails = matches!(source.state, SourceState::Stale { .. } | SourceState::Down { .. });
    fails && !source.lasting && source.failing.is_some_and(|since| now.secs_since(since) < PASSING_SECS)
}

/// Returns true if no vital source has ever answered. There is probably no server, so waiting does not help.
fn is_down(context: &RuleContext<'_, '_>) -> bool {
    let down =
        |name| context.cluster.source(name).is_some_and(|s| matches!(s.state, SourceState::Down { .. }));
    VITAL.into_iter().all(down)
}

/// Returns true if the API server has not answered yet, or no longer answers. Sources that are reached through it are
/// then not at fault.
fn is_silent(context: &RuleContext<'_, '_>) -> bool {
    let silent = |name| {
        context.cluster.source(name).is_none_or(|s| {
            let fails = matches!(s.state, SourceState::Stale { .. } | SourceState::Down { .. });
            fails || s.state == SourceState::Starting
        })
    };
    VITAL.into_iter().all(silent)
}

/// Finds sources that fail. Those with the same reason share one line.
pub(super) fn trouble(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let mut groups: BTreeMap<(String, bool), Vec<&SourceStatus>> = BTreeMap::new();
    let (silent, down) = (is_silent(context), is_down(context));
    let troubled = context
        .cluster
        .sources
        .iter()
        .filter(|s| s.state.is_trouble() && (down || !may_pass(s, context.now)));
    for source in troubled.filter(|s| !(silent && s.feed == Feed::Usage)) {
        let why = source.error.as_ref().map_or(source.state.as_str(), Name::as_str);
        // The line names the sources, so an error does not need to begin with the name of its API.
        let api = source.name.split(' ').next().unwrap_or_default();
        let why = why.strip_prefix(api).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(why).to_owned();
        let denied = source.state == SourceState::Denied;
        groups.entry((if denied { String::new() } else { why }, denied)).or_default().push(source);
    }
    groups
        .into_iter()
        .map(|((why, denied), sources)| {
            let names: Vec<Name> = sources.iter().map(|s| s.name.clone()).collect();
            let has = |vital: &&str| names.iter().any(|name| name == *vital);
            let (all_vital, any_vital) = (VITAL.iter().all(has), VITAL.iter().any(has));
            // The server is at fault, because all vital sources fail.
            let server = &context.cluster.info.server;
            let server = (!server.is_empty() && all_vital).then(|| server.clone());
            let severity = match (any_vital, denied) {
                (true, false) => Severity::Critical,
                (true, true) | (false, false) => Severity::Warning,
                (false, true) => Severity::Info,
            };
            let line = |s: &&SourceStatus| {
                let error = s.error.as_ref().map_or("", |e| e.as_str());
                let request = s.request.as_ref().map_or(String::new(), |r| format!(" ({r})"));
                format!("{}: {} {error}{request}", s.name, s.state.as_str()).into()
            };
            Cause {
                since: sources.iter().filter_map(|s| since(s)).min(),
                evidence: sources.iter().map(line).collect(),
                ..Cause::new(
                    Finding::Source { sources: names, why: why.into(), denied, server },
                    severity,
                    Vec::new(),
                )
            }
        })
        .collect()
}

fn since(source: &SourceStatus) -> Option<Stamp> {
    match source.state {
        SourceState::Stale { since } | SourceState::Down { since } => Some(since),
        _ => None,
    }
}
