//! The traffic source against a server that answers badly: each time the status says what happened in words, and all is
//! well again with the first good answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilothouse::clock::Clock;
use pilothouse::source::prometheus::{self, ranges::Ranges};
use pilothouse::source::sink::FactSink;
use pilothouse::source::supervise::Supervisor;
use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::settings::{PrometheusSettings, ServerSettings};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::traffic::TrafficSeen;
use pilothouse_core::facts::event::{Event, Fact};
use tokio::sync::mpsc;

/// How queries are answered.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Good,
    /// A status line and headers, and a body.
    Says(&'static str, &'static str),
    /// A good answer after this time.
    Late(Duration),
    /// The connection is closed.
    Hangs,
    /// A body of this many MiB, which is no answer.
    Big(usize),
    /// The series of each rate, and what follows the data.
    Rates(&'static str, &'static str),
}

const GOOD: &str = r#"{"metric":{"namespace":"shop","service":"web","pod":"web-0","code":"200"},"value":[1,"3"]},{"metric":{"namespace":"shop","service":"web","pod":"web-0","code":"500"},"value":[1,"1"]}"#;

fn answer(mode: Mode, target: &str) -> Option<Vec<u8>> {
    let whole = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    };
    let data = |series: &str, more: &str| {
        let body =
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}{more}}}"#);
        whole("200 OK\r\ncontent-type: application/json", &body)
    };
    let rates = |series: &str, more: &str| {
        if target.contains("count_over_time") {
            data(r#"{"metric":{"preset":"http_requests_total"},"value":[1,"60"]}"#, "")
        } else if target.contains("rate%28http_requests_total") || target.contains("rate(http_requests_total")
        {
            data(series, more)
        } else {
            data("", "")
        }
    };
    let text = match mode {
        Mode::Good => rates(GOOD, ""),
        Mode::Rates(series, more) => rates(series, more),
        Mode::Says(status, body) => whole(status, body),
        Mode::Hangs => return None,
        Mode::Late(time) => {
            #[allow(clippy::disallowed_methods, reason = "a server that is slow")]
            std::thread::sleep(time);
            rates(GOOD, "")
        }
        Mode::Big(mib) => {
            let mut text =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", mib << 20);
            text.extend(std::iter::repeat_n(' ', mib << 20));
            text
        }
    };
    Some(text.into_bytes())
}

fn serve(mut socket: &TcpStream, mode: &Mutex<Mode>) {
    let mut lines = BufReader::new(socket.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    if lines.read_exact(&mut body).is_err() {
        return;
    }
    let target = format!("{first}{}", String::from_utf8_lossy(&body));
    let mode = *mode.lock().unwrap();
    if let Some(bytes) = answer(mode, &target) {
        // a client that does not want the rest closes the connection
        drop(socket.write_all(&bytes));
    }
}

fn listen(listener: TcpListener, mode: Arc<Mutex<Mode>>) {
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let mode = mode.clone();
            std::thread::spawn(move || serve(&socket, &mode));
        }
    });
}

/// The source, polling such a server.
struct Polled {
    mode: Arc<Mutex<Mode>>,
    facts: mpsc::Receiver<Event>,
    status: mpsc::Receiver<Event>,
    all: Supervisor,
}

impl Polled {
    fn start(port: u16, poll_secs: u32) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (facts_in, facts) = mpsc::channel(64);
        let (control, status) = mpsc::channel(64);
        let sink = FactSink::new(ClusterId(0), Clock::system(), facts_in, control);
        let settings = PrometheusSettings {
            server: ServerSettings::at(format!("http://127.0.0.1:{port}")),
            presets: vec!["http_requests_total".into()],
            poll_secs,
            ..PrometheusSettings::default()
        };
        let all = Supervisor::new();
        let inside = || unreachable!("it has a URL");
        prometheus::start(&settings, inside, &Ranges::default(), &sink, &all).unwrap();
        Self { mode: Arc::new(Mutex::new(Mode::Good)), facts, status, all }
    }

    fn with_server(poll_secs: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let polled = Self::start(listener.local_addr().unwrap().port(), poll_secs);
        listen(listener, polled.mode.clone());
        polled
    }

    fn answers(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Waits for a status.
    async fn until(&mut self, what: &str, is_it: impl Fn(&SourceStatus) -> bool) -> SourceStatus {
        let mut last = None;
        let wait = async {
            loop {
                let Fact::Source(status) = self.status.recv().await.unwrap().fact else { continue };
                if is_it(&status) {
                    return status;
                }
                last = Some(status);
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(60), wait).await;
        found.unwrap_or_else(|_| panic!("{what}: the last status is {last:?}"))
    }

    /// The newest traffic.
    fn traffic(&mut self) -> Option<TrafficSeen> {
        let mut newest = None;
        while let Ok(event) = self.facts.try_recv() {
            if let Fact::Traffic(seen) = event.fact {
                newest = Some(seen);
            }
        }
        newest
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

fn is_well(status: &SourceStatus) -> bool {
    status.state == SourceState::Live && status.error.is_none()
}

/// The server answers well, badly, and well again. Returns the traffic while it answers badly, if there is any.
async fn through(bad: Mode, words: &str, is_live: bool, is_lasting: bool) -> Option<TrafficSeen> {
    // the time for an answer is a part of the interval, and a large one takes some
    let mut polled = Polled::with_server(if matches!(bad, Mode::Big(_)) { 8 } else { 1 });
    polled.until("well at first", is_well).await;
    let before = polled.traffic().unwrap();
    assert_eq!((before.services[0].rps, before.services[0].error_ratio), (Some(4.0), Some(0.25)));
    polled.answers(bad);
    let status = polled.until(words, |s| s.error.as_ref().is_some_and(|e| e.contains(words))).await;
    if is_live {
        assert_eq!(status.state, SourceState::Live, "{words}");
    } else {
        assert!(matches!(status.state, SourceState::Stale { .. }), "{status:?}");
        assert!(status.retry_at.is_some() && status.attempts >= 1, "{status:?}");
    }
    assert_eq!(status.lasting, is_lasting, "{status:?}");
    let during = polled.traffic();
    polled.answers(Mode::Good);
    polled.until("well again", is_well).await;
    let after = polled.traffic().unwrap();
    assert_eq!(after.services, before.services, "after {words}");
    during
}

#[tokio::test]
async fn what_went_wrong_is_told_and_ends_with_the_first_good_answer() {
    let refused = r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples"}"#;
    let cases = [
        (Mode::Late(Duration::from_secs(10)), "no answer within 800 ms", false),
        (Mode::Hangs, "connection", false),
        (Mode::Says("500 Internal Server Error", "boom"), "500: boom", false),
        (Mode::Says("503 Service Unavailable\r\nretry-after: 2", ""), "503: Service Unavailable", false),
        (Mode::Says("422 Unprocessable Entity", refused), "422: query processing would load", true),
        (Mode::Says("200 OK\r\ncontent-type: text/html", "<!DOCTYPE html><form>"), "an HTML page", true),
        (
            Mode::Says("302 Found\r\nlocation: https://login.example/?next=x", ""),
            "it redirects to https://login.example/?next=x; give that server's URL instead, or a token",
            true,
        ),
        (
            Mode::Says("200 OK", r#"{"status":"success","data":{"resultType":"vector","res"#),
            "not understood",
            true,
        ),
        (Mode::Says("200 OK", r#"{"status":"success"}"#), "no data in the answer", true),
        (Mode::Says("404 Not Found", "404 page not found"), "base URL of a Prometheus", true),
        (Mode::Big(33), "more than 32 MiB", true),
    ];
    let each = cases.map(|(mode, words, is_lasting)| through(mode, words, false, is_lasting));
    for seen in futures::future::join_all(each).await {
        assert_eq!(seen.map(|seen| seen.services.len()), None, "the numbers before stay");
    }
}

#[tokio::test]
async fn answers_with_a_blemish_are_used_for_what_they_are() {
    const RENAMED: &str = r#"{"metric":{"app":"web","pod":"web-0","code":"200"},"value":[1,"3"]}"#;
    let cases = [
        (Mode::Rates(GOOD, r#","warnings":["store-1 did not answer"]"#), "partial: store-1 did not answer"),
        (
            Mode::Rates(GOOD, r#","infos":["metric might not be a counter"]"#),
            "the server notes: metric might",
        ),
        (Mode::Rates(GOOD, r#","isPartial":true"#), "partial: some storage nodes did not answer"),
        (Mode::Rates(RENAMED, ""), "names a service (label service, job); if the label has another name"),
    ];
    let each = cases.map(|(mode, words)| through(mode, words, true, false));
    let seen = futures::future::join_all(each).await;
    let services: Vec<usize> = seen.into_iter().map(|seen| seen.unwrap().services.len()).collect();
    assert_eq!(services, [1, 1, 1, 0], "nothing is made up");
}

#[tokio::test]
async fn a_value_that_is_no_number_is_unknown_and_a_series_counts_once() {
    const NAN: &str = r#"{"metric":{"service":"web","pod":"web-0","code":"200"},"value":[1,"NaN"]},{"metric":{"service":"web","pod":"web-1","code":"200"},"value":[1,"+Inf"]}"#;
    const TWICE: &str = r#"{"metric":{"service":"web","pod":"web-0","code":"200"},"value":[1,"3"]},{"metric":{"service":"web","pod":"web-0","code":"200"},"value":[1,"3"]}"#;
    let rps = async |series: &'static str| {
        let mut polled = Polled::with_server(1);
        polled.answers(Mode::Rates(series, ""));
        polled.until("live", is_well).await;
        let service = polled.traffic().unwrap().services[0].clone();
        (service.rps, service.error_ratio, service.backends.iter().map(|b| b.rps).collect::<Vec<_>>())
    };
    assert_eq!(rps(NAN).await, (None, None, vec![None, None]));
    assert_eq!(rps(TWICE).await, (Some(3.0), Some(0.0), vec![Some(3.0)]));
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_used_as_soon_as_it_is() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut polled = Polled::start(address.port(), 1);
    let status = polled.until("down", |s| matches!(s.state, SourceState::Down { .. })).await;
    assert!(status.error.unwrap().to_lowercase().contains("refused"));
    assert!(polled.traffic().is_none());
    listen(TcpListener::bind(address).unwrap(), polled.mode.clone());
    polled.until("live", is_well).await;
    assert_eq!(polled.traffic().unwrap().services.len(), 1);
}
