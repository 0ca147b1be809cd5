//! The login, or a permission, ends during a drain: the drain stops, says which of them ended, and can be resumed when
//! it is back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::rig::{Rig, err, out, real, until};

const NAMESPACE: &str = "contract-ending";
/// A node of its own: on another one, a budget could hold the drain up.
const NODE: &str = "contract-ending";
const PODS: usize = 30;

/// A kubeconfig with a token of the account.
fn login(rig: &Rig) -> PathBuf {
    let account =
        format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: ann, namespace: {NAMESPACE}}}\n");
    rig.apply(&account);
    let token = rig.kubectl_ok(&["-n", NAMESPACE, "create", "token", "ann"]);
    let mut config = rig.kubectl_json(&["config", "view", "--raw", "--minify", "--flatten"]);
    config["users"][0]["user"] = json!({ "token": token.trim() });
    let path = rig.home().join("ann.kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

fn bind(rig: &Rig) {
    rig.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {NAMESPACE}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}\n\
         subjects: [{{kind: ServiceAccount, name: ann, namespace: {NAMESPACE}}}]\n"
    ));
    let user = format!("--as=system:serviceaccount:{NAMESPACE}:ann");
    until(20, "the server has read the binding", || {
        let said = out(&rig.kubectl(&["auth", "can-i", "patch", "nodes", &user]));
        if said.trim() == "yes" { Ok(()) } else { Err(said) }
    });
}

fn node(rig: &Rig) {
    rig.apply(&format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {NODE}, labels: {{kubernetes.io/hostname: {NODE}}}, \
         annotations: {{kwok.x-k8s.io/node: fake}}}}\nspec: {{taints: [{{key: contract, value: ending, effect: \
         NoSchedule}}]}}\nstatus: {{capacity: {{cpu: '4', memory: 8Gi, pods: '110'}}, allocatable: {{cpu: '4', memory: \
         8Gi, pods: '110'}}}}\n"
    ));
}

/// Pods that nothing recreates.
fn pods(rig: &Rig) {
    let pod = |n: usize| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{n}, namespace: {NAMESPACE}}}\nspec: {{nodeName: {NODE}, \
             terminationGracePeriodSeconds: 1, containers: [{{name: a, image: a}}]}}\n"
        )
    };
    rig.apply(&(0..PODS).map(pod).collect::<Vec<_>>().join("---\n"));
}

fn left(rig: &Rig) -> usize {
    rig.kubectl_json(&["-n", NAMESPACE, "get", "pods"])["items"].as_array().unwrap().len()
}

struct Back<'a>(&'a Rig);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        drop(self.0.kubectl(&["delete", "node", NODE, "--wait=false"]));
        drop(self.0.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]));
        drop(self.0.kubectl(&["delete", "clusterrolebinding", NAMESPACE]));
    }
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_drain_whose_login_or_right_ends_is_resumed_with_it_real_only() {
    let rig = real("it has no accounts whose tokens end");
    let _back = Back(&rig);
    rig.namespace(NAMESPACE);
    node(&rig);
    for (takes, words) in [
        (["-n", NAMESPACE, "delete", "serviceaccount", "ann"], "the credentials are no longer accepted"),
        (
            ["-n", NAMESPACE, "delete", "clusterrolebinding", NAMESPACE],
            "you may no longer create pods/eviction",
        ),
    ] {
        bind(&rig);
        pods(&rig);
        let config = login(&rig);
        let since = rig.audit_mark();
        let args = ["drain", NODE, "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--yes"];
        let mut command = rig.command_with(&config, &[&args[..], &["--pods-at-once", "1"]].concat());
        let drain = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until(60, "some pods are gone", || match left(&rig) {
            n if n + 3 <= PODS => Ok(()),
            n => Err(format!("{n} left")),
        });
        rig.kubectl_ok(&takes);
        let done = drain.wait_with_output().unwrap();
        let said = out(&done) + &err(&done);
        assert!(matches!(done.status.code(), Some(1 | 4)), "{said}");
        assert!(said.contains(words) && said.contains("pilothouse resume"), "{words}: {said}");
        assert!(left(&rig) > 0, "it was over before: {said}");
        let list = out(&rig.command_with(&config, &["journal", "list"]).output().unwrap());
        let open = list.lines().find(|line| line.contains("UNFINISHED")).expect(&list);
        let id = open.split_whitespace().next().unwrap().to_owned();
        bind(&rig);
        let config = login(&rig);
        let resumed = rig.command_with(&config, &["resume", &id, "--yes"]).output().unwrap();
        assert_eq!(resumed.status.code(), Some(0), "{}{}", out(&resumed), err(&resumed));
        assert_eq!(left(&rig), 0);
        let mut accepted: BTreeMap<String, u32> = BTreeMap::new();
        for event in rig.audit_settled(since) {
            let on = &event["objectRef"];
            if on["subresource"] == "eviction" && event["responseStatus"]["code"] == 201 {
                *accepted.entry(text(&on["name"])).or_default() += 1;
            }
        }
        assert!(accepted.len() >= PODS && accepted.values().all(|n| *n == 1), "{accepted:?}");
        rig.kubectl_ok(&["uncordon", NODE]);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
