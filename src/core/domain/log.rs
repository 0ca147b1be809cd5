//! What the log store sends to the shared state: groups of error lines, but not the lines.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::time::Stamp;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// What a line that stands in a log, but was not written by it, says about this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mark {
    /// Lines are missing here, or can be missing.
    Gap,
    /// Why the log has no lines.
    Note,
}

/// Error lines with the same fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorGroup {
    /// Hash of the template, in hex.
    pub fingerprint: Name,
    /// The line with its numbers, ids and addresses masked.
    pub template: Name,
    pub level: Level,
    pub count: u64,
    /// Lines in the last 60 s. For a group that began within them: the rate per minute since then.
    pub per_minute: f64,
    /// Lines in each of the last minutes, oldest first.
    pub trend: Arc<[u32]>,
    pub first: Stamp,
    /// Whether the first line is the oldest one that was read of its log, so that there can be earlier ones.
    #[serde(default)]
    pub or_earlier: bool,
    pub last: Stamp,
    /// `namespace/workload`.
    pub workloads: Arc<[Name]>,
    /// The number of distinct pods, and the first few of them as `namespace/pod`.
    pub pod_count: u32,
    pub pods: Arc<[Name]>,
    /// Image tags of the pods that wrote the lines.
    pub versions: Arc<[Name]>,
    /// The nodes of these pods, up to 100.
    #[serde(default)]
    pub nodes: Arc<[Name]>,
    /// The images without their tags.
    #[serde(default)]
    pub images: Arc<[Name]>,
    /// One complete line, sanitised and limited in length.
    pub sample: Name,
}

impl ErrorGroup {
    /// True if there was no line for a minute, or for three times the usual interval between lines, up to five minutes.
    pub fn has_stopped(&self, now: Stamp) -> bool {
        let apart = self.last.since(self.first) / self.count.saturating_sub(1).max(1);
        now.since(self.last) > (apart * 3).clamp(60_000, 300_000)
    }

    /// How widely the group is spread: over workloads, then nodes and pods.
    pub fn spread(&self) -> (usize, usize, u32) {
        (self.workloads.len(), self.nodes.len(), self.pod_count)
    }

    /// The zones of the group's nodes. A node's zone is looked up when it is asked for, because a node can be seen after
    /// the lines of its pods.
    pub fn zones(&self, zone_of: impl Fn(&Name) -> Option<Name>) -> Vec<Name> {
        let zones: BTreeSet<Name> = self.nodes.iter().filter_map(zone_of).collect();
        zones.into_iter().collect()
    }

    /// The lines of both: the same error, read by two sources. A pod that both name counts once.
    fn joined(&self, other: &Self) -> Self {
        let newest = if other.last > self.last { other } else { self };
        let both = self.pods.iter().filter(|pod| other.pods.contains(pod)).count();
        Self {
            fingerprint: self.fingerprint.clone(),
            template: self.template.clone(),
            level: self.level.max(other.level),
            count: self.count + other.count,
            per_minute: rate_of_both(self, other),
            trend: added(&self.trend, &other.trend),
            first: self.first.min(other.first),
            or_earlier: match self.first.cmp(&other.first) {
                Ordering::Less => self.or_earlier,
                Ordering::Greater => other.or_earlier,
                Ordering::Equal => self.or_earlier && other.or_earlier,
            },
            last: newest.last,
            workloads: all_of(&self.workloads, &other.workloads),
            pod_count: self
                .pod_count
                .saturating_add(other.pod_count)
                .saturating_sub(u32::try_from(both).unwrap_or(0)),
            pods: all_of(&self.pods, &other.pods),
            versions: all_of(&self.versions, &other.versions),
            nodes: all_of(&self.nodes, &other.nodes),
            images: all_of(&self.images, &other.images),
            sample: newest.sample.clone(),
        }
    }
}

/// The rate of two groups together. The rate of a young group is that since its first line, so groups that began at
/// different times have rates over different periods.
fn rate_of_both(a: &ErrorGroup, b: &ErrorGroup) -> f64 {
    let now = a.last.max(b.last);
    let period = |first: Stamp| now.since(first).clamp(10_000, 60_000) as f64;
    let lines = a.per_minute * period(a.first) + b.per_minute * period(b.first);
    lines / period(a.first.min(b.first))
}

/// Two trends minute by minute: both end with the minute that is now.
fn added(a: &[u32], b: &[u32]) -> Arc<[u32]> {
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let ahead = long.len() - short.len();
    let more = std::iter::repeat_n(&0, ahead).chain(short);
    long.iter().zip(more).map(|(a, b)| a.saturating_add(*b)).collect()
}

/// Each name once, in order.
fn all_of(a: &[Name], b: &[Name]) -> Arc<[Name]> {
    let names: BTreeSet<&Name> = a.iter().chain(b).collect();
    names.into_iter().cloned().collect()
}

/// What one log source has collected, and its groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogSummary {
    /// The source that says it, by the name of its status.
    #[serde(default)]
    pub source: Name,
    pub at: Stamp,
    /// What its logs are of, in the plural: `pods`, `files`.
    #[serde(default)]
    pub unit: Name,
    /// How many of them are followed.
    pub following: u32,
    /// How many could be followed.
    pub candidates: u32,
    pub lines: u64,
    /// The number of lines that were lost before they were counted, because of a rate limit or a full buffer.
    pub dropped: u64,
    /// The number of lines that were counted and grouped, but that the store no longer holds.
    #[serde(default)]
    pub evicted: u64,
    /// The number of times that lines are missing, or can be missing, and nobody knows how many.
    #[serde(default)]
    pub gaps: u64,
    pub groups: Arc<[Arc<ErrorGroup>]>,
}

/// What all log sources have collected: the newest summary of each, and their groups together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logs {
    /// The newest of the summaries' times; zero before the first summary.
    pub at: Stamp,
    pub dropped: u64,
    /// The number of times that lines are missing, or can be missing, and nobody knows how many.
    pub gaps: u64,
    /// Groups with one fingerprint are one group, whoever read their lines.
    pub groups: Arc<[Arc<ErrorGroup>]>,
    /// One summary a source, in the order of the sources' names.
    pub sources: Arc<[Arc<LogSummary>]>,
}

impl Logs {
    /// The same with a newer summary of one source.
    #[must_use]
    pub fn with(&self, summary: LogSummary) -> Self {
        let others = self.sources.iter().filter(|held| held.source != summary.source).cloned();
        let mut sources: Vec<Arc<LogSummary>> = others.collect();
        sources.push(Arc::new(summary));
        sources.sort_by(|a, b| a.source.cmp(&b.source));
        Self {
            at: sources.iter().map(|s| s.at).max().unwrap_or_default(),
            dropped: sources.iter().map(|s| s.dropped).sum(),
            gaps: sources.iter().map(|s| s.gaps).sum(),
            groups: together(&sources),
            sources: sources.into(),
        }
    }

    /// The summary of one source.
    pub fn of(&self, source: &str) -> Option<&Arc<LogSummary>> {
        self.sources.iter().find(|summary| summary.source == source)
    }

    /// Whether any log is followed.
    pub fn is_following(&self) -> bool {
        self.sources.iter().any(|summary| summary.following > 0)
    }
}

/// The groups of several sources, the busiest of the last minute first.
fn together(sources: &[Arc<LogSummary>]) -> Arc<[Arc<ErrorGroup>]> {
    let mut with_groups = sources.iter().filter(|s| !s.groups.is_empty());
    if let (Some(only), None) = (with_groups.next(), with_groups.next()) {
        return only.groups.clone();
    }
    let mut merged: BTreeMap<&Name, Arc<ErrorGroup>> = BTreeMap::new();
    for group in sources.iter().flat_map(|s| s.groups.iter()) {
        match merged.get_mut(&group.fingerprint) {
            Some(held) => *held = Arc::new(held.joined(group)),
            None => drop(merged.insert(&group.fingerprint, group.clone())),
        }
    }
    let mut groups: Vec<Arc<ErrorGroup>> = merged.into_values().collect();
    groups.sort_by(|a, b| {
        b.per_minute
            .total_cmp(&a.per_minute)
            .then(b.last.cmp(&a.last))
            .then(a.fingerprint.cmp(&b.fingerprint))
    });
    groups.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(print: &str, count: u64, last: i64, workload: &str) -> Arc<ErrorGroup> {
        Arc::new(ErrorGroup {
            fingerprint: print.into(),
            count,
            per_minute: count as f64,
            trend: [1, 2].into(),
            first: Stamp(last - 10),
            last: Stamp(last),
            workloads: [workload.into()].into(),
            pod_count: 1,
            pods: [Name::from(format!("{workload}-0"))].into(),
            sample: format!("of {workload}").into(),
            ..ErrorGroup::default()
        })
    }

    fn summary(source: &str, at: i64, groups: Vec<Arc<ErrorGroup>>) -> LogSummary {
        let dropped = groups.len() as u64;
        LogSummary {
            source: source.into(),
            at: Stamp(at),
            dropped,
            groups: groups.into(),
            ..LogSummary::default()
        }
    }

    #[test]
    fn two_sources_stand_side_by_side_and_each_replaces_only_its_own() {
        let logs = Logs::default().with(summary(
            "logs",
            5,
            vec![group("a", 3, 50, "shop/web"), group("b", 9, 40, "shop/web")],
        ));
        let logs = logs.with(summary("file", 7, vec![group("a", 4, 60, "haproxy.log")]));
        assert_eq!((logs.at, logs.dropped, logs.sources.len()), (Stamp(7), 3, 2));
        let told: Vec<_> = logs.groups.iter().map(|g| (g.fingerprint.as_str(), g.count)).collect();
        assert_eq!(told, [("b", 9), ("a", 7)], "one group a fingerprint, the busiest first");
        let both = &logs.groups[1];
        assert_eq!((both.first, both.last, both.sample.as_str()), (Stamp(40), Stamp(60), "of haproxy.log"));
        assert_eq!((&*both.trend, both.per_minute, both.pod_count), (&[2, 4][..], 7.0, 2));
        assert_eq!(*both.workloads, ["haproxy.log", "shop/web"].map(Name::from));
        // the file's errors are over; those of the pods stay
        let logs = logs.with(summary("file", 9, Vec::new()));
        let told: Vec<_> = logs.groups.iter().map(|g| (g.fingerprint.as_str(), g.count)).collect();
        assert_eq!((told, logs.at), (vec![("a", 3), ("b", 9)], Stamp(9)));
    }

    #[test]
    fn trends_of_different_lengths_end_at_the_same_minute() {
        let mut longer = ErrorGroup::clone(&group("a", 1, 1, "x"));
        longer.trend = [5, 6, 7].into();
        let short = group("a", 1, 1, "y");
        assert_eq!(*longer.joined(&short).trend, [5, 7, 9]);
        assert_eq!(*short.joined(&longer).trend, [5, 7, 9]);
    }

    #[test]
    fn a_group_of_more_workloads_and_nodes_is_spread_more_widely() {
        let of = |workloads: &[&str], nodes: &[&str], pods: u32| ErrorGroup {
            workloads: workloads.iter().map(|n| Name::from(*n)).collect(),
            nodes: nodes.iter().map(|n| Name::from(*n)).collect(),
            pod_count: pods,
            ..ErrorGroup::default()
        };
        assert!(of(&["a", "b"], &["n"], 2).spread() > of(&["a"], &["n", "m"], 9).spread());
        assert!(of(&["a"], &["n", "m"], 2).spread() > of(&["a"], &["n"], 9).spread());
        let zone_of = |node: &Name| (*node == "n").then(|| Name::from("eu-1"));
        assert_eq!(of(&[], &["n", "m"], 1).zones(zone_of), [Name::from("eu-1")]);
    }

    #[test]
    fn the_rate_of_two_sources_is_not_that_of_the_younger_one() {
        let of = |first: i64, per_minute: f64| ErrorGroup {
            first: Stamp(first),
            last: Stamp(100_000),
            per_minute,
            ..ErrorGroup::default()
        };
        // 300 lines in a minute, and 15 lines since 15 s ago, which alone are 60 in a minute
        let both = of(0, 300.0).joined(&of(85_000, 60.0));
        assert!((both.per_minute - 315.0).abs() < 0.01, "{}", both.per_minute);
        let old = of(0, 300.0).joined(&of(0, 60.0));
        assert!((old.per_minute - 360.0).abs() < 0.01, "{}", old.per_minute);
    }
}
