//! The cluster under test: kubectl, our binary, the audit log, and waiting for predicates.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

static TURN: Mutex<()> = Mutex::new(());

/// One test's turn on the cluster.
pub struct Rig {
    pub kubeconfig: PathBuf,
    pub folder: PathBuf,
    kubectl: PathBuf,
    /// The target is the simulated cluster.
    pub simulated: bool,
    home: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// The rig; panics without a cluster, so that no test passes without having run. One suite, two targets: the variables
/// of `tests/cluster/up` or those of `tests/cluster/simulated`.
pub fn rig() -> Rig {
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let kubeconfig = var("PILOTHOUSE_TEST_KUBECONFIG")
        .expect("PILOTHOUSE_TEST_KUBECONFIG, printed by tests/cluster/up and tests/cluster/simulated");
    let rig = Rig {
        kubeconfig,
        folder: var("PILOTHOUSE_TEST_DIR").expect("PILOTHOUSE_TEST_DIR, printed by tests/cluster/up"),
        kubectl: var("PILOTHOUSE_TEST_KUBECTL")
            .expect("PILOTHOUSE_TEST_KUBECTL, printed by tests/cluster/up"),
        simulated: var("PILOTHOUSE_TEST_SIMULATED").is_some(),
        home: in_memory(),
        _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
    };
    let version = rig.kubectl(&["version", "-o", "json"]);
    assert!(version.status.success(), "the control plane is not there: {}", err(&version));
    rig
}

/// A home folder on a disk without other writers, if there is one, so that nothing delays the journal.
fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// For features that the simulated cluster does not have; `why` says which. The names of such tests end in
/// `_real_only`.
pub fn real(why: &str) -> Rig {
    let rig = rig();
    assert!(!rig.simulated, "not for the simulated cluster ({why}): leave it out with --skip _real_only");
    rig
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Rig {
    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_command(&self.kubeconfig).args(args).output().unwrap()
    }

    pub fn kubectl_command(&self, kubeconfig: &Path) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(kubeconfig);
        command
    }

    /// kubectl's standard output; fails if it failed.
    pub fn kubectl_ok(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        assert!(output.status.success(), "kubectl {args:?}: {}", err(&output));
        out(&output)
    }

    pub fn kubectl_json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl_ok(&[args, &["-o", "json"]].concat())).unwrap()
    }

    pub fn apply(&self, yaml: &str) {
        self.pipe(&self.kubeconfig, &["apply", "-f", "-"], yaml);
    }

    /// For objects that do not name their namespace.
    pub fn apply_in(&self, namespace: &str, yaml: &str) {
        self.pipe(&self.kubeconfig, &["-n", namespace, "apply", "-f", "-"], yaml);
    }

    /// On another cluster.
    pub fn apply_at(&self, kubeconfig: &Path, yaml: &str) {
        self.pipe(kubeconfig, &["apply", "-f", "-"], yaml);
    }

    /// kubectl's standard output on another cluster.
    pub fn kubectl_at(&self, kubeconfig: &Path, args: &[&str]) -> String {
        let output = self.kubectl_command(kubeconfig).args(args).output().unwrap();
        assert!(output.status.success(), "kubectl {args:?}: {}", err(&output));
        out(&output)
    }

    fn pipe(&self, kubeconfig: &Path, args: &[&str], yaml: &str) {
        use std::io::Write;
        // the simulated cluster has no schemas to validate with
        let validate = self.simulated.then_some("--validate=false");
        let mut child = Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(args)
            .args(validate)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "kubectl apply of {yaml}");
    }

    /// A namespace with its default service account, without which no pod can be created in it.
    pub fn namespace(&self, name: &str) {
        self.namespace_at(&self.kubeconfig, name);
    }

    /// On another cluster.
    pub fn namespace_at(&self, kubeconfig: &Path, name: &str) {
        self.apply_at(kubeconfig, &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"));
        // after an outage of the API server controllers wait for up to a minute before they watch again
        until(120, "the default service account", || {
            let get = ["-n", name, "get", "serviceaccount", "default"];
            let account = self.kubectl_command(kubeconfig).args(get).output().unwrap();
            if account.status.success() { Ok(()) } else { Err(err(&account)) }
        });
    }

    /// Our binary with a home of its own, as a user: `admin`, `operator`, `viewer` or `nobody`.
    pub fn command_as(&self, who: &str, args: &[&str]) -> Command {
        self.command_with(&self.folder.join(format!("{who}.kubeconfig")), args)
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn command_with(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(args)
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .env_remove("PILOTHOUSE_PROMETHEUS")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        command
    }

    /// Sets our config file.
    pub fn config(&self, text: &str) {
        let folder = self.home.path().join("config/pilothouse");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), text).unwrap();
    }

    pub fn run_as(&self, who: &str, args: &[&str]) -> Output {
        self.command_as(who, args).output().unwrap()
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.run_as("operator", args)
    }

    /// Our standard output as JSON; the exit status must be `status`.
    pub fn json(&self, args: &[&str], status: i32) -> Value {
        let output = self.run(args);
        assert_eq!(
            output.status.code(),
            Some(status),
            "pilothouse {args:?}: {}{}",
            out(&output),
            err(&output)
        );
        serde_json::from_str(&out(&output))
            .unwrap_or_else(|e| panic!("pilothouse {args:?}: {e}: {}", out(&output)))
    }

    /// A user with exactly the permissions that `kubectl drain` needs. [`Rig::no_drainer`] removes them again.
    pub fn drainer(&self) -> &'static str {
        if self.simulated {
            return "drainer";
        }
        self.apply(
            r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: contract-drainer}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [get, patch]}
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [pods/eviction], verbs: [create]}
- {apiGroups: [apps], resources: [daemonsets], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: contract-drainer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: contract-drainer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: nobodies}]
"#,
        );
        until(20, "the server has read the binding", || {
            let asked = ["auth", "can-i", "patch", "nodes", "--as=nobody", "--as-group=nobodies"];
            let said = out(&self.kubectl(&asked));
            if said.trim() == "yes" { Ok(()) } else { Err(said) }
        });
        "nobody"
    }

    pub fn no_drainer(&self) {
        if !self.simulated {
            self.kubectl_ok(&["delete", "clusterrolebinding,clusterrole", "contract-drainer"]);
        }
    }

    /// Runs one of the scripts in tests/cluster.
    pub fn script(&self, name: &str, args: &[&str]) -> String {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name);
        let output = Command::new(script).args(args).output().unwrap();
        assert!(output.status.success(), "{name} {args:?}: {}{}", out(&output), err(&output));
        out(&output)
    }

    pub fn folder(&self) -> &str {
        self.folder.to_str().unwrap()
    }

    /// The audit log's entries since `from` (a byte offset of [`Rig::audit_mark`]) by our User-Agent.
    pub fn audit_since(&self, from: u64) -> Vec<Value> {
        self.audit_of(from, "pilothouse/")
    }

    /// The same by another agent.
    pub fn audit_of(&self, from: u64, agent: &str) -> Vec<Value> {
        audit_in(&self.folder, from, agent)
    }

    /// The same, after the log has all requests so far: waits until it has a request that is sent now.
    pub fn audit_settled(&self, from: u64) -> Vec<Value> {
        self.audit_settled_in(&self.folder, from)
    }

    /// The same for the cluster in a folder, for example the standby.
    pub fn audit_settled_in(&self, folder: &Path, from: u64) -> Vec<Value> {
        let name = format!("audit-mark-{from}");
        let get = ["get", "configmap", &name, "--ignore-not-found"];
        let seen = self.kubectl_command(&folder.join("admin.kubeconfig")).args(get).output().unwrap();
        assert!(seen.status.success(), "{}", err(&seen));
        until(10, "the audit log", || {
            let text = std::fs::read(folder.join("audit.jsonl")).unwrap();
            let tail = text.get(usize::try_from(from).unwrap()..).unwrap_or_default();
            let written = String::from_utf8_lossy(tail).contains(&name);
            if written { Ok(()) } else { Err("the mark is not in it".into()) }
        });
        audit_in(folder, from, "pilothouse/")
    }

    pub fn audit_mark(&self) -> u64 {
        audit_mark_in(&self.folder)
    }
}

/// The current end of a cluster's audit log.
pub fn audit_mark_in(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("audit.jsonl")).unwrap().len()
}

fn audit_in(folder: &Path, from: u64, agent: &str) -> Vec<Value> {
    let text = std::fs::read(folder.join("audit.jsonl")).unwrap();
    let tail = text.get(usize::try_from(from).unwrap()..).unwrap_or_default();
    String::from_utf8_lossy(tail)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|e| e["userAgent"].as_str().is_some_and(|a| a.starts_with(agent)))
        .collect()
}

/// Repeats until the predicate returns a value; fails with the last reason after `secs`.
pub fn until<T>(secs: u64, what: &str, mut predicate: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(secs);
    loop {
        match predicate() {
            Ok(value) => return value,
            Err(why) if Instant::now() >= deadline => panic!("{what}: not within {secs} s: {why}"),
            Err(_) => {}
        }
    }
}
