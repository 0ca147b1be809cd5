//! A cluster whose loops run on a clock that stands still until a test moves it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use pilothouse_sim::clock::{self, Clock};
use pilothouse_sim::engine::Engine;
use pilothouse_sim::logs::Notebook;
use pilothouse_sim::loops;
use pilothouse_sim::resources::Res;
use pilothouse_sim::rng::Random;
use pilothouse_sim::selector::Labels;
use pilothouse_sim::store::{self, Object, Store, Write};
use pilothouse_sim::usage::Meter;
use pilothouse_sim::world::{App, Id, State, World};
use serde_json::{Value, json};

pub struct Live {
    pub store: Store,
    pub world: World,
    pub logs: Arc<Notebook>,
    pub usage: Arc<Meter>,
    pub engine: Engine,
}

pub fn node(name: &str, zone: &str, n: usize) -> Value {
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
        "spec": {"podCIDR": format!("10.244.{n}.0/24")},
        "status": {"capacity": room, "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": format!("10.1.0.{}", n + 1)}]}})
}

/// A template of one container with a request of CPU.
pub fn template(app: &str, tag: &str, cpu: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"terminationGracePeriodSeconds": 20, "containers": [{
        "name": "app", "image": format!("registry.sim/{app}:{tag}"), "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
        "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"memory": "256Mi"}}}]}})
}

impl Live {
    /// Nodes `n0`, `n1`, … in zones `a`, `b`, `c`, and the namespace `shop`.
    pub fn new(nodes: usize) -> Self {
        let clock = Clock::manual(clock::parse("2026-01-02T03:04:05Z").unwrap());
        Self::on(Store::new(Arc::new(clock), Arc::new(Random::new(7)), store::LOG), nodes)
    }

    pub fn on(store: Store, nodes: usize) -> Self {
        let (world, logs, usage) =
            (World::default(), Arc::new(Notebook::new(100)), Arc::new(Meter::default()));
        let mut engine = Engine::new(store.clone(), world.clone());
        engine.add(Box::new(pilothouse_sim::labels::Labels::new(&store, &world)));
        for part in loops::parts(&store, &world, &logs, &usage) {
            engine.add(part);
        }
        let mut live = Self { store, world, logs, usage, engine };
        for name in ["default", "kube-node-lease", "shop"] {
            if live.store.get(Res::Namespaces, "", name).is_none() {
                live.make(Res::Namespaces, json!({"metadata": {"name": name}}));
            }
        }
        for n in 0..nodes {
            let zone = ["a", "b", "c"][n % 3];
            live.make(Res::Nodes, node(&format!("n{n}"), zone, n));
        }
        live.engine.settle();
        live
    }

    pub fn make(&self, res: Res, value: Value) -> Arc<Object> {
        self.store.create(res, value, &Write::by("test")).unwrap()
    }

    /// A Deployment in `shop` whose pods ask for a tenth of a core.
    pub fn deployment(&self, app: &str, replicas: i64, spec: &Value) -> Arc<Object> {
        let mut whole = json!({"replicas": replicas, "selector": {"matchLabels": {"app": app}},
            "template": template(app, "v1", "100m")});
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        self.make(Res::Deployments, json!({"metadata": {"name": app, "namespace": "shop"}, "spec": whole}))
    }

    pub fn edit(&self, res: Res, name: &str, change: impl FnOnce(&mut Value)) -> Arc<Object> {
        let namespace = if res.info().namespaced { "shop" } else { "" };
        self.store.update(res, namespace, name, "test", change).unwrap()
    }

    pub fn image(&self, res: Res, name: &str, image: &str) {
        self.edit(res, name, |v| v["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
    }

    pub fn get(&self, res: Res, name: &str) -> Arc<Object> {
        let namespace = if res.info().namespaced { "shop" } else { "" };
        self.store.get(res, namespace, name).unwrap_or_else(|| panic!("no {name}"))
    }

    pub fn pods(&self, app: &str) -> Vec<Arc<Object>> {
        let labels = Labels::parse(&format!("app={app}")).unwrap();
        self.store.list_by_label(Res::Pods, Some("shop"), &labels)
    }

    pub fn ready(&self, app: &str) -> usize {
        let pods = self.pods(app);
        pods.iter().filter(|pod| pod.condition("Ready") == Some("True") && !pod.is_terminating()).count()
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.store.clock().now()
    }

    pub fn run(&mut self, seconds: i64) {
        let end = self.now() + TimeDelta::seconds(seconds);
        self.engine.fast_forward(end);
        assert!(self.engine.restless.is_empty(), "{:?}", self.engine.restless);
    }

    /// Runs second by second and looks after each.
    pub fn watch(&mut self, seconds: i64, mut look: impl FnMut(&Self, i64)) {
        for second in 1..=seconds {
            self.run(1);
            look(self, second);
        }
    }

    pub fn app(&self, name: &str, change: impl FnOnce(&mut App)) {
        self.world.change(|state: &mut State| {
            let id = Id::new("shop", name);
            let mut app = state.apps.get(&id).map(|app| App::clone(app)).unwrap_or_default();
            change(&mut app);
            state.apps.insert(id, Arc::new(app));
        });
    }

    /// The messages of the events of a reason, oldest first.
    pub fn told(&self, reason: &str) -> Vec<String> {
        let mut all = self.store.list(Res::Events, None);
        all.retain(|event| event.text("/reason") == reason);
        all.sort_by_key(|event| event.version);
        all.iter().map(|event| event.text("/message").to_owned()).collect()
    }

    /// `status`, `reason` and `message` of a condition.
    pub fn condition(&self, res: Res, name: &str, kind: &str) -> [String; 3] {
        let object = self.get(res, name);
        let condition = store::condition(&object.value, kind).cloned().unwrap_or_default();
        ["status", "reason", "message"].map(|field| condition[field].as_str().unwrap_or_default().to_owned())
    }
}
