//! The actions whose process is killed, with the writes of each and the expected state.

use crate::answers::DEPLOYMENT;

/// One kind of action. `NAME` in its texts is the object of the run, `NODE` the node.
pub struct Kind {
    pub name: &'static str,
    pub args: &'static str,
    pub yaml: &'static str,
    /// Additional objects, only in this cluster.
    pub more: &'static str,
    /// The objects in the standby, if the action uses it.
    pub there: &'static str,
    /// The writes of a whole run: method, end of the path, how many, and whether they go to the standby.
    pub writes: &'static [(&'static str, &'static str, usize, bool)],
    /// What kubectl reads: the object, the JSON path, the final value, and whether it is in the standby.
    pub ends: &'static [(&'static str, &'static str, &'static str, bool)],
    pub plan: &'static str,
}

pub const KINDS: [Kind; 6] = [
    Kind {
        name: "drain",
        args: "drain NODE --force --ignore-daemonsets --pods-at-once 2",
        yaml: "
apiVersion: v1
kind: Pod
metadata: {name: NAME-a}
spec: {nodeName: NODE, terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME-b}
spec: {nodeName: NODE, terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME-c}
spec: {nodeName: NODE, terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
",
        more: "",
        there: "",
        writes: &[
            ("PATCH", "/nodes/NODE", 1, false),
            ("POST", "/pods/NAME-a/eviction", 1, false),
            ("POST", "/pods/NAME-b/eviction", 1, false),
            ("POST", "/pods/NAME-c/eviction", 1, false),
        ],
        ends: &[
            ("node NODE", "{.spec.unschedulable}", "true", false),
            ("pods --field-selector spec.nodeName=NODE", "{.items[*].metadata.name}", "", false),
        ],
        plan: "",
    },
    Kind {
        name: "scale",
        args: "-n SPACE scale deploy/NAME --replicas 2",
        yaml: DEPLOYMENT,
        more: "",
        there: "",
        writes: &[("PATCH", "/deployments/NAME/scale", 1, false)],
        ends: &[("deploy NAME", "{.spec.replicas}", "2", false)],
        plan: "",
    },
    Kind {
        name: "rollback",
        args: "-n SPACE rollback deploy/NAME",
        yaml: DEPLOYMENT,
        more: "",
        there: "",
        writes: &[("PATCH", "/deployments/NAME", 1, false)],
        ends: &[("deploy NAME", "{.spec.template.spec.containers[0].image}", "a:1", false)],
        plan: "",
    },
    Kind {
        name: "selector",
        args: "failover NAME",
        yaml: "
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: web, version: blue}, ports: [{port: 80}]}
",
        more: "",
        there: "",
        writes: &[("PATCH", "/services/NAME", 1, false)],
        ends: &[("service NAME", "{.spec.selector.version}", "green", false)],
        plan: "service = \"SPACE/NAME\"\nfrom = \"version=blue\"\nto = \"version=green\"\nsoak_secs = 1\n",
    },
    Kind {
        name: "weight",
        args: "failover NAME",
        yaml: ROUTE,
        more: "",
        there: "",
        writes: &[("PATCH", "/traefikservices/NAME", 2, false)],
        ends: &[("traefikservice NAME", "{.spec.weighted.services[*].weight}", "0 100", false)],
        plan: "route = \"traefikservice/SPACE/NAME\"\nfrom = \"blue\"\nto = \"green\"\nsteps = [50, 100]\nsoak_secs = 1\n",
    },
    Kind {
        name: "standby",
        args: "failover NAME",
        yaml: DEPLOYMENT,
        more: ROUTE,
        there: DEPLOYMENT,
        writes: &[
            ("PATCH", "/deployments/NAME/scale", 1, true),
            ("PATCH", "/traefikservices/NAME", 2, false),
            ("PATCH", "/deployments/NAME/scale", 1, false),
        ],
        ends: &[
            ("deploy NAME", "{.spec.replicas}", "1", true),
            ("traefikservice NAME", "{.spec.weighted.services[*].weight}", "0 100", false),
            ("deploy NAME", "{.spec.replicas}", "0", false),
        ],
        plan: "context = \"standby\"\nworkloads = [\"deploy/SPACE/NAME\"]\nscale_down = true\nroute = \"traefikservice/SPACE/NAME\"\nfrom = \"blue\"\nto = \"green\"\nsteps = [50, 100]\nsoak_secs = 1\n",
    },
];

const ROUTE: &str = "
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: NAME}
spec: {weighted: {services: [{name: blue, port: 80, weight: 100}, {name: green, port: 80, weight: 0}]}}
";
