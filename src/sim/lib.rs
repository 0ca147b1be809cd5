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
//! | [`prom`] | samples in memory and the PromQL over them, not served yet |
//! | [`logs`], [`usage`] | what the API server reads of running containers: their lines and what they use |
//! | [`server`], [`listener`], [`seed`] | starting it, its socket, the first objects |

pub mod access;
pub mod api;
pub mod audit;
pub mod clock;
pub mod columns;
pub mod control;
pub mod defaults;
pub mod engine;
pub mod faults;
pub mod listener;
pub mod logs;
pub mod loops;
pub mod prom;
pub mod resources;
pub mod rng;
pub mod seed;
pub mod selector;
pub mod server;
pub mod status;
pub mod store;
pub mod usage;
pub mod world;
