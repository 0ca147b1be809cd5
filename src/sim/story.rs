//! Runs the steps of a scenario when they are due. It is the only part that acts as people, or breaks something.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::api::Api;
use crate::control::Control;
use crate::engine::Part;
use crate::resources::Res;
use crate::scenario::step::{NodePick, What};
use crate::scenario::{Scenario, Workload, cast};
use crate::status::Status;
use crate::store::{Object, Store, Write};
use crate::world::{Id, World};

/// When the objects of a scenario that are no workloads were created, before the opening.
const OBJECTS: TimeDelta = TimeDelta::days(8);

const ZONE: &str = "topology.kubernetes.io/zone";

/// The remaining steps of the story.
#[derive(Debug)]
pub struct Story {
    store: Store,
    world: World,
    api: Arc<Api>,
    control: Control,
    ahead: VecDeque<(DateTime<Utc>, What)>,
    /// Faults of the API that have to be removed later.
    ending: Vec<(DateTime<Utc>, u64)>,
    /// Steps that failed, as texts: a mistake in the scenario, or somebody else was faster.
    pub failed: Vec<String>,
}

/// Splits `namespace/name`.
fn split(id: &str) -> (&str, &str) {
    id.split_once('/').unwrap_or(("default", id))
}

impl Story {
    /// The story of a scenario that opens at `opening`. Every workload exists `copies` times, the second and later
    /// copies in namespaces of their own; the steps affect the first.
    pub fn new(
        store: &Store,
        world: &World,
        control: &Control,
        scenario: &Scenario,
        copies: usize,
        opening: DateTime<Utc>,
    ) -> Self {
        let mut ahead = Vec::new();
        for copy in 1..=copies.max(1) {
            for workload in &scenario.workloads {
                let mut workload = workload.clone();
                if copy > 1 {
                    if workload.kind == crate::scenario::Kind::DaemonSet {
                        continue;
                    }
                    workload.namespace = format!("{}-{copy}", workload.namespace);
                    for call in &mut workload.app.calls {
                        let (space, name) = split(&call.service);
                        call.service = format!("{space}-{copy}/{name}");
                    }
                }
                let since = TimeDelta::from_std(workload.since).unwrap_or_default();
                ahead.push((opening - since, What::Found(Box::new(workload))));
            }
            for object in &scenario.objects {
                let mut object = Box::new(object.clone());
                if copy > 1
                    && let Some(Value::String(namespace)) = object.pointer_mut("/metadata/namespace")
                {
                    namespace.push_str(&format!("-{copy}"));
                }
                ahead.push((opening - OBJECTS, What::Apply { object, by: "argocd-controller".to_owned() }));
            }
        }
        ahead.extend(scenario.steps.iter().map(|step| (opening + step.at, step.what.clone())));
        ahead.sort_by_key(|(at, _)| *at);
        Self {
            store: store.clone(),
            world: world.clone(),
            api: control.api.clone(),
            control: control.clone(),
            ahead: ahead.into(),
            ending: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// The times of all steps, in order.
    pub fn times(&self) -> Vec<DateTime<Utc>> {
        self.ahead.iter().map(|(at, _)| *at).collect()
    }

    /// The kind of workload that exists under this name.
    fn workload(&self, id: &str) -> Option<(Res, Arc<Object>)> {
        let (space, name) = split(id);
        [Res::Deployments, Res::StatefulSets, Res::DaemonSets]
            .into_iter()
            .find_map(|res| Some((res, self.store.get(res, space, name)?)))
    }

    fn edit(
        &self,
        res: Res,
        object: &Object,
        by: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<(), Status> {
        let change = |value: &mut Value| {
            change(value);
            Ok(())
        };
        self.store.write(res, object.namespace(), object.name(), &Write::request(by), change).map(|_| ())
    }

    /// The pods of an application that are not terminating, by name.
    fn pods(&self, id: &str) -> Vec<Arc<Object>> {
        let (space, name) = split(id);
        let mut pods = self.store.list(Res::Pods, Some(space));
        pods.retain(|pod| pod.label("app") == Some(name) && !pod.is_terminating());
        pods
    }

    fn node(&self, pick: &NodePick) -> Option<Arc<Object>> {
        let hosting = pick.hosting.as_deref().map(|id| {
            let pods = self.pods(id);
            pods.iter().map(|pod| pod.text("/spec/nodeName").to_owned()).collect::<Vec<_>>()
        });
        let fits = |node: &Arc<Object>| {
            pick.name.as_deref().is_none_or(|name| name == node.name())
                && pick.zone.as_deref().is_none_or(|zone| node.label(ZONE) == Some(zone))
                && pick.pool.as_deref().is_none_or(|pool| node.label("pool") == Some(pool))
                && hosting.as_ref().is_none_or(|hosting| hosting.iter().any(|name| name == node.name()))
        };
        self.store.list(Res::Nodes, None).into_iter().filter(fits).nth(pick.nth)
    }

    fn found(&self, workload: &Workload) -> Result<(), Status> {
        let id = Id::new(&workload.namespace, &workload.name);
        self.world.change(|state| {
            if workload.of.is_none() {
                state.apps.insert(id.clone(), Arc::new(workload.app.clone()));
            }
            if let Some(demand) = &workload.demand {
                state.demand.insert(id, demand.clone());
            }
        });
        cast::workload(&self.store, workload)
    }

    /// Runs one step. `Err` says why it failed.
    fn perform(&mut self, at: DateTime<Utc>, what: &What) -> Result<(), String> {
        let gone = |what: &str| format!("{what} is not there");
        let told = |result: Result<(), Status>| result.map_err(|status| status.message);
        match what {
            What::Found(workload) => told(self.found(workload))?,
            What::Apply { object, by } => told(cast::object(&self.store, object, by))?,
            What::Release { workload, version, by } => {
                let (res, object) = self.workload(workload).ok_or_else(|| gone(workload))?;
                let image = cast::image(object.name(), version);
                told(self.edit(res, &object, by, |value| {
                    if let Some(template) = value.pointer_mut("/spec/template") {
                        template["metadata"]["labels"]["version"] = json!(version);
                        if let Some(slot) = template.pointer_mut("/spec/containers/0/image") {
                            *slot = json!(image);
                        }
                    }
                    value["metadata"]["annotations"]["kubernetes.io/change-cause"] =
                        json!(format!("release {version}"));
                }))?;
            }
            What::Scale { workload, replicas, by } => {
                let (res, object) = self.workload(workload).ok_or_else(|| gone(workload))?;
                told(self.edit(res, &object, by, |value| value["spec"]["replicas"] = json!(replicas)))?;
            }
            What::Bounds { autoscaler, min, max, by } => {
                let (space, name) = split(autoscaler);
                let object = self.store.get(Res::Hpas, space, name).ok_or_else(|| gone(autoscaler))?;
                told(self.edit(Res::Hpas, &object, by, |value| {
                    for (field, bound) in [("minReplicas", min), ("maxReplicas", max)] {
                        if let Some(bound) = bound {
                            value["spec"][field] = json!(bound);
                        }
                    }
                }))?;
            }
            What::Budget { budget, min_available, max_unavailable, by } => {
                let (space, name) = split(budget);
                let made = cast::budget(space, name, min_available.as_deref(), max_unavailable.as_deref());
                let write = Write::request(by);
                told(match self.store.get(Res::Pdbs, space, name) {
                    Some(object) => {
                        self.edit(Res::Pdbs, &object, by, |value| value["spec"] = made["spec"].clone())
                    }
                    None => self.store.create(Res::Pdbs, made, &write).map(|_| ()),
                })?;
            }
            What::Cordon { node, by } => {
                let node = self.node(node).ok_or_else(|| gone("the node"))?;
                told(self.edit(Res::Nodes, &node, by, |value| value["spec"]["unschedulable"] = json!(true)))?;
            }
            What::Load { factor } => self.world.change(|state| state.load = *factor),
            What::Demand { service, rps } => {
                let (space, name) = split(service);
                self.world.change(|state| state.demand.entry(Id::new(space, name)).or_default().rps = *rps);
            }
            What::Behave { workload, version, now } => {
                let (space, name) = split(workload);
                self.world.change(|state| {
                    let others = state.others.clone();
                    let app = state.apps.entry(Id::new(space, name)).or_insert(others);
                    Arc::make_mut(app).versions.insert(version.clone(), (**now).clone());
                });
            }
            What::Node { node, trouble } => {
                let node = self.node(node).ok_or_else(|| gone("the node"))?;
                self.world.change(|state| drop(state.nodes.insert(node.name().into(), trouble.clone())));
            }
            What::Zone { zone, trouble } => {
                let nodes = self.store.list(Res::Nodes, None);
                let inside = nodes.iter().filter(|node| node.label(ZONE) == Some(zone));
                self.world.change(|state| {
                    state.nodes.extend(inside.map(|node| (node.name().into(), trouble.clone())));
                });
            }
            What::Pod { workload, nth, trouble } => {
                let pods = self.pods(workload);
                let pod = pods.get(*nth).ok_or_else(|| format!("{workload} has no pod {nth}"))?;
                self.world.change(|state| drop(state.pods.insert(pod.uid().into(), (**trouble).clone())));
            }
            What::Heal => self.world.change(|state| {
                state.nodes.clear();
                state.pods.clear();
            }),
            What::Api { fault, lasting } => {
                let id = self.api.faults.add(fault.clone()).ok_or("there are too many faults")?;
                if let Some(end) = lasting.and_then(|lasting| TimeDelta::from_std(lasting).ok()) {
                    self.ending.push((at + end, id));
                }
            }
            What::Token { token, expired } => self.api.access.expire(token, *expired),
            What::CutWatches => self.control.cut_watches(),
            What::Outage { lasting } => self.control.outage(lasting.as_secs_f64()),
            What::MetricsServer { up } => self.control.metrics_server(*up),
        }
        Ok(())
    }
}

impl Part for Story {
    fn name(&self) -> &'static str {
        "story"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        while self.ahead.front().is_some_and(|(due, _)| *due <= at)
            && let Some((due, what)) = self.ahead.pop_front()
        {
            if let Err(why) = self.perform(due, &what) {
                self.failed.push(format!("{}: {why}", what.title()));
            }
        }
        for what in self.control.take_wishes() {
            if let Err(why) = self.perform(at, &what) {
                self.failed.push(format!("{}: {why}", what.title()));
            }
        }
        let faults = &self.api.faults;
        self.ending.retain(|(end, id)| {
            let over = *end <= at;
            if over {
                faults.remove(*id);
            }
            !over
        });
        let next = self.ahead.front().map(|(due, _)| *due);
        next.into_iter().chain(self.ending.iter().map(|(end, _)| *end)).min()
    }
}
