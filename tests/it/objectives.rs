//! Service level objectives over a real Prometheus: a month of counters is written into its store, and the shares that our
//! source reads are compared with the shares that went in, and with what promtool answers.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse::clock::Clock;
use pilothouse::source::prometheus::{self, ranges::Ranges};
use pilothouse::source::sink::FactSink;
use pilothouse::source::supervise::Supervisor;
use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::settings::{PrometheusSettings, ServerSettings};
use pilothouse_core::domain::slo::{Definer, Good, Measured, Objective, ObjectivesSeen, SloState};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::Fact;
use pilothouse_core::policy::slo;
use tokio::sync::mpsc;

const DAY: i64 = 86_400;
/// The share of failed requests before the last hour, and in it.
const BEFORE: f64 = 0.000_4;
const NOW: f64 = 0.015;
/// The share of requests that took longer than 300 ms.
const LATE: f64 = 0.02;

pub(crate) struct Server {
    process: Child,
    _folder: tempfile::TempDir,
    pub(crate) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// The times of the samples: the last hour every 15 s, three days every minute, and the rest of 31 days every ten minutes.
fn times(now: i64) -> Vec<i64> {
    let (mut at, mut times) = (now - 31 * DAY, Vec::new());
    // making the blocks takes a while, and the rates of the last minute must be there when they are asked for
    while at <= now + 600 {
        times.push(at);
        at += match now - at {
            left if left <= 3_900 => 15,
            left if left <= 3 * DAY + 600 => 60,
            _ => 600,
        };
    }
    times
}

/// A counter of 10 requests per second, of which a share counts.
fn counted(at: i64, now: i64, before: f64, recently: f64) -> f64 {
    let (start, turn) = (now - 31 * DAY, now - 3_600);
    10.0 * ((at.min(turn) - start) as f64 * before + (at - turn).max(0) as f64 * recently)
}

fn open_metrics(now: i64) -> String {
    let mut text = String::new();
    let labels = "namespace=\"shop\",service=\"checkout\",pod=\"p\"";
    for (code, before, recently) in [("200", 1.0 - BEFORE, 1.0 - NOW), ("500", BEFORE, NOW)] {
        for at in times(now) {
            let value = counted(at, now, before, recently);
            writeln!(text, "http_requests_total{{{labels},code=\"{code}\"}} {value} {at}").unwrap();
        }
    }
    for (le, share) in [("0.1", 0.5), ("0.3", 1.0 - LATE), ("+Inf", 1.0)] {
        for at in times(now) {
            let value = counted(at, now, share, share);
            writeln!(text, "http_request_duration_seconds_bucket{{{labels},le=\"{le}\"}} {value} {at}")
                .unwrap();
        }
    }
    let sloth = "sloth_id=\"cart-a\",sloth_service=\"cart\",sloth_slo=\"a\"";
    let recent: Vec<i64> = times(now).into_iter().filter(|at| now - at <= 300).collect();
    let mut recorded = |name: &str, labels: &str, value: f64| {
        for at in &recent {
            writeln!(text, "{name}{{{labels}}} {value} {at}").unwrap();
        }
    };
    recorded("slo:objective:ratio", sloth, 0.99);
    recorded("slo:time_period:days", sloth, 30.0);
    for (window, bad) in [
        ("5m", 0.0),
        ("30m", 0.07),
        ("1h", 0.0),
        ("2h", 0.0),
        ("6h", 0.065),
        ("1d", 0.0),
        ("3d", 0.0),
        ("30d", 0.004),
    ] {
        recorded(
            &format!("slo:sli_error:ratio_rate{window}"),
            &format!("{sloth},sloth_window=\"{window}\""),
            bad,
        );
    }
    text.push_str("# EOF\n");
    text
}

pub(crate) fn start(now: i64) -> Server {
    start_with(&open_metrics(now))
}

/// Starts a Prometheus that has these samples, in the format of OpenMetrics.
pub(crate) fn start_with(samples: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("metrics.txt"));
    std::fs::write(&file, samples).unwrap();
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&file, &data])
        .output()
        .expect("promtool");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, "global: {}\n").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let process = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg("--storage.tsdb.retention.time=60d")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus");
    let server = Server { process, _folder: folder, url: format!("http://127.0.0.1:{port}") };
    let until = Instant::now() + Duration::from_secs(30);
    let ready =
        || TcpStream::connect(("127.0.0.1", port)).is_ok() && promtool(&server.url, "vector(1)").is_some();
    while !ready() {
        assert!(Instant::now() < until, "Prometheus does not answer");
        std::thread::sleep(Duration::from_millis(100));
    }
    server
}

/// The first value of an instant query, asked by promtool.
fn promtool(url: &str, query: &str) -> Option<f64> {
    let answer = Command::new("promtool").args(["query", "instant", url, query]).output().unwrap();
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    text.lines().next()?.rsplit_once("=> ")?.1.split_whitespace().next()?.parse().ok()
}

fn objective(name: &str, good: Good, target: f64) -> Objective {
    Objective {
        namespace: "shop".into(),
        service: "checkout".into(),
        name: name.into(),
        by: Definer::Config,
        good,
        target,
        window_secs: 30 * DAY as u64,
    }
}

async fn first(url: &str) -> ObjectivesSeen {
    let (facts, mut seen) = mpsc::channel(64);
    let (control, mut statuses) = mpsc::channel(64);
    let sink = FactSink::new(ClusterId(0), Clock::system(), facts, control);
    let settings = PrometheusSettings {
        server: ServerSettings::at(url),
        objectives: vec![
            objective("availability", Good::Answered, 0.999),
            objective("latency", Good::Within { ms: 300 }, 0.99),
        ],
        ..PrometheusSettings::default()
    };
    let all = Supervisor::new();
    tokio::spawn(async move { while statuses.recv().await.is_some() {} });
    prometheus::start(&settings, || panic!("a URL needs no cluster"), &Ranges::default(), &sink, &all)
        .unwrap();
    // a busy machine may not answer all queries in the first refresh
    let is_whole = |m: &Arc<Measured>| {
        slo::windows(&m.objective).iter().all(|window| m.ratios.iter().any(|r| r.window_secs == *window))
    };
    let deadline = tokio::time::timeout(Duration::from_secs(120), async {
        loop {
            if let Fact::Objectives(seen) = seen.recv().await.unwrap().fact
                && seen.objectives.iter().all(is_whole)
            {
                return seen;
            }
        }
    });
    let seen = deadline.await.expect("objectives within two minutes");
    all.cancel();
    seen
}

fn share(measured: &Measured, window_secs: u64) -> f64 {
    let ratio = measured.ratios.iter().find(|r| r.window_secs == window_secs);
    ratio.and_then(|r| r.bad).unwrap_or_else(|| panic!("{window_secs} s of {measured:?}"))
}

fn near(a: f64, b: f64, of: &str) {
    assert!((a - b).abs() <= 0.03 * b.abs().max(1e-6), "{of}: {a}, not {b}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a prometheus and a promtool"]
async fn the_shares_and_verdicts_are_those_that_went_in() {
    let now = Clock::system().now().0 / 1000;
    let server = start(now);
    let seen = first(&server.url).await;
    let [availability, latency, sloth] = &*seen.objectives else { panic!("{seen:?}") };
    // how long the requests have been failing at NOW when they were asked for
    let recent = (seen.at.0 / 1000 - (now - 3_600)) as f64;
    for window in slo::windows(&availability.objective) {
        let ours = share(availability, window);
        // what was written: the last hour fails at NOW, everything before it at BEFORE
        let w = window as f64;
        let written = if w <= recent { NOW } else { (recent * NOW + (w - recent) * BEFORE) / w };
        near(ours, written, &format!("what was written, over {window} s"));
        let query = format!(
            "sum(rate(http_requests_total{{code=~\"5..\",service=\"checkout\"}}[{window}s])) / sum(rate(http_requests_total{{service=\"checkout\"}}[{window}s]))"
        );
        near(ours, promtool(&server.url, &query).unwrap(), &format!("promtool, over {window} s"));
        near(share(latency, window), LATE, &format!("late requests over {window} s"));
    }
    let verdict = slo::judge(availability, seen.at);
    assert_eq!(verdict.state, SloState::BurningFast, "{verdict:?}");
    near(verdict.burns[0].long.unwrap(), 15.0, "1 h");
    near(verdict.burns[0].short.unwrap(), 15.0, "5 m");
    // 0.04 % before, and about an hour of 1.5 %, of a budget of 0.1 % over 30 days
    let month = (30 * DAY) as f64;
    let used = (BEFORE * (month - recent) + NOW * recent) / month / 0.001;
    near(verdict.budget_left.unwrap(), 1.0 - used, "the budget that is left");
    let verdict = slo::judge(latency, seen.at);
    assert_eq!(verdict.state, SloState::Spent, "2 % are late, 1 % may be: {verdict:?}");
    assert_eq!((sloth.objective.by, sloth.objective.service.as_str()), (Definer::Sloth, "cart"));
    let verdict = slo::judge(sloth, seen.at);
    assert_eq!(verdict.state, SloState::BurningSlowly, "6.5 over 6 h and 7 over 30 m: {verdict:?}");
    near(verdict.budget_left.unwrap(), 0.6, "the budget of Sloth's objective");
    assert!(seen.at >= Stamp(now * 1000));
}
