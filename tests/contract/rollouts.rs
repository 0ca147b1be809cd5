//! Rollouts compared with kubectl's: what a rollback restores, the state of a rollout, and the undo of each action on
//! it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::rig::{Rig, err, out, rig, until};

const OURS: &str = "contract-ours";
const THEIRS: &str = "contract-theirs";

/// One of three revisions of the same workload: image, environment, annotations and change-cause differ.
fn revision(kind: &str, name: &str, n: usize) -> String {
    let scheduling =
        if kind == "DaemonSet" { "nodeSelector: {kubernetes.io/hostname: node-0001}, " } else { "" };
    let replicas = if kind == "DaemonSet" { "" } else { "replicas: 2, " };
    let service =
        if kind == "StatefulSet" { "serviceName: none, podManagementPolicy: Parallel, " } else { "" };
    let env = match n {
        1 => r#"[{name: A, value: "1"}, {name: GONE, value: "later"}]"#,
        2 => r#"[{name: A, value: "2"}]"#,
        _ => r#"[{name: A, value: "2"}, {name: NEW, value: "x"}]"#,
    };
    format!(
        r#"
apiVersion: apps/v1
kind: {kind}
metadata:
  name: {name}
  annotations: {{kubernetes.io/change-cause: "revision {n}", team.test/only-{n}: "yes"}}
spec: {{{replicas}{service}selector: {{matchLabels: {{app: {name}}}}}, template: {{
  metadata: {{labels: {{app: {name}}}, annotations: {{note: "n{n}", only-in-{n}: "yes"}}}},
  spec: {{{scheduling}terminationGracePeriodSeconds: 1, containers: [{{name: a, image: "a:{n}", env: {env}}}]}}}}}}
"#
    )
}

fn make(rig: &Rig, namespace: &str, kind: &str, name: &str) {
    for n in 1..=3 {
        rig.apply_in(namespace, &revision(kind, name, n));
        settled(rig, namespace, &format!("{kind}/{name}"));
    }
}

fn settled(rig: &Rig, namespace: &str, object: &str) {
    rig.kubectl_ok(&["-n", namespace, "rollout", "status", object, "--timeout=60s"]);
}

/// What a roll-back may change: the template, and the object's annotations (without the namespace).
fn restored(rig: &Rig, namespace: &str, object: &str) -> (Value, BTreeMap<String, String>, String) {
    let live = rig.kubectl_json(&["-n", namespace, "get", object]);
    let annotations = live["metadata"]["annotations"].as_object().unwrap();
    let annotations =
        annotations.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().replace(namespace, "NS"))).collect();
    let history = rig.kubectl_ok(&["-n", namespace, "rollout", "history", object]);
    (live["spec"]["template"].clone(), annotations, history)
}

fn is_same_as_kubectls(kind: &str) {
    let rig = rig();
    for namespace in [OURS, THEIRS] {
        rig.namespace(namespace);
    }
    for (name, to) in [("previous", None), ("first", Some("--to-revision=1"))] {
        let object = format!("{}/{name}", kind.to_lowercase());
        for namespace in [OURS, THEIRS] {
            rig.kubectl_ok(&["-n", namespace, "delete", "--ignore-not-found", "--wait", &object]);
            make(&rig, namespace, kind, name);
        }
        let before = restored(&rig, OURS, &object);
        assert_eq!(before, restored(&rig, THEIRS, &object), "{object}: not the same at the start");
        let flags: Vec<&str> = to.into_iter().collect();
        rig.kubectl_ok(&[&["-n", THEIRS, "rollout", "undo", &object], &flags[..]].concat());
        settled(&rig, THEIRS, &object);
        let done =
            rig.json(&[&["-n", OURS, "rollback", &object, "--yes", "-o", "json"], &flags[..]].concat(), 0);
        assert_eq!(done["outcome"], "done", "{done}");
        let diff = done["diff"].to_string();
        assert!(diff.contains("a:3") && diff.contains("-> "), "the plan names what changes: {diff}");
        let theirs = restored(&rig, THEIRS, &object);
        assert_ne!(theirs.0, before.0, "{object}: kubectl changed nothing");
        let ours = restored(&rig, OURS, &object);
        assert_eq!(ours.0, theirs.0, "{object} {to:?}: the template");
        assert_eq!(ours.1, theirs.1, "{object} {to:?}: the annotations");
        assert_eq!(ours.2, theirs.2, "{object} {to:?}: the history");
    }
    let object = format!("{}/previous", kind.to_lowercase());
    let base = ["-n", OURS, "rollback", &object, "--yes", "-o", "json"];
    let refused = rig.json(&[&base[..], &["--to-revision", "99"]].concat(), 3);
    let reason = refused["refusals"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("no revision 99") && reason.contains("revisions are 1, 3, 4"), "{reason}");
    // it is already at this revision, so nothing is sent
    let mark = rig.audit_mark();
    let nothing = rig.json(&[&base[..], &["--to-revision", "4"]].concat(), 0);
    assert!(nothing["steps"].as_array().unwrap().is_empty(), "{nothing}");
    assert!(nothing["warnings"].to_string().contains("revision 4 already"), "{nothing}");
    let seen = rig.audit_settled(mark);
    assert!(!seen.iter().any(crate::readonly::is_change), "{seen:?}");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_deployment_rolls_back_as_kubectl_does_it() {
    is_same_as_kubectls("Deployment");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_stateful_set_rolls_back_as_kubectl_does_it() {
    is_same_as_kubectls("StatefulSet");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_daemon_set_rolls_back_as_kubectl_does_it() {
    is_same_as_kubectls("DaemonSet");
}

/// A new workload whose rollout is complete.
fn fresh(rig: &Rig, kind: &str, name: &str) -> String {
    rig.namespace(OURS);
    let object = format!("{}/{name}", kind.to_lowercase());
    rig.kubectl_ok(&["-n", OURS, "delete", "--ignore-not-found", "--wait", &object]);
    make(rig, OURS, kind, name);
    object
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_paused_rollout_is_not_rolled_back_and_pausing_goes_both_ways() {
    let rig = rig();
    let object = fresh(&rig, "Deployment", "paused");
    let paused = || rig.kubectl_json(&["-n", OURS, "get", &object])["spec"]["paused"] == true;
    let act =
        |words: &[&str], status| rig.json(&[&["-n", OURS], words, &["--yes", "-o", "json"]].concat(), status);
    let done = act(&["pause-rollout", &object], 0);
    assert!(paused(), "{done}");
    let refused = act(&["rollback", &object], 3);
    assert!(refused["refusals"][0]["reason"].as_str().unwrap().contains("is paused"), "{refused}");
    let again = act(&["pause-rollout", &object], 0);
    assert!(again["warnings"][0].as_str().unwrap().contains("paused already"), "{again}");
    let undone = act(&["undo", done["id"].as_str().unwrap()], 0);
    assert!(!paused(), "{undone}");
    act(&["pause-rollout", &object], 0);
    let resumed = act(&["resume-rollout", &object], 0);
    assert!(!paused());
    act(&["undo", resumed["id"].as_str().unwrap()], 0);
    assert!(paused(), "the undo of a resume pauses again");
    // a second undo of the same action finds it undone
    let twice = act(&["undo", resumed["id"].as_str().unwrap()], 3);
    assert!(twice["refusals"][0]["reason"].as_str().unwrap().contains("already"), "{twice}");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_roll_back_is_rolled_forward_by_its_undo() {
    let rig = rig();
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let object = fresh(&rig, kind, "undone");
        let template = || restored(&rig, OURS, &object).0;
        let before = template();
        let act = |words: &[&str], status| {
            rig.json(&[&["-n", OURS], words, &["--yes", "-o", "json"]].concat(), status)
        };
        let done = act(&["rollback", &object], 0);
        let rolled = template();
        assert_ne!(rolled, before);
        let dry = rig.json(&["-n", OURS, "undo", done["id"].as_str().unwrap(), "--dry-run", "-o", "json"], 0);
        assert!(dry["diff"].to_string().contains("a:3"), "an undo shows what it restores: {dry}");
        assert_eq!(template(), rolled);
        let undone = act(&["undo", done["id"].as_str().unwrap()], 0);
        assert_eq!(template(), before, "{undone}");
        // and nobody else's template is undone
        rig.kubectl_ok(&["-n", OURS, "set", "image", &object, "a=other:9"]);
        settled(&rig, OURS, &object);
        let mark = rig.audit_mark();
        let refused = act(&["undo", done["id"].as_str().unwrap()], 3);
        let reason = refused["refusals"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("last changed by kubectl-set at 20"), "{object}: {reason}");
        assert!(!rig.audit_settled(mark).iter().any(crate::readonly::is_change));
        assert!(template().to_string().contains("other:9"));
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn the_undo_of_a_scale_says_who_was_faster() {
    let rig = rig();
    let object = fresh(&rig, "Deployment", "scaled");
    let replicas = || rig.kubectl_json(&["-n", OURS, "get", &object])["spec"]["replicas"].clone();
    let act =
        |words: &[&str], status| rig.json(&[&["-n", OURS], words, &["--yes", "-o", "json"]].concat(), status);
    let first = act(&["scale", &object, "--replicas", "4"], 0);
    act(&["undo", first["id"].as_str().unwrap()], 0);
    assert_eq!(replicas(), 2);
    let second = act(&["scale", &object, "--replicas", "4"], 0);
    // for a write of the scale subresource, the API server records who made it, but not when
    for (theirs, who) in [
        (&["scale", &object, "--replicas", "7"][..], "7 replicas, not 4 (last changed by kubectl)"),
        (
            &["patch", &object, "--type=merge", "-p", r#"{"spec":{"replicas":8}}"#],
            "8 replicas, not 4 (last changed by kubectl-patch at 20",
        ),
    ] {
        rig.kubectl_ok(&[&["-n", OURS], theirs].concat());
        for words in [
            &["undo", second["id"].as_str().unwrap()][..],
            &["scale", &object, "--replicas", "3", "--current-replicas", "4"],
        ] {
            let refused = act(words, 3);
            let refusal = &refused["refusals"][0];
            assert_eq!(refusal["guard"], "precondition", "{refused}");
            let reason = refusal["reason"].as_str().unwrap();
            assert!(reason.contains(who), "{words:?} does not say {who:?}: {reason}");
        }
    }
    assert_eq!(replicas(), 8);
}

// --- the state of a rollout

/// Name, kind, the parts of the spec that are special, what the second template adds to the labels, how it ends.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

const UNREADY: &str = r#", fault.test/unready: "true""#;

const CASES: [Case; 13] = [
    (
        "d-rolling",
        "Deployment",
        "strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}, ",
        "",
        "complete",
    ),
    ("d-recreate", "Deployment", "minReadySeconds: 8, strategy: {type: Recreate}, ", "", "complete"),
    (
        "d-unavailable",
        "Deployment",
        "minReadySeconds: 2, strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 2}}, ",
        "",
        "complete",
    ),
    ("d-slow", "Deployment", "minReadySeconds: 10, ", "", "complete"),
    ("d-stuck", "Deployment", "progressDeadlineSeconds: 12, ", UNREADY, "stuck"),
    (
        "d-unready",
        "Deployment",
        "strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}, ",
        UNREADY,
        "progressing",
    ),
    ("d-paused", "Deployment", "paused: true, ", "", "paused"),
    (
        "s-partition",
        "StatefulSet",
        "minReadySeconds: 8, updateStrategy: {rollingUpdate: {partition: 1}}, ",
        "",
        "complete",
    ),
    ("s-rolling", "StatefulSet", "minReadySeconds: 8, ", "", "complete"),
    ("s-stuck", "StatefulSet", "", UNREADY, "progressing"),
    ("s-on-delete", "StatefulSet", "updateStrategy: {type: OnDelete}, ", "", "n/a"),
    ("ds-rolling", "DaemonSet", "minReadySeconds: 4, ", "", "complete"),
    ("ds-on-delete", "DaemonSet", "updateStrategy: {type: OnDelete}, ", "", "n/a"),
];

fn case((name, kind, special, labels, _): &Case, second: bool) -> String {
    let labels = if second { labels } else { "" };
    // paused only from the second template on, because a Deployment that starts paused never creates a pod
    let special = if second { *special } else { special.trim_start_matches("paused: true, ") };
    let (replicas, scheduling) = match *kind {
        "DaemonSet" => ("", "nodeSelector: {topology.kubernetes.io/zone: zone-a, pool: general}, "),
        "StatefulSet" => ("replicas: 3, serviceName: none, ", ""),
        _ => ("replicas: 4, ", ""),
    };
    format!(
        r#"
---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec: {{{replicas}{special}selector: {{matchLabels: {{app: {name}}}}}, template: {{
  metadata: {{labels: {{app: {name}{labels}}}}},
  spec: {{{scheduling}terminationGracePeriodSeconds: 1, containers: [{{name: a, image: "a:{}"}}]}}}}}}
"#,
        if second { 2 } else { 1 }
    )
}

/// The verdict that kubectl's message stands for, and the numbers in it.
fn kubectls(text: &str) -> (&'static str, Vec<u64>) {
    let verdict = if text.contains("exceeded its progress deadline") {
        "stuck"
    } else if text.contains("only available for RollingUpdate") {
        "n/a"
    } else if text.contains("successfully rolled out")
        || text.contains("roll out complete")
        || text.contains("rolling update complete")
    {
        "complete"
    } else {
        "progressing"
    };
    // the names of objects and revisions contain digits too
    let plain: String = text.split('"').step_by(2).collect();
    let plain = plain.split("at revision").next().unwrap();
    (verdict, numbers(plain))
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

/// How often each case was compared, by verdict.
type Compared = BTreeMap<&'static str, BTreeMap<String, u32>>;

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_rollout_stands_where_kubectl_says() {
    const NAMESPACE: &str = "contract-status";
    let rig = rig();
    rig.namespace(NAMESPACE);
    rig.kubectl_ok(&["-n", NAMESPACE, "delete", "deploy,sts,ds", "--all", "--wait"]);
    let all = |second| CASES.iter().map(|c| case(c, second)).collect::<String>();
    rig.apply_in(NAMESPACE, &all(false));
    let object = |c: &Case| format!("{}/{}", c.1.to_lowercase(), c.0);
    until(60, "the first templates", || {
        let pods = rig.kubectl_json(&["-n", NAMESPACE, "get", "deploy,sts,ds"]);
        let ready = |o: &Value| {
            let status = &o["status"];
            let want = o["spec"]["replicas"].as_i64().or(status["desiredNumberScheduled"].as_i64());
            let ready = status["readyReplicas"].as_i64().or(status["numberReady"].as_i64());
            want.is_some_and(|w| w > 0) && want == ready && status["observedGeneration"].is_i64()
        };
        let items = pods["items"].as_array().unwrap();
        let waiting: Vec<&Value> =
            items.iter().filter(|o| !ready(o)).map(|o| &o["metadata"]["name"]).collect();
        if waiting.is_empty() && items.len() == CASES.len() { Ok(()) } else { Err(format!("{waiting:?}")) }
    });
    rig.apply_in(NAMESPACE, &all(true));
    let versions = || -> BTreeMap<String, String> {
        let items = rig.kubectl_json(&["-n", NAMESPACE, "get", "deploy,sts,ds"]);
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let version = |o: &Value| (text(&o["metadata"]["name"]), text(&o["metadata"]["resourceVersion"]));
        items["items"].as_array().unwrap().iter().map(version).collect()
    };
    let mut compared = Compared::new();
    let at_its_end = |compared: &Compared, c: &Case| {
        compared.get(c.0).and_then(|seen| seen.get(c.4)).is_some_and(|n| *n >= 2)
    };
    // a machine that is busy with other work sees few rollouts under way: those are rolled out once more
    let moved = |compared: &Compared, c: &Case| compared.get(c.0).is_some_and(|seen| seen.len() > 1);
    let are_enough = |compared: &Compared| {
        let of = |kind| CASES.iter().any(|c| c.1 == kind && moved(compared, c));
        CASES.iter().filter(|c| moved(compared, c)).count() >= 4 && of("Deployment") && of("StatefulSet")
    };
    let (mut second, mut again) = (true, false);
    until(300, "each rollout compared to its end, and enough of them under way", || {
        let before = versions();
        let snapshot = rig.json(&["-n", NAMESPACE, "snapshot", "-o", "json"], 0);
        // the sooner all are asked, the more of them have not moved meanwhile; an end that is called as the way there
        // is comes later than its name
        // each with the version right after its answer: what comes first has the shortest time to move
        let theirs: Vec<(&Case, String, String)> = CASES
            .iter()
            .filter(|c| {
                let goes_on =
                    if again { c.4 == "complete" } else { ["progressing", "paused"].contains(&c.4) };
                !at_its_end(&compared, c) || goes_on && !(again && moved(&compared, c))
            })
            .map(|c| {
                let said = rig.kubectl(&["-n", NAMESPACE, "rollout", "status", "--watch=false", &object(c)]);
                let version =
                    ["-n", NAMESPACE, "get", &object(c), "-o", "jsonpath={.metadata.resourceVersion}"];
                (c, out(&said) + &err(&said), rig.kubectl_ok(&version))
            })
            .collect();
        for (c, said, _) in theirs.iter().filter(|(c, _, after)| before[c.0] == *after) {
            let rows = snapshot["workloads"].as_array().unwrap();
            let ours = rows.iter().find(|w| w["name"] == c.0 && w["kind"] == c.1).unwrap();
            let (phase, why) = (ours["rollout"].as_str().unwrap(), ours["rollout_why"].as_str().unwrap());
            let (verdict, counts) = kubectls(said);
            // kubectl has no message for paused: it waits for the new replicas
            let same = phase == verdict || (phase == "paused" && verdict == "progressing" && why != "paused");
            assert!(same, "{}: kubectl says {said:?}, we say {phase}: {why}", c.0);
            if verdict == "progressing" {
                assert_eq!(numbers(why), counts, "{}: kubectl says {said:?}, we say {why:?}", c.0);
            }
            *compared.entry(c.0).or_default().entry(phase.to_owned()).or_default() += 1;
        }
        let missing: Vec<&str> = CASES.iter().filter(|c| !at_its_end(&compared, c)).map(|c| c.0).collect();
        if !missing.is_empty() {
            return Err(format!("not yet at the end: {missing:?}: {compared:?}"));
        }
        if are_enough(&compared) {
            return Ok(());
        }
        (second, again) = (!second, true);
        let unseen = CASES.iter().filter(|c| c.4 == "complete" && !moved(&compared, c));
        rig.apply_in(NAMESPACE, &unseen.map(|c| case(c, second)).collect::<String>());
        Err(format!("hardly any rollout was seen under way: {compared:?}"))
    });
    eprintln!("compared: {compared:?}");
    rig.kubectl_ok(&["-n", NAMESPACE, "delete", "deploy,sts,ds", "--all", "--wait=false"]);
}
