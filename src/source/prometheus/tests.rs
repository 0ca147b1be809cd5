//! Runs the polls against a script instead of a Prometheus: detection, back-off, partial answers, and the order of
//! presets.

use std::sync::{Arc, Mutex};

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::preset::wanted;
use pilothouse_core::domain::range::Span;
use pilothouse_core::domain::trend::TrendsSeen;
use pilothouse_core::facts::event::Event;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::server::ServerError;
use super::client::{Matrix, Sample, Series, Vector};
use super::*;
use crate::clock::Clock;

mod refreshes;

const NOW: Stamp = Stamp(1_000_000);

type Answer = Result<Vector, ServerError>;

/// Answers according to the query and the time since the start, and records each query with its time.
struct Script<F> {
    answer: F,
    began: Instant,
    asked: Arc<Mutex<Vec<(u64, String)>>>,
    /// The range queries, with the number of their points.
    ranges: Arc<Mutex<Vec<(String, usize)>>>,
}

impl<F: Fn(&str, u64) -> Answer + Send + Sync> Queries for Script<F> {
    fn shown(&self) -> String {
        "http://prometheus".into()
    }

    async fn query(&self, expr: &str, _: Duration) -> Answer {
        let secs = self.began.elapsed().as_secs();
        self.asked.lock().unwrap().push((secs, expr.to_owned()));
        (self.answer)(expr, secs)
    }

    /// Has the numbers of now at each time, and no numbers of nodes but those of `n1`.
    async fn range(&self, expr: &str, span: Span, _: Duration) -> Result<Matrix, ServerError> {
        self.ranges.lock().unwrap().push((expr.to_owned(), span.count));
        let samples = match expr {
            nodes if nodes.contains("node_") => {
                vector(&[(&[("node", "n1"), ("instance", "10.0.0.1:10250")], 2.0)]).samples
            }
            expr => (self.answer)(expr, 0)?.samples,
        };
        let series = samples.into_iter().map(|sample| Series {
            labels: sample.labels,
            points: (0..span.count).map(|i| (span.at(i), sample.value)).collect(),
        });
        Ok(Matrix { series: series.collect(), ..Matrix::default() })
    }
}

/// A poll loop that uses a script.
struct Rig {
    asked: Arc<Mutex<Vec<(u64, String)>>>,
    ranges: Arc<Mutex<Vec<(String, usize)>>>,
    /// The numbers from before the first poll.
    trends: Vec<TrendsSeen>,
    facts: mpsc::Receiver<Event>,
    status: mpsc::Receiver<Event>,
    all: Supervisor,
}

impl Rig {
    fn start(presets: &[&str], answer: impl Fn(&str, u64) -> Answer + Send + Sync + 'static) -> Self {
        Self::over(60, presets, answer)
    }

    /// Uses rates over this many seconds.
    fn over(
        window_secs: u32,
        presets: &[&str],
        answer: impl Fn(&str, u64) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (facts_in, facts) = mpsc::channel(64);
        let (control, status) = mpsc::channel(64);
        let out = FactSink::new(ClusterId(0), Clock::manual(NOW), facts_in, control);
        let settings = PrometheusSettings {
            presets: presets.iter().map(ToString::to_string).collect(),
            poll_secs: 10,
            window_secs,
            ..PrometheusSettings::default()
        };
        let asked: Arc<Mutex<Vec<(u64, String)>>> = Arc::default();
        let ranges: Arc<Mutex<Vec<(String, usize)>>> = Arc::default();
        let script = Script { answer, began: Instant::now(), asked: asked.clone(), ranges: ranges.clone() };
        let all = Supervisor::new();
        all.spawn_once(poll(script, settings, out, true));
        Self { asked, ranges, trends: Vec::new(), facts, status, all }
    }

    async fn status(&mut self) -> SourceStatus {
        match self.status.recv().await.unwrap().fact {
            Fact::Source(status) => status,
            other => panic!("{other:?}"),
        }
    }

    async fn traffic(&mut self) -> TrafficSeen {
        loop {
            match self.facts.recv().await.unwrap().fact {
                Fact::Traffic(seen) => return seen,
                Fact::Trends(seen) => self.trends.push(seen),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Returns the times of the queries with these words, in seconds.
    fn asked(&self, words: &str) -> Vec<u64> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(_, q)| q.contains(words)).map(|(secs, _)| *secs).collect()
    }

    /// Returns the times when it was asked which presets have data.
    fn detections(&self) -> Vec<u64> {
        let mut asked = self.asked(DETECTION);
        asked.dedup();
        asked
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

fn vector(samples: &[(&[(&str, &str)], f64)]) -> Vector {
    let sample = |(labels, value): &(&[(&str, &str)], f64)| Sample {
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        value: Some(*value),
    };
    Vector { samples: samples.iter().map(sample).collect(), ..Vector::default() }
}

/// Only the query that detects presets has these words.
const DETECTION: &str = "count_over_time";

/// The answer about which presets have data, if all of these are scraped every 5 s.
fn scraped(query: &str, presets: &[&str]) -> Vector {
    let known = wanted(&[], &[]);
    let is_asked = |preset: &&&str| {
        // the first of a query has no label
        let counter = known.iter().find(|one| one.name == ***preset).map(|one| &one.counter);
        let begins = |counter| query.starts_with(&format!("max(count_over_time({counter}["));
        query.contains(&format!("\"{preset}\"")) || counter.is_some_and(begins)
    };
    let samples: Vec<_> = presets.iter().filter(is_asked).map(|preset| [("preset", *preset)]).collect();
    let samples: Vec<(&[(&str, &str)], f64)> =
        samples.iter().map(|labels| (labels.as_slice(), 60.0)).collect();
    vector(&samples)
}

/// A Prometheus that scrapes both presets every 5 s; both know `shop` by their own names.
#[allow(clippy::unnecessary_wraps, reason = "a script may fail; this one does not")]
fn both(query: &str, _: u64) -> Answer {
    let of = |metric| query.contains("rate") && query.contains(metric);
    Ok(match query {
        _ if query.contains(DETECTION) => scraped(query, &["haproxy", "http_requests_total"]),
        _ if of("haproxy_server_http_responses_total") => {
            vector(&[(&[("proxy", "shop"), ("server", "a"), ("code", "2xx")], 3.0)])
        }
        _ if of("http_requests_total") => vector(&[
            (&[("service", "shop"), ("pod", "a"), ("code", "200")], 7.0),
            (&[("service", "pay"), ("pod", "b"), ("code", "200")], 1.0),
        ]),
        _ => vector(&[]),
    })
}

#[tokio::test(start_paused = true)]
async fn presets_are_detected_once_a_minute_and_only_those_are_asked() {
    let mut rig = Rig::start(&["auto"], |query, secs| match query {
        // an HAProxy is scraped from the second minute
        query if query.contains(DETECTION) && secs < 60 => Ok(scraped(query, &["http_requests_total"])),
        query => both(query, secs),
    });
    for _ in 0..6 {
        assert_eq!(rig.status().await.state, SourceState::Live);
        let names: Vec<Name> = rig.traffic().await.services.iter().map(|s| s.preset.clone()).collect();
        assert_eq!(names, ["http_requests_total", "http_requests_total"]);
    }
    assert_eq!(rig.detections().len(), 1);
    assert_eq!(rig.asked(DETECTION).len(), 2, "two queries for all ten presets");
    assert_eq!(rig.asked("haproxy_server_current_sessions"), Vec::<u64>::new());
    // polls are about 10 s apart, so one or two more complete the minute
    let seen = loop {
        let seen = rig.traffic().await;
        if rig.detections().len() == 2 {
            break seen;
        }
    };
    let presets: Vec<_> = seen.services.iter().map(|s| (s.name.as_str(), s.preset.as_str())).collect();
    assert_eq!(presets, [("shop", "haproxy"), ("pay", "http_requests_total")]);
    assert_eq!(seen.source, NAME);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_known_it_is_looked_for_with_each_poll() {
    let mut rig = Rig::start(&["haproxy"], |_, _| Ok(vector(&[])));
    for _ in 0..3 {
        let status = rig.status().await;
        assert_eq!(status.state, SourceState::Live, "it answers");
        assert_eq!(status.error.unwrap(), "no known traffic metrics (haproxy)");
    }
    assert_eq!(rig.asked("haproxy_server_http_responses_total").len(), 3);
    assert_eq!(
        rig.asked("http_requests_total"),
        Vec::<u64>::new(),
        "a preset that is not named is not looked for"
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_preset_of_the_config_tells_a_service_that_two_know() {
    for (presets, told) in [
        (&["haproxy", "http_requests_total"][..], [("shop", 3.0), ("pay", 1.0)]),
        (&["http_requests_total", "haproxy"], [("pay", 1.0), ("shop", 7.0)]),
        (&["http_requests_total", "auto"], [("pay", 1.0), ("shop", 7.0)]),
        (&["auto"], [("shop", 3.0), ("pay", 1.0)]),
    ] {
        let mut rig = Rig::start(presets, both);
        let seen = rig.traffic().await;
        let rows: Vec<_> = seen.services.iter().map(|s| (s.name.as_str(), s.rps.unwrap())).collect();
        assert_eq!(rows, told, "{presets:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rates_are_over_the_window_of_the_config_up_to_an_hour() {
    for window in [120, 3_600] {
        let mut rig = Rig::over(window, &["haproxy"], both);
        assert_eq!(rig.traffic().await.services[0].window_secs, window);
        let asked = rig.asked.lock().unwrap();
        let rates: Vec<_> = asked.iter().filter(|(_, q)| q.contains("rate(")).collect();
        assert!(
            !rates.is_empty() && rates.iter().all(|(_, q)| q.contains(&format!("[{window}s]"))),
            "{rates:?}"
        );
        // over an hour, a server that is gone would be shown for an hour
        assert_eq!(rates.iter().all(|(_, q)| q.contains(" and ")), window == 3_600, "{rates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_with_its_next_attempt_and_ends_with_the_first_answer() {
    let refused = || Err(ServerError::Unreachable("connection refused".into()));
    let mut rig = Rig::start(&["auto"], move |query, secs| match secs {
        0..100 => refused(),
        100..200 => both(query, secs),
        _ => refused(),
    });
    let mut attempts = 0;
    let live = loop {
        let status = rig.status().await;
        if status.state == SourceState::Live {
            break status;
        }
        attempts += 1;
        assert_eq!((status.state, status.attempts), (SourceState::Down { since: NOW }, attempts));
        assert_eq!(status.error.unwrap(), "connection refused");
        assert_eq!(status.request.unwrap(), "GET http://prometheus/api/v1/query");
        let wait = status.retry_at.unwrap().since(NOW);
        assert!((10_000..=30_000).contains(&wait), "never sooner than the next poll: {wait} ms");
        assert!(!status.lasting);
    };
    assert!(attempts >= 3, "{attempts}");
    assert_eq!((live.attempts, live.error, live.retry_at, live.last_ok), (0, None, None, Some(NOW)));
    let stale = loop {
        let status = rig.status().await;
        if status.state != SourceState::Live {
            break status;
        }
    };
    assert_eq!((stale.state, stale.attempts), (SourceState::Stale { since: NOW }, 1));
    assert_eq!(stale.last_ok, Some(NOW), "since when the numbers are old");
    // presets of failed queries are detected again
    let detections = rig.detections().len();
    rig.status().await;
    assert_eq!(rig.detections().len(), detections + 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_not_asked_before_the_time_that_it_names() {
    let mut rig = Rig::start(&["auto"], |_, _| {
        let retry_after = Some(Duration::from_secs(120));
        Err(ServerError::Refused { code: 429, message: "slow down".into(), retry_after })
    });
    for _ in 0..3 {
        let status = rig.status().await;
        assert!(!status.lasting, "it passes by itself");
        assert_eq!(status.retry_at.unwrap().since(NOW), 120_000);
    }
    let asked = rig.detections();
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= 120), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn one_query_that_fails_leaves_the_numbers_of_the_poll_before() {
    let mut rig = Rig::start(&["haproxy"], |query, secs| match query {
        _ if secs >= 5 && query.contains("haproxy_server_weight") => {
            Err(ServerError::Refused { code: 422, message: "too many samples".into(), retry_after: None })
        }
        query => both(query, secs),
    });
    assert_eq!(rig.status().await.state, SourceState::Live);
    let stale = rig.status().await;
    assert_eq!((stale.state, stale.lasting), (SourceState::Stale { since: NOW }, true));
    assert_eq!(stale.error.unwrap(), "422: too many samples");
    rig.traffic().await;
    while let Ok(event) = rig.facts.try_recv() {
        assert!(matches!(event.fact, Fact::Trends(_)), "half a poll is not published: {:?}", event.fact);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_server_warns_of_makes_the_answer_partial() {
    let mut rig = Rig::start(&["haproxy"], |query, secs| {
        let vector = both(query, secs)?;
        let warnings = match query {
            _ if query.contains(DETECTION) => Vec::new(),
            _ => vec!["store-1 did not answer".to_owned(), format!("about {}", query.len())],
        };
        Ok(Vector { warnings, ..vector })
    });
    let status = rig.status().await;
    assert_eq!(status.state, SourceState::Live);
    let words = status.error.unwrap();
    assert!(words.starts_with("partial: store-1 did not answer; about "), "{words}");
    assert_eq!((words.matches("store-1").count(), words.matches(';').count()), (1, 2), "{words}");
    assert_eq!(rig.traffic().await.services.len(), 1, "what came is shown");
}
