//! Tests of the list-watch machine against a scripted server: its requests, and the rows and status that it reports.

mod absent;
mod silent;

use std::collections::VecDeque;

use pilothouse_core::domain::id::Version;
use pilothouse_core::facts::event::Gone;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::wire::connect::{ConnectOptions, Connection};

/// Answers requests in order; after the script's end, the last connection stays open.
struct Server {
    port: u16,
    asked: watch::Receiver<Vec<String>>,
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n{body}")
}

fn refuse(code: u16, body: &str) -> String {
    format!("HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn serve(script: Vec<String>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, asked) = watch::channel(Vec::new());
    let mut script: VecDeque<String> = script.into();
    #[allow(clippy::disallowed_methods)]
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            seen.send_modify(|asked| asked.push(line.split(' ').nth(1).unwrap_or_default().to_owned()));
            if let Some(answer) = script.pop_front() {
                if answer.is_empty() {
                    // it is accepted, and never answered
                    held.push(socket);
                    continue;
                }
                socket.write_all(answer.as_bytes()).await.unwrap();
            } else {
                socket.write_all(ok("").as_bytes()).await.unwrap();
                held.push(socket);
            }
        }
    });
    Server { port, asked }
}

#[derive(Clone)]
struct Out(mpsc::UnboundedSender<Reported>);

#[derive(Debug)]
enum Reported {
    Rows(Batch<pilothouse_core::domain::node::NodeLease>),
    Status(SourceStatus),
}

impl Outlet<pilothouse_core::domain::node::NodeLease> for Out {
    async fn rows(&self, batch: Batch<pilothouse_core::domain::node::NodeLease>) {
        self.0.send(Reported::Rows(batch)).unwrap();
    }
    async fn status(&self, status: SourceStatus) {
        self.0.send(Reported::Status(status)).unwrap();
    }
}

/// Runs the machine over a script until `done` holds. Returns what it reported and its requests.
async fn run(script: Vec<String>, done: impl Fn(&[Reported]) -> bool) -> (Vec<Reported>, Vec<String>) {
    run_at("/all", script, done).await
}

/// The same for a kind whose cluster-wide list is at `path`.
async fn run_at(
    path: &str,
    script: Vec<String>,
    done: impl Fn(&[Reported]) -> bool,
) -> (Vec<Reported>, Vec<String>) {
    run_with(path, script, |_| (), done).await
}

/// The same with other settings.
async fn run_with(
    path: &str,
    script: Vec<String>,
    tune: impl FnOnce(&mut Plan),
    done: impl Fn(&[Reported]) -> bool,
) -> (Vec<Reported>, Vec<String>) {
    let (_heart, pulse) = watch::channel(Pulse::default());
    run_beating(pulse, path, serve(script).await, tune, done).await
}

/// The same with a heartbeat.
async fn run_beating(
    pulse: watch::Receiver<Pulse>,
    path: &str,
    server: Server,
    tune: impl FnOnce(&mut Plan),
    done: impl Fn(&[Reported]) -> bool,
) -> (Vec<Reported>, Vec<String>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = format!(
        "clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\ncontexts: [{{name: a, context: {{cluster: c}}}}]\ncurrent-context: a\n",
        server.port
    );
    std::fs::write(file.path(), config).unwrap();
    drop(rustls::crypto::ring::default_provider().install_default());
    let options = ConnectOptions { kubeconfig: Some(file.path().into()), ..ConnectOptions::default() };
    let client = Connection::open(options).await.unwrap().reader().unwrap();
    let (out, mut reported) = mpsc::unbounded_channel();
    let place = |path: &str, ns: Option<&str>| Place { path: path.into(), namespace: ns.map(Name::from) };
    let mut machine = ListWatch {
        client,
        out: Out(out),
        clock: Clock::system(),
        plan: Plan {
            name: "things",
            list: "ThingList",
            needs: "list things".into(),
            places: vec![place(path, None), place("/ns/shop", Some("shop"))],
            query: String::new(),
            gather: Duration::ZERO,
            count: false,
            poll_above: None,
            exact: false,
            unwatched: None,
        },
        pulse,
        listed: None,
        decode: |json: &[u8]| {
            #[derive(Deserialize)]
            struct Thing {
                metadata: Named,
            }
            #[derive(Deserialize)]
            struct Named {
                name: String,
            }
            let thing: Thing = serde_json::from_slice(json).map_err(|e| DecodeError(e.to_string()))?;
            let node = Name::from(thing.metadata.name);
            Ok(Some(pilothouse_core::domain::node::NodeLease { node, ..Default::default() }))
        },
    };
    tune(&mut machine.plan);
    let mut all = Vec::new();
    let collect = async {
        while !done(&all) {
            all.push(reported.recv().await.unwrap());
        }
    };
    tokio::select! {
        () = machine.run() => {}
        () = collect => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("not within 20 s"),
    }
    let asked = server.asked.borrow().clone();
    (all, asked)
}

fn names(reported: &[Reported]) -> Vec<String> {
    reported
        .iter()
        .flat_map(|s| match s {
            Reported::Rows(Batch::Upsert(rows)) => rows.iter().map(|r| r.node.to_string()).collect(),
            _ => Vec::new(),
        })
        .collect()
}

fn ends(reported: &[Reported]) -> usize {
    reported.iter().filter(|s| matches!(s, Reported::Rows(Batch::End { .. }))).count()
}

fn gone(reported: &[Reported]) -> Vec<Gone> {
    reported
        .iter()
        .flat_map(|s| match s {
            Reported::Rows(Batch::Gone(gone)) => gone.clone(),
            _ => Vec::new(),
        })
        .collect()
}

const LIST: &str =
    r#"{"metadata":{"resourceVersion":"10"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}"#;

#[tokio::test]
async fn lists_then_watches_from_its_version() {
    let watch = concat!(
        r#"{"type":"MODIFIED","object":{"metadata":{"name":"b","uid":"u","resourceVersion":"11"}}}"#,
        "\n",
        r#"{"type":"DELETED","object":{"metadata":{"name":"a","uid":"u1","resourceVersion":"12"}}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"20"}}}"#,
        "\n",
    );
    let (reported, asked) = run(vec![ok(LIST), ok(watch)], |reported| {
        gone(reported).len() == 1
            && reported.iter().any(|s| matches!(s, Reported::Status(st) if st.state == SourceState::Live))
    })
    .await;
    assert_eq!(names(&reported), ["a", "b", "b"]);
    assert_eq!(gone(&reported)[0].version, Version(12));
    assert!(matches!(&reported[1], Reported::Rows(Batch::Begin { generation: 1 })), "{:?}", reported[1]);
    assert!(asked[0].starts_with("/all?resourceVersion=0"), "{asked:?}");
    assert!(
        asked[1].starts_with("/all?watch=1&resourceVersion=10&allowWatchBookmarks=true&timeoutSeconds=2"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn an_ended_watch_goes_on_from_the_last_version_without_a_list() {
    let bookmark = "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"20\"}}}\n";
    let event = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"c\",\"uid\":\"u\",\"resourceVersion\":\"21\"}}}\n";
    let (reported, asked) =
        run(vec![ok(LIST), ok(bookmark), ok(event)], |reported| names(reported).len() == 3).await;
    assert_eq!(ends(&reported), 1);
    assert!(asked[2].contains("watch=1&resourceVersion=20&"), "{asked:?}");
}

#[tokio::test]
async fn a_version_that_is_too_old_is_listed_anew_and_never_older() {
    let expired = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}"#;
    let (reported, asked) =
        run(vec![ok(LIST), ok(&format!("{expired}\n")), refuse(410, "{}"), ok(LIST)], |reported| {
            ends(reported) == 2
        })
        .await;
    assert_eq!(asked[2], "/all?resourceVersion=10&resourceVersionMatch=NotOlderThan");
    assert_eq!(asked[3], "/all", "falls back to whatever is newest");
    assert!(!reported.iter().any(|s| matches!(s, Reported::Rows(Batch::Stale { .. }))), "this is no failure");
}

#[tokio::test]
async fn a_list_that_ends_early_is_never_ended() {
    let cut = LIST.get(..LIST.len() - 2).unwrap();
    let (reported, _) = run(vec![ok(cut), ok(LIST)], |reported| ends(reported) == 1).await;
    let statuses: Vec<_> = reported
        .iter()
        .filter_map(|s| match s {
            Reported::Status(s) => Some(s),
            Reported::Rows(_) => None,
        })
        .collect();
    assert!(matches!(statuses[1].state, SourceState::Down { .. }), "{statuses:?}");
    assert_eq!(statuses[1].error.as_deref(), Some("the list ended early"));
    assert!(statuses[1].retry_at.is_some());
    let begins: Vec<_> =
        reported.iter().filter(|s| matches!(s, Reported::Rows(Batch::Begin { .. }))).collect();
    assert_eq!(begins.len(), 2);
}

#[tokio::test]
async fn forbidden_everywhere_else_is_seen_in_the_namespace() {
    let forbidden = r#"{"kind":"Status","code":403,"message":"forbidden"}"#;
    let (reported, asked) = run(vec![refuse(403, forbidden), ok(LIST)], |reported| ends(reported) == 1).await;
    assert!(asked[1].starts_with("/ns/shop?"));
    assert!(
        reported
            .iter()
            .any(|s| matches!(s, Reported::Rows(Batch::Scope { namespaces: Some(ns) }) if *ns == ["shop"]))
    );
}

#[tokio::test]
async fn forbidden_in_both_is_denied_with_what_is_needed() {
    let (reported, _) = run(vec![refuse(403, "no"), refuse(403, "no")], |reported| {
        reported.iter().any(|s| matches!(s, Reported::Rows(Batch::Denied { .. })))
    })
    .await;
    assert!(reported.iter().any(
        |s| matches!(s, Reported::Rows(Batch::Denied { reason }) if reason == "403, needs list things")
    ));
}

#[tokio::test]
async fn what_once_worked_is_not_given_up_at_the_first_refusal() {
    let refusal = || refuse(403, "no");
    let (reported, asked) = run(vec![ok(LIST), refusal(), ok(LIST)], |reported| ends(reported) == 2).await;
    assert!(
        !reported.iter().any(|s| matches!(s, Reported::Rows(Batch::Denied { .. }))),
        "the server had only just started"
    );
    assert!(
        !asked.iter().skip(1).any(|path| path.starts_with("/ns/")),
        "nothing narrower was asked: {asked:?}"
    );
}

#[test]
fn a_server_that_was_away_has_refused_nothing() {
    let refused = ApiError::Forbidden { message: "no".into() };
    let mut run = Run { ever: true, ..Run::new() };
    for _ in 0..3 * DENIED_AFTER {
        assert!(!run.is_denied(&ApiError::Unreachable("refused".into())));
    }
    for n in 1..=DENIED_AFTER {
        assert_eq!(run.is_denied(&refused), n == DENIED_AFTER, "{n}");
    }
    assert!(Run::new().is_denied(&refused), "a kind that was never listed is denied at the first refusal");
    let mut run = Run { ever: true, denied: true, ..Run::new() };
    assert!(!run.is_denied(&ApiError::Unreachable("refused".into())));
    assert!(run.is_denied(&refused), "a kind that was denied before is denied again at the first refusal");
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_ends_nothing() {
    let list = r#"{"metadata":{"resourceVersion":"10"},"items":[{"metadata":{}},{"metadata":{"name":"b"}}]}"#;
    let watch = "nonsense\n{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"c\",\"uid\":\"u\",\"resourceVersion\":\"11\"}}}\n";
    let (reported, _) = run(vec![ok(list), ok(watch)], |reported| names(reported).len() == 2).await;
    assert_eq!(names(&reported), ["b", "c"]);
    assert!(reported.iter().any(|s| matches!(s, Reported::Status(st) if st.state == SourceState::Live
        && st.error.as_deref().is_some_and(|e| e.starts_with("1 objects could not be read")))));
}

#[tokio::test]
async fn what_writes_are_decided_on_is_read_anew_and_whole() {
    let torn = r#"{"metadata":{"resourceVersion":"10"},"items":[{"metadata":{}},{"metadata":{"name":"b"}}]}"#;
    let exact = |plan: &mut Plan| plan.exact = true;
    let watch = "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"resourceVersion\":\"11\"}}}\n";
    let script = vec![ok(torn), ok(LIST), ok(watch), ok(LIST)];
    let (reported, asked) = run_with("/all", script, exact, |reported| ends(reported) == 2).await;
    assert_eq!(
        (asked[0].as_str(), asked[1].as_str()),
        ("/all", "/all"),
        "both lists bypass the cache, and the incomplete one is repeated"
    );
    assert!(asked[2].starts_with("/all?watch=1&resourceVersion=10&"), "{asked:?}");
    assert_eq!(asked[3], "/all", "an unreadable object is listed again, at the newest version");
    assert!(matches!(statuses(&reported)[1].state, SourceState::Down { .. }), "{reported:?}");
}

#[tokio::test]
async fn what_may_be_listed_and_not_watched_is_listed_again() {
    let often = |plan: &mut Plan| plan.unwatched = Some(Duration::from_millis(10));
    let script = vec![ok(LIST), refuse(403, "no"), ok(LIST), refuse(403, "no"), ok(LIST)];
    let (reported, asked) = run_with("/all", script, often, |reported| ends(reported) == 3).await;
    assert!(asked[1].contains("watch=1") && asked[3].contains("watch=1"), "{asked:?}");
    assert!(!reported.iter().any(|s| matches!(s, Reported::Rows(Batch::Stale { .. }))), "this is no failure");
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_obeyed() {
    let throttled = "HTTP/1.1 429 X\r\nretry-after: 2\r\nconnection: close\r\ncontent-length: 17\r\n\r\nToo many requests".to_owned();
    let (reported, _) = run(vec![throttled], |reported| {
        reported.iter().any(|s| matches!(s, Reported::Status(st) if st.attempts == 1))
    })
    .await;
    let Some(Reported::Status(status)) = reported.last() else { panic!("{reported:?}") };
    assert_eq!(status.error.as_deref(), Some("Too many requests"));
    let wait = status.retry_at.unwrap().0 - Clock::system().now().0;
    assert!(wait > 1_000, "{wait}");
}

fn statuses(reported: &[Reported]) -> Vec<&SourceStatus> {
    reported
        .iter()
        .filter_map(|s| match s {
            Reported::Status(status) => Some(status),
            Reported::Rows(_) => None,
        })
        .collect()
}

fn page(names: &[&str], more: &str) -> String {
    let items: Vec<String> = names.iter().map(|n| format!(r#"{{"metadata":{{"name":"{n}"}}}}"#)).collect();
    let items = items.join(",");
    ok(&format!(
        r#"{{"kind":"ThingList","metadata":{{"resourceVersion":"10","continue":"{more}"}},"items":[{items}]}}"#
    ))
}

#[tokio::test]
async fn a_list_in_pages_is_read_to_its_end_and_swept_only_then() {
    let (reported, asked) =
        run(vec![page(&["a"], "t/1"), page(&["b"], "t2"), page(&["c"], "")], |reported| ends(reported) == 1)
            .await;
    assert_eq!(names(&reported), ["a", "b", "c"]);
    assert_eq!(asked[..3], ["/all?resourceVersion=0", "/all?continue=t%2F1", "/all?continue=t2"]);
    let begins = reported.iter().filter(|s| matches!(s, Reported::Rows(Batch::Begin { .. }))).count();
    assert_eq!(begins, 1, "one list, however many pages it has");
    let last = reported.iter().rposition(|s| matches!(s, Reported::Rows(Batch::Upsert(_)))).unwrap();
    let end = reported.iter().position(|s| matches!(s, Reported::Rows(Batch::End { .. }))).unwrap();
    assert!(last < end);
}

#[tokio::test]
async fn a_page_whose_token_has_expired_begins_the_list_anew() {
    let expired = r#"{"kind":"Status","code":410,"reason":"Expired","message":"The provided continue parameter is too old"}"#;
    let script = vec![page(&["a"], "t1"), refuse(410, expired), page(&["a", "b"], "")];
    let (reported, asked) = run(script, |reported| ends(reported) == 1).await;
    assert_eq!(asked[..3], ["/all?resourceVersion=0", "/all?continue=t1", "/all"]);
    assert_eq!(names(&reported), ["a", "a", "b"]);
    assert!(statuses(&reported).iter().all(|s| s.error.is_none()), "this is no failure");
}

#[tokio::test]
async fn a_page_that_fails_or_never_ends_sweeps_nothing() {
    let (reported, _) =
        run(vec![page(&["a"], "t1"), refuse(503, "busy"), page(&["b"], "")], |s| ends(s) == 1).await;
    assert!(statuses(&reported).iter().any(|s| s.error.as_deref() == Some("503: busy")));
    let begins = reported.iter().filter(|s| matches!(s, Reported::Rows(Batch::Begin { .. }))).count();
    assert_eq!(begins, 2, "the list that was cut off is no list");
    let (reported, _) =
        run(vec![page(&["a"], "t"), page(&["a"], "t"), page(&["b"], "")], |s| ends(s) == 1).await;
    let reported = statuses(&reported);
    let error = reported.iter().find_map(|s| s.error.as_deref()).unwrap();
    assert!(error.contains("the list does not end"), "{error}");
}

#[tokio::test]
async fn what_is_no_list_is_a_failure_and_never_an_empty_list() {
    for (body, words) in [
        (r#"{"error":{"code":"x","message":"no healthy upstream"}}"#, "no healthy upstream"),
        ("{}", "not ThingList"),
        (
            r#"{"kind":"Status","status":"Failure","code":403,"message":"rewritten"}"#,
            "403: error Status with HTTP 200: rewritten",
        ),
        (r#"{"kind":"Thing","metadata":{"name":"a"}}"#, "of kind Thing, not ThingList"),
        ("<html>log in", "an HTML page"),
    ] {
        let (reported, _) = run(vec![ok(body), ok(LIST)], |reported| ends(reported) == 1).await;
        let down = statuses(&reported)[1];
        assert!(matches!(down.state, SourceState::Down { .. }), "{body}: {down:?}");
        let error = down.error.as_deref().unwrap_or_default();
        assert!(error.contains(words) && !error.contains('<'), "{body}: {error}");
        let wait = down.retry_at.unwrap().0 - Clock::system().now().0;
        assert!(wait < 500, "after the first failure, the list is repeated very soon, not after {wait} ms");
    }
}
