//! The table of sources: what it says agrees with the config and the rights, and what the headless commands show of it.

use std::collections::BTreeSet;
use std::process::Output;

use pilothouse::config::fields::fields;
use pilothouse::source::SOURCES;
use pilothouse_core::domain::kinds::Purpose;
use serde_json::Value;

use crate::answers::command;

#[test]
fn the_config_has_a_section_for_each_source_that_has_settings() {
    let of_others = ["ui", "guards", "traffic", "history"];
    let sections: BTreeSet<&str> = fields().map(|f| f.section).filter(|s| !of_others.contains(s)).collect();
    let read: BTreeSet<&str> = SOURCES.iter().map(|s| s.section).filter(|s| !s.is_empty()).collect();
    assert_eq!(sections, read);
}

#[test]
fn what_is_read_without_being_asked_for_is_a_need_of_a_source() {
    let needs: BTreeSet<Purpose> = SOURCES.iter().flat_map(|s| s.needs.iter().copied()).collect();
    let read = |purpose: &Purpose| purpose.is_reading() && *purpose != Purpose::Describe;
    assert_eq!(needs, Purpose::ALL.into_iter().filter(read).collect());
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let (mut command, _home) = command(args, |_, _| None);
    command.envs(env.iter().copied()).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn config_print_tells_a_flag_from_the_environment() {
    let env = [("PILOTHOUSE_PROMETHEUS", "http://of-env:9090")];
    for (args, line) in [
        (&["config", "print"][..], "prometheus.url = \"http://of-env:9090\"  # $PILOTHOUSE_PROMETHEUS"),
        (
            &["config", "print", "--prometheus", "http://of-flag:9090"],
            "prometheus.url = \"http://of-flag:9090\"  # --prometheus",
        ),
        (&["--read-only", "config", "print"], "guards.read_only = true  # --read-only"),
        (&["config", "print"], "guards.read_only = false  # default"),
    ] {
        let output = run(args, &env);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().any(|l| l == line), "{args:?}: {line}\n{text}");
    }
}

#[test]
fn alerts_that_nobody_was_asked_for_are_not_none_but_unknown() {
    let document = json(&run(&["snapshot", "-o", "json"], &[]));
    assert_eq!(document.get("alerts"), Some(&Value::Null));
}

#[test]
fn a_source_that_is_off_says_how_it_is_switched_on() {
    let text = String::from_utf8(run(&["doctor"], &[]).stdout).unwrap();
    let none = "source prometheus not-installed (never answered): no Prometheus among the cluster's 0 Services; set \
                prometheus.url or prometheus.service";
    assert!(text.lines().any(|l| l == none), "{text}");
    let (mut command, home) = command(&["doctor"], |_, _| None);
    let folder = home.path().join(".config/pilothouse");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), "[prometheus]\ndiscover = false\n").unwrap();
    let off = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let line = "source prometheus off (never answered): no Prometheus is configured (--prometheus URL, or \
                prometheus.url in the config), and prometheus.discover is false";
    assert!(off.lines().any(|l| l == line), "{off}");
    // the logs of pods are not read for this; the permission for them is asked for
    assert!(!text.contains("source logs") && text.contains("may get pods/log: "), "{text}");
}
