//! A cluster as actions use it: its clients, its protected objects, and its limit on evictions. Code that plans or
//! writes uses the cluster that the intent names, because a process can have several.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use pilothouse_core::domain::alert::is_silence;
use pilothouse_core::domain::haproxy::is_server;
use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::plan::Step;
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::domain::time::Stamp;
use serde_json::Value;

use super::alertmanager::Alertmanager;
use super::control::EvictionRateLimiter;
use super::haproxy::Proxies;
use super::live_object::{Live, read};
use super::requests::{Method, Mutation};
use crate::clock::Clock;
use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::write::{WriteClient, WriteError};

/// The clients of one cluster. `writer` is `None` in read-only mode, because a client that does not exist cannot be
/// used by mistake.
#[derive(Clone, Debug)]
pub struct Clients {
    pub reader: ReadClient,
    pub writer: Option<WriteClient>,
}

/// The clients that a plan needs: those of its own cluster, and of the other contexts in its steps.
#[derive(Clone, Debug)]
pub struct PlanClients {
    /// The plan's cluster.
    pub cluster: ClusterId,
    pub own: Clients,
    /// The clients of the other contexts, by context.
    pub others: Arc<BTreeMap<Name, Clients>>,
    /// The HAProxies of the config.
    pub proxies: Proxies,
    /// The Alertmanager of the cluster.
    pub alertmanager: Alertmanager,
}

impl PlanClients {
    pub fn new(cluster: ClusterId, reader: ReadClient, writer: Option<WriteClient>) -> Self {
        Self {
            cluster,
            own: Clients { reader, writer },
            others: Arc::default(),
            proxies: Proxies::default(),
            alertmanager: Alertmanager::default(),
        }
    }

    /// Returns the clients of a context. An empty context is the action's own.
    pub fn of(&self, context: &str) -> Option<&Clients> {
        if context.is_empty() { Some(&self.own) } else { self.others.get(context) }
    }

    /// Returns the clients of the cluster that a step is in, never those of another one.
    fn of_step(&self, step: &Step) -> Result<&Clients, String> {
        if step.on.cluster != self.cluster {
            return Err(format!("{} is in another cluster than its action", step.on));
        }
        self.of(&step.context).ok_or_else(|| format!("there is no connection to context {}", step.context))
    }

    pub fn reader(&self, step: &Step) -> Result<&ReadClient, String> {
        self.of_step(step).map(|clients| &clients.reader)
    }

    pub fn writer(&self, step: &Step) -> Result<&WriteClient, String> {
        let writer = self.of_step(step)?.writer.as_ref();
        writer.ok_or_else(|| format!("there is no writing connection to context {}", step.context))
    }

    /// Reads the object of a step: from the API server of its context, or from a HAProxy.
    pub async fn live(&self, step: &Step) -> Result<Option<Live>, ApiError> {
        if is_server(&step.on.kind) {
            let found = self.proxies.get(&step.on).await?;
            return Ok(found.map(Live::of_value));
        }
        let reader = self.reader(step).map_err(ApiError::Unreachable)?;
        if is_silence(&step.on.kind) {
            return self.alertmanager.get(&step.on, reader).await.map(|found| Some(Live::of_value(found)));
        }
        read(reader, &step.what, &step.on).await
    }

    /// Sends the request of a step once. Nothing is sent without a client that writes, to whatever server.
    pub async fn send(&self, step: &Step, request: &Mutation, dry_run: bool) -> Result<Value, WriteError> {
        let unsent = |why| WriteError::Refused(ApiError::Unreachable(why));
        let writer = self.writer(step).map_err(unsent)?;
        match &request.method {
            // HAProxy has no dry run: the level of the socket is all that can be checked
            Method::Runtime if dry_run => {
                self.proxies.may_change(&step.on).await.map_err(WriteError::Refused)?;
                Ok(Value::Null)
            }
            Method::Runtime => {
                let line = request.body.as_str().unwrap_or_default();
                self.proxies.send(&step.on, line).await?;
                Ok(Value::Null)
            }
            // it has no dry run either: the access review tells whether the request is permitted
            Method::Alertmanager if dry_run => Ok(Value::Null),
            Method::Alertmanager => {
                self.alertmanager.send(&step.on, &request.body, writer).await?;
                Ok(Value::Null)
            }
            _ => request.send(writer, dry_run).await,
        }
    }
}

/// Opens the clients of another context. Some steps of a failover act on a second cluster.
pub type OpenContext = Arc<dyn Fn(Name) -> BoxFuture<'static, Result<Clients, String>> + Send + Sync>;

/// The part of a cluster's handle that actions use.
#[derive(Clone)]
pub struct ClusterClients {
    pub id: ClusterId,
    pub context: Name,
    pub own: Clients,
    /// The clock that the cluster's server corrects. An action is timed by it.
    pub clock: Clock,
    /// The objects that need a separate confirmation.
    pub guards: GuardSettings,
    /// The limit that all evictions of this process from this cluster share.
    pub limiter: EvictionRateLimiter,
    pub open: OpenContext,
    /// The HAProxies of the config.
    pub proxies: Proxies,
    /// The Alertmanager of the cluster.
    pub alertmanager: Alertmanager,
}

impl std::fmt::Debug for ClusterClients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterClients")
            .field("id", &self.id)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl ClusterClients {
    /// Whether there is no client that writes.
    pub fn is_read_only(&self) -> bool {
        self.own.writer.is_none()
    }

    /// Returns the clients of a plan: those of this cluster, and of the other contexts in its steps. Returns an error
    /// if one of them cannot be opened.
    pub async fn for_plan(&self, contexts: &BTreeSet<Name>) -> Result<PlanClients, String> {
        let mut others = BTreeMap::new();
        for context in contexts {
            others.insert(context.clone(), (self.open)(context.clone()).await?);
        }
        Ok(PlanClients {
            cluster: self.id,
            own: self.own.clone(),
            others: Arc::new(others),
            proxies: self.proxies.clone(),
            alertmanager: self.alertmanager.clone(),
        })
    }
}

/// The clusters of this process, by ID. Clones share them, so that one that is opened or closed is so for all.
#[derive(Clone, Debug, Default)]
pub struct Clusters(Arc<Mutex<BTreeMap<ClusterId, Arc<ClusterClients>>>>);

impl Clusters {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClusterId, Arc<ClusterClients>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, id: ClusterId) -> Option<Arc<ClusterClients>> {
        self.lock().get(&id).cloned()
    }

    /// Returns the time by the server of a cluster. `otherwise` is the clock for one that is not open.
    pub fn now_in(&self, id: ClusterId, otherwise: &Clock) -> Stamp {
        self.get(id).map_or_else(|| otherwise.now(), |cluster| cluster.clock.now())
    }

    /// Returns the cluster that is open with this context.
    pub fn of_context(&self, context: &str) -> Option<Arc<ClusterClients>> {
        self.lock().values().find(|cluster| cluster.context == *context).cloned()
    }

    /// Adds a cluster that was opened.
    pub fn insert(&self, cluster: ClusterClients) {
        self.lock().insert(cluster.id, Arc::new(cluster));
    }

    /// Removes a cluster that was closed. An action that runs there keeps its clients.
    pub fn remove(&self, id: ClusterId) {
        self.lock().remove(&id);
    }

    /// Returns the function with which an action opens the clients of another context: those of the cluster that is open
    /// with that context, otherwise new ones.
    pub fn opener(&self, elsewhere: OpenContext) -> OpenContext {
        // a strong reference would be a cycle: each cluster holds its opener
        let held = Arc::downgrade(&self.0);
        Arc::new(move |context| {
            let open = held.upgrade().and_then(|held| Self(held).of_context(&context));
            match open {
                Some(open) => Box::pin(std::future::ready(Ok(open.own.clone()))),
                None => elsewhere(context),
            }
        })
    }
}

impl FromIterator<ClusterClients> for Clusters {
    fn from_iter<I: IntoIterator<Item = ClusterClients>>(clusters: I) -> Self {
        let all = Self::default();
        for cluster in clusters {
            all.insert(cluster);
        }
        all
    }
}
