//! The movable clock: what the panes show of an earlier moment is what they showed then, as far as the history says that it
//! knows, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pilothouse::ui::app::Ui;
use pilothouse::ui::list::ListId;
use pilothouse::ui::pane::{self, Shown};
use pilothouse::ui::update;
use pilothouse_core::domain::settings::UiSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::World;
use pilothouse_core::state::past;

use super::stage::Stage;

/// How long the story lasts, in seconds.
const LASTS: i64 = 960;

/// The columns that the history keeps: a cell of another column is the same as then, or unknown.
const KEPT: [(ListId, &[&str]); 5] = [
    (
        ListId::Nodes,
        &[
            "node",
            "state",
            "zone",
            "pods",
            "age",
            "version",
            "pool",
            "cpu-size",
            "memory-size",
            "internal-ip",
        ],
    ),
    (ListId::Traffic, &["service", "ready", "type", "age"]),
    (ListId::Autoscalers, &["target", "min-max", "verdict", "age"]),
    (ListId::Workloads, &["namespace", "workload", "ready", "available", "restarts", "images", "age"]),
    (ListId::Alerts, &["alert", "object", "since"]),
];

/// The cells of a row, by the names of their columns.
type Row = BTreeMap<String, String>;

/// The rows of a pane, by their identities.
fn rows(ui: &mut Ui, world: &World, id: ListId) -> BTreeMap<String, Row> {
    update::refresh(ui, world, id, false);
    let columns = pane::columns(ui, id);
    let shown = Shown::of(ui, world).unwrap();
    let row = |at: &u32| {
        let view = pane::row(&shown, id, &columns, *at)?;
        let cells =
            columns.iter().zip(&view.cells).map(|((_, column), cell)| (column.id(), cell.text.clone()));
        Some(((pane::of(id).key)(&shown, *at)?.to_string(), cells.collect()))
    };
    ui.list(id).ids.iter().filter_map(row).collect()
}

fn screen(now: Stamp) -> Ui {
    let (mut ui, _) = Ui::new(&UiSettings::default());
    (ui.now, ui.clock_ms, ui.size) = (now, 10_000, (200, 50));
    ui
}

/// Whether a cell says that it does not know.
fn is_unknown(cell: &str) -> bool {
    cell.is_empty() || cell.starts_with('–') || cell.ends_with('–')
}

/// The findings, each with its severity and its object.
fn findings(world: &World) -> BTreeSet<String> {
    let causes = world.clusters[0].derived.causes.iter();
    causes
        .map(|c| format!("{:?} {} {:?}", c.severity, c.rule(), c.object().map(ToString::to_string)))
        .collect()
}

/// Compares what is shown of a moment with the frames around it: counts are kept once a second. Returns how many cells
/// were compared, and how many are not known.
fn compare(present: &World, frames: &[(Stamp, Arc<World>)], at: Stamp) -> (usize, usize) {
    let mut ui = screen(present.at);
    ui.move_clock(present, at);
    let then = ui.enter_past(present).unwrap();
    let near = |frame: &&(Stamp, Arc<World>)| (frame.0.0 - at.0).abs() <= 2_000;
    let near: Vec<&(Stamp, Arc<World>)> = frames.iter().filter(near).collect();
    let told: Vec<BTreeSet<String>> = near.iter().map(|(_, world)| findings(world)).collect();
    assert!(told.contains(&findings(&then)), "{at}: {:#?}, and it was {told:#?}", findings(&then));
    let counts: Vec<_> = near.iter().map(|(_, world)| world.clusters[0].derived.counts).collect();
    assert!(counts.contains(&then.clusters[0].derived.counts), "{at}: {counts:?}");
    let (mut known, mut unknown) = (0, 0);
    for (id, kept) in KEPT {
        let shown = rows(&mut ui, &then, id);
        let were: Vec<BTreeMap<String, Row>> =
            near.iter().map(|(_, world)| rows(&mut screen(at), world, id)).collect();
        let name = pane::of(id).name;
        let keys: BTreeSet<&String> = shown.keys().collect();
        // a proxy without a Service is known by its traffic only
        let there = |rows: &BTreeMap<String, Row>| -> BTreeSet<String> {
            rows.keys().filter(|key| !key.starts_with("traffic ")).cloned().collect()
        };
        assert!(
            were.iter().map(there).any(|there| there.iter().collect::<BTreeSet<_>>() == keys),
            "{at}: {name} has the rows {shown:#?}, and it had {were:#?}"
        );
        for (key, row) in &shown {
            for (column, cell) in row {
                let was: Vec<&str> =
                    were.iter().filter_map(|rows| Some(rows.get(key)?.get(column)?.as_str())).collect();
                if was.contains(&cell.as_str()) {
                    known += usize::from(!is_unknown(cell));
                    continue;
                }
                // a pair of used and requested: the first is not known
                let requested = cell.strip_prefix("–/").is_some_and(|requested| {
                    was.iter().any(|was| was.split_once('/').is_some_and(|(_, r)| r == requested))
                });
                // a meter can lack one of its two parts
                let full = |cell: &str| cell.matches('■').count();
                let same = full(cell) == 0 || was.iter().any(|was| full(was) == full(cell));
                let drawn = column.ends_with("-meter") && same;
                // of a rollout, the phase is kept, and not how far it had come
                // the texts of an alert are those of its last poll
                let is_text = id == ListId::Alerts && column == "summary";
                let is_unkept = !kept.contains(&column.as_str()) && is_unknown(cell);
                assert!(
                    requested || drawn || column == "rollout" || is_text || is_unkept,
                    "{at}: {name} shows {cell:?} as {column} of {row:?}, and it was {was:?}"
                );
                unknown += 1;
            }
        }
    }
    (known, unknown)
}

async fn story() -> Vec<(Stamp, Arc<World>)> {
    let stage = Stage::with_alerts("incident", 1).await;
    let mut frames = Vec::new();
    for second in 1..=LASTS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let world = stage.world.borrow().clone();
        frames.push((Stage::opening().plus_secs(second), world));
    }
    frames
}

#[test]
fn an_earlier_moment_is_shown_as_it_was_then() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let frames = runtime.block_on(story());
    let (end, last) = frames.last().unwrap();
    let mut present = World::clone(last);
    present.at = *end;
    let (mut known, mut unknown) = (0, 0);
    let ten_minutes = end.plus_secs(-600);
    let moments =
        (60..LASTS).step_by(30).map(|second| Stage::opening().plus_secs(second)).chain([ten_minutes]);
    for at in moments {
        assert!(past::is_known(&present.clusters[0], at), "{at}");
        let compared = compare(&present, &frames, at);
        (known, unknown) = (known + compared.0, unknown + compared.1);
    }
    assert!(known > 15_000, "{known} cells are known, {unknown} are not");
    // what is not kept is not known, and neither is the time before the start
    let then = past::world(&present, ten_minutes);
    assert_eq!(then.clusters[0].pods.cover, Coverage::Never);
    assert!(then.clusters[0].derived.traffic.is_empty() && then.clusters[0].logs.groups.is_empty());
    assert!(!past::is_known(&present.clusters[0], Stage::opening().plus_secs(-5)));
}
