//! Opens the contexts of the kubeconfig, with one connection each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use pilothouse_core::domain::id::Name;

use crate::action::cluster::{Clients, OpenContext};
use crate::clock::Clock;
use crate::wire::connect::{ConnectOptions, Connection};
use crate::wire::credential::Seat;
use crate::wire::env::Env;
use crate::wire::kubeconfig::Overrides;

/// Opens contexts of the kubeconfig.
#[derive(Clone, Debug)]
pub struct Dialer {
    kubeconfig: Option<PathBuf>,
    /// The context that the flags for a cluster apply to, or `None` for the current context.
    first: Option<String>,
    overrides: Overrides,
    seat: Seat,
    clock: Clock,
    /// The connection of the first context. It is kept so that a credential plugin runs only once.
    own: Arc<tokio::sync::Mutex<Option<Connection>>>,
    /// The open clients, by context and whether they only read. They are kept because a rehearsal is renewed every
    /// two seconds.
    opened: Arc<tokio::sync::Mutex<BTreeMap<(Name, bool), Clients>>>,
}

impl Dialer {
    /// `first` is the context that `overrides` apply to, or `None` for the current context.
    pub fn new(
        kubeconfig: Option<PathBuf>,
        first: Option<String>,
        overrides: Overrides,
        clock: Clock,
    ) -> Self {
        let seat = Seat::of_process();
        Self { kubeconfig, first, overrides, seat, clock, own: Arc::default(), opened: Arc::default() }
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
        let mut opened = self.opened.lock().await;
        if let Some(held) = opened.get(&(context.clone(), read_only)) {
            return Ok(held.clone());
        }
        let connection = self.open(Some(context)).await?;
        let reader = connection.reader().map_err(|e| e.to_string())?;
        let writer = if read_only { None } else { Some(connection.writer().map_err(|e| e.to_string())?) };
        let clients = Clients { reader, writer };
        opened.insert((context.clone(), read_only), clients.clone());
        Ok(clients)
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
        let mut own = self.own.lock().await;
        if let Some(held) = &*own {
            return Ok(held.clone());
        }
        let connection = self.open_by(self.first.clone(), self.overrides.clone(), self.clock.clone()).await?;
        Ok(own.insert(connection).clone())
    }

    /// Opens a context. A server or token in the flags applies only to the first context.
    pub async fn open(&self, context: Option<&str>) -> Result<Connection, String> {
        if context == self.first.as_deref() {
            return self.own().await;
        }
        // the current context can be requested by name
        if let Some(own) = &*self.own.lock().await
            && context == Some(own.context.as_str())
        {
            return Ok(own.clone());
        }
        // another server has its own clock
        self.open_by(context.map(str::to_owned), self.overrides.elsewhere(), self.clock.apart()).await
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
