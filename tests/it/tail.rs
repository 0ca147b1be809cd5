//! `pilothouse logs`: lines of pods and of standard input, filtered, as text, as JSON and in groups.

use std::io::{Read, Write as _};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::answers::{command, is_list, whole};

const SINCE: &str = "2026-01-01T00:00:00Z";

fn pod(name: &str, container: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("u-{name}"), "resourceVersion": "4",
            "creationTimestamp": SINCE, "labels": {"app": name.split('-').next()}},
        "spec": {"nodeName": "node-1", "containers": [{"name": container, "image": "shop:v1"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [
            {"name": container, "ready": true, "restartCount": 0, "state": {"running": {"startedAt": SINCE}}}]},
    })
}

/// A cluster of two pods, `api-1` and `web-1`, with a log each. `denied`: the pods whose log is a 403.
fn cluster(denied: &'static str) -> impl Fn(&str, u32) -> Option<String> + Send + Sync {
    move |path, _| {
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let pods = [pod("api-1", "app"), pod("web-1", "nginx")];
        let name = bare.rsplit('/').find(|part| part.contains('-')).unwrap_or_default();
        if bare.ends_with("/log") {
            assert!(query.contains("container="), "{path}");
            if name == denied {
                let body =
                    r#"{"kind":"Status","status":"Failure","message":"pods/log is forbidden","code":403}"#;
                return Some(whole("403 Forbidden", "content-type: application/json\r\n", body));
            }
            let body = match name {
                "api-1" => {
                    "2026-01-01T00:00:01Z INFO up\n2026-01-01T00:00:03Z ERROR timeout after 30 s\n2026-01-01T00:00:03.5Z \tat x.Y(Z.java:1)\n2026-01-01T00:00:05Z ERROR timeout after 31 s\n"
                }
                _ => {
                    "2026-01-01T00:00:02Z {\"level\":\"warn\",\"msg\":\"slow\",\"status\":503}\n2026-01-01T00:00:04Z GET /healthz 200\n"
                }
            };
            return Some(whole("200 OK", "", body));
        }
        if is_list(path) && bare.ends_with("/pods") {
            let list =
                json!({"kind": "PodList", "metadata": {"resourceVersion": "5"}, "items": pods}).to_string();
            return Some(whole("200 OK", "content-type: application/json\r\n", &list));
        }
        if bare.contains("/pods/") {
            let found = pods.iter().find(|pod| pod["metadata"]["name"] == name)?;
            return Some(whole("200 OK", "content-type: application/json\r\n", &found.to_string()));
        }
        None
    }
}

fn run(args: &[&str], denied: &'static str) -> Output {
    let (mut command, _home) = command(args, cluster(denied));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(args: &[&str]) -> Vec<String> {
    let said = run(args, "");
    assert_eq!(said.status.code(), Some(0), "{args:?}: {said:?}");
    text(&said.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn lines_of_several_pods_are_ordered_by_time_and_filtered() {
    assert_eq!(
        lines(&["logs", "-A"]),
        [
            "shop/api-1 app INFO up",
            r#"shop/web-1 nginx {"level":"warn","msg":"slow","status":503}"#,
            "shop/api-1 app ERROR timeout after 30 s",
            " at x.Y(Z.java:1)",
            "shop/web-1 nginx GET /healthz 200",
            "shop/api-1 app ERROR timeout after 31 s",
        ]
    );
    for (args, count) in [
        (&["logs", "api-1"][..], 4),
        (&["logs", "pod/web-1"], 2),
        (&["logs", "shop/web-1"], 2),
        (&["logs", "-n", "shop", "-l", "app in (api,other)"], 4),
        (&["logs", "--node", "node-1"], 6),
        (&["logs", "node/node-1"], 6),
        (&["logs", "-A", "-c", "nginx"], 2),
        (&["logs", "-A", "--level", "warn"], 4),
        (&["logs", "-A", "--level", "warn", "--grep", "timeout|slow", "--filter", "-31"], 3),
        (&["logs", "-A", "--filter", "field.status>=500"], 1),
        (&["logs", "-A", "--filter", "x.Y"], 2),
        (&["logs", "-A", "--filter", "-healthz pod:web"], 1),
    ] {
        let found = lines(args);
        assert_eq!(found.len(), count, "{args:?}: {found:#?}");
    }
    let stamped = lines(&["logs", "web-1", "--timestamps"]);
    assert_eq!(stamped[1], "2026-01-01T00:00:04Z shop/web-1 nginx GET /healthz 200");
}

#[test]
fn lines_are_json_and_groups() {
    let found = lines(&["logs", "-A", "-o", "json", "--level", "warn"]);
    let documents: Vec<Value> = found.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &documents[0];
    assert_eq!((&first["ts"], &first["pod"]), (&json!("2026-01-01T00:00:02Z"), &json!("web-1")));
    assert_eq!((&first["namespace"], &first["node"]), (&json!("shop"), &json!("node-1")));
    assert_eq!((&first["level"], &first["fields"]["status"]), (&json!("warn"), &json!("503")));
    assert_eq!(documents[1]["text"], "ERROR timeout after 30 s\n at x.Y(Z.java:1)");
    assert_eq!(documents[1]["fingerprint"], documents[2]["fingerprint"]);
    let said = run(&["logs", "-A", "--group", "--level", "error"], "");
    assert_eq!(text(&said.stderr), "pilothouse: the newest 200 lines of each of 2 containers\n");
    let said = run(&["logs", "-A", "--group", "--tail", "50"], "");
    assert_eq!(text(&said.stderr), "", "it was asked for");
    let table = lines(&["logs", "-A", "--group", "--level", "error"]);
    assert!(table[0].contains("  WORKLOADS  ") && table[1].contains("  shop/api-1  "), "{table:#?}");
    assert_eq!(table.len(), 2, "{table:#?}");
    assert!(
        table[0].starts_with("COUNT  LEVEL") && table[1].trim_start().starts_with("2  error"),
        "{table:#?}"
    );
    let document: Value = serde_json::from_str(&lines(&["logs", "-A", "--group", "-o", "json"])[0]).unwrap();
    assert_eq!((&document["lines"], &document["groups"][0]["count"]), (&json!(5), &json!(2)));
    assert_eq!(document["groups"][0]["pods"], json!(["shop/api-1"]));
}

#[test]
fn a_log_that_cannot_be_read_is_told_and_fails() {
    let said = run(&["logs", "-A"], "api-1");
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert_eq!(text(&said.stdout).lines().count(), 2, "the other pod's lines are there");
    let why = text(&said.stderr);
    assert!(why.contains("shop/api-1 app: the log cannot be read: ") && why.contains("forbidden"), "{why}");
    for (args, status, words) in [
        (&["logs", "api-2"][..], 1, "api-2 has no pods, or does not exist"),
        (&["logs", "-A", "--filter", "level>=warm"], 2, "--filter: column 8: `warm` is not a level"),
        (&["logs", "-A", "--grep", "a("], 2, "--grep: not a regular expression"),
        (&["logs", "-l", "a b"], 2, "no part of a label selector"),
        (&["logs", "a/b/c/d"], 2, "use NAMESPACE/KIND/NAME"),
        (&["logs", "-", "x"], 2, "- is standard input"),
        (&["logs"], 0, "no pod is in trouble"),
        (&["logs", "-l", "app=nosuch"], 1, "no pod is selected by -l app=nosuch\n"),
        (&["logs", "--node", "nosuch"], 1, "no pod is selected by --node nosuch\n"),
        (&["logs", "-f", "api-2"], 1, "api-2 has no pods, or does not exist"),
        (&["logs", "-A", "--group", "-f"], 2, "--group counts the lines once all are read"),
        (&["logs", "-", "-f", "--tail", "3"], 2, "--tail of standard input waits for its end"),
        (&["logs", "web-1", "-c", "nosuch"], 1, "no container named nosuch in shop/web-1: nginx\n"),
        (&["logs", "-f", "-A", "-c", "nosuch"], 1, "no container named nosuch in shop/api-1, shop/web-1: "),
        (&["logs", "-A", "-p"], 1, "pilothouse: 2 pods: no container has been restarted"),
        (&["logs", "-A", "--grep", "nosuch"], 0, "pilothouse: no line passes the filter (6 lines read)\n"),
    ] {
        let said = match args {
            ["logs", "-", rest @ ..] => input(rest, ""),
            _ => run(args, ""),
        };
        assert_eq!(said.status.code(), Some(status), "{args:?}: {said:?}");
        let why = text(&said.stderr);
        assert!(why.contains(words) && why.matches("pilothouse: ").count() <= 1, "{args:?}: {said:?}");
    }
    let said = run(&["logs", "-A", "-c", "nginx"], "");
    assert_eq!(text(&said.stderr), "", "another pod needs no container of this name");
}

/// What a process wrote so far to its standard output and its standard error.
type Written = Arc<(Mutex<[String; 2]>, Condvar)>;

fn collect(mut from: impl Read + Send + 'static, place: usize, into: &Written) {
    let into = into.clone();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(got @ 1..) = from.read(&mut piece) {
            into.0.lock().unwrap()[place].push_str(&text(&piece[..got]));
            into.1.notify_all();
        }
    });
}

/// Runs a command until it has written enough, and interrupts it. Returns its exit status and what it wrote.
fn interrupted(
    args: &[&str],
    hook: impl Fn(&str, u32) -> Option<String> + Send + Sync + 'static,
    enough: impl Fn(&str, &str) -> bool,
) -> (Option<i32>, String, String) {
    let (mut command, _home) = command(args, hook);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let written = Written::default();
    collect(child.stdout.take().unwrap(), 0, &written);
    collect(child.stderr.take().unwrap(), 1, &written);
    let held = written.0.lock().unwrap();
    let wait = written.1.wait_timeout_while(held, Duration::from_secs(60), |w| !enough(&w[0], &w[1]));
    let [out, err] = wait.unwrap().0.clone();
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success() && enough(&out, &err), "{out}\n{err}");
    (child.wait().unwrap().code(), out, err)
}

#[test]
fn a_followed_log_that_cannot_be_read_fails_though_another_can() {
    let args = ["logs", "-f", "-A"];
    let is_read = |out: &str| out.contains("timeout after 31 s") || out.contains("healthz");
    let (status, _, why) =
        interrupted(&args, cluster("api-1"), |out, err| is_read(out) && err.contains("forbidden"));
    assert_eq!(status, Some(1), "{why}");
    let all = |out: &str, _: &str| out.contains("timeout after 31 s") && out.contains("healthz");
    let (status, _, why) = interrupted(&args, cluster(""), all);
    assert_eq!(status, Some(130), "{why}");
}

#[test]
fn a_pod_that_is_not_there_yet_is_waited_for() {
    let waits = |args: &[&str], words: &'static str| {
        let hook = |path: &str, times: u32| {
            let deployment = json!({"metadata": {"name": "batch", "namespace": "shop", "uid": "u-batch",
                "resourceVersion": "4", "creationTimestamp": SINCE}, "spec": {"replicas": 0,
                "selector": {"matchLabels": {"app": "batch"}}, "template": {"metadata": {}, "spec": {"containers": []}}}});
            let list = json!({"kind": "DeploymentList", "apiVersion": "apps/v1",
                "metadata": {"resourceVersion": "5"}, "items": [deployment]});
            let is_this =
                is_list(path) && path.split('?').next().is_some_and(|path| path.ends_with("/deployments"));
            if !is_this {
                return cluster("")(path, times);
            }
            Some(whole("200 OK", "content-type: application/json\r\n", &list.to_string()))
        };
        let (status, out, err) = interrupted(args, hook, move |_, err| err.contains(words));
        assert_eq!((status, out.as_str()), (Some(130), ""), "{args:?}: {err}");
    };
    waits(&["logs", "-f", "-l", "app=nosuch"], "no pod is selected by -l app=nosuch yet: waiting for one\n");
    waits(&["logs", "-f", "deploy/batch"], "no pod is selected yet: waiting for one\n");
    waits(&["logs", "-f"], "no pod is in trouble yet: waiting for one\n");
}

#[test]
fn lines_that_are_missing_are_told() {
    // the log is rotated between two connections
    let rotated = || {
        let cluster = cluster("");
        move |path: &str, times: u32| match path.contains("/pods/api-1/log") {
            true if times == 1 => Some(whole("200 OK", "", "2026-01-01T00:00:01Z INFO before\n")),
            true => Some(whole("200 OK", "", "2026-01-01T00:00:09Z INFO after\n")),
            false => cluster(path, times),
        }
    };
    let enough = |out: &str, _: &str| out.contains("INFO after");
    let words = "lines may be missing: the log was rotated before they were read";
    // the two streams are read one beside the other
    let both = |out: &str, err: &str| out.contains("INFO after") && err.contains(words);
    let (_, out, err) = interrupted(&["logs", "-f", "api-1", "--level", "info"], rotated(), both);
    assert_eq!(out, "shop/api-1 app INFO before\nshop/api-1 app INFO after\n");
    assert_eq!(
        err.lines().filter(|line| *line == format!("gap: shop/api-1 app: {words}")).count(),
        1,
        "{err}"
    );
    let (_, out, err) =
        interrupted(&["logs", "-f", "api-1", "-o", "json", "--grep", "INFO"], rotated(), enough);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|line| (line["mark"].as_str(), line["text"].as_str())).collect();
    let want = [(None, Some("INFO before")), (Some("gap"), Some(words)), (None, Some("INFO after"))];
    assert_eq!(told, want, "{err}");
    assert_eq!((&lines[1]["ts"], &lines[1]["pod"]), (&json!("2026-01-01T00:00:01Z"), &json!("api-1")));
    assert!(!err.contains("gap:"), "{err}");
}

#[test]
fn a_line_without_a_timestamp_has_the_time_that_it_names() {
    let log = "{\"ts\":\"2026-01-02T15:04:05Z\",\"msg\":\"a\"}\n02/Jan/2026:15:04:06 +0000 b\n\
        2026-01-02T15:04:07Z 2025-01-01T00:00:00Z the kubelet's time comes first\nno time\n";
    let said = input(&["--timestamps"], log);
    let out = text(&said.stdout);
    let times: Vec<&str> = out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(times[..3], ["2026-01-02T15:04:05Z", "2026-01-02T15:04:06Z", "2026-01-02T15:04:07Z"], "{out}");
    let now = pilothouse_core::domain::time::Stamp::parse(times[3]).unwrap();
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(age.abs_diff(u128::try_from(now.0).unwrap()) < 600_000, "the time when it came: {out}");
}

/// Runs `logs -` without any cluster or config.
fn input(args: &[&str], lines: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
    command
        .args(["logs", "-"])
        .args(args)
        .env("HOME", home.path())
        .env("KUBECONFIG", home.path().join("none"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(lines.as_bytes())));
    let said = child.wait_with_output().unwrap();
    writer.join().unwrap();
    said
}

#[test]
fn standard_input_is_read_without_a_cluster() {
    let log = "INFO up\nERROR timeout after 30 s\n\tat x.Y(Z.java:1)\nERROR timeout after 31 s\n\u{1b}[31mred\u{1b}[0m \u{9b}2J\n";
    let said = input(&[], log);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let out = text(&said.stdout);
    assert_eq!(out.lines().take(2).collect::<Vec<_>>(), ["INFO up", "ERROR timeout after 30 s"]);
    assert!(!out.contains('\u{1b}') && !out.contains('\u{9b}') && out.contains("red"), "{out:?}");
    assert_eq!(text(&said.stderr), "");
    let said = input(&["--level", "error"], log);
    assert_eq!(text(&said.stdout).lines().count(), 3);
    let said = input(&["--group", "-o", "json"], log);
    let document: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&document["lines"], &document["groups"][0]["count"]), (&json!(4), &json!(2)));
    let said = input(
        &["-o", "json", "--filter", "container:app"],
        "[pod/a-1/app] ERROR x\n[pod/a-1/side] ERROR y\n",
    );
    let document: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&document["pod"], &document["container"], &document["text"]),
        (&json!("a-1"), &json!("app"), &json!("ERROR x"))
    );
}

#[test]
fn standard_input_is_printed_as_it_came_from_since_and_as_far_as_tail() {
    let log = "2026-01-01T00:00:01.5Z INFO\tup\n[pod/a-1/app] ERROR boom\n[pod/a-1/app] \tat f\n";
    let said = input(&[], log);
    assert_eq!((text(&said.stdout), text(&said.stderr)), (log.to_owned(), String::new()));
    let table = text(&input(&["--group"], "ERROR boom\n").stdout);
    assert!(table.starts_with("COUNT  LEVEL  FIRST"), "no pods are known: {table}");
    let log = "2026-01-01T00:00:01Z a\n2026-01-01T00:00:02Z b\nof b\n2999-01-01T00:00:00Z c\n2999-01-01T00:00:00Z d\n";
    for (args, want, why) in [
        (&["--tail", "0"][..], &[][..], ""),
        (&["--tail", "1"], &["d"], ""),
        (&["--tail", "3"], &["of b", "c", "d"], ""),
        (&["--since", "1h"], &["c", "d"], ""),
        (&["--since", "1h", "--tail", "1"], &["d"], ""),
        (
            &["--since", "1h", "--level", "error"],
            &[],
            "pilothouse: no line passes the filter (2 lines read)\n",
        ),
    ] {
        let said = input(args, log);
        let out = text(&said.stdout);
        let got: Vec<&str> =
            out.lines().map(|line| line.split_once("Z ").map_or(line, |(_, rest)| rest)).collect();
        assert_eq!((got, text(&said.stderr).as_str()), (want.to_vec(), why), "{args:?}");
        assert_eq!(said.status.code(), Some(0));
    }
    let said = input(&["--since", "1h"], "2026-01-01T00:00:01Z a\n");
    assert_eq!(text(&said.stderr), "pilothouse: no line is newer than 1h (1 line read)\n");
    let said = input(&["--since", "1h"], "a\n");
    assert!(text(&said.stdout) == "a\n" && text(&said.stderr).contains("1 line without a time"), "{said:?}");
    let said = input(&["-n", "shop"], "a\n");
    assert!(said.status.code() == Some(2) && said.stdout.is_empty(), "{said:?}");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let endless = "INFO line\n".repeat(200_000);
    let script = format!("{} logs - | head -1", env!("CARGO_BIN_EXE_pilothouse"));
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {script}")])
        .env("HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(stdin.write_all(endless.as_bytes())));
    let said = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(
        (said.status.code(), text(&said.stdout), text(&said.stderr)),
        (Some(0), "INFO line\n".into(), String::new())
    );
}
