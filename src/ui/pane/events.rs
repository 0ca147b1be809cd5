//! The Events pane: events of the cluster, grouped by object and reason.

use std::cmp::Ordering;

use pilothouse_core::domain::id::{ObjectRef, Uid};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cluster, World};

use super::super::app::Ui;
use super::super::cell::{Cell, Grade, RowView, ago, cell, plain};
use super::super::list::{List, NO_MORE, Spec};
use super::super::rows::events::EventGroup;
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text::{count, grouped};
use super::Shown;
use super::orders::{Order, indexes, sort, texts};

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 9] = [
    Order::worst("warnings first"),
    Order::rises("latest first", "LAST"),
    Order::falls("by count", "COUNT"),
    Order::rises("by object", "OBJECT"),
    Order::rises("by reason", "REASON"),
    Order::rises("first seen last", "FIRST"),
    Order::rises("by namespace", "NAMESPACE"),
    Order::rises("by message", "MESSAGE"),
    Order::rises("by who reported it", "FROM").wide(),
];

/// The columns.
pub const COLUMNS: [Column; 8] = [
    Column::left("NAMESPACE", 6, 18, 5),
    Column::name("OBJECT", 16, 48),
    Column::left("REASON", 12, 28, 0),
    Column::right("COUNT", 5, 7, 0),
    Column::right("LAST", 4, 5, 0),
    Column::right("FIRST", 5, 5, 8),
    Column::text("MESSAGE", 20, 0),
    Column::left("FROM", 8, 30, 9),
];

/// Returns a row by its index.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a EventGroup> {
    s.ui.rows.events.list.get(row as usize)
}

/// Reasons of type Normal that indicate a problem.
const TROUBLE: [&str; 1] = ["NodeNotReady"];

/// Returns the severity of a group: a warning or none.
pub fn grade(group: &EventGroup) -> Grade {
    let is_trouble = group.warning || TROUBLE.contains(&group.reason.as_str());
    if is_trouble { Grade::Warning } else { Grade::Fine }
}

/// Formats the object as the column shows it, such as `pod/cart-1`.
fn object(group: &EventGroup) -> String {
    format!("{}/{}", group.about.kind.short(), group.about.name)
}

/// Whether the group matches the namespace and the filter.
fn passes(group: &EventGroup, spec: &Spec, more: impl Fn() -> Vec<String>) -> bool {
    spec.namespace.as_ref().is_none_or(|ns| group.namespace == *ns)
        && (spec.filter.is_empty()
            || spec.filter.passes_or(
                &[&group.namespace, &object(group), group.about.kind.as_str(), &group.reason, &group.message],
                more,
            ))
}

fn order(a: &EventGroup, b: &EventGroup, order: usize) -> Ordering {
    let by = match order {
        1 => Ordering::Equal,
        2 => b.count.cmp(&a.count),
        3 => object(a).cmp(&object(b)),
        4 => a.reason.cmp(&b.reason),
        5 => b.first.cmp(&a.first),
        6 => a.namespace.cmp(&b.namespace),
        7 => a.message.cmp(&b.message),
        8 => a.component.cmp(&b.component),
        _ => grade(b).cmp(&grade(a)),
    };
    let name = |g: &EventGroup| (g.namespace.clone(), g.about.name.clone(), g.reason.clone());
    by.then_with(|| b.last.cmp(&a.last)).then_with(|| name(a).cmp(&name(b)))
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    ui.rows.events.refresh(&cluster.events);
    let (groups, now) = (&ui.rows.events.list, ui.now);
    list.sorted = indexes(groups, |g| passes(g, spec, || texts(row(g, now))));
    sort(&mut list.sorted, groups, spec.reverse, |a, b| order(a, b, spec.order));
}

/// Builds one row.
pub fn row(group: &EventGroup, now: Stamp) -> RowView {
    let grade = grade(group);
    RowView {
        grade,
        cells: vec![
            cell(Role::Dim, group.namespace.as_str()),
            cell(if grade > Grade::Fine { Role::Strong } else { Role::Text }, object(group)),
            cell(grade.role(), group.reason.as_str()),
            plain(grouped(group.count)),
            plain(ago(now, group.last)),
            cell(Role::Dim, ago(now, group.first)),
            plain(group.message.as_str()),
            cell(Role::Dim, group.component.as_str()),
        ],
        ..RowView::default()
    }
}

/// Returns the object that the events are about.
pub fn object_of(s: &Shown<'_>, uid: &Uid) -> Option<ObjectRef> {
    s.ui.rows.events.list.iter().find(|g| g.key() == *uid).map(|g| g.about.reference(s.cluster.id()))
}

/// Counts the events in the rows of the selected namespace, and the rows with warnings.
pub fn counts(s: &Shown<'_>) -> Vec<Cell> {
    let spec = s.here();
    let here = || s.ui.rows.events.list.iter().filter(|g| passes(g, &spec, NO_MORE));
    let events: u64 = here().map(|g| g.count).sum();
    if events == 0 {
        return Vec::new();
    }
    let mut counts = Vec::new();
    let warnings = here().filter(|g| grade(g) > Grade::Fine).count();
    if warnings > 0 {
        counts.push(cell(Role::Warning, count(warnings, "warning")));
    }
    counts.push(plain(format!("of {}", grouped(here().count() as u64))));
    counts.push(cell(Role::Dim, format!("{} events in all", grouped(events))));
    counts
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::event::InvolvedObject;
    use pilothouse_core::domain::id::Kind;

    use super::*;

    fn group(name: &str, reason: &str, warning: bool, count: u64, last: i64) -> EventGroup {
        EventGroup {
            about: InvolvedObject {
                kind: Kind::Pod,
                namespace: "shop".into(),
                name: name.into(),
                uid: Uid::default(),
            },
            namespace: "shop".into(),
            reason: reason.into(),
            warning,
            count,
            first: None,
            last: Some(Stamp::from_secs(last)),
            message: "".into(),
            component: "".into(),
        }
    }

    #[test]
    fn warnings_come_first_and_the_latest_of_them() {
        let mut rows = [
            group("a", "Pulled", false, 1, 500),
            group("b", "BackOff", true, 40, 100),
            group("c", "Unhealthy", true, 2, 400),
        ];
        let mut sorted = |by| {
            rows.sort_by(|a, b| order(a, b, by));
            rows.iter().map(|g| g.about.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(sorted(0), ["c", "b", "a"]);
        assert_eq!(sorted(1), ["a", "c", "b"]);
        assert_eq!(sorted(2), ["b", "c", "a"]);
        assert_eq!(ORDERS.len(), COLUMNS.len() + 1);
    }

    #[test]
    fn what_is_not_known_is_no_number() {
        let cells = row(&group("a", "Pulled", false, 1200, 60), Stamp::from_secs(180)).cells;
        let texts: Vec<&str> = cells.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(texts.get(1..6), Some(["pod/a", "Pulled", "1,200", "2m", "–"].as_slice()));
    }
}
