//! The kubelets of all nodes. They run the pods that are bound to their node, report the state of the containers, and
//! renew their Leases. A node that is off or silent does nothing.

mod machine;
mod report;
mod run;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::doc::{after, is_finished, list, text, write_status};
use super::events::{Recorder, Tale};
use super::feed::{Feed, News, Queue, sooner};
use crate::engine::Part;
use crate::logs::Notebook;
use crate::resources::Res;
use crate::store::{Delete, Object, Store};
use crate::world::{State, World};
use machine::{Machine, NAME, host_ip};
use run::{Cell, Fate, Run, Stage, Step};

/// How often a Lease is renewed.
const BEAT: TimeDelta = TimeDelta::seconds(10);
/// How often in the simulated past, which no client sees: just often enough to count as alive.
const PAST_BEAT: TimeDelta = TimeDelta::seconds(30);
/// The time to create the sandbox of a pod.
const SANDBOX: TimeDelta = TimeDelta::milliseconds(400);
/// The time of one init container.
const INIT: TimeDelta = TimeDelta::milliseconds(1200);

#[derive(Debug)]
pub(super) struct Kubelets {
    store: Store,
    world: World,
    logs: Arc<Notebook>,
    recorder: Recorder,
    nodes: Feed,
    pods: Feed,
    seen: u64,
    state: Arc<State>,
    machines: BTreeMap<Arc<str>, Machine>,
    /// By the pod's uid.
    runs: HashMap<Arc<str>, Run>,
    used: HashSet<u32>,
    /// Pods by uid.
    queue: Queue<Arc<str>>,
    beats: Queue<Arc<str>>,
}

impl Kubelets {
    pub(super) fn new(store: &Store, world: &World, logs: &Arc<Notebook>, recorder: &Recorder) -> Self {
        Self {
            store: store.clone(),
            world: world.clone(),
            logs: logs.clone(),
            recorder: recorder.clone(),
            nodes: Feed::new(store, Res::Nodes),
            pods: Feed::new(store, Res::Pods),
            seen: 0,
            state: Arc::default(),
            machines: BTreeMap::new(),
            runs: HashMap::new(),
            used: HashSet::new(),
            queue: Queue::default(),
            beats: Queue::default(),
        }
    }

    fn tell(&self, pod: &Object, kind: &str, reason: &str, message: &str, container: &str) {
        let field =
            if container.is_empty() { String::new() } else { format!("spec.containers{{{container}}}") };
        let host = pod.text("/spec/nodeName");
        self.recorder.tell(pod, Tale { kind, reason, message, from: NAME, host, field: &field });
    }

    fn listen(&mut self, at: DateTime<Utc>) {
        for news in self.nodes.read() {
            match news {
                News::Reset => {}
                News::Now(node, _) => {
                    let name: Arc<str> = node.name().into();
                    if !self.machines.contains_key(&name) {
                        let mut machine = Machine::default();
                        machine.trouble = self.state.node(&name);
                        self.machines.insert(name.clone(), machine);
                        for pod in self.store.pods_on(&name) {
                            self.queue.mark(pod.uid().into());
                        }
                        self.beats.mark(name);
                    } else if node.condition("Ready") == Some("Unknown") {
                        self.beats.mark(name);
                    }
                }
                News::Gone(node) => {
                    self.machines.remove(node.name());
                    self.beats.forget(&node.name().into());
                }
            }
        }
        for news in self.pods.read() {
            match news {
                News::Reset => {
                    for uid in self.runs.keys() {
                        self.queue.mark(uid.clone());
                    }
                }
                News::Now(pod, _) => {
                    if !pod.text("/spec/nodeName").is_empty() {
                        self.queue.mark(pod.uid().into());
                    }
                }
                News::Gone(pod) => self.forget(pod.uid()),
            }
        }
        let version = self.world.version();
        if version != self.seen {
            self.seen = version;
            let now = self.world.now();
            let old = std::mem::replace(&mut self.state, now);
            self.world_changed(&old, at);
        }
    }

    /// Marks the pods and nodes that a change of the world affects.
    fn world_changed(&mut self, old: &State, at: DateTime<Utc>) {
        let mut nodes = HashSet::new();
        for (name, machine) in &mut self.machines {
            let trouble = self.state.node(name);
            if trouble == machine.trouble {
                continue;
            }
            nodes.insert(name.clone());
            let (was_off, is_off) = (machine.trouble.off, trouble.off);
            machine.now_has(trouble, at);
            self.beats.mark(name.clone());
            if was_off
                && !is_off
                && let Some(node) = self.store.get(Res::Nodes, "", name)
            {
                Machine::rebooted(&self.store, &node);
            }
            if was_off == is_off {
                continue;
            }
            for (uid, run) in self.runs.iter_mut().filter(|(_, run)| run.node == *name) {
                for cell in &mut run.cells {
                    if is_off && matches!(cell.stage, Stage::Running { .. }) {
                        self.logs.end(uid, &cell.name);
                    } else if !is_off {
                        cell.power_cut(at);
                    }
                }
            }
        }
        let same = |id: &crate::world::Id| match (old.apps.get(id), self.state.apps.get(id)) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        let apps: HashSet<_> =
            old.apps.keys().chain(self.state.apps.keys()).filter(|id| !same(id)).cloned().collect();
        for uid in old.pods.keys().chain(self.state.pods.keys()) {
            if old.pods.get(uid) != self.state.pods.get(uid) {
                self.queue.mark(uid.clone());
            }
        }
        if nodes.is_empty() && apps.is_empty() {
            return;
        }
        for (uid, run) in &self.runs {
            let id = crate::world::Id { namespace: run.namespace.clone(), name: run.app.clone() };
            if nodes.contains(&run.node) || apps.contains(&id) {
                self.queue.mark(uid.clone());
            }
        }
    }

    fn forget(&mut self, uid: &str) {
        self.queue.forget(&uid.into());
        if let Some(run) = self.runs.remove(uid) {
            if let Some(ip) = run.own_ip {
                self.used.remove(&ip);
            }
            self.logs.forget(uid);
        }
    }

    /// Renews the Lease of a node and reports its conditions.
    fn beat(&mut self, name: &Arc<str>, at: DateTime<Utc>) {
        let Some(machine) = self.machines.get_mut(name) else { return };
        if machine.is_silent() {
            self.beats.set(name.clone(), None);
            return;
        }
        let Some(node) = self.store.get(Res::Nodes, "", name) else { return };
        machine.beat(&self.store, &node);
        machine.report(&self.store, &self.recorder, &node, at);
        // Nodes report in groups at whole seconds, so that a thousand nodes do not cause a thousand separate steps.
        let period = if self.store.is_past() { PAST_BEAT } else { BEAT };
        let phase = TimeDelta::seconds(self.store.random().keyed(&["beat", name]).i64(0..10));
        let due = self.store.clock().next(period, phase, at);
        self.beats.set(name.clone(), sooner(Some(due), machine.next(at)));
    }

    fn begin(&mut self, pod: &Object, node: &Object, at: DateTime<Utc>) {
        let Some(machine) = self.machines.get_mut(node.name()) else { return };
        let known = pod.text("/status/podIP");
        let (ip, own_ip) = if pod.at("/spec/hostNetwork") == &Value::Bool(true) {
            (host_ip(node).to_owned(), None)
        } else if let Ok(ip) = known.parse::<Ipv4Addr>() {
            self.used.insert(ip.into());
            (known.to_owned(), Some(ip.into()))
        } else {
            let ip = machine.address(node, &mut self.used);
            (Ipv4Addr::from(ip).to_string(), Some(ip))
        };
        let inits = list(&pod.value, "/spec/initContainers").len();
        let from = after(at, SANDBOX + INIT * i32::try_from(inits).unwrap_or(i32::MAX));
        let statuses = list(&pod.value, "/status/containerStatuses");
        let cells = list(&pod.value, "/spec/containers").iter().map(|container| {
            let status = statuses.iter().find(|one| text(one, "name") == text(container, "name"));
            match status {
                Some(status) => Cell::adopted(container, status, at),
                None => Cell::new(container, from),
            }
        });
        let run = Run {
            namespace: pod.namespace().into(),
            name: pod.name().into(),
            node: node.name().into(),
            app: pod.label("app").unwrap_or_default().into(),
            start: pod.time("/status/startTime").unwrap_or(at),
            ip,
            own_ip,
            cells: cells.collect(),
            ending: None,
        };
        for cell in run.cells.iter().filter(|cell| matches!(cell.stage, Stage::Running { .. })) {
            machine.images.insert(cell.image.clone());
        }
        self.runs.insert(pod.uid().into(), run);
    }

    /// Brings one pod up to the current time.
    fn sync(&mut self, uid: &Arc<str>, at: DateTime<Utc>) {
        let Some(pod) = self.store.by_uid(uid).filter(|one| one.res == Res::Pods) else {
            return self.forget(uid);
        };
        let name = pod.text("/spec/nodeName");
        let silent = self.machines.get(name).is_none_or(Machine::is_silent);
        let Some(node) = self.store.get(Res::Nodes, "", name).filter(|_| !silent) else {
            return self.queue.set(uid.clone(), None);
        };
        if is_finished(&pod) {
            if pod.is_terminating() {
                self.remove(&pod);
            }
            return self.queue.set(uid.clone(), None);
        }
        if !self.runs.contains_key(uid) {
            if pod.is_terminating() && list(&pod.value, "/status/containerStatuses").is_empty() {
                return self.remove(&pod);
            }
            self.begin(&pod, &node, at);
        }
        let Some(mut run) = self.runs.remove(uid) else { return };
        let mut luck = self.store.random().keyed(&["pace", pod.namespace(), pod.name()]);
        let jitter = 0.85 + luck.f64() * 0.3;
        let pull = TimeDelta::milliseconds(600 + (luck.f64() * 1800.0) as i64);
        let state = self.state.clone();
        let fate = Fate::new(&state, &pod, &run, jitter, pull);
        let next = if pod.is_terminating() {
            self.end(&pod, &mut run, &fate, at)
        } else {
            for place in 0..run.cells.len() {
                self.advance(&pod, &mut run, place, &fate, at);
            }
            let status = report::status(self.store.random(), &run, &fate, host_ip(&node), at);
            write_status(&self.store, &pod, NAME, status);
            run.cells.iter().filter_map(|cell| cell.next(&fate, at)).min()
        };
        self.queue.set(uid.clone(), next);
        if self.store.by_uid(uid).is_some() {
            self.runs.insert(uid.clone(), run);
        } else {
            self.runs.insert(uid.clone(), run);
            self.forget(uid);
        }
    }

    /// Runs the steps of one container that are due.
    fn advance(&mut self, pod: &Object, run: &mut Run, place: usize, fate: &Fate<'_>, at: DateTime<Utc>) {
        // No container has more than a few steps at one time.
        for _ in 0..8 {
            let Some(mut cell) = run.cells.get(place).cloned() else { return };
            let has =
                self.machines.get(&run.node).is_some_and(|machine| machine.images.contains(&cell.image));
            let step = cell.advance(fate, has, at);
            if let Some(slot) = run.cells.get_mut(place) {
                *slot = cell.clone();
            }
            let Some(step) = step else { return };
            self.happened(pod, run, &cell, fate, &step);
        }
    }

    fn happened(&mut self, pod: &Object, run: &Run, cell: &Cell, fate: &Fate<'_>, step: &Step) {
        let (image, name) = (&cell.image, cell.name.as_str());
        let normal = |reason: &str, message: &str| self.tell(pod, "Normal", reason, message, name);
        let warning = |reason: &str, message: &str| self.tell(pod, "Warning", reason, message, name);
        match step {
            Step::Pulling => normal("Pulling", &format!("Pulling image \"{image}\"")),
            Step::Pulled(seconds) => {
                let message = match seconds {
                    None => format!(
                        "Container image \"{image}\" already present on machine and can be accessed by the pod"
                    ),
                    Some(seconds) => {
                        let size = self.store.random().keyed(&["size", image]).u64(20_000_000..180_000_000);
                        format!(
                            "Successfully pulled image \"{image}\" in {seconds}s ({seconds}s including waiting). \
                            Image size: {size} bytes."
                        )
                    }
                };
                normal("Pulled", &message);
                normal("Created", "Container created");
                normal("Started", "Container started");
                if let Some(machine) = self.machines.get_mut(&run.node) {
                    machine.images.insert(image.clone());
                }
            }
            Step::NoImage => {
                warning("Failed", &format!("Failed to pull image \"{image}\": {}", report::not_found(image)));
                warning("Failed", "Error: ErrImagePull");
            }
            Step::PullBackOff => {
                normal("BackOff", &format!("Back-off pulling image \"{image}\""));
                warning("Failed", "Error: ImagePullBackOff");
            }
            Step::Started => {
                self.logs.restart(pod.uid(), name);
                let present = format!(
                    "Container image \"{image}\" already present on machine and can be accessed by the pod"
                );
                normal("Pulled", &present);
                normal("Created", "Container created");
                normal("Started", "Container started");
            }
            Step::Ended(end) => {
                let crash = fate.crash(image).filter(|_| end.reason == "Error");
                for line in crash.iter().flat_map(|crash| &crash.last_words) {
                    self.logs.append(pod.uid(), name, end.finished, line.clone());
                }
                self.logs.end(pod.uid(), name);
            }
            Step::BackOff => warning(
                "BackOff",
                &format!(
                    "Back-off restarting failed container {name} in pod {}_{}({})",
                    pod.name(),
                    pod.namespace(),
                    pod.uid()
                ),
            ),
            Step::Unready => {
                warning("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503");
            }
        }
    }

    /// Ends a pod that is being deleted. Returns when it will have ended.
    fn end(
        &mut self,
        pod: &Object,
        run: &mut Run,
        fate: &Fate<'_>,
        at: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let from = *run.ending.get_or_insert_with(|| {
            for cell in run.cells.iter().filter(|cell| matches!(cell.stage, Stage::Running { .. })) {
                self.tell(pod, "Normal", "Killing", &format!("Stopping container {}", cell.name), &cell.name);
            }
            at
        });
        let running = run.cells.iter().any(|cell| matches!(cell.stage, Stage::Running { .. }));
        let due = if running || fate.trouble.stuck { fate.stopped_at(from)? } else { at };
        if due > at {
            return Some(due);
        }
        for cell in &run.cells {
            self.logs.end(pod.uid(), &cell.name);
        }
        if !list(&pod.value, "/metadata/finalizers").is_empty() {
            // A finalizer still holds the object, but its containers have ended.
            for cell in &mut run.cells {
                if let Stage::Running { since } = cell.stage {
                    let end = run::End {
                        code: 143,
                        reason: "Error",
                        started: since,
                        finished: at,
                        nth: cell.restarts,
                    };
                    cell.last = Some(end);
                }
                cell.stage = Stage::Done;
            }
            let status = report::status(self.store.random(), run, fate, pod.text("/status/hostIP"), at);
            write_status(&self.store, pod, NAME, status);
        }
        self.remove(pod);
        None
    }

    /// The pod has ended, so its object is deleted.
    fn remove(&self, pod: &Object) {
        let options = Delete { uid: Some(pod.uid().to_owned()), ..Delete::now() };
        // Another client may have done it already.
        drop(self.store.delete(Res::Pods, pod.namespace(), pod.name(), &options));
    }
}

impl Part for Kubelets {
    fn name(&self) -> &'static str {
        "kubelets"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.seen == 0 {
            self.seen = self.world.version();
            self.state = self.world.now();
        }
        self.listen(at);
        for name in self.beats.take(at) {
            self.beat(&name, at);
        }
        for uid in self.queue.take(at) {
            self.sync(&uid, at);
        }
        sooner(self.beats.next(), self.queue.next())
    }
}
