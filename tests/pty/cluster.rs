//! On a real control plane (tests/cluster/up): finding and reading objects, running and refusing actions, and an outage
//! of the API server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::seat::{PATIENCE, Seat, Start};

static TURN: Mutex<()> = Mutex::new(());

pub const NAMESPACE: &str = "pty-console";

/// How long what controllers do may take, in seconds: after an outage of the API server they wait for up to a minute before they
/// watch again.
pub const CONTROLLERS: u64 = 120;

/// A control plane, with the kubeconfig of its administrator.
pub struct Plane {
    pub kubeconfig: PathBuf,
    pub folder: PathBuf,
    kubectl: PathBuf,
}

/// One test's turn on the cluster.
pub struct Rig {
    plane: Plane,
    _alone: MutexGuard<'static, ()>,
}

impl std::ops::Deref for Rig {
    type Target = Plane;

    fn deref(&self) -> &Plane {
        &self.plane
    }
}

/// Panics without a cluster, so that no test passes without having run.
pub fn rig() -> Rig {
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let kubeconfig =
        var("PILOTHOUSE_TEST_KUBECONFIG").expect("PILOTHOUSE_TEST_KUBECONFIG, printed by tests/cluster/up");
    let kubectl =
        var("PILOTHOUSE_TEST_KUBECTL").expect("PILOTHOUSE_TEST_KUBECTL, printed by tests/cluster/up");
    let folder = var("PILOTHOUSE_TEST_DIR").expect("PILOTHOUSE_TEST_DIR, printed by tests/cluster/up");
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Rig { plane: Plane { kubeconfig, folder, kubectl }, _alone: turn }
}

impl Plane {
    /// The other cluster: the standby of `tests/cluster/up`.
    pub fn standby(&self) -> Self {
        let kubeconfig = std::env::var_os("PILOTHOUSE_TEST_STANDBY_KUBECONFIG")
            .map(PathBuf::from)
            .expect("PILOTHOUSE_TEST_STANDBY_KUBECONFIG, printed by tests/cluster/up");
        let folder = kubeconfig.parent().unwrap().to_owned();
        Self { kubeconfig, folder, kubectl: self.kubectl.clone() }
    }

    pub fn kubectl_command(&self, kubeconfig: &Path) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(kubeconfig);
        command
    }

    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_command(&self.kubeconfig).args(args).output().unwrap()
    }

    pub fn ask(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Repeats until kubectl's answer is as expected.
    pub fn until(&self, args: &[&str], wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(CONTROLLERS);
        loop {
            let answer = self.ask(args);
            if wanted(&answer) {
                return;
            }
            assert!(Instant::now() < deadline, "kubectl {args:?}: still {answer:?}");
        }
    }

    /// A namespace with its default service account, without which no pod can be created in it.
    pub fn namespace(&self, name: &str) {
        self.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"));
        let account = ["-n", name, "get", "serviceaccount", "--ignore-not-found", "-o", "name"];
        self.until(&account, |accounts| accounts.contains("default"));
    }

    /// Waits until a rollout is complete.
    pub fn rolled_out(&self, namespace: &str, workload: &str) {
        self.ask(&["-n", namespace, "rollout", "status", workload, &format!("--timeout={CONTROLLERS}s")]);
    }

    pub fn apply(&self, yaml: &str) {
        use std::io::Write;
        let mut child = self
            .kubectl_command(&self.kubeconfig)
            .args(["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "kubectl apply of {yaml}");
    }

    pub fn apiserver(&self, verb: &str) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/apiserver");
        let output = Command::new(script).arg(verb).arg(&self.folder).output().unwrap();
        assert!(output.status.success(), "apiserver {verb}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Rig {
    /// A Deployment of two ready pods, whose logs can be read, in a namespace of our own.
    pub fn deployment(&self, name: &str) {
        self.namespace(NAMESPACE);
        let log = self.folder.join("logs/shop.log");
        self.apply(&format!(
            r#"
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterLogs
metadata: {{name: {NAMESPACE}}}
spec:
  selector: {{matchNamespaces: [{NAMESPACE}]}}
  logs: [{{logsFile: {log}, previousLogsFile: {log}, follow: true}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: a, image: "a:1"}}]}}
"#,
            log = log.display()
        ));
        self.rolled_out(NAMESPACE, &format!("deploy/{name}"));
    }

    fn replicas(&self, name: &str) -> String {
        self.ask(&["-n", NAMESPACE, "get", "deploy", name, "-o", "jsonpath={.spec.replicas}"])
    }

    pub fn sit(&self, args: &[&str]) -> Seat {
        let mut seat = Start { args, ..Start::new(&self.kubeconfig) }.sit();
        seat.sees(&["1 Nodes", "node-0", "Ready", "pods", "? help"]);
        // a plan from an incomplete list changes when the rest arrives, and is then not sent
        seat.wait_for("all pods", PATIENCE, |seat| {
            let header = seat.text().lines().next().unwrap_or_default().to_owned();
            let pods = header.split("pods ").nth(1).unwrap_or_default();
            pods.starts_with(|c: char| c.is_ascii_digit()) && !pods.contains(" of ")
        });
        seat
    }
}

/// Opens the description of an object by its name.
fn find(seat: &mut Seat, name: &str) {
    let whole = format!("{NAMESPACE}/{name}");
    seat.press(":", &["Enter opens"]);
    seat.types(&whole);
    // matches are searched with each key, so it is typed again until the list of Deployments has arrived
    let last = name.chars().last().unwrap();
    for _ in 0..100 {
        if seat.text().contains(&format!("deploy   {whole} ")) {
            break;
        }
        seat.types(&format!("\x7f{last}"));
        seat.bytes_within(Duration::from_millis(100));
    }
    seat.press("\r", &["Describe", &format!("Deployment {whole}")]);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn finds_a_workload_reads_its_logs_and_scales_it() {
    let rig = rig();
    rig.deployment("found");
    let mut seat = rig.sit(&[]);
    find(&mut seat, "found");
    // the pods too, because their watch is another one than their Deployment's
    seat.sees(&["2 wanted, 2 ready", "2 (2 ready"]);
    seat.press("l", &["Logs of", "following"]);
    seat.wait_for("a line of the log", PATIENCE, |seat| {
        ["order", "batch", "Synced", "level", "listening"].iter().any(|word| seat.text().contains(word))
    });
    seat.press("\x1b", &["Describe"]);
    seat.press("S", &["scale", "(now 2) to:"]);
    seat.press("+1\r", &["Rehearsal: scale", "scale 2 to 3", "y do it"]);
    seat.says_yes("Rehearsal: scale");
    seat.sees(&["done"]);
    rig.until(&["-n", NAMESPACE, "get", "deploy", "found", "-o", "jsonpath={.status.readyReplicas}"], |n| {
        n == "3"
    });
    seat.sees(&["3 wanted, 3 ready"]);
    // and in the list, where the selection is on it
    seat.press("\x1b", &["5 Workloads", "R restart"]);
    seat.press("8", &["8 Actions", "scale"]);
}

/// Removes the mark again, whatever the test's result is.
struct Uncordon<'a>(&'a Rig);

impl Drop for Uncordon<'_> {
    fn drop(&mut self) {
        drop(self.0.kubectl(&["uncordon", "node-0003"]));
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn cordons_a_node_and_back() {
    let rig = rig();
    let _undo = Uncordon(&rig);
    let cordoned = || rig.ask(&["get", "node", "node-0003", "-o", "jsonpath={.spec.unschedulable}"]);
    assert_eq!(cordoned(), "");
    let mut seat = rig.sit(&[]);
    // the focus is on the cluster's problems, if there are any
    seat.press("1", &["1 Nodes"]);
    seat.press("/", &["Enter keeps"]);
    seat.press("node-0003\r", &["1 match"]);
    // a confirmation typed ahead, in the same write as the key that opens the rehearsal
    seat.types("Cy");
    seat.sees(&["Rehearsal: cordon", "y do it"]);
    seat.pastes("y");
    seat.sees(&["pasted text never confirms"]);
    assert_eq!(cordoned(), "");
    seat.says_yes("Rehearsal: cordon");
    seat.sees(&["cordoned"]);
    rig.until(&["get", "node", "node-0003", "-o", "jsonpath={.spec.unschedulable}"], |answer| {
        answer == "true"
    });
    // the same key now uncordons; from the node's description this time
    seat.press("d", &["Describe node/node-0003", "C uncordon"]);
    seat.press("C", &["Rehearsal: uncordon", "y do it"]);
    seat.says_yes("Rehearsal: uncordon");
    seat.sees(&["uncordon node/node-0003 done"]);
    rig.until(&["get", "node", "node-0003", "-o", "jsonpath={.spec.unschedulable}"], str::is_empty);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn what_is_typed_ahead_or_pasted_does_not_confirm() {
    let rig = rig();
    rig.deployment("kept");
    let mut seat = rig.sit(&[]);
    find(&mut seat, "kept");
    // scaling down asks for the last letters of the name; all of it is typed ahead
    seat.press("S", &["(now 2) to:"]);
    seat.types("-1\rkept\r");
    seat.sees(&["Rehearsal: scale", "type"]);
    seat.pastes("kept\n");
    seat.sees(&["pasted text never confirms"]);
    seat.types("\r");
    assert!(seat.text().contains("Rehearsal"), "{}", seat.text());
    seat.press("\x1b", &["cancelled: nothing was changed"]);
    assert_eq!(rig.replicas("kept"), "2");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn read_only_refuses_in_words() {
    let rig = rig();
    rig.deployment("safe");
    let mut seat = rig.sit(&["--read-only"]);
    seat.sees(&["READ-ONLY"]);
    find(&mut seat, "safe");
    seat.press("S", &["(now 2) to:"]);
    seat.press("+1\r", &["blocked", "read-only"]);
    seat.types("y");
    seat.press("\x1b", &["nothing was changed"]);
    assert_eq!(rig.replicas("safe"), "2");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn lives_through_the_loss_of_the_api_server() {
    let rig = rig();
    let mut seat = rig.sit(&[]);
    rig.apiserver("kill");
    let lost = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        seat.sees(&["STALE", "no answer from https://", "refused", "node-0"]);
        seat.press("?", &["Help", "CAPITALS"]);
        seat.press("\x1b", &["1 Nodes"]);
        seat.press("5", &["5 Workloads", "deploy/"]);
        seat.press("1", &["1 Nodes"]);
    }));
    // in any case, because other tests use the cluster too
    rig.apiserver("start");
    if let Err(failed) = lost {
        std::panic::resume_unwind(failed);
    }
    seat.wait_for("live again", 90, |seat| {
        let text = seat.text();
        !text.contains("STALE")
            && !text.contains("DOWN")
            && !text.contains("no answer")
            && text.contains("node-0")
    });
    rig.deployment("after");
    find(&mut seat, "after");
}
