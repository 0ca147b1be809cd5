//! On a real control plane (tests/cluster/up): the console follows the logs of three pods of three containers while the
//! API server is killed twice. The open log has each line once, and the Errors pane counts each line once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};

use crate::cluster::{Rig, rig};
use crate::seat::{Seat, Start};

const SPACE: &str = "pty-followed";
const PODS: usize = 3;
const CONTAINERS: [&str; 3] = ["app", "side", "proxy"];
const LINES_A_SECOND: f64 = 90.0;
const TIME: Duration = Duration::from_secs(20);

/// The logs of all containers. Their lines are numbered.
struct Logs {
    files: Vec<(String, &'static str, File)>,
    written: usize,
}

impl Logs {
    /// Creates the files, with a first line in each, and the pods that have them.
    fn new(rig: &Rig, folder: &Path) -> Self {
        let (mut files, mut objects) = (Vec::new(), String::new());
        for pod in (0..PODS).map(|n| format!("numbered-{n}")) {
            let mut paths = String::new();
            for container in CONTAINERS {
                // a folder each, because a kubelet watches the folder of a log that it follows
                let folder = folder.join(&pod).join(container);
                std::fs::create_dir_all(&folder).unwrap();
                let path = folder.join("now.log");
                paths.push_str(&format!(
                    "  - {{containers: [{container}], follow: true, logsFile: {0}, previousLogsFile: {0}}}\n",
                    path.display()
                ));
                files.push((pod.clone(), container, File::create(path).unwrap()));
            }
            objects.push_str(&format!(
                "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: Logs\nmetadata: {{name: {pod}, namespace: {SPACE}}}\nspec:\n  logs:\n{paths}---\n"
            ));
        }
        let containers = CONTAINERS.map(|name| format!("{{name: {name}, image: \"a:1\"}}")).join(", ");
        // logs of pods that are not ready are followed without being asked for
        objects.push_str(&format!(
            "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: numbered, namespace: {SPACE}}}
spec:
  replicas: {PODS}
  podManagementPolicy: Parallel
  serviceName: numbered
  selector: {{matchLabels: {{app: numbered}}}}
  template:
    metadata: {{labels: {{app: numbered, fault.test/unready: \"true\"}}}}
    spec:
      tolerations: [{{operator: Exists}}]
      containers: [{containers}]
"
        ));
        let mut logs = Self { files, written: 0 };
        for _ in 0..logs.files.len() {
            logs.line();
        }
        rig.apply(&objects);
        let running = ["-n", SPACE, "get", "pods", "--field-selector=status.phase=Running", "-o", "name"];
        rig.until(&running, |names| names.lines().count() == PODS);
        logs
    }

    /// Writes the next line of the next container, as a container runtime does.
    fn line(&mut self) {
        let of = self.written % self.files.len();
        let at = Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true);
        let line =
            format!("{at} stdout F level=error msg=\"numbered refusal\" seq={:06} took=12ms\n", self.written);
        self.files[of].2.write_all(line.as_bytes()).unwrap();
        self.written += 1;
    }

    fn write(mut self) -> Self {
        let began = Instant::now();
        let first = self.written as f64;
        while began.elapsed() < TIME {
            while (self.written as f64) < first + began.elapsed().as_secs_f64() * LINES_A_SECOND {
                self.line();
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        self
    }
}

/// Removes what the test created.
struct Space<'a>(&'a Rig, PathBuf);

impl Drop for Space<'_> {
    fn drop(&mut self) {
        drop(self.0.kubectl(&["delete", "namespace", SPACE, "--wait=false"]));
        drop(std::fs::remove_dir_all(&self.1));
    }
}

/// The text that was saved last.
fn saved(seat: &Seat) -> String {
    fn files(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().map_while(Result::ok) {
            let path = entry.path();
            if path.is_dir() { files(&path, out) } else { out.push(path) }
        }
    }
    let mut found = Vec::new();
    files(&seat.home().join("state"), &mut found);
    found.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    found.sort();
    std::fs::read_to_string(found.last().expect("a saved log")).unwrap()
}

/// How often each number is in the text.
fn numbers(text: &str) -> BTreeMap<usize, u32> {
    let mut counts = BTreeMap::new();
    for part in text.split("seq=").skip(1) {
        *counts.entry(part.get(..6).unwrap().parse().unwrap()).or_default() += 1;
    }
    counts
}

fn grouped(n: usize) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", n / 1000, n % 1000) }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn an_open_log_and_the_errors_are_whole_while_the_server_is_killed_twice() {
    let rig = rig();
    drop(rig.kubectl(&["delete", "namespace", SPACE, "--ignore-not-found"]));
    rig.namespace(SPACE);
    let space = Space(&rig, rig.folder.join("logs/followed"));
    let logs = Logs::new(&rig, &space.1);

    let args = ["-n", SPACE];
    let mut seat = Start { args: &args, size: (200, 50), ..Start::new(&rig.kubeconfig) }.sit();
    seat.press("3", &["3 Errors"]);
    seat.wait_for("the first lines in the Errors pane", 60, |seat| counted(seat) == Some(logs.written));
    seat.press("5", &["5 Workloads", "numbered"]);
    seat.press("/", &["Enter keeps"]);
    seat.press("numbered\r", &["sts/numbered"]);
    seat.press("l", &["Logs of", &format!("following, {} lines", logs.written)]);

    let writing = std::thread::spawn(move || logs.write());
    for _ in 0..2 {
        std::thread::park_timeout(TIME / 5);
        rig.apiserver("kill");
        rig.apiserver("start");
    }
    let logs = writing.join().unwrap();
    let all = format!("following, {} lines", grouped(logs.written));
    let deadline = Instant::now() + Duration::from_secs(60);
    // a line too many changes the count as well
    while !seat.text().contains(&all) && Instant::now() < deadline {
        seat.bytes_within(Duration::from_millis(200));
    }
    seat.press("\x13", &["written to"]);
    let counts = numbers(&saved(&seat));
    let missing: Vec<usize> = (0..logs.written).filter(|n| !counts.contains_key(n)).collect();
    let doubled: Vec<_> = counts.iter().filter(|(_, times)| **times > 1).collect();
    eprintln!(
        "an open log of {PODS} pods of {} containers: {} lines written, {} shown, {} missing, {} doubled",
        CONTAINERS.len(),
        logs.written,
        counts.len(),
        missing.len(),
        doubled.len()
    );
    assert!(
        missing.is_empty() && doubled.is_empty(),
        "missing {missing:?}, doubled {doubled:?}:\n{}",
        seat.text()
    );
    assert!(seat.text().contains(&all), "it has more lines than were written:\n{}", seat.text());

    // out of the log, the filter and the list; a key that comes at once after an Esc belongs to it
    for _ in 0..3 {
        seat.types("\x1b");
        seat.bytes_within(Duration::from_millis(400));
    }
    seat.press("3", &["3 Errors"]);
    seat.wait_for("every line in the Errors pane", 60, |seat| counted(seat) == Some(logs.written));
}

/// The number of lines of the test's group in the Errors pane.
fn counted(seat: &Seat) -> Option<usize> {
    let row = seat.text().lines().find(|line| line.contains("numbered refusal"))?.to_owned();
    let (_, after) = row.split_once(" error ")?;
    let lines: String = after.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    lines.replace(',', "").parse().ok()
}
