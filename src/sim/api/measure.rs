//! metrics.k8s.io/v1beta1, from the cluster's [`Usage`](crate::usage::Usage).

use serde_json::{Value, json};

use super::read::View;
use super::{Answer, Api, Call, reply};
use crate::resources::Res;
use crate::status::Status;
use crate::store::Object;
use crate::usage::Used;

fn usage(used: Used) -> Value {
    json!({"cpu": format!("{}n", used.cpu_nano), "memory": format!("{}Ki", used.memory / 1024)})
}

impl Api {
    fn node_metrics(&self, node: &Object) -> Option<Value> {
        let used = self.usage.node(node.name())?;
        let mut out = self.measured("NodeMetrics", node);
        if let Some(map) = out.as_object_mut() {
            map.insert("usage".into(), usage(used));
        }
        Some(out)
    }

    fn pod_metrics(&self, pod: &Object) -> Option<Value> {
        let containers = self.usage.pod(pod.namespace(), pod.name())?;
        let mut out = self.measured("PodMetrics", pod);
        let containers =
            containers.into_iter().map(|(name, used)| json!({"name": name, "usage": usage(used)}));
        if let Some(map) = out.as_object_mut() {
            map.insert("containers".into(), Value::Array(containers.collect()));
        }
        Some(out)
    }

    fn measured(&self, kind: &str, object: &Object) -> Value {
        let now = self.clock.stamp();
        let mut metadata = json!({"name": object.name(), "creationTimestamp": now});
        if let Some(map) = metadata.as_object_mut() {
            if !object.namespace().is_empty() {
                map.insert("namespace".into(), json!(object.namespace()));
            }
            if !object.labels().is_null() {
                map.insert("labels".into(), object.labels().clone());
            }
        }
        json!({"kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": metadata, "timestamp": now,
            "window": "15s"})
    }

    pub(super) fn measure(&self, call: &Call) -> Answer {
        if !self.usage.is_up() {
            return Ok(reply::plain(503, "service unavailable\n"));
        }
        let target = &call.target;
        if !self.serves(&target.group) || target.version != "v1beta1" || !target.subresource.is_empty() {
            return Err(Status::unknown_path());
        }
        let (res, kind) = match target.plural.as_str() {
            "nodes" => (Res::Nodes, "NodeMetricsList"),
            "pods" => (Res::Pods, "PodMetricsList"),
            _ => return Err(Status::unknown_path()),
        };
        let of = |object: &Object| {
            if res == Res::Nodes { self.node_metrics(object) } else { self.pod_metrics(object) }
        };
        match call.verb {
            "get" => {
                let object = self.find(call, res).ok();
                let missing = || {
                    let what = if res == Res::Nodes { "nodemetrics" } else { "podmetrics" };
                    let name = if res == Res::Nodes {
                        target.name.clone()
                    } else {
                        format!("{}/{}", call.namespace(), target.name)
                    };
                    Status::new(404, "NotFound", format!("{what}.metrics.k8s.io \"{name}\" not found"))
                };
                let value = object.and_then(|object| of(&object)).ok_or_else(missing)?;
                Ok(reply::json(200, &value))
            }
            "list" => {
                let (_, objects) = self.visible(res, &View::of(call, res)?);
                let items: Vec<Value> = objects.iter().filter_map(|object| of(object)).collect();
                Ok(reply::json(
                    200,
                    &json!({"kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {},
                    "items": items}),
                ))
            }
            _ => Err(Status::method_not_allowed()),
        }
    }
}
