//! The rows of panes that are derived from the tables of the cluster: joined, grouped or counted. They are rebuilt
//! only when their inputs change. This module also records the inputs of the sorted lists, so that a changed list is
//! repaired instead of sorted again.

pub mod actions;
pub mod alerts;
pub mod backends;
pub mod clusters;
pub mod events;
pub mod namespaces;
pub mod timeline;
pub mod traffic;
pub mod whatif;
pub mod workloads;

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::facts::table::Table;
use pilothouse_core::facts::world::{
    Cause, HpaRow, NodeRow, ServiceRow, Severity, SloRow, TrafficRow, WorkloadRow,
};
use pilothouse_core::policy::slices::{By, Slices};

use super::list::Base;

/// The derived rows of the panes, and their inputs.
#[derive(Debug, Default)]
pub struct PaneRows {
    pub nodes: Base<NodeRow>,
    pub workloads: Base<WorkloadRow>,
    /// The severities of the workloads in NOW, and a counter of their changes.
    pub told: workloads::Told,
    pub told_turn: u64,
    pub pods: Base<Pod>,
    /// The nodes that no longer report, as used by the order of the pods, and a counter of their changes.
    pub dead: BTreeSet<Name>,
    pub dead_turn: u32,
    pub hpas: Base<HpaRow>,
    pub services: Option<Table<ServiceRow>>,
    pub traffic: Option<Arc<[Arc<TrafficRow>]>>,
    pub slos: Option<Arc<[Arc<SloRow>]>>,
    /// Namespaces, names and severities of the Services with findings in NOW.
    pub found: Vec<(Name, Name, Severity)>,
    pub joined: Vec<traffic::Joined>,
    pub namespaces: Vec<namespaces::Place>,
    pub backends: Vec<backends::Backend>,
    /// The inputs of the backends.
    pub backends_of: Option<backends::Inputs>,
    /// The backends of the same Service in groups, and their inputs.
    pub slices: Slices,
    pub slices_of: Option<(By, backends::Inputs)>,
    pub timeline: timeline::Lines,
    pub events: events::EventGroups,
    pub alerts: alerts::AlertLines,
    pub clusters: Vec<clusters::ClusterLine>,
    /// The actions that another one has undone.
    pub undone: BTreeSet<Name>,
    /// The findings of the cluster in front that the rows of NOW were made from, and those that the terminal has shown.
    pub causes: Arc<[Arc<Cause>]>,
    pub causes_shown: Arc<[Arc<Cause>]>,
    /// The findings of all open clusters, if NOW shows them.
    pub everywhere: clusters::Everywhere,
    /// The Service in each open cluster.
    pub elsewhere: Vec<clusters::ServiceLine>,
}
