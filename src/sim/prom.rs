//! What a Prometheus would have scraped of the simulated cluster, and the PromQL over it.
//!
//! [`tsdb`] holds the samples, [`eval`] answers expressions (parsed by promql-parser), [`functions`] has the maths of
//! rates and quantiles as Prometheus does them, [`rules`] turns expressions into alerts, [`http`] speaks the API.

pub mod eval;
pub mod functions;
pub mod http;
pub mod matching;
pub mod rules;
pub mod tsdb;
