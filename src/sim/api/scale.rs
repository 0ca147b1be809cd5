//! The scale subresource: autoscaling/v1 Scale.

use serde_json::{Value, json};

use super::patch::Patch;
use super::{Answer, Api, Call, reply};
use crate::resources::Res;
use crate::selector::Labels;
use crate::status::Status;
use crate::store::Object;

/// An object as its Scale.
fn scale_of(res: Res, value: &Value) -> Value {
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let mut kept = serde_json::Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = metadata.get(field) {
            kept.insert(field.to_owned(), value.clone());
        }
    }
    let selector = value.pointer("/spec/selector").unwrap_or(&Value::Null);
    let selector =
        if res == Res::ReplicationControllers { Labels::of_map(selector) } else { Labels::of(selector) };
    let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept,
        "spec": {"replicas": number("/spec/replicas")},
        "status": {"replicas": number("/status/replicas"), "selector": selector.to_string()},
    })
}

impl Api {
    pub(super) fn scale(&self, call: &Call, res: Res) -> Answer {
        let name = &call.target.name;
        let show = |object: &Object| reply::json(200, &scale_of(res, &object.value));
        let patch = match call.verb {
            "get" => return Ok(show(self.find(call, res)?.as_ref())),
            "update" => None,
            "patch" => Some(Patch::of(call, res.info())?),
            _ => return Err(Status::method_not_allowed()),
        };
        let whole = if patch.is_none() { call.json()? } else { Value::Null };
        let mut how = Self::how(call);
        how.subresource = Some("scale");
        let object = self.store.write(res, call.namespace(), name, &how, |value| {
            let before = scale_of(res, value);
            let mut scale = before.clone();
            match &patch {
                Some(patch) => patch.apply(&mut scale)?,
                None => scale = whole,
            }
            let at = |value: &Value, pointer: &str| {
                value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let version = at(&scale, "/metadata/resourceVersion");
            if !version.is_empty() && version != at(&before, "/metadata/resourceVersion") {
                return Err(Status::conflict(res, name));
            }
            let uid = at(&scale, "/metadata/uid");
            if !uid.is_empty() && uid != at(&before, "/metadata/uid") {
                let hint = "The object might have been deleted and then recreated";
                return Err(Status::precondition(
                    res,
                    name,
                    "UID",
                    &uid,
                    &at(&before, "/metadata/uid"),
                    hint,
                ));
            }
            let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
            if let Some(Value::Object(spec)) = value.get_mut("spec") {
                spec.insert("replicas".into(), json!(replicas));
            }
            Ok(())
        })?;
        Ok(show(&object))
    }
}
