//! The headless commands: what they print, where they print it, and their exit status.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::answers::{WELL, command, is_list, whole};

type Answer = Option<String>;

fn run(args: &[&str], hook: impl Fn(&str, u32) -> Answer + Send + Sync + 'static) -> Output {
    let (mut command, _home) = command(args, hook);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn well(_: &str, _: u32) -> Answer {
    None
}

/// A node that has this condition, of status True or, for Ready, False.
fn node_with(condition: &str) -> impl Fn(&str, u32) -> Answer + Send + Sync + use<> {
    let since = "2026-01-01T00:00:00Z";
    let status = if condition == "Ready" { "False" } else { "True" };
    let mut conditions = vec![json!({"type": condition, "status": status, "lastTransitionTime": since})];
    if condition != "Ready" {
        conditions.push(json!({"type": "Ready", "status": "True", "lastTransitionTime": since}));
    }
    let node = json!({
        "metadata": {"name": "node-7", "uid": "u7", "resourceVersion": "4", "creationTimestamp": since},
        "status": {
            "conditions": conditions,
            "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
        },
    });
    let list = json!({"kind": "NodeList", "metadata": {"resourceVersion": "5"}, "items": [node]}).to_string();
    move |path, _| {
        let nodes = is_list(path) && path.split('?').next() == Some("/api/v1/nodes");
        nodes.then(|| whole("200 OK", "content-type: application/json\r\n", &list))
    }
}

#[test]
fn nobody_reads_on_and_that_is_no_failure() {
    for args in [
        &["--help"][..],
        &["why", "--help"],
        &["completions", "bash"],
        &["keys"],
        &["keys", "--markdown"],
        &["themes"],
        &["man"],
        &["config", "example"],
        &["config", "print"],
        &["config", "check"],
        &["sim", "--list"],
        &["journal", "list"],
        &["journal", "list", "-o", "json"],
        &["undo"],
        &["undo", "-o", "json"],
        &["why"],
        &["why", "-o", "json"],
        &["get", "nodes"],
        &["get", "pods", "-o", "json"],
        &["snapshot"],
        &["snapshot", "--watch"],
        &["snapshot", "--watch", "-o", "json"],
    ] {
        let (mut command, _home) = command(args, well);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = command.stdout(writer).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{args:?}");
    }
    // a full disk is an error
    for args in [&["keys"][..], &["--help"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
        let status = command.args(args).stdout(full).status().unwrap();
        assert_eq!(status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn get_prints_the_rows_of_a_pane() {
    let said = run(&["get", "no"], node_with("MemoryPressure"));
    let out = text(&said.stdout);
    assert_eq!(said.status.code(), Some(0), "{out} {}", text(&said.stderr));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[0].starts_with("GRADE    NODE ") && lines[0].contains(" CPU-use/req "), "{out}");
    assert!(lines[1].starts_with("warning  node-7 ") && lines[1].contains("MemPress"), "{out}");
    let said = run(&["get", "nodes", "-o", "json"], node_with("Ready"));
    let doc: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&doc["schema"], &doc["pane"], &doc["context"]),
        (&json!("pilothouse/v1"), &json!("nodes"), &json!("test"))
    );
    let row = &doc["rows"][0];
    assert_eq!(row["grade"], "critical");
    assert_eq!(row["object"], json!({"kind": "Node", "namespace": "", "name": "node-7"}));
    assert!(row["columns"]["state"].as_str().unwrap().starts_with("NotReady"), "{row}");
    assert_eq!(row["columns"]["cpu-size"], "8", "the JSON has the columns of wide screens too");
    // an empty list is no failure, and says what there is none of; what may not be read is one
    let said = run(&["get", "svc"], well);
    assert_eq!((said.status.code(), text(&said.stdout)), (Some(0), String::new()), "{}", text(&said.stderr));
    assert!(text(&said.stderr).contains("no services"), "{}", text(&said.stderr));
    let denied = |path: &str, _: u32| {
        let services =
            is_list(path) && path.split('?').next().is_some_and(|path| path.ends_with("/services"));
        services.then(|| whole("403 Forbidden", "", "{}"))
    };
    let said = run(&["get", "svc"], denied);
    assert_eq!(said.status.code(), Some(1), "{}", text(&said.stderr));
    let said = run(&["get", "knots"], well);
    assert_eq!(said.status.code(), Some(2), "{}", text(&said.stderr));
}

#[test]
fn why_says_what_to_do_and_fails_on_what_it_is_told_to() {
    let said = run(&["why"], node_with("Ready"));
    let out = text(&said.stdout);
    assert_eq!(said.status.code(), Some(0), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("test at ") && lines[0].contains("Z: nodes 0/1"), "{out}");
    assert!(lines[1].starts_with("API server http://127.0.0.1:") && lines[1].ends_with(", v1.36.2"), "{out}");
    let doing = lines.iter().find_map(|line| line.strip_prefix("    do: pilothouse ")).unwrap();
    assert!(doing.contains(" node-7 --kubeconfig ") && doing.contains(" --context test    # "), "{out}");
    for (condition, severity, status) in [
        ("Ready", "critical", 1),
        ("Ready", "info", 1),
        ("MemoryPressure", "critical", 0),
        ("MemoryPressure", "warning", 1),
        ("MemoryPressure", "info", 1),
    ] {
        let said = run(&["why", "--fail-on", severity], node_with(condition));
        assert_eq!(said.status.code(), Some(status), "{condition} {severity}: {}", text(&said.stdout));
    }
    let said = run(&["why", "--fail-on", "info"], well);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stdout));
    assert!(text(&said.stdout).contains(WELL));
}

#[test]
fn a_snapshot_is_for_people_and_for_awk() {
    let said = run(&["snapshot"], node_with("MemoryPressure"));
    let out = text(&said.stdout);
    let find = |head: &str| out.lines().skip_while(|l| !l.starts_with(head)).take(2).collect::<Vec<_>>();
    let table = find("NODE ");
    let [heads, row] = table.as_slice() else { panic!("{out}") };
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(heads).len(), cells(row).len(), "{out}");
    let of = |head: &str| {
        let at = cells(heads).iter().position(|h| h == head).unwrap();
        cells(row)[at].clone()
    };
    assert_eq!((of("CORES"), of("GIB"), of("CPU-REQUESTED")), ("8.0".into(), "32.0".into(), "0%".into()));
    assert_eq!(of("CPU-USED"), "-", "not measured");
    // problems are named here; only `why` explains them
    assert!(out.contains("1 finding; pilothouse why says more:"), "{out}");
    assert!(!out.contains("lastTransitionTime") && !out.contains("    do: "), "{out}");
}

#[test]
fn texts_of_a_watch_are_told_apart() {
    let (mut command, _home) = command(&["snapshot", "--watch"], well);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let first = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first.starts_with("=== 20") && first.ends_with('Z'), "{first}");
}

#[test]
fn nothing_to_list_is_said() {
    for (args, words) in [
        (&["journal", "list"][..], "the journal has no action yet"),
        (&["undo"], "there is no action to undo"),
    ] {
        let said = run(args, well);
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        assert_eq!(text(&said.stdout), "");
        assert!(text(&said.stderr).contains(words), "{said:?}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_said_to_be_silent() {
    let silent = |_: &str, _: u32| -> Answer {
        loop {
            std::thread::park();
        }
    };
    for args in [&["why", "--wait", "2s"][..], &["why", "--wait", "2s", "-n", "shop"]] {
        let said = run(args, silent);
        let (out, err) = (text(&said.stdout), text(&said.stderr));
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        assert!(out.starts_with("NOT SEEN: nodes"), "{out}");
        assert!(out.contains("did not answer: neither nodes nor pods were seen"), "{out}");
        assert!(err.contains("the API server did not answer within 2s"), "{err}");
    }
}

#[test]
fn whom_the_server_refuses_is_named() {
    let refuse = |path: &str, _: u32| {
        let message = r#"is forbidden: User \"ops\" cannot list resource"#;
        let body = format!(r#"{{"kind":"Status","code":403,"reason":"Forbidden","message":"{message}"}}"#);
        is_list(path).then(|| whole("403 Forbidden", "", &body))
    };
    let out = text(&run(&["why"], refuse).stdout);
    assert!(out.lines().next().unwrap().contains(r#"(no permission for User "ops")"#), "{out}");
    let out = text(&run(&["doctor"], refuse).stdout);
    assert!(out.contains("✖ source nodes denied") && out.contains(r#"(User "ops" may not)"#), "{out}");
    assert!(
        out.contains(r#"✖ may patch nodes: NO (User "ann" cannot patch nodes), for: cordon, drain"#),
        "{out}"
    );
    let last = out.lines().last().unwrap();
    let every = pilothouse::report::rights::all().len();
    let denied = format!("{every} of {every} permissions are denied");
    assert!(last.starts_with("problems: ") && last.contains(&denied), "{out}");
}

#[test]
fn slips_on_the_command_line_are_told_what_was_meant() {
    for (args, words) in [
        (&["why", "--context", "tset"][..], "did you mean test?"),
        (&["restart", "deploi/x", "--dry-run"], "did you mean deploy?"),
        (&["restart", "shop/x", "--dry-run"], "shop/deploy/x"),
        (&["why", "--scale", "3"], "add --demo"),
    ] {
        let said = run(args, well);
        assert_eq!(said.status.code(), Some(2), "{said:?}");
        assert!(text(&said.stderr).contains(words), "{said:?}");
    }
    let mut demo = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
    let said = demo.args(["why", "--demo", "node-downn"]).output().unwrap();
    assert!(text(&said.stderr).contains("did you mean node-down?"), "{said:?}");
}

/// A simulated cluster that ends with the test.
struct Sim(std::process::Child);

impl Drop for Sim {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_bad_release_is_found_with_the_clusters_prometheus_and_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
        command.env("HOME", folder.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME");
        command.env_remove("PILOTHOUSE_PROMETHEUS");
        command
    };
    let sim = ["sim", "--scenario", "error-storm", "--kubeconfig-out"];
    let mut sim = Sim(program().args(sim).arg(&kubeconfig).stderr(Stdio::piped()).spawn().unwrap());
    let mut opened = BufReader::new(sim.0.stderr.take().unwrap());
    let mut line = String::new();
    opened.read_line(&mut line).unwrap();
    assert!(line.contains(" is open on "), "{line}");
    let why = || program().args(["why", "--wait", "60s", "--kubeconfig"]).arg(&kubeconfig).output().unwrap();
    // its Prometheus is found by itself
    let said = why();
    let out = text(&said.stdout);
    assert!(out.contains("% errors at ") && out.contains("measured by "), "{said:?}");
    let config = folder.path().join(".config/pilothouse");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "[prometheus]\ndiscover = false\n").unwrap();
    let said = why();
    let out = text(&said.stdout);
    assert!(out.contains("shop/checkout error first seen ") && !out.contains("measured by "), "{said:?}");
    let fix =
        format!("    do: pilothouse rollback shop/deploy/checkout --kubeconfig {} ", kubeconfig.display());
    assert!(out.contains(&fix), "{out}");
}
