//! An API server in this process: nodes, pods and deployments in memory; GET, LIST, WATCH, PATCH and evictions. It
//! counts what it applies, and can drop answers. It is fast, but proves nothing about a real server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilothouse::wire::connect::{ConnectOptions, Connection};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Swallow {
    #[default]
    Nothing,
    /// Applied, and the connection closed without an answer.
    Answer,
    /// Not applied either.
    Request,
    /// Applied, and answered with this status.
    Says(u16),
    /// Answered with this status, and not applied.
    Refuses(u16),
}

/// How the node changes during a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// `ann` uncordons it, according to managedFields.
    Uncordoned,
    /// Somebody uncordons it as kubectl does, without a trace.
    Bare,
    /// Another node with the same name replaces it.
    Replaced,
    Deleted,
    /// Its kubelet is silent.
    NotReady,
}

/// How watches of the node are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeWatch {
    #[default]
    Works,
    /// The user may get the node, but neither list nor watch it.
    Denied,
    /// The user may list it too.
    Unwatched,
    /// The next watches end: with a 410, or in the middle of a line.
    Breaks(u32),
    /// The watch opens and then sends nothing.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    Always,
    Uncordoned,
}

/// What ends during the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Every request is answered with 401.
    Login,
    /// Writes are answered with 403, and access reviews with "denied".
    Right,
}

/// A change by another user.
pub type Then = Box<dyn FnOnce(&mut State) + Send>;

#[derive(Default)]
pub struct State {
    version: u64,
    /// By path.
    objects: BTreeMap<String, Value>,
    /// Version, type, path and object.
    events: Vec<(u64, &'static str, String, Value)>,
    /// Applied writes, by the change and the UID.
    pub applied: BTreeMap<String, u32>,
    pub swallow: Swallow,
    /// The first watches, which break: with a 410, or in the middle of a line.
    pub breaks: u32,
    /// The node is deleted, with its pods, as soon as these are listed.
    pub vanish: bool,
    /// A controller writes a workload's status after each read.
    pub restless: bool,
    /// A pod that appears when a node is cordoned.
    pub late: Option<Value>,
    /// Pods that are evicted stay terminating.
    pub lingers: bool,
    /// Evictions until the node changes in this way.
    pub turn_after: Option<(u32, Turn)>,
    pub node_watch: NodeWatch,
    /// How often the node was read, listed by its name, and watched.
    pub looks: u32,
    pub node_lists: u32,
    pub node_watches: u32,
    /// Evictions until reading the node is forbidden.
    pub blind_after: Option<u32>,
    /// For each evicted pod, another pod comes to the node: always, or after the node was uncordoned.
    pub returns: Option<Returns>,
    /// Done right after the next write, before a client can read.
    pub then: Option<Then>,
    /// A new template or a new number of replicas has no effect: the status stays the same.
    pub slow: bool,
    /// Writes until a permission or the login ends.
    pub ends: Option<(u32, Ends)>,
    /// All that was asked, but for watches: method and target.
    pub requests: Vec<String>,
}

#[derive(Clone)]
pub struct Fake {
    pub state: Arc<Mutex<State>>,
    pub connection: Connection,
    changed: Arc<watch::Sender<u64>>,
    /// The events that a watch has got.
    shown: Arc<watch::Sender<u64>>,
    /// While this is true, evictions are applied but not answered.
    pub holds: Arc<watch::Sender<bool>>,
    /// Connections that clients hold.
    open: Arc<watch::Sender<usize>>,
    config: Arc<tempfile::NamedTempFile>,
}

pub fn uid(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

pub fn pod(n: u32, node: &str, owned: bool) -> Value {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": uid(900), "controller": true}]);
    json!({
        "metadata": {"name": format!("p{n}"), "namespace": "shop", "uid": uid(n),
            "ownerReferences": if owned { owner } else { json!([]) }},
        "spec": {"nodeName": node, "containers": [{"name": "a", "image": "a"}]},
        "status": {"phase": "Running"},
    })
}

impl State {
    fn put(&mut self, path: &str, mut object: Value, kind: &'static str) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if path.contains("/pods/") || path.contains("/nodes/") {
            self.events.push((self.version, kind, path.to_owned(), object.clone()));
        }
        match kind {
            "DELETED" => self.objects.remove(path),
            _ => self.objects.insert(path.to_owned(), object),
        };
    }

    fn count(&mut self, what: &str, object: &Value) {
        let uid = object["metadata"]["uid"].as_str().unwrap();
        *self.applied.entry(format!("{what} {uid}")).or_default() += 1;
    }

    /// Adds a pod.
    pub fn add(&mut self, pod: Value) {
        let text = |key: &str| pod["metadata"][key].as_str().unwrap().to_owned();
        let path = format!("/api/v1/namespaces/{}/pods/{}", text("namespace"), text("name"));
        self.put(&path, pod, "ADDED");
    }

    pub fn evictions(&self) -> usize {
        self.applied.keys().filter(|what| what.starts_with("evict")).count()
    }

    fn after_eviction(&mut self) {
        let mut turn = None;
        if let Some((left, what)) = self.turn_after.as_mut() {
            *left -= 1;
            turn = (*left == 0).then_some(*what);
        }
        if let Some(what) = turn {
            self.turn_after = None;
            self.turn(what);
        }
        self.blind_after = self.blind_after.map(|left| left.saturating_sub(1));
        let cordoned = self.get("/api/v1/nodes/n1").is_some_and(|n| n["spec"]["unschedulable"] == true);
        let returns = self.returns.is_some_and(|when| when == Returns::Always || !cordoned);
        if returns {
            let n = 1000 + u32::try_from(self.evictions()).unwrap();
            self.put(&format!("/api/v1/namespaces/shop/pods/p{n}"), pod(n, "n1", true), "ADDED");
        }
    }

    /// Changes the node in this way.
    pub fn turn(&mut self, what: Turn) {
        let path = "/api/v1/nodes/n1";
        let mut node = self.objects.get(path).cloned().unwrap();
        match what {
            Turn::Uncordoned | Turn::Bare => {
                node["spec"]["unschedulable"] = json!(false);
            }
            Turn::Replaced | Turn::Deleted => self.put(path, node.clone(), "DELETED"),
            Turn::NotReady => {
                node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown",
                    "reason": "NodeStatusUnknown", "lastTransitionTime": "2026-01-02T03:04:05Z"}]);
            }
        }
        if what == Turn::Uncordoned {
            node["metadata"]["managedFields"] = json!([{"manager": "ann", "time": "2026-01-02T03:04:05Z",
                "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}]);
        }
        match what {
            Turn::Deleted => {}
            Turn::Replaced => {
                node["metadata"]["uid"] = json!(uid(501));
                self.put(path, node, "ADDED");
            }
            _ => self.put(path, node, "MODIFIED"),
        }
    }

    /// Sets an object that exists from the start.
    pub fn has(&mut self, path: &str, object: Value) {
        self.put(path, object, "ADDED");
    }

    /// Changes an object as another user.
    pub fn change(&mut self, path: &str, by: &str, patch: &Value) {
        let mut object = self.objects.get(path).cloned().unwrap();
        merge(&mut object, patch);
        if let Some(generation) = object["metadata"]["generation"].as_i64() {
            object["metadata"]["generation"] = json!(generation + 1);
            object["status"]["observedGeneration"] = json!(generation + 1);
        }
        let fields = fields_of(patch);
        object["metadata"]["managedFields"] =
            json!([{"manager": by, "time": "2026-01-02T03:04:05Z", "fieldsV1": fields}]);
        self.put(path, object, "MODIFIED");
    }

    pub fn get(&self, path: &str) -> Option<&Value> {
        self.objects.get(path)
    }

    /// The UID of the namespace kube-system, which identifies the cluster.
    pub fn is_cluster(&mut self, n: u32) {
        let object = json!({"metadata": {"name": "kube-system", "uid": uid(n)}});
        self.put("/api/v1/namespaces/kube-system", object, "ADDED");
    }

    /// How many of the requests have these words.
    pub fn asked(&self, words: &str) -> usize {
        self.requests.iter().filter(|request| request.contains(words)).count()
    }

    pub fn pods(&self) -> usize {
        self.objects.keys().filter(|k| k.contains("/pods/")).count()
    }

    pub fn total(&self) -> u32 {
        self.applied.values().sum()
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let object = into.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The names of a patch's fields, as in managedFields.
fn fields_of(patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return json!({}) };
    let fields = patch.iter().map(|(key, value)| (format!("f:{key}"), fields_of(value)));
    Value::Object(fields.collect())
}

/// False: a `test` operation failed.
fn json_patch(into: &mut Value, ops: &Value) -> bool {
    for op in ops.as_array().unwrap() {
        let path = op["path"].as_str().unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        match op["op"].as_str().unwrap() {
            "test" if into.pointer(path) != Some(&op["value"]) => return false,
            "test" => {}
            "remove" => {
                into.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
            }
            _ => into.pointer_mut(parent).unwrap()[key] = op["value"].clone(),
        }
    }
    true
}

impl Fake {
    /// A server with a node of `pods` pods and a deployment of three.
    pub async fn start(pods: u32) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\ncontexts: [{{name: test, context: {{cluster: c}}}}]\ncurrent-context: test\n"
        );
        std::fs::write(config.path(), text).unwrap();
        let options = ConnectOptions { kubeconfig: Some(config.path().into()), ..ConnectOptions::default() };
        let fake = Self {
            state: Arc::default(),
            connection: Connection::open(options).await.unwrap(),
            changed: Arc::default(),
            shown: Arc::default(),
            holds: Arc::default(),
            open: Arc::default(),
            config: Arc::new(config),
        };
        {
            let mut state = fake.state.lock().unwrap();
            state.put(
                "/api/v1/nodes/n1",
                json!({"metadata": {"name": "n1", "uid": uid(500)}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
                "ADDED",
            );
            for n in 0..pods {
                state.put(&format!("/api/v1/namespaces/shop/pods/p{n}"), pod(n, "n1", true), "ADDED");
            }
            state.put(
                "/apis/apps/v1/namespaces/shop/deployments/web",
                json!({"metadata": {"name": "web", "namespace": "shop", "uid": uid(600), "generation": 1},
                    "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}},
                    "status": {"observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3, "availableReplicas": 3}}),
                "ADDED",
            );
        }
        let server = fake.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let server = server.clone();
                // a client that goes away only closes its connection
                tokio::spawn(async move {
                    let open = server.open.clone();
                    open.send_modify(|n| *n += 1);
                    drop(server.connection(socket).await);
                    open.send_modify(|n| *n -= 1);
                });
            }
        });
        fake
    }

    /// A kubeconfig whose current context `test` leads to this server.
    pub fn kubeconfig(&self) -> &std::path::Path {
        self.config.path()
    }

    /// Waits until no client is connected: requests of a dead process have arrived by then, or never will.
    pub async fn quiet(&self) {
        let mut open = self.open.subscribe();
        let none = tokio::time::timeout(Duration::from_secs(20), open.wait_for(|n| *n == 0)).await;
        assert!(none.is_ok(), "a client is still connected");
    }

    /// Waits until a watch has got this many evictions.
    pub async fn shows(&self, evictions: usize) {
        let mut shown = self.shown.subscribe();
        let is = |at: &u64| {
            let state = self.state.lock().unwrap();
            state.evictions() == evictions && state.version <= *at
        };
        let told = tokio::time::timeout(Duration::from_secs(20), shown.wait_for(is)).await;
        assert!(told.is_ok(), "no watch was told of {evictions} evictions");
    }

    /// Waits for a few requests of our own, so that other clients had the time to send theirs.
    pub async fn turns(&self) {
        let reader = self.connection.reader().unwrap();
        for _ in 0..5 {
            reader.get_bytes("/api/v1/nodes/n1", 1 << 20).await.unwrap();
        }
    }

    async fn connection(self, socket: TcpStream) -> std::io::Result<()> {
        let mut socket = BufReader::new(socket);
        loop {
            let (mut head, mut length, mut first) = (String::new(), 0, String::new());
            loop {
                head.clear();
                if socket.read_line(&mut head).await? == 0 {
                    return Ok(());
                }
                if first.is_empty() {
                    first = head.trim().to_owned();
                }
                if let Some(value) = head.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if head == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            socket.read_exact(&mut body).await?;
            let mut words = first.split(' ');
            let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            if target.contains("watch=1") {
                return self.watch(socket, &target).await;
            }
            let (code, answer, swallowed) = self.answer(&method, &target, &body);
            if swallowed {
                return Ok(());
            }
            if target.contains("/eviction") {
                drop(self.holds.subscribe().wait_for(|holds| !holds).await);
            }
            let answer = answer.to_string();
            let text = format!(
                "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            );
            socket.get_mut().write_all(text.as_bytes()).await?;
        }
    }

    async fn watch(&self, mut socket: BufReader<TcpStream>, target: &str) -> std::io::Result<()> {
        let kind = if target.contains("/nodes?") { "/nodes/" } else { "/pods/" };
        let refused = {
            let mut state = self.state.lock().unwrap();
            state.node_watches += u32::from(kind == "/nodes/");
            kind == "/nodes/" && matches!(state.node_watch, NodeWatch::Denied | NodeWatch::Unwatched)
        };
        if refused {
            let text = "HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n";
            return socket.get_mut().write_all(text.as_bytes()).await;
        }
        let from = target.split("resourceVersion=").nth(1).unwrap().split('&').next().unwrap();
        let mut at: u64 = from.parse().unwrap();
        let mut changed = self.changed.subscribe();
        socket.get_mut().write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        let breaks = {
            let mut state = self.state.lock().unwrap();
            let mut breaks = match state.node_watch {
                NodeWatch::Breaks(n) if kind == "/nodes/" => n,
                _ if kind == "/nodes/" => 0,
                _ => state.breaks,
            };
            breaks = breaks.saturating_sub(1);
            match (kind, state.node_watch) {
                ("/nodes/", NodeWatch::Breaks(_)) => state.node_watch = NodeWatch::Breaks(breaks),
                ("/nodes/", _) => {}
                _ => state.breaks = breaks,
            }
            breaks
        };
        if breaks > 0 {
            let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#;
            let text = if breaks % 2 == 0 { format!("{gone}\n") } else { gone.replace("410", "4") };
            let chunk = format!("{:x}\r\n{text}\r\n", text.len());
            return socket.get_mut().write_all(chunk.as_bytes()).await;
        }
        loop {
            let mut news = String::new();
            let ends = {
                let state = self.state.lock().unwrap();
                let silent = kind == "/nodes/" && state.node_watch == NodeWatch::Silent;
                for (version, what, path, object) in &state.events {
                    if *version > at && path.contains(kind) && !silent {
                        news += &format!("{}\n", json!({"type": what, "object": object}));
                        at = *version;
                    }
                }
                kind == "/nodes/" && state.blind_after == Some(0)
            };
            if ends {
                return Ok(());
            }
            if !news.is_empty() {
                let chunk = format!("{:x}\r\n{news}\r\n", news.len());
                socket.get_mut().write_all(chunk.as_bytes()).await?;
            }
            self.shown.send_replace(at);
            if kind == "/pods/" && self.end_pods(at) {
                continue;
            }
            tokio::select! {
                news = changed.changed() => news.unwrap(),
                // a client that watches sends nothing more, so this means that it has gone
                _ = socket.read_u8() => return Ok(()),
            }
        }
    }

    /// Deletes pods when a watch has got their termination, so that the watching client sees both. True if any were
    /// deleted.
    fn end_pods(&self, reached: u64) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.lingers {
            return false;
        }
        let ending = |object: &Value| {
            let version = object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok());
            !object["metadata"]["deletionTimestamp"].is_null() && version.is_some_and(|v| v <= reached)
        };
        let ended: Vec<(String, Value)> =
            state.objects.iter().filter(|(_, o)| ending(o)).map(|(k, o)| (k.clone(), o.clone())).collect();
        for (path, object) in &ended {
            state.put(path, object.clone(), "DELETED");
        }
        let version = state.version;
        drop(state);
        if !ended.is_empty() {
            self.changed.send_replace(version);
        }
        !ended.is_empty()
    }

    fn answer(&self, method: &str, target: &str, body: &[u8]) -> (u16, Value, bool) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut state = self.state.lock().unwrap();
        state.requests.push(format!("{method} {target}"));
        let status = |code: u16, message: &str| {
            (code, json!({"kind": "Status", "code": code, "message": message}), false)
        };
        let ended = state.ends.filter(|(left, _)| *left == 0).map(|(_, what)| what);
        if ended == Some(Ends::Login) {
            return status(401, "Unauthorized");
        }
        if method == "GET" {
            if state.vanish && path == "/api/v1/pods" {
                state.objects.clear();
            }
            let (one, all) = (path.contains("/nodes/"), path.ends_with("/nodes"));
            state.looks += u32::from(one);
            state.node_lists += u32::from(all && query.contains("fieldSelector"));
            if state.blind_after == Some(0) && (one || all) || all && state.node_watch == NodeWatch::Denied {
                return status(403, "nodes are forbidden");
            }
            if let Some(object) = state.objects.get(path).cloned() {
                if state.restless && path.contains("/deployments/") {
                    state.put(path, object.clone(), "MODIFIED");
                }
                return (200, object, false);
            }
            if path.rsplit('/').next().is_some_and(|last| last.ends_with('s')) {
                let prefix = format!("{path}/");
                let all = path == "/api/v1/pods";
                let items: Vec<&Value> = state
                    .objects
                    .iter()
                    .filter(|(k, _)| k.starts_with(&prefix) || all && k.contains("/pods/"))
                    .map(|(_, v)| v)
                    .collect();
                let version = state.version.to_string();
                return (
                    200,
                    json!({"kind": "List", "metadata": {"resourceVersion": version}, "items": items}),
                    false,
                );
            }
            return status(404, "not found");
        }
        if path.ends_with("selfsubjectaccessreviews") {
            return (201, json!({"status": {"allowed": ended.is_none()}}), false);
        }
        if ended == Some(Ends::Right) {
            return status(403, "it is forbidden: User \"ann\" cannot do this");
        }
        let dry_run = query.contains("dryRun");
        match state.swallow {
            Swallow::Request => return (0, Value::Null, true),
            Swallow::Refuses(code) if !dry_run => return status(code, "a gateway's word"),
            _ => {}
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        let kept = dry_run
            .then(|| (state.version, state.objects.clone(), state.events.len(), state.applied.clone()));
        let answer = Self::write(&mut state, path, &body);
        if let Some((version, objects, events, applied)) = kept {
            state.events.truncate(events);
            (state.version, state.objects, state.applied) = (version, objects, applied);
        }
        if !dry_run && answer.is_ok() {
            if let Some((left, _)) = state.ends.as_mut() {
                *left = left.saturating_sub(1);
            }
            if let Some(then) = state.then.take() {
                then(&mut state);
            }
        }
        let swallow = state.swallow;
        let swallowed = swallow == Swallow::Answer;
        let version = state.version;
        drop(state);
        self.changed.send_replace(version);
        if let (Swallow::Says(code), Ok(_), false) = (swallow, &answer, dry_run) {
            return status(code, "a gateway's word");
        }
        match answer {
            Ok(value) => (200, value, swallowed),
            Err((code, message)) => status(code, message),
        }
    }

    fn write(state: &mut State, path: &str, body: &Value) -> Result<Value, (u16, &'static str)> {
        if let Some(pod) = path.strip_suffix("/eviction") {
            let Some(mut object) = state.objects.get(pod).cloned() else { return Err((404, "gone")) };
            if object["metadata"]["uid"] != body["deleteOptions"]["preconditions"]["uid"] {
                return Err((409, "Precondition failed: UID in precondition"));
            }
            state.count("evict", &object);
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            state.put(pod, object, "MODIFIED");
            state.after_eviction();
            return Ok(json!({"kind": "Status"}));
        }
        let path = path.trim_end_matches("/scale");
        let Some(mut object) = state.objects.get(path).cloned() else { return Err((404, "gone")) };
        let version = body.pointer("/metadata/resourceVersion");
        if version.is_some_and(|v| *v != object["metadata"]["resourceVersion"]) {
            return Err((409, "the object has been modified"));
        }
        let before = object["spec"].clone();
        if body.is_array() {
            if !json_patch(&mut object, body) {
                return Err((422, "the server rejected our request due to an error in our request"));
            }
        } else {
            merge(&mut object, body);
        }
        if object["spec"] == before {
            return Ok(object);
        }
        state.count("patch", &object);
        if path.contains("/deployments/") {
            let generation = object["metadata"]["generation"].as_i64().unwrap() + 1;
            let n = object["spec"]["replicas"].clone();
            object["metadata"]["generation"] = json!(generation);
            if state.slow {
                object["status"] = json!({"observedGeneration": generation, "replicas": 3, "readyReplicas": 3,
                    "updatedReplicas": 1, "availableReplicas": 3});
            } else {
                object["status"] = json!({"observedGeneration": generation, "replicas": n, "readyReplicas": n,
                    "updatedReplicas": n, "availableReplicas": n});
            }
        }
        if object["spec"]["unschedulable"] == true
            && let Some(late) = state.late.take()
        {
            state.add(late);
        }
        state.put(path, object.clone(), "MODIFIED");
        Ok(object)
    }
}
