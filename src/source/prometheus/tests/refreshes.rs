//! What a refresh sends, what it keeps, and when the next one is.

use super::super::refresh::MOST_QUERIES;
use super::*;

type Labels = &'static [(&'static str, &'static str)];

/// Only the query for recorded objectives has these words.
const OBJECTIVES: &str = "slo:objective:ratio";

/// A Prometheus that has every preset, one service and one backend of each, and every measure.
#[allow(clippy::unnecessary_wraps, reason = "a script may fail; this one does not")]
fn every(query: &str, _: u64) -> Answer {
    const ALL: [(&str, &str, Labels); 10] = [
        ("haproxy", "haproxy_", &[("proxy", "p"), ("server", "s"), ("code", "2xx")]),
        ("istio", "istio_", &[("destination_service_name", "i"), ("pod", "i-0"), ("response_code", "200")]),
        ("linkerd", "dst_", &[("dst_service", "l"), ("dst_pod", "l-0"), ("classification", "success")]),
        ("envoy-gateway", "route/", &[("envoy_cluster_name", "httproute/a/e/rule/0")]),
        ("contour", "envoy_", &[("envoy_cluster_name", "a_c_80")]),
        ("traefik", "traefik_", &[("service", "a-t-80@kubernetes")]),
        ("ingress-nginx", "nginx_", &[("service", "n"), ("status", "200")]),
        ("http_requests_total", "http_request", &[("service", "h"), ("pod", "h-0"), ("code", "200")]),
        ("otel", "http_server_", &[("service", "o"), ("pod", "o-0"), ("http_response_status_code", "200")]),
        ("grpc", "grpc_", &[("service", "g"), ("pod", "g-0"), ("grpc_code", "OK")]),
    ];
    if query.contains(DETECTION) {
        return Ok(scraped(query, &ALL.map(|(name, ..)| name)));
    }
    if query.contains(OBJECTIVES) {
        return Ok(vector(&[]));
    }
    let (_, _, labels) = ALL.iter().find(|(_, metric, _)| query.contains(metric)).unwrap();
    // those that the query groups by
    let labels: Vec<(&str, &str)> = labels.iter().copied().filter(|(key, _)| query.contains(key)).collect();
    Ok(vector(&[(&labels, 1.0)]))
}

#[tokio::test(start_paused = true)]
async fn a_refresh_has_a_limited_number_of_queries_and_each_number_has_its_turn() {
    let mut rig = Rig::start(&["auto"], every);
    for refresh in 0..30 {
        let seen = rig.traffic().await;
        let asked = std::mem::take(&mut *rig.asked.lock().unwrap());
        let (of_objectives, mut asked): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|(_, query)| query.contains(OBJECTIVES));
        assert!(of_objectives.len() <= 1, "{of_objectives:?}");
        assert!(asked.len() + of_objectives.len() <= MOST_QUERIES, "{} queries", asked.len());
        asked.dedup();
        let names: Vec<&str> = seen.services.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["p", "i", "l", "e", "c", "t", "n", "h", "o", "g"], "rates of all, at once");
        // 60 queries take turns, at least four at a time
        if refresh >= 15 {
            for service in seen.services.iter().filter(|s| !["p", "t"].contains(&s.name.as_str())) {
                let known = [service.p50_ms, service.p95_ms, service.p99_ms];
                assert!(known.iter().all(Option::is_some), "{refresh}: {service:?}");
            }
            assert_eq!(seen.services[0].backends[0].weight, Some(1.0));
            assert_eq!(seen.services[3].active, Some(1.0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_no_longer_answered_is_dropped() {
    let mut rig = Rig::start(&["haproxy"], |query, secs| match query {
        _ if query.contains("weight") && secs > 30 => Ok(vector(&[])),
        _ if query.contains("weight") => Ok(vector(&[(&[("proxy", "shop"), ("server", "a")], 5.0)])),
        query => both(query, secs),
    });
    let mut weights = Vec::new();
    for _ in 0..6 {
        weights.push(rig.traffic().await.services[0].backends[0].weight);
    }
    assert_eq!((weights[0], weights[5]), (Some(5.0), None));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_no_longer_answered_disappears() {
    let mut rig = Rig::start(&["http_requests_total"], |query, secs| match both(query, secs)? {
        found if secs > 30 && found.samples.len() == 2 => {
            Ok(Vector { samples: found.samples[..1].to_vec(), ..found })
        }
        found => Ok(found),
    });
    let mut services = Vec::new();
    for _ in 0..6 {
        services.push(rig.traffic().await.services.len());
    }
    assert_eq!((services[0], services[5]), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_preset_that_measures_the_same_service_is_named() {
    let mut rig = Rig::start(&["auto"], both);
    let seen = rig.traffic().await;
    let told: Vec<_> =
        seen.services.iter().map(|s| (s.name.as_str(), s.preset.as_str(), s.others.to_vec())).collect();
    assert_eq!(
        told,
        [
            ("shop", "haproxy", vec![Name::from("http_requests_total")]),
            ("pay", "http_requests_total", vec![])
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn rates_of_backends_are_preferred_to_a_rate_of_the_service() {
    let mut rig = Rig::start(&["ingress-nginx", "grpc"], |query, _| match query {
        _ if query.contains(DETECTION) => Ok(scraped(query, &["ingress-nginx", "grpc"])),
        _ if query.contains("nginx_ingress_controller_requests") => {
            Ok(vector(&[(&[("namespace", "a"), ("service", "web"), ("status", "200")], 9.0)]))
        }
        _ if query.contains("rate(grpc_server_handled_total") => Ok(vector(&[(
            &[("namespace", "a"), ("service", "web"), ("pod", "web-0"), ("grpc_code", "OK")],
            2.0,
        )])),
        _ => Ok(vector(&[])),
    });
    let seen = rig.traffic().await;
    let [web] = seen.services.iter().collect::<Vec<_>>()[..] else { panic!("{seen:?}") };
    assert_eq!(
        (web.preset.as_str(), web.rps, web.others.to_vec()),
        ("grpc", Some(2.0), vec!["ingress-nginx".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_renamed_label_is_told() {
    let mut rig = Rig::start(&["istio"], |query, _| match query {
        _ if query.contains(DETECTION) => Ok(scraped(query, &["istio"])),
        _ if query.contains("istio_requests_total") => {
            Ok(vector(&[(&[("destination_app", "web")], 9.0), (&[("destination_app", "pay")], 9.0)]))
        }
        _ => Ok(vector(&[])),
    });
    let status = rig.status().await;
    assert_eq!(status.state, SourceState::Live);
    let words = status.error.unwrap();
    assert!(
        words.starts_with("istio: none of its 2 series names a service (label destination_service_name)"),
        "{words}"
    );
}

#[tokio::test(start_paused = true)]
async fn hints_of_the_server_are_told_and_are_not_partial_answers() {
    let mut rig = Rig::start(&["haproxy"], |query, secs| {
        Ok(Vector { infos: vec!["metric might not be a counter".into()], ..both(query, secs)? })
    });
    assert_eq!(rig.status().await.error.unwrap(), "the server notes: metric might not be a counter");
}

/// The number of queries of a refresh of the preset `haproxy`.
const QUERIES: usize = 6;

/// Answers after some time, which depends on the number of refreshes so far.
struct Slow<F>(Script<F>, fn(usize) -> Duration);

impl<F: Fn(&str, u64) -> Answer + Send + Sync> Queries for Slow<F> {
    fn shown(&self) -> String {
        self.0.shown()
    }

    async fn query(&self, expr: &str, limit: Duration) -> Answer {
        if expr.contains(DETECTION) {
            return self.0.query(expr, limit).await;
        }
        let is_of_refresh = |q: &str| q.contains("haproxy") && !q.contains(DETECTION);
        let asked = self.0.asked.lock().unwrap().iter().filter(|(_, q)| is_of_refresh(q)).count();
        tokio::time::sleep((self.1)(asked / QUERIES)).await;
        self.0.query(expr, limit).await
    }

    async fn range(&self, _: &str, _: Span, _: Duration) -> Result<Matrix, ServerError> {
        Ok(Matrix::default())
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_slowly_is_asked_less_often_until_it_is_quick_again() {
    let settings = PrometheusSettings {
        presets: vec!["haproxy".into()],
        poll_secs: 10,
        ..PrometheusSettings::default()
    };
    let (facts_in, mut facts) = mpsc::channel(64);
    let (control, mut status) = mpsc::channel(64);
    let out = FactSink::new(ClusterId(0), Clock::manual(NOW), facts_in, control);
    let asked: Arc<Mutex<Vec<(u64, String)>>> = Arc::default();
    let script = Script { answer: both, began: Instant::now(), asked: asked.clone(), ranges: Arc::default() };
    let took = |refreshes: usize| match refreshes {
        5..8 => Duration::from_millis(1_250),
        8..12 => Duration::from_secs(7),
        _ => Duration::from_millis(100),
    };
    let all = Supervisor::new();
    all.spawn_once(poll(Slow(script, took), settings, out, false));
    let mut words = Vec::new();
    while asked.lock().unwrap().last().is_none_or(|(secs, _)| *secs < 500) {
        let Fact::Source(told) = status.recv().await.unwrap().fact else { panic!("a status") };
        assert_eq!(told.state, SourceState::Live);
        words.push(told.error.map(|words| words.to_string()));
        facts.recv().await.unwrap();
    }
    all.cancel();
    words.dedup();
    assert_eq!(
        words,
        [
            None,
            // of the six queries, four are sent at once
            Some("its answers take 2.5 s, so it is asked every 25 s instead of every 10 s".to_owned()),
            Some("its answers take 14 s, so it is asked every 60 s instead of every 10 s".to_owned()),
            None,
        ]
    );
    let rates = asked.lock().unwrap();
    let rates: Vec<u64> = rates.iter().filter(|(_, q)| q.contains("rate(")).map(|(secs, _)| *secs).collect();
    let last: Vec<u64> = rates.windows(2).map(|pair| pair[1] - pair[0]).rev().take(5).collect();
    assert!(last.iter().all(|gap| (9..=11).contains(gap)), "{last:?}");
    assert!(rates.windows(2).any(|pair| pair[1] - pair[0] >= 70), "{rates:?}");
}

#[tokio::test(start_paused = true)]
async fn the_numbers_before_the_first_poll_are_asked_for_once_and_with_few_queries() {
    let mut rig = Rig::start(&["auto"], every);
    for _ in 0..10 {
        rig.traffic().await;
    }
    let ranges = rig.ranges.lock().unwrap().clone();
    // two for the nodes; rates and response times of two presets
    assert!((4..=8).contains(&ranges.len()), "{ranges:#?}");
    assert!(ranges.iter().all(|(_, points)| *points == 30), "{ranges:?}");
    // no series for each backend
    let by_backend = |query: &str| query.split(')').next().unwrap().contains("pod");
    assert!(ranges.iter().all(|(query, _)| query.contains(" by (") && !by_backend(query)), "{ranges:#?}");
    let [Trends::Nodes(nodes), Trends::Services(services)] = [&rig.trends[0].of, &rig.trends[1].of] else {
        panic!("{:?}", rig.trends)
    };
    assert_eq!(rig.trends.len(), 2, "once");
    assert_eq!((nodes.len(), nodes[0].node.as_str()), (1, "n1"));
    assert_eq!((nodes[0].cores[0], nodes[0].bytes[29]), (Some(2.0), Some(2.0)));
    let names: Vec<&str> = services.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["i", "p"], "of the first two presets");
    let istio = &services[0];
    assert_eq!((istio.rps[0], istio.error_ratio[29], istio.p95_ms[15]), (Some(1.0), Some(0.0), Some(1.0)));
    assert_eq!((rig.trends[1].span.to(), rig.trends[1].span.step_secs), (NOW, 10));
}
