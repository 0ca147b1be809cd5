//! The whole chain, with a real Prometheus and a real Alertmanager over the real control plane: a node stops, an alert fires,
//! the console finds it and opens an incident, the node is drained and comes back, and the incident closes. The incident's
//! times are those of the cluster and of this test's own notes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use pilothouse_core::domain::time::Stamp;
use serde_json::Value;

use crate::rig::{Rig, err, out, real, until};

const NAMESPACE: &str = "contract-chain";

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(program: &str, args: &[String]) -> Running {
    let mut command = Command::new(program);
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap_or_else(|e| panic!("{program}: {e}")))
}

/// The name of each node, and whether it is ready.
const FIELDS: &str =
    "{range .items[*]}{.metadata.name} {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";

/// Serves whether each node is ready, as kube-state-metrics does, from what kubectl says at each scrape.
fn exporter(rig: &Rig) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().port();
    let mut ready = rig.kubectl_command(&rig.kubeconfig);
    ready.args(["get", "nodes", "-o", &format!("jsonpath={FIELDS}")]);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0u8; 4096];
            let _read = stream.read(&mut request);
            let said = ready.output().unwrap();
            let metric = |line: &str| {
                let (node, status) = line.split_once(' ')?;
                let up = u8::from(status == "True");
                Some(format!("test_node_ready{{node=\"{node}\"}} {up}\n"))
            };
            let body: String = out(&said).lines().filter_map(metric).collect();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _gone = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    at
}

/// A Prometheus with one rule, which tells an Alertmanager.
fn monitoring(folder: &Path, exporter: u16) -> (Running, Running, u16, u16) {
    let (prometheus, alertmanager) = (port(), port());
    let write = |name: &str, text: String| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let rules = write(
        "rules.yml",
        "groups:\n- name: nodes\n  rules:\n  - alert: NodeDown\n    expr: test_node_ready == 0\n    labels: {severity: critical}\n    annotations: {summary: 'node {{ $labels.node }} is not ready'}\n"
            .into(),
    );
    let config = write(
        "prometheus.yml",
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nalerting:\n  alertmanagers:\n  - static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]\nscrape_configs:\n- job_name: nodes\n  static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]\n",
            rules.display()
        ),
    );
    let routes = write(
        "alertmanager.yml",
        "route: {receiver: none, group_wait: 1s, group_interval: 1s}\nreceivers: [{name: none}]\n".into(),
    );
    let of = |name: &str| folder.join(name).display().to_string();
    let am = start(
        "prometheus-alertmanager",
        &[
            format!("--config.file={}", routes.display()),
            format!("--storage.path={}", of("alerts")),
            format!("--web.listen-address=127.0.0.1:{alertmanager}"),
            "--cluster.listen-address=".into(),
        ],
    );
    let prom = start(
        "prometheus",
        &[
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", of("data")),
            format!("--web.listen-address=127.0.0.1:{prometheus}"),
        ],
    );
    (prom, am, prometheus, alertmanager)
}

/// What a document of `snapshot --watch` said about the node, and when it came.
#[derive(Clone, Debug)]
struct Note {
    at: Stamp,
    /// A finding about the node or its alert is shown, and is no mere information.
    is_told: bool,
    /// The alert about the node fires.
    fires: bool,
    /// The action that the finding offers.
    action: Value,
    /// All critical findings.
    critical: Vec<String>,
}

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Stamp(i64::try_from(since.as_millis()).unwrap())
}

fn note(doc: &Value, node: &str) -> Note {
    let list = |key: &str| doc[key].as_array().cloned().unwrap_or_default();
    let names =
        |of: &Value| of["objects"].as_array().is_some_and(|all| all.iter().any(|o| o["name"] == node));
    let causes = list("causes");
    let about: Vec<&Value> = causes.iter().filter(|c| names(c) && c["severity"] != "info").collect();
    let critical = causes.iter().filter(|c| c["severity"] == "critical");
    Note {
        at: now(),
        is_told: !about.is_empty(),
        fires: list("alerts").iter().any(|a| a["name"] == "NodeDown" && a.to_string().contains(node)),
        action: about.first().map_or(Value::Null, |c| c["action"].clone()),
        critical: critical.map(|c| c["title"].to_string()).collect(),
    }
}

/// The console without a screen, which records, and the notes about what it says.
fn console(rig: &Rig, node: &str, recording: &Path) -> (Running, Arc<Mutex<Vec<Note>>>) {
    let file = recording.to_str().unwrap();
    let mut command = rig.command_as("operator", &["--record", file, "snapshot", "--watch", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let notes: Arc<Mutex<Vec<Note>>> = Arc::default();
    let (into, node) = (notes.clone(), node.to_owned());
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Ok(doc) = serde_json::from_str::<Value>(&line) {
                into.lock().unwrap().push(note(&doc, &node));
            }
        }
    });
    (Running(child), notes)
}

/// Waits for a note.
fn wait(notes: &Mutex<Vec<Note>>, secs: u64, what: &str, is: impl Fn(&Note) -> bool) -> Note {
    let deadline = Instant::now() + Duration::from_secs(secs);
    loop {
        let last = {
            let all = notes.lock().unwrap();
            if let Some(found) = all.iter().find(|one| is(one)) {
                return found.clone();
            }
            all.last().cloned()
        };
        assert!(Instant::now() < deadline, "{what}: not within {secs} s; the last was {last:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// When the node's condition Ready last changed, as the cluster says.
fn turned(rig: &Rig, node: &str) -> Stamp {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}";
    Stamp::parse(&rig.kubectl_ok(&["get", "node", node, "-o", path])).unwrap()
}

fn secs(of: &Value) -> f64 {
    of.as_f64().unwrap_or_else(|| panic!("{of} is no number"))
}

#[test]
#[ignore = "needs a real control plane, prometheus and prometheus-alertmanager: tests/cluster/README.md"]
fn a_stopped_node_is_an_alert_a_finding_an_incident_and_recovers_real_only() {
    let rig = real("a real Prometheus judges a real node");
    rig.namespace(NAMESPACE);
    rig.script("fault", &["node-not-ready", rig.folder(), "--undo"]);
    let nodes = rig.kubectl_ok(&["get", "nodes", "-l", "pool=general", "-o", "name"]);
    // the one that the fault takes
    let node = nodes.lines().max().unwrap().trim_start_matches("node/").to_owned();
    rig.apply_in(
        NAMESPACE,
        &format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: chain}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: chain}}}}\n  template:\n    metadata: {{labels: {{app: chain}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      affinity: {{nodeAffinity: {{preferredDuringSchedulingIgnoredDuringExecution: [{{weight: 100, preference: {{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [\"{node}\"]}}]}}}}]}}}}\n      containers: [{{name: a, image: \"a:1\"}}]\n"
        ),
    );
    let folder = tempfile::tempdir().unwrap();
    let (_prometheus, _alertmanager, prometheus, alertmanager) = monitoring(folder.path(), exporter(&rig));
    rig.config(&format!(
        "[prometheus]\nurl = \"http://127.0.0.1:{prometheus}\"\n[alertmanager]\nurl = \"http://127.0.0.1:{alertmanager}\"\npoll_secs = 5\n"
    ));
    let recording = folder.path().join("chain.jsonl.gz");
    let (console, notes) = console(&rig, &node, &recording);
    until(60, "nothing is critical in this cluster", || {
        let seen = rig.json(&["why", "-o", "json"], 0)["causes"].clone();
        let loud = seen.as_array().unwrap().iter().filter(|cause| cause["severity"] == "critical").count();
        if loud == 0 { Ok(()) } else { Err(seen.to_string()) }
    });
    wait(&notes, 60, "nothing else is critical in this cluster", |n| n.critical.is_empty() && !n.is_told);
    // the node stops
    rig.script("fault", &["node-not-ready", rig.folder()]);
    let began = turned(&rig, &node);
    let found = wait(&notes, 30, "the finding", |n| n.is_told);
    wait(&notes, 60, "the alert in the state", |n| n.fires && n.is_told);
    assert!(!found.action.is_null(), "{found:?}");
    // the action
    let drain =
        ["drain", &node, "--pod-selector=app=chain", "--force", "--ignore-daemonsets", "--yes", "-o", "json"];
    let done = rig.json(&drain, 0);
    assert_eq!(done["outcome"], "done", "{done}");
    // the recovery
    rig.script("fault", &["node-not-ready", rig.folder(), "--undo"]);
    let back = turned(&rig, &node);
    let undone = rig.run(&["uncordon", &node, "--yes"]);
    assert!(undone.status.success(), "{}", err(&undone));
    let after = now();
    let quiet =
        wait(&notes, 90, "the finding and the alert are gone", |n| n.at > after && !n.is_told && !n.fires);
    // the incident closes after two minutes without it
    std::thread::sleep(Duration::from_secs(135));
    drop(console);
    let report = rig.json(&["report", recording.to_str().unwrap(), "-o", "json"], 0);
    let incidents = report["incidents"].as_array().unwrap();
    let [incident] = incidents.as_slice() else { panic!("{incidents:#?}") };
    assert!(incident["closed"].is_string(), "{incident:#}");
    // the last note that told of it, before it was quiet
    let notes = notes.lock().unwrap().clone();
    let last = notes.iter().rfind(|n| n.is_told && n.at < quiet.at).unwrap();
    let gone = notes.iter().find(|n| n.at > last.at).unwrap();
    let away = |at: Stamp| (at.0 - began.0) as f64 / 1_000.0;
    let (mttd, mttr) = (secs(&incident["mttd_seconds"]), secs(&incident["mttr_seconds"]));
    assert!(
        (mttd - away(found.at)).abs() <= 1.0,
        "{mttd} s, and the first note came after {} s",
        away(found.at)
    );
    assert!((mttr - away(gone.at)).abs() <= 1.0, "{mttr} s, and it was gone after {} s", away(gone.at));
    assert!(mttr >= away(back) - 1.0, "{mttr} s, and the node was back after {} s", away(back));
    let stamp = |key: &str| Stamp::parse(incident[key].as_str().unwrap()).unwrap();
    assert!(stamp("began").0.abs_diff(began.0) <= 1_000, "{began} {incident:#}");
    let rules: Vec<&str> =
        incident["findings"].as_array().unwrap().iter().filter_map(|f| f["rule"].as_str()).collect();
    assert!(rules.contains(&"node-not-ready"), "{rules:?}");
    let lines = report["timeline"].as_array().unwrap();
    let alerts: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "alert").collect();
    assert!(alerts.iter().any(|line| line.to_string().contains("NodeDown")), "{lines:#?}");
    // Kubernetes' own log has it too
    let events = rig.kubectl_ok(&[
        "get",
        "events",
        "-A",
        "--field-selector",
        &format!("involvedObject.name={node}"),
        "-o",
        "name",
    ]);
    assert!(!events.is_empty());
    rig.kubectl_ok(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
