//! Resource quotas: their usage, and whether they allow one more pod. Pods of controllers are checked here; the API
//! server does not check the pods that clients create.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::doc::{is_finished, map_of, put, quantity, write_status};
use super::feed::{Feed, News, Queue};
use super::requests::effective;
use crate::engine::Part;
use crate::resources::Res;
use crate::status::Status;
use crate::store::{Key, Object, Store};

const NAME: &str = "kube-controller-manager";

/// The amount of a quota's resource that a pod's spec uses, in thousandths; `None` if the resource is not about pods.
fn taken(spec: &Value, resource: &str) -> Option<i64> {
    let limits = || {
        super::doc::list(spec, "/containers").iter().map(move |one| {
            let name = resource.strip_prefix("limits.").unwrap_or_default();
            quantity(one.pointer("/resources/limits").and_then(|map| map.get(name)).unwrap_or(&Value::Null))
        })
    };
    match resource {
        "pods" | "count/pods" => Some(1000),
        "cpu" | "memory" => Some(effective(spec).get(resource)),
        "limits.cpu" | "limits.memory" => Some(limits().sum()),
        _ => resource.strip_prefix("requests.").map(|name| effective(spec).get(name)),
    }
}

/// An amount in the form of quotas.
fn amount(milli: i64, resource: &str) -> String {
    if milli % 1000 != 0 {
        return format!("{milli}m");
    }
    let whole = milli / 1000;
    let memory = resource.ends_with("memory") || resource.ends_with("storage");
    for (unit, size) in [("Gi", 1_073_741_824), ("Mi", 1_048_576), ("Ki", 1024)] {
        if memory && whole > 0 && whole % size == 0 {
            return format!("{}{unit}", whole / size);
        }
    }
    whole.to_string()
}

fn used(store: &Store, quota: &Object) -> Map<String, Value> {
    let pods = store.list(Res::Pods, Some(quota.namespace()));
    let count = |res: Res| store.list(res, Some(quota.namespace())).len() as i64 * 1000;
    let one = |(name, _): (String, Value)| {
        let total = match name.as_str() {
            "services" | "count/services" => count(Res::Services),
            "configmaps" | "count/configmaps" => count(Res::ConfigMaps),
            "secrets" | "count/secrets" => count(Res::Secrets),
            "persistentvolumeclaims" => count(Res::PersistentVolumeClaims),
            "count/deployments.apps" => count(Res::Deployments),
            "count/jobs.batch" => count(Res::Jobs),
            _ => pods
                .iter()
                .filter(|pod| !is_finished(pod))
                .filter_map(|pod| taken(pod.at("/spec"), &name))
                .sum(),
        };
        let written = amount(total, &name);
        (name, json!(written))
    };
    map_of(&quota.value, "/spec/hard").into_iter().map(one).collect()
}

/// Refuses a pod that exceeds a quota.
pub(super) fn admit(store: &Store, namespace: &str, name: &str, pod: &Value) -> Result<(), Status> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    for quota in store.list(Res::ResourceQuotas, Some(namespace)) {
        let have = used(store, &quota);
        let hard = map_of(&quota.value, "/spec/hard");
        let (mut asked, mut held, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for (resource, limit) in &hard {
            let Some(takes) = taken(spec, resource) else { continue };
            let now = quantity(have.get(resource).unwrap_or(&Value::Null));
            if now + takes > quantity(limit) {
                asked.push(format!("{resource}={}", amount(takes, resource)));
                held.push(format!("{resource}={}", amount(now, resource)));
                limited.push(format!("{resource}={}", limit.as_str().unwrap_or_default()));
            }
        }
        if !asked.is_empty() {
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                quota.name(),
                asked.join(","),
                held.join(","),
                limited.join(",")
            );
            return Err(Status::forbidden("pods", "", name, &why));
        }
    }
    Ok(())
}

/// Updates the status of quotas.
#[derive(Debug)]
pub(super) struct Quotas {
    store: Store,
    quotas: Feed,
    pods: Feed,
    queue: Queue<Key>,
}

impl Quotas {
    pub(super) fn new(store: &Store) -> Self {
        let (quotas, pods) = (Feed::new(store, Res::ResourceQuotas), Feed::new(store, Res::Pods));
        Self { store: store.clone(), quotas, pods, queue: Queue::default() }
    }
}

impl Part for Quotas {
    fn name(&self) -> &'static str {
        "quotas"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        super::workload::mark_all(&mut self.queue, self.quotas.read());
        let mut spaces = std::collections::BTreeSet::new();
        for news in self.pods.read() {
            let (pod, counts): (Arc<Object>, bool) = match news {
                News::Reset => continue,
                News::Now(pod, before) => {
                    let counts = before.is_none_or(|old| {
                        is_finished(&old) != is_finished(&pod) || old.at("/spec") != pod.at("/spec")
                    });
                    (pod, counts)
                }
                News::Gone(pod) => (pod, true),
            };
            if counts {
                spaces.insert(pod.namespace().to_owned());
            }
        }
        for space in spaces {
            for quota in self.store.list(Res::ResourceQuotas, Some(&space)) {
                self.queue.mark(quota.key());
            }
        }
        for key in self.queue.take(at) {
            let Some(quota) = self.store.get(key.res, &key.namespace, &key.name) else { continue };
            let mut status = quota.at("/status").clone();
            put(&mut status, &["hard"], quota.at("/spec/hard").clone());
            put(&mut status, &["used"], Value::Object(used(&self.store, &quota)));
            write_status(&self.store, &quota, NAME, status);
        }
        None
    }
}
