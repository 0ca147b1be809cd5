//! The Workloads pane: workloads with their rollouts.

use std::cmp::Ordering;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::node::Status;
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::domain::workload::RolloutPhase;
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::world::{Cluster, Severity, WorkloadRow, World};

use super::super::app::Ui;
use super::super::cell::{self, Cell, Grade, RowView, cell, plain};
use super::super::list::{List, NO_MORE, Spec};
use super::super::rows::workloads::{Told, told};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::Shown;
use super::orders::{Order, texts, turned};
use super::sources::State;

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 10] = [
    Order::worst("worst first"),
    Order::rises("by namespace and name", "NAMESPACE"),
    Order::falls("by restarts", "RESTARTS"),
    Order::rises("youngest first", "AGE"),
    Order::rises("by name", "WORKLOAD"),
    Order::falls("by replicas that are not ready", "READY"),
    Order::falls("by up-to-date replicas", "UP-TO-DATE"),
    Order::falls("by available replicas", "AVAILABLE"),
    Order::falls("by rollout", "ROLLOUT"),
    Order::rises("by image", "IMAGES"),
];

/// The columns.
pub const COLUMNS: [Column; 9] = [
    Column::left("NAMESPACE", 6, 18, 0),
    Column::name("WORKLOAD", 14, 44),
    Column::right("READY", 5, 9, 0),
    Column::right("UP-TO-DATE", 10, 10, 9),
    Column::right("AVAILABLE", 9, 9, 10),
    Column::right("RESTARTS", 8, 8, 4),
    Column::text("ROLLOUT", 10, 2),
    Column::left("IMAGES", 12, 50, 8),
    Column::right("AGE", 4, 5, 7),
];

/// Returns the severity of a workload. It is at least the severity of its findings in NOW.
pub fn grade(row: &WorkloadRow, told: &Told) -> Grade {
    of_itself(row).max(match told.get(&row.workload.uid) {
        Some(Severity::Critical) => Grade::Critical,
        Some(Severity::Warning) => Grade::Warning,
        Some(Severity::Info) | None => Grade::Fine,
    })
}

/// Returns the severity of the workload's own state, without the findings in NOW.
pub fn of_itself(row: &WorkloadRow) -> Grade {
    let w = &row.workload;
    if row.rollout.phase == RolloutPhase::Stuck || (w.desired > 0 && w.ready == 0 && row.totals.bad > 0) {
        Grade::Critical
    } else if is_broken(row) || (w.failed > 0 && !is_done(row)) {
        Grade::Warning
    } else if row.totals.bad > 0
        || matches!(row.rollout.phase, RolloutPhase::Progressing | RolloutPhase::Paused)
    {
        // a Service with fewer backends than it should have gets the same grade
        Grade::Info
    } else {
        Grade::Fine
    }
}

/// Whether a pod of the workload cannot run as it is configured. Such a pod needs a fix: waiting does not help.
fn is_broken(row: &WorkloadRow) -> bool {
    let t = &row.totals;
    t.crash_loop + t.image_pull + t.config + t.oom + t.unschedulable > 0
}

/// Whether the Job has this condition. The counts are not sufficient: a work queue Job can complete with fewer
/// successes, and a failed Job has the same counts as one that retries.
fn says(job: &Workload, condition: &str) -> bool {
    job.conditions.iter().any(|c| c.kind == condition && c.status == Status::True)
}

/// Whether the Job is complete, regardless of how many pods failed.
fn is_done(row: &WorkloadRow) -> bool {
    row.workload.kind == Kind::Job && says(&row.workload, "Complete")
}

/// Describes the progress of a Job. A Job has no rollout.
fn run_of(job: &Workload) -> String {
    let failed = if job.failed > 0 { format!(", {} failed", job.failed) } else { String::new() };
    if says(job, "Complete") {
        format!("complete{failed}")
    } else if says(job, "Failed") {
        format!("gave up{failed}")
    } else if job.paused {
        format!("suspended{failed}")
    } else {
        format!("{} active{failed}", job.current)
    }
}

/// Whether the row matches the filter and the namespace. `more` returns the texts of the row's columns.
pub fn passes(row: &WorkloadRow, spec: &Spec, more: impl Fn() -> Vec<String>) -> bool {
    let w = &row.workload;
    spec.namespace.as_ref().is_none_or(|ns| w.namespace == *ns)
        && (spec.filter.is_empty() || {
            let mut texts: Vec<&str> =
                vec![&w.namespace, &w.name, w.kind.as_str(), row.rollout.phase.as_str()];
            texts.extend(w.images.iter().map(Name::as_str));
            spec.filter.passes_or(&texts, more)
        })
}

/// Compares two rows.
pub fn order(a: &WorkloadRow, b: &WorkloadRow, order: usize, told: &Told) -> Ordering {
    let missing = |r: &WorkloadRow| r.workload.desired.saturating_sub(r.workload.ready);
    let by = match order {
        1 => Ordering::Equal,
        2 => b.totals.restarts.cmp(&a.totals.restarts),
        3 => b.workload.created.cmp(&a.workload.created),
        4 => a.workload.name.cmp(&b.workload.name),
        5 => missing(b).cmp(&missing(a)),
        6 => b.workload.updated.cmp(&a.workload.updated),
        7 => b.workload.available.cmp(&a.workload.available),
        8 => b.rollout.phase.cmp(&a.rollout.phase),
        9 => a.workload.images.cmp(&b.workload.images),
        _ => grade(b, told).cmp(&grade(a, told)).then_with(|| b.totals.bad.cmp(&a.totals.bad)),
    };
    let name = |r: &WorkloadRow| (r.workload.namespace.clone(), r.workload.name.clone());
    by.then_with(|| name(a).cmp(&name(b))).then_with(|| a.workload.kind.cmp(&b.workload.kind))
}

/// Returns the last part of an image name, with its tag.
pub fn image(image: &str) -> &str {
    image.rsplit('/').next().unwrap_or(image)
}

/// Returns the counts that follow the title, for the selected namespace.
pub fn counts(cluster: &Cluster, spec: &Spec) -> Vec<Cell> {
    let all = &cluster.derived.workloads;
    if all.is_empty() {
        return Vec::new();
    }
    let told = told(cluster);
    let here = || all.iter().filter(|r| passes(r, spec, NO_MORE));
    // a rollout in progress with all pods ready lacks no pods
    let short = |r: &WorkloadRow| r.totals.bad > 0 || r.workload.ready < r.workload.desired;
    let graded =
        |r: &WorkloadRow| Some(grade(r, &told)).filter(|g| *g != Grade::Info || short(r)).unwrap_or_default();
    cell::counts(here().map(|r| graded(r)))
}

/// Builds one row.
pub fn row(row: &WorkloadRow, told: &Told, now: Stamp) -> RowView {
    let w = &row.workload;
    let grade = grade(row, told);
    let rollout = match row.rollout.phase {
        _ if w.kind == Kind::Job => run_of(w),
        RolloutPhase::Complete => "complete".to_owned(),
        RolloutPhase::NotApplicable => "–".to_owned(),
        // of an earlier moment
        phase if row.rollout.why.is_empty() => phase.as_str().to_owned(),
        // all pods are updated already, so pods are missing but no rollout is in progress
        RolloutPhase::Progressing if w.updated >= w.desired && w.current <= w.updated => {
            row.rollout.why.clone()
        }
        phase => format!("{}: {}", phase.as_str(), row.rollout.why),
    };
    // as in kubectl, a Job shows its completions and has no up-to-date or available counts
    let (ready, counts) = if w.kind == Kind::Job {
        (cell(Role::Text, format!("{}/{}", w.succeeded, w.desired)), ["–".to_owned(), "–".to_owned()])
    } else {
        let role = if w.ready < w.desired { Role::Warning } else { Role::Text };
        (cell(role, format!("{}/{}", w.ready, w.desired)), [w.updated.to_string(), w.available.to_string()])
    };
    let [updated, available] = counts;
    let images: Vec<&str> = w.images.iter().map(|i| image(i)).collect();
    RowView {
        grade,
        cells: vec![
            cell(Role::Dim, w.namespace.as_str()),
            cell(
                if grade >= Grade::Warning { Role::Strong } else { Role::Text },
                format!("{}/{}", w.kind.short(), w.name),
            ),
            ready,
            plain(updated),
            plain(available),
            cell(
                if row.totals.crash_loop > 0 { Role::Warning } else { Role::Text },
                row.totals.restarts.to_string(),
            ),
            cell(of_itself(row).role(), rollout),
            plain(images.join(" ")),
            cell(Role::Dim, age(now.since(w.created))),
        ],
        ..RowView::default()
    }
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    let told = told(cluster);
    if ui.rows.told != told {
        ui.rows.told = told;
        ui.rows.told_turn = ui.rows.told_turn.wrapping_add(1);
    }
    spec.salt = ui.rows.told_turn;
    let (spec, now, told) = (&*spec, ui.now, &ui.rows.told);
    ui.rows.workloads.refresh(
        &mut list.sorted,
        &cluster.derived.workloads,
        spec,
        |r| passes(r, spec, || texts(row(r, told, now))),
        |a, b| turned(order(a, b, spec.order, told), spec.reverse),
    );
}

/// Returns the state of the sources.
pub fn state(s: &Shown<'_>) -> State {
    let cluster = s.cluster;
    let mut state = s.table("deployments", &cluster.deployments.cover, cluster.deployments.fresh);
    for (source, other) in [
        ("statefulsets", &cluster.statefulsets),
        ("daemonsets", &cluster.daemonsets),
        ("jobs", &cluster.jobs),
    ] {
        for note in s.table(source, &other.cover, other.fresh).notes {
            state.notes.push(cell(note.role, format!("{source} {}", note.text)));
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::node::Condition;
    use pilothouse_core::facts::world::OwnerTotals;

    use super::*;

    fn job(succeeded: i32, failed: i32, active: i32, says: Option<&str>) -> WorkloadRow {
        let condition = |kind: &str| Condition {
            kind: kind.into(),
            status: Status::True,
            reason: "".into(),
            message: "".into(),
            since: None,
        };
        let workload = Workload {
            kind: Kind::Job,
            name: "report".into(),
            desired: 4,
            current: active,
            succeeded,
            failed,
            conditions: says.map(condition).into_iter().collect(),
            ..Workload::default()
        };
        let rollout = pilothouse_core::policy::rollout::judge(&workload);
        WorkloadRow { workload: Arc::new(workload), totals: OwnerTotals::default(), rollout }
    }

    fn texts(of: &WorkloadRow) -> (Grade, String, String) {
        let shown = row(of, &Told::new(), Stamp::default());
        let text = |at: usize| shown.cells[at].text.clone();
        (shown.grade, text(2), text(6))
    }

    #[test]
    fn a_job_is_judged_by_its_completions() {
        let job = |succeeded, failed, active, says| texts(&job(succeeded, failed, active, says));
        let done = Some("Complete");
        assert_eq!(job(4, 0, 0, done), (Grade::Fine, "4/4".into(), "complete".into()));
        assert_eq!(job(1, 1, 0, done), (Grade::Fine, "1/4".into(), "complete, 1 failed".into()));
        assert_eq!(job(1, 0, 3, None), (Grade::Fine, "1/4".into(), "3 active".into()));
        assert_eq!(job(1, 2, 0, None), (Grade::Warning, "1/4".into(), "0 active, 2 failed".into()));
        assert_eq!(job(1, 7, 0, Some("Failed")), (Grade::Warning, "1/4".into(), "gave up, 7 failed".into()));
    }
}
