//! One refresh: which presets the server has data for, which queries are sent, and what is kept of the answers until a
//! query's next turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::preset::{Measure, Preset, Query, filled, only_current, wanted};
use pilothouse_core::domain::settings::PrometheusSettings;
use pilothouse_core::domain::traffic::{ServiceTraffic, each_once};
use pilothouse_core::facts::intern::Names;
use pilothouse_core::policy::measured::{self, Reading};
use tokio::time::Instant;

use super::client::{Queries, Vector};
use crate::source::server::ServerError;

/// The most queries of one refresh, over all presets and objectives.
pub(super) const MOST_QUERIES: usize = 15;
/// The most queries at the same time.
const AT_ONCE: usize = 4;
/// How often to check which presets have data.
const DETECT_EVERY: Duration = Duration::from_secs(60);
/// The most presets that one query detects: it should fit in a URL.
const IN_ONE_QUERY: usize = 7;
/// How long an answer is shown if its query has no turn.
const KEEP: Duration = Duration::from_secs(300);
/// Prometheus returns the newest value of a series for up to this time. A rate over a longer window needs an extra
/// condition to end then too.
const LOOKBACK_SECS: u32 = 300;
/// The number of samples in five minutes from which on a series always has a value that is at most five minutes old.
const OFTEN: f64 = 3.0;
/// The most different warnings of a server that are shown.
const MOST_WARNINGS: usize = 3;

/// A preset that the server has data for.
struct Found {
    preset: Preset,
    window_secs: u32,
    scrape_secs: u32,
    /// Whether a rate is restricted to series with a current value.
    only_current: bool,
}

impl Found {
    /// The query for all services.
    fn promql(&self, query: &Query) -> String {
        if !self.only_current {
            return filled(query, self.window_secs, "");
        }
        let promql = only_current(&query.promql);
        filled(&Query { measure: query.measure, promql }, self.window_secs, "")
    }
}

/// The answer to a query, with the time of the query.
struct Kept {
    reading: Reading,
    at: Instant,
}

/// What is known between two refreshes.
pub(super) struct Refresh {
    wanted: Vec<Preset>,
    window_secs: u32,
    found: Vec<Found>,
    detected: Option<Instant>,
    kept: HashMap<(Name, Measure), Kept>,
    /// Where the next turn begins: of the essential queries, and of the others.
    turns: [usize; 2],
    names: Names,
}

/// What a refresh gave.
pub(super) struct Refreshed {
    pub services: Vec<Arc<ServiceTraffic>>,
    /// What the user should know about the numbers.
    pub notes: Vec<String>,
}

/// Returns the interval of the scrapes in seconds.
fn scrape(samples_in_5m: f64) -> u32 {
    (300.0 / samples_in_5m.max(1.0)).ceil() as u32
}

/// Returns the window: at least four scrape intervals, and at least the configured value.
fn window(samples_in_5m: f64, configured: u32) -> u32 {
    configured.max(scrape(samples_in_5m).saturating_mul(4))
}

/// Returns a query for the number of samples in five minutes of each preset's counter, of the series with the most
/// samples. It shows both whether the metric exists and its scrape interval. A sample without the label `preset` is of
/// the first preset.
fn samples_query(presets: &[Preset]) -> String {
    let of = |(at, preset): (usize, &Preset)| {
        let samples = format!("max(count_over_time({}[5m]))", preset.counter);
        match at {
            0 => samples,
            _ => format!("label_replace({samples}, \"preset\", \"{}\", \"\", \"\")", preset.name),
        }
    };
    presets.iter().enumerate().map(of).collect::<Vec<_>>().join(" or ")
}

/// The number of samples in five minutes of each preset that the server has data for.
type Samples = HashMap<Name, f64>;

/// Asks which presets the server has data for, and hands each answer to `heard`.
async fn samples<C: Queries>(
    presets: &[Preset],
    client: &C,
    limit: Duration,
    mut heard: impl FnMut(&Vector),
) -> Result<Samples, ServerError> {
    let asked = presets.chunks(IN_ONE_QUERY).map(async |some| {
        let answer = client.query(&samples_query(some), limit).await?;
        Ok::<_, ServerError>((some, answer))
    });
    let mut samples = Samples::new();
    for answered in futures::future::join_all(asked).await {
        let (some, answer) = answered?;
        heard(&answer);
        for (at, preset) in some.iter().enumerate() {
            let is_of = |label: &str| label == preset.name.as_str() || at == 0 && label.is_empty();
            let of = answer.samples.iter().find(|sample| is_of(sample.label("preset")));
            if let Some(count) = of.and_then(|sample| sample.value).filter(|count| *count >= 1.0) {
                samples.insert(preset.name.clone(), count);
            }
        }
    }
    Ok(samples)
}

/// Returns `most` elements of the list, beginning where the last turn ended.
fn turn<T: Copy>(list: &[T], most: usize, begin: &mut usize) -> Vec<T> {
    let count = list.len().min(most);
    let taken = list.iter().cycle().skip(*begin % list.len().max(1)).take(count).copied().collect();
    *begin = if count < list.len() { (*begin + count) % list.len() } else { 0 };
    taken
}

impl Refresh {
    pub(super) fn new(settings: &PrometheusSettings) -> Self {
        Self {
            wanted: wanted(&settings.presets, &settings.own_presets),
            window_secs: settings.window_secs,
            found: Vec::new(),
            detected: None,
            kept: HashMap::new(),
            turns: [0, 0],
            names: Names::default(),
        }
    }

    /// Returns the presets that the server has data for, in the order of preference.
    pub(super) fn found(&self) -> Vec<&Preset> {
        self.found.iter().map(|found| &found.preset).collect()
    }

    /// Returns the first presets that the server has data for, with those of their queries that `written` writes.
    pub(super) fn over_time(
        &self,
        most: usize,
        written: impl Fn(&Preset, &Query, &str) -> Option<String>,
    ) -> Vec<(Preset, Vec<(Measure, String)>)> {
        let of = |found: &Found| {
            let query =
                |query: &Query| Some((query.measure, written(&found.preset, query, &found.promql(query))?));
            (found.preset.clone(), found.preset.queries.iter().filter_map(query).collect())
        };
        self.found.iter().take(most).map(of).collect()
    }

    /// Sends the queries that are due, `reserved` fewer than [`MOST_QUERIES`] at most. If one of them fails, nothing of
    /// this refresh is used, and the presets are looked for again next time.
    pub(super) async fn run<C: Queries>(
        &mut self,
        client: &C,
        limit: Duration,
        reserved: usize,
    ) -> Result<Refreshed, ServerError> {
        let answered = self.ask(client, limit, MOST_QUERIES.saturating_sub(reserved)).await;
        if answered.is_err() {
            self.detected = None;
        }
        let (notes, now) = answered?;
        self.kept.retain(|_, kept| now.duration_since(kept.at) < KEEP);
        let of = |found: &Found| {
            let kept = found.preset.queries.iter().filter_map(|query| {
                self.kept.get(&(found.preset.name.clone(), query.measure)).map(|kept| &kept.reading)
            });
            measured::services(&found.preset, found.window_secs, found.scrape_secs, kept)
        };
        let services = each_once(self.found.iter().flat_map(of));
        Ok(Refreshed { services, notes })
    }

    async fn ask<C: Queries>(
        &mut self,
        client: &C,
        limit: Duration,
        mut budget: usize,
    ) -> Result<(Vec<String>, Instant), ServerError> {
        let now = Instant::now();
        let mut said = Said::default();
        if self.found.is_empty() || self.detected.is_none_or(|at| now.duration_since(at) >= DETECT_EVERY) {
            budget = budget.saturating_sub(self.wanted.chunks(IN_ONE_QUERY).len());
            let samples = samples(&self.wanted, client, limit, |answer| said.hear(answer)).await?;
            self.detect(&samples);
            self.detected = Some(now);
        }
        let due = self.due(budget);
        for some in due.chunks(AT_ONCE) {
            let asked = some.iter().map(|(_, _, promql)| client.query(promql, limit));
            for ((preset, measure, _), answer) in some.iter().zip(futures::future::join_all(asked).await) {
                let answer = answer?;
                said.hear(&answer);
                let Some(found) = self.found.get(*preset) else { continue };
                let reading = measured::read(&found.preset, *measure, &answer.samples, &mut self.names);
                if measure.is_essential() && reading.is_nameless() {
                    said.nameless.push(nameless(&found.preset, reading.nameless));
                }
                self.kept.insert((found.preset.name.clone(), *measure), Kept { reading, at: now });
            }
        }
        if self.found.is_empty() {
            let names: Vec<&str> = self.wanted.iter().map(|preset| preset.name.as_str()).collect();
            said.nameless.push(format!("no known traffic metrics ({})", names.join(", ")));
        }
        Ok((said.notes(), now))
    }

    /// Returns true if the server has data for a preset.
    pub(super) async fn has_traffic<C: Queries>(self, client: &C, limit: Duration) -> bool {
        samples(&self.wanted, client, limit, |_| {}).await.is_ok_and(|samples| !samples.is_empty())
    }

    /// Keeps the presets that the server has data for, with the rate window that each needs.
    fn detect(&mut self, samples: &Samples) {
        let found = |preset: &Preset| {
            let samples = *samples.get(&preset.name)?;
            let window_secs = window(samples, self.window_secs);
            let only_current = window_secs > LOOKBACK_SECS && samples >= OFTEN;
            let preset = preset.clone();
            Some(Found { preset, window_secs, scrape_secs: scrape(samples), only_current })
        };
        self.found = self.wanted.iter().filter_map(found).collect();
        let found = &self.found;
        self.kept.retain(|(name, _), _| found.iter().any(|one| one.preset.name == *name));
    }

    /// Returns the queries of this refresh: the essential ones, and of the others those whose turn it is.
    fn due(&mut self, budget: usize) -> Vec<(usize, Measure, String)> {
        let all = self.found.iter().enumerate().flat_map(|(at, found)| {
            found
                .preset
                .queries
                .iter()
                .enumerate()
                .map(move |(query, of)| (at, query, of.measure.is_essential()))
        });
        let (essential, others): (Vec<_>, Vec<_>) = all.partition(|(_, _, essential)| *essential);
        let [first, second] = &mut self.turns;
        let mut due = turn(&essential, budget, first);
        due.extend(turn(&others, budget.saturating_sub(due.len()), second));
        let promql = |(at, query, _): (usize, usize, bool)| {
            let found = self.found.get(at)?;
            let query = found.preset.queries.get(query)?;
            Some((at, query.measure, found.promql(query)))
        };
        due.into_iter().filter_map(promql).collect()
    }
}

/// Describes series that do not name a service, as after a label was renamed.
fn nameless(preset: &Preset, series: usize) -> String {
    let mut labels: Vec<&str> = preset.service.iter().map(|reader| reader.label.as_str()).collect();
    labels.dedup();
    format!(
        "{}: none of its {series} series names a service (label {}); if the label has another name, write a preset of your own: pilothouse config presets",
        preset.name,
        labels.join(", ")
    )
}

/// What the server said about its answers.
#[derive(Default)]
struct Said {
    warnings: Vec<String>,
    infos: Vec<String>,
    nameless: Vec<String>,
}

impl Said {
    fn hear(&mut self, answer: &Vector) {
        for (heard, into) in [(&answer.warnings, &mut self.warnings), (&answer.infos, &mut self.infos)] {
            for one in heard {
                if !into.contains(one) && into.len() < MOST_WARNINGS {
                    into.push(one.clone());
                }
            }
        }
    }

    fn notes(self) -> Vec<String> {
        let mut notes = self.nameless;
        if !self.warnings.is_empty() {
            notes.insert(0, format!("partial: {}", self.warnings.join("; ")));
        }
        if !self.infos.is_empty() {
            notes.push(format!("the server notes: {}", self.infos.join("; ")));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_four_scrapes_at_least() {
        assert_eq!(window(60.0, 60), 60, "every 5 s");
        assert_eq!(window(10.0, 60), 120, "every 30 s");
        assert_eq!(window(1.0, 60), 1200, "every 300 s, the slowest that is detected");
        assert_eq!(window(60.0, 3600), 3600, "the longest that can be configured");
    }

    /// A proxy may permit GET and refuse POST, as a role with `get services/proxy` does.
    #[test]
    fn the_queries_of_the_built_in_presets_are_sent_as_get() {
        let presets = wanted(&[], &[]);
        let found = |preset: &Preset| Found {
            preset: preset.clone(),
            window_secs: 3_600,
            scrape_secs: 15,
            only_current: true,
        };
        let found: Vec<Found> = presets.iter().map(found).collect();
        let queries = found.iter().flat_map(|one| one.preset.queries.iter().map(|query| one.promql(query)));
        for query in queries.chain(presets.chunks(IN_ONE_QUERY).map(samples_query)) {
            let length = crate::wire::client::escape(&query).len();
            assert!(length + 100 < crate::source::server::IN_BODY, "{length}: {query}");
        }
    }

    #[test]
    fn each_element_has_its_turn() {
        let mut begin = 0;
        let list = [1, 2, 3, 4, 5];
        let turns: Vec<Vec<i32>> = (0..4).map(|_| turn(&list, 2, &mut begin)).collect();
        assert_eq!(turns, [[1, 2], [3, 4], [5, 1], [2, 3]]);
        assert_eq!(turn(&list, 9, &mut begin).len(), 5, "none twice");
        assert!(turn::<i32>(&[], 2, &mut begin).is_empty());
        assert!(turn(&list, 0, &mut begin).is_empty());
    }
}
