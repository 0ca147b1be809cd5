//! The orders of the lists: the orders that `o` cycles through, the column of each, and its default direction.

use std::cmp::Ordering;

use super::super::app::Ui;
use super::super::cell::RowView;
use super::super::cell::{Cell, cell};
use super::super::list::ListId;
use super::super::pane;
use super::super::theme::Role;
use super::super::widget::columns::Column;

/// One order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub name: &'static str,
    /// The header of the order's column, or an empty string if it sorts by more than one column.
    pub head: &'static str,
    /// Whether the largest value comes first.
    pub falls: bool,
    /// Whether the order is available only while its column is visible.
    pub wide: bool,
}

impl Order {
    /// Creates an order by severity, which has no column.
    pub const fn worst(name: &'static str) -> Self {
        Self { name, head: "", falls: true, wide: false }
    }

    /// Creates an order with the smallest value first, for names.
    pub const fn rises(name: &'static str, head: &'static str) -> Self {
        Self { name, head, falls: false, wide: false }
    }

    /// Creates an order with the largest value first, for numbers.
    pub const fn falls(name: &'static str, head: &'static str) -> Self {
        Self { name, head, falls: true, wide: false }
    }

    /// Returns the same order for a column that is visible only on a wide screen.
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}

/// Returns the number of orders.
pub fn count(ui: &Ui, id: ListId) -> usize {
    let pane = pane::of(id);
    pane.printed.map_or(pane.orders.len(), |heads| heads(ui).len() + 1)
}

/// Describes the order, such as `by pods` or `by pods, reversed`.
pub fn words(ui: &Ui, id: ListId) -> String {
    let (pane, list) = (pane::of(id), ui.list(id));
    let name = match (pane.printed, list.order.checked_sub(1)) {
        (Some(heads), Some(column)) => format!("by {}", heads(ui).get(column).map_or("", String::as_str)),
        (Some(_), None) => "as the server lists them".to_owned(),
        (None, _) => pane.orders.get(list.order).map_or("", |o| o.name).to_owned(),
    };
    if list.reverse { format!("{name}, reversed") } else { name }
}

/// Describes the order if it is not the default order of the list.
pub fn note(ui: &Ui, id: ListId) -> Option<Cell> {
    let list = ui.list(id);
    (list.order > 0 || list.reverse).then(|| cell(Role::Info, words(ui, id)))
}

/// Returns the index of the column that the list is ordered by, and the mark in its header.
pub fn mark(ui: &Ui, id: ListId, columns: &[(usize, Column)]) -> Option<(usize, &'static str)> {
    let (pane, list) = (pane::of(id), ui.list(id));
    let (column, falls) = if pane.printed.is_some() {
        (list.order.checked_sub(1)?, false)
    } else {
        let order = pane.orders.get(list.order).filter(|o| !o.head.is_empty())?;
        (columns.iter().position(|(_, column)| column.head == order.head)?, order.falls)
    };
    Some((column, if falls == list.reverse { "▲" } else { "▼" }))
}

/// Reverses the ordering if `reverse` is set.
pub fn turned(ordering: Ordering, reverse: bool) -> Ordering {
    if reverse { ordering.reverse() } else { ordering }
}

/// Compares two cells as the API server prints them: by value if both are numbers, otherwise as texts.
pub fn printed(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.trim_end_matches('%').parse::<f64>().ok();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

/// Whether `o` offers the order. An order by a column of a wide screen requires that the column is visible.
fn is_offered(ui: &Ui, id: ListId, at: usize) -> bool {
    let Some(order) = pane::of(id).orders.get(at).filter(|order| order.wide) else { return true };
    let drawn = &ui.list(id).drawn;
    let columns = pane::columns(ui, id);
    columns.iter().position(|(_, c)| c.head == order.head).is_some_and(|i| drawn.contains(&i))
}

/// Returns the order that follows the current one.
pub fn next(ui: &Ui, id: ListId) -> usize {
    let (count, at) = (count(ui, id), ui.list(id).order);
    (1..=count).map(|step| (at + step) % count).find(|at| is_offered(ui, id, *at)).unwrap_or(0)
}

/// Returns the texts of a row's columns.
pub fn texts(row: RowView) -> Vec<String> {
    row.cells.into_iter().map(|cell| cell.text).collect()
}

/// Returns the indexes of the rows that pass.
pub fn indexes<T>(rows: &[T], passes: impl Fn(&T) -> bool) -> Vec<u32> {
    (0u32..).zip(rows).filter(|(_, row)| passes(row)).map(|(i, _)| i).collect()
}

/// Sorts indexes of rows in the order of the list.
pub fn sort<T>(ids: &mut [u32], rows: &[T], reverse: bool, order: impl Fn(&T, &T) -> Ordering) {
    ids.sort_by(|a, b| match (rows.get(*a as usize), rows.get(*b as usize)) {
        (Some(a), Some(b)) => turned(order(a, b), reverse),
        _ => Ordering::Equal,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_no_texts() {
        assert_eq!(printed("9", "10"), Ordering::Less);
        assert_eq!(printed("9%", "10%"), Ordering::Less);
        assert_eq!(printed("b", "10"), Ordering::Greater);
    }
}
