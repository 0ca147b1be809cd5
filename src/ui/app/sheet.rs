//! A box over the screen that changes nothing: what would happen if the backends of a Service changed, and the queries
//! behind its numbers.

use pilothouse_core::domain::id::Name;

use crate::ui::app::TextLine;
use crate::ui::rows::whatif::Assumed;

/// What the box is about.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    WhatIf(Assumed),
    /// The queries, and the index of the selected one.
    Queries {
        backend: Option<Name>,
        at: usize,
    },
}

/// The open box.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    pub about: About,
    /// The namespace and name of the Service.
    pub service: (Name, Name),
    pub lines: Vec<TextLine>,
    /// The World that the lines are from. `None`: they must be built again.
    pub made: Option<u64>,
    /// The first visible row.
    pub top: usize,
    /// The number of visible rows, and of all rows, as of the last frame.
    pub page: usize,
    pub rows: usize,
}

impl Sheet {
    pub fn new(about: About, service: (Name, Name)) -> Self {
        Self { about, service, lines: Vec::new(), made: None, top: 0, page: 0, rows: 0 }
    }
}
