//! The clients: how bytes reach and leave an API server. Depends on core only.
//!
//! [`connect`] resolves the access ([`kubeconfig`], [`credential`], [`env`]) and makes the two clients, [`client`] reads, [`mod@write`] changes (and belongs to the
//! executor alone), [`list_watch`] is the one machine that keeps every kind current.

pub mod backoff;
pub mod client;
pub mod connect;
pub mod credential;
pub mod decode;
pub mod env;
pub mod error;
pub mod frames;
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
