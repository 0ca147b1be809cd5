//! Streams of the API server over plain HTTP: a watch that continues where another ended, one whose version is too old,
//! bookmarks, and followed logs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::{Rig, rig};
use crate::wire::{JSON, MERGE, Stream, Wire};

const SPACE: &str = "contract-watches";
const MAPS: &str = "/api/v1/namespaces/contract-watches/configmaps";

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn start(rig: &Rig) -> Wire {
    rig.namespace(SPACE);
    Wire::of(rig, "admin")
}

fn watch(wire: &Wire, query: &str) -> Stream {
    let stream = wire.open("GET", &format!("{MAPS}?watch=1&{query}"), JSON, "");
    assert_eq!(stream.code, 200);
    stream
}

/// Types and names of the next events, and the last object.
fn events(stream: &mut Stream, count: usize) -> (Vec<String>, Value) {
    let (mut seen, mut last) = (Vec::new(), Value::Null);
    for _ in 0..count {
        let (kind, object) = stream.event().expect("the watch goes on");
        seen.push(format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default()));
        assert!(version(&object) > if last.is_null() { 0 } else { version(&last) }, "{seen:?}: not in order");
        last = object;
    }
    (seen, last)
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_watch_goes_on_where_another_ended() {
    let rig = rig();
    let wire = start(&rig);
    let one = format!("{MAPS}/followed");
    wire.ask("DELETE", &one, JSON, &Value::Null);
    let begin = version(&wire.ok("GET", MAPS, JSON, &Value::Null));
    wire.ok("POST", MAPS, JSON, &json!({"metadata": {"name": "followed", "labels": {"seen": "yes"}}}));
    let changed = wire.ok("PATCH", &one, MERGE, &json!({"data": {"a": "1"}}));
    let hidden = wire.ok("PATCH", &one, MERGE, &json!({"metadata": {"labels": {"seen": "no"}}}));
    wire.ok("DELETE", &one, JSON, &Value::Null);
    let all = ["ADDED followed", "MODIFIED followed", "MODIFIED followed", "DELETED followed"];
    // other changes in the namespace come when the controllers make them
    let this = "timeoutSeconds=20&fieldSelector=metadata.name%3Dfollowed";
    let (seen, gone) = events(&mut watch(&wire, &format!("resourceVersion={begin}&{this}")), 4);
    assert_eq!(seen, all);
    assert!(version(&gone) > version(&hidden), "the end has a version of its own");
    let rest = format!("resourceVersion={}&{this}", version(&changed));
    assert_eq!(events(&mut watch(&wire, &rest), 2).0, all[2..]);
    // with a selector, an object is deleted when it no longer matches
    let selected = format!("resourceVersion={begin}&timeoutSeconds=20&labelSelector=seen%3Dyes");
    let (seen, left) = events(&mut watch(&wire, &selected), 3);
    assert_eq!(seen, ["ADDED followed", "MODIFIED followed", "DELETED followed"]);
    assert_eq!(version(&left), version(&hidden), "it left when it was changed");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_version_that_is_too_old_is_told_in_the_stream() {
    let rig = rig();
    let wire = start(&rig);
    let path = "/apis/gateway.networking.k8s.io/v1/httproutes?watch=1&resourceVersion=1&timeoutSeconds=20";
    let mut stream = wire.open("GET", path, JSON, "");
    assert_eq!(stream.code, 200, "the refusal is an event");
    let (kind, status) = stream.event().unwrap();
    assert_eq!(
        (kind.as_str(), &status["code"], &status["reason"]),
        ("ERROR", &json!(410), &json!("Expired"))
    );
    assert!(status["message"].as_str().unwrap().contains("too old resource version: 1"), "{status}");
    assert!(stream.event().is_none(), "and it is the last one");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn bookmarks_tell_where_a_quiet_watch_stands() {
    let rig = rig();
    let wire = start(&rig);
    let begin = version(&wire.ok("GET", MAPS, JSON, &Value::Null));
    let began = Instant::now();
    let asked =
        format!("resourceVersion={begin}&allowWatchBookmarks=true&timeoutSeconds=6&labelSelector=none");
    let mut quiet = watch(&wire, &asked);
    // a watch without any change since its start gets no bookmark
    wire.ask("DELETE", &format!("{MAPS}/unseen"), JSON, &Value::Null);
    wire.ok("POST", MAPS, JSON, &json!({"metadata": {"name": "unseen"}}));
    let (kind, mark) = quiet.event().expect("a bookmark before the end");
    assert_eq!((kind.as_str(), &mark["kind"]), ("BOOKMARK", &json!("ConfigMap")));
    assert!(version(&mark) > begin && mark["metadata"]["name"].as_str().unwrap_or_default().is_empty());
    while let Some((kind, _)) = quiet.event() {
        assert_eq!(kind, "BOOKMARK");
    }
    let lasted = began.elapsed();
    assert!(lasted > Duration::from_secs(5) && lasted < Duration::from_secs(15), "{lasted:?}");
    // a list as a stream: the existing objects, then the mark of its end
    wire.ask("POST", MAPS, JSON, &json!({"metadata": {"name": "listed"}}));
    let asked = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=20\
                 &fieldSelector=metadata.name%3Dlisted";
    let mut list = watch(&wire, asked);
    let (kind, object) = list.event().unwrap();
    assert_eq!((kind.as_str(), &object["metadata"]["name"]), ("ADDED", &json!("listed")));
    let (kind, mark) = list.event().unwrap();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(mark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{mark}");
    wire.ok("DELETE", &format!("{MAPS}/listed"), JSON, &Value::Null);
    assert_eq!(list.event().unwrap().0, "DELETED", "and it goes on");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn logs_end_or_are_followed() {
    let rig = rig();
    let wire = start(&rig);
    let log = |query: &str| {
        wire.open("GET", &format!("/api/v1/namespaces/shop/pods/checkout-0/log?{query}"), JSON, "")
    };
    let last = log("tailLines=1").text();
    assert_eq!(last.lines().count(), 1, "{last:?}");
    let stamped = log("tailLines=3&timestamps=true&container=app").text();
    assert_eq!(stamped.lines().count(), 3, "{stamped:?}");
    for line in stamped.lines() {
        let time = line.split(' ').next().unwrap();
        assert!(time.starts_with("20") && time.contains('T') && time.ends_with('Z'), "{line}");
    }
    assert_eq!(log("limitBytes=10").text().len(), 10);
    let mut followed = log("tailLines=1&follow=true");
    assert!(followed.line().is_some());
    assert!(followed.lasts(Duration::from_secs(3)), "a log that is followed ends only with its container");
    let mut wrong = log("container=nope");
    assert_eq!(wrong.code, 400);
    assert!(wrong.text().contains("container nope is not valid for pod checkout-0"));
    assert_eq!(wire.get("/api/v1/namespaces/shop/pods/none/log").0, 404);
    rig.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: nowhere, namespace: {SPACE}}}\nspec: {{nodeSelector: {{no: such}}, containers: [{{name: a, image: \"a:1\"}}]}}\n"
    ));
    let mut nowhere = wire.open("GET", &format!("/api/v1/namespaces/{SPACE}/pods/nowhere/log"), JSON, "");
    assert_eq!((nowhere.code, nowhere.text().as_str()), (204, ""), "no node has it yet");
    rig.kubectl_ok(&["-n", SPACE, "delete", "pod", "nowhere"]);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_log_request_names_a_container_that_the_pod_has() {
    let rig = rig();
    let wire = start(&rig);
    rig.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: several, namespace: {SPACE}}}\nspec: {{nodeSelector: {{no: such}}, initContainers: [{{name: migrate, image: \"a:1\"}}], containers: [{{name: app, image: \"a:1\"}}, {{name: side, image: \"a:1\"}}]}}\n"
    ));
    let log = |pod: &str, query: &str| {
        let mut answer =
            wire.open("GET", &format!("/api/v1/namespaces/{SPACE}/pods/{pod}/log?{query}"), JSON, "");
        let code = answer.code;
        (code, answer.text())
    };
    let says = |query: &str, code: u16, words: &str| {
        let (got, text) = log("several", query);
        let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!((got, status["message"].as_str().unwrap_or(&text)), (code, words), "{query}");
    };
    // only kubectl knows a default container
    let which = "a container name must be specified for pod several, choose one of: [migrate app side]";
    says("", 400, which);
    says("container=", 400, which);
    says("container=nope", 400, "container nope is not valid for pod several");
    assert_eq!(
        log("several", "container=migrate").0,
        204,
        "an init container has a log, but no node has the pod"
    );
    let invalid = "PodLogOptions \"several\" is invalid: ";
    for (query, words) in [
        ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
    ] {
        says(&format!("container=app&{query}"), 422, &format!("{invalid}{words}"));
    }
    let (code, both) = log("several", "container=app&sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z");
    assert!(
        code == 422 && both.contains("at most one of `sinceTime` or `sinceSeconds` may be specified"),
        "{both}"
    );
    assert_eq!(log("several", "container=app&tailLines=x").0, 400);
    rig.kubectl_ok(&["-n", SPACE, "delete", "pod", "several"]);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn where_a_log_begins() {
    let rig = rig();
    let wire = start(&rig);
    let log = |query: &str| {
        let path = format!("/api/v1/namespaces/shop/pods/checkout-0/log?timestamps=true&{query}");
        let mut answer = wire.open("GET", &path, JSON, "");
        assert_eq!(answer.code, 200, "{query}");
        answer.text().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let last = log("tailLines=50");
    let stamp = |line: &str| line.split(' ').next().unwrap().to_owned();
    let from = stamp(&last[last.len() / 2]);
    // a time has whole seconds: those of its second are read again
    let second = from.split('.').next().unwrap().trim_end_matches('Z').to_owned();
    let since = log(&format!("sinceTime={second}Z"));
    assert!(since.iter().all(|line| stamp(line) >= second), "{since:?}");
    assert!(since.contains(&last[last.len() / 2]), "the line of that time itself");
    assert_eq!(log(&format!("sinceTime={second}Z&tailLines=1")).len(), 1, "both limits count");
    assert_eq!(log("tailLines=0"), Vec::<String>::new());
    assert!(log("sinceSeconds=1&tailLines=1000").len() <= 1000);
    if !rig.simulated {
        return; // KWOK has a file of earlier lines for each container, also for one that never ended
    }
    let path = "/api/v1/namespaces/shop/pods/checkout-0/log?previous=true";
    let mut none = wire.open("GET", path, JSON, "");
    let (code, text) = (none.code, none.text());
    assert!(code == 400 && text.contains("previous terminated container"), "{code} {text}");
}
