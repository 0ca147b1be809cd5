//! Every key of the table in every view of a console that was started with --read-only, each followed by all keys that
//! could confirm something: the audit log has no write and no dry run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{NAMESPACE, Plane, rig};
use crate::seat::{PATIENCE, Seat, Start};

/// What a view is called, the keys that lead to it from anywhere, the words that say that it is there, and the keys of the
/// table that must be answered there with a refusal.
type View = (&'static str, &'static [&'static str], &'static str, &'static str);

const VIEWS: [View; 10] = [
    ("NOW", &["1", "\x1b[Z"], "NOW", ""),
    ("Nodes", &["1", "g"], "1 Nodes", "CDFO"),
    // this cluster has neither routes nor plans that concern a Service: F and W say so
    ("Traffic", &["2", "g"], "2 Traffic", ""),
    ("Errors", &["3"], "3 Errors", ""),
    ("Autoscalers", &["4", "g"], "4 Autoscalers", "S"),
    // on a Deployment: not every kind can be paused
    ("Workloads", &["5", "/", "locked\r", "g"], "5 Workloads", "BPRS"),
    ("Pods", &["5", "\t", "g"], "5 Pods", "K"),
    ("Actions", &["8"], "8 Actions", ""),
    ("a description", &["1", "g", "d"], "Describe", "CDO"),
    ("a log", &["5", "g", "l"], "Logs of", ""),
];

/// The bytes that a terminal sends for a key as the table writes it.
fn bytes(key: &str) -> Option<String> {
    Some(match key {
        "tab" => "\t".into(),
        "back-tab" => "\x1b[Z".into(),
        "esc" => "\x1b".into(),
        "enter" => "\r".into(),
        "space" => " ".into(),
        "f1" => "\x1bOP".into(),
        "f2" => "\x1bOQ".into(),
        "minus" => "-".into(),
        "left" => "\x1b[D".into(),
        "right" => "\x1b[C".into(),
        "up" => "\x1b[A".into(),
        "down" => "\x1b[B".into(),
        "home" => "\x1b[H".into(),
        "end" => "\x1b[F".into(),
        "page-up" => "\x1b[5~".into(),
        "page-down" => "\x1b[6~".into(),
        one if one.chars().count() == 1 => one.into(),
        other => {
            let letter = other.strip_prefix("ctrl-")?;
            char::from(letter.as_bytes().first()? - b'a' + 1).to_string()
        }
    })
}

/// Every key of `pilothouse keys`, but those that leave the console.
fn keys() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_pilothouse")).arg("keys").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // indented by two, the keys first, then a name after two spaces or more
    let rows = text.lines().filter_map(|l| l.strip_prefix("  ")).filter_map(|l| l.split("  ").next());
    let keys: BTreeSet<String> = rows.flat_map(str::split_whitespace).map(str::to_owned).collect();
    let unknown: Vec<&String> = keys.iter().filter(|k| bytes(k).is_none()).collect();
    assert!(unknown.is_empty() && keys.len() > 50, "{unknown:?} of {keys:?}");
    keys.into_iter().filter(|k| k != "q" && k != "ctrl-c").collect()
}

/// True for a request that changes something, or would.
pub fn is_change(entry: &Value) -> bool {
    let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default();
    !matches!(entry["verb"].as_str(), Some("get" | "list" | "watch"))
        && !matches!(resource, "selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "selfsubjectreviews")
}

impl Plane {
    /// The current end of the audit log.
    pub fn mark(&self) -> u64 {
        std::fs::metadata(self.folder.join("audit.jsonl")).unwrap().len()
    }

    /// Our requests since then, once the log has all that was asked so far.
    pub fn audit(&self, from: u64) -> Vec<Value> {
        let name = format!("pty-mark-{from}");
        self.ask(&["get", "configmap", &name, "--ignore-not-found"]);
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        loop {
            // it can be large
            let mut file = File::open(self.folder.join("audit.jsonl")).unwrap();
            file.seek(SeekFrom::Start(from)).unwrap();
            let mut all = Vec::new();
            file.read_to_end(&mut all).unwrap();
            let text = String::from_utf8_lossy(&all);
            if text.contains(&name) {
                let entries = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
                let ours = |e: &Value| e["userAgent"].as_str().is_some_and(|a| a.starts_with("pilothouse/"));
                return entries.filter(ours).collect();
            }
            assert!(Instant::now() < deadline, "the mark does not come into the audit log");
        }
    }
}

/// Goes to a view, whatever is open: what is not loaded yet has no row to open, so it is tried until it is there.
fn go(seat: &mut Seat, (name, way, words, _): &View) {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE);
    loop {
        // back to the root, and no filter or mark left
        for _ in 0..5 {
            seat.types("\x1b");
            seat.bytes_within(Duration::from_millis(15));
        }
        seat.types("0");
        for key in *way {
            // pods and workloads take turns on tab
            if *key == "\t" && seat.text().contains(words) {
                continue;
            }
            seat.types(key);
            // ten consoles share the processors, and the screen before the key has the same words in its title
            seat.quiet(Duration::from_millis(150), Duration::from_secs(2));
        }
        if seat.text().contains(words) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} cannot be reached; the last screen:\n{}", seat.text());
    }
}

/// The keys that were answered with a rehearsal that says read-only.
fn all_keys(seat: &mut Seat, view: &View, keys: &BTreeSet<String>) -> BTreeSet<String> {
    let mut refused = BTreeSet::new();
    for key in keys {
        go(seat, view);
        seat.types(&bytes(key).unwrap());
        if view.3.contains(key.as_str()) {
            // some ask for a number or a plan first: a row of the list of plans, or what is asked
            let is_asked =
                |text: &str| ["Rehearsal", "to:", "bounds", "│  plan "].iter().any(|w| text.contains(w));
            // on a busy machine rows change places, and a key that was for another row is pressed again
            let is_put_off = |text: &str| !is_asked(text) && text.contains("nothing was done");
            let answered = |seat: &Seat| is_asked(&seat.text()) || is_put_off(&seat.text());
            let answer = format!("an answer to {key} in {}", view.0);
            seat.wait_for(&answer, PATIENCE, answered);
            let deadline = Instant::now() + Duration::from_secs(PATIENCE);
            while is_put_off(&seat.text()) {
                assert!(Instant::now() < deadline, "{key} is always put off in {}:\n{}", view.0, seat.text());
                go(seat, view);
                seat.types(&bytes(key).unwrap());
                seat.wait_for(&answer, PATIENCE, answered);
            }
        }
        seat.quiet(Duration::from_millis(40), Duration::from_secs(1));
        // a number where one is asked for, the first that is offered where one picks
        let text = seat.text();
        let first = match key.as_str() {
            "S" if text.contains("min-max") || text.contains("bounds") => "1-9\r",
            "S" => "+1\r",
            _ => "\r",
        };
        let is_refused = |seat: &Seat| {
            let text = seat.text();
            text.contains("Rehearsal") && text.contains("read-only: by --read-only")
        };
        if view.3.contains(key.as_str()) {
            if !seat.text().contains("Rehearsal") {
                seat.types(first);
            }
            seat.wait_for(&format!("a refusal of {key} in {}", view.0), PATIENCE, is_refused);
        }
        for answer in [first, "y", "\r", "test\r"] {
            if is_refused(seat) {
                refused.insert(key.clone());
            }
            seat.types(answer);
            seat.quiet(Duration::from_millis(40), Duration::from_secs(1));
        }
        assert!(seat.runs(), "{key} in {} ended the console", view.0);
    }
    refused
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn no_key_writes_in_read_only_mode() {
    let rig = rig();
    rig.deployment("locked");
    rig.apply(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: {NAMESPACE}}}\nspec: {{selector: {{app: locked, version: blue}}, ports: [{{port: 80}}]}}\n"));
    let keys = keys();
    let config = format!(
        "[failover.green]\nkind = \"selector\"\nservice = \"{NAMESPACE}/web\"\nfrom = \"version=blue\"\nto = \"version=green\"\n\
        [failover.part]\nkind = \"weight\"\nroute = \"traefikservice/{NAMESPACE}/web\"\nfrom = \"a\"\nto = \"b\"\n"
    );
    let mark = rig.mark();
    let refused: BTreeMap<&str, BTreeSet<String>> = std::thread::scope(|scope| {
        let seats: Vec<_> = VIEWS
            .iter()
            .map(|view| {
                let (kubeconfig, config, keys) = (&rig.kubeconfig, &config, &keys);
                scope.spawn(move || {
                    let start =
                        Start { args: &["--read-only"], config: Some(config), ..Start::new(kubeconfig) };
                    let mut seat = start.sit();
                    seat.sees(&["READ-ONLY", "1 Nodes", "node-0"]);
                    (view.0, all_keys(&mut seat, view, keys))
                })
            })
            .collect();
        seats.into_iter().map(|s| s.join().unwrap()).collect()
    });
    let seen = rig.audit(mark);
    let changes: Vec<&Value> = seen.iter().filter(|e| is_change(e)).collect();
    assert!(changes.is_empty(), "{changes:#?}");
    assert!(seen.len() > 100, "only {} requests of ours in the log", seen.len());
    eprintln!("{} keys in {} views, {} requests; refused: {refused:?}", keys.len(), VIEWS.len(), seen.len());
    // what the log would show: a rehearsal without --read-only sends a dry run
    let mark = rig.mark();
    let mut seat = rig.sit(&[]);
    // the key is for the row that is shown as selected
    seat.press("1", &["1 Nodes", "D drain"]);
    seat.press("C", &["Rehearsal: cordon", "y do it"]);
    seat.press("\x1b", &["nothing was changed"]);
    assert!(
        rig.audit(mark).iter().any(|e| is_change(e) && e["requestURI"].to_string().contains("dryRun=All"))
    );
}
