//! The sources: they turn the outside world into facts. Depends on core and wire.
//!
//! [`SOURCES`] is THE table of them. Start-up, the state that the screen and `doctor` show, and what the headless
//! commands wait for come from it; a new source is a file and an entry. Sources say what they see through a
//! [`sink::FactSink`] and live under a [`supervise::Supervisor`]. [`objects`] is no source: it reads single things on
//! demand.

pub mod kube;
mod log_file;
pub mod logs;
pub mod objects;
pub mod prometheus;
pub mod sink;
pub mod supervise;

use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::kinds::Purpose;
use pilothouse_core::domain::settings::Settings;
use pilothouse_core::domain::source::{Feed, SourceState, SourceStatus};
use pilothouse_core::facts::event::Identity;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::seen;
use tokio::sync::watch;

use self::kube::{Scope, metrics};
use self::logs::LogStore;
use self::sink::FactSink;
use self::supervise::Supervisor;
use crate::wire::client::ReadClient;
use crate::wire::connect::Connection;

/// What the sources of a cluster are started with.
pub struct Setup<'a> {
    pub connection: &'a Connection,
    pub reader: &'a ReadClient,
    pub scope: Scope,
    pub settings: &'a Settings,
    /// What is known of the cluster so far, as it changes.
    pub world: &'a watch::Receiver<Arc<World>>,
    /// Where log lines are kept.
    pub lines: &'a Arc<LogStore>,
    /// How many pods the last complete list had.
    pub pods: &'a watch::Sender<Option<u64>>,
    pub sink: &'a FactSink,
    pub supervisor: &'a Supervisor,
}

impl Setup<'_> {
    /// The namespace that is read when the whole cluster may not be.
    fn fallback(&self) -> Name {
        Name::from(self.connection.namespace.as_str())
    }
}

/// One source, or several alike.
pub struct Source {
    /// How its status is called; several alike have names that begin with it.
    pub name: &'static str,
    /// What it publishes.
    pub feed: Feed,
    /// The section of the config that it reads; "" for none.
    pub section: &'static str,
    /// What it asks the API server for; empty if it asks somebody else.
    pub needs: &'static [Purpose],
    /// Why it is off, and how it is switched on; None if the settings have it on.
    pub off: fn(&Settings) -> Option<&'static str>,
    /// Starts it, and says the names of its statuses. An error is one of the settings: nothing is started then.
    pub start: fn(&Setup<'_>, &FactSink) -> Result<Vec<Name>, String>,
    /// Whether what it publishes, under these names, is as complete as waiting makes it.
    pub is_settled: fn(&Cluster, &[Name]) -> bool,
}

impl Source {
    /// True if it asks nobody but the API server, about nothing but what a person may want to know beforehand.
    fn is_log_of_cluster(&self) -> bool {
        self.feed == Feed::Logs && !self.needs.is_empty()
    }
}

/// THE table of sources, in the order in which they start.
pub const SOURCES: &[Source] = &[
    Source {
        name: "objects",
        feed: Feed::Objects,
        section: "",
        needs: &[Purpose::See],
        off: |_| None,
        start: |setup, sink| Ok(kube::start(setup, sink)),
        is_settled: objects_are_settled,
    },
    Source {
        name: "metrics.k8s.io",
        feed: Feed::Usage,
        section: "",
        needs: &[Purpose::Usage],
        off: |_| None,
        start: |setup, sink| Ok(metrics::start(setup, sink)),
        is_settled: metrics::is_settled,
    },
    Source {
        name: prometheus::NAME,
        feed: Feed::Traffic,
        section: "prometheus",
        needs: &[],
        off: prometheus::off,
        start: |setup, sink| prometheus::start(&setup.settings.prometheus, sink, setup.supervisor),
        is_settled: have_answered,
    },
    Source {
        name: logs::NAME,
        feed: Feed::Logs,
        section: "logs",
        needs: &[Purpose::Logs],
        off: |settings| {
            (!settings.logs.enabled).then_some("logs are not followed: logs.enabled is false in the config")
        },
        start: |setup, sink| Ok(logs::start(setup, sink)),
        // what pods in trouble log is waited for where it is wanted: most clusters have none
        is_settled: |_, _| true,
    },
    Source {
        name: "log file",
        feed: Feed::Logs,
        section: "",
        needs: &[],
        off: |_| None,
        start: |setup, sink| Ok(log_file::start(setup, sink)),
        is_settled: log_file::is_settled,
    },
];

/// A source that runs.
#[derive(Clone)]
pub struct Started {
    pub source: &'static Source,
    /// The names of its statuses.
    pub names: Vec<Name>,
}

/// Which sources are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// All but those that read logs through the API server.
    WithoutPodLogs,
}

/// Starts the sources that the settings have on. One that is off says so, and how it is switched on.
pub fn start(setup: &Setup<'_>, wanted: Wanted) -> Result<Vec<Started>, String> {
    let mut started = Vec::new();
    for source in SOURCES {
        if wanted == Wanted::WithoutPodLogs && source.is_log_of_cluster() {
            continue;
        }
        let sink = setup.sink.of(source.feed);
        match (source.off)(setup.settings) {
            Some(how) => say_off(source.name, how, sink, setup.supervisor),
            None => started.push(Started { source, names: (source.start)(setup, &sink)? }),
        }
    }
    Ok(started)
}

fn say_off(name: &'static str, how: &'static str, sink: FactSink, supervisor: &Supervisor) {
    supervisor.spawn_once(async move {
        let (name, error) = (name.into(), Some(how.into()));
        sink.status(SourceStatus { name, state: SourceState::Off, error, ..SourceStatus::default() }).await;
    });
}

/// True once everything has been seen that can be: a failure may pass, a refusal does not.
pub fn are_settled(started: &[Started], cluster: &Cluster) -> bool {
    started.iter().all(|s| (s.source.is_settled)(cluster, &s.names))
}

/// Each has said how it is doing.
fn have_answered(cluster: &Cluster, names: &[Name]) -> bool {
    names.iter().all(|name| cluster.source(name).is_some_and(|s| s.state != SourceState::Starting))
}

fn objects_are_settled(cluster: &Cluster, names: &[Name]) -> bool {
    // the names of the other namespaces come with our identity
    let partly = cluster.info.namespaces.is_empty()
        && cluster.tables().iter().any(|(_, cover, _)| matches!(cover, Coverage::Namespaces(_)));
    let known = !partly || cluster.identity != Identity::default();
    // a table's rows and what its source is doing come by different ways
    have_answered(cluster, names) && !seen::may_come(cluster) && known
}
