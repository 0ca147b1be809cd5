//! A simulated cluster that serves the HTTP API of Kubernetes. It uses nothing of the other packages of this workspace:
//! if its scheduler or its controllers shared code with the console, the two would agree by construction, and tests
//! against it would prove nothing.
//!
//! | room | content |
//! |---|---|
//! | [`store`] | every object, one version counter, the event log that watches read |
//! | [`resources`], [`columns`] | the table of resources, and the columns that `kubectl get` prints for each |
//! | [`clock`], [`rng`] | simulated time, and all random numbers from one seed |
//! | [`api`], [`status`], [`selector`], [`defaults`] | the Kubernetes API server, with the real server's error messages |
//! | [`access`], [`faults`], [`audit`], [`control`] | users and permissions, injected faults, the request log; all controlled by `/sim/…` |
//! | [`world`], [`engine`] | how applications behave and what is broken; the one task that runs everything |
//! | [`loops`] | scheduler, kubelets and controllers: the parts of the engine that a real cluster has too |
//! | [`traffic`], [`lines`] | requests through Services to pods, and what the applications log about them |
//! | [`observe`] | the observation APIs in one place: what they add to a cluster's engine and listener |
//! | [`prom`], [`alerts`], [`loki`] | the Prometheus, the Alertmanager and the Loki of the cluster |
//! | [`logs`], [`usage`] | the data of running containers that the API server reads: log lines and resource usage |
//! | [`scenario`], [`story`] | TOML files: the objects of a cluster, the steps of a scenario, and the part that runs the steps |
//! | [`labels`] | faults that a label turns on |
//! | [`server`], [`listener`] | builds a cluster, simulates its history, opens its socket |

pub mod access;
pub mod alerts;
pub mod api;
mod asked;
pub mod audit;
pub mod clock;
pub mod columns;
pub mod control;
pub mod defaults;
pub mod engine;
pub mod faults;
pub mod labels;
pub mod lines;
pub mod listener;
pub mod logs;
pub mod loki;
pub mod loops;
pub mod observe;
pub mod prom;
pub mod resources;
pub mod rng;
pub mod scenario;
pub mod selector;
pub mod server;
pub mod status;
pub mod store;
pub mod story;
pub mod traffic;
pub mod usage;
pub mod world;
