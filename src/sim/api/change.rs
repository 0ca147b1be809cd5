//! Changing objects: create, replace, patch, delete.

use std::sync::Arc;

use serde_json::{Value, json};

use super::patch::Patch;
use super::read::View;
use super::{Answer, Api, Call, reply};
use crate::resources::Res;
use crate::status::Status;
use crate::store::{Delete, Deleted, Object, Propagation, Write};

/// The options of a deletion: from the body, or from the query if there is no body.
pub(super) fn deletion(call: &Call, options: &Value) -> Delete {
    let text = |pointer: &str| options.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let asked = |name: &str| call.query.get(name).filter(|_| call.body.is_empty()).map(str::to_owned);
    let propagation = text("/propagationPolicy").or_else(|| asked("propagationPolicy"));
    let orphan = options.get("orphanDependents") == Some(&Value::Bool(true));
    let grace = options.get("gracePeriodSeconds").and_then(Value::as_i64);
    let dry =
        options.get("dryRun").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == "All"));
    Delete {
        grace: grace.or_else(|| asked("gracePeriodSeconds")?.parse().ok()),
        uid: text("/preconditions/uid"),
        version: text("/preconditions/resourceVersion"),
        propagation: match propagation.as_deref() {
            Some("Orphan") => Propagation::Orphan,
            Some("Foreground") => Propagation::Foreground,
            _ if orphan => Propagation::Orphan,
            _ => Propagation::Background,
        },
        dry_run: dry || (call.dry_run() && call.body.is_empty()),
    }
}

/// Resources whose deletion answers with the object instead of a Status.
fn returns_object(res: Res) -> bool {
    use Res::{PersistentVolumeClaims, PersistentVolumes, Pods, ResourceQuotas, ServiceAccounts, Services};
    matches!(
        res,
        Pods | Services | PersistentVolumes | PersistentVolumeClaims | ResourceQuotas | ServiceAccounts
    )
}

impl Api {
    pub(super) fn create(&self, call: &Call, res: Res) -> Answer {
        if !call.target.name.is_empty() {
            return Err(Status::method_not_allowed());
        }
        let mut value = call.json()?;
        let info = res.info();
        Self::same_kind(&value, res)?;
        if info.namespaced {
            let Some(namespace) = &call.target.namespace else { return Err(Status::method_not_allowed()) };
            if value
                .pointer("/metadata/namespace")
                .and_then(Value::as_str)
                .is_some_and(|own| own != namespace)
            {
                let what =
                    "the namespace of the provided object does not match the namespace sent on the request";
                return Err(Status::bad_request(what));
            }
            if let Some(metadata) =
                value.as_object_mut().map(|map| map.entry("metadata").or_insert_with(|| json!({})))
                && let Some(metadata) = metadata.as_object_mut()
            {
                metadata.insert("namespace".into(), json!(namespace));
            }
        }
        let how = Write::request(&call.manager).dry_run(call.dry_run());
        let object = self.store.create(res, value, &how)?;
        Ok(self.show(call, 201, &object))
    }

    fn same_kind(value: &Value, res: Res) -> Result<(), Status> {
        let info = res.info();
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or(info.kind);
        let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let wanted = info.api_version();
        if kind != info.kind || !(version.is_empty() || version == wanted) {
            let what = format!("{kind} in version \"{version}\" cannot be handled as a {}", info.kind);
            return Err(Status::bad_request(format!("{what}: expected {wanted}, Kind={}", info.kind)));
        }
        Ok(())
    }

    /// The write of a request; the subresource decides its scope.
    pub(super) fn how(call: &Call) -> Write<'_> {
        let how = Write::request(&call.manager).dry_run(call.dry_run());
        if call.target.subresource == "status" { how.status() } else { how }
    }

    pub(super) fn replace(&self, call: &Call, res: Res) -> Answer {
        if call.target.name.is_empty() {
            return Err(Status::method_not_allowed());
        }
        let value = call.json()?;
        Self::same_kind(&value, res)?;
        let name = &call.target.name;
        let own = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if own != name {
            let what = format!("the name of the object ({own}) does not match the name on the URL ({name})");
            return Err(Status::bad_request(what));
        }
        let object = self.store.write(res, call.namespace(), name, &Self::how(call), |old| {
            *old = value;
            Ok(())
        })?;
        Ok(self.show(call, 200, &object))
    }

    pub(super) fn patch(&self, call: &Call, res: Res) -> Answer {
        if call.target.name.is_empty() {
            return Err(Status::method_not_allowed());
        }
        let patch = Patch::of(call, res.info())?;
        let (namespace, name) = (call.namespace(), &call.target.name);
        let mut how = Self::how(call);
        if let Patch::Apply(document) = &patch {
            how.operation = "Apply";
            if self.store.get(res, namespace, name).is_none() && call.target.subresource.is_empty() {
                let mut document = document.clone();
                if let Some(Value::Object(metadata)) = document.get_mut("metadata") {
                    metadata.insert("name".into(), json!(name));
                    if res.info().namespaced {
                        metadata.insert("namespace".into(), json!(namespace));
                    }
                }
                let made = self.store.create(res, document, &how)?;
                return Ok(self.show(call, 201, &made));
            }
        }
        let object = self.store.write(res, namespace, name, &how, |value| patch.apply(value))?;
        Ok(self.show(call, 200, &object))
    }

    pub(super) fn delete(&self, call: &Call, res: Res) -> Answer {
        let options = if call.body.is_empty() { Value::Null } else { call.json()? };
        let deleted =
            self.store.delete(res, call.namespace(), &call.target.name, &deletion(call, &options))?;
        Ok(match deleted {
            Deleted::Gone(object) if !returns_object(res) => {
                reply::json(200, &Status::deleted(res, object.name(), object.uid()))
            }
            Deleted::Gone(object) | Deleted::Terminating(object) => self.show(call, 200, &object),
        })
    }

    pub(super) fn delete_collection(&self, call: &Call, res: Res) -> Answer {
        let view = View::of(call, res)?;
        let options = if call.body.is_empty() { Value::Null } else { call.json()? };
        let options = deletion(call, &options);
        let (version, objects) = self.visible(res, &view);
        let mut items: Vec<Arc<Object>> = Vec::new();
        for object in objects {
            match self.store.delete(res, object.namespace(), object.name(), &options) {
                Ok(deleted) => items.push(deleted.object().clone()),
                Err(refused) if refused.is_not_found() => {}
                Err(refused) => return Err(refused),
            }
        }
        let info = res.info();
        let items: Vec<&Value> = items.iter().map(|object| &object.value).collect();
        Ok(reply::json(
            200,
            &json!({"kind": format!("{}List", info.kind), "apiVersion": info.api_version(),
            "metadata": {"resourceVersion": version.to_string()}, "items": items}),
        ))
    }

    /// Binds a pod to a node, as a scheduler does.
    pub(super) fn bind(&self, call: &Call) -> Answer {
        let binding = call.json()?;
        let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (call.namespace(), &call.target.name);
        let now = self.clock.stamp();
        let mut how = Write::by(&call.manager).dry_run(call.dry_run());
        how.subresource = Some("binding");
        self.store.write(Res::Pods, namespace, name, &how, |pod| {
            let bound = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
            if !bound.is_empty() {
                let why = format!("pod {name} is already assigned to node \"{bound}\"");
                return Err(Status::conflict_because(Res::Pods, name, &why));
            }
            let condition = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now});
            let patch = json!({"spec": {"nodeName": node}, "status": {"conditions": [condition]}});
            super::patch::strategic(pod, &patch);
            Ok(())
        })?;
        Ok(reply::json(
            201,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "code": 201}),
        ))
    }
}
