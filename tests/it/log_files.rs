//! `--log-file FILE`: a file stands beside the logs of pods.

use std::fs;
use std::process::Output;

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
