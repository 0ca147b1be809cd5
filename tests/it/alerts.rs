//! The source of alerts against a server that answers well, badly, and well again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilothouse::clock::Clock;
use pilothouse::source::alerts;
use pilothouse::source::sink::FactSink;
use pilothouse::source::supervise::Supervisor;
use pilothouse_core::domain::alert::{AlertOrigin, AlertState, AlertsSeen};
use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::settings::{AlertmanagerSettings, PrometheusSettings, ServerSettings};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::facts::event::{Event, Fact};
use tokio::sync::mpsc;

const ALERTS: &str = r#"[{"annotations":{"summary":"It is full."},"endsAt":"2026-11-29T10:05:00.000Z",
"fingerprint":"0a","receivers":[{"name":"shop"}],"startsAt":"2026-11-29T10:00:00.000Z",
"status":{"inhibitedBy":[],"silencedBy":[],"mutedBy":[],"state":"active"},"updatedAt":"2026-11-29T10:01:00.000Z",
"generatorURL":"http://prometheus/graph","labels":{"alertname":"DiskFull","severity":"critical","node":"n1"}},
{"annotations":{},"endsAt":"2026-11-29T10:05:00.000Z","fingerprint":"0b","receivers":[{"name":"shop"}],
"startsAt":"2026-11-29T10:00:00.000Z","status":{"inhibitedBy":[],"silencedBy":["s1"],"state":"suppressed"},
"updatedAt":"2026-11-29T10:01:00.000Z","labels":{"alertname":"Slow","severity":"warning"}}]"#;

const SILENCES: &str = r#"[{"id":"s1","status":{"state":"active"},"updatedAt":"2026-11-29T09:00:00.000Z","comment":"known",
"createdBy":"ann","endsAt":"2026-11-29T12:00:00.000Z","startsAt":"2026-11-29T09:00:00.000Z",
"matchers":[{"isEqual":true,"isRegex":false,"name":"alertname","value":"Slow"}]}]"#;

type Answer = (&'static str, &'static str);

/// A status line, and a body in place of the alerts.
const GOOD: Answer = ("200 OK", ALERTS);

fn serve(mut socket: &TcpStream, mode: &Mutex<Answer>) {
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    if lines.all(|line| !line.is_empty()) {
        return;
    }
    let (status, body) = *mode.lock().unwrap();
    let body = if first.contains("/api/v2/silences") { SILENCES } else { body };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}");
    // a client that does not want the rest closes the connection
    drop(write!(socket, "{head}\r\nconnection: close\r\n\r\n{body}"));
}

/// The newest status that is like this, and the newest alerts.
async fn until(
    events: &mut mpsc::Receiver<Event>,
    what: &str,
    is_it: impl Fn(&SourceStatus) -> bool,
) -> SourceStatus {
    let wait = async {
        loop {
            let Fact::Source(status) = events.recv().await.unwrap().fact else { continue };
            if is_it(&status) {
                return status;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{what}"))
}

fn newest(facts: &mut mpsc::Receiver<Event>) -> Option<AlertsSeen> {
    let mut newest = None;
    while let Ok(event) = facts.try_recv() {
        if let Fact::Alerts(seen) = event.fact {
            newest = Some(seen);
        }
    }
    newest
}

async fn through(bad: Answer, words: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mode = Arc::new(Mutex::new(GOOD));
    let served = mode.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            serve(&socket, &served);
        }
    });
    let (facts_in, mut facts) = mpsc::channel(64);
    let (control, mut status) = mpsc::channel(64);
    let sink = FactSink::new(ClusterId(0), Clock::system(), facts_in, control);
    let settings = AlertmanagerSettings {
        server: ServerSettings::at(url.clone()),
        poll_secs: 1,
        rules: false,
        ..AlertmanagerSettings::default()
    };
    let (_world_in, world) = tokio::sync::watch::channel(Arc::default());
    let all = Supervisor::new();
    let inside = || unreachable!("it has a URL");
    alerts::start(&settings, &PrometheusSettings::default(), inside, &world, &sink, &all).unwrap();

    let well = |s: &SourceStatus| s.state == SourceState::Live && s.error.is_none();
    until(&mut status, "well at first", well).await;
    let before = newest(&mut facts).unwrap();
    let told: Vec<_> = before.alerts.iter().map(|a| (a.name(), a.state, a.summary())).collect();
    assert_eq!(told, [("DiskFull", AlertState::Firing, "It is full."), ("Slow", AlertState::Silenced, "")]);
    assert_eq!((before.origin, before.base.as_str()), (AlertOrigin::Alertmanager, url.as_str()));
    assert_eq!(before.silence("s1").unwrap().author, "ann");

    *mode.lock().unwrap() = bad;
    let failed = until(&mut status, words, |s| s.error.as_ref().is_some_and(|e| e.contains(words))).await;
    assert!(matches!(failed.state, SourceState::Stale { .. }), "{failed:?}");
    assert!(failed.retry_at.is_some() && failed.attempts >= 1, "{failed:?}");
    newest(&mut facts);

    *mode.lock().unwrap() = GOOD;
    until(&mut status, "well again", well).await;
    let after = newest(&mut facts).unwrap();
    assert_eq!((after.alerts, after.silences), (before.alerts, before.silences), "after {words}");
    all.cancel();
}

#[tokio::test]
async fn what_went_wrong_is_told_and_ends_with_the_first_good_answer() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let cases = [
        (("500 Internal Server Error", r#""the gossip has not settled""#), "500: the gossip has not settled"),
        (("404 Not Found", "404 page not found"), "base URL of an Alertmanager"),
        (("200 OK", "<!DOCTYPE html><form>"), "an HTML page"),
        (("200 OK", r#"{"status":"success"}"#), "not understood"),
    ];
    futures::future::join_all(cases.map(|(bad, words)| through(bad, words))).await;
}
