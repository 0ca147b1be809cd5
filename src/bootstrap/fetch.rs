//! Requests of the screen to the API server, in addition to what is watched: YAML, tables of other kinds, error lines
//! and failover plans.

use pilothouse_core::domain::id::{Kind, Name, ObjectRef};
use pilothouse_core::domain::kinds::ROUTES;

use super::logs::shown;
use crate::action::live_object::path;
use crate::source::logs::{LogFilter, LogStore};
use crate::source::objects::{self, ApiResource};
use crate::ui::request::{KindWords, Reply, TableLine, TableText};
use crate::wire::client::ReadClient;

/// Returns the routes whose weights can be changed. Kinds that are not installed have none.
pub async fn routes(reader: &ReadClient) -> Vec<(Kind, serde_json::Value)> {
    let asked = ROUTES.iter().filter_map(|kind| Some((kind, kind.info()?))).map(|(kind, info)| async move {
        let list: Result<serde_json::Value, _> =
            reader.get_json(&format!("{}/{}?limit=500", info.root(), info.plural)).await;
        let items = list.ok().and_then(|mut list| list.get_mut("items").map(serde_json::Value::take));
        let items = match items {
            Some(serde_json::Value::Array(items)) => items,
            _ => Vec::new(),
        };
        items.into_iter().map(|item| (kind.clone(), item)).collect::<Vec<_>>()
    });
    futures::future::join_all(asked).await.concat()
}

/// The maximum number of lines of an error group in an answer.
const ERROR_LINES: usize = 200;

pub fn error_lines(store: &LogStore, fingerprint: Name) -> Reply {
    let filter = LogFilter { fingerprint: Some(fingerprint), ..LogFilter::default() };
    Reply::Lines(store.lines(&filter, ERROR_LINES).into_iter().map(shown).collect())
}

pub type Resources = tokio::sync::OnceCell<Vec<ApiResource>>;

async fn known<'a>(reader: &ReadClient, resources: &'a Resources) -> Result<&'a Vec<ApiResource>, String> {
    resources.get_or_try_init(|| objects::resources(reader)).await.map_err(|e| e.to_string())
}

/// Returns the names of the kinds that the API server serves.
pub async fn kinds(reader: &ReadClient, resources: &Resources) -> Result<Reply, String> {
    let all = known(reader, resources).await?;
    let words = |r: &ApiResource| KindWords {
        plural: r.plural.clone(),
        group: r.group.clone(),
        words: std::iter::once(r.kind.to_lowercase()).chain(r.short_names.iter().cloned()).collect(),
    };
    Ok(Reply::Kinds(all.iter().filter(|r| r.verbs.iter().any(|v| v == "list")).map(words).collect()))
}

pub async fn yaml(reader: &ReadClient, resources: &Resources, object: &ObjectRef) -> Result<Reply, String> {
    let path = if let Some(path) = path(object) {
        path
    } else {
        let all = known(reader, resources).await?;
        let resource = all.iter().find(|r| r.kind == object.kind.as_str());
        let resource = resource.ok_or_else(|| format!("the server has no kind {}", object.kind))?;
        resource.path(resource.namespaced.then_some(object.namespace.as_str()), Some(&object.name))
    };
    let text = objects::yaml(reader, &path).await.map_err(|e| e.to_string())?;
    Ok(Reply::Text(text.lines().map(str::to_owned).collect()))
}

pub async fn table(
    reader: &ReadClient,
    resources: &Resources,
    word: &str,
    namespace: Option<Name>,
) -> Result<Reply, String> {
    let all = known(reader, resources).await?;
    let resource = all.iter().find(|r| r.answers_to(word));
    let resource = resource.ok_or_else(|| format!("the server has no resource {word:?}"))?;
    let table = objects::table(reader, resource, namespace.as_deref()).await.map_err(|e| e.to_string())?;
    let kind = Name::from(resource.kind.as_str());
    let narrow: Vec<bool> = table.columns.iter().map(|c| c.priority == 0).collect();
    let pick = |cells: Vec<String>| -> Vec<String> {
        cells.into_iter().zip(&narrow).filter(|(_, keep)| **keep).map(|(cell, _)| cell).collect()
    };
    let mut columns = pick(table.columns.iter().map(|c| c.name.clone()).collect());
    let namespaced = resource.namespaced && namespace.is_none();
    if namespaced {
        columns.insert(0, "Namespace".into());
    }
    let rows = table
        .rows
        .into_iter()
        .map(|row| {
            let mut cells = pick(row.cells);
            if namespaced {
                cells.insert(0, row.namespace.clone());
            }
            TableLine { kind: kind.clone(), namespace: row.namespace.into(), name: row.name.into(), cells }
        })
        .collect();
    Ok(Reply::Table(TableText { columns, rows }))
}
