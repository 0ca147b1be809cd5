//! A cluster of plain objects without control loops, whose traffic tests can compute themselves.

#![allow(
    clippy::needless_pass_by_value,
    reason = "json! makes values, and tests read better without borrowing them"
)]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use pilothouse_sim::clock::{self, Clock};
use pilothouse_sim::engine::Engine;
use pilothouse_sim::logs::Notebook;
use pilothouse_sim::observe::{Observe, Settings};
use pilothouse_sim::resources::Res;
use pilothouse_sim::rng::Random;
use pilothouse_sim::store::{Store, Write};
use pilothouse_sim::traffic::{Fate, ServiceTruth};
use pilothouse_sim::usage::Meter;
use pilothouse_sim::world::{App, Call, Demand, Id, State, World};
use serde_json::{Value, json};

pub struct Stage {
    pub store: Store,
    pub world: World,
    pub logs: Arc<Notebook>,
    pub meter: Arc<Meter>,
    pub observe: Observe,
    pub engine: Engine,
    pub start: DateTime<Utc>,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        let start = clock::parse("2026-03-04T10:00:00Z").unwrap();
        let store = Store::new(Arc::new(Clock::manual(start)), Arc::new(Random::new(11)), 8192);
        let world = World::new(State { load: 1.0, ..State::default() });
        let (logs, meter) = (Arc::new(Notebook::new(2000)), Arc::new(Meter::default()));
        let (observe, parts) = Observe::new(&store, &world, &logs, &meter, settings);
        let mut engine = Engine::new(store.clone(), world.clone());
        for part in parts {
            engine.add(part);
        }
        let stage = Self { store, world, logs, meter, observe, engine, start };
        stage.make(Res::Namespaces, json!({"metadata": {"name": "shop"}}));
        stage
    }

    pub fn make(&self, res: Res, value: Value) {
        self.store.create(res, value, &Write::by("test")).unwrap();
    }

    pub fn node(&self, name: &str) {
        self.make(
            Res::Nodes,
            json!({"metadata": {"name": name}, "status": {
                "capacity": {"cpu": "4", "memory": "16Gi", "ephemeral-storage": "100Gi"},
                "addresses": [{"type": "InternalIP", "address": format!("10.1.0.{}", name.len())}],
                "conditions": [{"type": "Ready", "status": "True"}]}}),
        );
    }

    /// A running pod: `app-0` of the application `app`, with one CPU.
    pub fn pod(&self, name: &str, app: &str, tag: &str, node: &str, annotations: Value) {
        self.pod_since(name, app, tag, node, annotations, self.start - TimeDelta::minutes(10));
    }

    pub fn pod_since(
        &self,
        name: &str,
        app: &str,
        tag: &str,
        node: &str,
        annotations: Value,
        since: DateTime<Utc>,
    ) {
        let ip = format!("10.244.1.{}", self.store.count(Res::Pods) + 2);
        self.make(
            Res::Pods,
            json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": app}, "annotations": annotations},
            "spec": {"nodeName": node, "containers": [{"name": "app", "image": format!("registry.sim/{app}:{tag}"),
                "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "512Mi"}}}]},
            "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0, "image": "i", "imageID": "",
                    "state": {"running": {"startedAt": clock::stamp(since)}}}]}}),
        );
    }

    /// `n` pods of an application on a node each, behind a Service of its name, asked `rps` times a second.
    pub fn service(&self, app: &str, n: usize, demand: Demand, behaves: App) {
        for i in 0..n {
            let node = format!("node-{i}");
            if self.store.get(Res::Nodes, "", &node).is_none() {
                self.node(&node);
            }
            self.pod(&format!("{app}-{i}"), app, "v1", &node, json!({}));
        }
        self.endpoints(app, &(0..n).map(|i| format!("{app}-{i}")).collect::<Vec<_>>());
        self.world.change(|state| {
            state.apps.insert(Id::new("shop", app), Arc::new(behaves));
            state.demand.insert(Id::new("shop", app), demand);
        });
    }

    /// The EndpointSlice of a Service; a name with a `!` before it is not ready.
    pub fn endpoints(&self, service: &str, pods: &[String]) {
        let endpoints: Vec<Value> = pods
            .iter()
            .map(|pod| {
                let name = pod.trim_start_matches('!');
                json!({"addresses": ["10.244.1.2"], "conditions": {"ready": !pod.starts_with('!')},
                    "targetRef": {"kind": "Pod", "namespace": "shop", "name": name}})
            })
            .collect();
        let value = json!({"metadata": {"name": format!("{service}-1"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4", "endpoints": endpoints});
        if self.store.get(Res::EndpointSlices, "shop", &format!("{service}-1")).is_some() {
            self.store
                .update(Res::EndpointSlices, "shop", &format!("{service}-1"), "test", |old| {
                    old["endpoints"] = value["endpoints"].clone();
                })
                .unwrap();
        } else {
            self.make(Res::EndpointSlices, value);
        }
    }

    pub fn run(&mut self, seconds: i64) {
        let end = self.store.clock().now() + TimeDelta::seconds(seconds);
        self.engine.fast_forward(end);
        assert!(self.engine.restless.is_empty(), "{:?}", self.engine.restless);
    }

    pub fn truth(&self, service: &str) -> ServiceTruth {
        self.observe.truth().services[&Id::new("shop", service)].clone()
    }

    pub fn fate(&self, service: &str, pod: &str) -> Fate {
        self.truth(service).backends[pod]
    }

    /// The values of an instant query by one label.
    pub fn ask(&self, query: &str, label: &str) -> std::collections::BTreeMap<String, f64> {
        let points = self.observe.ask(query).unwrap();
        points.iter().map(|(l, v)| (l.get(label).map(ToString::to_string).unwrap_or_default(), *v)).collect()
    }

    /// The only value of an instant query.
    pub fn one(&self, query: &str) -> f64 {
        let points = self.observe.ask(query).unwrap();
        assert_eq!(points.len(), 1, "{query}: {points:?}");
        points[0].1
    }
}

pub fn steady(rps: f64) -> Demand {
    Demand { rps, swing: 0.0, ..Demand::default() }
}

pub fn calling(service: &str, per_request: f64) -> Vec<Call> {
    vec![Call { service: format!("shop/{service}"), per_request }]
}
