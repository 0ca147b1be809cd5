//! The verdict on shares with a real HAProxy and a real Prometheus: false alarms, skews that are found, and the numbers
//! compared with what the load generator counted itself.
//!
//! Without a variable, the test takes about three minutes and judges scrapes every 5 s. With
//! `PILOTHOUSE_TEST_INTERVALS=200`, it takes more than twenty minutes, and judges at least 200 balanced intervals of a
//! service for scrapes every 5, 15 and 30 s. It prints its table, and writes it to `PILOTHOUSE_TEST_BALANCE`, if set.

mod judged;
mod load;
mod plan;
mod stand;

use std::time::{SystemTime, UNIX_EPOCH};

use self::judged::Record;
use self::plan::Algorithm;
use self::stand::{SCRAPES, Stand};

#[test]
#[ignore = "needs haproxy, prometheus and a machine without other load: tests/cluster/README.md"]
fn balanced_services_raise_no_alarm_and_a_skew_is_found_real_only() {
    let intervals: Option<u64> =
        std::env::var("PILOTHOUSE_TEST_INTERVALS").ok().map(|text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let base = 20_000 + (std::process::id() % 20_000) as u16;
    let (copies, scrapes): (usize, &[u32]) =
        if intervals.is_some() { (4, &SCRAPES) } else { (1, &SCRAPES[..1]) };
    let services = plan::services(copies);
    let balanced = services.iter().filter(|s| s.skew.is_none()).count() as u64;
    let (seconds, changes): (u64, &[(u64, bool)]) = match intervals {
        // each interval counts once for each service, and the first windows must be full
        Some(n) => (
            1_290.max(150 + n.div_ceil(balanced) * 30),
            &[(180, true), (400, false), (640, true), (860, false), (1_050, true)],
        ),
        None => (165, &[(90, true)]),
    };
    let stand = Stand::start(folder.path(), base, services);
    stand.record(seconds, changes);
    let record = Record::read(&stand);
    let mut table = record.counts(60);
    for scrape in scrapes {
        let outcome = record.judge(*scrape);
        table.extend(outcome.lines());
        outcome.check(intervals.unwrap_or(30));
    }
    let text = table.join("\n");
    eprintln!("{text}");
    if let Some(path) = std::env::var_os("PILOTHOUSE_TEST_BALANCE") {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        std::fs::write(path, format!("as of {at}, {seconds} s\n{text}\n")).unwrap();
    }
}

/// The policy that the product has for an algorithm.
fn policy(algorithm: Algorithm) -> pilothouse_core::domain::traffic::Policy {
    use pilothouse_core::domain::traffic::Policy;
    match algorithm {
        Algorithm::RoundRobin => Policy::RoundRobin,
        Algorithm::Weighted => Policy::Weighted,
        Algorithm::LeastConn => Policy::LeastConnections,
        Algorithm::Random => Policy::Random,
        Algorithm::Source => Policy::ByClient,
        Algorithm::Header => Policy::ByRequest,
    }
}
