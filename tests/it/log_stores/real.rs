//! A real Loki, which is killed while it is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;

struct Server {
    process: Child,
    folder: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/loki")
}

/// Sends a request and returns the code and the body.
fn http(port: u16, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).ok()?;
    socket.write_all(body.as_bytes()).ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    let code = text.split(' ').nth(1)?.parse().ok()?;
    Some((code, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

impl Server {
    fn start() -> Self {
        let built = Command::new(scripts().join("build")).stderr(Stdio::inherit()).output().expect("build");
        assert!(built.status.success(), "Loki cannot be built");
        let bin = PathBuf::from(String::from_utf8(built.stdout).unwrap().trim()).join("loki");
        let (folder, port) = (tempfile::tempdir().unwrap(), free());
        let process = Self::spawn(&bin, folder.path(), port);
        let server = Self { process, folder, bin, port };
        server.wait();
        server
    }

    fn spawn(bin: &Path, folder: &Path, port: u16) -> Child {
        Command::new(bin)
            .arg(format!("-config.file={}", scripts().join("config.yaml").display()))
            .arg("-config.expand-env=true")
            .env("LOKI_DIR", folder)
            .env("LOKI_PORT", port.to_string())
            .env("LOKI_GRPC_PORT", free().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("loki")
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        while http(self.port, "GET", "/ready", "").is_none_or(|(code, _)| code != 200) {
            assert!(Instant::now() < until, "Loki does not get ready");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Kills Loki without warning.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn again(&mut self) {
        self.process = Self::spawn(&self.bin, self.folder.path(), self.port);
        self.wait();
    }

    /// Pushes lines of a pod. Returns whether Loki took them.
    fn push(&self, labels: &str, lines: &[(i64, String)]) -> bool {
        let values: Vec<String> = lines.iter().map(|(at, text)| format!(r#"["{at}","{text}"]"#)).collect();
        let body = format!(r#"{{"streams":[{{"stream":{labels},"values":[{}]}}]}}"#, values.join(","));
        http(self.port, "POST", "/loki/api/v1/push", &body).is_some_and(|(code, _)| code == 204)
    }
}

/// A collector: what Loki does not take is pushed again later, with its old timestamps.
#[derive(Default)]
struct Collector {
    next: usize,
    buffered: Vec<(usize, Vec<(i64, String)>)>,
    sent: Vec<String>,
}

const LABELS: [&str; 3] = [
    r#"{"namespace":"shop","pod":"a-1","container":"app"}"#,
    r#"{"namespace":"shop","pod":"b-1","container":"app"}"#,
    r#"{"k8s_namespace_name":"pay","k8s_pod_name":"c-1","k8s_container_name":"app"}"#,
];

impl Collector {
    /// Collects this many errors of each pod, two of which have the same timestamp, and pushes all that Loki does not have.
    fn round(&mut self, server: &Server, lines: usize) {
        for pod in 0..LABELS.len() {
            let at = now();
            let new: Vec<(i64, String)> = (0..lines)
                .map(|n| {
                    let number = self.next + n;
                    (at + (n as i64 / 2), format!("level=error msg=number-{number}-of-{pod}"))
                })
                .collect();
            self.next += lines;
            self.sent.extend(new.iter().map(|(_, text)| text.clone()));
            self.buffered.push((pod, new));
        }
        self.buffered.retain(|(pod, lines)| !server.push(LABELS[*pod], lines));
    }
}

fn counted(lines: &[LogLine]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines.iter().filter(|line| line.mark.is_none()) {
        *counts.entry(line.text.clone()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds and starts a Loki: needs Go, and minutes the first time"]
async fn a_loki_that_is_killed_under_the_tail_loses_and_doubles_nothing() {
    let mut server = Server::start();
    let mut collector = Collector::default();
    collector.round(&server, 50);
    assert!(collector.buffered.is_empty(), "Loki takes lines");
    // lines that are no errors are not asked for
    assert!(server.push(LABELS[0], &[(now(), "level=info msg=fine".into())]));
    let mut read = Read::start(&LOKI, &settings(format!("http://127.0.0.1:{}", server.port)));
    read.status(|s| s.state == SourceState::Live).await;
    read.summary(|s| s.lines == 150).await;
    for round in 0..3 {
        for _ in 0..3 {
            collector.round(&server, 20);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        server.kill();
        for _ in 0..3 {
            collector.round(&server, 20);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!(!collector.buffered.is_empty());
        read.status(|s| matches!(s.state, SourceState::Stale { .. })).await;
        server.again();
        if round == 1 {
            // the collector waits longer than the tail
            read.status(|s| s.state == SourceState::Live).await;
            tokio::time::sleep(Duration::from_secs(40)).await;
        }
        collector.round(&server, 20);
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
    let server = Server::start();
    let mut collector = Collector::default();
    for _ in 0..4 {
        collector.round(&server, 500);
    }
    let address = format!("http://127.0.0.1:{}", server.port);
    let mut read = Read::start(&LOKI, &LogServerSettings { limit: 2000, ..settings(address) });
    read.summary(|s| s.lines == 6000).await;
    for _ in 0..4 {
        collector.round(&server, 1000);
    }
    let summary = read.summary(|s| s.lines >= 18_000).await;
    assert_eq!((summary.lines, summary.gaps), (18_000, 0));
    assert!(counted(&read.all()).values().all(|n| *n == 1));
    // a query that Loki does not understand
    let bad = LogServerSettings {
        query: "{namespace=".into(),
        ..settings(format!("http://127.0.0.1:{}", server.port))
    };
    let mut wrong = Read::start(&LOKI, &bad);
    let status = wrong.status(|s| s.error.is_some()).await;
    assert!(status.error.as_ref().unwrap().starts_with("400: parse error"), "{:?}", status.error);
    wrong.stop().await;
    read.stop().await;
}
