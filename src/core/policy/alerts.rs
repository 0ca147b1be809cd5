//! Which objects of a cluster the labels of an alert name. [`NAMING`] is the table of the labels that Prometheus'
//! service discovery, kube-state-metrics, the kubelet, node-exporter, the usual collections of rules and the service
//! meshes use.

use crate::domain::alert::Alert;
use crate::domain::id::{Kind, Name};

use super::links::escaped;

/// What the value of a label names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Kind(&'static Kind),
    /// A workload whose kind another label has.
    WorkloadOf(&'static str),
    /// A workload of any kind.
    Workload,
    /// The name of a node, or the address of one, with or without a port.
    Address,
}

/// A group of labels with one meaning. The first one that an alert has counts.
struct Naming {
    labels: &'static [&'static str],
    names: Names,
    /// The labels that have the namespace. Empty: those of [`NAMESPACES`].
    namespaces: &'static [&'static str],
    /// The label is used for nothing else. Other labels count only if the cluster has the object.
    sure: bool,
}

const fn sure(labels: &'static [&'static str], kind: &'static Kind) -> Naming {
    Naming { labels, names: Names::Kind(kind), namespaces: &[], sure: true }
}

const fn maybe(labels: &'static [&'static str], names: Names) -> Naming {
    Naming { labels, names, namespaces: &[], sure: false }
}

/// The labels with the namespace of an object. If an exporter describes objects of other namespaces, Prometheus renames
/// their label to `exported_namespace`, unless it is told to keep it.
const NAMESPACES: [&str; 5] =
    ["exported_namespace", "namespace", "kubernetes_namespace", "k8s_namespace_name", "namespace_name"];

/// The labels that name objects, the most specific ones first. An alert is about the first object that is found.
const NAMING: [Naming; 19] = [
    sure(&["horizontalpodautoscaler", "hpa"], &Kind::HorizontalPodAutoscaler),
    sure(&["persistentvolumeclaim", "exported_persistentvolumeclaim"], &Kind::PersistentVolumeClaim),
    sure(&["poddisruptionbudget"], &Kind::PodDisruptionBudget),
    sure(&["cronjob", "k8s_cronjob_name"], &Kind::CronJob),
    sure(&["job_name", "k8s_job_name"], &Kind::Job),
    sure(&["exported_deployment", "deployment", "k8s_deployment_name"], &Kind::Deployment),
    sure(&["exported_statefulset", "statefulset", "k8s_statefulset_name"], &Kind::StatefulSet),
    sure(&["exported_daemonset", "daemonset", "k8s_daemonset_name"], &Kind::DaemonSet),
    sure(&["exported_replicaset", "replicaset", "k8s_replicaset_name"], &Kind::ReplicaSet),
    maybe(&["workload"], Names::WorkloadOf("workload_type")),
    maybe(&["owner_name"], Names::WorkloadOf("owner_kind")),
    maybe(&["created_by_name"], Names::WorkloadOf("created_by_kind")),
    Naming {
        labels: &["destination_workload"],
        names: Names::Workload,
        namespaces: &["destination_workload_namespace"],
        sure: false,
    },
    sure(&["exported_pod", "pod", "pod_name", "kubernetes_pod_name", "k8s_pod_name"], &Kind::Pod),
    Naming {
        labels: &["destination_service_name"],
        names: Names::Kind(&Kind::Service),
        namespaces: &["destination_service_namespace"],
        sure: false,
    },
    maybe(
        &["exported_service", "service", "kubernetes_service", "service_name"],
        Names::Kind(&Kind::Service),
    ),
    maybe(&["ingress", "exported_ingress"], Names::Kind(&Kind::Ingress)),
    // a job of Prometheus' own is named after the Service that it reads; kube-state-metrics calls a Job `job` too
    maybe(&["exported_job", "job"], Names::Kind(&Kind::Job)),
    maybe(&["exported_job", "job"], Names::Kind(&Kind::Service)),
];

/// The labels that name nodes. They count only if no other object is found: the alert of a pod is not about its node.
const NODES: [Naming; 2] = [
    sure(
        &[
            "exported_node",
            "node",
            "nodename",
            "kubernetes_node",
            "k8s_node_name",
            "node_name",
            "kubernetes_io_hostname",
        ],
        &Kind::Node,
    ),
    maybe(&["instance", "hostname", "host"], Names::Address),
];

/// Programs that describe other objects. Their own pod, container and Service are not what an alert is about.
const EXPORTERS: [&str; 3] = ["kube-state-metrics", "node-exporter", "node_exporter"];
/// The labels that can name an exporter instead of the object.
const OF_EXPORTER: [&str; 5] = ["pod", "container", "service", "job", "endpoint"];
/// The exporter that runs on each node and describes it.
const OF_NODES: [&str; 2] = ["node-exporter", "node_exporter"];

/// An object that an alert may be about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// Empty: a workload of any kind.
    pub kinds: Vec<Kind>,
    /// Empty for cluster-scoped kinds.
    pub namespace: Name,
    /// The name, or the address of a node.
    pub name: Name,
    /// The label is used for nothing else, so it names an object even if the cluster does not have it (any more).
    pub sure: bool,
}

/// What the labels of an alert name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedBy {
    /// The most specific one first.
    pub objects: Vec<Named>,
    /// Nodes, which count only if there is no object.
    pub nodes: Vec<Named>,
    /// The pod of the exporter on the node that the alert is about.
    pub exporter: Option<Named>,
    /// The namespace, or "".
    pub namespace: Name,
    /// An exporter describes the object, so the namespace can be the exporter's own.
    pub is_exported: bool,
}

/// Returns the page of the Alertmanager with the alerts of this name, in this namespace if the alert has one. `None` if
/// nobody knows its URL.
pub fn link(base: &str, alert: &Alert) -> Option<String> {
    if !base.starts_with("http") {
        return None;
    }
    let wanted = ["alertname", "namespace"].into_iter();
    let pairs: Vec<String> = wanted
        .filter_map(|name| {
            Some(format!("{name}=\"{}\"", alert.label(name)?.replace('\\', "\\\\").replace('"', "\\\"")))
        })
        .collect();
    let filter = escaped(&format!("{{{}}}", pairs.join(",")));
    Some(format!("{}/#/alerts?silenced=true&inhibited=true&filter={filter}", base.trim_end_matches('/')))
}

/// The kinds of workloads.
pub const WORKLOADS: [Kind; 4] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job];

/// Returns what the labels of an alert name.
pub fn named(alert: &Alert) -> NamedBy {
    let of_exporter = |label: &str, value: &str| {
        OF_EXPORTER.contains(&label) && EXPORTERS.iter().any(|exporter| value.contains(exporter))
    };
    let label = |name: &str| alert.label(name).filter(|value| !value.is_empty());
    let first = |names: &[&'static str]| names.iter().find_map(|name| label(name)).cloned();
    let namespace = first(&NAMESPACES).unwrap_or_default();
    let read = |naming: &Naming| -> Option<Named> {
        let usable = |name: &&&str| label(name).is_some_and(|value| !of_exporter(name, value));
        let name = label(naming.labels.iter().find(usable)?)?.clone();
        let kinds = match naming.names {
            Names::Kind(kind) => vec![kind.clone()],
            Names::WorkloadOf(of) => vec![workload_kind(label(of)?)?],
            Names::Workload => Vec::new(),
            Names::Address => vec![Kind::Node],
        };
        let namespaced = kinds.iter().all(Kind::is_namespaced);
        let own = first(naming.namespaces).unwrap_or_else(|| namespace.clone());
        if namespaced && own.is_empty() {
            return None;
        }
        let namespace = if namespaced { own } else { Name::default() };
        let name = if naming.names == Names::Address { host(&name).into() } else { name };
        Some(Named { kinds, namespace, name, sure: naming.sure })
    };
    let words = OF_EXPORTER.iter().filter_map(|name| label(name));
    let is_exported = words.clone().any(|value| EXPORTERS.iter().any(|one| value.contains(one)));
    let is_of_node = words.clone().any(|value| OF_NODES.iter().any(|one| value.contains(one)));
    let exporter = label("pod").filter(|_| is_of_node).map(|pod| Named {
        kinds: vec![Kind::Pod],
        namespace: label("namespace").cloned().unwrap_or_default(),
        name: pod.clone(),
        sure: false,
    });
    NamedBy {
        objects: NAMING.iter().filter_map(read).collect(),
        nodes: NODES.iter().filter_map(read).collect(),
        exporter,
        namespace,
        is_exported,
    }
}

/// Returns the kind of a workload as the labels spell it: `deployment`, `Deployment`.
fn workload_kind(word: &str) -> Option<Kind> {
    Kind::from_word(word).filter(|kind| WORKLOADS.contains(kind) || *kind == Kind::ReplicaSet)
}

/// Returns an address without its port: `10.0.0.1:9100`, `[fd00::1]:9100`, `n1:9100`.
fn host(address: &str) -> &str {
    if let Some((host, _)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The objects that these labels name, as `kind namespace/name`, with `?` if the cluster has to know them.
    fn told(labels: &str) -> String {
        let mut pairs: Vec<(Name, Name)> = labels
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        pairs.sort();
        let by = named(&Alert { labels: pairs.into(), ..Alert::default() });
        let words = |one: &Named| {
            let kind = one.kinds.first().map_or_else(|| "workload".into(), Kind::short);
            let slash = if one.namespace.is_empty() { "" } else { "/" };
            format!("{kind} {}{slash}{}{}", one.namespace, one.name, if one.sure { "" } else { "?" })
        };
        let of = |all: &[Named]| all.iter().map(words).collect::<Vec<_>>().join(", ");
        let exporter = by.exporter.as_ref().map(|pod| format!(" | on the node of {}", words(pod)));
        format!("{} | {}{}", of(&by.objects), of(&by.nodes), exporter.unwrap_or_default())
    }

    #[test]
    fn the_labels_of_usual_rules_name_their_objects() {
        for (labels, want) in [
            // kube-state-metrics, with and without honorLabels
            (
                "alertname=KubeDeploymentReplicasMismatch deployment=web namespace=shop job=kube-state-metrics \
                 container=kube-state-metrics pod=kps-kube-state-metrics-7c service=kps-kube-state-metrics \
                 instance=10.1.2.3:8080",
                "deploy shop/web | node 10.1.2.3?",
            ),
            (
                "alertname=KubePodCrashLooping exported_namespace=shop exported_pod=web-1 namespace=monitoring \
                 pod=ksm-kube-state-metrics-0 job=kube-state-metrics",
                "pod shop/web-1 | ",
            ),
            ("alertname=KubeNodeNotReady node=n1 job=kube-state-metrics namespace=monitoring", " | node n1"),
            ("horizontalpodautoscaler=web namespace=shop", "hpa shop/web | "),
            ("job_name=backup-123 namespace=shop job=kube-state-metrics", "job shop/backup-123 | "),
            (
                "persistentvolumeclaim=data-0 namespace=db node=n2 job=kubelet",
                "pvc db/data-0, job db/kubelet?, svc db/kubelet? | node n2",
            ),
            // node-exporter names its own pod, and the address of the node
            (
                "alertname=NodeFilesystemSpaceFillingUp instance=10.0.0.7:9100 job=node-exporter \
                 namespace=monitoring pod=node-exporter-x1 container=node-exporter",
                " | node 10.0.0.7? | on the node of pod monitoring/node-exporter-x1?",
            ),
            // the mixins' workloads
            ("workload=web workload_type=deployment namespace=shop", "deploy shop/web? | "),
            ("owner_kind=ReplicaSet owner_name=web-7c namespace=shop", "rs shop/web-7c? | "),
            ("workload=web workload_type=?? namespace=shop", " | "),
            // meshes and proxies
            (
                "destination_service_name=web destination_service_namespace=shop namespace=istio-system",
                "svc shop/web? | ",
            ),
            ("destination_workload=web destination_workload_namespace=shop", "workload shop/web? | "),
            ("ingress=web exported_namespace=shop namespace=ingress", "ing shop/web? | "),
            // an application's own metrics
            ("service=web namespace=shop", "svc shop/web? | "),
            (
                "pod=web-1 service=web job=web namespace=shop container=app",
                "pod shop/web-1, svc shop/web?, job shop/web?, svc shop/web? | ",
            ),
            // OpenTelemetry's names
            ("k8s_deployment_name=web k8s_namespace_name=shop", "deploy shop/web | "),
            ("k8s_node_name=n1", " | node n1"),
            // without a namespace nothing is known
            ("deployment=web", " | "),
            ("alertname=Watchdog", " | "),
            ("instance=[fd00::1]:9100", " | node fd00::1?"),
            ("instance=n1", " | node n1?"),
        ] {
            assert_eq!(told(labels), want, "{labels}");
        }
    }

    #[test]
    fn the_page_of_an_alert() {
        let labels = [("alertname".into(), Name::from("A \"b\"")), ("namespace".into(), "shop".into())];
        let alert = Alert { labels: labels.into(), ..Alert::default() };
        assert_eq!(
            link("https://am.example/", &alert).as_deref(),
            Some(
                "https://am.example/#/alerts?silenced=true&inhibited=true&filter=%7Balertname%3D%22A%20%5C%22b%5C%22%22%2Cnamespace%3D%22shop%22%7D"
            )
        );
        assert_eq!(link("", &alert), None);
    }

    #[test]
    fn a_namespace_can_be_an_exporters_own() {
        let alert = |pairs: &[(&str, &str)]| Alert {
            labels: pairs.iter().map(|(k, v)| (Name::from(*k), Name::from(*v))).collect(),
            ..Alert::default()
        };
        let by = named(&alert(&[("job", "kube-state-metrics"), ("namespace", "monitoring")]));
        assert!(by.is_exported && by.namespace == "monitoring");
        let by = named(&alert(&[("namespace", "shop"), ("resourcequota", "q")]));
        assert!(!by.is_exported && by.namespace == "shop");
    }
}
