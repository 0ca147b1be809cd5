//! A simulated cluster that speaks the HTTP API of Kubernetes. It uses nothing of the other packages of this
//! workspace: if its scheduler or its controllers shared code with the console, the two would agree by construction
//! and tests against it would prove nothing.
//!
//! | room | what it holds |
//! |---|---|
//! | [`store`] | every object, one version counter, the event log that watches read |
//! | [`resources`], [`columns`] | THE table of resources, and what `kubectl get` prints of each |
//! | [`clock`], [`rng`] | simulated time, and everything random from one seed |
//! | [`status`] | refusals in the real server's words |

pub mod clock;
pub mod columns;
pub mod defaults;
pub mod resources;
pub mod rng;
pub mod selector;
pub mod status;
pub mod store;
