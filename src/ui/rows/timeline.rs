//! The lines of the timeline, and which kinds of them are shown.

use std::sync::Arc;

use pilothouse_core::domain::alert::AlertRow;
use pilothouse_core::domain::event::KubeEvent;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::incident::{Incident, Remark};
use pilothouse_core::domain::node::Node;
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::history::History;
use pilothouse_core::facts::table::Table;
use pilothouse_core::facts::world::{ActionView, Change, Cluster, Severity, World};
use pilothouse_core::state::timeline::{Line, LineKind, lines};

use crate::ui::cell::Grade;
use crate::ui::list::Spec;

/// Which lines are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kinds {
    /// All but usual events, such as those of pods that start.
    #[default]
    Main,
    All,
    Only(LineKind),
}

impl Kinds {
    /// Returns the next choice.
    pub fn next(self) -> Self {
        let at = |kind| LineKind::ALL.iter().position(|k| *k == kind).unwrap_or(0);
        match self {
            Self::Main => Self::All,
            Self::All => LineKind::ALL.first().map_or(Self::Main, |kind| Self::Only(*kind)),
            Self::Only(kind) => LineKind::ALL.get(at(kind) + 1).map_or(Self::Main, |kind| Self::Only(*kind)),
        }
    }

    /// Whether a line is shown.
    pub fn shows(self, line: &Line) -> bool {
        match self {
            Self::Main => !line.usual,
            Self::All => true,
            Self::Only(kind) => line.kind == kind,
        }
    }

    /// Describes the choice.
    pub fn words(self) -> &'static str {
        match self {
            Self::Main => "without usual events",
            Self::All => "everything",
            Self::Only(kind) => kind.plural(),
        }
    }
}

/// The inputs of the lines.
#[derive(Debug)]
struct Origin {
    history: Arc<History>,
    changes: Arc<[Arc<Change>]>,
    alerts: Arc<[Arc<AlertRow>]>,
    incidents: Arc<[Arc<Incident>]>,
    remarks: Arc<[Arc<Remark>]>,
    actions: Arc<[Arc<ActionView>]>,
    events: Table<KubeEvent>,
    nodes: Table<Node>,
    deployments: Table<Workload>,
    jobs: Table<Workload>,
}

/// The lines, the newest first, and their inputs.
#[derive(Debug, Default)]
pub struct Lines {
    pub list: Vec<Line>,
    of: Option<Origin>,
}

impl Lines {
    /// Rebuilds the lines if an input has changed.
    pub fn refresh(&mut self, world: &World, cluster: &Cluster) {
        let derived = &cluster.derived;
        let same = |of: &Origin| {
            Arc::ptr_eq(&of.history, &derived.history)
                && Arc::ptr_eq(&of.changes, &derived.changes)
                && Arc::ptr_eq(&of.alerts, &derived.alerts)
                && Arc::ptr_eq(&of.incidents, &derived.incidents)
                && Arc::ptr_eq(&of.remarks, &derived.remarks)
                && Arc::ptr_eq(&of.actions, &world.actions)
                && of.events.same_rows(&cluster.events)
                && of.nodes.same_rows(&cluster.nodes)
                && of.deployments.same_rows(&cluster.deployments)
                && of.jobs.same_rows(&cluster.jobs)
        };
        if self.of.as_ref().is_some_and(same) {
            return;
        }
        self.of = Some(Origin {
            history: derived.history.clone(),
            changes: derived.changes.clone(),
            alerts: derived.alerts.clone(),
            incidents: derived.incidents.clone(),
            remarks: derived.remarks.clone(),
            actions: world.actions.clone(),
            events: cluster.events.clone(),
            nodes: cluster.nodes.clone(),
            deployments: cluster.deployments.clone(),
            jobs: cluster.jobs.clone(),
        });
        self.list = lines(world, cluster);
    }
}

/// Returns how bad a line is.
pub fn grade(line: &Line) -> Grade {
    match line.severity {
        None => Grade::Fine,
        Some(Severity::Info) => Grade::Info,
        Some(Severity::Warning) => Grade::Warning,
        Some(Severity::Critical) => Grade::Critical,
    }
}

/// Whether the line matches the filter, the namespace and the choice of kinds.
pub fn passes(line: &Line, spec: &Spec, kinds: Kinds) -> bool {
    let here = |ns: &Name| line.namespace.is_empty() || line.namespace == *ns;
    kinds.shows(line)
        && spec.namespace.as_ref().is_none_or(here)
        && (spec.filter.is_empty()
            || spec.filter.passes(&[
                line.kind.as_str(),
                &line.place(),
                &line.what.to_string(),
                line.by.as_deref().unwrap_or_default(),
            ]))
}
