//! Pilothouse: a terminal console for people who are on call for a Kubernetes cluster. This page describes the
//! architecture: how data flows, which room contains what, where to look for what, and a glossary.
//!
//! Data flows in one direction. Sources turn the outside world into typed events. The hub, a single thread, folds the
//! events into an immutable snapshot. Pure functions turn the snapshot into verdicts, view models and frames. A key
//! becomes an intent. Only the executor can change a cluster, and the results of its changes return as events.
//!
//! ```text
//!  kubernetes ─┐ facts (batched)                                        ┌─> present ─> view ─> paint ─> writer
//!  prometheus ─┼─ bounded queue ──> hub: reduce -> derive ─ publish Arc<World> ─> ui thread (owns Ui)
//!  logs ──> LogStore (lines) ─┘ summaries  (<= 20 Hz, only when dirty)    │ Effect::Run(intent)
//!  executor ── control queue, read first ──> hub        <── bounded queue ─┘ after rehearsal + confirm
//! ```
//!
//! # Rooms
//!
//! | room | content | may use |
//! |---|---|---|
//! | [`pilothouse_core`] | domain types, facts, policies and rules, plans, the shared state; a separate, pure package with rooms of its own | nothing of ours |
//! | [`wire`] | the clients: connect, read, write, list and watch, decode | core |
//! | [`source`] | keeps the state up to date: objects, metrics, Prometheus, logs | core, wire |
//! | [`action`] | rehearses, journals, executes and verifies actions; the only room with a client that writes | core, wire |
//! | [`report`] | documents and texts of the headless commands | core, action |
//! | [`ui`] | commands, state of the screen, view models, drawing | core |
//! | [`config`] | reads the config file into core's settings | core |
//! | [`hub`] | the only writer of the shared state | core |
//! | [`terminal`] | takes the terminal over and restores it; keys, signals, frames | ui's keys and queue |
//! | [`bootstrap`] | start-up and wiring | all of them |
//! | `pilothouse_sim` | the simulated cluster of `--demo` and `pilothouse sim` (feature `demo`): API server, control loops, traffic, Prometheus, Alertmanager, Loki, scenarios | nothing of ours |
//!
//! Only [`clock`] reads the time. [`telemetry`] writes our own log. [`cli`] defines the command line.
//! `tests/it/architecture.rs` checks this table.
//!
//! # Where to look first
//!
//! | question | answer |
//! |---|---|
//! | Which code decides that a node is bad? | its state: [`pilothouse_core::policy::health`], called by [`pilothouse_core::state::derive`]; whether NOW shows it: the rules in [`pilothouse_core::policy::rules`] (`nodes.rs`) |
//! | Which code decides what NOW shows, and in which order? | [`pilothouse_core::policy::rules`]: one function for each rule, listed in `RULES`, then ranked and folded |
//! | Where does a kind get a new field or column? | the field: its type in [`pilothouse_core::domain`], its decoder in [`wire::decode`]; the column: the pane's file (`pods.rs`, `nodes.rs`) below [`mod@ui::pane`] |
//! | Where is a pane added? | one entry in [`mod@ui::pane`] and a file below it; kinds without a pane show the server's own columns (`ui/pane/printed.rs`) |
//! | Where is another watched kind added, for example NetworkPolicy? | [`pilothouse_core::domain::kinds`] (group, version, permissions), a decoder in [`wire::decode`], which [`source::kube`] then watches |
//! | Where is a source added, for example a log file? | one entry in [`source::SOURCES`] |
//! | How does a LIST or WATCH survive errors? | [`wire::list_watch`] |
//! | How does a Prometheus sample become a SHARE? | the presets: [`pilothouse_core::domain::preset`]; which queries are sent when: [`source::prometheus`]; their answers: [`pilothouse_core::policy::measured`]; observed and expected share: [`pilothouse_core::policy::shares`], called by [`pilothouse_core::state::derive`] (`verdicts.rs`) |
//! | Which code judges a service level objective? | the shares of bad requests: [`source::prometheus`] (`objectives.rs`); the verdict: [`pilothouse_core::policy::slo`] |
//! | How is a server of a HAProxy changed? | as an object with two fields: [`action::haproxy`] reads and writes it; the plan: [`pilothouse_core::plan`] (`proxies.rs`) |
//! | Which backend gets too much, which version is worse, what if one goes? | [`pilothouse_core::policy::shares`] (evidence: `evidence.rs`, over several polls: `history.rs`), [`pilothouse_core::policy::slices`], [`pilothouse_core::policy::whatif`], which rehearsals use too |
//! | Which code decides how a service is balanced? | the routes by Service: [`pilothouse_core::facts::routes`]; policy and parts: [`pilothouse_core::policy::balancing`] and [`pilothouse_core::policy::split`]; decoders of the routes: [`wire::decode::route`] |
//! | How is a Prometheus found without a URL? | which Services can be one: the table in [`pilothouse_core::policy::discovery`]; which of them is used: [`source::search`]; the requests through the API server: [`source::prometheus`] (`client/inside.rs`) |
//! | How does a log line become an error group? | [`pilothouse_core::logs`] reads level and message, masks what varies and finds the template; [`source::logs`] follows the pods and counts the groups |
//! | Which code decides whether a filter shows a log line? | [`pilothouse_core::logs::filter`], for an open log (`ui/app/tail.rs`) and for `pilothouse logs` (`bootstrap/look/logs.rs`) |
//! | Which file binds a key to a command? | default keys: [`ui::command`] (`table.rs`); keys from the config: [`ui::keymap`]; the code that a command runs: [`ui::update`] |
//! | What happens between a key press and the frame? | [`terminal`] decodes the key, [`ui::run`] takes it from the queue, [`ui::update`] runs its command and refreshes the rows of the panes ([`mod@ui::pane`], `ui::rows`), [`ui::view`] draws cells from the view models of [`ui::present`], [`ui::paint`] turns them into bytes, and the terminal's writer thread writes them |
//! | Which code decides that a drain is refused? | for each pod: [`pilothouse_core::policy::drain`] (kubectl's filters); for the plan: [`pilothouse_core::plan`] (`nodes.rs`; guards such as read-only: `plan.rs`); by the server: [`action::rehearse`] (access reviews, dry runs); while it runs: [`action::executor`] and [`action::drain`] |
//! | Which file sends an eviction? | [`action::drain`] (`node.rs`) decides when, [`action::requests`] builds the request, [`wire::write`] sends it, called by the drain's `api.rs` |
//! | Which code writes the journal? | [`action::journal`] writes and syncs the files; executor and drain call it through [`action::recorder`] before each request |
//! | What is kept of the past, and how does a pane show it? | the transitions: [`pilothouse_core::facts::history`], written by [`pilothouse_core::state::record`]; a cluster as it was: [`pilothouse_core::state::past`]; the moved clock of the screen: [`ui::app`] (`past.rs`) |
//! | Which code decides when an incident opens, and when it has recovered? | [`pilothouse_core::policy::incident`]; its report: [`report::incident`] |
//! | Which lines does the timeline have? | [`pilothouse_core::state::timeline`], shown by [`mod@ui::pane`] (`timeline.rs`) |
//! | How is a console recorded and replayed? | the file: [`source::recording`]; the panes of a recording: [`bootstrap::replay`] |
//! | What becomes of an action whose process ended? | [`action::resume`] |
//! | Where are the permissions listed? | with the kinds, in [`pilothouse_core::domain::kinds`]; [`report::rights`] prints them for `doctor`, `rbac` and the README |
//! | Where is the format of the config file defined? | [`config::fields`], types and defaults in [`pilothouse_core::domain::settings`]; failover plans in [`config::failover`], presets in [`config::presets`], silences in [`config::silence`]; [`config::check()`] reads a file |
//! | Where are the clients, clock, guards and sources of a cluster? | in its handle, [`bootstrap::cluster`]; code that sends a request takes the handle of the object |
//! | Which clusters does a command open? | the contexts of `--context`, globs and sets: `bootstrap/choice.rs`; what a set says about a cluster: [`pilothouse_core::domain::settings`] (`clusters.rs`); headless, one for each or exactly one: `bootstrap/each.rs` |
//! | How are several clusters opened and closed? | [`bootstrap::opening`] connects each in a task of its own and tells the [`hub`]; the key presses: [`ui::update`] (`clusters.rs`); what is kept of those that are not in front: [`ui::app`] (`clusters.rs`) |
//! | How does a demo differ from another cluster? | only in `bootstrap/demo.rs`, which starts the simulated clusters and connects to them |
//!
//! # Glossary
//!
//! - **set**: clusters that the config gives a name, with their colour and their guards (`[clusters.NAME]`).
//! - **fact**: something that was observed, without a conclusion; it travels as an
//!   [`Event`](pilothouse_core::facts::event::Event).
//! - **source**: a task that reads one kind of data (pods, Prometheus, logs) and sends facts; its status is a fact too.
//! - **table**: the rows of one kind, in shared chunks so that a snapshot is cheap ([`pilothouse_core::facts::table`]).
//! - **coverage**: how complete a table is: loading, complete, only some namespaces, denied, not installed.
//! - **World**: the immutable snapshot of all clusters and actions that the hub publishes
//!   ([`pilothouse_core::facts::world`]).
//! - **derived row**: an object with the values computed from other tables, for example a node with the sums of its
//!   pods ([`pilothouse_core::state::derive`]).
//! - **finding** (in code: cause): a problem that a rule found; NOW shows one line for it.
//! - **preset**: a set of metrics that traffic is read from, such as those of HAProxy or Istio, with the queries and the
//!   labels that name services and backends.
//! - **intent**: the action that a user or a command line asks for, on which objects, in which context.
//! - **plan**: the steps of an intent, with warnings, refusals and the needed confirmation; nothing is sent yet.
//! - **evidence**: the server's answers about a plan: access reviews and dry runs.
//! - **rehearsal**: a plan together with its evidence, as the dialog shows it before the confirmation.
//! - **guard**: a check that refuses an action or makes its confirmation stricter: read-only, protection, permissions.
//! - **step**: one change of one object, usually one request.
//! - **journal**: the record of all actions on disk, written before each request.
//! - **session**: what one run of an action needs: clients, rate limit, cancellation. The **runner** takes an intent
//!   through rehearsal, confirmation and execution, for the console and for headless commands.
//! - **front**: the open cluster that the panes show. The others stay connected.
//! - **history**: the transitions of what was displayed, from which an earlier moment is computed; bounded, in memory.
//! - **incident**: the time from the first evidence of a critical finding to its recovery, with the steps between.
//! - **remark**: a bookmark, a note, or a step of an incident, from a person.
//! - **recording**: the facts of a console in a file, which `--replay` shows and `report` summarises.
//! - **pane**: a list on the main screen (Nodes, Traffic, Errors, Autoscalers) or full screen; all are entries of one
//!   table, [`mod@ui::pane`].

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
