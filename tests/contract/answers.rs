//! The matrix of answers: for every kind of write, an answer that is lost, truncated, sent twice or somebody else's,
//! before or after the server has applied the write. According to the server's audit log, nothing is written twice for
//! one intent, and the reported result never contradicts the cluster's state. PILOTHOUSE_TEST_WHOLE=1 runs all cells;
//! otherwise a fifth of them runs, from each kind and each answer.

mod kinds;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::failover::with_gateway;
use crate::middle::{Answer, Deed, Middle, Upstream, Victim, When, kubeconfig};
use crate::rig::{Rig, audit_mark_in, err, out, real, rig, until};

pub use self::kinds::{COLOURS, DEPLOYMENT};
use self::kinds::{KINDS, Kind, STANDBY};

const SPACE: &str = "contract-answers";
/// Number of cells that run at the same time; most of them wait for an answer that does not come.
const AT_ONCE: usize = 10;
/// The timeout of a write whose answer is dropped.
const TIMEOUT: &str = "--request-timeout=3s";

const ANSWERS: [Answer; 11] = [
    Answer::Dropped,
    Answer::Swallowed,
    Answer::Truncated,
    Answer::Doubled,
    Answer::Says(401),
    Answer::Says(403),
    Answer::Says(409),
    Answer::Says(429),
    Answer::Says(500),
    Answer::Says(504),
    Answer::Locks(401),
];

/// A node for pods with its name only; `down`: it becomes not ready.
pub fn node(name: &str, down: bool) -> String {
    let down = if down { ", answers: down" } else { "" };
    format!(
        "---
apiVersion: v1
kind: Node
metadata: {{name: {name}, labels: {{kubernetes.io/hostname: {name}, contract: answers{down}}}, annotations: {{kwok.x-k8s.io/node: fake}}}}
spec: {{taints: [{{key: contract, value: answers, effect: NoSchedule}}]}}
status: {{capacity: {{cpu: '4', memory: 8Gi, pods: '20'}}, allocatable: {{cpu: '4', memory: 8Gi, pods: '20'}}}}
"
    )
}

/// One answer to one kind of write.
#[derive(Clone, Copy)]
struct Cell {
    kind: &'static Kind,
    number: usize,
}

impl Cell {
    fn when(&self) -> When {
        if self.number < ANSWERS.len() { When::Before } else { When::After }
    }

    fn answer(&self) -> Answer {
        ANSWERS[self.number % ANSWERS.len()]
    }

    fn words(&self) -> String {
        let answer = match self.answer() {
            Answer::Says(code) => code.to_string(),
            Answer::Locks(code) => format!("{code}-for-ever"),
            other => format!("{other:?}").to_lowercase(),
        };
        format!("{} {answer}", if self.when() == When::Before { "before" } else { "after" })
    }

    fn object(&self) -> String {
        format!("{}-{}", self.kind.name, self.words().replace(' ', "-"))
    }

    fn fill(&self, text: &str) -> String {
        text.replace("NAME", &self.object())
            .replace("NODE", &format!("answers-{}", self.object()))
            .replace("SPACE", SPACE)
            .replace("KIND", self.kind.name)
    }
}

/// The result of a cell.
struct Came {
    cell: Cell,
    exit: i32,
    outcome: String,
    step: String,
    message: String,
    /// The client's requests, and how many of them the server applied, by its audit log.
    asked: usize,
    accepted: usize,
    applied: bool,
}

impl Came {
    fn row(&self) -> String {
        format!(
            "| {} | {} | {} {} ({}) | {} | {} | {} |",
            self.cell.kind.name,
            self.cell.words(),
            self.exit,
            self.outcome,
            self.step,
            self.asked,
            self.accepted,
            if self.applied { "yes" } else { "no" },
        )
    }

    /// The mistakes in the result.
    fn wrong(&self) -> Option<String> {
        let said = match (self.exit, self.outcome.as_str(), self.step.as_str()) {
            // our own write must not be attributed to somebody else
            (0, "done", "verified") => self.applied,
            (1, "failed", _) | (3, "refused", _) => !self.applied,
            (4, "unknown", _) => true,
            _ => false,
        };
        // a request that the network repeated is not ours
        let doubled = self.cell.when() == When::Before && self.cell.answer() == Answer::Doubled;
        let most = 1 + usize::from(doubled);
        let why = if !said {
            "what is said is not so"
        } else if self.accepted > most {
            "written twice"
        } else if self.asked == 0 || (self.exit == 0 && self.accepted == 0) {
            "not by the write that this is about"
        } else {
            return None;
        };
        Some(format!("{why}: {}\n    {}", self.row(), self.message))
    }
}

/// The clusters and their proxies.
struct Stage<'a> {
    rig: &'a Rig,
    here: Upstream,
    /// The standby and its kubeconfig.
    there: Option<(Upstream, PathBuf)>,
    homes: tempfile::TempDir,
}

impl Stage<'_> {
    fn play(&self, cell: Cell) -> Came {
        let (method, path) = (cell.kind.write.0, cell.fill(cell.kind.write.1));
        let fired = AtomicBool::new(false);
        let (when, answer) = (cell.when(), cell.answer());
        let there = self.there.as_ref().filter(|_| cell.kind.name == "standby");
        let ends = path.clone();
        let upstream = there.map_or(self.here.port, |(proxy, _)| proxy.port);
        let middle = Middle::start(upstream, Victim::default(), move |asked| {
            let is = asked.is_write() && asked.method == method && asked.path().ends_with(&ends);
            match answer {
                _ if is && !fired.swap(true, Ordering::SeqCst) => Deed::Spoil(when, answer),
                Answer::Locks(_) if fired.load(Ordering::SeqCst) => Deed::Spoil(When::Before, answer),
                _ => Deed::Pass,
            }
        });
        let home = self.homes.path().join(cell.object());
        std::fs::create_dir(&home).unwrap();
        let file = home.join("kubeconfig");
        match there {
            Some(_) => kubeconfig(&file, &[("test", self.here.port), ("standby", middle.port)]),
            None => kubeconfig(&file, &[("test", middle.port)]),
        }
        if !cell.kind.before.is_empty() {
            self.rig.kubectl_ok(&cell.fill(cell.kind.before).split(' ').collect::<Vec<_>>());
        }
        let args = format!("{TIMEOUT} {} --yes --confirm test -o json", cell.fill(cell.kind.args));
        let mut command = self.rig.command_with(&file, &args.split(' ').collect::<Vec<_>>());
        let output = command.env("XDG_STATE_HOME", home.join("state")).output().unwrap();
        let said: Value = serde_json::from_str(&out(&output)).unwrap_or_default();
        let steps = said["steps"].as_array().cloned().unwrap_or_default();
        let is_it = |step: &&Value| match cell.kind.name {
            "drain" => step["what"] == "evict" && step["on"]["name"] == cell.object().as_str(),
            _ => true,
        };
        let step = steps.iter().find(is_it).map_or("none", |s| s["state"].as_str().unwrap_or_default());
        let asked = middle.asked();
        let own = asked.iter().filter(|a| a.is_write() && a.method == method && a.path().ends_with(&path));
        Came {
            cell,
            exit: output.status.code().unwrap_or(-1),
            outcome: said["outcome"].as_str().unwrap_or_default().into(),
            step: step.into(),
            message: format!("{} {}", said["message"].as_str().unwrap_or(&out(&output)), err(&output)),
            asked: own.count(),
            accepted: 0,
            applied: (cell.kind.applied)(&self.object(cell)),
        }
    }

    fn object(&self, cell: Cell) -> Value {
        let kubeconfig = match &self.there {
            Some((_, file)) if cell.kind.name == "standby" => file.as_path(),
            _ => &self.rig.kubeconfig,
        };
        let get = format!("-n {SPACE} get {} --ignore-not-found -o json", cell.fill(cell.kind.get));
        let args: Vec<&str> = get.split(' ').collect();
        serde_json::from_str(&self.rig.kubectl_at(kubeconfig, &args)).unwrap_or_default()
    }

    /// Runs all cells, some at the same time.
    fn all(&self, cells: &[Cell]) -> Vec<Came> {
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(cell) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let came = self.play(*cell);
                        done.lock().unwrap().push(came);
                    }
                });
            }
        });
        done.into_inner().unwrap()
    }
}

/// Our writes that the server has applied, by the path of their object.
pub fn accepted(entries: &[Value], method: &str, path: &str) -> usize {
    let verb = match method {
        "PATCH" => "patch",
        "POST" => "create",
        _ => "delete",
    };
    let is = |e: &&Value| {
        let uri = e["requestURI"].as_str().unwrap_or_default();
        let fine = e["responseStatus"]["code"].as_u64().is_some_and(|code| (200..300).contains(&code));
        let at = uri.split('?').next().is_some_and(|at| at.ends_with(path));
        e["verb"] == verb && fine && at && !uri.contains("dryRun=") && e["stage"] == "ResponseComplete"
    };
    entries.iter().filter(is).count()
}

/// Creates everything that the cells need, and waits until it is ready.
fn make(rig: &Rig, cells: &[Cell], there: Option<&Path>) {
    rig.kubectl_ok(&["delete", "namespace", SPACE, "--ignore-not-found"]);
    rig.kubectl_ok(&["delete", "nodes", "-l", "contract=answers"]);
    rig.namespace(SPACE);
    let mut yaml = COLOURS.replace("COLOUR", "blue") + "---" + &COLOURS.replace("COLOUR", "green");
    let (mut nodes, mut standby) = (String::new(), String::new());
    for cell in cells {
        let text = cell.fill(cell.kind.yaml);
        if cell.kind.name == "standby" {
            // as many in the standby as here
            yaml.push_str(&format!("---{}", text.replace("replicas: 0", "replicas: 1")));
            standby.push_str(&format!("---{text}"));
        } else if !text.is_empty() {
            yaml.push_str(&format!("---{text}"));
        }
        if cell.kind.args.contains("NODE") {
            nodes.push_str(&node(&cell.fill("NODE"), cell.kind.name == "out-of-service"));
        }
    }
    if !nodes.is_empty() {
        rig.apply(&nodes);
    }
    rig.apply_in(SPACE, &yaml);
    if let Some(there) = there {
        let space = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SPACE}}}\n");
        rig.kubectl_at(there, &["delete", "namespace", SPACE, "--ignore-not-found"]);
        rig.apply_at(there, &space);
        rig.apply_at(
            there,
            &standby.replace("metadata: {name:", &format!("metadata: {{namespace: {SPACE}, name:")),
        );
    }
    // a revision to go back to
    let revision = |text: &str| {
        until(60, "each change is a revision", || {
            let all = rig.kubectl_json(&[
                "-n",
                SPACE,
                "get",
                "deploy,sts",
                "-l",
                "answers in (rollback,rollback-set)",
            ]);
            let seen = |o: &&Value| {
                let noted = o["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
                let set = o["status"]["observedGeneration"] == o["metadata"]["generation"];
                set && (o["kind"] == "StatefulSet" || noted == Some(text))
            };
            let all = all["items"].as_array().unwrap();
            let seen = all.iter().filter(seen).count();
            if seen == all.len() { Ok(()) } else { Err(format!("{seen} of {}", all.len())) }
        });
    };
    revision("1");
    let on = ["deploy,sts", "-l", "answers in (rollback,rollback-set)", "a=a:2"];
    rig.kubectl_ok(&[&["-n", SPACE, "set", "image"], &on[..]].concat());
    revision("2");
    for colour in ["deploy/blue", "deploy/green"] {
        rig.kubectl_ok(&["-n", SPACE, "rollout", "status", colour, "--timeout=60s"]);
    }
    stands(rig, "True", "contract=answers");
    // a node that becomes not ready has no condition at all until the node controller has seen it
    rig.kubectl_ok(&["label", "nodes", "-l", "answers=down", "fault.test/not-ready=true"]);
    stands(rig, "False", "answers=down");
    until(60, "the pods run", || {
        let pods = rig.kubectl_json(&["-n", SPACE, "get", "pods"]);
        let pods = pods["items"].as_array().unwrap();
        let running = pods.iter().filter(|p| p["status"]["phase"] == "Running").count();
        if running == pods.len() { Ok(()) } else { Err(format!("{running} of {}", pods.len())) }
    });
    let plans = cells.iter().map(|cell| {
        let (name, kind) = (cell.object(), cell.kind.name);
        let kind = kind.trim_end_matches("-revert");
        let head = format!("[failover.{name}]\nkind = \"{kind}\"\nsoak_secs = 1\n");
        match kind {
            "selector" => format!("{head}service = \"{SPACE}/{name}\"\nfrom = \"version=blue\"\nto = \"version=green\"\n"),
            "weight" => format!("{head}route = \"httproute/{SPACE}/{name}\"\nfrom = \"blue\"\nto = \"green\"\nsteps = [100]\n"),
            "standby" => format!("[failover.{name}]\nkind = \"standby\"\ncontext = \"standby\"\nworkloads = [\"deploy/{SPACE}/{name}\"]\n"),
            _ => String::new(),
        }
    });
    rig.config(&plans.collect::<String>());
}

/// Waits until the nodes with a label report this, and the node controller has added or removed its taint.
fn stands(rig: &Rig, ready: &str, label: &str) {
    until(60, "the nodes are as wanted", || {
        let nodes = rig.kubectl_json(&["get", "nodes", "-l", label]);
        let is = |node: &&Value| {
            let all = node["status"]["conditions"].as_array();
            let says = all.and_then(|c| c.iter().find(|c| c["type"] == "Ready"));
            let taints = node["spec"]["taints"].as_array().map_or(0, Vec::len);
            says.is_some_and(|c| c["status"] == ready) && (taints > 1) == (ready == "False")
        };
        let items = nodes["items"].as_array().unwrap();
        let so = items.iter().filter(is).count();
        if so == items.len() { Ok(()) } else { Err(format!("{so} of {}", items.len())) }
    });
}

fn unmake(rig: &Rig, there: Option<&Path>) {
    rig.kubectl_ok(&["delete", "namespace", SPACE, "--wait=false"]);
    rig.kubectl_ok(&["delete", "nodes", "-l", "contract=answers", "--wait=false"]);
    if let Some(there) = there {
        rig.kubectl_at(there, &["delete", "namespace", SPACE, "--wait=false"]);
    }
}

/// A fifth of the cells, or all of them: among any five successive kinds, every answer occurs.
fn chosen(kinds: &'static [Kind]) -> Vec<Cell> {
    let whole = std::env::var_os("PILOTHOUSE_TEST_WHOLE").is_some();
    let only = std::env::var("PILOTHOUSE_TEST_KINDS").ok();
    let is_wanted = |kind: &Kind| only.as_ref().is_none_or(|only| only.split(',').any(|k| k == kind.name));
    let mut cells = Vec::new();
    for (i, kind) in kinds.iter().enumerate().filter(|(_, kind)| is_wanted(kind)) {
        let numbers = (0..2 * ANSWERS.len()).filter(|n| whole || (n + i) % 5 == 0);
        cells.extend(numbers.map(|number| Cell { kind, number }));
    }
    cells
}

fn judge(rig: &Rig, kinds: &'static [Kind], standby: Option<&Path>) {
    let cells = chosen(kinds);
    if cells.is_empty() {
        return;
    }
    let folder = standby.unwrap_or(&rig.folder);
    let file = standby.map(|folder| folder.join("admin.kubeconfig"));
    make(rig, &cells, file.as_deref());
    let there = standby.zip(file.clone()).map(|(folder, file)| {
        let proxy = Upstream::start(rig, &folder.join("operator.kubeconfig"));
        (proxy, file)
    });
    let here = Upstream::start(rig, &rig.folder.join("operator.kubeconfig"));
    let stage = Stage { rig, here, there, homes: tempfile::tempdir_in(rig.home()).unwrap() };
    let mark = audit_mark_in(folder);
    let mut came = if cells.iter().any(|c| c.kind.name.starts_with("weight")) {
        with_gateway(rig, SPACE, true, || stage.all(&cells))
    } else {
        stage.all(&cells)
    };
    let entries = rig.audit_settled_in(folder, mark);
    for one in &mut came {
        let (method, path) = one.cell.kind.write;
        one.accepted = accepted(&entries, method, &one.cell.fill(path));
    }
    came.sort_by_key(|c| (c.cell.kind.name, c.cell.number));
    eprintln!("| write | answer | said | sent | accepted | applied |\n|---|---|---|---|---|---|");
    for one in &came {
        eprintln!("{}", one.row());
    }
    let wrong: Vec<String> = came.iter().filter_map(Came::wrong).collect();
    unmake(rig, file.as_deref());
    assert!(wrong.is_empty(), "{} of {} cells are wrong:\n{}", wrong.len(), came.len(), wrong.join("\n"));
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn every_write_survives_every_answer() {
    let rig = rig();
    judge(&rig, &KINDS, None);
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_standby_survives_every_answer_real_only() {
    let rig = real("there is no second cluster");
    let there = std::env::var("PILOTHOUSE_TEST_STANDBY_KUBECONFIG").expect("printed by tests/cluster/up");
    judge(&rig, &[STANDBY], Path::new(&there).parent());
}
