//! The table of resources: what the cluster serves, under which names, with which verbs and subresources. Discovery,
//! routing, the store and the printed tables all use it.

use crate::columns::{self, Column};

/// One row of the table.
#[derive(Debug)]
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub short: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    /// Subresources: `status`, `scale`, `eviction`, …
    pub subresources: &'static [&'static str],
    /// `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// Whether changes by loops inside the cluster are recorded in managedFields too. Off if there are many objects.
    pub tracked: bool,
    /// Served by a CustomResourceDefinition: list items carry apiVersion and kind, no strategic merge.
    pub custom: bool,
    pub columns: &'static [Column],
}

/// The verbs of every stored resource.
pub const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

impl Resource {
    const fn new(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        singular: &'static str,
        kind: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            plural,
            singular,
            kind,
            short: &[],
            categories: &[],
            namespaced: true,
            subresources: &[],
            generation: false,
            tracked: true,
            custom: false,
            columns: columns::CREATED,
        }
    }

    const fn short(mut self, short: &'static [&'static str]) -> Self {
        self.short = short;
        self
    }

    const fn all(mut self) -> Self {
        self.categories = &["all"];
        self
    }

    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn subs(mut self, subresources: &'static [&'static str]) -> Self {
        self.subresources = subresources;
        self
    }

    const fn spec(mut self) -> Self {
        self.generation = true;
        self
    }

    const fn many(mut self) -> Self {
        self.tracked = false;
        self
    }

    const fn custom(mut self) -> Self {
        self.custom = true;
        self.generation = true;
        self.columns = columns::CUSTOM;
        self
    }

    const fn columns(mut self, columns: &'static [Column]) -> Self {
        self.columns = columns;
        self
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `pods`, `deployments.apps`: the resource's name in messages.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Pod`, `Deployment.apps`.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    pub fn has(&self, subresource: &str) -> bool {
        self.subresources.contains(&subresource)
    }
}

macro_rules! table {
    ($($name:ident = $row:expr;)*) => {
        /// A resource of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Res { $($name),* }

        impl Res {
            /// In the order of the table, which is the order of discovery.
            pub const ALL: &'static [Res] = &[$(Res::$name),*];

            pub fn info(self) -> &'static Resource {
                match self { $(Res::$name => { static ROW: Resource = $row; &ROW })* }
            }
        }
    };
}

const STATUS: &[&str] = &["status"];
const SERVICE: &[&str] = &["status", "proxy"];
const SCALED: &[&str] = &["status", "scale"];

table! {
    Namespaces = Resource::new("", "v1", "namespaces", "namespace", "Namespace").cluster().short(&["ns"])
        .subs(&["finalize", "status"]).columns(columns::NAMESPACES);
    Nodes = Resource::new("", "v1", "nodes", "node", "Node").cluster().short(&["no"]).subs(STATUS)
        .columns(columns::NODES);
    Pods = Resource::new("", "v1", "pods", "pod", "Pod").short(&["po"]).all().spec().many()
        .subs(&["binding", "eviction", "log", "status"]).columns(columns::PODS);
    Services = Resource::new("", "v1", "services", "service", "Service").short(&["svc"]).all().subs(SERVICE)
        .columns(columns::SERVICES);
    Endpoints = Resource::new("", "v1", "endpoints", "endpoints", "Endpoints").short(&["ep"]).many()
        .columns(columns::ENDPOINTS);
    Events = Resource::new("", "v1", "events", "event", "Event").short(&["ev"]).many().columns(columns::EVENTS);
    ConfigMaps = Resource::new("", "v1", "configmaps", "configmap", "ConfigMap").short(&["cm"])
        .columns(columns::CONFIGMAPS);
    Secrets = Resource::new("", "v1", "secrets", "secret", "Secret").columns(columns::SECRETS);
    ServiceAccounts = Resource::new("", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount").short(&["sa"])
        .columns(columns::AGED);
    PersistentVolumeClaims = Resource::new("", "v1", "persistentvolumeclaims", "persistentvolumeclaim",
        "PersistentVolumeClaim").short(&["pvc"]).subs(STATUS).columns(columns::CLAIMS);
    PersistentVolumes = Resource::new("", "v1", "persistentvolumes", "persistentvolume", "PersistentVolume")
        .cluster().short(&["pv"]).subs(STATUS).columns(columns::VOLUMES);
    ResourceQuotas = Resource::new("", "v1", "resourcequotas", "resourcequota", "ResourceQuota").short(&["quota"])
        .subs(STATUS).columns(columns::QUOTAS);
    LimitRanges = Resource::new("", "v1", "limitranges", "limitrange", "LimitRange").short(&["limits"]);
    ReplicationControllers = Resource::new("", "v1", "replicationcontrollers", "replicationcontroller",
        "ReplicationController").short(&["rc"]).all().spec().subs(SCALED).columns(columns::REPLICASETS);
    Deployments = Resource::new("apps", "v1", "deployments", "deployment", "Deployment").short(&["deploy"]).all()
        .spec().subs(SCALED).columns(columns::DEPLOYMENTS);
    ReplicaSets = Resource::new("apps", "v1", "replicasets", "replicaset", "ReplicaSet").short(&["rs"]).all()
        .spec().subs(SCALED).columns(columns::REPLICASETS);
    StatefulSets = Resource::new("apps", "v1", "statefulsets", "statefulset", "StatefulSet").short(&["sts"]).all()
        .spec().subs(SCALED).columns(columns::STATEFULSETS);
    DaemonSets = Resource::new("apps", "v1", "daemonsets", "daemonset", "DaemonSet").short(&["ds"]).all().spec()
        .subs(STATUS).columns(columns::DAEMONSETS);
    ControllerRevisions = Resource::new("apps", "v1", "controllerrevisions", "controllerrevision",
        "ControllerRevision").columns(columns::REVISIONS);
    Jobs = Resource::new("batch", "v1", "jobs", "job", "Job").all().spec().subs(STATUS).columns(columns::JOBS);
    CronJobs = Resource::new("batch", "v1", "cronjobs", "cronjob", "CronJob").short(&["cj"]).all().spec()
        .subs(STATUS).columns(columns::CRONJOBS);
    Hpas = Resource::new("autoscaling", "v2", "horizontalpodautoscalers", "horizontalpodautoscaler",
        "HorizontalPodAutoscaler").short(&["hpa"]).all().subs(STATUS).columns(columns::HPAS);
    Pdbs = Resource::new("policy", "v1", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget")
        .short(&["pdb"]).spec().subs(STATUS).columns(columns::PDBS);
    EndpointSlices = Resource::new("discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice")
        .many().columns(columns::SLICES);
    Leases = Resource::new("coordination.k8s.io", "v1", "leases", "lease", "Lease").many().columns(columns::LEASES);
    Ingresses = Resource::new("networking.k8s.io", "v1", "ingresses", "ingress", "Ingress").short(&["ing"]).spec()
        .subs(STATUS).columns(columns::INGRESSES);
    NetworkPolicies = Resource::new("networking.k8s.io", "v1", "networkpolicies", "networkpolicy", "NetworkPolicy")
        .short(&["netpol"]).spec();
    StorageClasses = Resource::new("storage.k8s.io", "v1", "storageclasses", "storageclass", "StorageClass")
        .cluster().short(&["sc"]).columns(columns::STORAGECLASSES);
    PriorityClasses = Resource::new("scheduling.k8s.io", "v1", "priorityclasses", "priorityclass", "PriorityClass")
        .cluster().short(&["pc"]).spec().columns(columns::PRIORITIES);
    RuntimeClasses = Resource::new("node.k8s.io", "v1", "runtimeclasses", "runtimeclass", "RuntimeClass").cluster();
    Roles = Resource::new("rbac.authorization.k8s.io", "v1", "roles", "role", "Role");
    RoleBindings = Resource::new("rbac.authorization.k8s.io", "v1", "rolebindings", "rolebinding", "RoleBinding");
    ClusterRoles = Resource::new("rbac.authorization.k8s.io", "v1", "clusterroles", "clusterrole", "ClusterRole")
        .cluster();
    ClusterRoleBindings = Resource::new("rbac.authorization.k8s.io", "v1", "clusterrolebindings",
        "clusterrolebinding", "ClusterRoleBinding").cluster();
    Crds = Resource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions", "customresourcedefinition",
        "CustomResourceDefinition").cluster().short(&["crd", "crds"]).spec().subs(STATUS);
    Gateways = Resource::new("gateway.networking.k8s.io", "v1", "gateways", "gateway", "Gateway").short(&["gtw"])
        .subs(STATUS).custom().columns(columns::GATEWAYS);
    HttpRoutes = Resource::new("gateway.networking.k8s.io", "v1", "httproutes", "httproute", "HTTPRoute")
        .subs(STATUS).custom().columns(columns::HTTPROUTES);
    VirtualServices = Resource::new("networking.istio.io", "v1", "virtualservices", "virtualservice",
        "VirtualService").short(&["vs"]).subs(STATUS).custom().columns(columns::VIRTUALSERVICES);
    DestinationRules = Resource::new("networking.istio.io", "v1", "destinationrules", "destinationrule",
        "DestinationRule").short(&["dr"]).subs(STATUS).custom().columns(columns::DESTINATIONRULES);
    TraefikServices = Resource::new("traefik.io", "v1alpha1", "traefikservices", "traefikservice",
        "TraefikService").custom();
    ScaledObjects = Resource::new("keda.sh", "v1alpha1", "scaledobjects", "scaledobject", "ScaledObject")
        .short(&["so"]).subs(STATUS).custom();
    NodePools = Resource::new("karpenter.sh", "v1", "nodepools", "nodepool", "NodePool").cluster().subs(STATUS)
        .custom();
    NodeClaims = Resource::new("karpenter.sh", "v1", "nodeclaims", "nodeclaim", "NodeClaim").cluster().subs(STATUS)
        .custom();
}

impl Res {
    /// The resource of a path.
    pub fn find(group: &str, version: &str, plural: &str) -> Option<Res> {
        Res::ALL.iter().copied().find(|res| {
            let info = res.info();
            info.plural == plural && info.group == group && info.version == version
        })
    }

    /// The resource of a document or a reference.
    pub fn of_kind(api_version: &str, kind: &str) -> Option<Res> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Res::ALL.iter().copied().find(|res| {
            let info = res.info();
            info.kind == kind && info.group == group && info.version == version
        })
    }
}
