//! What an hour of the observation of a cluster costs: `cargo test --release -p pilothouse-sim -- --ignored --nocapture
//! cost`. It says numbers and asserts none, because machines differ.

use std::time::Duration;

use pilothouse_sim::clock::Clock;
use pilothouse_sim::observe::Settings;
use pilothouse_sim::world::{App, Demand, Policy};

use crate::stage::{Stage, calling, steady};

/// Resident bytes of this process.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or_default() * 4096.0
}

fn measure(apps: usize, pods: usize, rps: f64, retention: Duration, seconds: i64) {
    let before = resident();
    let mut stage = Stage::with(Settings { retention, ..Settings::default() });
    for app in 0..apps {
        let name = format!("app-{app}");
        let calls = if app % 4 == 0 { calling(&format!("app-{}", app + 1), 1.0) } else { Vec::new() };
        let policy = [Policy::RoundRobin, Policy::LeastConnections, Policy::Random][app % 3];
        let proxy = (app < 4).then(|| name.clone());
        stage.service(&name, pods, Demand { policy, proxy, ..steady(rps) }, App { calls, ..App::default() });
    }
    let objects = resident();
    let clock = Clock::real(1.0);
    stage.run(15);
    let from = clock.now();
    stage.run(seconds);
    let took = (clock.now() - from).num_microseconds().unwrap_or_default() as f64;
    let (db, field) = (stage.observe.tsdb().read(), stage.observe.field().read());
    let samples: usize = db.all().map(|series| series.between(0, i64::MAX / 4).count()).sum();
    eprintln!(
        "{} pods, {} series, {samples} samples in {:.1} MiB: {:.1} bytes each; {:.3} ms per simulated second ({:.2} % of a core); resident: objects {:.1} MiB, the rest {:.1} MiB; logs {:.1} MiB",
        field.by_uid.len(),
        db.len(),
        db.bytes() as f64 / 1_048_576.0,
        db.bytes() as f64 / samples.max(1) as f64,
        took / 1000.0 / seconds as f64,
        took / 1e4 / seconds as f64,
        (objects - before) / 1_048_576.0,
        (resident() - objects) / 1_048_576.0,
        stage.logs.bytes() as f64 / 1_048_576.0,
    );
    drop((field, db));
    let from = clock.now();
    let p95 = "histogram_quantile(0.95, sum by (namespace, service, job, pod, instance, le) (rate(http_request_duration_seconds_bucket[60s])))";
    let found = stage.observe.ask(p95).unwrap().len();
    eprintln!("the quantiles of {found} pods in {} ms", (clock.now() - from).num_milliseconds());
}

#[test]
#[ignore = "says numbers, asserts nothing"]
fn cost() {
    measure(12, 10, 40.0, Duration::from_secs(3600), 3600);
    measure(200, 100, 100.0, Duration::from_secs(600), 300);
}
