//! The orders of the lists: what `o` goes through, the column that each is by, and the way it goes by itself.

use std::cmp::Ordering;

use super::super::app::Ui;
use super::super::cell::{Cell, cell};
use super::super::list::ListId;
use super::super::present::lists;
use super::super::theme::Role;
use super::{autoscalers, backends, errors, nodes, pods, traffic, workloads};

/// One order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub name: &'static str,
    /// The head of the column that it is by; empty where it is by more than one thing.
    pub head: &'static str,
    /// The largest first.
    pub falls: bool,
    /// Offered only while its column is on the screen.
    pub wide: bool,
}

impl Order {
    /// By what is worst, which is no column.
    pub const fn worst(name: &'static str) -> Self {
        Self { name, head: "", falls: true, wide: false }
    }

    /// The smallest first: names.
    pub const fn rises(name: &'static str, head: &'static str) -> Self {
        Self { name, head, falls: false, wide: false }
    }

    /// The largest first: numbers.
    pub const fn falls(name: &'static str, head: &'static str) -> Self {
        Self { name, head, falls: true, wide: false }
    }

    /// The same order, for a column that is there only where there is much room.
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}

/// The orders of a list; of what the server prints there is one for each column, which only the list knows.
pub fn of(id: ListId) -> &'static [Order] {
    match id {
        ListId::Nodes => &nodes::ORDERS,
        ListId::Traffic => &traffic::ORDERS,
        ListId::Errors => &errors::ORDERS,
        ListId::Autoscalers => &autoscalers::ORDERS,
        ListId::Workloads => &workloads::ORDERS,
        ListId::Pods => &pods::ORDERS,
        ListId::Backends => &backends::ORDERS,
        ListId::Now | ListId::Actions | ListId::Changes | ListId::Namespaces | ListId::Table => &[],
    }
}

/// How many orders there are.
pub fn count(ui: &Ui, id: ListId) -> usize {
    if id == ListId::Table { ui.table.columns.len() + 1 } else { of(id).len() }
}

/// The order in words: `by pods`, `by pods, reversed`.
pub fn words(ui: &Ui, id: ListId) -> String {
    let list = ui.list(id);
    let name = match (id, list.order.checked_sub(1)) {
        (ListId::Table, Some(column)) => {
            format!("by {}", ui.table.columns.get(column).map_or("", String::as_str))
        }
        (ListId::Table, None) => "as the server lists them".to_owned(),
        _ => of(id).get(list.order).map_or("", |o| o.name).to_owned(),
    };
    if list.reverse { format!("{name}, reversed") } else { name }
}

/// The order, where it is not the list's own.
pub fn note(ui: &Ui, id: ListId) -> Option<Cell> {
    let list = ui.list(id);
    (list.order > 0 || list.reverse).then(|| cell(Role::Info, words(ui, id)))
}

/// The column that the list is ordered by, by its index, and the mark in its head.
pub fn mark(ui: &Ui, id: ListId, heads: &[&'static str]) -> Option<(usize, &'static str)> {
    let list = ui.list(id);
    let (column, falls) = if id == ListId::Table {
        (list.order.checked_sub(1)?, false)
    } else {
        let order = of(id).get(list.order).filter(|o| !o.head.is_empty())?;
        (heads.iter().position(|head| *head == order.head)?, order.falls)
    };
    Some((column, if falls == list.reverse { "▲" } else { "▼" }))
}

/// The ordering as the list wants it.
pub fn turned(ordering: Ordering, reverse: bool) -> Ordering {
    if reverse { ordering.reverse() } else { ordering }
}

/// Two cells as the server prints them: numbers by their value, then texts.
pub fn printed(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.trim_end_matches('%').parse::<f64>().ok();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

/// Whether `o` comes by the order: one for a column of a wide screen needs that to be seen.
fn is_offered(ui: &Ui, id: ListId, at: usize) -> bool {
    let Some(order) = of(id).get(at).filter(|order| order.wide) else { return true };
    let columns = lists::columns(ui, id);
    let drawn = &ui.list(id).drawn;
    columns.iter().position(|c| c.head == order.head).is_some_and(|i| drawn.contains(&i))
}

/// The next order, from its top: what was chosen in another order is not what one looks for in this one.
pub fn next(ui: &mut Ui, id: ListId) {
    let (count, at) = (count(ui, id), ui.list(id).order);
    let next = (1..=count).map(|step| (at + step) % count).find(|at| is_offered(ui, id, *at));
    let list = ui.list_mut(id);
    list.order = next.unwrap_or(0);
    list.reverse = false;
    list.to_top();
}

#[cfg(test)]
mod tests {
    use super::super::super::widget::columns::{Column, Cut};
    use super::*;

    #[test]
    fn every_order_is_by_a_column_that_there_is() {
        for (id, columns) in [
            (ListId::Nodes, nodes::COLUMNS.to_vec()),
            (ListId::Traffic, traffic::COLUMNS.to_vec()),
            (ListId::Errors, errors::COLUMNS.to_vec()),
            (ListId::Autoscalers, autoscalers::COLUMNS.to_vec()),
            (ListId::Workloads, workloads::COLUMNS.to_vec()),
            (ListId::Pods, pods::COLUMNS.to_vec()),
            (ListId::Backends, backends::COLUMNS.to_vec()),
        ] {
            let orders = of(id);
            let heads: Vec<&str> = columns.iter().map(|c| c.head).collect();
            for order in orders.iter().skip(1) {
                assert!(heads.contains(&order.head), "{id:?} {}", order.name);
            }
            // the state is in the order that a list has by itself, and what is drawn has none
            let of_itself = ["", "STATE", "VERDICT", "TREND", "SHARE", "EXP", "METRIC", "ALL METRICS"];
            let drawn = |c: &Column| c.cut == Cut::Scale || of_itself.contains(&c.head);
            for column in columns.iter().filter(|c| !drawn(c)) {
                assert!(
                    orders.iter().any(|o| o.head == column.head),
                    "{id:?} has no order by {}",
                    column.head
                );
            }
        }
    }

    #[test]
    fn numbers_are_no_texts() {
        assert_eq!(printed("9", "10"), Ordering::Less);
        assert_eq!(printed("9%", "10%"), Ordering::Less);
        assert_eq!(printed("b", "10"), Ordering::Greater);
    }
}
