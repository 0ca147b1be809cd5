//! Objects that take too long, fail permanently or are refused on the real cluster: each is found within a minute with
//! its object and its reason, and the finding disappears when the problem is fixed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::rig::{Rig, real, rig, until};

/// A namespace that is deleted when the test is over, however it ends.
struct Place<'a> {
    rig: &'a Rig,
    name: &'static str,
}

impl<'a> Place<'a> {
    fn new(rig: &'a Rig, name: &'static str) -> Self {
        rig.namespace(name);
        Self { rig, name }
    }

    fn apply(&self, yaml: &str) {
        self.rig.apply_in(self.name, yaml);
    }

    fn kubectl(&self, args: &[&str]) -> String {
        self.rig.kubectl_ok(&[&["-n", self.name], args].concat())
    }

    /// Writes a status like the kubelet.
    fn status(&self, object: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        self.kubectl(&["patch", object, "--subresource=status", "-p", &patch]);
    }

    /// The causes of one rule that are about this namespace.
    fn causes(&self, rule: &str) -> Vec<Value> {
        let all = self.rig.json(&["why", "-o", "json"], 0)["causes"].as_array().unwrap().clone();
        let here = |c: &&Value| {
            c["rule"] == rule && c["objects"].as_array().unwrap().iter().any(|o| o["namespace"] == self.name)
        };
        all.iter().filter(here).cloned().collect()
    }

    /// Within `secs` the rule finds these objects, and the finding contains these words.
    fn fires(&self, secs: u64, rule: &str, objects: &[&str], words: &[&str]) {
        until(secs, &format!("{rule} about {objects:?}"), || {
            let causes = self.causes(rule);
            let fits = |cause: &&Value| {
                let about = cause["objects"].as_array().unwrap();
                let names: BTreeSet<&str> = about.iter().map(|o| o["name"].as_str().unwrap()).collect();
                let text = format!("{} {}", cause["title"], cause["evidence"]);
                objects.iter().all(|name| names.contains(name))
                    && words.iter().all(|word| text.contains(word))
            };
            if causes.iter().any(|c| fits(&c)) {
                Ok(())
            } else {
                Err(format!("wanted {words:?}, found {causes:#?}"))
            }
        });
    }

    /// The rule finds nothing more in this namespace.
    fn passes(&self, secs: u64, rule: &str) {
        until(secs, &format!("{rule} is gone"), || {
            let left = self.causes(rule);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
        });
    }

    fn ready(&self, object: &str, pods: u64) {
        until(60, &format!("{object} is ready"), || {
            let is = self.rig.kubectl_json(&["-n", self.name, "get", object]);
            let ready = is["status"]["readyReplicas"].as_u64().unwrap_or(0);
            if ready == pods { Ok(()) } else { Err(format!("{ready} of {pods}")) }
        });
    }

    /// Makes a controller process its objects again, because its own back-off becomes longer and longer.
    fn touch(&self, kind: &str) {
        let value = format!("findings.test/touched={}", chrono::Utc::now().timestamp_millis());
        self.kubectl(&["annotate", kind, "--all", &value, "--overwrite"]);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.rig.kubectl(&["delete", "namespace", self.name, "--wait=false", "--ignore-not-found"]);
    }
}

fn workload(kind: &str, name: &str, replicas: u32, labels: &str) -> String {
    let service = if kind == "StatefulSet" { format!("  serviceName: {name}\n") } else { String::new() };
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n{service}  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}{labels}}}}}\n    spec: {{containers: [{{name: app, image: 'registry.example/app:v1'}}]}}\n"
    )
}

/// The pods of a label, in order.
fn pods(place: &Place<'_>, label: &str) -> Vec<String> {
    let names = place.kubectl(&["get", "pods", "-l", label, "-o", "name"]);
    let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// A time that long ago, in the API's form.
fn ago(minutes: i64) -> String {
    let now = chrono::Utc::now() - chrono::TimeDelta::minutes(minutes);
    now.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn not_ready_for(minutes: i64) -> Value {
    json!({"conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": ago(minutes)}]})
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_quota_refuses_pods_of_two_workloads() {
    let rig = rig();
    let place = Place::new(&rig, "findings-quota");
    place.apply("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: few}\nspec: {hard: {pods: 2}}\n");
    place.apply(&workload("Deployment", "web", 2, ""));
    place.ready("deploy/web", 2);
    place.apply(&workload("StatefulSet", "db", 2, ""));
    place.kubectl(&["scale", "deploy/web", "--replicas=4"]);
    place.fires(60, "not-created", &["web", "db"], &["exceeded quota: few", "2 of 4"]);
    place.kubectl(&["delete", "resourcequota", "few"]);
    place.touch("replicaset");
    place.touch("statefulset");
    place.passes(60, "not-created");
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn an_admission_policy_refuses_pods_real_only() {
    let rig = real("the simulated cluster has no admission policies");
    let place = Place::new(&rig, "findings-policy");
    place.apply(&workload("Deployment", "web", 1, ""));
    place.ready("deploy/web", 1);
    rig.apply(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: findings-policy}\nspec:\n  failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n    - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}\n  validations:\n  - {expression: 'false', message: no more pods today}\n---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: findings-policy}\nspec:\n  policyName: findings-policy\n  validationActions: [Deny]\n  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: findings-policy}}}\n",
    );
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // a binding takes a moment until every request sees it
        until(30, "the policy refuses", || {
            let run = ["-n", place.name, "run", "probe", "--image=x", "--dry-run=server"];
            if rig.kubectl(&run).status.success() { Err("it still lets pods in".into()) } else { Ok(()) }
        });
        place.kubectl(&["scale", "deploy/web", "--replicas=3"]);
        place.fires(60, "not-created", &["web"], &["no more pods today", "1 of 3"]);
    }));
    rig.kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "findings-policy"]);
    if let Err(why) = outcome {
        std::panic::resume_unwind(why);
    }
    until(90, "the policy has gone", || {
        place.touch("replicaset");
        let left = place.causes("not-created");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    });
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_volume_that_cannot_be_mounted_real_only() {
    let rig = real("its kubelet mounts nothing");
    let place = Place::new(&rig, "findings-mount");
    place.apply(&workload("Deployment", "web", 2, ", fault.test/mount: 'true'"));
    place.fires(
        75,
        "not-starting",
        &["web"],
        &["FailedMount", "driver example.com not found", "2 of 2 pods"],
    );
    place.kubectl(&["label", "pods", "-l", "app=web", "fault.test/mount=false", "--overwrite"]);
    place.passes(60, "not-starting");
}

/// A pod that mounts a claim, and what else it says of itself.
fn mounts(pod: &str, claim: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}}}\nspec:\n  containers: [{{name: app, image: 'registry.example/app:v1'{spec}}}]\n  volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]\n"
    )
}

fn claim(name: &str, class: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}}}\nspec: {{storageClassName: '{class}', accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}\n"
    )
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_claim_that_does_not_exist() {
    let rig = rig();
    let place = Place::new(&rig, "findings-claim");
    place.apply(&mounts("early", "data", ""));
    place.fires(60, "volume-not-bound", &["early"], &["claim data does not exist", "not found"]);
    assert!(place.causes("unschedulable").is_empty(), "it is told with its claim");
    place.kubectl(&["delete", "pod", "early", "--grace-period=0", "--force"]);
    place.passes(30, "volume-not-bound");
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_claim_that_nobody_binds_real_only() {
    let rig = real("it binds every claim when the first pod is scheduled");
    let place = Place::new(&rig, "findings-volume");
    let class = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: findings-later}\nprovisioner: example.com/none\nvolumeBindingMode: WaitForFirstConsumer\n";
    rig.apply(class);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for (name, class) in
            [("none", ""), ("typo", "findings-typo"), ("later", "findings-later"), ("big", "findings-later")]
        {
            let spec = if name == "big" { ", resources: {requests: {cpu: 9k}}" } else { "" };
            place.apply(&claim(name, class));
            place.apply(&mounts(name, name, spec));
        }
        let found = |objects: &[&str], words: &[&str]| place.fires(100, "volume-not-bound", objects, words);
        found(&["none"], &["claim none is Pending: FailedBinding: no persistent volumes available"]);
        found(&["typo"], &["claim typo is Pending, storage class findings-typo: ProvisioningFailed"]);
        found(&["later"], &["claim later is Pending, storage class findings-later: ExternalProvisioning"]);
        // the claim waits for the pod, not the pod for the claim
        place.fires(10, "unschedulable", &["big"], &["Insufficient cpu"]);
        let told: Vec<Value> = place.causes("volume-not-bound");
        assert!(!told.iter().any(|c| c["title"].as_str().unwrap().contains("big")), "{told:#?}");
        let volume = format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {0}}}\nspec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], storageClassName: '', hostPath: {{path: /tmp}}, claimRef: {{namespace: {0}, name: none}}}}\n",
            place.name
        );
        rig.apply(&volume);
        until(60, "the bound claim is no trouble", || {
            let left = place.causes("volume-not-bound");
            let none = left.iter().any(|c| c["title"].as_str().unwrap().contains("claim none"));
            if none { Err(format!("{left:#?}")) } else { Ok(()) }
        });
    }));
    rig.kubectl(&["delete", "storageclass", "findings-later", "--ignore-not-found"]);
    rig.kubectl(&["delete", "pv", place.name, "--wait=false", "--ignore-not-found"]);
    if let Err(why) = outcome {
        std::panic::resume_unwind(why);
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_finalizer_holds_a_pod() {
    let rig = rig();
    let place = Place::new(&rig, "findings-finalizer");
    // not bound to a node, so it waits only for its finalizer
    place.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: held, finalizers: [example.com/hold]}\nspec:\n  nodeSelector: {findings.test/none: 'true'}\n  containers: [{name: app, image: 'registry.example/app:v1'}]\n");
    place.kubectl(&["delete", "pod", "held", "--wait=false", "--grace-period=1"]);
    place.fires(60, "terminating", &["held"], &["finalizer example.com/hold"]);
    place.kubectl(&["patch", "pod", "held", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    place.passes(30, "terminating");
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_probe_that_fails_real_only() {
    let rig = real("its probes do not fail by a label");
    let place = Place::new(&rig, "findings-probe");
    place.apply(&workload("Deployment", "web", 2, ""));
    place.ready("deploy/web", 2);
    let pod = pods(&place, "app=web").remove(0);
    place.kubectl(&["label", &pod, "fault.test/unready=true"]);
    until(30, "the pod is not ready", || {
        let is =
            place.kubectl(&["get", &pod, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"]);
        if is == "False" { Ok(()) } else { Err(is) }
    });
    // as if this had been the case for a while
    place.status(&pod, &not_ready_for(10));
    let name = pod.trim_start_matches("pod/");
    place.fires(
        60,
        "not-ready",
        &["web", name],
        &["1 of 2 pods", "Readiness probe failed: HTTP probe failed"],
    );
    place.kubectl(&["label", &pod, "fault.test/unready=false", "--overwrite"]);
    place.passes(60, "not-ready");
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_statefulset_that_waits_for_one_pod_real_only() {
    let rig = real("its pods do not stay unready by a label");
    let place = Place::new(&rig, "findings-waits");
    place.apply(&workload("StatefulSet", "db", 3, ""));
    place.ready("statefulset/db", 3);
    place.apply(&workload("StatefulSet", "db", 3, ", fault.test/unready: 'true'"));
    until(60, "db-2 is replaced and not ready", || {
        // it does not exist while it is replaced
        let named = "--field-selector=metadata.name=db-2";
        let list = rig.kubectl_json(&["-n", place.name, "get", "pods", named]);
        let is = &list["items"][0];
        let unready = is["status"]["conditions"].as_array().into_iter().flatten();
        let unready = unready.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "False");
        let new = is["metadata"]["labels"]["fault.test/unready"] == "true";
        if new && unready { Ok(()) } else { Err(format!("new {new} unready {unready}")) }
    });
    place.status("pod/db-2", &not_ready_for(10));
    place.fires(60, "rollout-waits", &["db", "db-2"], &["rollout waits for db-2", "1 of 3 pods updated"]);
    place.kubectl(&["delete", "statefulset", "db"]);
    place.passes(60, "rollout-waits");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_job_past_its_deadline() {
    let rig = rig();
    let place = Place::new(&rig, "findings-job");
    place.apply("apiVersion: batch/v1\nkind: Job\nmetadata: {name: report}\nspec:\n  activeDeadlineSeconds: 2\n  template:\n    spec:\n      restartPolicy: Never\n      nodeSelector: {findings.test/none: 'true'}\n      containers: [{name: app, image: 'registry.example/app:v1'}]\n");
    place.fires(60, "job-failed", &["report"], &["DeadlineExceeded"]);
    place.kubectl(&["delete", "job", "report"]);
    place.passes(30, "job-failed");
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn a_cronjob_that_misses_its_times() {
    let rig = rig();
    let place = Place::new(&rig, "findings-cron");
    place.apply(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {count/jobs.batch: 0}}\n",
    );
    until(30, "the quota counts", || {
        let is = rig.kubectl_json(&["-n", place.name, "get", "resourcequota", "none"]);
        if is["status"]["hard"].is_object() { Ok(()) } else { Err("not yet".into()) }
    });
    place.apply("apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: backup}\nspec:\n  schedule: '* * * * *'\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: 'registry.example/app:v1'}]}}}}\n");
    // at most a minute until it is due, and less than a minute after that
    place.fires(120, "cronjob-missed", &["backup"], &["schedule * * * * *"]);
    place.kubectl(&["patch", "cronjob", "backup", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]);
    place.passes(30, "cronjob-missed");
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_pod_of_nobody_that_failed_real_only() {
    let rig = real("its kubelet alone writes how pods end");
    let place = Place::new(&rig, "findings-bare");
    place.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: once}\nspec: {restartPolicy: Never, containers: [{name: app, image: 'registry.example/app:v1'}]}\n");
    until(30, "the pod runs", || {
        let is = place.kubectl(&["get", "pod", "once", "-o", "jsonpath={.status.phase}"]);
        if is == "Running" { Ok(()) } else { Err(is) }
    });
    place.status("pod/once", &json!({"phase": "Failed", "reason": "Error"}));
    place.fires(60, "pod-failed", &["once"], &["no controller replaces it"]);
    place.kubectl(&["delete", "pod", "once", "--grace-period=0", "--force"]);
    place.passes(30, "pod-failed");
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn conditions_of_a_node_by_what_they_mean_real_only() {
    let rig = real("its kubelet alone writes a node's status");
    let nodes = rig.kubectl_ok(&["get", "nodes", "-o", "name"]);
    let node = nodes.lines().next().unwrap().to_owned();
    let name = node.trim_start_matches("node/").to_owned();
    let write = |conditions: Value| {
        let patch = json!({"status": {"conditions": conditions}}).to_string();
        rig.kubectl_ok(&["patch", &node, "--subresource=status", "-p", &patch]);
    };
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Made", "message": "by a test", "lastTransitionTime": ago(10)});
    let told = || -> Vec<String> {
        let all = rig.json(&["why", "-o", "json"], 0)["causes"].as_array().unwrap().clone();
        let here = |c: &&Value| c["rule"] == "node-pressure" && c["objects"][0]["name"] == name.as_str();
        all.iter().filter(here).map(|c| c["title"].as_str().unwrap().to_owned()).collect()
    };
    write(json!([
        condition("NetworkingReady", "False"),
        condition("KernelDeadlock", "True"),
        condition("EtcdIsVoter", "True")
    ]));
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until(60, "the bad ones are found", || {
            let told = told();
            let fits = |t: &String| {
                t.contains("NetworkingReady=False")
                    && t.contains("KernelDeadlock")
                    && !t.contains("EtcdIsVoter")
            };
            if told.iter().any(fits) { Ok(()) } else { Err(format!("{told:?}")) }
        });
    }));
    write(json!([condition("NetworkingReady", "True"), condition("KernelDeadlock", "False")]));
    if let Err(why) = found {
        std::panic::resume_unwind(why);
    }
    until(60, "they are gone", || {
        let told = told();
        if told.is_empty() { Ok(()) } else { Err(format!("{told:?}")) }
    });
}
