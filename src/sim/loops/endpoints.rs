//! EndpointSlices and Endpoints: the pods behind a Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::doc::{change, is_finished, is_ready, list, map_of, put, text};
use super::feed::{Feed, News, Queue};
use super::members::Members;
use super::scheduler::ZONE;
use crate::engine::Part;
use crate::resources::Res;
use crate::rng::suffix_of;
use crate::selector::Labels;
use crate::store::{Delete, Key, Object, Store, Write};

const MANAGER: &str = "kube-controller-manager";
/// Endpoints in one slice.
const FULL: usize = 100;
const SERVICE: &str = "kubernetes.io/service-name";

#[derive(Debug)]
pub(super) struct Endpoints {
    store: Store,
    services: Feed,
    pods: Feed,
    members: Members,
    queue: Queue<Key>,
}

/// The number of a Service's target port on a pod.
fn target(pod: Option<&Object>, port: &Value) -> Option<i64> {
    match port.get("targetPort") {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(name)) => {
            let containers = list(&pod?.value, "/spec/containers").iter();
            let mut ports = containers.flat_map(|container| list(container, "/ports"));
            ports.find(|one| text(one, "name") == name)?.get("containerPort")?.as_i64()
        }
        _ => port.get("port")?.as_i64(),
    }
}

/// The ports of a slice, as numbers on its pods.
fn ports(service: &Object, pod: Option<&Object>) -> Vec<Value> {
    let one = |port: &Value| {
        let number = target(pod, port)?;
        let protocol = if text(port, "protocol").is_empty() { "TCP" } else { text(port, "protocol") };
        let mut out = json!({"name": text(port, "name"), "port": number, "protocol": protocol});
        if let Some(protocol) = port.get("appProtocol") {
            put(&mut out, &["appProtocol"], protocol.clone());
        }
        Some(out)
    };
    list(&service.value, "/spec/ports").iter().filter_map(one).collect()
}

fn reference(pod: &Object) -> Value {
    json!({"kind": "Pod", "name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()})
}

impl Endpoints {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            services: Feed::new(store, Res::Services),
            pods: Feed::new(store, Res::Pods),
            members: Members::default(),
            queue: Queue::default(),
        }
    }

    fn listen(&mut self) {
        for news in self.services.read() {
            match news {
                News::Reset => {}
                News::Now(service, _) => {
                    let key = service.key();
                    // A Service without a selector, or of type ExternalName, has slices that are managed by hand.
                    let selector = Labels::of_map(service.at("/spec/selector"));
                    if selector == Labels::none() || service.text("/spec/type") == "ExternalName" {
                        self.members.forget(&key);
                    } else {
                        self.members.set(&self.store, &key, selector);
                        self.queue.mark(key);
                    }
                }
                News::Gone(service) => {
                    let key = service.key();
                    self.members.forget(&key);
                    self.queue.forget(&key);
                    self.remove(&key);
                }
            }
        }
        self.members.pods(self.pods.read(), &mut self.queue);
    }

    fn slices(&self, service: &Object) -> Vec<Arc<Object>> {
        let mut all = self.store.owned_by(Res::EndpointSlices, service.uid());
        all.retain(|slice| {
            slice.label(SERVICE) == Some(service.name())
                && slice.label("endpointslice.kubernetes.io/managed-by")
                    == Some("endpointslice-controller.k8s.io")
        });
        all
    }

    fn remove(&self, key: &Key) {
        // Garbage collection deletes its slices; a Service that never had Endpoints has none to delete.
        drop(self.store.delete(Res::Endpoints, &key.namespace, &key.name, &Delete::now()));
    }

    fn endpoint(&self, service: &Object, pod: &Object) -> Value {
        let ready = is_ready(pod);
        let anyway = service.at("/spec/publishNotReadyAddresses") == &Value::Bool(true);
        let mut out = json!({"addresses": [pod.text("/status/podIP")], "nodeName": pod.text("/spec/nodeName"),
            "conditions": {"ready": anyway || ready && !pod.is_terminating(), "serving": ready,
                "terminating": pod.is_terminating()}, "targetRef": reference(pod)});
        let node = self.store.get(Res::Nodes, "", pod.text("/spec/nodeName"));
        if let Some(zone) = node.as_ref().and_then(|node| node.label(ZONE)) {
            put(&mut out, &["zone"], json!(zone));
        }
        let subdomain = pod.text("/spec/subdomain");
        if subdomain == service.name() && !pod.text("/spec/hostname").is_empty() {
            put(&mut out, &["hostname"], json!(pod.text("/spec/hostname")));
        }
        out
    }

    fn sync(&mut self, key: &Key) {
        let Some(service) = self.store.get(Res::Services, &key.namespace, &key.name) else { return };
        let mut pods = self.members.of(&self.store, key);
        pods.retain(|pod| !pod.text("/status/podIP").is_empty() && !is_finished(pod));
        let ports = ports(&service, pods.first().map(Arc::as_ref));
        let mut wanted: BTreeMap<String, Value> =
            pods.iter().map(|pod| (pod.uid().to_owned(), self.endpoint(&service, pod))).collect();
        let old = self.slices(&service);
        // An endpoint stays in its slice, so that a change of one pod affects one slice.
        let mut filled: Vec<(Option<Arc<Object>>, Vec<Value>)> = Vec::new();
        for slice in old {
            let uids = list(&slice.value, "/endpoints").iter().map(|one| one.pointer("/targetRef/uid"));
            let uids = uids.flatten().filter_map(Value::as_str);
            let kept = uids.filter_map(|uid| wanted.remove(uid)).collect();
            filled.push((Some(slice.clone()), kept));
        }
        let mut rest = wanted.into_values();
        for (_, slice) in &mut filled {
            let room = FULL.saturating_sub(slice.len());
            slice.extend(rest.by_ref().take(room));
        }
        loop {
            let more: Vec<Value> = rest.by_ref().take(FULL).collect();
            if more.is_empty() && !filled.is_empty() {
                break;
            }
            filled.push((None, more));
        }
        let any = filled.iter().any(|(_, endpoints)| !endpoints.is_empty());
        let mut kept = 0;
        let mut nth = 0;
        for (slice, endpoints) in filled {
            // One empty slice shows that there is no endpoint; more are not needed.
            if endpoints.is_empty() && (any || kept > 0) {
                if let Some(slice) = slice {
                    drop(self.store.delete(
                        Res::EndpointSlices,
                        &key.namespace,
                        slice.name(),
                        &Delete::now(),
                    ));
                }
                continue;
            }
            kept += 1;
            self.put_slice(&service, slice.as_deref(), &endpoints, &ports, &mut nth);
        }
        self.classic(&service, &pods, &ports);
    }

    fn put_slice(
        &self,
        service: &Object,
        old: Option<&Object>,
        endpoints: &[Value],
        ports: &[Value],
        nth: &mut u64,
    ) {
        let mut labels = map_of(&service.value, "/metadata/labels");
        labels.insert(SERVICE.into(), json!(service.name()));
        labels.insert(
            "endpointslice.kubernetes.io/managed-by".into(),
            json!("endpointslice-controller.k8s.io"),
        );
        if service.text("/spec/clusterIP") == "None" {
            labels.insert("service.kubernetes.io/headless".into(), json!(""));
        }
        let ports = if endpoints.is_empty() { Value::Null } else { json!(ports) };
        if let Some(old) = old {
            // A slice that was just deleted is created again at the next change.
            drop(change(&self.store, old, MANAGER, |value| {
                put(value, &["metadata", "labels"], Value::Object(labels));
                put(value, &["endpoints"], json!(endpoints));
                put(value, &["ports"], ports);
            }));
            return;
        }
        for _ in 0..100 {
            *nth += 1;
            let key = ["slice", service.namespace(), service.name(), &nth.to_string()];
            let name = format!("{}-{}", service.name(), suffix_of(&mut self.store.random().keyed(&key), 5));
            let slice = json!({"metadata": {"name": name, "generateName": format!("{}-", service.name()),
                    "namespace": service.namespace(), "labels": labels, "ownerReferences": [super::doc::owner(service)]},
                "addressType": "IPv4", "endpoints": endpoints, "ports": ports});
            match self.store.create(Res::EndpointSlices, slice, &Write::by(MANAGER)) {
                Err(why) if why.reason == "AlreadyExists" => {}
                _ => return,
            }
        }
    }

    /// The older form of the same endpoints.
    fn classic(&self, service: &Object, pods: &[Arc<Object>], ports: &[Value]) {
        let anyway = service.at("/spec/publishNotReadyAddresses") == &Value::Bool(true);
        let mut subset = Map::new();
        let (mut ready, mut not) = (Vec::new(), Vec::new());
        for pod in pods.iter().filter(|pod| anyway || !pod.is_terminating()) {
            let address = json!({"ip": pod.text("/status/podIP"), "nodeName": pod.text("/spec/nodeName"), "targetRef": reference(pod)});
            if anyway || is_ready(pod) { ready.push(address) } else { not.push(address) }
        }
        for (field, addresses) in [("addresses", ready), ("notReadyAddresses", not)] {
            if !addresses.is_empty() {
                subset.insert(field.into(), json!(addresses));
            }
        }
        let subsets = if subset.is_empty() {
            Value::Null
        } else {
            subset.insert("ports".into(), json!(ports));
            json!([subset])
        };
        let labels = service.labels().clone();
        let written =
            self.store.update(Res::Endpoints, service.namespace(), service.name(), MANAGER, |value| {
                put(value, &["subsets"], subsets.clone());
            });
        if written.is_err() {
            let mut new = json!({"metadata": {"name": service.name(), "namespace": service.namespace(), "labels": labels}});
            put(&mut new, &["subsets"], subsets);
            // Nothing is created in a namespace that is being deleted.
            drop(self.store.create(Res::Endpoints, new, &Write::by(MANAGER)));
        }
    }
}

impl Part for Endpoints {
    fn name(&self) -> &'static str {
        "endpoints"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.listen();
        for key in self.queue.take(at) {
            self.sync(&key);
        }
        None
    }
}
