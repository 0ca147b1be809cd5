//! Services and EndpointSlices.

use pilothouse_core::domain::id::{Kind, Uid};
use pilothouse_core::domain::selector::Selector;
use pilothouse_core::domain::service::{
    APP_LABELS, Distribution, Endpoint, EndpointSlice, Service, ServicePort, ServiceType,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Decode, Decoder, Labels, Meta, Pools, Text, pooled, read, single};
use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<ServiceSpec<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, rename = "clusterIP")]
    cluster_ip: Text<'a>,
    #[serde(borrow)]
    session_affinity: Text<'a>,
    #[serde(borrow)]
    selector: Labels<'a>,
    publish_not_ready_addresses: Option<bool>,
    session_affinity_config: Option<AffinityConfig>,
    #[serde(borrow)]
    internal_traffic_policy: Text<'a>,
    #[serde(borrow)]
    traffic_distribution: Text<'a>,
    #[serde(borrow)]
    ports: Option<Vec<PortDoc<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PortDoc<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    protocol: Text<'a>,
    #[serde(borrow)]
    app_protocol: Text<'a>,
    port: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AffinityConfig {
    #[serde(rename = "clientIP")]
    client_ip: Option<ClientIp>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientIp {
    timeout_seconds: Option<i64>,
}

/// The API's default for `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_SECS: u32 = 10_800;

impl Decode for Service {
    fn decoder(_: &Kind, _: &Clock) -> Decoder<Self> {
        pooled(service)
    }
}

/// A Service from its JSON.
pub fn service(pools: &mut Pools, json: &[u8]) -> Result<Service, DecodeError> {
    let doc: ServiceDoc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check("service")?;
    let spec = doc.spec.unwrap_or_default();
    let selector = Selector::from_labels(pools.pairs(&spec.selector));
    let sticky = &*spec.session_affinity == "ClientIP";
    let config = spec.session_affinity_config.and_then(|config| config.client_ip?.timeout_seconds);
    let timeout = config.and_then(|secs| u32::try_from(secs).ok());
    // UDP has no HTTP, and port 0 does not exist
    let tcp = |port: &&PortDoc<'_>| matches!(&*port.protocol, "" | "TCP") && port.port != Some(0);
    let ports = spec.ports.iter().flatten().filter(tcp).filter_map(|port| {
        let https = &*port.app_protocol == "https";
        Some(ServicePort { name: pools.name(&port.name), port: port.port?, https })
    });
    let ports = ports.collect();
    let app = APP_LABELS.iter().filter_map(|key| Some((*key, meta.labels.get(key)?)));
    let app = app.map(|(key, value)| (pools.name(key), pools.name(value))).collect();
    Ok(Service {
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name: pools.name(&meta.name),
        created: meta.created(),
        kind: match &*spec.kind {
            "NodePort" => ServiceType::NodePort,
            "LoadBalancer" => ServiceType::LoadBalancer,
            "ExternalName" => ServiceType::ExternalName,
            _ => ServiceType::ClusterIp,
        },
        headless: &*spec.cluster_ip == "None",
        sticky,
        sticky_secs: if sticky { timeout.unwrap_or(AFFINITY_SECS) } else { 0 },
        local: &*spec.internal_traffic_policy == "Local",
        distribution: match &*spec.traffic_distribution {
            "PreferClose" | "PreferSameZone" => Distribution::SameZone,
            "PreferSameNode" => Distribution::SameNode,
            _ => Distribution::Anywhere,
        },
        selector: pools.share_selector(selector),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        ports,
        app,
    })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SliceDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    address_type: Text<'a>,
    #[serde(borrow)]
    endpoints: Option<Vec<EndpointDoc<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EndpointDoc<'a> {
    #[serde(borrow)]
    addresses: Option<Vec<Text<'a>>>,
    conditions: Option<Conditions>,
    #[serde(borrow)]
    target_ref: Option<TargetRef<'a>>,
    #[serde(borrow)]
    node_name: Text<'a>,
    #[serde(borrow)]
    zone: Text<'a>,
    hints: Option<Hints>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hints {
    for_zones: Option<Vec<IgnoredAny>>,
    for_nodes: Option<Vec<IgnoredAny>>,
}

impl Hints {
    fn is_empty(&self) -> bool {
        [&self.for_zones, &self.for_nodes].into_iter().flatten().all(Vec::is_empty)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TargetRef<'a> {
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    uid: Text<'a>,
}

impl Decode for EndpointSlice {
    fn decoder(_: &Kind, _: &Clock) -> Decoder<Self> {
        pooled(endpoint_slice)
    }
}

/// An EndpointSlice from its JSON.
pub fn endpoint_slice(pools: &mut Pools, json: &[u8]) -> Result<EndpointSlice, DecodeError> {
    let doc: SliceDoc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check("endpointslice")?;
    let all = || doc.endpoints.iter().flatten();
    let ready = |e: &&EndpointDoc<'_>| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
    let is_hinted = |e: &EndpointDoc<'_>| e.hints.as_ref().is_some_and(|hints| !hints.is_empty());
    let hinted = all().any(is_hinted) && all().filter(ready).all(is_hinted);
    let endpoints = all()
        .map(|e| {
            let conditions = e.conditions.as_ref();
            let pod = e.target_ref.as_ref().filter(|t| &*t.kind == "Pod" && !t.name.is_empty());
            // `ready: null` means ready, and a missing `serving` has the value of `ready`
            let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
            Endpoint {
                address: e.addresses.iter().flatten().next().map(|a| single(a)).unwrap_or_default(),
                pod: pod.map(|t| single(&t.name)),
                pod_uid: pod.filter(|t| !t.uid.is_empty()).map(|t| Uid::parse(&t.uid)),
                ready,
                serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
                terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
                node: pools.some(&e.node_name),
                zone: pools.some(&e.zone),
            }
        })
        .collect();
    Ok(EndpointSlice {
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name: single(&meta.name),
        service: pools.name(meta.labels.get("kubernetes.io/service-name").unwrap_or_default()),
        address_type: pools.name(&doc.address_type),
        endpoints,
        hinted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services() {
        let json = br#"{"metadata":{"name":"s","namespace":"n","uid":"u"},"spec":{"type":"LoadBalancer","clusterIP":"None","sessionAffinity":"ClientIP","selector":{"app":"a"}}}"#;
        let service = service(&mut Pools::default(), json).unwrap();
        assert!(service.headless && service.sticky && service.kind == ServiceType::LoadBalancer);
        assert!(service.selector.matches(&[("app".into(), "a".into())]));
        let by_hand = super::service(
            &mut Pools::default(),
            br#"{"metadata":{"name":"s","uid":"u"},"spec":{"selector":null}}"#,
        );
        let by_hand = by_hand.unwrap();
        assert!(by_hand.selector.is_empty() && by_hand.ports.is_empty() && by_hand.app.is_empty());
    }

    #[test]
    fn a_service_keeps_its_tcp_ports_and_the_labels_that_name_its_application() {
        let json = br#"{"metadata":{"name":"s","uid":"u","labels":{"app":"a","team":"x","app.kubernetes.io/name":"prometheus\u001b"}},
            "spec":{"selector":{"component":"server","app":"b"},"ports":[{"name":"web","port":9090,"targetPort":"web","protocol":"TCP"},
            {"port":443,"appProtocol":"https"},{"name":"dns","port":53,"protocol":"UDP"},{"name":"none"},{"port":0}]}}"#;
        let service = service(&mut Pools::default(), json).unwrap();
        let ports: Vec<_> = service.ports.iter().map(|p| (p.name.as_str(), p.port, p.https)).collect();
        assert_eq!(ports, [("web", 9090, false), ("", 443, true)]);
        let label = |key| service.app_label(key).map(pilothouse_core::domain::id::Name::as_str);
        assert_eq!(label("app"), Some("a"));
        assert_eq!(label("app.kubernetes.io/name"), Some("prometheus␛"));
        assert_eq!((label("component"), label("team")), (Some("server"), None));
        let nulls = br#"{"metadata":{"name":"s","uid":"u","labels":null},"spec":{"ports":null}}"#;
        assert!(super::service(&mut Pools::default(), nulls).unwrap().ports.is_empty());
    }

    #[test]
    fn where_clients_are_sent() {
        let read = |spec: &str| {
            let json =
                format!(r#"{{"metadata":{{"name":"s","namespace":"n","uid":"u"}},"spec":{{{spec}}}}}"#);
            let service = service(&mut Pools::default(), json.as_bytes()).unwrap();
            (service.sticky_secs, service.local, service.distribution)
        };
        let sticky =
            r#""sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}}"#;
        assert_eq!(read(sticky), (60, false, Distribution::Anywhere));
        assert_eq!(read(r#""sessionAffinity":"ClientIP""#).0, 10_800);
        assert_eq!(read(r#""internalTrafficPolicy":"Local""#), (0, true, Distribution::Anywhere));
        for (word, distribution) in [
            ("PreferClose", Distribution::SameZone),
            ("PreferSameZone", Distribution::SameZone),
            ("PreferSameNode", Distribution::SameNode),
            ("", Distribution::Anywhere),
        ] {
            assert_eq!(read(&format!(r#""trafficDistribution":"{word}""#)).2, distribution);
        }
        let hinted = |endpoints: &str| {
            let json = format!(r#"{{"metadata":{{"name":"s-1","uid":"u"}},"endpoints":[{endpoints}]}}"#);
            endpoint_slice(&mut Pools::default(), json.as_bytes()).unwrap().hinted
        };
        let (with, without) = (r#"{"hints":{"forZones":[{"name":"a"}]}}"#, r#"{"hints":{}}"#);
        assert!(hinted(&format!(r#"{with},{{"hints":{{"forNodes":[{{"name":"n"}}]}}}}"#)));
        assert!(!hinted(&format!("{with},{without}")) && !hinted(""));
        assert!(hinted(&format!(r#"{with},{{"conditions":{{"ready":false}}}}"#)), "it gets no requests");
    }

    #[test]
    fn an_endpoint_without_conditions_is_ready() {
        let json = br#"{"metadata":{"name":"s-1","uid":"u","labels":{"kubernetes.io/service-name":"s"}},"addressType":"IPv4","endpoints":[
            {"addresses":["10.0.0.1"],"targetRef":{"kind":"Pod","name":"p","uid":"x"}},{"addresses":["10.0.0.2"],"conditions":{"ready":false,"serving":true,"terminating":true}}]}"#;
        let slice = endpoint_slice(&mut Pools::default(), json).unwrap();
        let states: Vec<_> = slice.endpoints.iter().map(|e| (e.ready, e.serving, e.terminating)).collect();
        assert_eq!(states, [(true, true, false), (false, true, true)]);
        assert_eq!(slice.service, "s");
        let empty = br#"{"metadata":{"name":"s-1","uid":"u"},"endpoints":null}"#;
        assert!(endpoint_slice(&mut Pools::default(), empty).unwrap().endpoints.is_empty());
    }
}
