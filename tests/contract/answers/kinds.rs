//! Every kind of write, with the object that it changes.

use serde_json::Value;

/// One kind of write. `NAME` in its texts is the object of the cell.
pub struct Kind {
    pub name: &'static str,
    pub args: &'static str,
    /// The request that identifies it: the method, and the end of the path.
    pub write: (&'static str, &'static str),
    /// The objects, except for nodes.
    pub yaml: &'static str,
    /// The last kubectl command before our binary runs.
    pub before: &'static str,
    /// How kubectl reads the object, and whether the write was applied. The object may be deleted.
    pub get: &'static str,
    pub applied: fn(&Value) -> bool,
}

pub const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, labels: {answers: KIND}}
spec:
  replicas: 0
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
";
const STATEFUL_SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: NAME, labels: {answers: KIND}}
spec:
  replicas: 0
  serviceName: none
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
";
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {answers: KIND, app: NAME}}
spec: {nodeName: node-0003, terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
";

fn gone(object: &Value) -> bool {
    object.is_null() || !object["metadata"]["deletionTimestamp"].is_null()
}

fn tainted(node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array();
    taints.is_some_and(|all| all.iter().any(|t| t["key"] == "node.kubernetes.io/out-of-service"))
}

const AUTOSCALER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: NAME}
spec:
  minReplicas: 1
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
";

/// Whether the autoscaler scales neither up nor down.
fn is_held(hpa: &Value) -> bool {
    ["scaleUp", "scaleDown"].iter().all(|way| hpa["spec"]["behavior"][way]["selectPolicy"] == "Disabled")
}

pub const KINDS: [Kind; 23] = [
    Kind {
        name: "cordon",
        args: "cordon NODE",
        write: ("PATCH", "/nodes/NODE"),
        yaml: "",
        before: "",
        get: "node NODE",
        applied: |node| node["spec"]["unschedulable"] == true,
    },
    Kind {
        name: "uncordon",
        args: "uncordon NODE",
        write: ("PATCH", "/nodes/NODE"),
        yaml: "",
        before: "cordon NODE",
        get: "node NODE",
        applied: |node| node["spec"]["unschedulable"].is_null(),
    },
    Kind {
        name: "drain",
        args: "drain NODE --force --ignore-daemonsets --delete-emptydir-data --timeout=60s",
        write: ("POST", "/pods/NAME/eviction"),
        yaml: "
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {nodeName: NODE, terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
",
        before: "",
        get: "pod NAME",
        applied: gone,
    },
    Kind {
        name: "drain-cordon",
        args: "drain NODE --force --ignore-daemonsets --delete-emptydir-data --timeout=60s",
        write: ("PATCH", "/nodes/NODE"),
        yaml: "",
        before: "",
        get: "node NODE",
        applied: |node| node["spec"]["unschedulable"] == true,
    },
    Kind {
        name: "out-of-service",
        args: "out-of-service NODE",
        write: ("PATCH", "/nodes/NODE"),
        yaml: "",
        before: "",
        get: "node NODE",
        applied: tainted,
    },
    Kind {
        name: "in-service",
        args: "in-service NODE",
        write: ("PATCH", "/nodes/NODE"),
        yaml: "",
        before: "taint node NODE --overwrite node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
        get: "node NODE",
        applied: |node| !tainted(node),
    },
    Kind {
        name: "evict",
        args: "-n SPACE evict NAME",
        write: ("POST", "/pods/NAME/eviction"),
        yaml: POD,
        before: "",
        get: "pod NAME",
        applied: gone,
    },
    Kind {
        name: "delete",
        args: "-n SPACE evict --delete NAME",
        write: ("DELETE", "/pods/NAME"),
        yaml: POD,
        before: "",
        get: "pod NAME",
        applied: gone,
    },
    Kind {
        name: "restart",
        args: "-n SPACE restart deploy/NAME",
        write: ("PATCH", "/deployments/NAME"),
        yaml: DEPLOYMENT,
        before: "",
        get: "deploy NAME",
        applied: |d| {
            d.pointer("/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt").is_some()
        },
    },
    Kind {
        name: "scale",
        args: "-n SPACE scale deploy/NAME --replicas 1",
        write: ("PATCH", "/deployments/NAME/scale"),
        yaml: DEPLOYMENT,
        before: "",
        get: "deploy NAME",
        applied: |d| d["spec"]["replicas"] == 1,
    },
    Kind {
        name: "rollback",
        args: "-n SPACE rollback deploy/NAME",
        write: ("PATCH", "/deployments/NAME"),
        yaml: DEPLOYMENT,
        before: "",
        get: "deploy NAME",
        applied: |d| d["spec"]["template"]["spec"]["containers"][0]["image"] == "a:1",
    },
    Kind {
        name: "rollback-set",
        args: "-n SPACE rollback sts/NAME",
        write: ("PATCH", "/statefulsets/NAME"),
        yaml: STATEFUL_SET,
        before: "",
        get: "sts NAME",
        applied: |d| d["spec"]["template"]["spec"]["containers"][0]["image"] == "a:1",
    },
    Kind {
        name: "pause",
        args: "-n SPACE pause-rollout deploy/NAME",
        write: ("PATCH", "/deployments/NAME"),
        yaml: DEPLOYMENT,
        before: "",
        get: "deploy NAME",
        applied: |d| d["spec"]["paused"] == true,
    },
    Kind {
        name: "resume-rollout",
        args: "-n SPACE resume-rollout deploy/NAME",
        write: ("PATCH", "/deployments/NAME"),
        yaml: DEPLOYMENT,
        before: "-n SPACE rollout pause deploy/NAME",
        get: "deploy NAME",
        applied: |d| d["spec"]["paused"].is_null() || d["spec"]["paused"] == false,
    },
    Kind {
        name: "bounds",
        args: "-n SPACE bounds NAME --max 5",
        write: ("PATCH", "/horizontalpodautoscalers/NAME"),
        yaml: AUTOSCALER,
        before: "",
        get: "hpa NAME",
        applied: |hpa| hpa["spec"]["maxReplicas"] == 5,
    },
    Kind {
        name: "pause-autoscaler",
        args: "-n SPACE pause-autoscaler NAME",
        write: ("PATCH", "/horizontalpodautoscalers/NAME"),
        yaml: AUTOSCALER,
        before: "",
        get: "hpa NAME",
        applied: is_held,
    },
    Kind {
        name: "resume-autoscaler",
        args: "-n SPACE resume-autoscaler NAME",
        write: ("PATCH", "/horizontalpodautoscalers/NAME"),
        yaml: AUTOSCALER,
        before: "-n SPACE patch hpa NAME --type=merge -p {\"spec\":{\"behavior\":{\"scaleUp\":{\"selectPolicy\":\"Disabled\"},\"scaleDown\":{\"selectPolicy\":\"Disabled\"}}}}",
        get: "hpa NAME",
        applied: |hpa| !is_held(hpa),
    },
    Kind {
        name: "out-of-rotation",
        args: "-n SPACE out-of-rotation NAME --service NAME",
        write: ("PATCH", "/pods/NAME"),
        yaml: "
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME}}
spec: {nodeName: node-0004, terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{port: 80}]}
",
        before: "",
        get: "pod NAME",
        applied: |pod| pod["metadata"]["labels"]["app"].is_null(),
    },
    Kind {
        name: "into-rotation",
        args: "-n SPACE into-rotation NAME",
        write: ("PATCH", "/pods/NAME"),
        yaml: "
apiVersion: v1
kind: Pod
metadata: {name: NAME, annotations: {pilothouse.dev/out-of-rotation: '{\"app\":\"NAME\"}'}}
spec: {nodeName: node-0005, terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
",
        before: "",
        get: "pod NAME",
        applied: |pod| pod["metadata"]["labels"]["app"].is_string(),
    },
    Kind {
        name: "selector",
        args: "failover NAME",
        write: ("PATCH", "/services/NAME"),
        yaml: "
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: web, version: blue}, ports: [{port: 80}]}
",
        before: "",
        get: "service NAME",
        applied: |service| service["spec"]["selector"]["version"] == "green",
    },
    Kind {
        name: "selector-revert",
        args: "failover NAME --revert",
        write: ("PATCH", "/services/NAME"),
        yaml: "
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: web, version: green}, ports: [{port: 80}]}
",
        before: "",
        get: "service NAME",
        applied: |service| service["spec"]["selector"]["version"] == "blue",
    },
    Kind {
        name: "weight",
        args: "failover NAME",
        write: ("PATCH", "/httproutes/NAME"),
        yaml: "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: NAME}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: blue, port: 80, weight: 100}, {name: green, port: 80, weight: 0}]}]
",
        before: "",
        get: "httproute NAME",
        applied: |route| route["spec"]["rules"][0]["backendRefs"][1]["weight"] == 100,
    },
    Kind {
        name: "weight-revert",
        args: "failover NAME --revert",
        write: ("PATCH", "/httproutes/NAME"),
        yaml: "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: NAME}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: blue, port: 80, weight: 0}, {name: green, port: 80, weight: 100}]}]
",
        before: "",
        get: "httproute NAME",
        applied: |route| route["spec"]["rules"][0]["backendRefs"][0]["weight"] == 100,
    },
];

/// The scale there is the write, and all of it.
pub const STANDBY: Kind = Kind {
    name: "standby",
    args: "failover NAME",
    write: ("PATCH", "/deployments/NAME/scale"),
    yaml: DEPLOYMENT,
    before: "",
    get: "deploy NAME",
    applied: |d| d["spec"]["replicas"] == 1,
};

/// What failovers go between.
pub const COLOURS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: COLOUR}
spec:
  replicas: 1
  selector: {matchLabels: {app: web, version: COLOUR}}
  template:
    metadata: {labels: {app: web, version: COLOUR}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
---
apiVersion: v1
kind: Service
metadata: {name: COLOUR}
spec: {selector: {app: web, version: COLOUR}, ports: [{port: 80}]}
";
