//! Istio's VirtualServices and DestinationRules.

use std::sync::Arc;

use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::route::{Balancer, Host, NoShare, Route, RouteRule, Scope, Subset, Target};
use pilothouse_core::domain::selector::Selector;
use pilothouse_core::domain::traffic::Policy;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::{Labels, Meta, Pools, Text, read};
use super::{head, weight};
use crate::wire::list_watch::DecodeError;

/// The Service that a host stands for. A name without dots is of the object's namespace. `None` for a host outside of the
/// cluster.
fn host(pools: &mut Pools, namespace: &str, text: &str) -> Option<Host> {
    let mut labels = text.split('.');
    let (name, of, svc) = (labels.next().unwrap_or_default(), labels.next(), labels.next());
    let (namespace, name) = match (name, of, svc) {
        ("", ..) => return None,
        ("*", None | Some("local"), None) | ("*", Some("svc" | "cluster"), _) => ("*", "*"),
        ("*", None, _) => (namespace, "*"),
        (name, None, _) => (namespace, name),
        (name, Some(of), None | Some("svc")) => (of, name),
        _ => return None,
    };
    Some(Host { namespace: pools.name(namespace), name: pools.name(name) })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VirtualServiceDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<VirtualServiceSpec<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VirtualServiceSpec<'a> {
    #[serde(borrow)]
    hosts: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    http: Option<Vec<HttpRule<'a>>>,
    #[serde(borrow)]
    tls: Option<Vec<HttpRule<'a>>>,
    #[serde(borrow)]
    tcp: Option<Vec<HttpRule<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HttpRule<'a> {
    #[serde(rename = "match")]
    matches: Option<Vec<HttpMatch>>,
    #[serde(borrow)]
    route: Option<Vec<Weighted<'a>>>,
}

/// What narrows a match down to some of the requests to a path.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpMatch {
    headers: Option<IgnoredAny>,
    without_headers: Option<IgnoredAny>,
    query_params: Option<IgnoredAny>,
    method: Option<IgnoredAny>,
    source_labels: Option<IgnoredAny>,
    source_namespace: Option<IgnoredAny>,
}

impl HttpMatch {
    fn is_conditional(&self) -> bool {
        [
            &self.headers,
            &self.without_headers,
            &self.query_params,
            &self.method,
            &self.source_labels,
            &self.source_namespace,
        ]
        .into_iter()
        .any(Option::is_some)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Weighted<'a> {
    #[serde(borrow)]
    destination: Option<Destination<'a>>,
    weight: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Destination<'a> {
    #[serde(borrow)]
    host: Text<'a>,
    #[serde(borrow)]
    subset: Text<'a>,
}

/// A VirtualService from its JSON.
pub(super) fn virtual_service(pools: &mut Pools, json: &[u8]) -> Result<Route, DecodeError> {
    let doc: VirtualServiceDoc<'_> = read(json)?;
    let route = head(Kind::VirtualService, pools, &doc.metadata)?;
    let namespace = &doc.metadata.namespace;
    let spec = doc.spec.unwrap_or_default();
    let hosts = spec.hosts.iter().flatten();
    let roots = hosts.filter_map(|text| host(pools, namespace, text)).filter(|host| host.name != "*");
    let roots: Arc<[Host]> = roots.collect();
    let mut rules = Vec::new();
    for rule in [&spec.http, &spec.tls, &spec.tcp].into_iter().flatten().flatten() {
        let matches = rule.matches.as_deref().unwrap_or_default();
        let conditional = !matches.is_empty() && matches.iter().all(HttpMatch::is_conditional);
        let destinations = rule.route.as_deref().unwrap_or_default();
        // a single destination needs no weight
        let default = u32::from(destinations.len() == 1);
        let mut targets = Vec::new();
        for weighted in destinations {
            let Some(destination) = &weighted.destination else { continue };
            let named = host(pools, namespace, &destination.host);
            let foreign = named.is_none();
            targets.push(Target {
                host: named
                    .unwrap_or_else(|| Host { name: pools.name(&destination.host), ..Host::default() }),
                subset: pools.some(&destination.subset),
                weight: weight(weighted.weight, default),
                foreign,
            });
        }
        if !targets.is_empty() {
            rules.push(RouteRule { conditional, targets: targets.into(), ..RouteRule::default() });
        }
    }
    Ok(Route { roots, rules: rules.into(), ..route })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuleDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<RuleSpec<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuleSpec<'a> {
    #[serde(borrow)]
    host: Text<'a>,
    #[serde(borrow)]
    traffic_policy: Option<TrafficPolicy<'a>>,
    #[serde(borrow)]
    subsets: Option<Vec<SubsetDoc<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SubsetDoc<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    labels: Labels<'a>,
    #[serde(borrow)]
    traffic_policy: Option<TrafficPolicy<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TrafficPolicy<'a> {
    #[serde(borrow)]
    load_balancer: Option<LoadBalancer<'a>>,
    outlier_detection: Option<IgnoredAny>,
    #[serde(borrow)]
    port_level_settings: Option<Vec<PortPolicy<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PortPolicy<'a> {
    port: Option<Port>,
    #[serde(borrow)]
    load_balancer: Option<LoadBalancer<'a>>,
    outlier_detection: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Port {
    number: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LoadBalancer<'a> {
    #[serde(borrow)]
    simple: Text<'a>,
    #[serde(borrow)]
    consistent_hash: Option<ConsistentHash<'a>>,
    locality_lb_setting: Option<Locality>,
    #[serde(borrow)]
    warmup_duration_secs: Text<'a>,
    #[serde(borrow)]
    warmup: Option<Warmup<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConsistentHash<'a> {
    #[serde(borrow)]
    http_header_name: Text<'a>,
    #[serde(borrow)]
    http_query_parameter_name: Text<'a>,
    #[serde(borrow)]
    http_cookie: Option<Cookie<'a>>,
    use_source_ip: Option<bool>,
    maglev: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cookie<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Locality {
    enabled: Option<bool>,
    distribute: Option<Vec<IgnoredAny>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Warmup<'a> {
    #[serde(borrow)]
    duration: Text<'a>,
}

impl ConsistentHash<'_> {
    fn policy(&self) -> (Policy, String) {
        let algorithm = if self.maglev.is_some() { "maglev" } else { "ring hash" };
        let (policy, of) = if !self.http_header_name.is_empty() {
            (Policy::ByRequest, format!("header {}", &*self.http_header_name))
        } else if !self.http_query_parameter_name.is_empty() {
            (Policy::ByRequest, format!("query parameter {}", &*self.http_query_parameter_name))
        } else if let Some(cookie) = &self.http_cookie {
            (Policy::ByClient, format!("cookie {}", &*cookie.name))
        } else if self.use_source_ip == Some(true) {
            (Policy::ByClient, "the source IP".to_owned())
        } else {
            // without a key, Envoy hashes nothing that is known
            (Policy::ByRequest, "nothing that is named".to_owned())
        };
        (policy, format!("{algorithm} of {of}"))
    }
}

/// How a `trafficPolicy` balances; `None` if it leaves that to a wider one.
fn balancer(
    pools: &mut Pools,
    scope: Scope,
    balancer: Option<&LoadBalancer<'_>>,
    outliers: bool,
) -> Option<Balancer> {
    let locality = balancer.and_then(|b| b.locality_lb_setting.as_ref());
    if balancer.is_none() && !outliers {
        return None;
    }
    let none = LoadBalancer::default();
    let b = balancer.unwrap_or(&none);
    let (policy, mut detail) = match (&b.consistent_hash, &*b.simple) {
        (Some(hash), _) => hash.policy(),
        (None, "ROUND_ROBIN") => (Policy::RoundRobin, String::new()),
        (None, "RANDOM") => (Policy::Random, String::new()),
        (None, "PASSTHROUGH") => {
            (Policy::Random, "PASSTHROUGH: kube-proxy chooses a backend for each connection".to_owned())
        }
        (None, "LEAST_REQUEST" | "LEAST_CONN") => {
            (Policy::LeastConnections, "LEAST_REQUEST: the less busy of two random backends".to_owned())
        }
        (None, _) => (
            Policy::LeastConnections,
            "Istio's default, LEAST_REQUEST: the less busy of two random backends".to_owned(),
        ),
    };
    let warmup = b.warmup.as_ref().map_or(&b.warmup_duration_secs, |warmup| &warmup.duration);
    if !warmup.is_empty() {
        let comma = if detail.is_empty() { "" } else { ", " };
        detail = format!("{detail}{comma}a new backend gets less for {}", &**warmup);
    }
    // Istio's mesh config enables locality, and detected outliers make it take effect
    let disabled = locality.is_some_and(|l| l.enabled == Some(false));
    let distributes = locality.is_some_and(|l| l.distribute.as_ref().is_some_and(|d| !d.is_empty()));
    let near = !disabled && (outliers || distributes);
    Some(Balancer {
        scope,
        policy,
        detail: pools.name(&detail),
        no_share: near.then_some(NoShare::Locality),
        ..Balancer::default()
    })
}

/// A DestinationRule from its JSON.
pub(super) fn destination_rule(pools: &mut Pools, json: &[u8]) -> Result<Route, DecodeError> {
    let doc: RuleDoc<'_> = read(json)?;
    let route = head(Kind::DestinationRule, pools, &doc.metadata)?;
    let spec = doc.spec.unwrap_or_default();
    let Some(named) = host(pools, &doc.metadata.namespace, &spec.host) else { return Ok(route) };
    let mut balancers = Vec::new();
    if let Some(policy) = &spec.traffic_policy {
        let outliers = policy.outlier_detection.is_some();
        balancers.extend(balancer(pools, Scope::All, policy.load_balancer.as_ref(), outliers));
        for port in policy.port_level_settings.iter().flatten() {
            let number = port.port.as_ref().and_then(|port| u16::try_from(port.number?).ok());
            let outliers = port.outlier_detection.is_some();
            if let Some(number) = number {
                let found = balancer(pools, Scope::Port(number), port.load_balancer.as_ref(), outliers);
                balancers.extend(found);
            }
        }
    }
    let mut subsets = Vec::new();
    for subset in spec.subsets.iter().flatten() {
        let name = pools.name(&subset.name);
        if let Some(policy) = &subset.traffic_policy {
            let outliers = policy.outlier_detection.is_some();
            let scope = Scope::Subset(name.clone());
            balancers.extend(balancer(pools, scope, policy.load_balancer.as_ref(), outliers));
        }
        let selector = Selector::from_labels(pools.pairs(&subset.labels));
        subsets.push(Subset { name, selector: pools.share_selector(selector) });
    }
    let target = Target { host: named, ..Target::default() };
    let rule = RouteRule { targets: [target].into(), ..RouteRule::default() };
    Ok(Route { rules: [rule].into(), balancers: balancers.into(), subsets: subsets.into(), ..route })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_services_if_their_names_say_so() {
        let of = |text: &str| {
            let host = host(&mut Pools::default(), "shop", text);
            host.map_or_else(String::new, |host| format!("{}/{}", host.namespace, host.name))
        };
        for (text, service) in [
            ("reviews", "shop/reviews"),
            ("reviews.prod", "prod/reviews"),
            ("reviews.prod.svc.cluster.local", "prod/reviews"),
            ("*.prod.svc.cluster.local", "prod/*"),
            ("*", "*/*"),
            ("*.local", "*/*"),
            ("*.svc.cluster.local", "*/*"),
            ("www.example.com", ""),
            ("", ""),
        ] {
            assert_eq!(of(text), service, "{text}");
        }
    }

    #[test]
    fn virtual_services() {
        // the reviews of Istio's Bookinfo: one user sees v3, the others v1 and v2
        let json = br#"{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"reviews","namespace":"default","uid":"u"},
            "spec":{"hosts":["reviews","reviews.example.com"],"http":[
                {"match":[{"headers":{"end-user":{"exact":"jason"}}}],"route":[{"destination":{"host":"reviews","subset":"v3"}}]},
                {"match":[{"uri":{"prefix":"/"}}],"route":[{"destination":{"host":"reviews","subset":"v1"},"weight":90},
                    {"destination":{"host":"reviews.default.svc.cluster.local","subset":"v2","port":{"number":9080}},"weight":10},
                    {"destination":{"host":"api.example.com"},"weight":0}]}],
                "tcp":[{"route":[{"destination":{"host":"db"}}]}]}}"#;
        let route = virtual_service(&mut Pools::default(), json).unwrap();
        assert_eq!(route.roots.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["reviews"]);
        let told = |rule: &RouteRule| {
            let target = |t: &Target| {
                let subset = t.subset.as_ref().map_or("", |s| s.as_str());
                format!("{}/{}/{subset} {}", t.host.namespace, t.host.name, t.weight)
            };
            let targets: Vec<String> = rule.targets.iter().map(target).collect();
            format!("{}{}", if rule.conditional { "if " } else { "" }, targets.join(", "))
        };
        let rules: Vec<String> = route.rules.iter().map(told).collect();
        assert_eq!(
            rules,
            [
                "if default/reviews/v3 1",
                "default/reviews/v1 90, default/reviews/v2 10, /api.example.com/ 0",
                "default/db/ 1"
            ]
        );
        assert!(route.rules[1].targets[2].foreign);
        assert!(
            virtual_service(
                &mut Pools::default(),
                br#"{"metadata":{"name":"v","uid":"u"},"spec":{"http":[{"route":null}]}}"#
            )
            .unwrap()
            .rules
            .is_empty()
        );
    }

    fn rule(spec: &str) -> Route {
        let json = format!(
            r#"{{"metadata":{{"name":"r","namespace":"shop","uid":"u"}},"spec":{{"host":"web"{spec}}}}}"#
        );
        destination_rule(&mut Pools::default(), json.as_bytes()).unwrap()
    }

    #[test]
    fn policies_of_destination_rules() {
        let balanced = |policy: &str| {
            let found = rule(&format!(r#","trafficPolicy":{{{policy}}}"#)).balancers.first().cloned();
            found.map(|b| (b.policy.as_str(), b.detail.to_string(), b.no_share))
        };
        let hash =
            |key: &str| balanced(&format!(r#""loadBalancer":{{"consistentHash":{{{key}}}}}"#)).unwrap();
        for (policy, word, detail, no_share) in [
            (r#""loadBalancer":{"simple":"ROUND_ROBIN"}"#, "round robin", "", None),
            (r#""loadBalancer":{"simple":"RANDOM"}"#, "random", "", None),
            (
                r#""loadBalancer":{"simple":"LEAST_REQUEST"}"#,
                "least connections",
                "LEAST_REQUEST: the less busy of two random backends",
                None,
            ),
            (
                r#""loadBalancer":{"simple":"PASSTHROUGH"}"#,
                "random",
                "PASSTHROUGH: kube-proxy chooses a backend for each connection",
                None,
            ),
            (
                r#""loadBalancer":{"simple":"ROUND_ROBIN","warmupDurationSecs":"30s"}"#,
                "round robin",
                "a new backend gets less for 30s",
                None,
            ),
            (
                r#""loadBalancer":{"simple":"ROUND_ROBIN","warmup":{"duration":"60s","aggression":1}}"#,
                "round robin",
                "a new backend gets less for 60s",
                None,
            ),
            (
                r#""loadBalancer":{"simple":"RANDOM","localityLbSetting":{"enabled":true,"distribute":[{"from":"a/*"}]}}"#,
                "random",
                "",
                Some(NoShare::Locality),
            ),
            (
                r#""loadBalancer":{"simple":"RANDOM","localityLbSetting":{"enabled":false}},"outlierDetection":{"consecutive5xxErrors":5}"#,
                "random",
                "",
                None,
            ),
            (
                r#""outlierDetection":{"consecutive5xxErrors":5}"#,
                "least connections",
                "Istio's default, LEAST_REQUEST: the less busy of two random backends",
                Some(NoShare::Locality),
            ),
        ] {
            assert_eq!(balanced(policy), Some((word, detail.to_owned(), no_share)), "{policy}");
        }
        assert_eq!(balanced(r#""connectionPool":{}"#), None);
        for (key, word, detail) in [
            (r#""httpHeaderName":"x-user""#, "by request", "ring hash of header x-user"),
            (
                r#""httpQueryParameterName":"id","maglev":{"tableSize":65537}"#,
                "by request",
                "maglev of query parameter id",
            ),
            (r#""httpCookie":{"name":"user","ttl":"0s"}"#, "by client", "ring hash of cookie user"),
            (
                r#""useSourceIp":true,"ringHash":{"minimumRingSize":1024}"#,
                "by client",
                "ring hash of the source IP",
            ),
        ] {
            assert_eq!(hash(key), (word, detail.to_owned(), None));
        }
    }

    #[test]
    fn subsets_and_ports_have_policies_of_their_own() {
        let route = rule(
            r#","trafficPolicy":{"portLevelSettings":[{"port":{"number":80},"loadBalancer":{"simple":"RANDOM"}}]},
            "subsets":[{"name":"v1","labels":{"version":"v1"}},{"name":"v2","labels":{"version":"v2"},"trafficPolicy":{"loadBalancer":{"simple":"ROUND_ROBIN"}}}]"#,
        );
        let told: Vec<_> = route.balancers.iter().map(|b| (b.scope.clone(), b.policy)).collect();
        assert_eq!(
            told,
            [(Scope::Port(80), Policy::Random), (Scope::Subset("v2".into()), Policy::RoundRobin)]
        );
        assert!(route.subsets[0].selector.matches(&[("version".into(), "v1".into())]));
        assert_eq!(route.rules[0].targets[0].host.name, "web");
        let outside =
            br#"{"metadata":{"name":"r","namespace":"shop","uid":"u"},"spec":{"host":"www.example.com"}}"#;
        assert!(destination_rule(&mut Pools::default(), outside).unwrap().rules.is_empty());
    }
}
