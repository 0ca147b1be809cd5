//! Server-side printing: tables for kubectl, and metadata-only objects.

use std::sync::Arc;

use axum::http::header;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::Call;
use crate::resources::Res;
use crate::store::Object;

/// The form in which a client requests objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    /// PartialObjectMetadata.
    Metadata,
    /// A table whose rows include nothing, the metadata, or the object.
    Bare,
    Rows,
    Full,
}

impl Shape {
    pub(super) fn of(call: &Call) -> Self {
        let accept = call.header(header::ACCEPT);
        // The first supported form of several.
        for one in accept.split(',') {
            if one.contains("as=Table") && one.contains("json") {
                return match call.query.text("includeObject") {
                    "None" => Self::Bare,
                    "Object" => Self::Full,
                    _ => Self::Rows,
                };
            }
            if one.contains("as=PartialObjectMetadata") && one.contains("json") {
                return Self::Metadata;
            }
            if one.trim() == "application/json" {
                return Self::Object;
            }
        }
        Self::Object
    }
}

fn metadata(object: &Object) -> Value {
    object.at("/metadata").clone()
}

pub(super) fn metadata_only(object: &Object) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata(object)})
}

fn definitions(res: Res) -> Value {
    let columns = res.info().columns.iter().map(|column| {
        let format = if column.name == "Name" { "name" } else { "" };
        let description = column.name;
        json!({"name": column.name, "type": column.kind, "format": format, "description": description,
            "priority": column.priority})
    });
    Value::Array(columns.collect())
}

fn row(object: &Object, now: DateTime<Utc>, shape: Shape) -> Value {
    let cells: Vec<Value> =
        object.res.info().columns.iter().map(|column| (column.cell)(&object.value, now)).collect();
    let mut out = Map::new();
    out.insert("cells".into(), Value::Array(cells));
    match shape {
        Shape::Full => out.insert("object".into(), object.value.clone()),
        Shape::Bare => None,
        _ => out.insert("object".into(), metadata_only(object)),
    };
    Value::Object(out)
}

pub(super) fn table(
    res: Res,
    objects: &[Arc<Object>],
    version: u64,
    now: DateTime<Utc>,
    shape: Shape,
) -> Value {
    let rows: Vec<Value> = objects.iter().map(|object| row(object, now, shape)).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version.to_string()},
        "columnDefinitions": definitions(res), "rows": rows})
}

/// A table in parts, row by row, so that a large one is never in memory as a whole document.
pub(super) fn parts(
    res: Res,
    objects: &[Arc<Object>],
    head: &Value,
    now: DateTime<Utc>,
    shape: Shape,
) -> Vec<Bytes> {
    let start = format!(
        "{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{head},\"columnDefinitions\":{},\"rows\":[",
        definitions(res)
    );
    let mut out = Vec::with_capacity(objects.len() + 2);
    out.push(Bytes::from(start));
    for (n, object) in objects.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        out.push(Bytes::from(format!("{comma}{}", row(object, now, shape))));
    }
    out.push(Bytes::from_static(b"]}"));
    out
}

/// The object of one watch event. Only the first event describes the columns.
pub(super) fn one_row(object: &Arc<Object>, now: DateTime<Utc>, shape: Shape, described: bool) -> Value {
    if shape == Shape::Metadata {
        return metadata_only(object);
    }
    let mut out = table(object.res, std::slice::from_ref(object), object.version, now, shape);
    if !described && let Some(map) = out.as_object_mut() {
        map.insert("columnDefinitions".into(), Value::Null);
    }
    out
}
