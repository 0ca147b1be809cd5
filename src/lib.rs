//! Pilothouse: the on-call engineer's terminal console for Kubernetes. This page is the architecture.
//!
//! Facts flow one way. Sources turn the outside world into typed events; the hub, one thread, folds them into an
//! immutable snapshot; pure functions turn the snapshot into verdicts, view models and frames; a key becomes an
//! intent, and only the executor can change the world, whose answers come back as events.
//!
//! ```text
//!  kubernetes ─┐ facts (batched)                                        ┌─> present ─> view ─> paint ─> writer
//!  prometheus ─┼─ bounded queue ──> hub: reduce -> derive ─ publish Arc<World> ─> ui thread (owns Ui)
//!  logs ──> LogStore (lines) ─┘ summaries  (<= 20 Hz, only when dirty)    │ Effect::Run(intent)
//!  executor ── control queue, read first ──> hub        <── bounded queue ─┘ after rehearsal + confirm
//! ```
//!
//! | room | what it is for | may use |
//! |---|---|---|
//! | `pilothouse_core` | domain types, the facts, policies and rules, plans, the shared state: a package of its own, pure; its page has its rooms | nothing of ours |
//! | [`wire`] | the clients: connect, read, write, list-watch, decode | core |
//! | [`source`] | what keeps the state current: objects, metrics, Prometheus, logs | core, wire |
//! | [`action`] | rehearse, journal, execute, verify: the only holder of a client that writes | core, wire |
//! | [`report`] | documents and texts of the headless commands | core, action |
//! | [`ui`] | commands, state of the screen, view models, drawing | core |
//! | [`config`] | the config file into core's settings | core |
//! | [`hub`] | the one writer of the shared state | core |
//! | [`terminal`] | taking the terminal over and giving it back; keys, signals, frames | ui's keys and queue |
//! | [`bootstrap`] | start-up and wiring | all of them |
//! | `pilothouse_sim` | the simulated cluster of `--demo` and `pilothouse sim` (feature `demo`): API server, control loops, traffic, Prometheus, Alertmanager, Loki, scenarios | nothing of ours |
//!
//! [`clock`] alone reads the time, [`telemetry`] writes our own log, [`cli`] is the command line's grammar.
//! `tests/it/architecture.rs` holds this table.
//!
//! Where to look first: what NOW finds is `pilothouse_core::policy::rules`; what a drain would do
//! `pilothouse_core::policy::drain`; how lists and watches survive what servers do [`wire::list_watch`]; every key
//! and command [`ui::command`]; every source [`source::SOURCES`]; what an action would do `pilothouse_core::plan`, how it is carried out
//! [`action::executor`], a drain [`action`]'s `drain`, and what becomes of one whose process ended [`action::resume`].
//! A demo differs from any other cluster in `bootstrap`'s `demo` alone.

pub mod action;
pub mod bootstrap;
pub mod cli;
pub mod clock;
pub mod config;
pub mod hub;
pub mod report;
pub mod source;
pub mod telemetry;
pub mod terminal;
pub mod ui;
pub mod wire;
