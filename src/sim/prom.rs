//! The Prometheus of the simulated cluster: the samples that it has scraped, PromQL, its rules and its HTTP API.
//!
//! [`tsdb`] holds the samples, [`eval`] evaluates expressions (parsed by promql-parser), [`functions`] computes rates
//! and quantiles as Prometheus does, [`matching`] decides which series of two sides an operator joins. [`scrape`] fills
//! the database with the metrics of `export`, `haproxy`, `mesh`, `nginx` and `state`, `ledger` tells proxies who asked,
//! [`rules`] evaluates alerts, [`http`] serves it all.

pub mod eval;
mod export;
pub mod functions;
mod haproxy;
pub mod http;
mod ledger;
pub mod matching;
mod mesh;
mod nginx;
pub mod rules;
pub mod scrape;
mod sheet;
mod state;
pub mod tsdb;
