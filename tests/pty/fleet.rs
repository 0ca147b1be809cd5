//! Eight clusters of 1,000 pods in one console, compared with a console for each: start, memory, and bytes when nothing
//! happens. It prints a table (`--nocapture`).

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::seat::{Seat, Start};

const CLUSTERS: usize = 8;
/// What the list of clusters says about each of them once it is counted: nodes, pods with problems, pods.
const COUNTED: [&str; 2] = ["50/50", "1,000"];
/// One cluster can take as long as this on a busy machine.
const STARTS_WITHIN: u64 = 300;
const IDLE: Duration = Duration::from_secs(30);
/// What the clock of the header writes when its minute changes.
const MINUTE: usize = 60;
/// One process may need this much more than the eight together.
const MORE: f64 = 1.2;

const SCENARIO: &str = "title = 'a thousand pods'\nextends = 'bare'\nhistory = '0s'\n\
    [[pool]]\nname = 'general'\nnodes = 50\n\
    [[workload]]\nnamespace = 'shop'\nname = 'web'\nreplicas = 1000\nservice = false\n";

/// `pilothouse sim` with a fleet, until it is dropped. Nothing happens in it, but its kubelets go on to renew their
/// Leases: if its time stood still, each node would be shown as late after 22 seconds, with an age that changes.
struct Fleet {
    folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Fleet {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("one.toml"), SCENARIO).unwrap();
        let members = (0..CLUSTERS).map(|n| format!("[[cluster]]\nname = 'c-{n}'\nscenario = 'one.toml'\n"));
        std::fs::write(file("fleet.toml"), format!("title = 'eight'\n{}", members.collect::<String>()))
            .unwrap();
        let built = env!("CARGO_BIN_EXE_pilothouse").into();
        let mut process = Command::new(std::env::var_os("PILOTHOUSE_TEST_BINARY").unwrap_or(built))
            .args(["sim", "--scenario"])
            .arg(file("fleet.toml"))
            .arg("--kubeconfig-out")
            .arg(file("kubeconfig"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(" is open on ")), "the fleet did not start");
        std::thread::spawn(move || lines.for_each(drop));
        Self { folder, process }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

/// A console for these contexts.
fn sit(kubeconfig: &Path, contexts: &[&str]) -> Seat {
    Start { args: contexts, size: (200, 50), ..Start::new(kubeconfig) }.sit()
}

/// Waits until the list of clusters has counted all of them.
fn counts(seat: &mut Seat, clusters: usize) {
    seat.sees(&["? help"]);
    seat.press("\x14", &["cluster:"]);
    seat.wait_for("each cluster is counted", STARTS_WITHIN, |seat| {
        let text = seat.text();
        // the header has the counts of the cluster in front too
        let rows = text.lines().filter(|line| line.starts_with('│'));
        rows.filter(|line| COUNTED.iter().all(|count| line.contains(count))).count() == clusters
    });
    seat.types("\x1b");
}

#[test]
#[ignore = "it prints a measurement, and takes minutes"]
fn one_console_for_eight_clusters_costs_what_eight_consoles_cost() {
    let fleet = Fleet::start();
    let kubeconfig = fleet.kubeconfig();
    let began = Instant::now();
    let mut one = sit(&kubeconfig, &["--context", "*"]);
    counts(&mut one, CLUSTERS);
    let start_of_one = began.elapsed();
    // the search for a Prometheus ends some seconds after everything else
    one.quiet(Duration::from_secs(15), Duration::from_secs(90));
    let memory_of_one = one.resident_kib();
    let idle_of_one = one.bytes_within(IDLE);
    drop(one);
    let began = Instant::now();
    let names: Vec<String> = (0..CLUSTERS).map(|n| format!("c-{n}")).collect();
    let mut each: Vec<Seat> = names.iter().map(|name| sit(&kubeconfig, &["--context", name])).collect();
    for seat in &mut each {
        counts(seat, 1);
    }
    let start_of_each = began.elapsed();
    for seat in &mut each {
        seat.quiet(Duration::from_secs(1), Duration::from_secs(60));
    }
    let memory_of_each: u64 = each.iter().map(Seat::resident_kib).sum();
    for seat in &mut each {
        seat.bytes_within(Duration::ZERO);
    }
    std::thread::park_timeout(IDLE);
    let idle_of_each: usize = each.iter_mut().map(|seat| seat.bytes_within(Duration::from_millis(10))).sum();
    eprintln!("                         one console   eight consoles");
    eprintln!("until all are counted    {start_of_one:>11.1?}   {start_of_each:>14.1?}");
    eprintln!("resident memory, KiB     {memory_of_one:>11}   {memory_of_each:>14}");
    eprintln!("bytes in {IDLE:?}             {idle_of_one:>11}   {idle_of_each:>14}");
    assert!(idle_of_one <= MINUTE, "{idle_of_one} bytes although nothing happened");
    assert!((memory_of_one as f64) <= memory_of_each as f64 * MORE);
    assert!(start_of_one <= start_of_each.mul_f64(MORE));
}
