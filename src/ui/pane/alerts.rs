//! The Alerts pane: the alerts of the Alertmanager, or of the rules of Prometheus.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use pilothouse_core::domain::alert::{AlertOrigin, AlertRow, AlertState, SEVERITY};
use pilothouse_core::domain::id::{Name, ObjectRef, Uid};
use pilothouse_core::domain::source::Feed;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cluster, World};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, ago, cell, plain};
use super::super::list::{List, NO_MORE, Spec};
use super::super::rows::alerts::{AlertLine, grade_of};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text::{count, grouped};
use super::Shown;
use super::orders::{Order, indexes, sort, texts};
use super::sources::{self, State};

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 8] = [
    Order::worst("most severe first"),
    Order::rises("by severity label", "SEVERITY"),
    Order::rises("by name", "ALERT"),
    Order::rises("by object", "OBJECT"),
    Order::rises("by summary", "SUMMARY"),
    Order::rises("latest first", "SINCE"),
    Order::rises("by state", "STATE"),
    Order::rises("by receiver", "RECEIVER"),
];

/// The columns.
pub const COLUMNS: [Column; 7] = [
    Column::left("SEVERITY", 4, 12, 7),
    Column::left("ALERT", 12, 34, 0),
    Column::name("OBJECT", 10, 40),
    Column::text("SUMMARY", 16, 0),
    Column::right("SINCE", 5, 5, 0),
    Column::left("STATE", 6, 24, 0),
    Column::left("RECEIVER", 8, 20, 9),
];

/// Returns a row by its index.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a AlertLine> {
    s.ui.rows.alerts.list.get(row as usize)
}

fn severity(row: &AlertRow) -> &str {
    row.alert.label(SEVERITY).map_or("–", Name::as_str)
}

/// Returns the object as the column shows it: `shop/deploy/cart`, or the namespace if the labels name no more.
fn object(line: &AlertLine) -> String {
    if let Some(object) = line.object() {
        return object.to_string();
    }
    match (line.alerts.as_slice(), line.first()) {
        ([_], Some(row)) if !row.namespace.is_empty() => format!("ns/{}", row.namespace),
        ([_], _) => "–".into(),
        (all, _) => count(all.len(), "alert"),
    }
}

/// Returns the first line of what the alert says.
fn summary(line: &AlertLine) -> String {
    let Some(row) = line.first() else { return String::new() };
    let text = row.alert.summary().lines().next().unwrap_or_default().to_owned();
    match (&line.group, line.alerts.len().saturating_sub(1)) {
        (Some(_), more) if more > 0 => format!("{text} (and {more} more)"),
        _ => text,
    }
}

/// Returns the state of an alert, or how many alerts are in each.
fn state_of(line: &AlertLine) -> String {
    let mut states: BTreeMap<AlertState, usize> = BTreeMap::new();
    for row in &line.alerts {
        *states.entry(row.alert.state).or_default() += 1;
    }
    match (states.len(), states.iter().next()) {
        (1, Some((state, _))) => state.as_str().to_owned(),
        _ => states.iter().map(|(state, n)| format!("{n} {}", state.as_str())).collect::<Vec<_>>().join(", "),
    }
}

fn receivers(line: &AlertLine) -> String {
    let mut names: Vec<&str> =
        line.alerts.iter().flat_map(|row| row.alert.receivers.iter()).map(Name::as_str).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { "–".into() } else { names.join(", ") }
}

/// Whether the row matches the namespace and the filter. The filter finds every label, as `name=value`.
fn passes(line: &AlertLine, spec: &Spec, more: impl Fn() -> Vec<String>) -> bool {
    let here = |row: &AlertRow| spec.namespace.as_ref().is_none_or(|ns| row.namespace == *ns);
    if !line.alerts.iter().any(|row| here(row)) {
        return false;
    }
    spec.filter.is_empty() || {
        let labels: Vec<String> = line
            .alerts
            .iter()
            .flat_map(|row| row.alert.labels.iter())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut all: Vec<&str> = labels.iter().map(String::as_str).collect();
        all.extend(line.alerts.iter().map(|row| row.alert.summary()));
        spec.filter.passes_or(&all, more)
    }
}

fn order(a: &AlertLine, b: &AlertLine, order: usize) -> Ordering {
    let name = |line: &AlertLine| line.first().map(|row| row.alert.name().to_owned()).unwrap_or_default();
    let label = |line: &AlertLine| line.first().map(|row| severity(row).to_owned()).unwrap_or_default();
    let by = match order {
        1 => label(a).cmp(&label(b)),
        2 => name(a).cmp(&name(b)),
        3 => object(a).cmp(&object(b)),
        4 => summary(a).cmp(&summary(b)),
        5 => b.since().cmp(&a.since()),
        6 => state_of(a).cmp(&state_of(b)),
        7 => receivers(a).cmp(&receivers(b)),
        _ => b.grade().cmp(&a.grade()).then_with(|| {
            let state = |line: &AlertLine| line.first().map(|row| row.alert.state);
            state(a).cmp(&state(b))
        }),
    };
    by.then_with(|| a.since().cmp(&b.since()))
        .then_with(|| name(a).cmp(&name(b)))
        .then_with(|| a.key().cmp(&b.key()))
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    ui.rows.alerts.refresh(&cluster.derived.alerts, ui.alerts_by_name);
    let (lines, now) = (&ui.rows.alerts.list, ui.now);
    list.sorted = indexes(lines, |line| passes(line, spec, || texts(row(line, now))));
    sort(&mut list.sorted, lines, spec.reverse, |a, b| order(a, b, spec.order));
}

/// Builds one row.
pub fn row(line: &AlertLine, now: Stamp) -> RowView {
    let grade = line.grade();
    let Some(first) = line.first() else { return RowView::default() };
    let quiet = matches!(first.alert.state, AlertState::Silenced | AlertState::Inhibited | AlertState::Muted);
    let text = if quiet { Role::Dim } else { Role::Text };
    let strong = if grade > Grade::Info { Role::Strong } else { text };
    let state = match first.alert.state {
        AlertState::Firing => grade.role(),
        AlertState::Pending => Role::Info,
        _ => Role::Dim,
    };
    RowView {
        grade,
        cells: vec![
            cell(grade.role(), severity(first)),
            cell(strong, first.alert.name()),
            cell(text, object(line)),
            cell(text, summary(line)),
            plain(ago(now, line.since())),
            cell(state, state_of(line)),
            cell(Role::Dim, receivers(line)),
        ],
        ..RowView::default()
    }
}

/// Returns the object that the row is about.
pub fn object_of(s: &Shown<'_>, uid: &Uid) -> Option<ObjectRef> {
    s.ui.rows.alerts.list.iter().find(|line| line.key() == *uid)?.object().cloned()
}

/// Counts the alerts of the selected namespace.
pub fn counts(s: &Shown<'_>) -> Vec<Cell> {
    let spec = s.here();
    let lines = s.ui.rows.alerts.list.iter().filter(|line| passes(line, &spec, NO_MORE));
    let all: Vec<_> = lines.flat_map(|line| &line.alerts).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let number = |wanted: &dyn Fn(&AlertRow) -> bool| all.iter().filter(|row| wanted(row)).count();
    let mut counts = Vec::new();
    for (grade, word) in [(Grade::Critical, "critical"), (Grade::Warning, "warning"), (Grade::Info, "info")] {
        let firing = |row: &AlertRow| row.alert.state == AlertState::Firing && grade_of(row) == grade;
        let n = number(&firing);
        if n > 0 {
            counts.push(cell(grade.role(), format!("{} {word}", grouped(n as u64))));
        }
    }
    for state in [AlertState::Pending, AlertState::Silenced, AlertState::Inhibited, AlertState::Muted] {
        let n = number(&|row: &AlertRow| row.alert.state == state);
        if n > 0 {
            counts.push(cell(Role::Dim, format!("{} {}", grouped(n as u64), state.as_str())));
        }
    }
    counts.push(plain(format!("of {}", grouped(all.len() as u64))));
    counts
}

/// Returns the state of the source.
pub fn state(s: &Shown<'_>) -> State {
    sources::of_feed(s.cluster, Feed::Alerts, s.ui.now)
}

/// Builds the footer: where the alerts are read, and what is not known of them.
pub fn footer(s: &Shown<'_>) -> Vec<Cell> {
    let alerts = &s.cluster.alerts;
    let mut footer: Vec<Cell> = Vec::new();
    if alerts.is_known() && alerts.origin == AlertOrigin::Rules {
        footer.push(cell(
            Role::Info,
            "from the rules of Prometheus, because no Alertmanager was found: silences and receivers are not known",
        ));
    }
    if alerts.total as usize > alerts.alerts.len() {
        let (kept, total) = (alerts.alerts.len() as u64, u64::from(alerts.total));
        footer.push(cell(Role::Warning, format!("the {} most severe of {}", grouped(kept), grouped(total))));
    }
    let silences = alerts.silences.as_ref().map_or(0, |all| all.len());
    if silences > 0 {
        footer.push(cell(Role::Dim, count(silences, "silence")));
    }
    footer.extend(sources::through(s.cluster, Feed::Alerts));
    footer
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::alert::Alert;
    use pilothouse_core::domain::cause::Severity;
    use pilothouse_core::domain::id::{ClusterId, Kind};

    use super::super::super::list::Filter;
    use super::*;

    fn line(name: &str, severity: Option<Severity>, state: AlertState, secs: i64) -> AlertLine {
        let labels: [(Name, Name); 2] = [("alertname".into(), name.into()), ("team".into(), "shop".into())];
        let alert = Alert {
            fingerprint: name.into(),
            labels: labels.into(),
            annotations: [(Name::from("summary"), Name::from("It is down.\nAll of it."))].into(),
            severity,
            state,
            since: Stamp::from_secs(secs),
            ..Alert::default()
        };
        let cart =
            ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &"cart".into(), &Uid::default());
        let row = AlertRow { alert: Arc::new(alert), objects: [cart].into(), namespace: "shop".into() };
        AlertLine { alerts: vec![Arc::new(row)], group: None }
    }

    #[test]
    fn what_nobody_has_seen_comes_first() {
        use AlertState::{Firing, Pending, Silenced};
        let mut rows = [
            line("quiet", Some(Severity::Critical), Silenced, 1),
            line("soon", Some(Severity::Critical), Pending, 2),
            line("new", Some(Severity::Critical), Firing, 9),
            line("old", Some(Severity::Critical), Firing, 3),
            line("warn", Some(Severity::Warning), Firing, 4),
            line("dog", None, Firing, 0),
        ];
        let mut sorted = |by| {
            rows.sort_by(|a, b| order(a, b, by));
            rows.iter().map(|l| l.first().unwrap().alert.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(sorted(0), ["old", "new", "warn", "soon", "dog", "quiet"]);
        assert_eq!(sorted(5), ["new", "warn", "old", "soon", "quiet", "dog"]);
        assert_eq!(ORDERS.len(), COLUMNS.len() + 1);
    }

    #[test]
    fn a_row_tells_what_is_known_and_the_filter_finds_labels() {
        let one = line("Down", Some(Severity::Critical), AlertState::Firing, 60);
        let cells = row(&one, Stamp::from_secs(180)).cells;
        let texts: Vec<&str> = cells.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(texts, ["–", "Down", "shop/deploy/cart", "It is down.", "2m", "firing", "–"]);
        let found = |text: &str| {
            let spec = Spec { filter: Filter::new(text), ..Spec::default() };
            passes(&one, &spec, NO_MORE)
        };
        assert!(found("team=shop") && found("all of it") && !found("team=pay"));
        let spec = |ns: &str| Spec { namespace: Some(ns.into()), ..Spec::default() };
        assert!(passes(&one, &spec("shop"), NO_MORE) && !passes(&one, &spec("pay"), NO_MORE));
    }
}
