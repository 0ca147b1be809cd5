//! Ingresses, with the annotations of ingress-nginx that say how requests are distributed.

use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::route::{Balancer, Route, RouteRule, Scope, Target};
use pilothouse_core::domain::traffic::Policy;
use serde::Deserialize;

use super::super::{Meta, Pools, Text, read};
use super::{head, host, persistent};
use crate::wire::list_watch::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Doc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<Spec<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec<'a> {
    #[serde(borrow)]
    default_backend: Option<Backend<'a>>,
    #[serde(borrow)]
    rules: Option<Vec<Rule<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rule<'a> {
    #[serde(borrow)]
    host: Text<'a>,
    #[serde(borrow)]
    http: Option<Http<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Http<'a> {
    #[serde(borrow)]
    paths: Option<Vec<HttpPath<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HttpPath<'a> {
    #[serde(borrow)]
    path: Text<'a>,
    #[serde(borrow)]
    backend: Option<Backend<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Backend<'a> {
    #[serde(borrow)]
    service: Option<Named<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

/// FNV-1a of host and path, never 0. Recordings keep it, so it must not change between runs.
fn place(host: &str, path: &str) -> u64 {
    let bytes = host.bytes().chain([0]).chain(path.bytes());
    bytes
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        .max(1)
}

/// The variables of nginx that stand for the client.
const CLIENT: [&str; 4] = ["$binary_remote_addr", "$remote_addr", "$http_x_forwarded_for", "$the_real_ip"];

fn balancer(pools: &mut Pools, meta: &Meta<'_>) -> Option<Balancer> {
    let annotation = |name: &str| {
        let all = meta.annotations.0.iter();
        let mut own = all.filter_map(|(k, v)| Some((k.strip_prefix("nginx.ingress.kubernetes.io/")?, v)));
        own.find(|(key, _)| *key == name).map(|(_, value)| &**value).filter(|value| !value.is_empty())
    };
    // nginx sends the requests to the Service, and the node's kube-proxy chooses the backend
    if annotation("service-upstream") == Some("true") {
        return None;
    }
    if annotation("affinity") == Some("cookie") {
        let name = annotation("session-cookie-name").unwrap_or("INGRESSCOOKIE");
        return Some(persistent(pools, Scope::All, "cookie", name, "annotation affinity"));
    }
    let (policy, detail, field) = if let Some(key) = annotation("upstream-hash-by") {
        let policy = if CLIENT.contains(&key) { Policy::ByClient } else { Policy::ByRequest };
        (policy, format!("hash of {key}"), "annotation upstream-hash-by")
    } else {
        let policy = match annotation("load-balance")? {
            "round_robin" => Policy::RoundRobin,
            "ewma" => Policy::ResponseTime,
            _ => return None,
        };
        let detail =
            if policy == Policy::ResponseTime { "ewma: the faster of two random backends" } else { "" };
        (policy, detail.to_owned(), "annotation load-balance")
    };
    let (detail, field) = (pools.name(&detail), pools.name(field));
    Some(Balancer { policy, detail, field, ..Balancer::default() })
}

/// The part of the requests that an Ingress with the annotation `canary` gets.
#[derive(Clone, Copy, Default)]
struct Canary {
    weight: Option<u32>,
    total: u32,
    /// Requests with a certain header or cookie go to it.
    conditional: bool,
}

fn canary(meta: &Meta<'_>) -> Option<Canary> {
    let annotation = |name: &str| meta.annotations.get(&format!("nginx.ingress.kubernetes.io/{name}"));
    if annotation("canary") != Some("true") {
        return None;
    }
    let number = |name: &str| annotation(name).and_then(|text| text.trim().parse::<u32>().ok());
    Some(Canary {
        weight: number("canary-weight"),
        total: number("canary-weight-total").unwrap_or(100),
        conditional: ["canary-by-header", "canary-by-cookie"]
            .into_iter()
            .any(|name| annotation(name).is_some_and(|value| !value.is_empty())),
    })
}

/// An Ingress from its JSON.
pub(super) fn ingress(pools: &mut Pools, json: &[u8]) -> Result<Route, DecodeError> {
    let doc: Doc<'_> = read(json)?;
    let route = head(Kind::Ingress, pools, &doc.metadata)?;
    let canary = canary(&doc.metadata);
    let spec = doc.spec.unwrap_or_default();
    let paths = spec.rules.iter().flatten().flat_map(|rule| {
        let paths = rule.http.iter().flat_map(|http| http.paths.iter().flatten());
        paths.map(|path| (&*rule.host, &*path.path, path.backend.as_ref()))
    });
    let default = spec.default_backend.as_ref().map(|backend| ("", "", Some(backend)));
    let mut rules = Vec::new();
    for (name, path, backend) in paths.chain(default) {
        let Some(service) = backend.and_then(|backend| backend.service.as_ref()) else { continue };
        let mut target = Target {
            host: host(pools, &doc.metadata.namespace, "", &service.name),
            weight: 1,
            ..Target::default()
        };
        let mut rule = RouteRule { at: place(name, path), ..RouteRule::default() };
        match canary {
            None => {}
            Some(Canary { weight: Some(weight), total, conditional }) => {
                target.weight = weight.min(total);
                rule.rest = Some(total.saturating_sub(weight));
                rule.conditional = conditional;
            }
            // without a weight and a condition, the Ingress gets no requests
            Some(Canary { weight: None, conditional, .. }) => {
                rule.conditional = true;
                target.weight = u32::from(conditional);
            }
        }
        rule.targets = [target].into();
        rules.push(rule);
    }
    let balancers: Vec<Balancer> = balancer(pools, &doc.metadata).into_iter().collect();
    Ok(Route { rules: rules.into(), balancers: balancers.into(), ..route })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &str, spec: &str) -> Route {
        let json = format!(
            r#"{{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{{"name":"web","namespace":"shop","uid":"u","annotations":{{{annotations}}}}},"spec":{spec}}}"#
        );
        ingress(&mut Pools::default(), json.as_bytes()).unwrap()
    }

    fn note(name: &str, value: &str) -> String {
        format!(r#""nginx.ingress.kubernetes.io/{name}":"{value}""#)
    }

    const SPEC: &str = r#"{"ingressClassName":"nginx","rules":[{"host":"shop.example.com","http":{"paths":[
        {"path":"/","pathType":"Prefix","backend":{"service":{"name":"web","port":{"number":80}}}},
        {"path":"/static","pathType":"Prefix","backend":{"resource":{"kind":"Bucket","name":"files"}}}]}}]}"#;

    #[test]
    fn annotations_say_how_backends_are_chosen() {
        let of = |annotations: &str| {
            let found = read(annotations, SPEC).balancers.first().cloned();
            found.map(|b| (b.policy, b.field.to_string(), b.detail.to_string()))
        };
        let told = |policy, field: &str, detail: &str| {
            Some((policy, format!("annotation {field}"), detail.to_owned()))
        };
        assert_eq!(of(""), None);
        assert_eq!(of(&note("load-balance", "round_robin")), told(Policy::RoundRobin, "load-balance", ""));
        assert_eq!(
            of(&note("load-balance", "ewma")),
            told(Policy::ResponseTime, "load-balance", "ewma: the faster of two random backends")
        );
        assert_eq!(
            of(&note("upstream-hash-by", "$request_uri")),
            told(Policy::ByRequest, "upstream-hash-by", "hash of $request_uri")
        );
        assert_eq!(of(&note("upstream-hash-by", "$binary_remote_addr")).unwrap().0, Policy::ByClient);
        assert_eq!(
            of(&note("affinity", "cookie")),
            told(
                Policy::ByClient,
                "affinity",
                "a client keeps the backend that its cookie INGRESSCOOKIE says"
            )
        );
        let upstream = [note("load-balance", "ewma"), note("service-upstream", "true")].join(",");
        assert_eq!(of(&upstream), None, "kube-proxy chooses");
    }

    #[test]
    fn a_canary_has_the_place_of_its_ingress() {
        let main = read("", SPEC);
        let canary = |annotations: &[(&str, &str)]| {
            let notes: Vec<String> = [("canary", "true")]
                .iter()
                .chain(annotations)
                .map(|(name, value)| note(name, value))
                .collect();
            let route = read(&notes.join(","), &SPEC.replace(r#""name":"web""#, r#""name":"web-next""#));
            assert_eq!(route.rules[0].at, main.rules[0].at);
            (route.rules[0].targets[0].weight, route.rules[0].rest, route.rules[0].conditional)
        };
        assert_eq!(main.rules.len(), 1, "a bucket is no Service");
        assert_eq!(canary(&[("canary-weight", "20")]), (20, Some(80), false));
        assert_eq!(
            canary(&[("canary-weight", "20"), ("canary-weight-total", "1000")]),
            (20, Some(980), false)
        );
        assert_eq!(canary(&[("canary-weight", "200")]), (100, Some(0), false));
        assert_eq!(canary(&[("canary-weight", "5"), ("canary-by-header", "x-next")]), (5, Some(95), true));
        assert_eq!(canary(&[("canary-by-cookie", "next")]), (1, None, true));
        assert_eq!(canary(&[]), (0, None, true));
        let default = read("", r#"{"defaultBackend":{"service":{"name":"web"}}}"#);
        assert_eq!(default.rules[0].targets[0].host.name, "web");
        assert!(default.rules[0].at != main.rules[0].at && default.rules[0].at != 0);
        assert!(read("", "null").rules.is_empty());
    }
}
