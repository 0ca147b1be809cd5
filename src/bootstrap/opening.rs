//! Opens and closes clusters. Each cluster is opened in a task of its own, so one that hangs or is down delays neither
//! the others nor the screen. What becomes of it is in the World.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::link::{ContextLine, Link};
use pilothouse_core::domain::settings::{ClusterSettings, Settings};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::Event;
use pilothouse_core::facts::world::{ClusterInfo, World};
use tokio::sync::{Notify, mpsc, watch};

use super::Start;
use super::cluster::{Handles, cluster};
use super::dialer::Dialer;
use super::failover;
use super::session::{info, none_of};
use crate::hub::ClusterChange;
use crate::source::Wanted;
use crate::source::logs::shares::Shares;
use crate::source::sink::FactSink;
use crate::source::supervise::{Backoff, Supervisor};
use crate::wire::connect::Connection;

/// The waits between two attempts to open a cluster, the first and the longest. A credential plugin can open a browser
/// each time, and some lock an account after several failures.
pub const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(1800));

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
    /// The first and the longest wait between two attempts to open a cluster.
    pub retry: (Duration, Duration),
}

/// Opens and closes clusters. Clones share everything, and the opener of the console is one for all.
#[derive(Clone)]
pub struct Opener(Arc<Shared>);

struct Shared {
    parts: Parts,
    open: Mutex<Open>,
}

/// The open clusters.
#[derive(Default)]
struct Open {
    next: u16,
    held: BTreeMap<ClusterId, Held>,
}

/// One of them.
#[derive(Clone)]
struct Held {
    context: Name,
    /// Its tasks.
    group: Supervisor,
    /// Ends the wait for the next attempt.
    again: Arc<Notify>,
}

/// A cluster that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    New(ClusterId),
    /// It was open, or it is being opened or tried again.
    Before(ClusterId),
}

/// The waits between the attempts to open a cluster.
struct Waits {
    backoff: Backoff,
    /// The wait after the next failure. It stays the same after an attempt that the user asked for: otherwise, a few of these
    /// would make it the longest wait.
    next: Duration,
}

impl Waits {
    fn new((first, longest): (Duration, Duration)) -> Self {
        let backoff = Backoff::new(first, longest).unwrap_or_else(|_| Backoff::api());
        let mut waits = Self { backoff: backoff.steady(), next: first };
        waits.draw();
        waits
    }

    /// Draws the next wait, after the last one has passed.
    fn draw(&mut self) {
        self.next = self.backoff.next();
    }
}

impl Opener {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared { parts, open: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the ID for the next cluster, and what is held of it.
    fn enter(&self, open: &mut Open, context: &str) -> (ClusterId, Held) {
        let id = ClusterId(open.next);
        open.next = open.next.saturating_add(1);
        let group = self.0.parts.supervisor.child();
        let held = Held { context: context.into(), group, again: Arc::default() };
        open.held.insert(id, held.clone());
        (id, held)
    }

    /// Starts to connect to a cluster.
    fn connects(&self, open: &mut Open, of: ClusterSettings) -> ClusterId {
        let (id, held) = self.enter(open, &of.context);
        held.group.clone().spawn_once(self.clone().connect(id, of, held));
        id
    }

    /// Starts to open a cluster that the hub knows already: the first ones.
    pub fn begin(&self, of: ClusterSettings) {
        self.connects(&mut self.lock(), of);
    }

    /// Adds a cluster that is connected already.
    pub(super) fn add(&self, of: &ClusterSettings, connection: Connection) -> Result<ClusterId, String> {
        let mut open = self.lock();
        let (id, held) = self.enter(&mut open, &of.context);
        let known = info(&self.0.parts.basis, id, of, Some(&connection));
        self.start(known, of, connection, &held.group)?;
        Ok(id)
    }

    /// Opens the cluster of a context. One that could not be opened is tried again at once.
    pub fn open(&self, context: &str) -> Result<Opened, String> {
        let mut open = self.lock();
        if let Some((id, held)) = open.held.iter().find(|(_, held)| held.context == *context) {
            held.again.notify_waiters();
            return Ok(Opened::Before(*id));
        }
        if open.next == u16::MAX {
            return Err("too many clusters were opened: start pilothouse again".into());
        }
        let (parts, id) = (&self.0.parts, ClusterId(open.next));
        let of = parts.basis.of(context);
        let clock = parts.basis.dialer.clock_of(context);
        let link = Link::Opening { since: clock.now() };
        let added = ClusterChange::Added(parts.basis.info(id, context), link, clock);
        parts.changes.try_send(added).map_err(|_| "busy, try again".to_owned())?;
        Ok(Opened::New(self.connects(&mut open, of)))
    }

    /// Closes a cluster: its sources stop, and nothing of it is kept.
    pub fn close(&self, id: ClusterId) -> Result<Name, String> {
        let mut open = self.lock();
        let held = open.held.get(&id).cloned().ok_or_else(|| "that cluster is not open".to_owned())?;
        let told = self.0.parts.changes.try_send(ClusterChange::Closed(id));
        told.map_err(|_| "busy: that was not closed, try again".to_owned())?;
        open.held.remove(&id);
        held.group.cancel();
        self.0.parts.clusters.remove(id);
        self.0.parts.basis.dialer.forget(&held.context);
        Ok(held.context)
    }

    /// Returns the contexts of the kubeconfig.
    pub fn contexts(&self) -> Result<Vec<ContextLine>, String> {
        self.0.parts.basis.contexts()
    }

    /// Connects to a cluster, and tries again until it succeeds or is closed.
    async fn connect(self, id: ClusterId, of: ClusterSettings, held: Held) {
        let parts = &self.0.parts;
        let mut waits = Waits::new(parts.retry);
        let now = || parts.basis.dialer.clock_of(&of.context).now();
        let mut failing = None;
        loop {
            let failed = match parts.basis.dialer.open(&of.context).await {
                Ok(connection) => self.connected(id, &of, connection, &held.group).await,
                Err(why) => Err(why),
            };
            let Err(why) = failed else { return };
            // a key that is pressed from here on counts, and not one that was pressed while the attempt ran
            let again = held.again.notified();
            tracing::warn!(context = %of.context, %why, "a cluster could not be opened");
            let since = *failing.get_or_insert_with(now);
            let wait = waits.next.as_millis().try_into().unwrap_or(i64::MAX);
            let next = Some(Stamp(now().0.saturating_add(wait)));
            let failed = Link::Failed { since, why: Name::from(&*text::clean(&why)), next };
            let _ended = parts.changes.send(ClusterChange::Linked(id, failed)).await;
            tokio::select! {
                () = tokio::time::sleep(waits.next) => waits.draw(),
                () = again => {}
            }
            let opening = Link::Opening { since: now() };
            let _ended = parts.changes.send(ClusterChange::Linked(id, opening)).await;
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
        let _ended = parts.changes.send(ClusterChange::Connected(known.clone())).await;
        {
            let open = self.lock();
            if !open.held.contains_key(&id) {
                return Ok(());
            }
            self.start(known, of, connection.clone(), group)?;
        }
        if let Some(why) = none_of(&parts.basis.namespaces, &connection).await {
            (parts.tell)(why);
        }
        Ok(())
    }

    fn start(
        &self,
        known: ClusterInfo,
        of: &ClusterSettings,
        connection: Connection,
        group: &Supervisor,
    ) -> Result<(), String> {
        let parts = &self.0.parts;
        let clock = parts.basis.dialer.clock_of(&of.context);
        let sink = FactSink::new(known.id, clock, parts.facts.clone(), parts.control.clone());
        let sources = group.child();
        // the next attempt starts all of them again
        let handle =
            cluster(parts, of, known, connection, sink, sources.clone()).inspect_err(|_| sources.cancel())?;
        let info = handle.info.clone();
        parts.clusters.insert(handle);
        let due = if parts.writes { failover::due(&parts.clusters, &info) } else { Vec::new() };
        if !due.is_empty() {
            let opener = self.clone();
            // it ends with the cluster that was opened last
            sources.spawn_once(async move {
                let parts = &opener.0.parts;
                let elsewhere = parts.basis.dialer.opener(true);
                failover::check(due, &parts.clusters, elsewhere, &parts.tell).await;
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_fails_all_night_runs_less_and_less() {
        let (mut waits, mut passed, mut runs) = (Waits::new(RETRY), Duration::ZERO, 0);
        let mut limit = RETRY.0;
        while passed < Duration::from_secs(8 * 3600) {
            let wait = waits.next;
            assert!(limit / 2 <= wait && wait <= limit, "run {runs}: {wait:?} of {limit:?}");
            limit = (limit * 2).min(Duration::from_secs(30 * 60));
            passed += wait;
            runs += 1;
            waits.draw();
        }
        assert!(runs < 50, "{runs} runs in eight hours");
    }
}
