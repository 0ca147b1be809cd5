//! Reads the data that a plan needs in addition to the shared state: single objects, revisions, quotas, and the
//! number of nodes.

use pilothouse_core::domain::alert::is_silence;
use pilothouse_core::domain::haproxy::is_server;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::plan::{Fleet, Lookup, LookupResult, Lookups};
use pilothouse_core::plan::resource;
use pilothouse_core::policy::revisions;

use serde_json::Value;

use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::pages;

use super::cluster::PlanClients;
use super::list_path::ListPath;
use super::live_object::get;

/// Reads the data that a plan needs in addition to the shared state. For data that cannot be read, the answer
/// contains the reason.
pub async fn look_up(clients: &PlanClients, wanted: Vec<Lookup>) -> Lookups {
    let asked = wanted.into_iter().map(|lookup| async move {
        let found = find(clients, &lookup).await;
        (lookup, found)
    });
    Lookups(futures::future::join_all(asked).await)
}

async fn find(clients: &PlanClients, lookup: &Lookup) -> LookupResult {
    match lookup {
        Lookup::Object { on, .. } if is_server(&on.kind) => match clients.proxies.get(on).await {
            Ok(None) => LookupResult::Absent,
            Ok(Some(value)) => LookupResult::Objects(vec![value]),
            Err(e) => LookupResult::Unread(e.to_string()),
        },
        Lookup::Object { on, .. } if is_silence(&on.kind) => {
            match clients.alertmanager.get(on, &clients.own.reader.patient()).await {
                Ok(value) => LookupResult::Objects(vec![value]),
                Err(e) => LookupResult::Unread(format!("the Alertmanager: {e}")),
            }
        }
        Lookup::Object { context, on } => {
            let Some(clients) = clients.of(context) else {
                return LookupResult::Unread(format!("there is no connection to context {context}"));
            };
            match get(&clients.reader.patient(), on).await {
                Ok(None) => LookupResult::Absent,
                Ok(Some(body)) => match serde_json::from_slice(&body) {
                    Ok(value) => LookupResult::Objects(vec![value]),
                    Err(e) => LookupResult::Unread(format!("{on}: {e}")),
                },
                Err(e) => LookupResult::Unread(format!("{on}: {e}")),
            }
        }
        Lookup::Revisions(workload) => {
            let holder = ObjectRef::new(
                workload.cluster,
                revisions::holder_kind(&workload.kind),
                &workload.namespace,
                &Name::default(),
                &Uid::default(),
            );
            list(clients, &holder).await
        }
        Lookup::Quotas(namespace) => {
            let (kind, none) = (Kind::ResourceQuota, Name::default());
            let quotas = ObjectRef::new(clients.cluster, kind, namespace, &none, &Uid::default());
            list(clients, &quotas).await
        }
        Lookup::Fleet(zones) => match fleet(&clients.own.reader.patient(), zones).await {
            Ok(fleet) => LookupResult::Fleet(fleet),
            Err(e) => LookupResult::Unread(e.to_string()),
        },
    }
}

/// Counts nodes without reading all of them. A list with a limit of one returns how many remain.
async fn fleet(reader: &ReadClient, zones: &[(Name, u32)]) -> Result<Fleet, ApiError> {
    let nodes = count(reader, &ListPath::of(&Kind::Node, "").limit(1)).await?;
    let nodes =
        nodes.ok_or_else(|| ApiError::Decode("the server does not say how many nodes there are".into()))?;
    let cordoned = ListPath::of(&Kind::Node, "").field("spec.unschedulable", "true").to_string();
    let cordoned = pages::values(reader, &cordoned, LIST_CAP).await?;
    let is_cordoned = |n: &&Value| n.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true);
    let name = |n: &Value| n.pointer("/metadata/name").and_then(Value::as_str).map(Name::from);
    let cordoned = cordoned.iter().filter(is_cordoned).filter_map(name).collect();
    let mut whole_zones = Vec::new();
    for (zone, ours) in zones {
        let label = format!("topology.kubernetes.io/zone={zone}");
        // with a selector, a server need not report how many remain; it is enough to know that there are more
        let path = ListPath::of(&Kind::Node, "").labels(&label).limit(ours.saturating_add(1));
        let has_more =
            count(reader, &path).await?.is_none_or(|n| u32::try_from(n).unwrap_or(u32::MAX) > *ours);
        if !has_more {
            whole_zones.push(zone.clone());
        }
    }
    Ok(Fleet { nodes, cordoned, whole_zones })
}

/// Returns the number of objects in a list, according to its first page. Returns `None` if there are more and the
/// server does not report how many.
async fn count(reader: &ReadClient, path: &ListPath) -> Result<Option<usize>, ApiError> {
    let body = reader.get_bytes(&path.to_string(), LIST_CAP).await?;
    let list: Value = serde_json::from_slice(&body).map_err(|e| ApiError::Decode(e.to_string()))?;
    let here = list.get("items").and_then(Value::as_array).map_or(0, Vec::len);
    let token = list.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default();
    let remaining = list.pointer("/metadata/remainingItemCount").and_then(Value::as_u64);
    Ok(match remaining {
        Some(n) => Some(here.saturating_add(usize::try_from(n).unwrap_or(usize::MAX))),
        None if token.is_empty() => Some(here),
        None => None,
    })
}

/// The maximum size of a list of the revisions or quotas of a namespace.
const LIST_CAP: usize = 64 << 20;

/// Lists all objects with the kind and namespace of `like`.
async fn list(clients: &PlanClients, like: &ObjectRef) -> LookupResult {
    let plural = resource(&like.kind).map_or("objects", |(_, plural)| plural);
    let path = ListPath::of(&like.kind, &like.namespace).to_string();
    let reader = clients.own.reader.patient();
    match pages::values(&reader, &path, LIST_CAP).await {
        Ok(objects) => LookupResult::Objects(objects),
        Err(e) => LookupResult::Unread(format!("{plural} in {}: {e}", like.namespace)),
    }
}
