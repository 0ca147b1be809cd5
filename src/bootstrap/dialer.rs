//! Opens the contexts of the kubeconfig, with one connection each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::settings::GuardSettings;

use crate::action::cluster::{Clients, OpenContext};
use crate::clock::Clock;
use crate::wire::connect::{ConnectOptions, Connection};
use crate::wire::credential::Seat;
use crate::wire::env::Env;
use crate::wire::kubeconfig::{self, ContextInfo, Overrides};

/// The connection of a context, which is opened once. Who waits for one does not wait for another.
#[derive(Debug)]
struct Slot {
    /// Another server has another clock.
    clock: Clock,
    held: tokio::sync::Mutex<Option<Connection>>,
    /// Its open clients, by whether they only read. They are kept because a rehearsal is renewed every two seconds.
    clients: Mutex<BTreeMap<bool, Clients>>,
}

/// Opens contexts of the kubeconfig.
#[derive(Clone, Debug)]
pub struct Dialer {
    kubeconfig: Option<PathBuf>,
    /// The context that the flags for a cluster apply to, or `None` for the current context.
    first: Option<String>,
    /// Its name, which is read once, because kubectl can make another context the current one at any time.
    name: Arc<OnceLock<String>>,
    /// The context that [`Dialer::own`] opens, or `None` for the first one.
    own: Option<String>,
    overrides: Overrides,
    seat: Seat,
    clock: Clock,
    /// Which contexts are read-only.
    guards: GuardSettings,
    /// The connections, by context. They are kept so that a credential plugin runs only once for each.
    connections: Arc<Mutex<BTreeMap<String, Arc<Slot>>>>,
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
            name: Arc::default(),
            own: None,
            overrides,
            seat: Seat::of_process(),
            clock,
            guards: GuardSettings::default(),
            connections: Arc::default(),
        }
    }

    /// Returns a dialer whose own context is this one. Both hold the same connections.
    #[must_use]
    pub fn at(&self, context: &str) -> Self {
        Self { own: Some(context.to_owned()), ..self.clone() }
    }

    /// Returns the clock that the server of a context corrects.
    pub fn clock_of(&self, context: &str) -> Clock {
        self.slot(context).clock.clone()
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
        // a slot that is forgotten meanwhile takes its clients with it
        let slot = self.slot(context);
        if let Some(held) = slot.clients.lock().unwrap_or_else(PoisonError::into_inner).get(&read_only) {
            return Ok(held.clone());
        }
        let connection = self.open_in(&slot, context).await?;
        let reader = connection.reader().map_err(|e| e.to_string())?;
        let writer = if read_only { None } else { Some(connection.writer().map_err(|e| e.to_string())?) };
        let clients = Clients { reader, writer };
        let mut opened = slot.clients.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(opened.entry(read_only).or_insert(clients).clone())
    }

    /// Returns the contexts of the kubeconfig. It is read again, because it can have changed.
    pub fn contexts(&self) -> Result<Vec<ContextInfo>, String> {
        kubeconfig::contexts(self.kubeconfig.as_deref()).map_err(|e| e.to_string())
    }

    /// Returns the connection of the dialer's own context.
    pub async fn own(&self) -> Result<Connection, String> {
        match &self.own {
            Some(own) => self.open(own).await,
            None => self.open(&self.first()?).await,
        }
    }

    /// Opens a context unless it is held. One that could not be opened is tried again the next time. A server or token in
    /// the flags applies only to the first context.
    pub async fn open(&self, context: &str) -> Result<Connection, String> {
        self.open_in(&self.slot(context), context).await
    }

    async fn open_in(&self, slot: &Slot, context: &str) -> Result<Connection, String> {
        let mut held = slot.held.lock().await;
        if let Some(held) = &*held {
            return Ok(held.clone());
        }
        let overrides =
            if self.is_first(context) { self.overrides.clone() } else { self.overrides.elsewhere() };
        let connection = self.open_by(Some(context.to_owned()), overrides, slot.clock.clone()).await?;
        Ok(held.insert(connection).clone())
    }

    /// Forgets the connection and the clients of a context, so that the kubeconfig and the credentials are read again when
    /// it is opened the next time. Who holds the connection keeps it.
    pub fn forget(&self, context: &str) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(context);
    }

    /// Returns the name of the first context.
    fn first(&self) -> Result<String, String> {
        if let Some(name) = self.name.get() {
            return Ok(name.clone());
        }
        let (kubeconfig, first) = (self.kubeconfig.as_deref(), self.first.as_deref());
        let name = kubeconfig::name_of(kubeconfig, first, &self.overrides).map_err(|e| e.to_string())?;
        Ok(self.name.get_or_init(|| name).clone())
    }

    fn is_first(&self, context: &str) -> bool {
        self.first().is_ok_and(|first| first == context)
    }

    fn slot(&self, context: &str) -> Arc<Slot> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = connections.entry(context.to_owned()).or_insert_with(|| {
            let clock = if self.is_first(context) { self.clock.clone() } else { self.clock.apart() };
            Arc::new(Slot { clock, held: tokio::sync::Mutex::default(), clients: Mutex::default() })
        });
        slot.clone()
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
