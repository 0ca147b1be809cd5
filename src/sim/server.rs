//! Starting and stopping the simulated cluster: [`Sim::start`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access::{self, Access, Persona};
use crate::api::{self, Api};
use crate::clock::Clock;
use crate::control::{self, Control};
use crate::listener::{Door, Peer};
use crate::logs::Notebook;
use crate::rng::Random;
use crate::seed;
use crate::store::{self, Store};
use crate::usage::Meter;

/// How to start a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    /// 0 takes any free port. The address is always loopback.
    pub port: u16,
    /// Nodes to begin with; 0 starts an empty cluster (the namespaces of the system only).
    pub nodes: usize,
    /// Replicas of the first workloads are multiplied by this.
    pub scale: u32,
    /// Simulated seconds per second.
    pub factor: f64,
    /// When simulated time begins; `None` is now.
    pub start: Option<DateTime<Utc>>,
    pub personas: Vec<Persona>,
    /// Who a request without a token is; `None` answers it with 401.
    pub anonymous: Option<String>,
    /// API groups that this cluster does not serve.
    pub hidden: Vec<String>,
    /// Changes kept per resource for watches.
    pub log: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            port: 0,
            nodes: 9,
            scale: 1,
            factor: 1.0,
            start: None,
            personas: access::personas(),
            anonymous: Some("admin".to_owned()),
            hidden: Vec::new(),
            log: store::LOG,
        }
    }
}

/// The simulated cluster.
#[derive(Debug)]
pub struct Sim;

/// A cluster that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    pub addr: SocketAddr,
    pub store: Store,
    pub api: Arc<Api>,
    pub logs: Arc<Notebook>,
    pub usage: Arc<Meter>,
    control: Control,
    tasks: JoinSet<()>,
}

impl Sim {
    /// Starts a cluster whose API server listens when this returns.
    pub async fn start(options: Options) -> io::Result<Running> {
        Self::start_with(options, |_| Router::new()).await
    }

    /// The same, with further routes on the same listener (Prometheus, Alertmanager, Loki).
    pub async fn start_with(options: Options, more: impl FnOnce(&Arc<Api>) -> Router) -> io::Result<Running> {
        let clock = match options.start {
            Some(at) => Clock::starting(at, options.factor),
            None => Clock::real(options.factor),
        };
        let store = Store::new(Arc::new(clock), Arc::new(Random::new(options.seed)), options.log);
        seed::cluster(&store, options.nodes, options.scale).map_err(io::Error::other)?;
        let (logs, usage) = (Arc::new(Notebook::new(2000)), Arc::new(Meter::default()));
        let access = Access::new(options.personas, options.anonymous);
        let mut api = Api::new(store.clone(), access, logs.clone(), usage.clone());
        api.hidden = options.hidden;
        let api = Arc::new(api);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let addr = listener.local_addr()?;
        let down = Arc::new(watch::Sender::new(false));
        let door = Door::new(listener, down.subscribe());
        let control = Control { api: api.clone(), down, lift: Arc::new(watch::Sender::new(0.0)) };
        let kubernetes = Router::new().fallback(api::handle).with_state(api.clone());
        let router: Router = kubernetes.merge(control::router(control.clone())).merge(more(&api));
        let mut tasks = JoinSet::new();
        tasks.spawn(control::lift_outages(control.clone()));
        let service = router.into_make_service_with_connect_info::<Peer>();
        tasks.spawn(async move {
            // Serving ends only with the task.
            drop(axum::serve(door, service).await);
        });
        Ok(Running { addr, store, api, logs, usage, control, tasks })
    }
}

impl Running {
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// A task that ends with the cluster: for its loops.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    /// A kubeconfig for a persona. kubectl sends no token over plain HTTP, so the path names the persona too.
    pub fn kubeconfig_as(&self, token: &str) -> String {
        let url = self.url();
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: sim\n  cluster:\n    server: {url}/as/{token}\nusers:\n\
             - name: {token}\n  user:\n    token: {token}\ncontexts:\n- name: sim\n  context:\n    cluster: sim\n    \
             user: {token}\ncurrent-context: sim\n"
        )
    }

    /// The kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_as("admin")
    }

    /// Writes a kubeconfig that unmodified kubectl can use.
    pub fn write_kubeconfig(&self, path: &Path, token: &str) -> io::Result<()> {
        std::fs::write(path, self.kubeconfig_as(token))
    }

    /// Ends everything and waits until it has ended.
    pub async fn stop(mut self) {
        self.control.down.send_replace(true);
        self.tasks.shutdown().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Connections are not tasks of ours: they end by this.
        self.control.down.send_replace(true);
    }
}
