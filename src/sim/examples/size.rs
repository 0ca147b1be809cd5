//! Measures the cost of a whole cluster: `cargo run --release -p pilothouse-sim --example size -- [SCENARIO] [SCALE]
//! [SECONDS]` builds the cluster of a scenario, runs it for a while, and prints after each phase the time, the memory
//! of the process and what holds it, and the cost of each part.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use pilothouse_sim::engine::Part;
use pilothouse_sim::resources::Res;
use pilothouse_sim::scenario::Scenario;
use pilothouse_sim::server::{self, Options, Probe};
use pilothouse_sim::store::Store;

/// Time spent in each part, since it was last printed, and when that was.
static SPENT: LazyLock<Mutex<BTreeMap<&'static str, (u64, Duration)>>> = LazyLock::new(Mutex::default);
static SINCE: LazyLock<Mutex<Instant>> = LazyLock::new(|| Mutex::new(now()));

#[allow(clippy::disallowed_methods, reason = "it measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// A part whose time is measured.
struct Timed(Box<dyn Part>);

impl Part for Timed {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let began = now();
        let next = self.0.step(at);
        let mut spent = SPENT.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = spent.entry(self.0.name()).or_default();
        *mine = (mine.0 + 1, mine.1 + began.elapsed());
        next
    }
}

/// Resident memory of this process, current and maximum, in MiB. Only on Linux.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or_default() / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn report(phase: &str, store: &Store) {
    let (rss, peak) = resident();
    let mut since = SINCE.lock().unwrap_or_else(PoisonError::into_inner);
    let took = std::mem::replace(&mut *since, now()).elapsed();
    let mut out = io::stdout().lock();
    let mut lines =
        vec![format!("{phase}: {took:?}, {rss} MiB resident, {peak} at most, {} writes", store.version())];
    for res in Res::ALL {
        let (log, bytes) = store.logged(*res);
        let held: usize = store.list(*res, None).iter().map(|object| object.weight()).sum();
        if held + bytes > 1 << 18 {
            lines.push(format!(
                "    {}: {} objects of {} KiB; {log} changes of {} KiB",
                res.info().plural,
                store.count(*res),
                held >> 10,
                bytes >> 10
            ));
        }
    }
    for (name, (steps, time)) in std::mem::take(&mut *SPENT.lock().unwrap_or_else(PoisonError::into_inner)) {
        if time > Duration::from_millis(20) {
            lines.push(format!("    {name}: {time:?} in {steps} steps"));
        }
    }
    // The reader has closed the pipe.
    drop(writeln!(out, "{}", lines.join("\n")));
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "incident".to_owned());
    let mut number = || args.next().and_then(|arg| arg.parse::<usize>().ok());
    let (scale, seconds) = (number().unwrap_or(1), number().unwrap_or(600));
    let scenario = Scenario::load(&name).map_err(io::Error::other)?;
    let probe = Probe { phase: report, part: |part| Box::new(Timed(part)) };
    let began = *SINCE.lock().unwrap_or_else(PoisonError::into_inner);
    let options = Options { scale, factor: 0.0, probe: Some(probe), ..Options::new(scenario) };
    let mut built = server::build(options)?;
    let mut out = io::stdout().lock();
    writeln!(out, "built in {:?}", began.elapsed())?;
    drop(out);
    for _ in 0..3 {
        let clock = built.store.clock().clone();
        built.engine.fast_forward(clock.now() + TimeDelta::seconds(i64::try_from(seconds / 3).unwrap_or(60)));
        report("lived on", &built.store);
        let Some(observe) = &built.observe else { continue };
        let db = observe.tsdb().read();
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "    {} pods, {} series of {} KiB, logs of {} KiB",
            built.store.count(Res::Pods),
            db.len(),
            db.bytes() >> 10,
            built.logs.bytes() >> 10
        )?;
    }
    if let Some(observe) = &built.observe {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for series in observe.tsdb().read().all() {
            *names
                .entry(series.labels.get("__name__").map(ToString::to_string).unwrap_or_default())
                .or_default() += 1;
        }
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        writeln!(io::stdout().lock(), "    {:?}", names.get(..names.len().min(24)))?;
    }
    Ok(())
}
