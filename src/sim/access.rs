//! Authentication and authorization: users with bearer tokens, and a few RBAC rules for each.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use serde_json::{Value, json};

/// The group of all authenticated users.
const AUTHENTICATED: &str = "system:authenticated";

/// A rule of a role; `*` matches everything.
#[derive(Debug, Clone)]
pub struct Grant {
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    pub verbs: Vec<String>,
    /// Empty: every namespace.
    pub namespaces: Vec<String>,
}

/// A user with a token.
#[derive(Debug, Clone)]
pub struct Persona {
    pub token: String,
    pub user: String,
    pub groups: Vec<String>,
    pub grants: Vec<Grant>,
}

/// The request that a user wants to send.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    /// With the subresource: `pods/eviction`.
    pub resource: &'a str,
    pub namespace: &'a str,
}

fn any(list: &[String], have: &str) -> bool {
    list.iter().any(|one| one == "*" || one == have)
}

impl Grant {
    fn new(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Self {
        let own = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        Self { groups: own(groups), resources: own(resources), verbs: own(verbs), namespaces: Vec::new() }
    }

    fn allows(&self, wish: &Wish<'_>) -> bool {
        any(&self.groups, wish.group)
            && any(&self.resources, wish.resource)
            && any(&self.verbs, wish.verb)
            && (self.namespaces.is_empty() || any(&self.namespaces, wish.namespace))
    }
}

impl Persona {
    pub fn may(&self, wish: &Wish<'_>) -> bool {
        // Every authenticated user may review his own access.
        let about_oneself = wish.verb == "create"
            && matches!(
                (wish.group, wish.resource),
                ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
                    | ("authentication.k8s.io", "selfsubjectreviews")
            );
        about_oneself || self.grants.iter().any(|grant| grant.allows(wish))
    }

    /// `resourceRules` of a SelfSubjectRulesReview.
    pub fn rules(&self, namespace: &str) -> Value {
        let mut rules = vec![
            json!({"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
                "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]}),
            json!({"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]}),
        ];
        for grant in self
            .grants
            .iter()
            .filter(|grant| grant.namespaces.is_empty() || any(&grant.namespaces, namespace))
        {
            rules
                .push(json!({"verbs": grant.verbs, "apiGroups": grant.groups, "resources": grant.resources}));
        }
        Value::Array(rules)
    }

    fn named(name: &str, groups: &[&str], grants: Vec<Grant>) -> Self {
        let groups = groups.iter().chain(&[AUTHENTICATED]).map(|one| (*one).to_owned()).collect();
        Self { token: name.to_owned(), user: name.to_owned(), groups, grants }
    }
}

fn viewer() -> Grant {
    let groups = [
        "",
        "apps",
        "batch",
        "autoscaling",
        "policy",
        "discovery.k8s.io",
        "networking.k8s.io",
        "metrics.k8s.io",
        "coordination.k8s.io",
        "events.k8s.io",
        "storage.k8s.io",
        "gateway.networking.k8s.io",
        "networking.istio.io",
        "traefik.io",
        "keda.sh",
        "karpenter.sh",
    ];
    let resources = [
        "nodes",
        "pods",
        "pods/log",
        "services",
        "services/proxy",
        "endpoints",
        "events",
        "namespaces",
        "configmaps",
        "persistentvolumes",
        "persistentvolumeclaims",
        "resourcequotas",
        "deployments",
        "replicasets",
        "statefulsets",
        "daemonsets",
        "controllerrevisions",
        "jobs",
        "cronjobs",
        "horizontalpodautoscalers",
        "poddisruptionbudgets",
        "endpointslices",
        "ingresses",
        "leases",
        "storageclasses",
        "gateways",
        "httproutes",
        "virtualservices",
        "destinationrules",
        "traefikservices",
        "scaledobjects",
        "nodepools",
        "nodeclaims",
    ];
    Grant::new(&groups, &resources, &["get", "list", "watch"])
}

/// `admin` may do everything, `operator` what an on-call engineer needs, `drainer` only what `kubectl drain` needs,
/// `viewer` reads everything except Secrets, `nobody` has no permissions. The token of each is its name.
pub fn personas() -> Vec<Persona> {
    let change = |resources: &[&str], groups: &[&str], verbs: &[&str]| Grant::new(groups, resources, verbs);
    let workloads = [
        "deployments",
        "statefulsets",
        "daemonsets",
        "deployments/scale",
        "statefulsets/scale",
        "replicasets/scale",
    ];
    let routes = ["httproutes", "virtualservices", "destinationrules", "traefikservices", "scaledobjects"];
    let operator = vec![
        viewer(),
        change(&["nodes", "services"], &[""], &["patch", "update"]),
        change(&["pods/eviction"], &[""], &["create"]),
        change(&["services/proxy"], &[""], &["create", "delete"]),
        change(&["pods"], &[""], &["patch", "delete"]),
        change(&workloads, &["apps"], &["patch", "update", "get"]),
        change(&["horizontalpodautoscalers"], &["autoscaling"], &["create", "patch", "update", "delete"]),
        change(&routes, &["*"], &["patch", "update"]),
    ];
    let drainer = vec![
        change(&["nodes"], &[""], &["get", "list", "watch", "patch"]),
        change(&["pods"], &[""], &["get", "list", "watch"]),
        change(&["pods/eviction"], &[""], &["create"]),
        change(&["daemonsets"], &["apps"], &["get"]),
    ];
    vec![
        Persona::named("admin", &["system:masters"], vec![Grant::new(&["*"], &["*"], &["*"])]),
        Persona::named("operator", &["operators"], operator),
        Persona::named("drainer", &["drainers"], drainer),
        Persona::named("viewer", &["viewers"], vec![viewer()]),
        Persona::named("nobody", &[], Vec::new()),
    ]
}

/// All users who can log in.
#[derive(Debug)]
pub struct Access {
    personas: RwLock<Vec<Persona>>,
    expired: RwLock<HashSet<String>>,
    /// The user of a request without a token. kubectl sends no token over plain HTTP.
    anonymous: Option<String>,
}

impl Access {
    pub fn new(personas: Vec<Persona>, anonymous: Option<String>) -> Self {
        Self { personas: RwLock::new(personas), expired: RwLock::default(), anonymous }
    }

    /// The user of a request; `None` is a 401.
    pub fn who(&self, token: Option<&str>) -> Option<Persona> {
        let token = token.or(self.anonymous.as_deref())?;
        if self.expired.read().unwrap_or_else(PoisonError::into_inner).contains(token) {
            return None;
        }
        let personas = self.personas.read().unwrap_or_else(PoisonError::into_inner);
        personas.iter().find(|one| one.token == token).cloned()
    }

    /// Impersonates a user: the persona of that name, or a user without permissions if there is none. If groups are
    /// given, they replace the persona's groups and decide the permissions.
    pub fn acting(&self, user: &str, groups: &[String]) -> Persona {
        let personas = self.personas.read().unwrap_or_else(PoisonError::into_inner);
        let known = personas.iter().find(|one| one.user == user).cloned();
        let mut acting = known.unwrap_or_else(|| Persona::named(user, &[], Vec::new()));
        if !groups.is_empty() {
            acting.groups = groups.to_vec();
            if !acting.groups.iter().any(|one| one == AUTHENTICATED) {
                acting.groups.push(AUTHENTICATED.to_owned());
            }
            let shares = |one: &&Persona| {
                one.groups.iter().any(|group| group != AUTHENTICATED && groups.contains(group))
            };
            acting.grants.extend(personas.iter().filter(shares).flat_map(|one| one.grants.clone()));
        }
        acting
    }

    /// Lets a token expire, or makes it valid again.
    pub fn expire(&self, token: &str, expired: bool) {
        let mut all = self.expired.write().unwrap_or_else(PoisonError::into_inner);
        if expired {
            all.insert(token.to_owned())
        } else {
            all.remove(token)
        };
    }

    /// Replaces the rules of a persona, or adds a persona.
    pub fn put(&self, persona: Persona) {
        let mut personas = self.personas.write().unwrap_or_else(PoisonError::into_inner);
        personas.retain(|one| one.token != persona.token);
        personas.push(persona);
    }
}
