//! Fails over to another cluster and back, with two real control planes.

mod lost;

use serde_json::{Value, json};

use crate::failover::{id, states};
use crate::rig::{Rig, err, out, real, until};

/// A kubeconfig with the operator's context of both clusters: `test` and `standby`.
pub fn both(rig: &Rig, standby: &std::path::Path) -> std::path::PathBuf {
    let read = |folder: &std::path::Path| -> Value {
        let file = folder.join("operator.kubeconfig");
        let view = rig.kubectl_ok(&[
            "config",
            "view",
            "--raw",
            "-o",
            "json",
            "--kubeconfig",
            file.to_str().unwrap(),
        ]);
        serde_json::from_str(&view).unwrap()
    };
    let mut config = read(&rig.folder);
    let other = read(standby);
    for (list, held) in [("clusters", "cluster"), ("users", "user")] {
        let entry = json!({ "name": "standby", held: other[list][0][held] });
        config[list].as_array_mut().unwrap().push(entry);
    }
    let context = json!({ "name": "standby", "context": { "cluster": "standby", "user": "standby" } });
    config["contexts"].as_array_mut().unwrap().push(context);
    let path = rig.home().join("both.kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_standby_takes_over_and_gives_back_real_only() {
    let rig = real("there is no second cluster");
    let there = std::env::var("PILOTHOUSE_TEST_STANDBY_KUBECONFIG").expect("printed by tests/cluster/up");
    let there = std::path::Path::new(&there);
    let workload = |replicas: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: contract-standby}}\nspec: {{replicas: {replicas}, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: a, image: \"a:1\"}}]}}}}}}\n"
        )
    };
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: contract-standby}\n";
    let route = "apiVersion: v1\nkind: Service\nmetadata: {name: here, namespace: contract-standby}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: there, namespace: contract-standby}\nspec: {type: ExternalName, externalName: standby.example.test}\n---\napiVersion: traefik.io/v1alpha1\nkind: TraefikService\nmetadata: {name: web, namespace: contract-standby}\nspec: {weighted: {services: [{name: here, weight: 100}, {name: there, weight: 0}]}}\n";
    rig.namespace("contract-standby");
    rig.apply(&format!("{}---\n{route}", workload(3)));
    rig.apply_at(there, namespace);
    rig.apply_at(there, &workload(0));
    let args = ["-n", "contract-standby", "rollout", "status", "deploy/web", "--timeout=60s"];
    rig.kubectl_ok(&["-n", "contract-standby", "scale", "deploy/web", "--replicas=3"]);
    rig.kubectl_ok(&args);
    let kubeconfig = both(&rig, there.parent().unwrap());
    rig.config("[failover.dr]\nkind = \"standby\"\ncontext = \"standby\"\nworkloads = [\"deploy/contract-standby/web\"]\nscale_down = true\nroute = \"traefikservice/contract-standby/web\"\nfrom = \"here\"\nto = \"there\"\nsteps = [50, 100]\nsoak_secs = 1\n");
    let stands = |what: &str, here: i64, standby: i64, weights: [i64; 2]| {
        let get = ["-n", "contract-standby", "get", "deploy", "web", "-o", "json"];
        // desired and ready: pods can be unready for a while with their node, after another test's outage
        let ready = |text: &str| -> (i64, i64) {
            let live: Value = serde_json::from_str(text).unwrap();
            let ready = live["status"]["readyReplicas"].as_i64().unwrap_or(0);
            (live["spec"]["replicas"].as_i64().unwrap(), ready)
        };
        until(60, what, || {
            let route = rig.kubectl_json(&["-n", "contract-standby", "get", "traefikservice", "web"]);
            let services = &route["spec"]["weighted"]["services"];
            let seen = (
                ready(&rig.kubectl_ok(&get)),
                ready(&rig.kubectl_at(there, &get)),
                [&services[0], &services[1]].map(|s| s["weight"].as_i64().unwrap()),
            );
            let wanted = ((here, here), (standby, standby), weights);
            if seen == wanted { Ok(()) } else { Err(format!("{seen:?}, not {wanted:?}")) }
        });
    };
    let run = |words: &[&str], status: i32| -> Value {
        let output =
            rig.command_with(&kubeconfig, &[words, &["--yes", "-o", "json"]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {}{}", out(&output), err(&output));
        serde_json::from_str(&out(&output)).unwrap()
    };
    stands("at the start", 3, 0, [100, 0]);
    let done = run(&["failover", "dr"], 0);
    let steps: Vec<(&str, &str)> = done["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["what"].as_str().unwrap(), s["on"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(steps.first(), Some(&("scale 0 to 3", "web")), "first there: {steps:?}");
    assert_eq!(steps.last(), Some(&("scale 3 to 0", "web")), "here at the very end: {steps:?}");
    assert_eq!(done["steps"][0]["context"], "standby", "{done}");
    stands("after it", 0, 3, [0, 100]);
    let back = run(&["failover", "dr", "--revert"], 0);
    stands("reverted", 3, 0, [100, 0]);
    assert!(states(&back).iter().all(|s| *s == "verified"), "{back}");
    run(&["undo", id(&back)], 0);
    stands("the revert undone", 0, 3, [0, 100]);
    run(&["undo", id(&done)], 0);
    stands("undone", 3, 0, [100, 0]);
    // a standby that does not answer is reported before anything is sent
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["clusters"][1]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"));
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let refused = run(&["failover", "dr"], 3);
    assert!(refused["refusals"].to_string().contains("in standby cannot be read"), "{refused}");
    stands("still", 3, 0, [100, 0]);
}
