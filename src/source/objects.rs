//! Single reads on demand: an object as YAML (without the values of Secrets), the kinds of the server, and any kind as
//! the table that the server prints.

mod yaml;

use pilothouse_core::domain::text;
use serde::Deserialize;
use serde_json::Value;

pub use self::yaml::to_yaml;
use crate::wire::client::{ReadClient, escape};
use crate::wire::error::ApiError;

const BODY_CAP: usize = 32 << 20;
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
/// Maximum number of rows that are read of a table; the others are counted.
const ROWS: usize = 1000;

/// One kind that the server has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiResource {
    /// "" for core.
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub short_names: Vec<String>,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl ApiResource {
    /// The path of its list, or of one object.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace.filter(|n| self.namespaced && !n.is_empty()) {
            path.push_str("/namespaces/");
            path.push_str(&escape(namespace));
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(&escape(name));
        }
        path
    }

    /// True if the user's word names this kind: `pvc`, `ingresses.networking.k8s.io`, `Ingress`.
    pub fn answers_to(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let (base, group) = word.split_once('.').unwrap_or((&word, ""));
        let named = base == self.plural
            || base == self.kind.to_lowercase()
            || self.short_names.iter().any(|s| s == base);
        named && (group.is_empty() || self.group == group || self.group.starts_with(&format!("{group}.")))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Groups {
    items: Option<Vec<Group>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Group {
    metadata: Option<Named>,
    versions: Option<Vec<GroupVersion>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GroupVersion {
    version: String,
    resources: Option<Vec<Discovered>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Discovered {
    resource: String,
    response_kind: Option<KindRef>,
    scope: String,
    short_names: Option<Vec<String>>,
    verbs: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KindRef {
    kind: String,
}

/// All kinds in their preferred version, from aggregated discovery (Kubernetes 1.26 and newer).
pub async fn resources(read: &ReadClient) -> Result<Vec<ApiResource>, ApiError> {
    let mut out: Vec<ApiResource> = Vec::new();
    for path in ["/api", "/apis"] {
        let body = read.get(path, DISCOVERY, BODY_CAP).await?.body;
        let groups: Groups = serde_json::from_slice(&body).map_err(|e| ApiError::Decode(e.to_string()))?;
        let Some(groups) = groups.items else {
            return Err(ApiError::Decode("this server has no aggregated discovery".into()));
        };
        for group in groups {
            let name = group.metadata.and_then(|m| m.name).unwrap_or_default();
            // versions are listed in order of preference; each kind is taken from the first one that has it
            for version in group.versions.into_iter().flatten() {
                for found in version.resources.into_iter().flatten() {
                    if out.iter().any(|r| r.group == name && r.plural == found.resource) {
                        continue;
                    }
                    out.push(ApiResource {
                        group: name.clone(),
                        version: version.version.clone(),
                        kind: found.response_kind.map(|k| k.kind).unwrap_or_default(),
                        plural: found.resource,
                        short_names: found.short_names.unwrap_or_default(),
                        namespaced: found.scope == "Namespaced",
                        verbs: found.verbs.unwrap_or_default(),
                    });
                }
            }
        }
    }
    Ok(out)
}

/// A column of a server's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// 0: always shown; higher ones are shown with `-o wide`.
    pub priority: i64,
}

/// A row, with the name of its object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRow {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub cells: Vec<String>,
}

/// A kind as the server prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTable {
    pub columns: Vec<Column>,
    pub rows: Vec<TableRow>,
    /// Number of rows that were not read.
    pub more: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TableDoc {
    kind: String,
    metadata: Option<TableMeta>,
    column_definitions: Option<Vec<ColumnDoc>>,
    rows: Option<Vec<RowDoc>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TableMeta {
    remaining_item_count: Option<u64>,
    #[serde(rename = "continue")]
    more: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ColumnDoc {
    name: String,
    priority: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RowDoc {
    cells: Option<Vec<Value>>,
    object: Option<RowObject>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RowObject {
    metadata: Option<RowMeta>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RowMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
}

/// Lists a kind as the server's table (the first thousand rows).
pub async fn table(
    read: &ReadClient,
    resource: &ApiResource,
    namespace: Option<&str>,
) -> Result<ServerTable, ApiError> {
    let path = format!("{}?limit={ROWS}", resource.path(namespace, None));
    let doc: TableDoc = read.get_table(&path).await?;
    if doc.kind != "Table" {
        return Err(ApiError::Decode(format!("the server prints no table of {}", resource.plural)));
    }
    let meta = doc.metadata.unwrap_or_default();
    let clean = |s: &str| text::cap(&text::clean(s), 512).into_owned();
    let mut rows: Vec<TableRow> = doc
        .rows
        .into_iter()
        .flatten()
        .map(|row| {
            let meta = row.object.and_then(|o| o.metadata).unwrap_or_default();
            TableRow {
                namespace: clean(&meta.namespace.unwrap_or_default()),
                name: clean(&meta.name.unwrap_or_default()),
                uid: meta.uid.unwrap_or_default(),
                cells: row
                    .cells
                    .into_iter()
                    .flatten()
                    .map(|cell| match cell {
                        Value::String(s) => clean(&s),
                        Value::Null => String::new(),
                        other => clean(&other.to_string()),
                    })
                    .collect(),
            }
        })
        .collect();
    let cut = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    let unknown = u64::from(meta.more.is_some_and(|m| !m.is_empty()));
    Ok(ServerTable {
        columns: doc
            .column_definitions
            .into_iter()
            .flatten()
            .map(|c| Column { name: clean(&c.name), priority: c.priority })
            .collect(),
        rows,
        more: meta.remaining_item_count.unwrap_or(unknown) + cut as u64,
    })
}

/// An object as YAML, sanitised: without managedFields, with the values of Secrets masked.
pub async fn yaml(read: &ReadClient, path: &str) -> Result<String, ApiError> {
    let mut object: Value = read.get_json(path).await?;
    tidy(&mut object);
    Ok(to_yaml(&object))
}

/// The longest annotation of a Secret that is shown; it is too short for a copy of the object.
const SHORT: usize = 64;

/// Removes managedFields and masks values that must not be shown.
pub fn tidy(object: &mut Value) {
    let secret = object.get("kind").and_then(Value::as_str) == Some("Secret");
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
        let annotations = meta.get_mut("annotations").and_then(Value::as_object_mut);
        for (key, value) in annotations.into_iter().flatten() {
            // tools keep the whole object in an annotation, with a Secret's values, compressed or not
            let long = value.as_str().is_some_and(|text| text.len() > SHORT || text.contains(['{', '[']));
            if key == "kubectl.kubernetes.io/last-applied-configuration" || secret && long {
                *value = Value::String("(not shown)".into());
            }
        }
    }
    if !secret {
        return;
    }
    for key in ["data", "stringData"] {
        let Some(values) = object.get_mut(key).and_then(Value::as_object_mut) else { continue };
        for value in values.values_mut() {
            let len = value.as_str().map_or(0, str::len);
            // base64 has four characters for three bytes
            let bytes = if key == "data" { len / 4 * 3 } else { len };
            *value = Value::String(format!("*** (about {bytes} bytes)"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_masked() {
        let packed = "H4sI".repeat(30);
        let mut secret = json!({"kind": "Secret", "metadata": {"name": "s", "managedFields": [1],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"k\":\"aHVudGVyMg==\"}}",
                "kapp.k14s.io/original": "{\"stringData\":{\"x\":\"hunter2\"}}",
                "objectset.rio.cattle.io/applied": packed, "team": "payments"}},
            "data": {"k": "aHVudGVyMg=="}, "stringData": {"x": "hunter2"}});
        tidy(&mut secret);
        let shown = to_yaml(&secret);
        assert!(
            !shown.contains("aHVudGVyMg") && !shown.contains("hunter2") && !shown.contains("managedFields"),
            "{shown}"
        );
        assert!(shown.contains("k: '*** (about 9 bytes)'") && shown.contains("team: payments"), "{shown}");
        assert!(!shown.contains("H4sI"), "{shown}");
    }

    #[test]
    fn kinds_answer_to_what_people_type() {
        let ingress = ApiResource {
            group: "networking.k8s.io".into(),
            version: "v1".into(),
            plural: "ingresses".into(),
            kind: "Ingress".into(),
            short_names: vec!["ing".into()],
            namespaced: true,
            verbs: vec![],
        };
        for word in ["ing", "Ingress", "ingresses.networking.k8s.io", "ingresses.networking"] {
            assert!(ingress.answers_to(word), "{word}");
        }
        assert!(!ingress.answers_to("ingresses.extensions"));
        assert_eq!(
            ingress.path(Some("shop"), Some("a b")),
            "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/a%20b"
        );
    }
}
