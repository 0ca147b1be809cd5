//! The rows of panes that are more than a table of the cluster: joined, grouped or counted, and made anew only when what
//! they are made from is another. And which tables the others were taken from, so that an order is repaired, not sorted.

pub mod actions;
pub mod backends;
pub mod changes;
pub mod events;
pub mod namespaces;
pub mod traffic;
pub mod workloads;

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::facts::table::Table;
use pilothouse_core::facts::world::{HpaRow, NodeRow, ServiceRow, Severity, TrafficRow, WorkloadRow};

use super::list::Base;

/// What the panes' rows were made from.
#[derive(Debug, Default)]
pub struct PaneRows {
    pub nodes: Base<NodeRow>,
    pub workloads: Base<WorkloadRow>,
    /// What NOW tells of the workloads, and how often that was something else.
    pub told: workloads::Told,
    pub told_turn: u64,
    pub pods: Base<Pod>,
    /// The dead nodes that the pods were ordered with, and how often they were others.
    pub dead: BTreeSet<Name>,
    pub dead_turn: u32,
    pub hpas: Base<HpaRow>,
    pub services: Option<Table<ServiceRow>>,
    pub traffic: Option<Arc<[Arc<TrafficRow>]>>,
    /// Namespaces and names of the Services that NOW has findings about.
    pub found: Vec<(Name, Name, Severity)>,
    pub joined: Vec<traffic::Joined>,
    pub namespaces: Vec<namespaces::Place>,
    pub backends: Vec<backends::Backend>,
    /// What they were collected from.
    pub backends_of: Option<backends::Inputs>,
    pub changes: changes::Entries,
    pub events: events::EventGroups,
}
