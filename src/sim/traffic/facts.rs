//! The objects that traffic depends on: running pods with their resources, the pods behind each Service, and how routes
//! and rules distribute requests. It follows the store's log and reads only changed pods and slices again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::field::{Backend, Fate, Field, Leg, Pod, Service};
use super::read::{behaviour, read, text};
use super::rules::{Book, Rules, Subset, Target};
use crate::resources::Res;
use crate::store::{Happened, Object, Store, Subscription};
use crate::world::{Id, Policy, State};

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// One endpoint of a slice.
#[derive(Debug, Clone)]
struct Endpoint {
    pod: Arc<str>,
    ready: bool,
    serving: bool,
    terminating: bool,
}

/// The positions in the logs, and the state of slices.
#[derive(Debug)]
pub(super) struct Facts {
    store: Store,
    pods: Subscription,
    slices: Subscription,
    book: Book,
    rules: Rules,
    started: bool,
    by_name: HashMap<(Arc<str>, Arc<str>), usize>,
    endpoints: BTreeMap<Id, BTreeMap<String, Vec<Endpoint>>>,
    free: Vec<usize>,
    /// Pods in a slice that do not exist yet.
    missing: HashMap<(Arc<str>, Arc<str>), Id>,
    dirty: BTreeSet<Id>,
    world: u64,
}

impl Facts {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            pods: store.subscribe(Res::Pods),
            slices: store.subscribe(Res::EndpointSlices),
            book: Book::new(store),
            rules: Rules::default(),
            started: false,
            by_name: HashMap::new(),
            endpoints: BTreeMap::new(),
            free: Vec::new(),
            missing: HashMap::new(),
            dirty: BTreeSet::new(),
            world: 0,
        }
    }

    /// Updates the field from the store and the world. Returns whether any Service's backends may have changed.
    pub(super) fn follow(&mut self, field: &mut Field, state: &State, world: u64) -> bool {
        if !self.started || self.drain_pods(field, state).is_err() {
            self.read_pods(field, state);
        }
        if !self.started || self.drain_slices().is_err() {
            self.read_slices();
        }
        self.started = true;
        let other_world = self.world != world;
        if other_world {
            self.world = world;
            for pod in field.pods.iter_mut().flatten() {
                pod.behaviour = behaviour(state, pod);
            }
            self.note_services(field, state);
        }
        let other_rules = self.book.follow();
        let is_changed = other_rules.is_some() || other_world;
        if let Some(rules) = other_rules {
            self.rules = rules;
            self.note_routes(field);
        }
        let dirty = std::mem::take(&mut self.dirty);
        for id in &dirty {
            self.rebuild(field, id);
        }
        if !dirty.is_empty() || is_changed {
            self.characters(field, state);
        }
        is_changed || !dirty.is_empty()
    }

    fn drain_pods(&mut self, field: &mut Field, state: &State) -> Result<(), crate::status::Status> {
        loop {
            let changes = self.pods.poll()?;
            if changes.is_empty() {
                return Ok(());
            }
            for change in changes {
                let gone = change.happened == Happened::Deleted;
                self.pod(field, &change.object, if gone { None } else { read(&change.object, state) });
            }
        }
    }

    fn read_pods(&mut self, field: &mut Field, state: &State) {
        let (all, news) = self.store.list_and_subscribe(Res::Pods);
        self.pods = news;
        let there: BTreeSet<&str> = all.iter().map(|object| object.uid()).collect();
        let mut gone: Vec<usize> =
            field.by_uid.iter().filter(|(uid, _)| !there.contains(&***uid)).map(|(_, slot)| *slot).collect();
        // A freed slot must not depend on the order of a hash map, because random values are drawn in the order of
        // slots.
        gone.sort_unstable();
        for slot in gone {
            self.drop_pod(field, slot);
        }
        for object in &all {
            self.pod(field, object, read(object, state));
        }
    }

    fn drop_pod(&mut self, field: &mut Field, slot: usize) {
        if let Some(old) = field.pods.get_mut(slot).and_then(Option::take) {
            field.by_uid.remove(&old.uid);
            let name = (old.namespace, old.name);
            if self.by_name.get(&name) == Some(&slot) {
                self.by_name.remove(&name);
            }
            self.free.push(slot);
            field.shape += 1;
            let of = old.counts.iter().filter_map(|(at, _)| field.services.get(*at));
            self.dirty.extend(of.map(|service| service.id.clone()));
        }
    }

    fn pod(&mut self, field: &mut Field, object: &Object, pod: Option<Pod>) {
        let known = field.by_uid.get(object.uid()).copied();
        match (known, pod) {
            (Some(slot), None) => self.drop_pod(field, slot),
            (None, None) => {}
            (None, Some(pod)) => {
                let slot = self.free.pop().unwrap_or(field.pods.len());
                if slot == field.pods.len() {
                    field.pods.push(None);
                }
                field.by_uid.insert(pod.uid.clone(), slot);
                self.by_name.insert((pod.namespace.clone(), pod.name.clone()), slot);
                self.dirty.extend(self.missing.remove(&(pod.namespace.clone(), pod.name.clone())));
                if let Some(place) = field.pods.get_mut(slot) {
                    *place = Some(pod);
                }
                field.shape += 1;
            }
            (Some(slot), Some(mut pod)) => {
                if let Some(old) = field.pod_mut(slot) {
                    // A new run of the container counts from zero, like a process.
                    if old.started == pod.started {
                        pod.counts = std::mem::take(&mut old.counts);
                        pod.cpu_seconds = old.cpu_seconds;
                        pod.metered = old.metered;
                        pod.periods = old.periods;
                        pod.throttled = old.throttled;
                        pod.backlog = old.backlog;
                        pod.busy = old.busy;
                        pod.cpu = old.cpu;
                        pod.memory = old.memory;
                    } else {
                        pod.counts =
                            old.counts.iter().map(|(of, _)| (*of, super::Counts::default())).collect();
                    }
                    *old = pod;
                }
            }
        }
    }

    fn drain_slices(&mut self) -> Result<(), crate::status::Status> {
        loop {
            let changes = self.slices.poll()?;
            if changes.is_empty() {
                return Ok(());
            }
            for change in changes {
                self.slice(&change.object, change.happened == Happened::Deleted);
            }
        }
    }

    fn read_slices(&mut self) {
        let (all, news) = self.store.list_and_subscribe(Res::EndpointSlices);
        self.slices = news;
        self.dirty.extend(self.endpoints.keys().cloned());
        self.endpoints.clear();
        for object in &all {
            self.slice(object, false);
        }
    }

    fn slice(&mut self, object: &Object, gone: bool) {
        let Some(service) = object.label(SERVICE_NAME) else { return };
        let id = Id::new(object.namespace(), service);
        let slices = self.endpoints.entry(id.clone()).or_default();
        if gone {
            slices.remove(object.name());
        } else {
            let all = object.at("/endpoints").as_array().map(Vec::as_slice).unwrap_or_default();
            let endpoints =
                all.iter().filter(|one| text(one, "/targetRef/kind").as_ref() == "Pod").map(|one| {
                    let flag =
                        |key: &str| one.pointer(&format!("/conditions/{key}")).and_then(Value::as_bool);
                    let ready = flag("ready").unwrap_or(true);
                    Endpoint {
                        pod: text(one, "/targetRef/name"),
                        ready,
                        serving: flag("serving").unwrap_or(ready),
                        terminating: flag("terminating").unwrap_or(false),
                    }
                });
            slices.insert(object.name().to_owned(), endpoints.collect());
        }
        self.dirty.insert(id);
    }

    /// Services in the world exist for traffic, with or without endpoints.
    fn note_services(&mut self, field: &mut Field, state: &State) {
        for id in state.demand.keys() {
            place(field, id);
        }
        for call in state.apps.values().flat_map(|app| &app.calls) {
            if let Some(id) = Id::parse(&call.service) {
                place(field, &id);
            }
        }
        for (id, at) in field.by_service.clone() {
            let demand = state.demand.get(&id).cloned().unwrap_or_default();
            if let Some(service) = field.services.get_mut(at) {
                service.proxy = demand.proxy.as_deref().map(Arc::from);
                service.clients = demand.clients.clamp(1, 10_000);
                for backend in &mut service.backends {
                    backend.credit = 0.0;
                }
            }
            self.dirty.insert(id);
        }
    }

    /// Splits the requests to Services as the routes say, and places the Services that the routes name.
    fn note_routes(&mut self, field: &mut Field) {
        for service in &mut field.services {
            service.legs.clear();
        }
        for (id, targets) in &self.rules.splits {
            let legs: Vec<Leg> = targets
                .iter()
                .map(|target| {
                    let (subset, policy) = self.subset(target);
                    Leg { to: place(field, &target.to), weight: target.weight, subset, policy, turn: 0 }
                })
                .collect();
            let at = place(field, id);
            if let Some(service) = field.services.get_mut(at) {
                service.legs = legs;
            }
        }
        self.dirty.extend(self.rules.splits.values().flatten().map(|target| target.to.clone()));
        let doors = &self.rules.doors;
        field.doors = doors.iter().map(|(id, door)| (place(field, id), door.clone())).collect();
        self.dirty.extend(doors.keys().cloned());
    }

    /// The labels of a target's subset, and its policy. A subset that no DestinationRule defines has no pods: no pod has
    /// a label without a name.
    fn subset(&self, target: &Target) -> (Option<Subset>, Option<Policy>) {
        let Some(name) = &target.subset else { return (None, None) };
        let known = self.rules.balancers.get(&target.to).and_then(|rule| rule.subsets.get(name));
        known.map_or_else(
            || (Some([("".into(), "".into())].into()), None),
            |(labels, policy)| (Some(labels.clone()), *policy),
        )
    }

    /// What the application of a Service's first pod decides: which Services it calls, and how its requests are
    /// measured and distributed. A Service without pods keeps what it had.
    fn characters(&self, field: &mut Field, state: &State) {
        for at in 0..field.services.len() {
            let Some(service) = field.services.get(at) else { continue };
            let pod = service.backends.first().and_then(|backend| field.pod(backend.pod));
            let app = pod.map(|pod| state.app(&pod.namespace, &pod.app));
            let calls = app.iter().flat_map(|app| &app.calls).filter_map(|call| {
                let to = field.by_service.get(&Id::parse(&call.service)?)?;
                Some((*to, call.clone()))
            });
            let calls: Vec<_> = calls.collect();
            let Some(service) = field.services.get_mut(at) else { continue };
            service.calls = calls;
            if let Some(app) = app {
                (service.mesh, service.ingress, service.grpc) = (app.mesh, app.ingress, app.grpc);
            }
            let policy = self.policy(service, state);
            if service.policy != policy {
                service.policy = policy;
                super::route::spread_clients(service);
            }
        }
    }

    /// A proxy in front of a Service distributes its requests itself. Otherwise a DestinationRule decides, then Istio's
    /// default for a Service of the mesh, then the scenario.
    fn policy(&self, service: &Service, state: &State) -> Policy {
        let told = state.demand.get(&service.id).map(|demand| demand.policy).unwrap_or_default();
        let rule = self.rules.balancers.get(&service.id).and_then(|rule| rule.policy);
        match rule {
            _ if service.proxy.is_some() => told,
            Some(policy) => policy,
            None if service.mesh => Policy::LeastRequest,
            None => told,
        }
    }

    /// Rebuilds the backends of a Service; the state of existing ones is kept.
    fn rebuild(&mut self, field: &mut Field, id: &Id) {
        let Some(at) = field.by_service.get(id).copied() else { return };
        let mut there: BTreeMap<Arc<str>, (usize, bool, bool)> = BTreeMap::new();
        let endpoints = || self.endpoints.get(id).into_iter().flat_map(BTreeMap::values).flatten();
        // As in kube-proxy: if no pod is ready, the terminating ones that still serve.
        let mut absent = Vec::new();
        let none_ready = !endpoints().any(|endpoint| endpoint.ready);
        for endpoint in endpoints() {
            let name = (id.namespace.clone(), endpoint.pod.clone());
            let Some(slot) = self.by_name.get(&name) else {
                absent.push(name);
                continue;
            };
            let ready = endpoint.ready || (none_ready && endpoint.serving && endpoint.terminating);
            there.insert(endpoint.pod.clone(), (*slot, ready, endpoint.terminating));
        }
        let Some(service) = field.services.get_mut(at) else { return };
        let mut old: HashMap<Arc<str>, Backend> =
            service.backends.drain(..).map(|backend| (backend.uid.clone(), backend)).collect();
        service.pending.clear();
        for (name, (slot, ready, terminating)) in there {
            let Some(pod) = field.pods.get_mut(slot).and_then(Option::as_mut) else { continue };
            if !pod.counts.iter().any(|(of, _)| *of == at) {
                pod.counts.push((at, super::Counts::default()));
            }
            let mut backend = old.remove(&pod.uid).unwrap_or_else(|| Backend {
                pod: slot,
                uid: pod.uid.clone(),
                name,
                ready,
                terminating,
                missed: 0,
                failed_checks: 0,
                down: false,
                credit: 0.0,
                ewma: pod.behaviour.median,
                in_flight: 0,
                fate: Fate::default(),
                clients: 0,
            });
            // It is back in rotation: with its old balance of owed requests, it would be flooded.
            backend.credit = 0.0;
            (backend.pod, backend.ready, backend.terminating, backend.in_flight) =
                (slot, ready, terminating, 0);
            service.backends.push(backend);
        }
        super::route::spread_clients(service);
        field.shape += 1;
        self.missing.extend(absent.into_iter().map(|name| (name, id.clone())));
    }
}

/// The index of a Service, a new one if it has none.
fn place(field: &mut Field, id: &Id) -> usize {
    if let Some(at) = field.by_service.get(id) {
        return *at;
    }
    let at = field.services.len();
    field.services.push(Service {
        id: id.clone(),
        policy: Policy::default(),
        legs: Vec::new(),
        mesh: false,
        ingress: false,
        grpc: false,
        proxy: None,
        clients: 1,
        backends: Vec::new(),
        calls: Vec::new(),
        turn: 0,
        pending: super::field::Pending::new(),
        total: Fate::default(),
        unrouted: 0,
        offered: 0,
        forwarded: 0,
        askers: BTreeMap::new(),
        again: Vec::new(),
        lost: 0.0,
        failing: 0.0,
        excess: 0.0,
    });
    field.by_service.insert(id.clone(), at);
    at
}
