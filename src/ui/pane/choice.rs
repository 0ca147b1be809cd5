//! The columns that the user selected for a pane, and their order.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::list::ListId;
use super::super::widget::columns::Column;
use super::{PANES, Pane};

/// A name in `[ui.columns]` that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotThere {
    /// The key in the `[ui.columns]` section.
    pub pane: String,
    pub what: String,
    /// The unknown name and the names that exist.
    pub name: String,
    pub known: Vec<String>,
}

/// Whether the user can select the columns of a pane. Columns that only the API server knows have no names.
fn has_choice(pane: &Pane) -> bool {
    pane.printed.is_none()
}

fn ids(pane: &Pane) -> Vec<String> {
    pane.columns.iter().map(Column::id).collect()
}

/// Returns the selected columns by their index in the table, and the errors in the selection. If the selection of a
/// pane has an error, the pane shows all of its columns.
pub fn chosen(own: &BTreeMap<String, Vec<String>>) -> (BTreeMap<ListId, Vec<usize>>, Vec<NotThere>) {
    let (mut chosen, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, columns) in own {
        let fault = |what: String, word: &str, known: Vec<String>| NotThere {
            pane: name.clone(),
            what,
            name: word.to_owned(),
            known,
        };
        let Some(pane) = PANES.iter().find(|pane| pane.name == name && has_choice(pane)) else {
            let known = PANES.iter().filter(|pane| has_choice(pane)).map(|pane| pane.name.to_owned());
            wrong.push(fault("there is no pane of that name with columns".into(), name, known.collect()));
            continue;
        };
        let known = ids(pane);
        let places: Vec<Option<usize>> =
            columns.iter().map(|id| known.iter().position(|there| there == id)).collect();
        let before = wrong.len();
        for (id, place) in columns.iter().zip(&places) {
            if place.is_none() {
                wrong.push(fault(format!("there is no column {id:?}"), id, known.clone()));
            } else if columns.iter().filter(|other| *other == id).count() > 1 {
                wrong.push(fault(format!("column {id:?} is there twice"), id, Vec::new()));
                break;
            }
        }
        if columns.is_empty() {
            wrong.push(fault("there is no column in it".into(), "", known));
        }
        if wrong.len() == before {
            chosen.insert(pane.id, places.into_iter().flatten().collect());
        }
    }
    (chosen, wrong)
}

/// Lists the column names for the README, one line for each pane.
pub fn columns_markdown() -> String {
    let mut out = "| pane | columns |\n|---|---|\n".to_owned();
    for pane in PANES.iter().filter(|pane| has_choice(pane)) {
        let names: Vec<String> = ids(pane).iter().map(|id| format!("`{id}`")).collect();
        writeln!(out, "| `{}` | {} |", pane.name, names.join(", ")).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pane: &str, columns: &[&str]) -> (Vec<usize>, Vec<String>) {
        let own = [(pane.to_owned(), columns.iter().map(|c| (*c).to_owned()).collect())].into();
        let (chosen, wrong) = chosen(&own);
        (chosen.into_values().next().unwrap_or_default(), wrong.into_iter().map(|w| w.what).collect())
    }

    #[test]
    fn columns_are_chosen_by_name_and_in_order() {
        assert_eq!(read("nodes", &["state", "node"]), (vec![1, 0], vec![]));
        assert_eq!(read("now", &["since", "cause"]), (vec![1, 0], vec![]));
        let wrong = |pane: &str, columns: &[&str]| {
            let (places, wrong) = read(pane, columns);
            assert!(places.is_empty(), "a pane with a mistake keeps its columns");
            wrong
        };
        assert_eq!(wrong("nodes", &["state", "nod"]), ["there is no column \"nod\""]);
        assert_eq!(wrong("nodes", &["state", "state"]), ["column \"state\" is there twice"]);
        assert_eq!(wrong("nodes", &[]), ["there is no column in it"]);
        for pane in ["knots", "table"] {
            assert_eq!(wrong(pane, &["node"]), ["there is no pane of that name with columns"], "{pane}");
        }
    }

    #[test]
    fn the_names_of_a_pane_differ() {
        for pane in PANES.iter().filter(|pane| has_choice(pane)) {
            let names = ids(pane);
            let unique: std::collections::BTreeSet<&String> = names.iter().collect();
            assert_eq!(unique.len(), names.len(), "{}: {names:?}", pane.name);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(names.iter().all(|n| !n.is_empty() && n.chars().all(plain)), "{names:?}");
        }
    }
}
