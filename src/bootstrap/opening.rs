//! Opens and closes clusters. Each cluster is opened in a task of its own, so one that hangs or is down delays neither
//! the others nor the screen. What becomes of it is in the World.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::link::{ContextLine, Link};
use pilothouse_core::domain::settings::{ClusterSettings, Settings};
use pilothouse_core::domain::text;
use pilothouse_core::facts::event::Event;
use pilothouse_core::facts::world::{ClusterInfo, World};
use tokio::sync::{mpsc, watch};

use super::Start;
use super::cluster::{Handles, cluster};
use super::dialer::Dialer;
use super::session::{info, none_of};
use crate::hub::ClusterChange;
use crate::source::Wanted;
use crate::source::logs::shares::Shares;
use crate::source::sink::FactSink;
use crate::source::supervise::{Backoff, Supervisor};
use crate::wire::connect::Connection;

/// The waits between two attempts to open a cluster. A credential plugin can open a browser each time.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));

/// What opening a cluster needs of the start. Tasks that open clusters outlive the start's borrow.
#[derive(Clone)]
pub struct Basis {
    pub settings: Arc<Settings>,
    pub dialer: Dialer,
    /// The requested namespaces; empty: all.
    pub namespaces: Vec<Name>,
    pub is_demo: bool,
    /// The context of the first cluster, which the addresses of the config belong to.
    pub first: String,
}

impl Basis {
    /// Returns the settings of the cluster of a context.
    pub fn of(&self, context: &str) -> ClusterSettings {
        self.settings.of_cluster(context, self.first == context)
    }

    /// Returns what is known about a cluster before it is connected.
    pub fn info(&self, id: ClusterId, context: &str) -> ClusterInfo {
        info(self, id, &self.of(context), None)
    }

    /// Returns the contexts of the kubeconfig.
    pub fn contexts(&self) -> Result<Vec<ContextLine>, String> {
        let clean = |text: &str| Name::from(&*text::clean(text));
        let line = |found: crate::wire::kubeconfig::ContextInfo| {
            let of = self.of(&found.name);
            let guards = &of.settings.guards;
            ContextLine {
                context: found.name.as_str().into(),
                name: clean(&of.name),
                colour: of.colour.as_str().into(),
                cluster: clean(&found.cluster),
                user: clean(&found.user),
                protected: guards.protects_context(&found.name),
                read_only: guards.reads_only(&found.name),
            }
        };
        Ok(self.dialer.contexts()?.into_iter().map(line).collect())
    }
}

impl Start {
    /// Returns what opening clusters needs. `first` is the context of the first one.
    pub(super) fn basis(&self, first: &str) -> Basis {
        Basis {
            settings: Arc::new(self.settings.clone()),
            dialer: self.dialer(),
            namespaces: super::session::namespaces(self),
            is_demo: self.is_demo(),
            first: first.to_owned(),
        }
    }
}

/// The parts that the clusters of a session share.
pub struct Parts {
    pub basis: Basis,
    pub wanted: Wanted,
    /// Whether actions are possible.
    pub writes: bool,
    pub clusters: Handles,
    pub facts: mpsc::Sender<Event>,
    pub control: mpsc::Sender<Event>,
    pub changes: mpsc::Sender<ClusterChange>,
    pub world: watch::Receiver<Arc<World>>,
    pub supervisor: Supervisor,
    /// The memory for the log lines of all clusters, and the logs that are followed in all of them.
    pub memory: Shares,
    pub streams: Shares,
    /// Tells the user what was noticed while a cluster was opened.
    pub tell: Box<dyn Fn(String) + Send + Sync>,
}

/// Opens and closes clusters. Clones share everything, and the opener of the console is one for all.
#[derive(Clone)]
pub struct Opener(Arc<Shared>);

struct Shared {
    parts: Parts,
    open: Mutex<Open>,
}

/// The open clusters, with their contexts and tasks.
#[derive(Default)]
struct Open {
    next: u16,
    groups: BTreeMap<ClusterId, (Name, Supervisor)>,
}

impl Opener {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared { parts, open: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the ID for the next cluster, and the group of its tasks.
    fn enter(&self, open: &mut Open, context: &str) -> (ClusterId, Supervisor) {
        let (id, group) = (ClusterId(open.next), self.0.parts.supervisor.child());
        open.next = open.next.saturating_add(1);
        open.groups.insert(id, (context.into(), group.clone()));
        (id, group)
    }

    /// Starts to open a cluster that the hub knows already: the first ones.
    pub fn begin(&self, of: ClusterSettings) {
        let (id, group) = self.enter(&mut self.lock(), &of.context);
        group.spawn_once(self.clone().connect(id, of, group.clone()));
    }

    /// Adds a cluster that is connected already.
    pub(super) fn add(&self, of: &ClusterSettings, connection: Connection) -> Result<ClusterId, String> {
        let mut open = self.lock();
        let (id, group) = self.enter(&mut open, &of.context);
        self.start(id, of, connection, &group)?;
        Ok(id)
    }

    /// Opens the cluster of a context, if it is not open.
    pub fn open(&self, context: &str) -> Result<ClusterId, String> {
        let mut open = self.lock();
        if let Some((id, _)) = open.groups.iter().find(|(_, (held, _))| *held == *context) {
            return Ok(*id);
        }
        if open.next == u16::MAX {
            return Err("too many clusters were opened: start pilothouse again".into());
        }
        let (parts, id) = (&self.0.parts, ClusterId(open.next));
        let of = parts.basis.of(context);
        let clock = parts.basis.dialer.clock_of(context);
        let link = Link::Opening { since: clock.now() };
        let added = ClusterChange::Added(parts.basis.info(id, context), link, clock);
        parts.changes.try_send(added).map_err(|_| "busy: that was not opened, try again".to_owned())?;
        let (id, group) = self.enter(&mut open, context);
        group.spawn_once(self.clone().connect(id, of, group.clone()));
        Ok(id)
    }

    /// Closes a cluster: its sources stop, and nothing of it is kept.
    pub fn close(&self, id: ClusterId) -> Result<Name, String> {
        let mut open = self.lock();
        let held = open.groups.get(&id).map(|(context, group)| (context.clone(), group.clone()));
        let (context, group) = held.ok_or_else(|| "that cluster is not open".to_owned())?;
        let told = self.0.parts.changes.try_send(ClusterChange::Closed(id));
        told.map_err(|_| "busy: that was not closed, try again".to_owned())?;
        open.groups.remove(&id);
        group.cancel();
        self.0.parts.clusters.remove(id);
        Ok(context)
    }

    /// Returns the contexts of the kubeconfig.
    pub fn contexts(&self) -> Result<Vec<ContextLine>, String> {
        self.0.parts.basis.contexts()
    }

    /// Connects to a cluster, and tries again until it succeeds or is closed.
    async fn connect(self, id: ClusterId, of: ClusterSettings, group: Supervisor) {
        let parts = &self.0.parts;
        let mut backoff = Backoff::new(RETRY.0, RETRY.1).unwrap_or_else(|_| Backoff::api());
        let mut failing = None;
        loop {
            let failed = match parts.basis.dialer.open(&of.context).await {
                Ok(connection) => self.connected(id, &of, connection, &group).await,
                Err(why) => Err(why),
            };
            let Err(why) = failed else { return };
            tracing::warn!(context = %of.context, %why, "a cluster could not be opened");
            let since = *failing.get_or_insert_with(|| parts.basis.dialer.clock_of(&of.context).now());
            let why = Name::from(&*text::clean(&why));
            let _ended = parts.changes.send(ClusterChange::Linked(id, Link::Failed { since, why })).await;
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Starts the sources of a connected cluster, unless it was closed meanwhile.
    async fn connected(
        &self,
        id: ClusterId,
        of: &ClusterSettings,
        connection: Connection,
        group: &Supervisor,
    ) -> Result<(), String> {
        let parts = &self.0.parts;
        for note in &connection.notes {
            (parts.tell)(format!("{}: {note}", of.name));
        }
        let known = info(&parts.basis, id, of, Some(&connection));
        let _ended = parts.changes.send(ClusterChange::Connected(known)).await;
        {
            let open = self.lock();
            if !open.groups.contains_key(&id) {
                return Ok(());
            }
            self.start(id, of, connection.clone(), group)?;
        }
        if let Some(why) = none_of(&parts.basis.namespaces, &connection).await {
            (parts.tell)(why);
        }
        Ok(())
    }

    fn start(
        &self,
        id: ClusterId,
        of: &ClusterSettings,
        connection: Connection,
        group: &Supervisor,
    ) -> Result<(), String> {
        let parts = &self.0.parts;
        let known = info(&parts.basis, id, of, Some(&connection));
        let clock = parts.basis.dialer.clock_of(&of.context);
        let sink = FactSink::new(id, clock, parts.facts.clone(), parts.control.clone());
        let sources = group.child();
        // the next attempt starts all of them again
        let handle =
            cluster(parts, of, known, connection, sink, sources.clone()).inspect_err(|_| sources.cancel())?;
        parts.clusters.insert(handle);
        Ok(())
    }
}
