//! A console and a simulated cluster in another process: the console is killed during a drain, and shows a Secret.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::demo::asked;
use crate::seat::{PATIENCE, Seat, Start};

/// `pilothouse sim`, until it is dropped.
pub struct Cluster {
    pub folder: tempfile::TempDir,
    pub address: String,
    process: Child,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Cluster {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let mut process = Command::new(env!("CARGO_BIN_EXE_pilothouse"))
            .args(["sim", "--scenario", "calm", "--seed", "1", "--kubeconfig-out"])
            .arg(file("config"))
            .arg("--audit-out")
            .arg(file("audit.jsonl"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let open = lines.find_map(|line| line.unwrap().split("is open on http://").nth(1).map(str::to_owned));
        // it writes more, and must not be held up
        std::thread::spawn(move || lines.for_each(drop));
        Self { folder, address: open.unwrap(), process }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn sit(&self) -> Seat {
        let mut seat = Start::new(&self.kubeconfig()).sit();
        seat.sees(&["1 Nodes", "Ready", "? help"]);
        seat
    }

    /// A request as the administrator; the body of the answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        write!(
            socket,
            "{method} /as/admin{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer admin\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The binary with the home of a seat.
    fn run(&self, home: &Path, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_pilothouse"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(args)
            .env_clear()
            .env("HOME", home)
            .env("XDG_STATE_HOME", home.join("state"))
            .output()
            .unwrap()
    }

    /// The evictions that were accepted, by pod.
    fn evictions(&self) -> BTreeMap<String, u32> {
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        let mut count = BTreeMap::new();
        for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let on = &event["objectRef"];
            if on["subresource"] == "eviction" && event["responseStatus"]["code"] == 201 {
                let pod = format!("{}/{}", on["namespace"], on["name"]);
                *count.entry(pod).or_default() += 1;
            }
        }
        count
    }
}

/// The evictions that the job line tells of: gone, of all.
fn gone(seat: &Seat) -> Option<(u32, u32)> {
    let text = seat.text();
    let (before, _) = text.lines().find(|line| line.starts_with(" JOB"))?.split_once(" evicted")?;
    let (gone, all) = before.rsplit(' ').next()?.split_once('/')?;
    Some((gone.parse().ok()?, all.parse().ok()?))
}

#[test]
fn a_console_that_is_killed_in_a_drain_leaves_it_to_be_resumed() {
    let cluster = Cluster::start();
    for (node, signal) in [("general-c-xtzx4", Signal::KILL), ("general-b-fzs77", Signal::HUP)] {
        let mut seat = cluster.sit();
        seat.press("/", &["Enter keeps"]);
        seat.press(&format!("{node}\r"), &["1 match"]);
        // a plan that was made of half a list is made anew with the rest of it
        seat.wait_for("all pods", PATIENCE, |seat| seat.text().contains(" ok "));
        seat.press("D", &["Rehearsal: drain", "--delete-emptydir-data"]);
        // its pods have such volumes; one after another, so that some are left
        for number in ["2", "5"] {
            seat.press("o", &["[ ] --pods-at-once=1"]);
            seat.types(number);
            seat.wait_for("the plan is made anew", PATIENCE, |seat| {
                seat.text().contains("To confirm, type") && !seat.text().contains("[ ]")
            });
        }
        let end = asked(&seat);
        seat.confirms(&end);
        seat.wait_for("some are gone and some are not", PATIENCE, |seat| {
            gone(seat).is_some_and(|(gone, all)| gone > 0 && gone < all)
        });
        seat.signal(signal);
        seat.ends_within(Duration::from_secs(2));
        let before = cluster.evictions().len();
        let listed = cluster.run(seat.home(), &["journal", "list"]);
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let open: Vec<&str> = text.lines().filter(|line| line.contains("UNFINISHED")).collect();
        assert!(open.len() == 1 && open[0].contains(&format!("drain node/{node}")), "{signal:?}: {text}");
        let id = open[0].split_whitespace().next().unwrap();
        let resumed = cluster.run(seat.home(), &["resume", id, "--yes"]);
        assert_eq!(resumed.status.code(), Some(0), "{signal:?}: {resumed:?}");
        let evictions = cluster.evictions();
        assert!(evictions.len() > before, "{signal:?}: some were left: {evictions:?}");
        assert!(evictions.values().all(|n| *n == 1), "{signal:?}: {evictions:?}");
        let listed = cluster.run(seat.home(), &["journal", "list"]);
        assert!(!String::from_utf8_lossy(&listed.stdout).contains("UNFINISHED"), "{listed:?}");
        let object: Value =
            serde_json::from_str(&cluster.ask("GET", &format!("/api/v1/nodes/{node}"), "")).unwrap();
        assert_eq!(object["spec"]["unschedulable"], true, "it stays cordoned");
        let back = cluster.run(seat.home(), &["uncordon", node, "--yes"]);
        assert_eq!(back.status.code(), Some(0), "{back:?}");
    }
}

/// All text of the files below a folder.
fn texts(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        all.push_str(&format!("{}\n", path.display()));
        if path.is_dir() {
            all.push_str(&texts(&path));
        } else {
            all.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
    }
    all
}

#[test]
fn the_values_of_a_secret_are_neither_shown_nor_written() {
    let cluster = Cluster::start();
    // "hunter2PLANTED", "otherPLANTED": as they are, in base64, and once more in what tools keep of the object
    let secret = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"planted","namespace":"shop","annotations":{
        "team":"payments",
        "kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"k\":\"aHVudGVyMlBMQU5URUQ=\"}}",
        "kapp.k14s.io/original":"{\"stringData\":{\"k\":\"hunter2PLANTED\"}}"}},
        "data":{"k":"aHVudGVyMlBMQU5URUQ=","other":"b3RoZXJQTEFOVEVE"}}"#;
    cluster.ask("POST", "/api/v1/namespaces/shop/secrets", secret);
    let home = {
        let env = [("PILOTHOUSE_LOG", "trace")];
        let kubeconfig = cluster.kubeconfig();
        let mut seat = Start { env: &env, ..Start::new(&kubeconfig) }.sit();
        seat.sees(&["1 Nodes", "Ready", "? help"]);
        seat.types(":");
        seat.types("secrets\r");
        seat.sees(&["planted"]);
        seat.press("y", &["kind: Secret", "***", "team: payments"]);
        // what is on the screen, and all of the text
        seat.types("\x0f");
        seat.sees(&["screen"]);
        seat.types("\x13");
        seat.quiet(Duration::from_millis(300), Duration::from_secs(3));
        seat.press("\x1b", &["planted"]);
        let text = format!("{}\n{}", String::from_utf8_lossy(&seat.raw), texts(seat.home()));
        assert!(texts(seat.home()).contains("kind: Secret"), "the screen was saved");
        for args in [&["snapshot", "-o", "json", "--wait", "2s"][..], &["doctor", "--wait", "2s"]] {
            let said = cluster.run(seat.home(), args);
            assert!(!String::from_utf8_lossy(&said.stdout).contains("PLANTED"));
        }
        text + &texts(seat.home())
    };
    for value in ["hunter2", "PLANTED", "aHVudGVyMl", "b3RoZXJQ"] {
        let around = home.split_once(value).map(|(before, _)| {
            let last: Vec<char> = before.chars().rev().take(200).collect();
            last.into_iter().rev().collect::<String>()
        });
        assert_eq!(around, None, "{value} follows this");
    }
}
