//! Opens the contexts of the kubeconfig, with one connection each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::GuardSettings;

use crate::action::cluster::{Clients, OpenContext};
use crate::clock::Clock;
use crate::wire::connect::{ConnectOptions, Connection};
use crate::wire::credential::Seat;
use crate::wire::env::Env;
use crate::wire::kubeconfig::Overrides;

/// A connection that is opened once. Who waits for one does not wait for another.
type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// Opens contexts of the kubeconfig.
#[derive(Clone, Debug)]
pub struct Dialer {
    kubeconfig: Option<PathBuf>,
    /// The context that the flags for a cluster apply to, or `None` for the current context.
    first: Option<String>,
    overrides: Overrides,
    seat: Seat,
    clock: Clock,
    /// Which contexts are read-only.
    guards: GuardSettings,
    /// The connections, by context; `None` is the first context. They are kept so that a credential plugin runs only
    /// once for each context.
    connections: Arc<Mutex<BTreeMap<Option<String>, Slot>>>,
    /// The open clients, by context and whether they only read. They are kept because a rehearsal is renewed every
    /// two seconds.
    opened: Arc<Mutex<BTreeMap<(Name, bool), Clients>>>,
}

impl Dialer {
    /// `first` is the context that `overrides` apply to, or `None` for the current context.
    pub fn new(
        kubeconfig: Option<PathBuf>,
        first: Option<String>,
        overrides: Overrides,
        clock: Clock,
    ) -> Self {
        Self {
            kubeconfig,
            first,
            overrides,
            seat: Seat::of_process(),
            clock,
            guards: GuardSettings::default(),
            connections: Arc::default(),
            opened: Arc::default(),
        }
    }

    /// Returns a dialer that creates no client that writes for a read-only context.
    #[must_use]
    pub fn guarded(self, guards: GuardSettings) -> Self {
        Self { guards, ..self }
    }

    /// Records that a screen uses the terminal, so that no credential plugin asks there.
    pub fn leave_the_terminal(&self) {
        self.seat.leave();
    }

    /// Returns the function with which an action opens the clients of another context.
    pub fn opener(&self, read_only: bool) -> OpenContext {
        let dialer = self.clone();
        Arc::new(move |context| {
            let dialer = dialer.clone();
            Box::pin(async move { dialer.clients(&context, read_only).await })
        })
    }

    /// Returns the clients of another context, which are opened only once.
    pub async fn clients(&self, context: &Name, read_only: bool) -> Result<Clients, String> {
        let read_only = read_only || self.guards.reads_only(context);
        let key = (context.clone(), read_only);
        if let Some(held) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(held.clone());
        }
        let connection = self.open(Some(context)).await?;
        let reader = connection.reader().map_err(|e| e.to_string())?;
        let writer = if read_only { None } else { Some(connection.writer().map_err(|e| e.to_string())?) };
        let clients = Clients { reader, writer };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(opened.entry(key).or_insert(clients).clone())
    }

    /// Lists the contexts of the kubeconfig. `here` is the context that is shown.
    pub fn contexts(&self, here: &str) -> Result<Vec<String>, String> {
        let all = crate::wire::kubeconfig::contexts(self.kubeconfig.as_deref()).map_err(|e| e.to_string())?;
        let mut lines =
            vec!["A console shows one context. To look at another, leave this one and start:".to_owned()];
        lines.extend([String::new(), "  pilothouse --context NAME".to_owned(), String::new()]);
        let name = all.iter().map(|c| c.name.chars().count()).max().unwrap_or(0).max(4);
        let cluster = all.iter().map(|c| c.cluster.chars().count()).max().unwrap_or(0).max(7);
        lines.push(format!("  {:name$}  {:cluster$}  {:16}  NAMESPACE", "NAME", "CLUSTER", "USER"));
        for c in &all {
            let mark = if c.name == here { "*" } else { " " };
            let namespace = c.namespace.as_deref().unwrap_or_default();
            lines
                .push(format!("{mark} {:name$}  {:cluster$}  {:16}  {namespace}", c.name, c.cluster, c.user));
        }
        if all.is_empty() {
            lines.push("  none: the configuration is the service account of this pod".to_owned());
        }
        Ok(lines)
    }

    /// Returns the connection of the first context.
    pub async fn own(&self) -> Result<Connection, String> {
        self.once(None, self.first.clone(), self.overrides.clone(), self.clock.clone()).await
    }

    /// Opens a context. A server or token in the flags applies only to the first context.
    pub async fn open(&self, context: Option<&str>) -> Result<Connection, String> {
        let Some(context) = context else { return self.own().await };
        // the current context can be requested by name
        let kubeconfig = self.kubeconfig.as_deref();
        let first = crate::wire::kubeconfig::name_of(kubeconfig, self.first.as_deref(), &self.overrides);
        if first.is_ok_and(|first| first == context) {
            return self.own().await;
        }
        // another server has its own clock
        let (overrides, clock) = (self.overrides.elsewhere(), self.clock.apart());
        self.once(Some(context.to_owned()), Some(context.to_owned()), overrides, clock).await
    }

    /// Opens a connection unless it is held. One that could not be opened is tried again the next time.
    async fn once(
        &self,
        key: Option<String>,
        context: Option<String>,
        overrides: Overrides,
        clock: Clock,
    ) -> Result<Connection, String> {
        let slot = {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.entry(key).or_default().clone()
        };
        let mut held = slot.lock().await;
        if let Some(held) = &*held {
            return Ok(held.clone());
        }
        let connection = self.open_by(context, overrides, clock).await?;
        Ok(held.insert(connection).clone())
    }

    async fn open_by(
        &self,
        context: Option<String>,
        overrides: Overrides,
        clock: Clock,
    ) -> Result<Connection, String> {
        let options = ConnectOptions {
            kubeconfig: self.kubeconfig.clone(),
            context,
            overrides,
            env: Env::default(),
            seat: self.seat.clone(),
            user_agent: concat!("pilothouse/", env!("CARGO_PKG_VERSION")).into(),
            clock,
        };
        Connection::open(options).await.map_err(|e| e.to_string())
    }
}
