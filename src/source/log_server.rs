//! Errors from a log store: a Loki or a VictoriaLogs. The lines of the last minutes are read first, the newest first; then
//! the store is asked for newer lines again and again. The queries overlap, and lines that were read before are
//! recognized, so that a restart of the store neither loses nor repeats lines.

mod client;
mod loki;
mod tail;
mod victoria;
mod writer;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::image;
use pilothouse_core::domain::log::Mark;
use pilothouse_core::domain::settings::{LogServerSettings, ServerSettings};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::World;
use pilothouse_core::policy::discovery::{self, Product};
use tokio::sync::watch;

use self::client::{Client, LogClient, TIMEOUT};
use self::tail::{Entry, Tail};
use self::writer::Writer;
use super::logs::join::{Joiner, untimed};
use super::logs::store::Origin;
use super::logs::twice::{Side, Twice};
use super::logs::{LogInput, LogStore, keep_telling};
use super::search;
use super::server::{self, Access, Kind, ServerError};
use super::sink::FactSink;
use super::supervise::{Backoff, Supervisor};
use crate::wire::list_watch::jitter;

/// How often the labels of the store are read again, to choose the streams.
const LABELS: Duration = Duration::from_secs(300);
/// The maximum number of writers that are counted.
const WRITERS: usize = 10_000;

/// The language of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    LogQl,
    LogsQl,
}

/// A log store.
#[derive(Debug)]
pub struct Store {
    pub kind: Kind,
    /// What its logs belong to, in the plural.
    unit: &'static str,
    product: &'static Product,
    language: Language,
    off: &'static str,
    waiting: &'static str,
}

pub static LOKI: Store = Store {
    kind: Kind {
        section: "loki",
        product: "Loki",
        api: "/loki/api/v1",
        not_base: "/loki/api/v1",
        ask_less: "set a lower loki.limit or a narrower loki.query",
        example: "monitoring/loki-gateway:http",
    },
    unit: "writers in Loki",
    product: &discovery::LOKI,
    language: Language::LogQl,
    off: "no Loki is configured (loki.url in the config), and loki.discover is false",
    waiting: "looking for a Loki among the cluster's Services",
};

pub static VICTORIA_LOGS: Store = Store {
    kind: Kind {
        section: "victorialogs",
        product: "VictoriaLogs",
        api: "/select/logsql",
        not_base: "/select/vmui or /select/logsql",
        ask_less: "set a lower victorialogs.limit or a narrower victorialogs.query",
        example: "monitoring/vlsingle-logs:http",
    },
    unit: "writers in VictoriaLogs",
    product: &discovery::VICTORIA_LOGS,
    language: Language::LogsQl,
    off: "no VictoriaLogs is configured (victorialogs.url in the config), and victorialogs.discover is false",
    waiting: "looking for a VictoriaLogs among the cluster's Services",
};

/// Returns the reason why the store is not queried.
pub fn off(store: &Store, settings: &ServerSettings) -> Option<&'static str> {
    settings.is_off().then_some(store.off)
}

/// Where the lines of a store go, and what is known of their pods.
pub struct Place<'a> {
    pub lines: &'a Arc<LogStore>,
    pub twice: &'a Arc<Twice>,
    pub world: &'a watch::Receiver<Arc<World>>,
    /// The namespaces that are watched. Empty: all.
    pub namespaces: &'a [Name],
}

/// Starts reading the store of the settings. `inside` is not needed for a URL.
pub fn start(
    store: &'static Store,
    settings: &LogServerSettings,
    inside: impl FnOnce() -> Access,
    place: &Place<'_>,
    sink: &FactSink,
    supervisor: &Supervisor,
) -> Result<Vec<Name>, String> {
    let client = Client::new(store, server::way(&store.kind, &settings.server, inside)?);
    let input = place.lines.input(store.kind.section, store.unit);
    let reader = Reader {
        store,
        settings: settings.clone(),
        namespaces: place.namespaces.to_vec(),
        input: input.clone(),
        twice: place.twice.clone(),
        world: place.world.clone(),
        cluster: sink.cluster(),
        writers: BTreeSet::new(),
        clusters: BTreeSet::new(),
    };
    let out = sink.clone();
    supervisor
        .spawn(store.kind.section, sink.clone(), move || reader.clone().run(client.clone(), out.clone()));
    keep_telling(&input, supervisor, sink);
    Ok(vec![input.source().clone()])
}

/// Reads a store.
#[derive(Clone)]
struct Reader {
    store: &'static Store,
    settings: LogServerSettings,
    /// The namespaces that are watched. Empty: all.
    namespaces: Vec<Name>,
    input: LogInput,
    twice: Arc<Twice>,
    world: watch::Receiver<Arc<World>>,
    cluster: ClusterId,
    writers: BTreeSet<Name>,
    /// The values of the label that names a cluster.
    clusters: BTreeSet<Name>,
}

impl Reader {
    async fn run(mut self, client: Client, out: FactSink) {
        let name = Name::from(self.store.kind.section);
        let every = Duration::from_secs(u64::from(self.settings.poll_secs.max(1)));
        let mut held = SourceStatus { name: name.clone(), ..SourceStatus::default() };
        if client.is_searched() {
            let error = Some(Name::from(self.store.waiting));
            out.status(SourceStatus { error, ..held.clone() }).await;
        }
        let mut backoff = Backoff::api();
        let mut tails: Vec<Tail> = Vec::new();
        let mut labels: Option<tokio::time::Instant> = None;
        loop {
            let began = tokio::time::Instant::now();
            let asked = self.poll(&client, &mut tails, &mut labels, &out).await;
            let now = out.clock().now();
            let (wait, least) = match asked {
                Ok(Polled { notes, more }) => {
                    backoff.reset();
                    let took = began.elapsed();
                    let notes: Vec<String> = notes.into_iter().chain(server::slowness(every, took)).collect();
                    let seen = client.seen();
                    held = SourceStatus {
                        name: name.clone(),
                        state: SourceState::Live,
                        last_ok: Some(now),
                        error: (!notes.is_empty()).then(|| Name::from(notes.join("; "))),
                        through: seen.through,
                        found: seen.found,
                        ..SourceStatus::default()
                    };
                    let wait = if more { Duration::ZERO } else { server::interval(every, took) };
                    (wait, Duration::ZERO)
                }
                Err(error) => {
                    if matches!(error, ServerError::NoneFound(_)) {
                        self.twice.expect(false);
                    }
                    tails.iter_mut().for_each(Tail::fail);
                    let least = error.retry_after().unwrap_or_default();
                    let wait = backoff.next().max(every).max(least);
                    server::failed(&mut held, &error, client.seen(), self.store.path(), now, wait);
                    (wait, least)
                }
            };
            out.status(held.clone()).await;
            tokio::time::sleep(jitter(wait, 0.05).max(least)).await;
        }
    }

    /// Asks for new lines once.
    async fn poll(
        &mut self,
        client: &Client,
        tails: &mut Vec<Tail>,
        labels: &mut Option<tokio::time::Instant>,
        out: &FactSink,
    ) -> Result<Polled, ServerError> {
        let server = client.get().await?;
        self.twice.expect(true);
        let answer = async {
            if labels.is_none_or(|at| at.elapsed() >= LABELS) {
                self.choose(&server, tails).await?;
                *labels = Some(tokio::time::Instant::now());
            }
            let mut polled = Polled::default();
            for tail in tails.iter_mut() {
                let now = out.clock().now();
                let (passed, failed) = tail.pass(&server, now).await;
                // lines that came before a failure are not asked for again
                self.take(passed.entries, passed.gaps);
                failed.map_or(Ok(()), Err)?;
                polled.notes.extend(passed.notes);
                polled.more |= passed.more;
            }
            Ok(polled)
        }
        .await;
        client.note(&answer).await;
        let mut polled = answer?;
        if tails.is_empty() {
            polled.notes.push("it has no streams yet".into());
            *labels = None;
        }
        if self.clusters.len() > 1 {
            let (product, section) = (self.store.kind.product, self.store.kind.section);
            polled.notes.push(format!(
                "{product} has the lines of {} clusters: choose one with {section}.query",
                self.clusters.len()
            ));
        }
        self.input.following(self.writers.len(), u32::try_from(self.writers.len()).unwrap_or(u32::MAX));
        Ok(polled)
    }

    /// Chooses the queries by the labels of the store. A query that is running goes on where it is.
    async fn choose(&self, server: &LogClient, tails: &mut Vec<Tail>) -> Result<(), ServerError> {
        let queries = if self.settings.query.is_empty() {
            server.queries(&self.namespaces, TIMEOUT).await?
        } else {
            vec![self.settings.query.clone()]
        };
        tails.retain(|tail| queries.contains(&tail.query));
        for query in queries {
            if !tails.iter().any(|tail| tail.query == query) {
                tails.push(Tail::new(query, self.settings.limit, self.settings.since_mins));
            }
        }
        Ok(())
    }

    /// Puts lines into the store of lines, in the order of their time.
    fn take(&mut self, mut entries: Vec<Entry>, gaps: Vec<(Stamp, String)>) {
        entries.sort_by_key(|entry| entry.at);
        let world = self.world.borrow().clone();
        let mut joiners: HashMap<Arc<Writer>, (Joiner, Origin)> = HashMap::new();
        for entry in entries {
            let writer = entry.writer;
            let known = self.namespaces.is_empty() || self.namespaces.contains(&writer.namespace);
            if !known && !writer.namespace.is_empty() {
                continue;
            }
            if !joiners.contains_key(&writer) {
                self.note(&writer);
                let joiner = Joiner::new(writer.pod_name(), writer.place());
                joiners.insert(writer.clone(), (joiner, origin(&world, self.cluster, &writer)));
            }
            let Some((joiner, origin)) = joiners.get_mut(&writer) else { continue };
            let at = Stamp(entry.at.div_euclid(1_000_000));
            let mut raw = untimed(&entry.text);
            raw.at = Some(at);
            raw.level = raw.level.or(entry.level);
            for line in joiner.take(raw, at) {
                if self.twice.is_first(Side::Server, &line) {
                    self.input.push(line, origin);
                }
            }
        }
        for (joiner, origin) in joiners.values_mut() {
            for line in joiner.flush() {
                if self.twice.is_first(Side::Server, &line) {
                    self.input.push(line, origin);
                }
            }
        }
        let own = Joiner::new(Name::default(), Name::from(self.store.kind.section));
        for (at, words) in gaps {
            self.input.push(own.marked(Mark::Gap, at, &words), &Origin::default());
        }
    }

    fn note(&mut self, writer: &Writer) {
        if self.writers.len() < WRITERS {
            self.writers.insert(Name::from(format!("{} {}", writer.pod_name(), writer.place())));
        }
        if !writer.cluster.is_empty() && self.clusters.len() < WRITERS {
            self.clusters.insert(writer.cluster.clone());
        }
    }
}

/// What a poll has to say.
#[derive(Debug, Default)]
struct Polled {
    notes: Vec<String>,
    /// There are more lines already.
    more: bool,
}

/// The workload and the version of a writer: those of its pod, if it still exists.
fn origin(world: &World, cluster: ClusterId, writer: &Writer) -> Origin {
    let known = || {
        let cluster = world.cluster(cluster)?;
        let pod = cluster.pod(&writer.namespace, &writer.pod)?;
        let workload = cluster.top_owner(pod).map_or_else(|| pod.name.clone(), |(_, name)| name);
        let mut containers = pod.shape.containers.iter().chain(pod.shape.init_containers.iter());
        let image = containers.find(|c| c.name == writer.container);
        let (image, version) = image.map(|c| image::split(&c.image)).unwrap_or_default();
        Some(Origin {
            workload: Name::from(format!("{}/{workload}", pod.namespace)),
            version: Name::from(version),
            node: pod.node.clone().unwrap_or_default(),
            image: Name::from(image),
        })
    };
    known().unwrap_or_else(|| Origin { workload: writer.workload(), ..Origin::default() })
}

impl Store {
    /// The path that is asked for lines.
    fn path(&self) -> &'static str {
        match self.language {
            Language::LogQl => loki::PATH,
            Language::LogsQl => victoria::PATH,
        }
    }
}

/// The labels of a line or a stream.
type Labels = BTreeMap<String, String>;
