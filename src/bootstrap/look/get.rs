//! The command `pilothouse get`: prints the rows of a pane once, as the console shows them.

use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::facts::world::World;
use serde_json::{Map, Value, json};

use super::{CLOSE, Start, exit, explain_nothing, look, print, saw_nothing};
use crate::cli::Output;
use crate::cli::get::GetFlags;
use crate::config::check::nearest;
use crate::report::document::SNAPSHOT;
use crate::report::table::Table;
use crate::source::Wanted;
use crate::ui::app::Ui;
use crate::ui::cell::{Grade, RowView};
use crate::ui::list::ListId;
use crate::ui::pane::{self, PANES, Pane, Place, Shown};
use crate::ui::update;
use crate::ui::widget::columns::Column;

/// Columns that are removed earlier than this are for wide screens. The JSON output includes them.
const WIDE: u8 = 10;

/// A pane, and the kind that its rows are limited to.
struct Asked {
    pane: &'static Pane,
    kind: Option<Kind>,
}

/// Returns the pane with this name, or the pane that lists this kind. A pane that opens from a row of another pane
/// has no rows by itself.
fn find(word: &str) -> Result<Asked, String> {
    let word = word.to_lowercase();
    let has_rows = |pane: &&Pane| pane.place != Place::Below;
    if let Some(pane) = PANES.iter().filter(has_rows).find(|pane| pane.name == word) {
        return Ok(Asked { pane, kind: None });
    }
    let kind = Kind::from_word(&word);
    if let Some((pane, kind)) = kind.and_then(|kind| Some((pane::of_kind(&kind).filter(has_rows)?, kind))) {
        // `workloads` lists several kinds, one of which is `deploy`
        let kind = Some(kind).filter(|_| pane.kinds.len() > 1);
        return Ok(Asked { pane, kind });
    }
    let hint = nearest(&word, PANES.iter().filter(has_rows).map(|pane| pane.name));
    Err(format!("there is no pane and no watched kind {word:?}: {hint}; of other kinds: kubectl get {word}"))
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Fine => "ok",
        Grade::Info => "info",
        Grade::Warning => "warning",
        Grade::Critical => "critical",
    }
}

/// A row with its object.
type Row = (RowView, Option<ObjectRef>);

/// Returns the requested rows in the order of the pane, with a cell for each of these columns.
fn rows(ui: &Ui, world: &World, asked: &Asked, columns: &[(usize, Column)]) -> Vec<Row> {
    let id = asked.pane.id;
    let Some(shown) = Shown::of(ui, world) else { return Vec::new() };
    let row = |at: &u32| {
        let object = (asked.pane.key)(&shown, *at).and_then(|uid| (asked.pane.object)(&shown, &uid));
        let wanted = asked.kind.as_ref().is_none_or(|kind| object.as_ref().is_some_and(|o| o.kind == *kind));
        Some((pane::row(&shown, id, columns, *at).filter(|_| wanted)?, object))
    };
    ui.list(id).ids.iter().filter_map(row).collect()
}

/// Converts a cell to a value. `–` stands for an unknown value.
fn value(text: &str) -> Value {
    if text == "–" { Value::Null } else { Value::from(text) }
}

fn document(
    context: &str,
    asked: &Asked,
    columns: &[(usize, Column)],
    rows: &[Row],
    notes: &[String],
) -> Value {
    let row = |(view, object): &Row| {
        let cells: Map<String, Value> =
            columns.iter().zip(&view.cells).map(|((_, c), cell)| (c.id(), value(&cell.text))).collect();
        let object = object.as_ref().map(
            |o| json!({"kind": o.kind.as_str(), "namespace": o.namespace.as_str(), "name": o.name.as_str()}),
        );
        json!({"grade": word(view.grade), "object": object, "columns": cells})
    };
    json!({
        "schema": SNAPSHOT, "context": context, "pane": asked.pane.name, "notes": notes,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn table(columns: &[(usize, Column)], rows: &[Row]) -> String {
    let head = |column: &Column| {
        let head =
            if column.head.is_empty() { column.id().to_uppercase() } else { column.head.replace(' ', "-") };
        if column.right { format!(">{head}") } else { head }
    };
    let heads = std::iter::once("GRADE".to_owned()).chain(columns.iter().map(|(_, column)| head(column)));
    let mut table = Table::new(heads);
    for (view, _) in rows {
        let cells = view.cells.iter().map(|cell| cell.text.clone());
        table.row(std::iter::once(word(view.grade).to_owned()).chain(cells));
    }
    table.lines().join("\n")
}

/// Returns an error if there is no such pane.
pub(crate) fn check(flags: &GetFlags) -> Result<(), String> {
    find(&flags.kind).map(|_| ())
}

pub(crate) async fn get(start: &Start, flags: &GetFlags) -> u8 {
    let asked = match find(&flags.kind) {
        Ok(asked) => asked,
        Err(why) => {
            start.voice.tell(&why);
            return exit::USAGE;
        }
    };
    let (id, flags) = (asked.pane.id, &flags.look);
    let wanted = if id == ListId::Errors { Wanted::All } else { Wanted::WithoutLogs };
    let (session, world) = match look(start, flags, wanted, SNAPSHOT).await {
        Ok(seen) => seen,
        Err(status) => return status,
    };
    let (mut ui, _) = Ui::new(&start.settings.ui);
    ui.columns = pane::chosen(&start.settings.ui.columns).0;
    ui.now = start.clock.now();
    ui.size = (200, 50);
    if let [one] = super::super::session::namespaces(start).as_slice() {
        ui.namespace = Some(one.clone());
    }
    update::refresh(&mut ui, &world, id, false);
    let mut columns = pane::columns(&ui, id);
    if !ui.columns.contains_key(&id) {
        // a drawing is not readable text
        let fits = |column: &Column| column.leave <= WIDE || flags.output == Output::Json;
        columns.retain(|(_, column)| !column.is_drawn() && fits(column));
    }
    let rows = rows(&ui, &world, &asked, &columns);
    let mut status = exit::FAILED;
    if let Some(shown) = Shown::of(&ui, &world) {
        let state = (asked.pane.state)(&shown);
        let why_empty = state.why_empty.into_iter().filter(|_| rows.is_empty());
        let notes: Vec<String> = state.notes.into_iter().chain(why_empty).map(|cell| cell.text).collect();
        let text = match flags.output {
            Output::Json => {
                document(&shown.cluster.info.context, &asked, &columns, &rows, &notes).to_string()
            }
            Output::Text => start.voice.headed(&table(&columns, &rows)),
        };
        let is_read = asked.pane.cover.is_none_or(|cover| cover(shown.cluster).is_read());
        if saw_nothing(shown.cluster) {
            explain_nothing(start, shown.cluster, flags.wait);
        } else {
            for note in &notes {
                start.voice.tell(&format!("{}: {note}", asked.pane.name));
            }
            status = if is_read { exit::DONE } else { exit::FAILED };
            if rows.is_empty() && is_read {
                start.voice.tell(asked.pane.nothing);
            }
        }
        if print(&text).is_err() {
            status = exit::FAILED;
        }
    }
    session.close(CLOSE).await;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_pane_or_a_kind_of_one() {
        let found = |word: &str| find(word).map(|asked| (asked.pane.name, asked.kind)).ok();
        assert_eq!(found("nodes"), Some(("nodes", None)));
        assert_eq!(found("no"), Some(("nodes", None)));
        assert_eq!(found("Deploy"), Some(("workloads", Some(Kind::Deployment))));
        assert_eq!(found("workloads"), Some(("workloads", None)));
        assert_eq!(found("svc").map(|(pane, _)| pane), Some("traffic"));
        assert_eq!(found("ev"), Some(("events", None)));
        assert_eq!(found("backends"), None, "of which Service?");
        let why = find("node").map_or_else(|why| why, |asked| asked.pane.name.to_owned());
        assert_eq!(why, "nodes");
        let why = find("knots").err().unwrap_or_default();
        assert!(why.contains("kubectl get knots"), "{why}");
    }

    #[test]
    fn what_is_not_known_is_null() {
        assert_eq!(value("–"), Value::Null);
        assert_eq!(value("0"), Value::from("0"));
    }
}
