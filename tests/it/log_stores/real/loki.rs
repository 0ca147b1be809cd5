//! A real Loki, which is killed while it is read.

use super::*;

static PRODUCT: Product = Product {
    folder: "loki",
    program: "loki",
    ready: "/ready",
    arrange: |command, folder, port| {
        command
            .arg(format!("-config.file={}", scripts("loki").join("config.yaml").display()))
            .arg("-config.expand-env=true")
            .env("LOKI_DIR", folder)
            .env("LOKI_PORT", port.to_string())
            .env("LOKI_GRPC_PORT", free().to_string());
    },
};

const LABELS: [&str; 3] = [
    r#"{"namespace":"shop","pod":"a-1","container":"app"}"#,
    r#"{"namespace":"shop","pod":"b-1","container":"app"}"#,
    r#"{"k8s_namespace_name":"pay","k8s_pod_name":"c-1","k8s_container_name":"app"}"#,
];

/// Pushes lines of a pod. Returns whether Loki took them.
fn push(server: &Server, labels: &str, lines: &[(i64, String)]) -> bool {
    server.post("/loki/api/v1/push", &loki_body(labels, lines)) == Some(204)
}

fn round(collector: &mut Collector, server: &Server, lines: usize) {
    collector.round(lines, |pod, lines| push(server, LABELS[pod], lines));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds and starts a Loki: needs Go, and minutes the first time"]
async fn a_loki_that_is_killed_under_the_tail_loses_and_doubles_nothing() {
    let mut server = Server::start(&PRODUCT);
    let mut collector = Collector::default();
    round(&mut collector, &server, 50);
    assert!(collector.buffered.is_empty(), "Loki takes lines");
    // lines that are no errors are not asked for
    assert!(push(&server, LABELS[0], &[(now(), "level=info msg=fine".into())]));
    let mut read = Read::start(&LOKI, &settings(server.url()));
    read.status(|s| s.state == SourceState::Live).await;
    read.summary(|s| s.lines == 150).await;
    for kill in 0..3 {
        for _ in 0..3 {
            round(&mut collector, &server, 20);
            tokio::time::sleep(Duration::from_millis(500)).await;
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
        assert!(collector.buffered.is_empty(), "Loki is there again");
    }
    let sent = collector.sent.len() as u64;
    let until = Instant::now() + PATIENCE;
    while (read.all().len() as u64) < sent && Instant::now() < until {
        read.status(|s| s.state == SourceState::Live).await;
    }
    // a few more polls, which must not bring a line again
    for _ in 0..5 {
        read.status(|s| s.state == SourceState::Live).await;
    }
    let got = counted(&read.all());
    let missing: Vec<&String> = collector.sent.iter().filter(|text| !got.contains_key(*text)).collect();
    let doubled: Vec<_> = got.iter().filter(|(_, n)| **n > 1).collect();
    assert!(missing.is_empty() && doubled.is_empty(), "missing {missing:?}, doubled {doubled:?}");
    assert_eq!(got.len() as u64, sent);
    eprintln!("{sent} lines of 3 pods over 3 kills: each once");
    let pods: std::collections::BTreeSet<_> = read.all().iter().map(|line| line.pod.to_string()).collect();
    assert_eq!(pods.into_iter().collect::<Vec<_>>(), ["pay/c-1", "shop/a-1", "shop/b-1"]);
    read.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds and starts a Loki: needs Go, and minutes the first time"]
async fn more_lines_than_a_query_returns_are_read_in_pages() {
    let server = Server::start(&PRODUCT);
    let mut collector = Collector::default();
    for _ in 0..4 {
        round(&mut collector, &server, 500);
    }
    let address = server.url();
    let mut read = Read::start(&LOKI, &LogServerSettings { limit: 2000, ..settings(address) });
    read.summary(|s| s.lines == 6000).await;
    for _ in 0..4 {
        round(&mut collector, &server, 1000);
    }
    let summary = read.summary(|s| s.lines >= 18_000).await;
    assert_eq!((summary.lines, summary.gaps), (18_000, 0));
    assert!(counted(&read.all()).values().all(|n| *n == 1));
    // a query that Loki does not understand
    let bad = LogServerSettings { query: "{namespace=".into(), ..settings(server.url()) };
    let mut wrong = Read::start(&LOKI, &bad);
    let status = wrong.status(|s| s.error.is_some()).await;
    assert!(status.error.as_ref().unwrap().starts_with("400: parse error"), "{:?}", status.error);
    wrong.stop().await;
    read.stop().await;
}
