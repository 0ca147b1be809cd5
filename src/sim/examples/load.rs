//! How much the loops cost: `cargo run --release -p pilothouse-sim --example load -- [NODES] [PODS]` makes a cluster,
//! waits until all its pods are ready and prints what that and an idle minute took.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pilothouse_sim::clock::Clock;
use pilothouse_sim::engine::{Engine, Part};
use pilothouse_sim::logs::Notebook;
use pilothouse_sim::loops;
use pilothouse_sim::resources::Res;
use pilothouse_sim::rng::Random;
use pilothouse_sim::scenario::{Scenario, cast};
use pilothouse_sim::store::{self, Store, Write};
use pilothouse_sim::usage::Meter;
use pilothouse_sim::world::World;
use serde_json::json;

/// Replicas of one Deployment.
const EACH: usize = 20;

#[allow(clippy::disallowed_methods, reason = "it measures real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Time spent in each part.
type Spent = Arc<Mutex<BTreeMap<&'static str, (u64, Duration)>>>;

/// A part that is timed.
struct Timed(Box<dyn Part>, Spent);

impl Part for Timed {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let began = now();
        let next = self.0.step(at);
        let mut spent = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = spent.entry(self.0.name()).or_default();
        *mine = (mine.0 + 1, mine.1 + began.elapsed());
        next
    }
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    let (nodes, pods) = (args.next().unwrap_or(1000), args.next().unwrap_or(20_000));
    let store = Store::new(
        Arc::new(Clock::manual(chrono::DateTime::UNIX_EPOCH)),
        Arc::new(Random::new(1)),
        store::LOG,
    );
    cast::system(&store).map_err(io::Error::other)?;
    let scenario = Scenario::load("shop").map_err(io::Error::other)?;
    let mut made = 0;
    for pool in scenario.pools.iter().take(1) {
        let copies = nodes.div_ceil(pool.nodes);
        made = cast::nodes(&store, pool, &scenario.zones, copies, made).map_err(io::Error::other)?;
    }
    store
        .create(Res::Namespaces, json!({"metadata": {"name": "load"}}), &Write::by("load"))
        .map_err(io::Error::other)?;
    for n in 0..pods / EACH {
        let app = format!("app-{n:04}");
        let template = json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "app",
            "image": format!("registry.sim/{app}:v1"), "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]}});
        let metadata = json!({"name": app, "namespace": "load", "labels": {"app": app}});
        for (res, spec) in [
            (
                Res::Deployments,
                json!({"replicas": EACH, "selector": {"matchLabels": {"app": app}}, "template": template}),
            ),
            (Res::Services, json!({"selector": {"app": app}, "ports": [{"port": 80, "targetPort": "http"}]})),
            (Res::Pdbs, json!({"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}})),
        ] {
            let object = json!({"metadata": metadata, "spec": spec});
            store.create(res, object, &Write::by("load")).map_err(io::Error::other)?;
        }
    }
    let (world, logs, usage) = (World::default(), Arc::new(Notebook::new(100)), Arc::new(Meter::default()));
    let mut engine = Engine::new(store.clone(), world.clone());
    let spent = Spent::default();
    for part in loops::parts(&store, &world, &logs, &usage) {
        engine.add(Box::new(Timed(part, spent.clone())));
    }
    let mut out = io::stdout().lock();
    for (what, seconds) in [("until all run", 60), ("60 idle seconds", 60), ("60 idle seconds", 60)] {
        let began = now();
        let before = store.version();
        engine.fast_forward(store.clock().now() + TimeDelta::seconds(seconds));
        let ready =
            store.list(Res::Pods, None).iter().filter(|pod| pod.condition("Ready") == Some("True")).count();
        writeln!(
            out,
            "{what}: {:?}, {} writes, {ready} of {} pods ready, {} events",
            began.elapsed(),
            store.version() - before,
            store.count(Res::Pods),
            store.count(Res::Events)
        )?;
        for (name, (steps, time)) in
            std::mem::take(&mut *spent.lock().unwrap_or_else(PoisonError::into_inner))
        {
            writeln!(out, "    {name}: {time:?} in {steps} steps")?;
        }
    }
    writeln!(out, "restless: {:?}", engine.restless)
}
