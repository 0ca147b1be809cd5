//! An object as it currently exists in the cluster: its path, one read of it, and the fields that the steps of an
//! action are checked against.

use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::domain::plan::{RevisionRef, StepKind};
use pilothouse_core::domain::workload::Workload;
use serde_json::Value;

use super::list_path::ListPath;
use crate::wire::client::ReadClient;
use crate::wire::decode::{Pools, workload::workload};
use crate::wire::error::ApiError;

/// Returns the API path of an object, or `None` if its kind is not in the table of kinds.
pub fn path(object: &ObjectRef) -> Option<String> {
    object.kind.info()?;
    Some(format!("{}/{}", ListPath::of(&object.kind, &object.namespace), object.name))
}

/// Whether the kind has the fields that steps use.
pub fn is_workload(kind: &Kind) -> bool {
    matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet)
}

/// The live object with the fields that the steps need.
#[derive(Clone, Debug, Default)]
pub struct Live {
    pub uid: String,
    pub version: String,
    pub cordoned: bool,
    pub restarted_at: Option<String>,
    pub deleting: bool,
    pub workload: Option<Workload>,
    /// The whole object.
    pub value: Value,
    /// The target revision of a rollback. The next field has the revision that was current in the plan.
    pub to: Option<Value>,
    pub from: Option<Value>,
}

/// Reads the object of a step. Returns `Ok(None)` if it does not exist.
pub async fn read(client: &ReadClient, what: &StepKind, on: &ObjectRef) -> Result<Option<Live>, ApiError> {
    let Some(body) = get(client, on).await? else { return Ok(None) };
    let mut live = Live::of(&on.kind, &body)?;
    if let StepKind::Rollback { to, from } = what {
        let holder = async |revision: &RevisionRef| -> Result<Option<Value>, ApiError> {
            let body = get(client, &revision.holder).await?;
            body.map(|b| serde_json::from_slice(&b).map_err(|e| ApiError::Decode(e.to_string()))).transpose()
        };
        live.to = holder(to).await?;
        live.from = holder(from).await?;
    }
    Ok(Some(live))
}

/// Reads one object as the server sends it. Returns `None` if it does not exist.
pub async fn get(client: &ReadClient, on: &ObjectRef) -> Result<Option<bytes::Bytes>, ApiError> {
    let Some(path) = path(on) else {
        return Err(ApiError::Invalid { message: format!("no path is known for a {}", on.kind) });
    };
    match client.get_bytes(&path, 4 << 20).await {
        Ok(body) => Ok(Some(body)),
        // this must be a Status of the API, because the page of a gateway says nothing about the object
        Err(ApiError::NotFound { status: true, .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

impl Live {
    /// Parses an object from the server.
    pub fn of(kind: &Kind, body: &[u8]) -> Result<Self, ApiError> {
        let fail = |e: &dyn std::fmt::Display| ApiError::Decode(e.to_string());
        let value: Value = serde_json::from_slice(body).map_err(|e| fail(&e))?;
        let workload = if is_workload(kind) {
            Some(workload(&mut Pools::default(), kind, body).map_err(|e| fail(&e))?)
        } else {
            None
        };
        let restarted_at = workload.as_ref().and_then(|w| w.restarted_at.as_ref().map(ToString::to_string));
        Ok(Self { restarted_at, workload, ..Self::of_value(value) })
    }

    /// Takes an object that is no workload.
    pub fn of_value(value: Value) -> Self {
        let text =
            |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            uid: text("/metadata/uid"),
            version: text("/metadata/resourceVersion"),
            cordoned: value.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false),
            restarted_at: None,
            deleting: value.pointer("/metadata/deletionTimestamp").is_some(),
            workload: None,
            value,
            to: None,
            from: None,
        }
    }
}
