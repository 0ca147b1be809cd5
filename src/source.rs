//! The sources convert data from outside to facts. This room depends on core and wire.
//!
//! [`SOURCES`] is the table of sources. Start-up, the states that the screen and `doctor` show, and the waiting of
//! headless commands are derived from it. A new source is a file and an entry. Sources publish through a
//! [`sink::FactSink`] and run under a [`supervise::Supervisor`]. [`objects`] is not a source: it reads single objects
//! on demand.

pub mod alerts;
pub mod kube;
pub mod log_file;
pub mod log_server;
pub mod logs;
pub mod objects;
pub mod prometheus;
pub mod recording;
pub mod search;
pub mod server;
pub mod sink;
pub mod supervise;

use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::kinds::Purpose;
use pilothouse_core::domain::settings::{LogServerSettings, Settings};
use pilothouse_core::domain::source::{Feed, SourceState, SourceStatus};
use pilothouse_core::facts::event::Identity;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::seen;
use tokio::sync::watch;

use self::kube::{Scope, metrics};
use self::log_server::{LOKI, VICTORIA_LOGS};
use self::logs::LogStore;
use self::logs::shares::Part;
use self::logs::twice::Twice;
use self::prometheus::ranges::Ranges;
use self::search::Catalog;
use self::server::Access;
use self::sink::FactSink;
use self::supervise::Supervisor;
use crate::wire::client::ReadClient;
use crate::wire::connect::Connection;

/// The inputs with which the sources of a cluster are started.
pub struct Setup<'a> {
    pub connection: &'a Connection,
    pub reader: &'a ReadClient,
    pub scope: Scope,
    pub settings: &'a Settings,
    /// The current World.
    pub world: &'a watch::Receiver<Arc<World>>,
    /// The store of log lines.
    pub lines: &'a Arc<LogStore>,
    /// Recognizes lines of pods that a log store delivers too.
    pub twice: &'a Arc<Twice>,
    /// How many logs may be followed at the same time.
    pub streams: &'a Arc<Part>,
    /// Asks the Prometheus for the screen.
    pub ranges: &'a Ranges,
    /// The number of pods in the last complete list.
    pub pods: &'a watch::Sender<Option<u64>>,
    pub sink: &'a FactSink,
    pub supervisor: &'a Supervisor,
}

impl Setup<'_> {
    /// Returns the access for sources that are read through the API server. If only some namespaces are watched, all
    /// Services are listed, because a Prometheus usually runs in another namespace.
    fn access(&self) -> Access {
        let (world, cluster) = (self.world.clone(), self.sink.cluster());
        let namespaces = self.scope.namespaces.clone();
        let catalog = if namespaces.is_empty() {
            Catalog::Watched { world, cluster }
        } else {
            Catalog::Listed { reader: self.reader.clone(), namespaces }
        };
        Access { reader: self.reader.clone(), catalog }
    }

    /// Starts reading a log store.
    fn store(
        &self,
        store: &'static log_server::Store,
        settings: &LogServerSettings,
        sink: &FactSink,
    ) -> Result<Vec<Name>, String> {
        let place = log_server::Place {
            lines: self.lines,
            twice: self.twice,
            world: self.world,
            namespaces: &self.scope.namespaces,
        };
        log_server::start(store, settings, || self.access(), &place, sink, self.supervisor)
    }

    /// Returns the namespace that is read if the user may not read the whole cluster.
    fn fallback(&self) -> Name {
        Name::from(self.connection.namespace.as_str())
    }
}

/// One source, or several similar ones.
pub struct Source {
    /// The name of the source's status. The names of similar sources begin with it.
    pub name: &'static str,
    /// The feed that the source publishes.
    pub feed: Feed,
    /// The section of the config that the source reads, or "" if it reads none.
    pub section: &'static str,
    /// The permissions that the source needs. The slice is empty if it does not use the API server.
    pub needs: &'static [Purpose],
    /// Returns why the source is off and how to enable it, or `None` if the settings enable it.
    pub off: fn(&Settings) -> Option<&'static str>,
    /// Starts the source and returns the names of its statuses. Returns an error if the settings are invalid, in
    /// which case nothing is started.
    pub start: fn(&Setup<'_>, &FactSink) -> Result<Vec<Name>, String>,
    /// Whether the data under these names is as complete as waiting can make it.
    pub is_settled: fn(&Cluster, &[Name]) -> bool,
}

impl Source {
    /// Whether the source reads logs of the cluster, and not files.
    fn is_log_of_cluster(&self) -> bool {
        self.feed == Feed::Logs && !self.needs.is_empty()
    }
}

/// The table of sources, in the order in which they start.
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
        needs: &[Purpose::Metrics],
        off: prometheus::off,
        start: |setup, sink| {
            let settings = &setup.settings.prometheus;
            prometheus::start(settings, || setup.access(), setup.ranges, sink, setup.supervisor)
        },
        is_settled: have_answered,
    },
    Source {
        name: alerts::NAME,
        feed: Feed::Alerts,
        section: alerts::NAME,
        needs: &[Purpose::Metrics],
        off: alerts::off,
        start: |setup, sink| {
            let (of, prometheus) = (&setup.settings.alertmanager, &setup.settings.prometheus);
            alerts::start(of, prometheus, || setup.access(), setup.world, sink, setup.supervisor)
        },
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
        // commands that need the logs of pods with problems wait for them themselves, because most clusters have none
        is_settled: |_, _| true,
    },
    Source {
        name: LOKI.kind.section,
        feed: Feed::Logs,
        section: LOKI.kind.section,
        needs: &[Purpose::Metrics],
        off: |settings| log_server::off(&LOKI, &settings.loki.server),
        start: |setup, sink| setup.store(&LOKI, &setup.settings.loki, sink),
        is_settled: have_answered,
    },
    Source {
        name: VICTORIA_LOGS.kind.section,
        feed: Feed::Logs,
        section: VICTORIA_LOGS.kind.section,
        needs: &[Purpose::Metrics],
        off: |settings| log_server::off(&VICTORIA_LOGS, &settings.victorialogs.server),
        start: |setup, sink| setup.store(&VICTORIA_LOGS, &setup.settings.victorialogs, sink),
        is_settled: have_answered,
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

/// A source that was started.
#[derive(Clone)]
pub struct Started {
    pub source: &'static Source,
    /// The names of the source's statuses.
    pub names: Vec<Name>,
}

/// The sources to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// All sources except the logs of pods.
    WithoutPodLogs,
    /// All sources except those that read logs of the cluster.
    WithoutLogs,
}

/// Starts the sources that the settings enable. A source that is off reports how to enable it.
pub fn start(setup: &Setup<'_>, wanted: Wanted) -> Result<Vec<Started>, String> {
    let mut started = Vec::new();
    for source in SOURCES {
        let is_wanted = match wanted {
            Wanted::All => true,
            Wanted::WithoutPodLogs => source.name != logs::NAME,
            Wanted::WithoutLogs => !source.is_log_of_cluster(),
        };
        if !is_wanted {
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

/// Whether all readable data has been read. A failure can pass, but a denied permission does not.
pub fn are_settled(started: &[Started], cluster: &Cluster) -> bool {
    started.iter().all(|s| (s.source.is_settled)(cluster, &s.names))
}

/// Whether each source has reported its state.
fn have_answered(cluster: &Cluster, names: &[Name]) -> bool {
    names.iter().all(|name| cluster.source(name).is_some_and(|s| s.state != SourceState::Starting))
}

fn objects_are_settled(cluster: &Cluster, names: &[Name]) -> bool {
    // the names of the other namespaces arrive with the identity of the user
    let partly = cluster.info.namespaces.is_empty()
        && cluster.tables().iter().any(|(_, cover, _)| matches!(cover, Coverage::Namespaces(_)));
    let known = !partly || cluster.identity != Identity::default();
    // the rows of a table and the state of its source arrive through different queues
    have_answered(cluster, names) && !seen::may_come(cluster) && known
}
