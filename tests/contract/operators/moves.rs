//! The moves of two operators and kubectl in a round, drawn from its seed. A move waits for a line that another process
//! prints, never for a time.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{NODES, SPACE, WORKLOADS};
use crate::rig::{Rig, err, out};

/// Whoever acts: two operators, each with one process at a time, and kubectl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hand {
    A,
    B,
    Kubectl,
}

impl Hand {
    /// The kubeconfig that it uses, and the user of the audit log.
    pub fn user(self) -> &'static str {
        if self == Self::A { "operator" } else { "admin" }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    Drain(&'static str),
    Cordon(&'static str),
    Uncordon(&'static str),
    Scale(&'static str, u32),
    Restart(&'static str),
    Rollback(&'static str),
    /// Of the n-th action in the journal that there is by then.
    Undo(usize),
    Resume(usize),
    DeletePod(usize),
}

/// A move waits for the other operator's process: for its start, its plan and so many lines after that, or its end.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    pub hand: Hand,
    pub act: Act,
    pub after: Option<usize>,
    /// The process gets this signal, so many lines after its plan.
    pub end: Option<(Signal, usize)>,
}

const MOVES: usize = 12;

/// The moves of a seed: whether the operators share a journal, and what they do.
pub fn drawn(seed: u64) -> (bool, Vec<Move>) {
    let mut rng = Rng::with_seed(seed);
    let shared = rng.bool();
    // most of them are about the same node and workload, so that they meet
    let about = (rng.usize(..2), rng.usize(..2));
    let moves = (0..MOVES).map(|_| one(&mut rng, about)).collect();
    (shared, moves)
}

fn one(rng: &mut Rng, about: (usize, usize)) -> Move {
    let hand = [Hand::A, Hand::A, Hand::B, Hand::B, Hand::Kubectl][rng.usize(..5)];
    let elsewhere = usize::from(rng.usize(..4) == 0);
    let (node, workload) = (NODES[(about.0 + elsewhere) % 2], WORKLOADS[(about.1 + elsewhere) % 2]);
    let (replicas, pick, kind) = (rng.u32(2..=6), rng.usize(..4), rng.usize(..100));
    let act = if hand == Hand::Kubectl {
        match kind {
            0..25 => Act::Scale(workload, replicas),
            25..40 => Act::Cordon(node),
            40..65 => Act::Uncordon(node),
            65..80 => Act::Rollback(workload),
            _ => Act::DeletePod(pick),
        }
    } else {
        match kind {
            0..24 => Act::Drain(node),
            24..32 => Act::Cordon(node),
            32..42 => Act::Uncordon(node),
            42..56 => Act::Scale(workload, replicas),
            56..64 => Act::Restart(workload),
            64..74 => Act::Rollback(workload),
            74..90 => Act::Undo(pick),
            _ => Act::Resume(pick),
        }
    };
    let after = rng.usize(..6).checked_sub(1);
    let signals = [Signal::HUP, Signal::KILL, Signal::INT];
    let end = (rng.usize(..100) < 22).then(|| (signals[rng.usize(..3)], rng.usize(..4)));
    Move { hand, act, after, end }
}

/// What a process has printed for people so far.
#[derive(Default)]
struct Told {
    lines: Vec<String>,
    /// Lines after the plan's last.
    progress: Option<usize>,
    over: bool,
}

type Shared = Arc<(Mutex<Told>, Condvar)>;

/// One process of our binary, from its start to its end.
pub struct Process {
    pub hand: Hand,
    pub args: Vec<String>,
    /// Where its journal is.
    pub home: PathBuf,
    pub pid: u32,
    /// Of the machine's clock, in microseconds.
    pub started: i64,
    pub ended: i64,
    /// None: ended by a signal.
    pub code: Option<i32>,
    /// The signals that it got.
    pub signals: Vec<&'static str>,
    pub told: Vec<String>,
    /// Its result document.
    pub result: Option<Value>,
    /// The action that it undoes or resumes.
    pub of: Option<String>,
}

impl Process {
    pub fn is_resume(&self) -> bool {
        self.args.first().is_some_and(|a| a == "resume")
    }
}

struct Running {
    process: Process,
    child: Child,
    printed: tempfile::NamedTempFile,
    told: Shared,
    reader: std::thread::JoinHandle<bool>,
}

/// How many arguments each process has besides what it is about.
pub const FLAGS: usize = 7;

/// Whoever waits longer than that is told to end.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::HUP => "HUP",
        Signal::KILL => "KILL",
        _ => "INT",
    }
}

fn send(pid: u32, signal: Signal) {
    // one that has ended meanwhile needs none; it is not waited for yet, so its number is still its own
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ended = kill_process(pid, signal);
}

impl Running {
    fn start(rig: &Rig, hand: Hand, home: &Path, args: Vec<String>, m: Move) -> Self {
        let kubeconfig = rig.folder.join(format!("{}.kubeconfig", hand.user()));
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let printed = tempfile::NamedTempFile::new().unwrap();
        let mut command = rig.command_with(&kubeconfig, &words);
        command.env("XDG_STATE_HOME", home).stdout(printed.reopen().unwrap()).stderr(Stdio::piped());
        let started = now();
        let mut child = command.spawn().unwrap();
        let pid = child.id();
        let (told, lines) = (Shared::default(), BufReader::new(child.stderr.take().unwrap()));
        let heard = told.clone();
        let reader = std::thread::spawn(move || {
            let mut sent = false;
            for line in lines.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let mut told = heard.0.lock().unwrap();
                told.progress = match told.progress {
                    Some(n) => Some(n + 1),
                    None => ["with kubectl: ", "as a command: "]
                        .iter()
                        .any(|end| line.starts_with(end))
                        .then_some(0),
                };
                told.lines.push(line);
                if let Some((signal, _)) = m.end.filter(|(_, at)| !sent && told.progress >= Some(*at)) {
                    sent = true;
                    send(pid, signal);
                }
                heard.1.notify_all();
            }
            heard.0.lock().unwrap().over = true;
            heard.1.notify_all();
            sent
        });
        let follows = args.first().is_some_and(|verb| verb == "undo" || verb == "resume");
        let of = args.get(1).filter(|_| follows).cloned();
        let process = Process {
            hand,
            args,
            home: home.to_owned(),
            pid,
            started,
            ended: 0,
            code: None,
            signals: Vec::new(),
            told: Vec::new(),
            result: None,
            of,
        };
        Self { process, child, printed, told, reader }
    }

    /// Until it has printed so many lines after its plan, or has ended. False: not in that time.
    fn wait(&self, lines: usize, patience: Duration) -> bool {
        let (told, changed) = &*self.told;
        let told = told.lock().unwrap();
        let waits = |told: &mut Told| !told.over && told.progress < Some(lines);
        !changed.wait_timeout_while(told, patience, waits).unwrap().1.timed_out()
    }

    /// Its end; one that takes too long is told to end, as a person would.
    fn finish(mut self, end: Option<(Signal, usize)>) -> Process {
        for signal in [Signal::INT, Signal::HUP, Signal::KILL] {
            if self.wait(usize::MAX, PATIENCE) {
                break;
            }
            self.process.signals.push(name(signal));
            send(self.process.pid, signal);
        }
        let status = self.child.wait().unwrap();
        self.process.ended = now();
        if self.reader.join().unwrap() {
            self.process.signals.extend(end.map(|(signal, _)| name(signal)));
        }
        self.process.code = status.code();
        self.process.told = std::mem::take(&mut self.told.0.lock().unwrap().lines);
        self.process.result =
            std::fs::read(self.printed.path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
        self.process
    }
}

/// A round's moves, carried out.
pub struct Played {
    pub processes: Vec<Process>,
    /// When kubectl was asked, what, and what it said.
    pub kubectl: Vec<(i64, Vec<String>, String)>,
}

pub fn play(rig: &Rig, homes: [&Path; 2], moves: &[Move]) -> Played {
    let mut played = Played { processes: Vec::new(), kubectl: Vec::new() };
    let mut running: [Option<(Running, Move)>; 2] = [None, None];
    let mut last = 0;
    for m in moves {
        let own = usize::from(m.hand == Hand::B);
        if m.hand != Hand::Kubectl
            && let Some((process, of)) = running[own].take()
        {
            played.processes.push(process.finish(of.end));
        }
        let other = if m.hand == Hand::Kubectl { last } else { 1 - own };
        if let (Some(lines), Some((process, _))) = (m.after, &running[other]) {
            process.wait(lines, PATIENCE);
        }
        if m.hand == Hand::Kubectl {
            played.kubectl.extend(third_hand(rig, m.act));
            continue;
        }
        let args = args(rig, homes[own], m.act);
        running[own] = Some((Running::start(rig, m.hand, homes[own], args, *m), *m));
        last = own;
    }
    for (process, of) in running.into_iter().flatten() {
        played.processes.push(process.finish(of.end));
    }
    played.processes.sort_by_key(|p| p.started);
    played
}

/// The arguments of our binary.
fn args(rig: &Rig, home: &Path, act: Act) -> Vec<String> {
    let mut words: Vec<String> = match act {
        Act::Drain(node) => ["drain", node, "--ignore-daemonsets", "--timeout=12s"].map(str::to_owned).into(),
        Act::Cordon(node) => vec!["cordon".into(), node.into()],
        Act::Uncordon(node) => vec!["uncordon".into(), node.into()],
        Act::Scale(on, n) => vec!["scale".into(), on.into(), "--replicas".into(), n.to_string()],
        Act::Restart(on) => vec!["restart".into(), on.into()],
        Act::Rollback(on) => vec!["rollback".into(), on.into()],
        Act::Undo(_) | Act::Resume(_) | Act::DeletePod(_) => Vec::new(),
    };
    if words.is_empty() {
        // the n-th of those that there are; without one there is an action all the same
        let open = unfinished(rig, home);
        let known: Vec<String> = journal(rig, home).iter().filter_map(|d| text(&d["id"])).collect();
        let nth = |of: &[String], n: usize| of.get(n % of.len().max(1)).cloned();
        words = match act {
            Act::Resume(n) if !open.is_empty() => vec!["resume".into(), nth(&open, n).unwrap()],
            Act::Undo(n) | Act::Resume(n) if !known.is_empty() => {
                vec!["undo".into(), nth(&known, n).unwrap()]
            }
            _ => vec!["cordon".into(), NODES[0].into()],
        };
    }
    words.extend(["-n", SPACE, "--yes", "--confirm", "test", "-o", "json"].map(str::to_owned));
    words
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn journal_command(rig: &Rig, home: &Path, args: &[&str]) -> std::process::Output {
    rig.command_as("operator", args).env("XDG_STATE_HOME", home).output().unwrap()
}

/// The actions of a journal, newest first.
pub fn journal(rig: &Rig, home: &Path) -> Vec<Value> {
    let listed = journal_command(rig, home, &["journal", "list", "-o", "json"]);
    serde_json::from_slice(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", out(&listed), err(&listed)))
}

/// The ids of those that wait for somebody to take them up.
pub fn unfinished(rig: &Rig, home: &Path) -> Vec<String> {
    let listed = out(&journal_command(rig, home, &["journal", "list"]));
    let open = listed.lines().filter(|l| l.contains("UNFINISHED"));
    open.filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect()
}

/// Which process began which action: a journal's file is named after its process, and an action begins with its intent.
pub fn begun(home: &Path) -> BTreeMap<u32, String> {
    let files = std::fs::read_dir(home.join("pilothouse/journal")).into_iter().flatten().flatten();
    let of_file = |file: std::fs::DirEntry| {
        let path = file.path();
        let pid = path.file_stem()?.to_str()?.rsplit('-').next()?.parse().ok()?;
        let text = std::fs::read_to_string(&path).ok()?;
        let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let intent = records.map(|r| r["body"].clone()).find(|r| r["record"] == "intent")?;
        Some((pid, intent["id"].as_str()?.to_owned()))
    };
    files.filter_map(of_file).collect()
}

fn third_hand(rig: &Rig, act: Act) -> Option<(i64, Vec<String>, String)> {
    let words: Vec<String> = match act {
        Act::Cordon(node) => vec!["cordon".into(), node.into()],
        Act::Uncordon(node) => vec!["uncordon".into(), node.into()],
        Act::Scale(on, n) => vec!["scale".into(), on.into(), format!("--replicas={n}")],
        Act::Rollback(on) => vec!["rollout".into(), "undo".into(), on.into()],
        Act::DeletePod(n) => {
            let pods = rig.kubectl_ok(&["-n", SPACE, "get", "pods", "-o", "name"]);
            let pods: Vec<&str> = pods.lines().collect();
            vec!["delete".into(), (*pods.get(n % pods.len().max(1))?).into(), "--wait=false".into()]
        }
        Act::Drain(_) | Act::Restart(_) | Act::Undo(_) | Act::Resume(_) => return None,
    };
    let mut all = vec!["-n", SPACE];
    all.extend(words.iter().map(String::as_str));
    let at = now();
    let done = rig.kubectl(&all);
    Some((at, words, format!("{}{}", out(&done), err(&done)).trim().replace('\n', "; ")))
}
