//! The contract with a real control plane: the behaviour that the console relies on, compared with kubectl on the same
//! cluster.
//!
//! `tests/cluster/up` starts a control plane and prints the variables. A test that needs a cluster is ignored unless it
//! is requested (`--include-ignored`), and then fails without one. The tests share one cluster and run one at a time.
//! Tests whose name ends in `_real_only` need features that the simulated cluster does not have; use `--skip
//! _real_only` there. `access` needs no cluster, because it has its own servers; only its comparison needs a kubectl.
//! `balance` and `presets` need no cluster either, only the programs `prometheus` and, for `balance`, HAProxy.

// only the test itself uses the items of its crate
#![allow(unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::unused_self,
    reason = "tests: a panic is the report, and deadlines are the machine's own time"
)]

mod access;
mod actions;
mod agree;
mod answers;
mod api;
mod autoscaler;
mod balance;
mod chain;
mod clusters;
mod configured;
mod drain;
mod ending;
mod eviction;
mod failover;
mod faults;
mod findings;
mod found;
mod killed;
mod logs;
mod middle;
mod operators;
mod presets;
mod readonly;
mod refusals;
mod rig;
mod rights;
mod rollouts;
mod rotation;
mod routes;
mod server;
mod standby;
mod traffic;
mod watches;
mod wire;
