//! The defaults of a pane.

use super::super::command::Context;
use super::super::list::ListId;
use super::sources::State;
use super::{Enter, Pane, Place, Reads};

/// The defaults that most panes share. The table replaces the functions that differ for each pane.
pub(super) const COMMON: Pane = Pane {
    id: ListId::Now,
    name: "",
    keys: &[],
    contexts: &[Context::Lists, Context::Objects, Context::Everywhere],
    place: Place::First,
    kinds: &[],
    holds: &[],
    columns: &[],
    adjust: |_, column| Some(column),
    heads: true,
    printed: None,
    orders: &[],
    refresh: |_, _, _, _, _| {},
    key: |_, _| None,
    grade: None,
    row: |_, _| None,
    object: |_, _| None,
    enter: Enter::Text,
    reads: Reads::Object,
    opens_on: |_| None,
    title: |_| String::new(),
    counts: |_| Vec::new(),
    state: |_| State::default(),
    preface: |_| Vec::new(),
    footer: |_| Vec::new(),
    kept: None,
    measures: false,
    narrows: |_| true,
    cover: None,
    nothing: "no rows",
};
