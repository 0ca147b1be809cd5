//! Logs over a real connection: each request names its container; a broken connection loses and repeats no line; ends
//! are reported.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilothouse::source::logs::pod::PodWatch;
use pilothouse::source::logs::{LogQuery, Told, follow_log};
use pilothouse::wire::client::ReadClient;
use pilothouse::wire::connect::{ConnectOptions, Connection};
use pilothouse_core::domain::id::Uid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does with one request.
enum Answer {
    Json(u16, Value),
    /// A body that ends.
    Lines(&'static str),
    /// The connection is lost after these bytes.
    Cut(&'static str),
    /// There is no answer.
    Hang,
    /// The same body, after this time.
    Late(Duration, &'static str),
}

type Script = Box<dyn Fn(&str, usize) -> Answer + Send + Sync>;

/// An API server with one pod. The script gets the target and the number of earlier log requests.
struct Server {
    reader: ReadClient,
    asked: Arc<Mutex<Vec<String>>>,
    _config: tempfile::NamedTempFile,
}

impl Server {
    async fn start(script: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\ncontexts: [{{name: test, context: {{cluster: c}}}}]\ncurrent-context: test\n"
        );
        std::fs::write(config.path(), text).unwrap();
        let options = ConnectOptions { kubeconfig: Some(config.path().into()), ..ConnectOptions::default() };
        let connection = Connection::open(options).await.unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (script, seen): (Arc<Script>, _) = (Arc::new(Box::new(script)), asked.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (script, seen) = (script.clone(), seen.clone());
                tokio::spawn(async move { drop(serve(socket, &script, &seen).await) });
            }
        });
        Self { reader: connection.reader().unwrap(), asked, _config: config }
    }

    fn logs(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|t| t.contains("/log?")).cloned().collect()
    }
}

async fn serve(socket: TcpStream, script: &Script, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if socket.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if first.is_empty() {
                first.clone_from(&line);
            }
        }
        let target = first.split(' ').nth(1).unwrap().to_owned();
        let before = {
            let mut seen = seen.lock().unwrap();
            let before = seen.iter().filter(|t| t.contains("/log?")).count();
            seen.push(target.clone());
            before
        };
        let out = socket.get_mut();
        let answer = script(&target, before);
        if let Answer::Late(time, _) = &answer {
            tokio::time::sleep(*time).await;
        }
        match answer {
            Answer::Json(code, body) => {
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                out.write_all(format!("{head}{body}").as_bytes()).await?;
            }
            Answer::Hang => std::future::pending().await,
            Answer::Lines(text) | Answer::Late(_, text) => {
                let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                out.write_all(text.as_bytes()).await?;
            }
            Answer::Cut(text) => {
                let text = format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n",
                    text.len()
                );
                return out.write_all(text.as_bytes()).await;
            }
        }
    }
}

fn pod(restarts: u32, state: &Value) -> Answer {
    Answer::Json(
        200,
        json!({"metadata": {"name": "p", "namespace": "shop", "uid": "u"}, "spec": {"restartPolicy": "OnFailure", "containers": [{"name": "app"}, {"name": "side"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "app", "restartCount": restarts, "state": state}]}}),
    )
}

fn running() -> Value {
    json!({"running": {}})
}

fn ended(code: i64) -> Value {
    json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }, "finishedAt": "2026-01-01T21:30:12Z"}})
}

/// Follows until the log ends, or until `enough` returns true.
async fn follow(server: &Server, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    let query = LogQuery {
        namespace: "shop".into(),
        pod: "p".into(),
        container: "app".into(),
        tail: 10,
        ..LogQuery::default()
    };
    follow_query(server, query, enough).await
}

async fn follow_query(server: &Server, query: LogQuery, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    let watch = PodWatch::new(&server.reader, "shop", "p", Uid::parse("u"));
    let (out, mut told) = mpsc::channel(16);
    let mut seen = Vec::new();
    let reading = async {
        while let Some(told) = told.recv().await {
            seen.push(match told {
                Told::Line(line) => line.text.clone(),
                Told::Note { words, .. } => format!("({})", words.unwrap_or_default()),
                Told::Nothing { why, .. } => format!("({})", why.words()),
            });
            if enough(&seen) {
                break;
            }
        }
    };
    let both = async {
        tokio::select! {
            () = reading => {}
            // the last lines are still read
            () = async { follow_log(&server.reader, &watch, &query, out).await; std::future::pending().await } => {}
        }
    };
    tokio::time::timeout(PATIENCE, both)
        .await
        .unwrap_or_else(|_| panic!("{:?}", server.asked.lock().unwrap()));
    seen
}

#[tokio::test]
async fn a_line_that_a_lost_connection_cut_is_shown_once_and_an_ended_log_ends() {
    let server = Server::start(|target, before| match (target.contains("/log?"), before) {
        (true, 0) => Answer::Cut("2026-01-01T21:30:01.1Z first\n2026-01-01T21:30:02.1Z second ha"),
        (true, _) => Answer::Lines(
            "2026-01-01T21:30:01.1Z first\n2026-01-01T21:30:02.1Z second half here\n2026-01-01T21:30:03Z \x1b[31mERROR\x1b[0m last",
        ),
        (false, 0 | 1) => pod(0, &running()),
        (false, _) => pod(0, &ended(0)),
    })
    .await;
    let seen = follow(&server, |_| false).await;
    assert_eq!(
        seen,
        ["first", "second half here", "ERROR last", "(the container ended, exit 0 (Completed) at 21:30:12)"]
    );
    assert_eq!(server.logs().len(), 2, "an ended log is not asked for again");
    assert!(server.logs().iter().all(|t| t.contains("container=app")), "{:?}", server.logs());
}

#[tokio::test]
async fn what_was_written_between_a_break_and_a_restart_is_read_too() {
    let server =
        Server::start(|target, before| match (target.contains("/log?"), target.contains("previous=true")) {
            (true, true) => {
                Answer::Lines("2026-01-01T21:30:01Z a1\n2026-01-01T21:30:02Z a2, the last words\n")
            }
            (true, false) if before == 0 => Answer::Lines("2026-01-01T21:30:01Z a1\n"),
            (true, false) => Answer::Lines("2026-01-01T21:30:05Z b1\n"),
            (false, _) => pod(u32::from(before > 0), &if before < 3 { running() } else { ended(0) }),
        })
        .await;
    let seen = follow(&server, |_| false).await;
    assert_eq!(
        seen,
        ["a1", "a2, the last words", "b1", "(the container ended, exit 0 (Completed) at 21:30:12)"]
    );
}

#[tokio::test]
async fn with_no_tail_only_new_lines_are_read_but_all_of_them() {
    let server = Server::start(|target, before| match (target.contains("/log?"), before) {
        (true, 0) => Answer::Lines(""),
        (true, _) => Answer::Lines("2026-01-01T21:30:05Z new\n"),
        (false, _) => pod(0, &if before < 2 { running() } else { ended(0) }),
    })
    .await;
    let query = LogQuery {
        namespace: "shop".into(),
        pod: "p".into(),
        container: "app".into(),
        after: Some(tokio::time::Instant::now()),
        ..LogQuery::default()
    };
    let seen = follow_query(&server, query, |_| false).await;
    assert_eq!(seen, ["new", "(the container ended, exit 0 (Completed) at 21:30:12)"]);
    let asked = server.logs();
    assert!(asked[0].ends_with("&tailLines=0"), "{asked:?}");
    assert!(asked[1].contains("&sinceSeconds=") && !asked[1].contains("tailLines"), "{asked:?}");
}

#[tokio::test]
async fn a_kubelet_that_cannot_be_reached_is_said_until_it_can() {
    let server = Server::start(|target, before| match (target.contains("/log?"), before) {
        (true, 0) => Answer::Json(
            500,
            json!({"kind": "Status", "message": "dial tcp 10.0.0.9:10250: i/o timeout\u{1b}[2J"}),
        ),
        (true, _) => Answer::Lines("2026-01-01T21:30:01Z now it does\n"),
        (false, _) => pod(0, &running()),
    })
    .await;
    let seen = follow(&server, |seen| seen.iter().any(|s| s == "now it does")).await;
    assert_eq!(
        seen,
        [
            "(the log cannot be read: 500: dial tcp 10.0.0.9:10250: i/o timeout␛[2J; asked again)",
            "()",
            "now it does"
        ]
    );
}

#[tokio::test]
async fn a_server_that_starts_and_denies_everything_ends_no_log() {
    let server = Server::start(|target, before| match (target.contains("/log?"), before) {
        (true, 0) => Answer::Cut("2026-01-01T21:30:01Z first\n"),
        (true, 1) => Answer::Json(403, json!({"message": "forbidden"})),
        (true, _) => Answer::Lines("2026-01-01T21:30:01Z first\n2026-01-01T21:30:02Z second\n"),
        (false, _) => pod(0, &running()),
    })
    .await;
    let seen = follow(&server, |seen| seen.iter().any(|s| s == "second")).await;
    assert_eq!(seen, ["first", "(the log cannot be read: forbidden; asked again)", "()", "second"]);
}

#[tokio::test]
async fn a_kubelet_that_hangs_is_told_but_not_a_log_without_lines() {
    let hangs = Server::start(|target, _| match target.contains("/log?") {
        true if target.contains("follow=true") => Answer::Hang,
        true => Answer::Json(504, json!({"kind": "Status", "message": "no answer of the kubelet"})),
        false => pod(0, &running()),
    })
    .await;
    let seen = follow(&hangs, |seen| !seen.is_empty()).await;
    assert_eq!(seen, ["(the log cannot be read: 504: no answer of the kubelet; asked again)"]);
    let quiet = Server::start(|target, _| match target.contains("/log?") {
        true if target.contains("follow=true") => {
            Answer::Late(Duration::from_secs(7), "2026-01-01T21:30:01Z the first line\n")
        }
        true => Answer::Lines(""),
        false => pod(0, &running()),
    })
    .await;
    assert_eq!(follow(&quiet, |seen| !seen.is_empty()).await, ["the first line"]);
    assert_eq!(quiet.logs().len(), 2, "the kubelet was checked");
}

#[tokio::test]
async fn what_has_no_log_says_why_and_is_not_asked_for_one() {
    let server = Server::start(|_, _| pod(0, &json!({"waiting": {"reason": "ContainerCreating"}}))).await;
    let seen = follow(&server, |seen| !seen.is_empty()).await;
    assert_eq!(seen, ["(has not started: ContainerCreating)"]);
    let gone =
        Server::start(|_, _| Answer::Json(404, json!({"kind": "Status", "message": "pods \"p\" not found"})))
            .await;
    assert_eq!(follow(&gone, |_| false).await, ["(the pod is gone)"]);
    let denied = Server::start(|target, _| {
        if target.contains("/log?") {
            Answer::Json(403, json!({"message": "forbidden"}))
        } else {
            pod(0, &running())
        }
    })
    .await;
    assert_eq!(follow(&denied, |_| false).await, ["(the log cannot be read: forbidden)"]);
    assert_eq!(server.logs(), Vec::<String>::new());
}
