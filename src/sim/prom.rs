//! The Prometheus of the simulated cluster: what it has scraped, the PromQL over it, its rules and its HTTP API.
//!
//! [`tsdb`] holds the samples, [`eval`] answers expressions (parsed by promql-parser), [`functions`] has the maths of
//! rates and quantiles as Prometheus does them, [`matching`] which points of two sides an operator joins. [`scrape`]
//! fills the database from what `export`, `haproxy` and `state` say, [`rules`] evaluates alerts, [`http`] serves it all.

pub mod eval;
mod export;
pub mod functions;
mod haproxy;
pub mod http;
pub mod matching;
pub mod rules;
pub mod scrape;
mod sheet;
mod state;
pub mod tsdb;
