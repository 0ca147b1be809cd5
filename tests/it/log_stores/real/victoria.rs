//! A real VictoriaLogs, which is killed while it is read. A VictoriaLogs that is killed loses what it took in the last
//! seconds, also lines that were read already, so what was read is compared with what it has in the end.

use serde_json::{Value, json};

use super::*;
use crate::answers::{command, whole};

static PRODUCT: Product = Product {
    folder: "victorialogs",
    program: "victoria-logs",
    ready: "/health",
    arrange: |command, folder, port| {
        command
            .arg(format!("-storageDataPath={}", folder.display()))
            .arg("-inmemoryDataFlushInterval=1s")
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    },
};

/// Pushes lines of a pod, each in the way of another collector. Returns whether VictoriaLogs took them.
fn push(server: &Server, pod: usize, lines: &[(i64, String)]) -> bool {
    let (names, values) = match pod {
        // a Promtail
        0 => {
            let labels = r#"{"namespace":"shop","pod":"a-1","container":"app"}"#;
            return server.post("/insert/loki/api/v1/push", &loki_body(labels, lines)) == Some(204);
        }
        // VictoriaLogs' own collector
        1 => (
            ["kubernetes.pod_namespace", "kubernetes.pod_name", "kubernetes.container_name"],
            ["shop", "b-1", "app"],
        ),
        // a collector of OpenTelemetry
        _ => (["k8s.namespace.name", "k8s.pod.name", "k8s.container.name"], ["pay", "c-1", "app"]),
    };
    let mut body = String::new();
    for (at, text) in lines {
        let mut row = json!({"_time": at.to_string(), "_msg": text});
        for (name, value) in names.iter().zip(values) {
            row[*name] = json!(value);
        }
        body += &format!("{row}\n");
    }
    server.post(&format!("/insert/jsonline?_stream_fields={}", names.join(",")), &body) == Some(200)
}

fn round(collector: &mut Collector, server: &Server, lines: usize) {
    collector.round(lines, |pod, lines| push(server, pod, lines));
}

/// How often VictoriaLogs has each text.
fn stored(server: &Server) -> BTreeMap<String, usize> {
    let (code, body) = http(server.port, "GET", "/select/logsql/query?query=number", "").unwrap();
    assert_eq!(code, 200, "{body}");
    let mut counts = BTreeMap::new();
    for row in body.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        *counts.entry(row["_msg"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// Waits until this line is shown, and no row is in memory only.
fn wait_for_disk(server: &Server, last: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let is_shown = stored(server).contains_key(last);
        let (_, metrics) = http(server.port, "GET", "/metrics", "").unwrap();
        let line =
            metrics.lines().find(|line| line.starts_with("vl_storage_rows{type=\"storage/inmemory\"}"));
        if is_shown && line.expect("the metric").ends_with(" 0") {
            return;
        }
        assert!(Instant::now() < until, "{line:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until VictoriaLogs shows this many rows, which it does some time after it took them.
fn wait_for_rows(server: &Server, rows: usize) {
    let until = Instant::now() + PATIENCE;
    while stored(server).values().sum::<usize>() < rows {
        assert!(Instant::now() < until, "it does not show {rows} rows");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds and starts a VictoriaLogs: needs Go, and minutes the first time"]
async fn a_victorialogs_that_is_killed_under_the_tail_loses_and_doubles_nothing() {
    let mut server = Server::start(&PRODUCT);
    let mut collector = Collector::default();
    round(&mut collector, &server, 50);
    assert!(collector.buffered.is_empty(), "VictoriaLogs takes lines");
    // lines that are no errors are not asked for
    assert!(push(&server, 0, &[(now(), "level=info msg=fine".into())]));
    let mut read = Read::start(&VICTORIA_LOGS, &settings(server.url()));
    read.status(|s| s.state == SourceState::Live).await;
    read.summary(|s| s.lines == 150).await;
    for kill in 0..3 {
        for _ in 0..3 {
            round(&mut collector, &server, 20);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        if kill != 1 {
            wait_for_disk(&server, collector.sent.last().unwrap());
        }
        server.kill();
        for _ in 0..3 {
            round(&mut collector, &server, 20);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!(!collector.buffered.is_empty());
        read.status(|s| matches!(s.state, SourceState::Stale { .. })).await;
        server.again();
        if kill == 1 {
            // the collector waits longer than the tail
            read.status(|s| s.state == SourceState::Live).await;
            tokio::time::sleep(Duration::from_secs(40)).await;
        }
        round(&mut collector, &server, 20);
        assert!(collector.buffered.is_empty(), "VictoriaLogs is there again");
    }
    // it shows lines some time after it took them
    let last = collector.sent.last().unwrap();
    let until = Instant::now() + PATIENCE;
    while !stored(&server).contains_key(last) {
        assert!(Instant::now() < until, "{last} is not stored");
        read.status(|s| s.state == SourceState::Live).await;
    }
    let has_all = |read: &Read| {
        let got = counted(&read.all());
        stored(&server).keys().all(|text| got.contains_key(text))
    };
    while !has_all(&read) && Instant::now() < until {
        read.status(|s| s.state == SourceState::Live).await;
    }
    // a few more polls, which must not bring a line again
    for _ in 0..5 {
        read.status(|s| s.state == SourceState::Live).await;
    }
    let (have, got) = (stored(&server), counted(&read.all()));
    assert!(have.values().all(|n| *n == 1), "each line was taken once");
    let missing: Vec<_> = have.keys().filter(|text| !got.contains_key(*text)).collect();
    let doubled: Vec<_> = got.iter().filter(|(_, n)| **n > 1).collect();
    assert!(missing.is_empty() && doubled.is_empty(), "missing {missing:?}, doubled {doubled:?}");
    let lost: Vec<_> = collector.sent.iter().filter(|text| !have.contains_key(*text)).collect();
    let rescued = lost.iter().filter(|text| got.contains_key(**text)).count();
    assert_eq!(got.len(), have.len() + rescued, "nothing was made up");
    // what it took between the first two kills at most: seven rounds of 60, three of which it got late
    assert!(lost.len() <= 7 * 60, "{} lines are not stored", lost.len());
    eprintln!(
        "{} lines of 3 pods over 3 kills: {} stored, each read once; {} lost by the store, {rescued} of them read before",
        collector.sent.len(),
        have.len(),
        lost.len()
    );
    let pods: std::collections::BTreeSet<_> = read.all().iter().map(|line| line.pod.to_string()).collect();
    assert_eq!(pods.into_iter().collect::<Vec<_>>(), ["pay/c-1", "shop/a-1", "shop/b-1"]);
    read.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds and starts a VictoriaLogs: needs Go, and minutes the first time"]
async fn more_rows_than_a_query_returns_are_read_in_pages() {
    let server = Server::start(&PRODUCT);
    let mut collector = Collector::default();
    for _ in 0..4 {
        round(&mut collector, &server, 500);
    }
    wait_for_rows(&server, 6000);
    let mut read = Read::start(&VICTORIA_LOGS, &LogServerSettings { limit: 2000, ..settings(server.url()) });
    read.summary(|s| s.lines == 6000).await;
    for _ in 0..4 {
        round(&mut collector, &server, 1000);
    }
    let summary = read.summary(|s| s.lines >= 18_000).await;
    assert_eq!((summary.lines, summary.gaps), (18_000, 0));
    assert!(counted(&read.all()).values().all(|n| *n == 1));
    for (query, words) in [
        ("_msg:(", "400: cannot parse `query` arg [_msg:("),
        ("* | stats count() rows", "victorialogs.query returns rows without _time"),
    ] {
        let bad = LogServerSettings { query: query.into(), ..settings(server.url()) };
        let mut wrong = Read::start(&VICTORIA_LOGS, &bad);
        let status = wrong.status(|s| s.error.is_some()).await;
        assert!(status.error.as_ref().unwrap().starts_with(words), "{:?}", status.error);
        wrong.stop().await;
    }
    read.stop().await;
}

#[test]
#[ignore = "builds and starts a VictoriaLogs: needs Go, and minutes the first time"]
fn a_victorialogs_is_found_by_the_fields_of_its_streams() {
    let server = Server::start(&PRODUCT);
    let port = server.port;
    let doctor = || {
        let (mut command, _home) = command(&["doctor"], move |path, _| {
            let proxy = "/api/v1/namespaces/logs/services/vlsingle-main:http/proxy";
            if let Some(target) = path.strip_prefix(proxy) {
                let (code, body) = http(port, "GET", target, "").unwrap();
                return Some(whole(&format!("{code} x"), "content-type: application/json\r\n", &body));
            }
            let is_list = path.split('?').next() == Some("/api/v1/services") && !path.contains("watch=1");
            let item = json!({"metadata": {"namespace": "logs", "name": "vlsingle-main", "uid": "u"},
                "spec": {"ports": [{"name": "http", "port": 9428}]}});
            let list = json!({"kind": "ServiceList", "metadata": {"resourceVersion": "5"}, "items": [item]});
            is_list.then(|| whole("200 OK", "content-type: application/json\r\n", &list.to_string()))
        });
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let live = "source victorialogs live (0 s ago), logs/vlsingle-main:http through the API server";
    // an empty one is one too
    for lines in [0, 10] {
        round(&mut Collector::default(), &server, lines);
        let text = doctor();
        assert!(text.lines().any(|line| line.starts_with(live)), "{text}");
        let used = "  victorialogs: logs/vlsingle-main:http (VictoriaMetrics operator): used, through the API server";
        assert!(text.lines().any(|line| line.starts_with(used)), "{text}");
    }
}
