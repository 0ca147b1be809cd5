//! The table of panes. It lists every pane, on the first screen or with a screen of its own. The layout, keys, help,
//! filter, order, choice of columns and `pilothouse get` are derived from it. The functions of a pane are in the file
//! of its name.

pub mod actions;
pub mod alerts;
pub mod autoscalers;
pub mod backends;
pub mod causes;
pub mod clusters;
pub mod elsewhere;
pub mod errors;
pub mod events;
pub mod namespaces;
pub mod nodes;
pub mod novelty;
pub mod orders;
pub mod pods;
pub mod printed;
pub mod slices;
pub mod sources;
pub mod timeline;
pub mod traffic;
pub mod workloads;

mod ask;
mod choice;
mod common;
mod place;

use pilothouse_core::domain::id::{Kind, ObjectRef, Uid};
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::state::timeline::Line;

pub use self::ask::{Shown, columns, in_context, key, object, objects, of, of_kind, on_first_screen, row};
pub use self::choice::{NotThere, chosen, columns_markdown};
pub use self::place::{Enter, Place, Reads};
use super::app::Ui;
use super::cell::{self, Cell, Grade, RowView};
use super::command::{Cmd, Context};
use super::list::{List, ListId, Spec};
use super::rows::alerts::AlertLine;
use super::rows::backends::Backend;
use super::rows::events::EventGroup;
use super::rows::traffic::Joined;
use super::widget::columns::Column;
use common::COMMON;
use orders::Order;
use sources::State;

/// One pane.
pub struct Pane {
    pub id: ListId,
    /// The name of the pane in the config (`[ui.columns]`) and for `pilothouse get`.
    pub name: &'static str,
    /// The commands that open the pane. The title shows the key of the first one.
    pub keys: &'static [Cmd],
    /// Where keys are looked up while the pane has the focus, the narrowest context first.
    pub contexts: &'static [Context],
    pub place: Place,
    /// The kinds whose lists `:` opens in this pane.
    pub kinds: &'static [Kind],
    /// Other kinds whose objects are among the rows of this pane.
    pub holds: &'static [Kind],
    /// The columns. The slice is empty if only the API server knows the columns.
    pub columns: &'static [Column],
    /// Changes a column according to the state of the screen, or omits it.
    pub adjust: fn(&Ui, Column) -> Option<Column>,
    /// Whether the columns have headers.
    pub heads: bool,
    /// The column headers that the API server returned. Each is a column and an order.
    pub printed: Option<fn(&Ui) -> &[String]>,
    /// The orders that `o` cycles through. If the slice is empty, the pane has a single order that needs no name.
    pub orders: &'static [Order],
    /// Filters and sorts: updates `List::sorted` to match the table and the `Spec`.
    pub refresh: fn(&mut Ui, &World, &Cluster, &mut Spec, &mut List),
    /// Returns the identity of a row.
    pub key: fn(&Shown<'_>, u32) -> Option<Uid>,
    /// Returns the severity of a row. Rows that have a grade keep their places for a while. Other rows move
    /// immediately.
    pub grade: Option<fn(&Shown<'_>, u32) -> Option<Grade>>,
    pub row: fn(&Shown<'_>, u32) -> Option<RowView>,
    /// Returns the object that a row is about.
    pub object: fn(&Shown<'_>, &Uid) -> Option<ObjectRef>,
    pub enter: Enter,
    pub reads: Reads,
    /// Returns the row to select when the pane opens, or `None` to keep the previous selection.
    pub opens_on: fn(&Shown<'_>) -> Option<Uid>,
    pub title: fn(&Shown<'_>) -> String,
    /// Returns the counts that follow the title.
    pub counts: fn(&Shown<'_>) -> Vec<Cell>,
    /// Returns the state of the pane's source.
    pub state: fn(&Shown<'_>) -> State,
    /// Returns the lines above the column headers.
    pub preface: fn(&Shown<'_>) -> Vec<Cell>,
    pub footer: fn(&Shown<'_>) -> Vec<Cell>,
    /// Whether the rows of an earlier moment are known; `None`: the history does not keep them.
    pub kept: Option<fn(&Cluster) -> bool>,
    /// Whether its rows have numbers of a monitoring server.
    pub measures: bool,
    /// Whether the selected namespace hides rows of this pane.
    pub narrows: fn(&Ui) -> bool,
    /// Returns which namespaces of the table are read. A namespace that is not read must not look like an empty one.
    pub cover: Option<fn(&Cluster) -> &Coverage>,
    /// The message that is shown if the pane has no rows.
    pub nothing: &'static str,
}

/// All panes, in the order of [`ListId`].
pub static PANES: [Pane; ListId::COUNT] = [
    Pane {
        id: ListId::Now,
        name: "now",
        contexts: &[Context::Now, Context::Lists, Context::Objects, Context::Everywhere],
        place: Place::Top,
        columns: &causes::COLUMNS,
        heads: false,
        refresh: causes::refresh,
        key: causes::key_of,
        row: causes::row_of,
        object: causes::object_of,
        enter: Enter::Cause,
        reads: Reads::Cause,
        title: |_| "NOW".into(),
        counts: causes::counts,
        state: causes::state,
        footer: |s| causes::changes(s.ui, s.world, s.cluster, s.ui.size.0 < 110),
        nothing: "no causes",
        kept: Some(|cluster| cluster.nodes.cover.is_read()),
        ..COMMON
    },
    Pane {
        id: ListId::Nodes,
        name: "nodes",
        keys: &[Cmd::Open(ListId::Nodes)],
        contexts: &[Context::Nodes, Context::Lists, Context::Objects, Context::Everywhere],
        kinds: &[Kind::Node],
        columns: &nodes::COLUMNS,
        orders: &nodes::ORDERS,
        refresh: nodes::refresh,
        key: |s, row| s.cluster.derived.nodes.at(row).map(|r| r.node.uid.clone()),
        grade: Some(|s, row| s.cluster.derived.nodes.at(row).map(|r| nodes::grade(r))),
        row: |s, row| Some(nodes::row(s.cluster.derived.nodes.at(row)?, s.cover_of_counts(), s.ui.now)),
        object: |s, uid| s.cluster.derived.nodes.by_uid(uid).map(|r| r.node.reference(s.cluster.id())),
        enter: Enter::Pods,
        title: |_| "Nodes".into(),
        counts: nodes::counts,
        state: |s| s.table("nodes", &s.cluster.nodes.cover, s.cluster.nodes.fresh),
        footer: |s| nodes::footer(s.cluster),
        narrows: |_| false,
        cover: Some(|cluster| &cluster.nodes.cover),
        nothing: "no nodes",
        kept: Some(|cluster| cluster.nodes.cover.is_read()),
        measures: true,
        ..COMMON
    },
    Pane {
        id: ListId::Traffic,
        name: "traffic",
        keys: &[Cmd::Open(ListId::Traffic)],
        contexts: &[Context::Traffic, Context::Lists, Context::Objects, Context::Everywhere],
        kinds: &[Kind::Service, Kind::EndpointSlice],
        columns: &traffic::COLUMNS,
        orders: &traffic::ORDERS,
        refresh: traffic::refresh,
        key: |s, row| traffic::at(s, row).map(Joined::key),
        grade: Some(|s, row| traffic::at(s, row).map(Joined::grade)),
        row: |s, row| {
            Some(traffic::row(traffic::at(s, row)?, s.ui.namespace.is_none(), s.ui.past.is_some(), s.ui.now))
        },
        object: |s, uid| Some(s.ui.rows.joined.iter().find(|j| j.key() == *uid)?.object(s.cluster)),
        enter: Enter::Backends,
        title: |_| "Traffic".into(),
        counts: |s| traffic::counts(&s.ui.rows.joined, &s.here()),
        state: traffic::state,
        footer: traffic::footer,
        cover: Some(|cluster| &cluster.services.cover),
        nothing: "no services",
        kept: Some(|cluster| cluster.services.cover.is_read()),
        measures: true,
        ..COMMON
    },
    Pane {
        id: ListId::Errors,
        name: "errors",
        keys: &[Cmd::Open(ListId::Errors)],
        contexts: &[Context::Errors, Context::Lists, Context::Objects, Context::Everywhere],
        columns: &errors::COLUMNS,
        orders: &errors::ORDERS,
        refresh: errors::refresh,
        key: |s, row| errors::at(s, row).map(errors::key),
        grade: Some(|s, row| errors::at(s, row).map(|group| errors::grade(group, &s.novelty(), s.ui.now))),
        row: |s, row| Some(errors::row(errors::at(s, row)?, s.cluster, &s.novelty(), s.ui.now)),
        object: errors::object_of,
        reads: Reads::ErrorGroup,
        title: |_| "Errors".into(),
        counts: |s| errors::counts(s.cluster, &s.here(), &s.novelty()),
        state: errors::state,
        nothing: "no error lines so far",
        ..COMMON
    },
    Pane {
        id: ListId::Autoscalers,
        name: "autoscalers",
        keys: &[Cmd::Open(ListId::Autoscalers)],
        contexts: &[Context::Autoscalers, Context::Lists, Context::Objects, Context::Everywhere],
        kinds: &[Kind::HorizontalPodAutoscaler],
        columns: &autoscalers::COLUMNS,
        orders: &autoscalers::ORDERS,
        refresh: autoscalers::refresh,
        key: |s, row| s.cluster.derived.hpas.at(row).map(|row| row.hpa.uid.clone()),
        grade: Some(|s, row| s.cluster.derived.hpas.at(row).map(|row| autoscalers::grade(row))),
        row: |s, row| {
            Some(autoscalers::row(s.cluster.derived.hpas.at(row)?, s.ui.now, s.ui.namespace.is_none()))
        },
        object: |s, uid| s.cluster.hpas.by_uid(uid).map(|hpa| hpa.reference(s.cluster.id())),
        title: |_| "Autoscalers".into(),
        counts: |s| autoscalers::counts(s.cluster, &s.here()),
        state: |s| s.table("horizontalpodautoscalers", &s.cluster.hpas.cover, s.cluster.hpas.fresh),
        footer: |s| autoscalers::footer(s.cluster, s.ui.namespace.is_some()),
        cover: Some(|cluster| &cluster.hpas.cover),
        nothing: "no autoscalers",
        kept: Some(|cluster| cluster.hpas.cover.is_read()),
        ..COMMON
    },
    Pane {
        id: ListId::Workloads,
        name: "workloads",
        keys: &[Cmd::Open(ListId::Workloads)],
        contexts: &[Context::Workloads, Context::Lists, Context::Objects, Context::Everywhere],
        place: Place::Screen,
        kinds: &[Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet],
        holds: &[Kind::Job, Kind::ReplicaSet],
        columns: &workloads::COLUMNS,
        orders: &workloads::ORDERS,
        refresh: workloads::refresh,
        key: |s, row| s.cluster.derived.workloads.at(row).map(|r| r.workload.uid.clone()),
        grade: Some(|s, row| Some(workloads::grade(s.cluster.derived.workloads.at(row)?, &s.ui.rows.told))),
        row: |s, row| Some(workloads::row(s.cluster.derived.workloads.at(row)?, &s.ui.rows.told, s.ui.now)),
        object: |s, uid| {
            s.cluster.derived.workloads.by_uid(uid).map(|r| r.workload.reference(s.cluster.id()))
        },
        enter: Enter::Pods,
        title: |_| "Workloads".into(),
        counts: |s| workloads::counts(s.cluster, &s.here()),
        state: workloads::state,
        cover: Some(|cluster| &cluster.pods.cover),
        nothing: "no workloads",
        kept: Some(|cluster| cluster.deployments.cover.is_read()),
        ..COMMON
    },
    Pane {
        id: ListId::Pods,
        name: "pods",
        keys: &[Cmd::Open(ListId::Workloads), Cmd::TogglePods],
        contexts: &[Context::Pods, Context::Lists, Context::Objects, Context::Everywhere],
        place: Place::Screen,
        kinds: &[Kind::Pod],
        columns: &pods::COLUMNS,
        adjust: pods::adjust,
        orders: &pods::ORDERS,
        refresh: pods::refresh,
        key: |s, row| s.cluster.pods.at(row).map(|pod| pod.uid.clone()),
        grade: Some(|s, row| Some(pods::grade(s.cluster.pods.at(row)?, &s.ui.rows.dead, s.ui.now))),
        row: |s, row| Some(pods::row(s.cluster.pods.at(row)?, s.cluster, &s.ui.rows.dead, s.ui.now)),
        object: |s, uid| s.cluster.pods.by_uid(uid).map(|pod| pod.reference(s.cluster.id())),
        title: |s| pods::title(&s.ui.pod_scope),
        counts: |s| pods::counts(s.ui, s.cluster),
        state: |s| s.table("pods", &s.cluster.pods.cover, s.cluster.pods.fresh),
        narrows: |ui| ui.pod_scope == super::app::PodScope::All,
        cover: Some(|cluster| &cluster.pods.cover),
        nothing: "no pods",
        ..COMMON
    },
    Pane {
        id: ListId::Backends,
        name: "backends",
        contexts: &[Context::Backends, Context::Lists, Context::Objects, Context::Everywhere],
        place: Place::Below,
        columns: &backends::COLUMNS,
        orders: &backends::ORDERS,
        refresh: backends::refresh,
        key: |s, row| backends::at(s, row).map(Backend::key),
        grade: Some(|s, row| backends::at(s, row).map(Backend::grade)),
        row: |s, row| backends::at(s, row).map(backends::row),
        object: |s, uid| {
            s.ui.rows.backends.iter().find(|b| b.key() == *uid)?.object(s.cluster, &s.ui.service.0)
        },
        title: |s| format!("Backends of {}/{}", s.ui.service.0, s.ui.service.1),
        counts: |s| cell::counts(s.ui.rows.backends.iter().map(Backend::grade)),
        state: traffic::state_of_backends,
        preface: backends::preface,
        narrows: |_| false,
        nothing: "no backends",
        ..COMMON
    },
    Pane {
        id: ListId::Slices,
        name: "slices",
        contexts: &[Context::Backends, Context::Lists, Context::Objects, Context::Everywhere],
        place: Place::Below,
        columns: &slices::COLUMNS,
        orders: &slices::ORDERS,
        refresh: slices::refresh,
        key: |s, row| slices::at(s, row).map(|slice| slices::key(s.ui.split, slice)),
        row: |s, row| Some(slices::row(&s.ui.rows.slices, slices::at(s, row)?)),
        object: slices::object_of,
        enter: Enter::Slice,
        reads: Reads::Nothing,
        title: slices::title,
        state: traffic::state_of_backends,
        preface: slices::preface,
        narrows: |_| false,
        nothing: "there are no metrics of this Service",
        ..COMMON
    },
    Pane {
        id: ListId::Alerts,
        name: "alerts",
        keys: &[Cmd::Open(ListId::Alerts)],
        contexts: &[Context::Alerts, Context::Lists, Context::Objects, Context::Everywhere],
        place: Place::Screen,
        columns: &alerts::COLUMNS,
        orders: &alerts::ORDERS,
        refresh: alerts::refresh,
        key: |s, row| alerts::at(s, row).map(AlertLine::key),
        grade: Some(|s, row| alerts::at(s, row).map(AlertLine::grade)),
        row: |s, row| Some(alerts::row(alerts::at(s, row)?, s.ui.now)),
        object: alerts::object_of,
        enter: Enter::Alerts,
        reads: Reads::Alert,
        title: |_| "Alerts".into(),
        counts: alerts::counts,
        state: alerts::state,
        footer: alerts::footer,
        nothing: "no alerts",
        kept: Some(|cluster| cluster.alerts.is_known()),
        ..COMMON
    },
    Pane {
        id: ListId::Actions,
        name: "actions",
        keys: &[Cmd::Open(ListId::Actions)],
        contexts: &[Context::Actions, Context::Lists, Context::Everywhere],
        place: Place::Over,
        columns: &actions::COLUMNS,
        adjust: actions::adjust,
        refresh: actions::refresh,
        key: |s, row| s.world.actions.get(row as usize).map(|action| super::rows::actions::key(action)),
        row: |s, row| actions::row_of(s, row),
        reads: Reads::Action,
        opens_on: actions::opens_on,
        title: |_| "Actions".into(),
        counts: actions::counts,
        state: |_| State::empty("no actions yet: they appear here with their steps"),
        narrows: |_| false,
        nothing: "no actions",
        kept: Some(|_| true),
        ..COMMON
    },
    Pane {
        id: ListId::Timeline,
        name: "timeline",
        keys: &[Cmd::Open(ListId::Timeline)],
        contexts: &[Context::Timeline, Context::Lists, Context::Objects, Context::Everywhere],
        place: Place::Over,
        columns: &timeline::COLUMNS,
        adjust: timeline::adjust,
        orders: &timeline::ORDERS,
        refresh: timeline::refresh,
        key: |s, row| timeline::at(s, row).map(Line::key),
        row: |s, row| Some(timeline::row(timeline::at(s, row)?, s.ui.today())),
        object: timeline::object_of,
        title: |_| "Timeline".into(),
        counts: timeline::counts,
        preface: timeline::preface,
        footer: timeline::footer,
        nothing: "nothing happened in the last six hours",
        kept: Some(|_| true),
        ..COMMON
    },
    Pane {
        id: ListId::Events,
        name: "events",
        keys: &[Cmd::Open(ListId::Events)],
        place: Place::Over,
        kinds: &[Kind::Event],
        columns: &events::COLUMNS,
        orders: &events::ORDERS,
        refresh: events::refresh,
        key: |s, row| events::at(s, row).map(EventGroup::key),
        grade: Some(|s, row| events::at(s, row).map(events::grade)),
        row: |s, row| Some(events::row(events::at(s, row)?, s.ui.now)),
        object: events::object_of,
        title: |_| "Events".into(),
        counts: events::counts,
        state: |s| s.table("events", &s.cluster.events.cover, s.cluster.events.fresh),
        cover: Some(|cluster| &cluster.events.cover),
        nothing: "no events",
        ..COMMON
    },
    Pane {
        id: ListId::Namespaces,
        name: "namespaces",
        contexts: &[Context::Lists, Context::Everywhere],
        place: Place::Over,
        kinds: &[Kind::Namespace],
        columns: &namespaces::COLUMNS,
        refresh: namespaces::refresh,
        key: namespaces::key_of,
        row: namespaces::row_of,
        enter: Enter::Namespace,
        reads: Reads::Nothing,
        title: |_| "Namespaces".into(),
        narrows: |_| false,
        nothing: "no namespaces seen yet",
        ..COMMON
    },
    clusters::PANE,
    elsewhere::PANE,
    Pane {
        id: ListId::Table,
        name: "table",
        place: Place::Below,
        printed: Some(|ui| &ui.table.columns),
        refresh: printed::refresh,
        key: printed::key,
        row: printed::row,
        object: printed::object,
        enter: Enter::Yaml,
        reads: Reads::Nothing,
        title: |s| s.ui.table_of.0.clone(),
        state: printed::state,
        narrows: |_| false,
        ..COMMON
    },
];
