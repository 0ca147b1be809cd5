//! Service level objectives: the share of bad requests over each window that a verdict needs.
//!
//! For the objectives of the config, the queries of the preset that measures a Service are sent again with longer
//! windows, for these Services only. Each window is one query, and has its own interval: a share over three days changes
//! slowly, and costs Prometheus the most. The objectives of Sloth and Pyrra are recorded series.

mod own;
mod recorded;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::haproxy::PRESET;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::preset::Preset;
use pilothouse_core::domain::slo::{Good, Measured, Objective, ObjectivesSeen, Ratio};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::ServiceTraffic;
use pilothouse_core::policy::slo::windows;
use tokio::time::Instant;

use self::own::Counts;
use self::recorded::Recorded;
use super::client::Queries;

/// The number of queries for objectives in one refresh, after the first.
const AT_ONCE: usize = 2;
/// The number of queries that run at the same time.
const TOGETHER: usize = 4;
/// A query that took this long is repeated after twenty times as long at the earliest.
const COST: u32 = 20;

/// One query for objectives of the config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Ask {
    /// The name of the preset.
    preset: Name,
    /// Response times, not outcomes, are counted.
    times: bool,
    window_secs: u64,
}

/// Where the numbers of a Service come from.
struct Source {
    /// The name of the preset that measured it last.
    preset: Name,
    /// The namespace and name that its series have.
    named: (Name, Name),
    /// The matchers of its series.
    selector: Name,
}

/// The last answer to a query.
struct Answer {
    asked: Instant,
    took: Duration,
    at: Stamp,
    counts: Result<Counts, String>,
}

/// The objectives and the answers about them.
pub(super) struct Objectives {
    own: Vec<Objective>,
    /// The Services that backends of HAProxies stand for, by the name of the backend.
    proxies: BTreeMap<String, (Name, Name)>,
    /// By the namespace and name of a Service.
    measured_by: HashMap<(Name, Name), Source>,
    answers: HashMap<Ask, Answer>,
    recorded: Recorded,
    began: bool,
    told: bool,
}

/// Returns how often the share over a window is asked for.
fn pace(window_secs: u64) -> Duration {
    Duration::from_secs(match window_secs {
        0..=300 => 0,
        301..=1_800 => 30,
        1_801..=3_600 => 60,
        3_601..=7_200 => 120,
        7_201..=21_600 => 180,
        _ => 300,
    })
}

impl Objectives {
    pub(super) fn new(own: Vec<Objective>, proxies: BTreeMap<String, (Name, Name)>) -> Self {
        Self {
            own,
            proxies,
            measured_by: HashMap::new(),
            answers: HashMap::new(),
            recorded: Recorded::default(),
            began: false,
            told: false,
        }
    }

    /// Returns the most queries of the next refresh, unless it is the first.
    pub(super) fn reserved(&self) -> usize {
        if self.own.is_empty() { self.recorded.due().min(AT_ONCE) } else { AT_ONCE }
    }

    /// Sends the queries that are due, and returns all objectives, or `None` if there are none. The first refresh sends
    /// all queries that it can within `limit`; the others send at most two.
    pub(super) async fn refresh<C: Queries>(
        &mut self,
        client: &C,
        found: &[&Preset],
        services: &[Arc<ServiceTraffic>],
        limit: Duration,
        now: Stamp,
    ) -> Option<ObjectivesSeen> {
        self.find(services);
        let first = !std::mem::replace(&mut self.began, true);
        let used = self.recorded.refresh(client, limit, now).await;
        let most = if first { usize::MAX } else { AT_ONCE.saturating_sub(used) };
        let began = Instant::now();
        for some in self.due(most).chunks(TOGETHER) {
            if first && began.elapsed() >= limit {
                break;
            }
            let asked = some.iter().map(|ask| async {
                let asked = Instant::now();
                let of = self.selectors_of(&ask.preset, ask.times);
                let counts = match found.iter().find(|preset| preset.name == ask.preset) {
                    Some(preset) => own::ask(client, preset, &of, ask.times, ask.window_secs, limit).await,
                    None => Err("its metrics are gone".to_owned()),
                };
                (ask.clone(), Answer { asked, took: asked.elapsed(), at: now, counts })
            });
            for (ask, answer) in futures::future::join_all(asked).await {
                // a failed query leaves the last answer, which counts for a while
                match self.answers.get_mut(&ask) {
                    Some(held) if answer.counts.is_err() && held.counts.is_ok() => {
                        (held.asked, held.took) = (answer.asked, answer.took);
                    }
                    _ => {
                        self.answers.insert(ask, answer);
                    }
                }
            }
        }
        let mut objectives: Vec<Arc<Measured>> =
            self.own.iter().map(|o| Arc::new(self.measured(o))).collect();
        objectives.extend(self.recorded.measured());
        // an empty list is told once, if there were objectives before
        let told = std::mem::replace(&mut self.told, !objectives.is_empty());
        (told || !objectives.is_empty()).then(|| ObjectivesSeen { at: now, objectives: objectives.into() })
    }

    /// Remembers where the numbers of these Services come from.
    fn find(&mut self, services: &[Arc<ServiceTraffic>]) {
        for service in services {
            let key = (service.namespace.clone(), service.name.clone());
            let proxy = self.proxies.iter().find(|(_, of)| service.preset == PRESET && **of == key);
            let named =
                proxy.map_or_else(|| key.clone(), |(backend, _)| (Name::default(), backend.as_str().into()));
            // a name that can be read in several ways is the objective's if one of them is
            for key in service.also.iter().cloned().chain([key]) {
                let is_wanted = |o: &Objective| o.namespace == key.0 && o.service == key.1;
                if self.own.iter().any(is_wanted) {
                    let (preset, selector) = (service.preset.clone(), service.selector.clone());
                    self.measured_by.insert(key, Source { preset, named: named.clone(), selector });
                }
            }
        }
    }

    fn source_of(&self, objective: &Objective) -> Option<&Source> {
        self.measured_by.get(&(objective.namespace.clone(), objective.service.clone()))
    }

    /// Returns the matchers of the Services with objectives that a preset measures.
    fn selectors_of(&self, preset: &Name, times: bool) -> Vec<Name> {
        let of = self.own.iter().filter(|o| is_of_times(o) == times).filter_map(|o| self.source_of(o));
        let mut of: Vec<_> = of.filter(|of| of.preset == *preset).map(|of| of.selector.clone()).collect();
        of.sort();
        of.dedup();
        of
    }

    /// Returns the queries that are due: those that were never sent, then those that waited the longest for their
    /// interval.
    fn due(&self, most: usize) -> Vec<Ask> {
        let mut asks: Vec<Ask> = Vec::new();
        for objective in &self.own {
            let Some(source) = self.source_of(objective) else { continue };
            let times = is_of_times(objective);
            let ask = |window_secs| Ask { preset: source.preset.clone(), times, window_secs };
            asks.extend(windows(objective).into_iter().map(ask));
        }
        asks.sort_by(|a, b| (a.window_secs, a.times, &a.preset).cmp(&(b.window_secs, b.times, &b.preset)));
        asks.dedup();
        let late = |ask: &Ask| match self.answers.get(ask) {
            None => Some(Duration::MAX),
            Some(held) => held.asked.elapsed().checked_sub(pace(ask.window_secs).max(held.took * COST)),
        };
        let mut due: Vec<(Duration, Ask)> =
            asks.into_iter().filter_map(|ask| Some((late(&ask)?, ask))).collect();
        // the sort is stable: of several, the shorter windows come first
        due.sort_by_key(|(late, _)| std::cmp::Reverse(*late));
        due.into_iter().take(most).map(|(_, ask)| ask).collect()
    }

    fn measured(&self, objective: &Objective) -> Measured {
        let Some(source) = self.source_of(objective) else {
            let note = Some("no preset measures requests of it".into());
            return Measured { objective: objective.clone(), ratios: Vec::new(), note };
        };
        let times = is_of_times(objective);
        let (mut ratios, mut note) = (Vec::new(), None);
        for window_secs in windows(objective) {
            let ask = Ask { preset: source.preset.clone(), times, window_secs };
            let Some(answer) = self.answers.get(&ask) else { continue };
            match &answer.counts {
                Ok(counts) => {
                    let (bad, requests, said) = counts.share(&source.named, objective.good, window_secs);
                    ratios.push(Ratio { window_secs, bad, requests, at: answer.at });
                    note = note.or(said);
                }
                Err(why) => note = note.or_else(|| Some(why.clone())),
            }
        }
        Measured { objective: objective.clone(), ratios, note: note.map(Name::from) }
    }
}

fn is_of_times(objective: &Objective) -> bool {
    matches!(objective.good, Good::Within { .. })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use pilothouse_core::domain::preset::{Sample, all};
    use pilothouse_core::domain::range::Span;
    use pilothouse_core::domain::slo::SloState;
    use pilothouse_core::policy::slo;

    use super::super::client::{Matrix, Vector};
    use super::*;
    use crate::source::server::ServerError;

    /// Answers each query with 2 % errors, except those over this window, and records the queries.
    struct Script {
        asked: Mutex<Vec<String>>,
        fails: &'static str,
    }

    impl Queries for Script {
        fn shown(&self) -> String {
            "http://prometheus".into()
        }

        async fn query(&self, expr: &str, limit: Duration) -> Result<Vector, ServerError> {
            self.asked.lock().unwrap().push(expr.to_owned());
            if expr.contains(self.fails) {
                return Err(ServerError::Timeout(limit));
            }
            let of = |code: &str, value: f64| Sample {
                labels: [("namespace", "shop"), ("service", "cart"), ("pod", "p"), ("code", code)]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .to_vec(),
                value: Some(value),
            };
            let known = expr.contains("http_requests_total");
            let samples = if known { vec![of("200", 98.0), of("500", 2.0)] } else { Vec::new() };
            Ok(Vector { samples, ..Vector::default() })
        }

        async fn range(&self, _: &str, _: Span, _: Duration) -> Result<Matrix, ServerError> {
            Ok(Matrix::default())
        }
    }

    const LIMIT: Duration = Duration::from_secs(8);

    fn preset(name: &str) -> Preset {
        all(&[]).into_iter().find(|preset| preset.name == name).unwrap()
    }

    async fn refreshed(script: &Script, objectives: &mut Objectives, secs: i64) -> Measured {
        let preset = preset("http_requests_total");
        let service = ServiceTraffic {
            namespace: "shop".into(),
            name: "cart".into(),
            preset: "http_requests_total".into(),
            selector: "namespace=\"shop\",service=\"cart\"".into(),
            ..ServiceTraffic::default()
        };
        let now = Stamp(secs * 1000);
        let seen = objectives.refresh(script, &[&preset], &[Arc::new(service)], LIMIT, now).await.unwrap();
        (*seen.objectives[0]).clone()
    }

    fn cart() -> Objectives {
        Objectives::new(
            vec![Objective {
                namespace: "shop".into(),
                service: "cart".into(),
                name: "availability".into(),
                target: 0.999,
                window_secs: 2_592_000,
                ..Objective::default()
            }],
            BTreeMap::new(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_refresh_asks_for_all_windows_and_the_others_for_two() {
        let script = Script { asked: Mutex::default(), fails: "none" };
        let mut objectives = cart();
        let measured = refreshed(&script, &mut objectives, 0).await;
        assert_eq!(slo::judge(&measured, Stamp(0)).state, SloState::BurningFast, "{measured:?}");
        let windows: Vec<u64> = measured.ratios.iter().map(|r| r.window_secs).collect();
        assert_eq!(windows, [300, 1_800, 3_600, 7_200, 21_600, 86_400, 259_200, 2_592_000]);
        assert_eq!(measured.ratios[0].requests, Some(100.0 * 300.0));
        let mut total = script.asked.lock().unwrap().drain(..).count();
        assert_eq!(total, 1 + 8, "one for the recorded objectives, and one for each window");
        let mut windows = BTreeSet::new();
        for poll in 1..=60 {
            tokio::time::advance(Duration::from_secs(10)).await;
            refreshed(&script, &mut objectives, poll * 10).await;
            let asked: Vec<String> = script.asked.lock().unwrap().drain(..).collect();
            assert!(asked.len() <= 2, "{asked:#?}");
            total += asked.len();
            windows.extend(
                asked.iter().filter_map(|q| Some(q.split_once('[')?.1.split_once(']')?.0.to_owned())),
            );
        }
        assert_eq!(windows.len(), 8, "in ten minutes each window is asked for again: {windows:?}");
        assert!(total < 130, "{total}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_fails_keeps_its_last_answer_for_a_while_and_says_why() {
        let mut objectives = cart();
        let script = Script { asked: Mutex::default(), fails: "[2592000s]" };
        let measured = refreshed(&script, &mut objectives, 0).await;
        assert_eq!(measured.note.as_deref(), Some("no answer within 8000 ms"));
        assert_eq!(slo::judge(&measured, Stamp(0)).budget_left, None);
        let none = Script { asked: Mutex::default(), fails: "none" };
        tokio::time::advance(Duration::from_secs(400)).await;
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(10)).await;
            refreshed(&none, &mut objectives, 400).await;
        }
        let measured = refreshed(&none, &mut objectives, 400).await;
        assert_eq!(measured.note, None);
        tokio::time::advance(Duration::from_secs(400)).await;
        let mut last = measured;
        for _ in 0..8 {
            tokio::time::advance(Duration::from_secs(10)).await;
            last = refreshed(&script, &mut objectives, 800).await;
        }
        let month = last.ratios.iter().find(|r| r.window_secs == 2_592_000).unwrap();
        assert_eq!((month.at, month.bad), (Stamp(400_000), Some(0.02)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_of_a_haproxy_is_asked_for_by_its_own_name() {
        let script = Script { asked: Mutex::default(), fails: "none" };
        let proxies = BTreeMap::from([("shop_cart".to_owned(), ("shop".into(), "cart".into()))]);
        let mut objectives = Objectives { proxies, ..cart() };
        let preset = preset("haproxy");
        let service = ServiceTraffic {
            namespace: "shop".into(),
            name: "cart".into(),
            preset: "haproxy".into(),
            selector: "proxy=\"shop_cart\"".into(),
            ..ServiceTraffic::default()
        };
        objectives.refresh(&script, &[&preset], &[Arc::new(service)], LIMIT, Stamp(0)).await.unwrap();
        let asked = script.asked.lock().unwrap();
        assert!(asked.iter().skip(1).all(|q| q.contains(r#"{proxy="shop_cart"}"#)), "{asked:#?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_nothing_measures_is_told_and_costs_no_query() {
        let script = Script { asked: Mutex::default(), fails: "none" };
        let mut objectives = cart();
        let seen = objectives.refresh(&script, &[], &[], LIMIT, Stamp(0)).await.unwrap();
        assert_eq!(seen.objectives[0].note.as_deref(), Some("no preset measures requests of it"));
        assert_eq!(script.asked.lock().unwrap().len(), 1);
        let mut none = Objectives::new(Vec::new(), BTreeMap::new());
        assert!(none.refresh(&script, &[], &[], LIMIT, Stamp(0)).await.is_none());
    }
}
