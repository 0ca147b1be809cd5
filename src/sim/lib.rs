//! A simulated cluster that speaks the HTTP API of Kubernetes. It uses nothing of the other packages of this
//! workspace: if its scheduler or its controllers shared code with the console, the two would agree by construction
//! and tests against it would prove nothing.
//!
//! | room | what it holds |
//! |---|---|
//! | [`store`] | every object, one version counter, the event log that watches read |
//! | [`resources`], [`columns`] | THE table of resources, and what `kubectl get` prints of each |
//! | [`clock`], [`rng`] | simulated time, and everything random from one seed |
//! | [`api`], [`status`], [`selector`], [`defaults`] | the Kubernetes API server, refusals in the real server's words |
//! | [`access`], [`faults`], [`audit`], [`control`] | who may what, what goes wrong, what was asked; all set over `/sim/…` |
//! | [`world`], [`engine`] | how applications behave and what is broken; the one task that makes it all happen |
//! | [`loops`] | scheduler, kubelets and controllers: the parts of the engine that a real cluster has too |
//! | [`traffic`], [`lines`] | requests on their way through Services to pods, and what the applications log of it |
//! | [`observe`] | the observation APIs in one place: what a cluster adds to its engine and its listener |
//! | [`prom`], [`alerts`], [`loki`] | the Prometheus, the Alertmanager and the Loki of the cluster |
//! | [`logs`], [`usage`] | what the API server reads of running containers: their lines and what they use |
//! | [`scenario`], [`story`] | TOML: what the cluster consists of, what happens in it, and who makes it happen |
//! | [`labels`] | trouble that a label switches on |
//! | [`server`], [`listener`] | building a cluster, living through its history, opening its socket |

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
