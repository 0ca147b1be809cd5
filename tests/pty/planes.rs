//! Two real control planes (tests/cluster/up and its standby) in one console: objects of the same names in both, what
//! is in front, rehearsals and their answers, and which of the two has our writes in its audit log.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{CONTROLLERS, Plane, Rig, rig};
use crate::readonly::is_change;
use crate::seat::{PATIENCE, READING, Seat};

/// Both, and the namespace and node of the test in each of them.
pub struct Planes {
    rig: Rig,
    there: Plane,
    space: &'static str,
}

/// The contexts of both.
pub const HERE: &str = "test";
pub const THERE: &str = "standby";

impl Planes {
    pub fn new(space: &'static str) -> Self {
        let rig = rig();
        let there = rig.standby();
        Self { rig, there, space }
    }

    pub fn at(&self, context: &str) -> &Plane {
        if context == THERE { &self.there } else { &self.rig }
    }

    pub fn both(&self) -> [&Plane; 2] {
        [&self.rig, &self.there]
    }

    /// A kubeconfig with the operator's context of each.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        let [mut config, other] = self.both().map(|plane| {
            let file = plane.folder.join("operator.kubeconfig");
            let view = plane.kubectl_command(&file).args(["config", "view", "--raw", "-o", "json"]).output();
            serde_json::from_slice::<Value>(&view.unwrap().stdout).unwrap()
        });
        for (list, held) in [("clusters", "cluster"), ("users", "user")] {
            let entry = json!({ "name": THERE, held: other[list][0][held] });
            config[list].as_array_mut().unwrap().push(entry);
        }
        let context = json!({ "name": THERE, "context": { "cluster": THERE, "user": THERE } });
        config["contexts"].as_array_mut().unwrap().push(context);
        let path = folder.join("both.kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Creates the namespace and these objects in a cluster, and waits until the pods are ready.
    pub fn fresh(&self, plane: &Plane, objects: &str) {
        for kind in ["node", "namespace"] {
            // an earlier run did not wait until they were gone
            plane.ask(&["delete", kind, self.space, "--ignore-not-found", "--timeout=120s"]);
        }
        plane.namespace(self.space);
        plane.apply(&objects.replace("SPACE", self.space));
        for deployment in plane.ask(&["-n", self.space, "get", "deploy", "-o", "name"]).lines() {
            plane.rolled_out(self.space, deployment);
        }
        let ready = ["-n", self.space, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s"];
        if !plane.ask(&["-n", self.space, "get", "pods", "-o", "name"]).is_empty() {
            plane.ask(&ready);
        }
    }

    /// Runs this, and then fails unless the audit log of one cluster has a write of ours, and that of the other has neither a
    /// write nor a dry run.
    pub fn only_in(&self, context: &str, what: &str, work: impl FnOnce()) {
        let (own, foreign) =
            if context == THERE { (&self.there, &*self.rig) } else { (&*self.rig, &self.there) };
        let marks = [own.mark(), foreign.mark()];
        work();
        let (own, foreign) = std::thread::scope(|scope| {
            let foreign = scope.spawn(|| changes(foreign, marks[1]));
            (changes(own, marks[0]), foreign.join().unwrap())
        });
        assert!(own.iter().any(|e| !is_dry(e)), "{what} in {context}: its log shows no write: {own:#?}");
        assert!(foreign.is_empty(), "{what} in {context}: the other cluster has {foreign:#?}");
    }
}

impl Drop for Planes {
    fn drop(&mut self) {
        for plane in self.both() {
            // nobody else says that a pod of a node that is gone has ended
            let pods = ["-n", self.space, "delete", "pods", "--all", "--force", "--grace-period=0"];
            drop(plane.kubectl(&[&pods[..], &["--wait=false"]].concat()));
            for kind in ["node", "namespace"] {
                drop(plane.kubectl(&["delete", kind, self.space, "--wait=false", "--ignore-not-found"]));
            }
        }
    }
}

/// Our writes and dry runs since then.
pub fn changes(plane: &Plane, mark: u64) -> Vec<Value> {
    plane.audit(mark).into_iter().filter(is_change).collect()
}

pub fn is_dry(entry: &Value) -> bool {
    entry["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun="))
}

/// The actions in the journal of a console, the newest first. One that runs has no outcome.
pub fn journal(seat: &Seat) -> Vec<Value> {
    let listed = Command::new(env!("CARGO_BIN_EXE_pilothouse"))
        .args(["journal", "list", "-o", "json"])
        .env("XDG_STATE_HOME", seat.home().join("state"))
        .env("XDG_CONFIG_HOME", seat.home().join("config"))
        .output()
        .unwrap();
    serde_json::from_slice(&listed.stdout).unwrap_or_default()
}

impl Seat {
    /// The context in front.
    pub fn front(&self) -> String {
        let text = self.text();
        let header = text.lines().next().unwrap_or_default();
        header.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// Brings a cluster to the front.
    pub fn brings(&mut self, context: &str) {
        if self.front() == context {
            return;
        }
        self.press("\x14", &["cluster:"]);
        self.types(&format!("{context}\r"));
        self.wait_for(&format!("{context} in front"), PATIENCE, |seat| seat.front() == context);
    }

    /// Esc alone: followed by another key at once, it would be that key with Alt.
    pub fn steps_back(&mut self) {
        self.types("\x1b");
        self.bytes_within(Duration::from_millis(150));
    }

    /// Selects the only row of a list that has this text. `keys` opens the list from the panes.
    pub fn selects(&mut self, keys: &str, title: &str, filter: &str) {
        for _ in 0..3 {
            self.steps_back();
        }
        self.types("1");
        for key in keys.chars() {
            // a list says which of the two it is, pods or workloads
            if key == '\t' && self.text().contains(title) {
                continue;
            }
            self.types(&key.to_string());
            self.bytes_within(Duration::from_millis(60));
        }
        self.sees(&[title]);
        self.press("/", &["Enter keeps"]);
        // what was kept for this cluster is replaced
        self.types(&format!("\x15{filter}\r"));
        self.sees(&[&format!("{filter} 1 match")]);
    }

    /// Opens the list of failover plans, and picks one. The list is read from the cluster first.
    pub fn picks(&mut self, key: &str, plan: &str) {
        self.press(key, &["│  plan ", plan]);
        self.types(&format!("{plan}\r"));
    }

    /// Waits until a rehearsal of this for an object, in this context, can be confirmed.
    pub fn asks(&mut self, title: &str, object: &str, context: &str) {
        let (title, place) = (format!("Rehearsal: {title}"), format!("{object} in {context} ─"));
        self.wait_for(&format!("{title} … {place}"), PATIENCE, |seat| {
            let text = seat.text();
            let head = text.lines().find(|line| line.contains(&title)).unwrap_or_default();
            head.contains(&place) && (text.contains("y do it") || text.contains("To confirm, type"))
        });
    }

    /// Sets an option of the rehearsal, by the number before its words.
    pub fn chooses(&mut self, words: &str) {
        self.sees(&["o options"]);
        self.press("o", &["a number selects an option", words]);
        // `3 [ ] --force`; the panes beside the dialog have digits too
        let text = self.text();
        let (before, _) = text.split_once(words).unwrap();
        let number = before.chars().rev().find(char::is_ascii_digit).unwrap();
        self.types(&number.to_string());
        self.wait_for("the plan is made anew", PATIENCE, |seat| {
            let text = seat.text();
            !text.contains("a number selects") && (text.contains("To confirm") || text.contains("blocked"))
        });
    }

    /// Gives the open rehearsal the answer that it asks for, and waits until it is taken.
    pub fn agrees(&mut self) {
        for _ in 0..20 {
            self.bytes_within(READING);
            let text = self.text();
            if !text.contains("Rehearsal: ") {
                return;
            }
            let answer = text.split_once("To confirm, type ").and_then(|(_, rest)| {
                rest.split_once(" and press Enter")?.0.split_whitespace().next_back().map(str::to_owned)
            });
            // what was too early is replaced
            let answer = answer.map_or_else(|| "y".to_owned(), |answer| format!("\x15{answer}\r"));
            self.types(&answer);
            self.wait_for("the answer is taken or too early", PATIENCE, |seat| {
                let text = seat.text();
                !text.contains("Rehearsal: ") || ["too early", "has changed"].iter().any(|w| text.contains(w))
            });
        }
        panic!("the answer is not taken:\n{}", self.text());
    }

    /// Repeats until this is so, and takes in what comes meanwhile.
    pub fn until(&mut self, what: &str, is_so: impl Fn() -> Result<(), String>) {
        let deadline = Instant::now() + Duration::from_secs(CONTROLLERS);
        while let Err(seen) = is_so() {
            assert!(Instant::now() < deadline, "{what}: {seen}:\n{}", self.text());
            self.bytes_within(Duration::from_millis(50));
        }
    }

    /// Waits until the journal has this many actions. False if nothing was sent, because the plan had changed meanwhile.
    pub fn is_begun(&mut self, actions: usize) -> bool {
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        loop {
            if journal(self).len() == actions {
                return true;
            }
            if self.text().contains("nothing was sent") {
                return false;
            }
            assert!(Instant::now() < deadline, "it does not begin:\n{}", self.text());
            self.bytes_within(Duration::from_millis(30));
        }
    }

    /// Waits until the journal has this many actions and the newest has ended like this, and returns it.
    pub fn ends(&mut self, actions: usize, outcome: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            self.bytes_within(Duration::from_millis(50));
            let all = journal(self);
            let newest = all.first().filter(|newest| all.len() == actions && newest["outcome"].is_string());
            if let Some(newest) = newest {
                assert_eq!(newest["outcome"], outcome, "{newest:#}");
                return newest.clone();
            }
            assert!(
                Instant::now() < deadline,
                "{} of {actions} actions, the newest {:#?}:\n{}",
                all.len(),
                all.first(),
                self.text()
            );
        }
    }
}
