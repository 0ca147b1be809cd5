//! `--log-file FILE`: a file stands beside the logs of pods.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::answers::command;

fn run(args: &[&str]) -> Output {
    let (mut command, _home) = command(args, |_, _| None);
    command.output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn source<'a>(document: &'a Value, name: &str) -> Option<&'a Value> {
    document["sources"].as_array().unwrap().iter().find(|s| s["name"] == name)
}

#[test]
fn errors_of_files_are_groups_of_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (a, b, missing) = (path("a.log"), path("b.log"), path("missing.log"));
    fs::write(&a, "INFO fine\nERROR refused by 10.0.0.1\nERROR refused by 10.0.0.2\n").unwrap();
    fs::write(&b, "ERROR refused by 10.0.0.3\nERROR out of disk\n").unwrap();
    let files = ["--log-file", &a, "--log-file", &b, "--log-file", &missing, "--log-file", &a];
    let args = [&["snapshot", "-o", "json"], &files[..]].concat();
    let document = json(&run(&args));
    let mut groups: Vec<(u64, String)> = document["error_groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| (g["count"].as_u64().unwrap(), g["workloads"].to_string()))
        .collect();
    groups.sort();
    assert_eq!(groups, [(1, r#"["b.log"]"#.to_owned()), (3, r#"["a.log","b.log"]"#.to_owned())]);
    for (file, state) in [(&a, "live"), (&b, "live"), (&missing, "down")] {
        let source = source(&document, &format!("log file {file}")).unwrap();
        assert_eq!(source["state"], state, "{document}");
    }
    assert!(source(&document, "logs").is_none(), "one document waits for no logs of pods");
    assert!(
        source(&document, &format!("log file {missing}")).unwrap()["error"]
            .as_str()
            .unwrap()
            .contains("no such file")
    );
}

/// The groups of error lines in a JSON document, as `(fingerprint, template, count)`.
fn groups(document: &Value, name: &str) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let group = |g: &Value| (text(&g["fingerprint"]), text(&g["template"]), g["count"].as_u64().unwrap());
    let mut groups: Vec<_> = document[name].as_array().unwrap().iter().map(group).collect();
    groups.sort();
    groups
}

#[test]
fn the_groups_of_the_logs_command_are_those_of_the_errors_pane() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (log, config) = (path("a.log"), path("config.toml"));
    // a line without a level stands before the errors that it looks like, and the first error is filtered out
    let text = "no account for user dave\nERROR no account for user alice\nERROR no account for user bob\n\
        ERROR answered 502 to x\nERROR answered 503 to x\nERROR no apples left\nERROR no pears left\n\
        ERROR boom 7\n\tat x.Y(Z.java:1)\nERROR boom 8\n";
    fs::write(&log, text).unwrap();
    let logs = |args: &[&str]| {
        let all = [&["logs", "-", "-o", "json", "--config", &config][..], args].concat();
        // standard input has no cluster
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
        command.args(all).env("HOME", folder.path()).env_remove("XDG_CONFIG_HOME").env_remove("KUBECONFIG");
        command.stdin(Stdio::from(fs::File::open(&log).unwrap()));
        command.output().unwrap()
    };
    for settings in ["", "[logs]\nunmasked = ['502', '503']\nmasks = { fruit = 'apples|pears' }\n"] {
        fs::write(&config, settings).unwrap();
        let pane = run(&["snapshot", "-o", "json", "--config", &config, "--log-file", &log]);
        let pane = groups(&json(&pane), "error_groups");
        assert_eq!(pane.len(), 5, "{pane:#?}");
        let table = groups(&json(&logs(&["--group", "--level", "error"])), "groups");
        assert_eq!(table, pane, "{settings}");
        for (args, lines) in [(&["--level", "error"][..], 8), (&["--grep", "bob"], 1)] {
            let out = String::from_utf8(logs(args).stdout).unwrap();
            assert_eq!(out.lines().count(), lines, "{out}");
            for line in out.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                assert!(
                    pane.iter().any(|(print, ..)| line["fingerprint"] == print.as_str()),
                    "{line} {pane:#?}"
                );
            }
        }
    }
}

#[test]
fn a_line_of_a_file_has_the_time_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    fs::write(&path, "[02/Jan/2026:15:04:05 +0000] ERROR named\nERROR not named\n").unwrap();
    let document = json(&run(&["snapshot", "-o", "json", "--log-file", path.to_str().unwrap()]));
    let last = |template: &str| {
        let mut all = document["error_groups"].as_array().unwrap().iter();
        all.find(|g| g["template"] == template).unwrap()["last_seen"].clone()
    };
    assert_eq!(last("named"), "2026-01-02T15:04:05Z", "{document}");
    assert_ne!(last("not named"), "2026-01-02T15:04:05Z");
}

#[test]
fn doctor_finds_a_file_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    let output = run(&["doctor", "--log-file", here]);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = format!("✖ source log file {here} down (never answered): this is not a regular file");
    assert!(text.lines().any(|l| l.starts_with(&line)), "{text}");
    assert_eq!(output.status.code(), Some(1));
}
