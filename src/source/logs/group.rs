//! Groups errors with the same fingerprint: their number, their rate and their writers.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::{ErrorGroup, Level};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::templates::Group as Template;
use pilothouse_core::logs::{Hashing, Lookup};

use super::store::{LogLine, Origin};

/// The maximum number of groups. The groups without new lines for the longest time are removed first.
const GROUPS: usize = 1000;
/// The number of groups that are removed at once, so that the quietest are seldom searched for.
const FORGOTTEN: usize = 100;
/// The minimum period of a rate, in milliseconds. A rate over a shorter period depends too much on chance.
const SHORTEST_MS: u64 = 10_000;
/// The length of a step in milliseconds. Rates are counted in steps.
const STEP_MS: i64 = 5_000;
/// The number of steps of a rate, which is one minute.
const STEPS: i64 = 12;
/// The maximum number of groups that are published.
const TOLD: usize = 200;
/// The number of minutes in a trend.
const MINUTES: i64 = 30;
/// The maximum number of distinct pods that are counted exactly.
const PODS: usize = 2000;
const NAMES: usize = 8;
const NODES: usize = 100;
const SAMPLE: usize = 2048;

#[derive(Debug)]
struct Group {
    template: Name,
    level: Level,
    count: u64,
    /// The number of lines by minute since 1970, in order.
    minutes: VecDeque<(i64, u32)>,
    /// The number of lines in the last minute, by step since 1970, in order.
    steps: VecDeque<(i64, u32)>,
    first: Stamp,
    /// Whether the first line is the oldest one of its log.
    or_earlier: bool,
    last: Stamp,
    workloads: BTreeSet<Name>,
    pods: HashSet<Name, Hashing>,
    versions: BTreeSet<Name>,
    nodes: BTreeSet<Name>,
    images: BTreeSet<Name>,
    sample: String,
}

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_print: Lookup<Name, Group>,
}

/// Counts a line in its period, and forgets the periods that are more than `most` before the newest one. A late line
/// counts in the period of its timestamp.
fn count(periods: &mut VecDeque<(i64, u32)>, period: i64, most: i64) {
    if let Some((_, lines)) = periods.back_mut().filter(|(newest, _)| *newest == period) {
        *lines += 1;
        return;
    }
    let place = periods.partition_point(|(held, _)| *held < period);
    match periods.get_mut(place).filter(|(held, _)| *held == period) {
        Some((_, lines)) => *lines += 1,
        None => periods.insert(place, (period, 1)),
    }
    while periods.front().zip(periods.back()).is_some_and(|((a, _), (b, _))| b - a > most) {
        periods.pop_front();
    }
}

fn minute(at: Stamp) -> i64 {
    at.0.div_euclid(60_000)
}

impl Group {
    /// A group without lines, whose first line is this one.
    fn new(line: &LogLine, template: &Template, oldest: bool) -> Self {
        Self {
            template: template.template.clone(),
            level: line.level,
            count: 0,
            minutes: VecDeque::new(),
            steps: VecDeque::new(),
            first: line.at,
            or_earlier: oldest,
            last: line.at,
            workloads: BTreeSet::new(),
            pods: HashSet::default(),
            versions: BTreeSet::new(),
            nodes: BTreeSet::new(),
            images: BTreeSet::new(),
            sample: String::new(),
        }
    }

    /// Returns the number of lines per minute.
    fn per_minute(&self, now: Stamp) -> f64 {
        let this = now.0.div_euclid(STEP_MS);
        let recent = self.steps.iter().filter(|(step, _)| (this - STEPS + 1..=this).contains(step));
        let lines: u32 = recent.map(|(_, lines)| lines).sum();
        let passed = (STEPS - 1) * STEP_MS + now.0.rem_euclid(STEP_MS);
        let passed = now.since(self.first).min(passed.unsigned_abs()).max(SHORTEST_MS);
        f64::from(lines) * 60_000.0 / passed as f64
    }
}

impl Groups {
    pub(super) fn is_empty(&self) -> bool {
        self.by_print.is_empty()
    }

    /// Adds a line of the group with this template. `oldest`: no older line of its log was read.
    pub(super) fn add(&mut self, line: &LogLine, template: &Template, origin: &Origin, oldest: bool) {
        let print = &template.fingerprint;
        let group = if let Some(group) = self.by_print.get_mut(print) {
            group
        } else {
            if self.by_print.len() >= GROUPS {
                self.forget();
            }
            self.by_print.entry(print.clone()).or_insert_with(|| Group::new(line, template, oldest))
        };
        group.count += 1;
        // it becomes more general
        if group.template != template.template {
            group.template = template.template.clone();
        }
        group.level = group.level.max(line.level);
        if line.at < group.first {
            (group.first, group.or_earlier) = (line.at, oldest);
        }
        if line.at >= group.last {
            group.last = line.at;
            group.sample.clear();
            group.sample.push_str(&text::cap(&line.text, SAMPLE));
        }
        count(&mut group.steps, line.at.0.div_euclid(STEP_MS), STEPS);
        count(&mut group.minutes, minute(line.at), MINUTES);
        if group.pods.len() < PODS && !line.pod.is_empty() && !group.pods.contains(&line.pod) {
            group.pods.insert(line.pod.clone());
        }
        for (set, name, most) in [
            (&mut group.workloads, &origin.workload, NAMES),
            (&mut group.versions, &origin.version, NAMES),
            (&mut group.nodes, &origin.node, NODES),
            (&mut group.images, &origin.image, NAMES),
        ] {
            if !name.is_empty() && set.len() < most && !set.contains(name) {
                set.insert(name.clone());
            }
        }
    }

    /// Removes the groups without new lines for the longest time.
    fn forget(&mut self) {
        let mut times: Vec<Stamp> = self.by_print.values().map(|group| group.last).collect();
        let place = FORGOTTEN.min(times.len()).saturating_sub(1);
        let (_, limit, _) = times.select_nth_unstable(place);
        let (limit, mut left) = (*limit, FORGOTTEN);
        self.by_print.retain(|_, group| {
            let goes = left > 0 && group.last <= limit;
            left -= usize::from(goes);
            !goes
        });
    }

    /// Returns the groups to publish, the busiest of the last minutes first.
    pub(super) fn view(&mut self, now: Stamp) -> Arc<[Arc<ErrorGroup>]> {
        let this = minute(now);
        let mut rows: Vec<Arc<ErrorGroup>> = self
            .by_print
            .iter()
            .map(|(print, g)| {
                let lines =
                    |m: i64| g.minutes.iter().find(|(held, _)| *held == m).map_or(0, |(_, lines)| *lines);
                let trend: Vec<u32> = (this - MINUTES + 1..=this).map(lines).collect();
                let mut pods: Vec<Name> = g.pods.iter().cloned().collect();
                pods.sort_unstable();
                pods.truncate(NAMES);
                Arc::new(ErrorGroup {
                    fingerprint: print.clone(),
                    template: g.template.clone(),
                    level: g.level,
                    count: g.count,
                    per_minute: g.per_minute(now),
                    trend: trend.into(),
                    first: g.first,
                    or_earlier: g.or_earlier,
                    last: g.last,
                    workloads: g.workloads.iter().cloned().collect(),
                    pod_count: u32::try_from(g.pods.len()).unwrap_or(u32::MAX),
                    pods: pods.into(),
                    versions: g.versions.iter().cloned().collect(),
                    nodes: g.nodes.iter().cloned().collect(),
                    images: g.images.iter().cloned().collect(),
                    sample: Name::from(g.sample.as_str()),
                })
            })
            .collect();
        rows.sort_by(|a, b| {
            b.per_minute
                .total_cmp(&a.per_minute)
                .then(b.last.cmp(&a.last))
                .then(a.fingerprint.cmp(&b.fingerprint))
        });
        rows.truncate(TOLD);
        rows.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilothouse_core::logs::fingerprint;
    use pilothouse_core::logs::message::subject;

    fn template(print: &str) -> Template {
        Template { fingerprint: print.into(), template: Name::default() }
    }

    #[test]
    fn one_error_of_many_pods_is_one_group() {
        let mut groups = Groups::default();
        let now = Stamp(10 * 60_000 + 30_000);
        for i in 0..6 {
            let text = format!(r#"{{"level":"error","msg":"timeout after {i}ms","id":{i}}}"#);
            let masked = fingerprint::mask(&subject(&text));
            let template = Template {
                fingerprint: masked.fingerprint.as_str().into(),
                template: masked.template.as_str().into(),
            };
            let line = LogLine {
                at: Stamp(now.0 - i * 60_000),
                pod: Name::from(format!("n/p{}", i % 3)),
                level: Level::Error,
                text,
                ..LogLine::default()
            };
            let node = Name::from(format!("node-{}", i % 2));
            let origin = Origin { workload: "n/w".into(), version: "v1".into(), node, ..Origin::default() };
            groups.add(&line, &template, &origin, false);
        }
        let view = groups.view(now);
        assert_eq!(view.len(), 1);
        let group = &view[0];
        assert_eq!(*group.nodes, ["node-0", "node-1"].map(Name::from));
        assert_eq!((group.count, group.pod_count, group.template.as_str()), (6, 3, "timeout after <dur>"));
        assert_eq!(group.trend.iter().rev().take(6).copied().collect::<Vec<_>>(), [1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let mut groups = Groups::default();
        let mut at = Stamp(1_000_000_000);
        let mut run = |secs: i64, each: i64| {
            for _ in 0..secs {
                at = at.plus_secs(1);
                for _ in 0..each {
                    let line = LogLine { at, ..LogLine::default() };
                    groups.add(&line, &template("f"), &Origin::default(), false);
                }
            }
            let told = groups.view(at);
            ((told[0].per_minute / 10.0).round() * 10.0, told[0].has_stopped(at))
        };
        assert_eq!(run(10, 2), (120.0, false), "young: as many as there were so far, by the minute");
        assert_eq!(run(120, 2), (120.0, false));
        assert_eq!(run(60, 1), (60.0, false), "what was before the last minute does not count");
        let (rate, stopped) = run(30, 0);
        assert!(rate < 40.0 && !stopped, "{rate}");
        assert_eq!(run(31, 0), (0.0, true));
        assert!(!run(1, 1).1);
    }

    #[test]
    fn what_comes_seldom_has_not_stopped_at_once() {
        let group =
            |secs: i64, count| ErrorGroup { count, last: Stamp(secs * 1000), ..ErrorGroup::default() };
        for (group, quiet, stopped) in
            [(group(600, 6), 300, false), (group(600, 6), 301, true), (group(600, 61), 61, true)]
        {
            assert_eq!(group.has_stopped(group.last.plus_secs(quiet)), stopped, "{quiet} s");
        }
    }

    #[test]
    fn the_number_of_groups_is_bounded() {
        let mut groups = Groups::default();
        for i in 0..(GROUPS as i64 + 50) {
            let line = LogLine { at: Stamp(i), ..LogLine::default() };
            groups.add(&line, &template(&i.to_string()), &Origin::default(), false);
        }
        let held = groups.by_print.len();
        assert!((GROUPS - FORGOTTEN..=GROUPS).contains(&held), "{held}");
        let oldest = groups.by_print.values().map(|group| group.last.0).min();
        assert_eq!(oldest, Some(FORGOTTEN as i64), "the quietest are gone");
        assert_eq!(groups.view(Stamp(0)).len(), TOLD);
    }
}
