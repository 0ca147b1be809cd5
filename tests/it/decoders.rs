//! For any bytes, every decoder returns a value or an error, and none panics.

use pilothouse::wire::decode::{self, Pools, node::Heartbeats};
use pilothouse::wire::error::ApiError;
use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::text::is_safe;
use pilothouse_core::domain::time::Stamp;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Feeds one document to every decoder of objects.
fn feed(bytes: &[u8]) {
    let pools = &mut Pools::default();
    let now = Stamp(1_000_000);
    let mut accepted = 0;
    accepted += usize::from(decode::node::node(pools, bytes).is_ok());
    accepted += usize::from(Heartbeats::default().lease(bytes, now).is_ok());
    if let Ok(pod) = decode::pod::pod(pools, bytes, now) {
        assert!(is_safe(&pod.name) && is_safe(&pod.status), "{pod:?}");
        accepted += 1;
    }
    for kind in [Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet, Kind::DaemonSet, Kind::Job] {
        accepted += usize::from(decode::workload::workload(pools, &kind, bytes).is_ok());
    }
    accepted += usize::from(decode::network::service(pools, bytes).is_ok());
    accepted += usize::from(decode::network::endpoint_slice(pools, bytes).is_ok());
    accepted += usize::from(decode::policy::hpa(pools, bytes).is_ok());
    accepted += usize::from(decode::policy::pdb(pools, bytes).is_ok());
    accepted += usize::from(decode::event::event(pools, bytes).is_ok());
    accepted += usize::from(decode::cronjob::cronjob(pools, bytes).is_ok());
    assert!(accepted <= 14);
    assert!(is_safe(&ApiError::from_answer(500, None, bytes).to_string()));
}

/// A document with every field that some decoder reads, with correct types.
fn whole() -> Value {
    json!({
        "metadata": {"name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "5", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"a": "b", "kubernetes.io/service-name": "s"}, "finalizers": ["f"], "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "o", "controller": true}],
            "managedFields": [{"manager": "m", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]},
        "spec": {"replicas": 3, "nodeName": "node", "unschedulable": true, "minReplicas": 1, "maxReplicas": 4,
            "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 40, "holderIdentity": "h",
            "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}],
            "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]},
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}],
            "strategy": {"type": "RollingUpdate"}, "updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"}},
                "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP", "hostIP": "10.0.0.1"}, {"containerPort": 1}]}],
            "initContainers": [{"name": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1m"}}}],
            "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["8"]}],
                     "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]}},
                "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "zone", "namespaces": ["other"]}]},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "namespaceSelector": {"matchLabels": {"team": "x"}},
                     "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c"]}]}}]}},
            "topologySpreadConstraints": [
                {"maxSkew": 2, "minDomains": 3, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                 "labelSelector": {"matchLabels": {"x": "y"}}, "matchLabelKeys": ["a"], "nodeTaintsPolicy": "Honor",
                 "nodeAffinityPolicy": "Ignore"},
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
            "volumes": [{"name": "v", "emptyDir": {}}], "overhead": {"cpu": "1m"}, "resources": {"requests": {"cpu": "2"}},
            "minAvailable": "50%", "maxUnavailable": 1, "clusterIP": "None", "sessionAffinity": "ClientIP"},
        "status": {"phase": "Running", "replicas": 3, "readyReplicas": 3, "conditions":
                [{"type": "Ready", "status": "True", "reason": "R", "message": "M", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "allocatable": {"cpu": "4", "memory": "1Gi", "pods": "110"}, "capacity": {"cpu": "4"},
            "nodeInfo": {"kubeletVersion": "v1", "bootID": "b"}, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "containerStatuses": [{"name": "c", "ready": true, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:00Z"}}}],
            "currentReplicas": 1, "desiredReplicas": 2, "currentMetrics": [{"type": ""}], "disruptionsAllowed": 0},
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": null}, "targetRef": {"kind": "Pod", "name": "p", "uid": "u"}}],
        "addressType": "IPv4", "involvedObject": {"kind": "Pod", "name": "p", "namespace": "ns", "uid": "u"},
        "reason": "Failed", "message": "m", "type": "Warning", "count": 3, "lastTimestamp": "2026-01-01T00:00:00Z",
    })
}

/// Every place in a document, as JSON pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(items) => {
            for (i, inner) in items.iter().enumerate() {
                places(inner, &format!("{at}/{i}"), all);
            }
        }
        _ => {}
    }
}

#[test]
fn a_whole_document_is_read_by_all() {
    let text = whole().to_string();
    let pools = &mut Pools::default();
    assert!(decode::node::node(pools, text.as_bytes()).is_ok());
    assert!(decode::pod::pod(pools, text.as_bytes(), Stamp(0)).is_ok());
    assert!(decode::policy::hpa(pools, text.as_bytes()).is_ok());
    feed(text.as_bytes());
}

#[test]
fn a_document_that_is_cut_anywhere_panics_nobody() {
    let text = whole().to_string();
    for end in 0..text.len() {
        feed(&text.as_bytes()[..end]);
    }
}

#[test]
fn what_a_pod_asks_of_its_node() {
    let text = whole().to_string();
    let pod = decode::pod::pod(&mut Pools::default(), text.as_bytes(), Stamp(0)).unwrap();
    let selector = |labels: Value, expressions: Value| json!({"labels": labels, "expressions": expressions, "nothing": false});
    assert_eq!(
        serde_json::to_value(&pod.shape.scheduling).unwrap(),
        json!({
            "node_selector": [["disk", "ssd"]],
            "node_terms": [{"labels": [{"key": "cores", "operator": "Gt", "values": ["8"]}],
                "fields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}],
            "tolerations": [{"key": "k", "value": "", "exists": true, "effect": "NoSchedule"}],
            "affinity": [{"selector": selector(json!([["a", "b"]]), json!([])), "topology_key": "zone",
                "namespaces": {"These": ["other"]}}],
            "anti_affinity": [{"selector": selector(json!([]), json!([{"key": "a", "operator": "In", "values": ["b", "c"]}])),
                "topology_key": "kubernetes.io/hostname", "namespaces": "ByLabels"}],
            "spread": [{"max_skew": 2, "min_domains": 3, "topology_key": "zone",
                "selector": selector(json!([["x", "y"], ["a", "b"]]), json!([])), "honor_taints": true, "ignore_affinity": true}],
            "host_ports": [{"port": 80, "protocol": "TCP", "ip": "10.0.0.1"}],
            "extended": ["nvidia.com/gpu"],
        })
    );
    let shape = &pod.shape;
    assert_eq!(
        (shape.claims, shape.host_path, shape.empty_dir, shape.keep_in_place),
        (false, false, true, false)
    );
    let other = json!({"metadata": {"name": "n", "namespace": "ns", "uid": "u",
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
        "spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "persistentVolumeClaim": {"claimName": "c"}}],
            "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "t", "namespaceSelector": {}}, {"topologyKey": "t"}]}}}});
    let pod = decode::pod::pod(&mut Pools::default(), other.to_string().as_bytes(), Stamp(0)).unwrap();
    assert!(pod.shape.claims && pod.shape.host_path && pod.shape.keep_in_place);
    let terms = serde_json::to_value(&pod.shape.scheduling.affinity).unwrap();
    assert_eq!((&terms[0]["namespaces"], &terms[1]["namespaces"]), (&json!("All"), &json!("Own")));
    assert_eq!(terms[0]["selector"]["nothing"], json!(true), "no selector looks for no pod");
}

/// The controller pins each DaemonSet pod to its node by name; without special treatment, the pods would share no
/// shape.
#[test]
fn the_pods_of_a_daemonset_share_one_shape() {
    let pools = &mut Pools::default();
    let mut shape = |node: &str, owner: &str| {
        let pod = json!({"metadata": {"name": node, "namespace": "ns", "uid": node, "ownerReferences":
                [{"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "o", "controller": true}]},
            "spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
                [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}}},
                "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]}});
        decode::pod::pod(pools, pod.to_string().as_bytes(), Stamp(0)).unwrap().shape
    };
    let (a, b) = (shape("n1", "DaemonSet"), shape("n2", "DaemonSet"));
    assert!(std::sync::Arc::ptr_eq(&a, &b) && a.scheduling.node_terms.is_none());
    let (a, b) = (shape("n1", "StatefulSet"), shape("n2", "StatefulSet"));
    assert!(a != b && a.scheduling.node_terms.is_some(), "nobody else's pin is the controller's");
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        feed(&bytes);
    }

    /// One value of a valid document has another type, is out of range, or is hostile.
    #[test]
    fn one_wrong_value(at in any::<prop::sample::Index>(), what in 0usize..12, text in any::<String>(), number in any::<i64>()) {
        let mut document = whole();
        let mut all = Vec::new();
        places(&document, "", &mut all);
        let place = all[at.index(all.len())].clone();
        let wrong = match what {
            0 => Value::Null,
            1 => json!(number),
            2 => json!(text),
            3 => json!([]),
            4 => json!({}),
            5 => json!(true),
            6 => json!(1.5e300),
            7 => json!([null, {"name": null}]),
            8 => json!("\u{1b}]0;title\u{7}\u{202e}"),
            9 => json!(u64::MAX),
            10 => json!("9999999999999999999999E"),
            _ => json!({text: number}),
        };
        *document.pointer_mut(&place).unwrap() = wrong;
        feed(document.to_string().as_bytes());
    }
}
