//! A cluster in the place of an API server: it answers from a script, and its watches say what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Owner, Uid, Version};
use pilothouse_core::domain::pod::{Phase, Pod};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Batch, Gone};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::super::api::{DrainApi, PodQuery};
use super::super::watch::{Said, Watch};
use crate::action::requests::Mutation;
use crate::clock::Clock;
use crate::wire::error::ApiError;
use crate::wire::write::WriteError;

pub(super) const NODE: &str = "n1";
/// The time of the cluster, which stands still.
pub(super) const NOW: Stamp = Stamp(1_767_225_600_000);

type Answer = Result<Value, WriteError>;

/// A scripted cluster.
pub(crate) struct Cluster {
    pods: mpsc::Sender<Said<Pod>>,
    node: mpsc::Sender<Said<Value>>,
    watches: Mutex<Option<(Watch<Pod>, Watch<Value>)>>,
    /// The answers to evictions, in order; then they are accepted.
    answers: Mutex<VecDeque<Answer>>,
    /// What a read finds, by kind and name.
    objects: Mutex<BTreeMap<(Kind, String), Value>>,
    sent: Mutex<Vec<(Instant, Mutation)>>,
    reads: Mutex<Vec<(Instant, Kind)>>,
    changed: Notify,
}

impl Cluster {
    pub(crate) fn new(answers: Vec<Answer>) -> Arc<Self> {
        let (pods, pods_said) = mpsc::channel(16);
        let (node, node_said) = mpsc::channel(16);
        let watches = Mutex::new(Some((Watch::scripted(pods_said), Watch::scripted(node_said))));
        let objects = BTreeMap::from([((Kind::Node, NODE.to_owned()), node_object(true))]);
        Arc::new(Self {
            pods,
            node,
            watches,
            answers: Mutex::new(answers.into()),
            objects: Mutex::new(objects),
            sent: Mutex::default(),
            reads: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// The watch of the pods lists these.
    pub(crate) async fn lists(&self, pods: Vec<Pod>) {
        self.lists_without_end(pods).await;
        self.rows(Batch::End { generation: 1, version: Version::default() }).await;
    }

    /// A list whose end does not come.
    pub(crate) async fn lists_without_end(&self, pods: Vec<Pod>) {
        self.rows(Batch::Begin { generation: 1 }).await;
        self.rows(Batch::Upsert(pods)).await;
    }

    /// The watch of the pods shows this one.
    pub(crate) async fn shows(&self, pod: Pod) {
        self.rows(Batch::Upsert(vec![pod])).await;
    }

    /// The watch of the pods says that this one is gone.
    pub(crate) async fn removes(&self, pod: &Pod) {
        self.rows(Batch::Gone(vec![Gone { uid: pod.uid.clone(), version: Version::default() }])).await;
    }

    async fn rows(&self, batch: Batch<Pod>) {
        self.pods.send(Said::Rows(batch)).await.ok().unwrap();
    }

    /// The watch of the node shows it so.
    pub(crate) async fn node(&self, cordoned: bool) {
        self.has(Kind::Node, NODE, node_object(cordoned));
        self.node.send(Said::Rows(Batch::Upsert(vec![node_object(cordoned)]))).await.ok().unwrap();
    }

    /// A read finds this object.
    pub(crate) fn has(&self, kind: Kind, name: &str, object: Value) {
        self.objects.lock().unwrap().insert((kind, name.to_owned()), object);
    }

    /// Waits until so many evictions were sent in all.
    pub(crate) async fn sent(&self, n: usize) {
        self.until(|cluster| cluster.requests().len() >= n).await;
    }

    /// Waits until so many objects of the kind were read in all.
    pub(crate) async fn read(&self, kind: &Kind, n: usize) {
        self.until(|cluster| cluster.reads_of(kind).len() >= n).await;
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds(self) {
                return;
            }
            changed.await;
        }
    }

    /// The evictions that were sent.
    pub(crate) fn requests(&self) -> Vec<Mutation> {
        self.sent.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// The UIDs that the evictions name as their precondition.
    pub(crate) fn evicted(&self) -> Vec<Uid> {
        let uid = |request: &Mutation| {
            let uid = request.body.pointer("/deleteOptions/preconditions/uid").and_then(Value::as_str);
            Uid::parse(uid.unwrap())
        };
        self.requests().iter().map(uid).collect()
    }

    /// The time from one eviction to the next.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        self.sent.lock().unwrap().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    pub(crate) fn reads_of(&self, kind: &Kind) -> Vec<Instant> {
        self.reads.lock().unwrap().iter().filter(|(_, of)| of == kind).map(|(at, _)| *at).collect()
    }
}

impl DrainApi for Arc<Cluster> {
    fn send(&self, request: Mutation) -> BoxFuture<'static, Answer> {
        self.sent.lock().unwrap().push((Clock::instant(), request));
        self.changed.notify_waiters();
        let accepted = || Ok(json!({ "kind": "Status", "status": "Success" }));
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(accepted);
        Box::pin(async { answer })
    }

    fn cluster(&self) -> ClusterId {
        ClusterId(0)
    }

    fn get(&self, on: ObjectRef) -> BoxFuture<'static, Result<Option<Bytes>, ApiError>> {
        self.reads.lock().unwrap().push((Clock::instant(), on.kind.clone()));
        self.changed.notify_waiters();
        let found = self.objects.lock().unwrap().get(&(on.kind, on.name.to_string())).cloned();
        Box::pin(async { Ok(found.map(|object| object.to_string().into())) })
    }

    fn list_pods(&self, _: &PodQuery) -> BoxFuture<'static, Result<Vec<Pod>, ApiError>> {
        Box::pin(async { Err(ApiError::Unreachable("not in the script".into())) })
    }

    fn watch_pods(&self, query: &PodQuery) -> Watch<Pod> {
        assert_eq!(*query, PodQuery::Node(NODE.into()));
        let (pods, node) = self.watches.lock().unwrap().take().unwrap();
        let (_, gone) = mpsc::channel(1);
        *self.watches.lock().unwrap() = Some((Watch::scripted(gone), node));
        pods
    }

    fn watch_node(&self, name: &Name) -> Watch<Value> {
        assert_eq!(*name, NODE);
        self.watches.lock().unwrap().take().unwrap().1
    }
}

pub(super) fn node_uid() -> Uid {
    Uid::Uuid(0x500)
}

fn node_object(cordoned: bool) -> Value {
    json!({
        "metadata": { "name": NODE, "uid": node_uid().to_string() },
        "spec": { "unschedulable": cordoned },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] }
    })
}

/// A running pod of a ReplicaSet.
pub(super) fn pod(uid: u128, name: &str) -> Pod {
    let owner =
        Owner { kind: Kind::ReplicaSet, name: "web-1".into(), uid: Uid::Uuid(0x900), group: "apps".into() };
    Pod {
        uid: Uid::Uuid(uid),
        namespace: "shop".into(),
        name: name.into(),
        node: Some(NODE.into()),
        owner: Some(Arc::new(owner)),
        phase: Phase::Running,
        ready: true,
        ..Pod::default()
    }
}

/// The same once its deletion was asked for.
pub(super) fn terminating(pod: &Pod) -> Pod {
    Pod { deleting: Some(NOW.plus_secs(30)), ready: false, ..pod.clone() }
}

/// An answer of the API server that says no.
pub(super) fn refused(code: u16, retry_after: Option<u64>, body: &Value) -> Answer {
    let wait = retry_after.map(Duration::from_secs);
    Err(WriteError::Refused(ApiError::from_answer(code, wait, body.to_string().as_bytes())))
}
