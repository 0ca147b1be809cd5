//! What a Prometheus would have scraped of the simulated cluster, and the PromQL over it.
//!
//! [`tsdb`] holds the samples, [`eval`] answers expressions (parsed by promql-parser), [`functions`] has the maths of
//! rates and quantiles as Prometheus does them, [`matching`] which points of two sides an operator joins.

pub mod eval;
pub mod functions;
pub mod matching;
pub mod tsdb;
