//! Log stores: the states of a Loki and of a VictoriaLogs that answer badly, and a real Loki that is killed.

mod real;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pilothouse::clock::Clock;
use pilothouse::source::log_server::{self, LOKI, Place, Store, VICTORIA_LOGS};
use pilothouse::source::logs::twice::Twice;
use pilothouse::source::logs::{LogFilter, LogLine, LogStore};
use pilothouse::source::sink::FactSink;
use pilothouse::source::supervise::Supervisor;
use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::log::LogSummary;
use pilothouse_core::domain::settings::{LogServerSettings, ServerSettings};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::facts::event::{Event, Fact};
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(60);

/// A store that is read.
struct Read {
    lines: Arc<LogStore>,
    facts: mpsc::Receiver<Event>,
    status: mpsc::Receiver<Event>,
    all: Supervisor,
}

impl Read {
    fn start(store: &'static Store, settings: &LogServerSettings) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (facts_in, facts) = mpsc::channel(64);
        let (control, status) = mpsc::channel(64);
        let sink = FactSink::new(ClusterId(0), Clock::system(), facts_in, control);
        let lines = Arc::new(LogStore::new(64 << 20));
        let (_, world) = watch::channel(Arc::default());
        let place =
            Place { lines: &lines, twice: &Arc::new(Twice::default()), world: &world, namespaces: &[] };
        let all = Supervisor::new();
        log_server::start(store, settings, || panic!("a URL needs no cluster"), &place, &sink, &all).unwrap();
        Self { lines, facts, status, all }
    }

    /// Waits for a status that this accepts.
    async fn status(&mut self, wanted: impl Fn(&SourceStatus) -> bool) -> SourceStatus {
        let mut seen = Vec::new();
        let found = async {
            loop {
                let event = self.status.recv().await.unwrap();
                if let Fact::Source(status) = event.fact {
                    if wanted(&status) {
                        return status;
                    }
                    seen.push((status.state, status.error));
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{seen:?}"))
    }

    /// Waits for a summary that this accepts.
    async fn summary(&mut self, wanted: impl Fn(&LogSummary) -> bool) -> LogSummary {
        let mut last = None;
        let found = async {
            loop {
                if let Fact::Logs(summary) = self.facts.recv().await.unwrap().fact {
                    if wanted(&summary) {
                        return summary;
                    }
                    last = Some((summary.lines, summary.gaps));
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{last:?}"))
    }

    fn all(&self) -> Vec<LogLine> {
        self.lines.lines(&LogFilter::default(), usize::MAX)
    }

    async fn stop(self) {
        assert!(self.all.shutdown(Duration::from_secs(5)).await);
    }
}

fn settings(url: String) -> LogServerSettings {
    LogServerSettings { server: ServerSettings::at(url), poll_secs: 1, ..LogServerSettings::default() }
}

/// Answers a request by its target: a status line with headers, and a body.
type Script = Arc<Mutex<Box<dyn Fn(&str) -> (String, String) + Send>>>;

fn serve(socket: &TcpStream, script: &Script) {
    let mut lines = BufReader::new(socket.try_clone().unwrap());
    let mut first = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        if line == "\r\n" {
            break;
        }
    }
    let (status, body) = script.lock().unwrap()(&first);
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    drop((&mut &*socket).write_all(head.as_bytes()));
}

/// Starts a server and returns its URL.
fn scripted(script: impl Fn(&str) -> (String, String) + Send + 'static) -> (String, Script) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let script: Script = Arc::new(Mutex::new(Box::new(script)));
    let served = script.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let script = served.clone();
            std::thread::spawn(move || serve(&socket, &script));
        }
    });
    (url, script)
}

fn says(script: &Script, status: &str, body: &str) {
    let answer = (status.to_owned(), body.to_owned());
    *script.lock().unwrap() = Box::new(move |_| answer.clone());
}

fn ok(body: &str) -> (String, String) {
    ("200 OK".into(), body.into())
}

fn now() -> i64 {
    Clock::system().now().0 * 1_000_000
}

/// A Loki with one error, whatever it is asked.
fn good(target: &str) -> (String, String) {
    static BEGAN: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    if target.contains("/labels") {
        return ok(r#"{"status":"success","data":["namespace","pod"]}"#);
    }
    assert!(target.contains("/loki/api/v1/query_range?query=%7Bnamespace%3D~%22.%2B%22%7D"), "{target}");
    let at = BEGAN.get_or_init(now);
    ok(&format!(
        r#"{{"status":"success","warnings":["one ingester is late"],"data":{{"resultType":"streams","result":[{{"stream":{{"namespace":"shop","pod":"a-1","container":"app","app":"a"}},"values":[["{at}","ERROR boom 7"]]}}]}}}}"#
    ))
}

#[tokio::test]
async fn a_loki_that_answers_badly_is_told_in_words_and_read_again() {
    let (url, script) = scripted(good);
    let mut read = Read::start(&LOKI, &settings(url));
    let live = read.status(|s| s.state == SourceState::Live).await;
    assert_eq!(live.error.as_deref(), Some("one ingester is late"), "a partial answer is told");
    let summary = read.summary(|s| s.lines == 1).await;
    let group = &summary.groups[0];
    assert_eq!(
        (group.count, &*group.workloads, &*group.pods),
        (1, &["shop/a".into()][..], &["shop/a-1".into()][..])
    );
    for (status, body, words, lasting) in [
        ("401 Unauthorized", "no org id\n", "401: no org id", true),
        ("429 Too Many Requests\r\nretry-after: 1", "too many outstanding requests", "429: too many", false),
        ("200 OK", "<html>login</html>", "an HTML page, perhaps for a login", true),
        ("503 Service Unavailable", "empty ring", "503: empty ring", false),
        ("302 Found\r\nlocation: https://login.example/", "", "it redirects to https://login.example/", true),
    ] {
        says(&script, status, body);
        let bad = read.status(|s| s.error.as_ref().is_some_and(|e| e.contains(words))).await;
        assert!(matches!(bad.state, SourceState::Stale { .. }), "{words}: {:?}", bad.state);
        assert_eq!(bad.lasting, lasting, "{words}");
        assert!(bad.request.is_some_and(|r| r.ends_with("/loki/api/v1/query_range")));
        *script.lock().unwrap() = Box::new(good);
        read.status(|s| s.state == SourceState::Live).await;
    }
    assert_eq!(read.all().len(), 1, "the line that is answered again and again is one line");
    read.stop().await;
}

#[tokio::test]
async fn a_store_without_streams_is_live_and_a_query_for_numbers_is_an_error() {
    let (url, _script) = scripted(|_| ok(r#"{"status":"success"}"#));
    let mut read = Read::start(&LOKI, &settings(url));
    let live = read.status(|s| s.state == SourceState::Live).await;
    assert_eq!(live.error.as_deref(), Some("it has no streams yet"));
    read.stop().await;
    let matrix =
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"]]}]}}"#;
    let (url, _script) = scripted(move |_| ok(matrix));
    let query = "sum(rate({a=\"b\"}[1m]))".to_owned();
    let mut read = Read::start(&LOKI, &LogServerSettings { query, ..settings(url) });
    let bad = read.status(|s| s.error.is_some()).await;
    assert_eq!(bad.error.as_deref(), Some("loki.query returns numbers and not lines"));
    assert!(bad.lasting && matches!(bad.state, SourceState::Down { .. }));
    read.stop().await;
}

#[tokio::test]
async fn victorialogs_is_read_like_loki() {
    let one = Clock::system().now();
    let (url, script) = scripted(move |target| {
        assert!(target.contains("/select/logsql/query?query="), "{target}");
        let desc = target.contains("desc");
        let row = |msg: &str| {
            format!(
                "{{\"_time\":\"{one}\",\"_msg\":\"{msg}\",\"level\":\"error\",\"kubernetes.pod_namespace\":\"shop\",\"kubernetes.pod_name\":\"a-1\",\"kubernetes.container_name\":\"app\"}}\n"
            )
        };
        // two equal rows are two lines, and a later query has a third one
        let more = if desc { String::new() } else { row("refused by 10.0.0.1") };
        ok(&format!("{}{}{more}", row("refused by 10.0.0.1"), row("refused by 10.0.0.1")))
    });
    let mut read = Read::start(&VICTORIA_LOGS, &settings(url));
    let summary = read.summary(|s| s.lines == 3).await;
    assert_eq!((summary.groups.len(), summary.groups[0].count, summary.gaps), (1, 3, 0));
    assert_eq!(read.all()[0].pod, "shop/a-1");
    says(&script, "200 OK", "{\"_msg\":\"cut o");
    let bad = read.status(|s| s.error.is_some()).await;
    assert!(bad.error.unwrap().contains("answer not understood"));
    read.stop().await;
}
