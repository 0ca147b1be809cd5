//! The clients that talk to an API server. Depends on core only.
//!
//! [`connect`] resolves the access ([`kubeconfig`], [`credential`], [`mod@env`]) and builds the two clients. [`client`]
//! reads. [`mod@write`] changes objects; only the executor holds it. [`list_watch`] lists and watches every kind.

pub mod backoff;
pub mod client;
pub mod connect;
pub mod credential;
pub mod decode;
pub mod env;
pub mod error;
pub mod frames;
pub mod haproxy;
pub mod items;
pub mod kubeconfig;
pub mod list_watch;
pub mod pages;
pub(crate) mod proxy;
pub(crate) mod secret;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod web;
pub mod write;
