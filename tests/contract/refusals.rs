//! Failures of the first start: each gives one clear message with the problem, its place and what to do.

use serde_json::Value;

use crate::rig::{err, out, real, rig, until};

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn each_gives_one_clear_message() {
    let rig = rig();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let broken = file("broken.kubeconfig", "clusters: [");
    let config = file("config.toml", "[ui]\nthene = \"x\"\n[guards]\nread_only = 1\n");
    for (args, status, words) in [
        (&["--kubeconfig", "/nonexistent/config", "why"][..], 2, &["/nonexistent/config"][..]),
        (&["--kubeconfig", &broken, "why"], 2, &["broken.kubeconfig"]),
        (&["--context", "nope", "why"], 2, &["nope", "test"]),
        (&["--config", &config, "why"], 2, &["config.toml:2", "did you mean \"theme\"?", "config.toml:4"]),
        (&["--config", "/nonexistent.toml", "why"], 2, &["/nonexistent.toml"]),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pilothouse"));
        command.args(args).env("HOME", folder.path());
        if !args.contains(&"--kubeconfig") {
            command.env("KUBECONFIG", rig.folder.join("operator.kubeconfig"));
        }
        let output = command.output().unwrap();
        let said = err(&output);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?} does not say {word:?}: {said}");
        }
        assert!(said.lines().count() <= 3, "{args:?} says too much: {said}");
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn an_unreachable_server_is_said_with_its_address() {
    let rig = rig();
    let text = std::fs::read_to_string(rig.folder.join("operator.kubeconfig")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = text.find("127.0.0.1:").unwrap() + "127.0.0.1:".len();
    let end = start + text[start..].find(|c: char| !c.is_ascii_digit()).unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, format!("{}{port}{}", &text[..start], &text[end..])).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pilothouse"))
        .args(["--kubeconfig", path.to_str().unwrap(), "why", "--wait", "5s"])
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    assert!(err(&output).contains(&format!("127.0.0.1:{port}")), "{}", err(&output));
    assert!(err(&output).to_lowercase().contains("refused"), "{}", err(&output));
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn nobody_and_viewer_see_what_they_may_and_why_not_the_rest() {
    let rig = rig();
    let nobody = rig.run_as("nobody", &["why", "-o", "json"]);
    assert_eq!(nobody.status.code(), Some(1));
    let doc: Value = serde_json::from_str(&out(&nobody)).unwrap();
    let causes = doc["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 1, "one line for one reason: {causes:?}");
    assert_eq!(causes[0]["rule"], "source");
    assert!(causes[0]["evidence"].to_string().contains("403, needs list and watch nodes"), "{}", causes[0]);
    let viewer = rig.run_as("viewer", &["snapshot", "-o", "json"]);
    assert_eq!(viewer.status.code(), Some(0), "{}", err(&viewer));
    let doc: Value = serde_json::from_str(&out(&viewer)).unwrap();
    assert!(
        doc["sources"].as_array().unwrap().iter().all(|s| {
            // not every cluster has canaries, or a Prometheus among its Services
            ["live", "off", "not-installed"].contains(&s["state"].as_str().unwrap())
        }),
        "{}",
        doc["sources"]
    );
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn one_namespace_is_enough_to_work_with_real_only() {
    let rig = real("its people have fixed rules and no RoleBindings");
    rig.apply(
        r"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: contract-nobody, namespace: data}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: console-viewer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: nobodies}]
",
    );
    until(20, "the server has read the binding", || {
        let asked = ["-n", "data", "auth", "can-i", "list", "pods", "--as=nobody", "--as-group=nobodies"];
        let said = out(&rig.kubectl(&asked));
        if said.trim() == "yes" { Ok(()) } else { Err(said) }
    });
    let output = rig.run_as("nobody", &["-n", "data", "snapshot", "-o", "json"]);
    rig.kubectl_ok(&["-n", "data", "delete", "rolebinding", "contract-nobody"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let doc: Value = serde_json::from_str(&out(&output)).unwrap();
    let state = |name: &str| {
        let sources = doc["sources"].as_array().unwrap();
        sources.iter().find(|s| s["name"] == name).map(|s| s["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(state("pods").as_deref(), Some("live"));
    assert_eq!(state("nodes").as_deref(), Some("denied"));
    let pods = rig.kubectl_json(&["-n", "data", "get", "pods"])["items"].as_array().unwrap().len();
    assert_eq!(doc["cluster"]["pods"]["count"], pods);
    assert!(doc["nodes"].as_array().unwrap().is_empty());
}
