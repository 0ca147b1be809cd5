//! Logs of containers whose lines are numbered: `pilothouse logs -f` prints each line once while the API server is
//! killed and containers are restarted, or tells a gap. Containers that are not followed are counted, and a log that
//! gives no lines says why.

mod peers;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use self::peers::{Lines, Peer, judge, row};
use crate::rig::{Rig, err, out, real, until};
use crate::wire::{JSON, MERGE, Wire};

const SPACE: &str = "contract-logs";
const CONTAINERS: [&str; 3] = ["app", "side", "proxy"];

/// How much is written: a sample, or all of it.
struct Size {
    pods: usize,
    lines_a_second: u32,
    time: Duration,
    /// The pods whose containers are restarted.
    restarted: usize,
    /// Whether other programs follow the same logs.
    compared: bool,
}

impl Size {
    fn chosen() -> Self {
        let whole = std::env::var_os("PILOTHOUSE_TEST_WHOLE").is_some();
        let (pods, lines_a_second, secs, restarted) =
            if whole { (100, 2000, 60, 10) } else { (10, 200, 20, 2) };
        Self { pods, lines_a_second, time: Duration::from_secs(secs), restarted, compared: whole }
    }
}

/// A pod and one of its containers.
type Key = (String, String);

/// A container's log. Its lines are numbered over all runs of the container.
struct Log {
    folder: PathBuf,
    file: File,
    next: u32,
}

impl Log {
    fn new(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        File::create(folder.join("previous.log")).unwrap();
        let file = File::create(folder.join("now.log")).unwrap();
        let mut log = Self { folder, file, next: 0 };
        log.line();
        log
    }

    /// Writes the next line as a container runtime does.
    fn line(&mut self) {
        let at = Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true);
        let line = format!(
            "{at} stdout F level=info msg=served seq={:06} took=12ms path=/api/v1/items\n",
            self.next
        );
        self.file.write_all(line.as_bytes()).unwrap();
        self.next += 1;
    }

    /// The next line is the first one of another run.
    fn restart(&mut self) {
        std::fs::rename(self.folder.join("now.log"), self.folder.join("previous.log")).unwrap();
        self.file = File::create(self.folder.join("now.log")).unwrap();
        self.line();
    }
}

type Logs = Arc<Mutex<BTreeMap<Key, Log>>>;

/// Writes lines of all containers in turn, as many a second, for this time.
fn write(logs: &Logs, size: &Size) -> JoinHandle<()> {
    let (logs, rate, time) = (logs.clone(), f64::from(size.lines_a_second), size.time);
    std::thread::spawn(move || {
        let keys: Vec<Key> = logs.lock().unwrap().keys().cloned().collect();
        let mut turn = keys.iter().cycle();
        let (began, mut written) = (Instant::now(), 0.0);
        while began.elapsed() < time {
            let due = began.elapsed().as_secs_f64() * rate;
            let mut logs = logs.lock().unwrap();
            while written < due {
                logs.get_mut(turn.next().unwrap()).unwrap().line();
                written += 1.0;
            }
            drop(logs);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    })
}

/// The number of a line.
fn number(text: &str) -> Option<u32> {
    text.split_once("seq=").and_then(|(_, rest)| rest.get(..6)?.parse().ok())
}

/// What was printed.
#[derive(Default)]
struct Printed {
    /// How often each line of a container.
    lines: Lines,
    /// The containers that have a gap, as often as it was told.
    gaps: Vec<Key>,
    other: Vec<String>,
}

impl Printed {
    fn take(&mut self, line: &str) {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { return self.other.push(line.into()) };
        let of = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let key = (of("pod"), of("container"));
        let text = of("text");
        match (entry["mark"].as_str(), number(&text)) {
            (Some("gap"), _) => self.gaps.push(key),
            (None, Some(number)) => *self.lines.entry(key).or_default().entry(number).or_default() += 1,
            _ => self.other.push(line.into()),
        }
    }

    fn distinct(&self) -> usize {
        self.lines.values().map(HashMap::len).sum()
    }
}

/// `pilothouse logs -f` of all pods of the namespace.
struct Reader {
    child: Child,
    printed: Arc<Mutex<Printed>>,
    reading: JoinHandle<()>,
}

impl Reader {
    fn start(rig: &Rig) -> Self {
        let args = ["-n", SPACE, "logs", "-l", "app=numbered", "-f", "--tail", "1000", "-o", "json"];
        let errors = File::create(rig.home().join("stderr")).unwrap();
        let mut child =
            rig.command_as("viewer", &args).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let printed: Arc<Mutex<Printed>> = Arc::default();
        let (lines, into) = (BufReader::new(child.stdout.take().unwrap()), printed.clone());
        let reading = std::thread::spawn(move || {
            for line in lines.lines() {
                into.lock().unwrap().take(&line.unwrap());
            }
        });
        Self { child, printed, reading }
    }

    /// Waits until so many different lines are printed, or until no line has come for a while.
    fn wait_for(&self, lines: usize) {
        const QUIET: Duration = Duration::from_secs(20);
        let (mut had, mut since) = (0, Instant::now());
        loop {
            let have = self.printed.lock().unwrap().distinct();
            if have >= lines || since.elapsed() > QUIET {
                return;
            }
            if have > had {
                (had, since) = (have, Instant::now());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// The seconds of processor time, and the largest resident memory in KiB.
    fn cost(&self) -> (f64, u64) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let most = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        (ticks / 100.0, most.split_whitespace().nth(1).unwrap().parse().unwrap())
    }

    /// Interrupts it. Returns its exit status and what it printed.
    fn end(mut self) -> (i32, Printed) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, Signal::INT).unwrap();
        let status = self.child.wait().unwrap();
        self.reading.join().unwrap();
        (status.code().unwrap(), std::mem::take(&mut *self.printed.lock().unwrap()))
    }
}

/// Removes what a test created.
struct Space<'a>(&'a Rig, PathBuf);

impl<'a> Space<'a> {
    fn new(rig: &'a Rig) -> Self {
        rig.kubectl_ok(&["delete", "namespace", SPACE, "--ignore-not-found"]);
        rig.namespace(SPACE);
        let folder = rig.folder.join("logs/numbered");
        drop(std::fs::remove_dir_all(&folder));
        Self(rig, folder)
    }

    /// Pods of three containers, with a first line in each log.
    fn pods(&self, count: usize) -> Logs {
        let (mut logs, mut objects) = (BTreeMap::new(), Vec::new());
        for pod in (0..count).map(|n| format!("numbered-{n:03}")) {
            let mut files = Vec::new();
            for container in CONTAINERS {
                // a folder each, because a kubelet watches the folder of a log that it follows
                let folder = self.1.join(&pod).join(container);
                files.push(
                    json!({"containers": [container], "follow": true, "logsFile": folder.join("now.log"),
                    "previousLogsFile": folder.join("previous.log")}),
                );
                logs.insert((pod.clone(), container.to_owned()), Log::new(folder));
            }
            objects.push(
                json!({"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Logs", "spec": {"logs": files},
                "metadata": {"name": pod, "namespace": SPACE}}),
            );
            objects.push(pod_object(&pod, &json!({"app": "numbered"})));
        }
        self.0.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
        until(90, "the pods run", || {
            let running = ["-n", SPACE, "get", "pods", "--field-selector=status.phase=Running", "-o", "name"];
            let have = self.0.kubectl_ok(&running).lines().count();
            if have == count { Ok(()) } else { Err(format!("{have} of {count}")) }
        });
        Arc::new(Mutex::new(logs))
    }
}

impl Drop for Space<'_> {
    fn drop(&mut self) {
        drop(self.0.kubectl(&["delete", "namespace", SPACE, "--wait=false"]));
        drop(std::fs::remove_dir_all(&self.1));
    }
}

fn pod_object(name: &str, labels: &Value) -> Value {
    let containers = CONTAINERS.map(|name| json!({"name": name, "image": "example.test/numbered:1"}));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SPACE, "labels": labels},
        "spec": {"tolerations": [{"operator": "Exists"}], "containers": containers}})
}

/// The pod's status says that its containers were started again, as a kubelet's does some time after it.
fn tell_restart(wire: &Wire, pod: &str) {
    let path = format!("/api/v1/namespaces/{SPACE}/pods/{pod}");
    let mut containers = wire.ok("GET", &path, JSON, &Value::Null)["status"]["containerStatuses"].take();
    for container in containers.as_array_mut().unwrap() {
        container["restartCount"] = json!(1);
        container["lastState"] = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    }
    wire.ok("PATCH", &format!("{path}/status"), MERGE, &json!({"status": {"containerStatuses": containers}}));
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn each_line_is_printed_once_while_the_server_is_killed_twice_real_only() {
    let rig = real("logs come from files");
    let size = Size::chosen();
    rig.config("[logs]\nmax_streams = 500\n");
    let space = Space::new(&rig);
    let logs = space.pods(size.pods);
    let mut reader = Reader::start(&rig);
    reader.wait_for(size.pods * CONTAINERS.len());
    assert_eq!(reader.printed.lock().unwrap().distinct(), size.pods * CONTAINERS.len(), "the first lines");
    let streams = size.pods * CONTAINERS.len();
    let mut peers = if size.compared { Peer::start_all(&rig, streams) } else { Vec::new() };
    for peer in &mut peers {
        peer.wait_for(streams);
    }

    let began = Instant::now();
    let writing = write(&logs, &size);
    let until_part = |part: f64| {
        let at = size.time.mul_f64(part);
        while began.elapsed() < at {
            std::thread::park_timeout(at.saturating_sub(began.elapsed()));
        }
    };
    until_part(0.2);
    rig.script("apiserver", &["kill", rig.folder()]);
    let restarted: Vec<String> = (0..size.restarted).map(|n| format!("numbered-{n:03}")).collect();
    for ((pod, _), log) in logs.lock().unwrap().iter_mut() {
        if restarted.contains(pod) {
            log.restart();
        }
    }
    rig.script("apiserver", &["start", rig.folder()]);
    let wire = Wire::of(&rig, "admin");
    for pod in &restarted {
        tell_restart(&wire, pod);
    }
    until_part(0.6);
    rig.script("apiserver", &["kill", rig.folder()]);
    rig.script("apiserver", &["start", rig.folder()]);
    writing.join().unwrap();

    let written: BTreeMap<Key, u32> =
        logs.lock().unwrap().iter().map(|(key, log)| (key.clone(), log.next)).collect();
    let all: usize = written.values().map(|lines| *lines as usize).sum();
    reader.wait_for(all);
    let stderr = std::fs::read_to_string(rig.home().join("stderr")).unwrap();
    assert!(reader.child.try_wait().unwrap().is_none(), "it ended by itself: {stderr}");
    let (cpu, memory) = reader.cost();
    let (status, printed) = reader.end();
    let stderr = std::fs::read_to_string(rig.home().join("stderr")).unwrap();

    eprintln!(
        "{} pods of {} containers, {all} lines written; the API server was killed twice, the containers of {} pods restarted",
        size.pods,
        CONTAINERS.len(),
        size.restarted
    );
    let (missing, doubled) = judge(&written, &printed.lines);
    let more =
        format!(", {} gaps told; {cpu:.1} s of processor time, at most {memory} KiB", printed.gaps.len());
    row("pilothouse logs -f", &printed.lines, missing, doubled, &more);
    for peer in peers {
        peer.end(&written);
    }
    let untold: Vec<_> = written
        .iter()
        .filter(|(key, _)| !printed.gaps.contains(key))
        .filter(|(key, lines)| printed.lines.get(*key).map_or(0, HashMap::len) < **lines as usize)
        .collect();
    assert_eq!(printed.other, Vec::<String>::new());
    assert!(untold.is_empty(), "missing without a gap: {untold:?}: {stderr}");
    assert_eq!(doubled, 0, "{stderr}");
    let told = stderr.lines().filter(|line| line.contains("lines may be missing at")).count();
    let (want, count) = if printed.gaps.is_empty() { (130, 0) } else { (1, 1) };
    assert_eq!((status, told), (want, count), "{stderr}");
    let elsewhere: Vec<&Key> = printed.gaps.iter().filter(|(pod, _)| !restarted.contains(pod)).collect();
    assert_eq!(elsewhere, Vec::<&Key>::new(), "a log that was only interrupted has no gap");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn containers_that_are_not_followed_are_counted_real_only() {
    let rig = real("logs come from files");
    rig.config("[logs]\nmax_streams = 7\n");
    let space = Space::new(&rig);
    let _logs = space.pods(5);
    let errors = rig.home().join("stderr");
    let reader = Reader::start(&rig);
    reader.wait_for(6);
    until(20, "the count", || {
        let stderr = std::fs::read_to_string(&errors).unwrap();
        std::thread::park_timeout(Duration::from_millis(50));
        if stderr.contains("3 more pods with 9 containers are not followed") { Ok(()) } else { Err(stderr) }
    });
    let (status, printed) = reader.end();
    assert_eq!((status, printed.distinct()), (130, 6), "two pods of three containers");
    // without -f all are read, some at a time
    let all = rig.run_as("viewer", &["-n", SPACE, "logs", "-l", "app=numbered", "-o", "json"]);
    assert_eq!((all.status.code(), out(&all).lines().count(), err(&all)), (Some(0), 15, String::new()));
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_log_without_lines_says_why_real_only() {
    let rig = real("it has the roles");
    let space = Space::new(&rig);
    let _logs = space.pods(1);
    rig.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
        pod_object("stuck", &json!({"fault.test/mount": "true"})),
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "pods", "namespace": SPACE},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "pods", "namespace": SPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pods"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "nobodies"}]}
    ]}).to_string());
    until(30, "the pod waits", || {
        let reason = "-o=jsonpath={.status.containerStatuses[0].state.waiting.reason}";
        let state = rig.kubectl_ok(&["-n", SPACE, "get", "pod", "stuck", reason]);
        if state == "ContainerCreating" { Ok(()) } else { Err(state) }
    });
    let says = |output: &Output, words: &[&str]| {
        assert_eq!((output.status.code(), out(output)), (Some(1), String::new()), "{}", err(output));
        for word in words {
            assert!(err(output).contains(word), "{word} is not in {}", err(output));
        }
    };
    for container in CONTAINERS {
        let waits = rig.run_as("viewer", &["-n", SPACE, "logs", "stuck", "-c", container]);
        says(&waits, &[&format!("{SPACE}/stuck {container}: has not started: ContainerCreating")]);
    }
    until(20, "the server has read the binding", || {
        let asked = ["-n", SPACE, "auth", "can-i", "list", "pods", "--as=nobody", "--as-group=nobodies"];
        let said = out(&rig.kubectl(&asked));
        if said.trim() == "yes" { Ok(()) } else { Err(said) }
    });
    let denied = "cannot get resource \"pods/log\" in API group \"\" in the namespace";
    for more in [&["-f"][..], &[]] {
        let args = [&["-n", SPACE, "logs", "numbered-000", "-c", "app"][..], more].concat();
        says(&rig.run_as("nobody", &args), &["numbered-000 app: the log cannot be read", denied]);
    }
    // pods that cannot even be listed
    says(&rig.run_as("nobody", &["-n", "default", "logs", "-l", "app=numbered"]), &["403"]);
}
