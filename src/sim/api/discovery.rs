//! Discovery: version, groups and resources, in the old form and in the aggregated one.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Api, reply};
use crate::resources::{Res, Resource, VERBS};
use crate::status::Status;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A resource that is served but not stored.
struct Virtual {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    verbs: &'static [&'static str],
}

const VIRTUAL: &[Virtual] = &[
    Virtual {
        group: "authentication.k8s.io",
        version: "v1",
        plural: "selfsubjectreviews",
        kind: "SelfSubjectReview",
        namespaced: false,
        verbs: &["create"],
    },
    Virtual {
        group: "authorization.k8s.io",
        version: "v1",
        plural: "selfsubjectaccessreviews",
        kind: "SelfSubjectAccessReview",
        namespaced: false,
        verbs: &["create"],
    },
    Virtual {
        group: "authorization.k8s.io",
        version: "v1",
        plural: "selfsubjectrulesreviews",
        kind: "SelfSubjectRulesReview",
        namespaced: false,
        verbs: &["create"],
    },
    Virtual {
        group: "metrics.k8s.io",
        version: "v1beta1",
        plural: "nodes",
        kind: "NodeMetrics",
        namespaced: false,
        verbs: &["get", "list"],
    },
    Virtual {
        group: "metrics.k8s.io",
        version: "v1beta1",
        plural: "pods",
        kind: "PodMetrics",
        namespaced: true,
        verbs: &["get", "list"],
    },
];

/// Kind, group, version and verbs of a subresource.
fn subresource(
    info: &Resource,
    name: &str,
) -> (&'static str, &'static str, &'static str, &'static [&'static str]) {
    match name {
        "scale" => ("Scale", "autoscaling", "v1", &["get", "patch", "update"]),
        "eviction" => ("Eviction", "policy", "v1", &["create"]),
        "binding" => ("Binding", "", "v1", &["create"]),
        "log" => ("Pod", "", "v1", &["get"]),
        "proxy" => ("ServiceProxyOptions", "", "v1", &["create", "delete", "get", "patch", "update"]),
        "finalize" => (info.kind, info.group, info.version, &["update"]),
        _ => (info.kind, info.group, info.version, &["get", "patch", "update"]),
    }
}

impl Api {
    /// Groups with their versions, in the order of the tables; the core group first.
    fn groups(&self) -> Vec<(&'static str, &'static str)> {
        let stored = Res::ALL.iter().map(|res| (res.info().group, res.info().version));
        let mut out: Vec<(&str, &str)> = Vec::new();
        for pair in stored.chain(VIRTUAL.iter().map(|one| (one.group, one.version))) {
            if self.serves(pair.0) && !out.contains(&pair) {
                out.push(pair);
            }
        }
        out
    }

    /// The document at a path that names no resource. `Err(None)` is the plain 404 of an unknown path.
    pub(super) fn discover(&self, path: &str, headers: &HeaderMap) -> Result<Response, Option<Status>> {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let aggregated = accept.contains("as=APIGroupDiscoveryList") && accept.contains("v=v2");
        let document = match path.trim_end_matches('/') {
            "/version" => Ok(json!({
                "major": "1", "minor": "36", "gitVersion": "v1.36.2", "gitCommit": "unknown", "gitTreeState": "clean",
                "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.26.8", "compiler": "gc",
                "platform": "linux/amd64",
            })),
            "" => Ok(
                json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/version"]}),
            ),
            "/api" if aggregated => Ok(self.aggregated(str::is_empty)),
            "/apis" if aggregated => Ok(self.aggregated(|group| !group.is_empty())),
            "/api" => {
                Ok(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
            }
            "/apis" => {
                let named = self.groups().into_iter().filter(|(group, _)| !group.is_empty());
                let groups: Vec<Value> =
                    named.map(|(group, version)| api_group(group, version, false)).collect();
                Ok(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
            }
            path => {
                let mut parts = path.split('/').filter(|part| !part.is_empty());
                let (group, version) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
                    (Some("api"), Some(version), None, None) => ("", Some(version)),
                    (Some("apis"), Some(group), version, None) => (group, version),
                    _ => return Err(None),
                };
                let Some((group, known)) = self.groups().into_iter().find(|(known, _)| *known == group)
                else {
                    return Err(None);
                };
                match version {
                    None => Ok(api_group(group, known, true)),
                    Some(version) if version == known => Ok(resource_list(group, version)),
                    Some(_) => Err(None),
                }
            }
        };
        let mut out = reply::json(200, &document?);
        if aggregated && matches!(path.trim_end_matches('/'), "/api" | "/apis") {
            // Clients tell the two forms apart by this content type, not by the document.
            out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
        }
        Ok(out)
    }

    fn aggregated(&self, wanted: impl Fn(&str) -> bool) -> Value {
        let items: Vec<Value> = self
            .groups()
            .into_iter()
            .filter(|(group, _)| wanted(group))
            .map(|(group, version)| {
                let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
                let resources: Vec<Value> =
                    of_group(group).map(|res| aggregated_resource(res.info())).collect();
                let virtual_ones = VIRTUAL.iter().filter(|one| one.group == group).map(|one| {
                    json!({
                        "resource": one.plural, "verbs": one.verbs, "singularResource": "",
                        "responseKind": {"group": one.group, "version": one.version, "kind": one.kind},
                        "scope": if one.namespaced { "Namespaced" } else { "Cluster" },
                    })
                });
                let resources: Vec<Value> = resources.into_iter().chain(virtual_ones).collect();
                let version = json!({"version": version, "resources": resources, "freshness": "Current"});
                json!({"metadata": metadata, "versions": [version]})
            })
            .collect();
        json!({
            "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
        })
    }
}

fn of_group(group: &str) -> impl Iterator<Item = Res> {
    Res::ALL.iter().copied().filter(move |res| res.info().group == group)
}

fn aggregated_resource(info: &Resource) -> Value {
    let mut out = json!({
        "resource": info.plural, "singularResource": info.singular, "verbs": VERBS,
        "responseKind": {"group": info.group, "version": info.version, "kind": info.kind},
        "scope": if info.namespaced { "Namespaced" } else { "Cluster" },
    });
    let subresources: Vec<Value> = info
        .subresources
        .iter()
        .map(|name| {
            let (kind, group, version, verbs) = subresource(info, name);
            let response = json!({"group": group, "version": version, "kind": kind});
            json!({"subresource": name, "responseKind": response, "verbs": verbs})
        })
        .collect();
    for (field, list) in [
        ("shortNames", json!(info.short)),
        ("categories", json!(info.categories)),
        ("subresources", json!(subresources)),
    ] {
        if list.as_array().is_some_and(|list| !list.is_empty())
            && let Some(map) = out.as_object_mut()
        {
            map.insert(field.to_owned(), list);
        }
    }
    out
}

fn api_group(group: &str, version: &str, alone: bool) -> Value {
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let mut out = json!({"name": group, "versions": [version], "preferredVersion": version});
    if alone && let Some(map) = out.as_object_mut() {
        map.insert("kind".into(), json!("APIGroup"));
        map.insert("apiVersion".into(), json!("v1"));
    }
    out
}

fn resource_list(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for info in of_group(group).map(Res::info) {
        let mut one = json!({
            "name": info.plural, "singularName": info.singular, "namespaced": info.namespaced, "kind": info.kind,
            "verbs": VERBS,
        });
        if let Some(map) = one.as_object_mut() {
            if !info.short.is_empty() {
                map.insert("shortNames".into(), json!(info.short));
            }
            if !info.categories.is_empty() {
                map.insert("categories".into(), json!(info.categories));
            }
        }
        resources.push(one);
        for name in info.subresources {
            let (kind, sub_group, sub_version, verbs) = subresource(info, name);
            let mut one = json!({
                "name": format!("{}/{name}", info.plural), "singularName": "", "namespaced": info.namespaced,
                "kind": kind, "verbs": verbs,
            });
            if (sub_group, sub_version) != (info.group, info.version)
                && let Some(map) = one.as_object_mut()
            {
                map.insert("group".into(), json!(sub_group));
                map.insert("version".into(), json!(sub_version));
            }
            resources.push(one);
        }
    }
    for one in VIRTUAL.iter().filter(|one| one.group == group) {
        resources.push(json!({
            "name": one.plural, "singularName": "", "namespaced": one.namespaced, "kind": one.kind,
            "verbs": one.verbs,
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
}
