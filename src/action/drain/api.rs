//! The requests of a drain: the evictions that it sends, the objects that it reads, and the lists and watches that it
//! follows. It is a trait so that a test can answer from a script.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef};
use pilothouse_core::domain::pod::Pod;
use serde_json::Value;

use super::super::list_path::ListPath;
use super::super::live_object::get;
use super::super::requests::Mutation;
use super::super::session::Session;
use super::watch::{self, Watch};
use crate::clock::Clock;
use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::write::{WriteClient, WriteError};

/// The pods that a drain follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PodQuery {
    /// The pods of a node.
    Node(Name),
    /// The pods of a namespace, or only the pod with this name. A user who may evict single pods need not be
    /// permitted to list the pods of a node.
    Namespace(Name, Option<Name>),
}

impl PodQuery {
    /// Returns the path of the list with these pods.
    pub(super) fn list(&self) -> ListPath {
        match self {
            Self::Node(node) => ListPath::pods_on(node),
            Self::Namespace(namespace, None) => ListPath::of(&Kind::Pod, namespace),
            Self::Namespace(namespace, Some(pod)) => {
                ListPath::of(&Kind::Pod, namespace).field("metadata.name", pod)
            }
        }
    }
}

impl std::fmt::Display for PodQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(node) => f.write_str(node),
            Self::Namespace(namespace, _) => f.write_str(namespace),
        }
    }
}

/// The requests of a drain to one cluster.
pub(super) trait DrainApi: Send + Sync {
    /// The cluster whose plan it runs.
    fn cluster(&self) -> ClusterId;
    /// Sends an eviction or a deletion, once.
    fn send(&self, request: Mutation) -> BoxFuture<'static, Result<Value, WriteError>>;
    /// Reads one object. Returns `Ok(None)` if it does not exist.
    fn get(&self, on: ObjectRef) -> BoxFuture<'static, Result<Option<Bytes>, ApiError>>;
    /// Lists the current pods, independently of their watch.
    fn list_pods(&self, query: &PodQuery) -> BoxFuture<'static, Result<Vec<Pod>, ApiError>>;
    fn watch_pods(&self, query: &PodQuery) -> Watch<Pod>;
    fn watch_node(&self, name: &Name) -> Watch<Value>;
}

/// A cluster for which a session has clients.
pub(super) struct ClusterApi {
    cluster: ClusterId,
    reader: ReadClient,
    writer: WriteClient,
    clock: Clock,
}

impl ClusterApi {
    /// Returns the cluster of a context, "" for the action's own. Returns `None` if it cannot be written to.
    pub(super) fn of(session: &Session, context: &str) -> Option<Arc<dyn DrainApi>> {
        let clients = session.reach.of(context)?;
        let (reader, writer) = (clients.reader.clone(), clients.writer.clone()?);
        let cluster = session.reach.cluster;
        Some(Arc::new(Self { cluster, reader, writer, clock: session.clock.clone() }))
    }
}

impl DrainApi for ClusterApi {
    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn send(&self, request: Mutation) -> BoxFuture<'static, Result<Value, WriteError>> {
        let writer = self.writer.clone();
        Box::pin(async move { request.send(&writer, false).await })
    }

    fn get(&self, on: ObjectRef) -> BoxFuture<'static, Result<Option<Bytes>, ApiError>> {
        let reader = self.reader.clone();
        Box::pin(async move { get(&reader, &on).await })
    }

    fn list_pods(&self, query: &PodQuery) -> BoxFuture<'static, Result<Vec<Pod>, ApiError>> {
        let (reader, clock, path) = (self.reader.clone(), self.clock.clone(), query.list());
        Box::pin(async move { watch::list(&reader, &path.to_string(), &clock).await })
    }

    fn watch_pods(&self, query: &PodQuery) -> Watch<Pod> {
        watch::pods(self.reader.clone(), self.clock.clone(), &query.list())
    }

    fn watch_node(&self, name: &Name) -> Watch<Value> {
        watch::node(self.reader.clone(), self.clock.clone(), name)
    }
}
