//! One step of traffic: requests go from callers to the Services that they call, by way of the routes that split them;
//! failures and delays come back.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::draw::Dice;
use super::field::{Ask, Code, Fate, Field, Leg, Note, Wrong};
use super::read::age;
use super::route::{Choice, Route, spread_clients};
use super::serve::Taken;
use super::split::{Forwarded, come_back, distribute};
use crate::world::{Call, Policy, State};

/// The timeout of a call without an answer, in seconds.
const PATIENCE: f64 = 1.0;
/// The ratio of failed inner calls that are retried once.
const RETRIED: f64 = 0.5;
/// How often a proxy checks each server, and after how many consecutive failures the server counts as dead.
const CHECK_MILLIS: u32 = 2000;
const CHECK_FALLS: u32 = 3;

/// The requests of one backend in this step.
pub(super) struct Work {
    backend: usize,
    pod: usize,
    taken: Taken,
}

/// The order of Services, callers first, and split Services before those that get a part of their requests; calls that
/// would close a circle are left out.
pub(super) struct Order {
    order: Vec<usize>,
    calls: Vec<Vec<(usize, Call)>>,
}

impl Order {
    pub(super) fn of(field: &Field, state: &State) -> Self {
        let len = field.services.len();
        let mut one = Self { order: Vec::with_capacity(len), calls: vec![Vec::new(); len] };
        // 0 not seen, 1 on the way, 2 done
        let mut seen = vec![0_u8; len];
        // Services with requests from outside come first; in a circle, the call back to such a Service is left out.
        let rps = |id| state.demand.get(id).map_or(0.0, |demand| demand.rps);
        let mut roots: Vec<(f64, usize)> = field.by_service.iter().map(|(id, at)| (rps(id), *at)).collect();
        roots.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, at) in roots {
            one.visit(field, at, &mut seen);
        }
        one.order.reverse();
        one
    }

    fn visit(&mut self, field: &Field, at: usize, seen: &mut [u8]) {
        if seen.get(at).is_none_or(|state| *state != 0) {
            return;
        }
        if let Some(state) = seen.get_mut(at) {
            *state = 1;
        }
        let legs = field.services.get(at).map(|service| service.legs.as_slice()).unwrap_or_default();
        for leg in legs {
            self.visit(field, leg.to, seen);
        }
        for (to, call) in field.services.get(at).map(|service| service.calls.as_slice()).unwrap_or_default() {
            if seen.get(*to).is_some_and(|state| *state == 1) {
                continue;
            }
            self.visit(field, *to, seen);
            if let Some(calls) = self.calls.get_mut(at) {
                calls.push((*to, call.clone()));
            }
        }
        if let Some(state) = seen.get_mut(at) {
            *state = 2;
        }
        self.order.push(at);
    }
}

/// A span of simulated time.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    pub now: DateTime<Utc>,
    /// Its end, in seconds since the clock's start.
    pub passed: f64,
    pub seconds: f64,
}

/// The requests per second from outside to a Service at that time, in seconds since the clock's start.
fn demand(state: &State, field: &Field, at: usize, passed: f64) -> f64 {
    let Some(demand) = field.services.get(at).and_then(|service| state.demand.get(&service.id)) else {
        return 0.0;
    };
    let period = demand.period.as_secs_f64().max(1.0);
    let phase = (passed / period).fract() * std::f64::consts::TAU;
    (demand.rps * state.load * (1.0 + demand.swing * phase.sin())).max(0.0)
}

/// Simulates traffic for a span of time.
pub(super) fn step(field: &mut Field, state: &State, order: &Order, dice: &mut Dice, stretch: Stretch) {
    let Stretch { now, passed, seconds } = stretch;
    field.notes.clear();
    field.served.clear();
    field.served_total = 0;
    let mut asked: Vec<Vec<Ask>> = std::iter::repeat_with(Vec::new).take(field.services.len()).collect();
    let mut works: Vec<(Vec<Work>, Forwarded)> = Vec::with_capacity(order.order.len());
    for at in &order.order {
        let mut all = asked.get_mut(*at).map(std::mem::take).unwrap_or_default();
        all.push(Ask::new(None, dice.poisson(demand(state, field, *at, passed) * seconds)));
        if let Some(service) = field.services.get_mut(*at) {
            all.append(&mut service.again);
        }
        checks(field, *at, seconds);
        let (work, forwarded) = distribute(field, *at, all, &mut asked, dice, stretch);
        let answers: u64 =
            work.iter().map(|work| work.taken.taken - work.taken.by_version - work.taken.by_pod).sum();
        for (to, call) in order.calls.get(*at).map(Vec::as_slice).unwrap_or_default() {
            if let Some(asked) = asked.get_mut(*to) {
                asked.push(Ask::new(Some(*at), dice.whole(answers as f64 * call.per_request)));
            }
        }
        works.push((work, forwarded));
    }
    // Routes in a circle sent these to a Service whose turn was over: they come in the next step.
    for (service, asks) in field.services.iter_mut().zip(asked) {
        service.again.extend(asks);
    }
    for (at, (work, forwarded)) in order.order.iter().zip(&works).rev() {
        let calls = order.calls.get(*at).map(Vec::as_slice).unwrap_or_default();
        answer(field, *at, work, calls, dice, seconds);
        come_back(field, *at, forwarded);
    }
    for pod in field.pods.iter_mut().flatten() {
        let age = age(pod, now);
        pod.settle(seconds, age, dice);
    }
    (field.at, field.seconds) = (now, seconds);
    field.counted += seconds;
    field.steps += 1;
}

/// The number of failed checks of a server that has not answered for so many milliseconds, up to the number that makes
/// it dead.
fn fallen(missed: u32) -> u32 {
    (missed / CHECK_MILLIS).min(CHECK_FALLS)
}

/// The checks of a proxy: a server that does not answer is dead after three of them, and alive again after two.
fn checks(field: &mut Field, at: usize, seconds: f64) {
    let Field { pods, services, .. } = field;
    let Some(service) = services.get_mut(at).filter(|service| service.proxy.is_some()) else { return };
    let mut moved = false;
    for backend in &mut service.backends {
        // A server that is not ready is in maintenance and is not checked.
        let alive = !backend.ready
            || pods.get(backend.pod).and_then(Option::as_ref).is_some_and(super::Pod::is_alive);
        if alive {
            moved |= backend.down;
            (backend.missed, backend.down) = (0, false);
        } else {
            let before = (fallen(backend.missed), backend.down);
            backend.missed = backend.missed.saturating_add(((seconds * 1000.0) as u32).max(1));
            backend.failed_checks += fallen(backend.missed) - before.0;
            backend.down = fallen(backend.missed) == CHECK_FALLS;
            moved |= before.1 != backend.down;
        }
    }
    if moved {
        spread_clients(service);
    }
}

/// Sends `n` requests to the backends of a Service, or to those of a leg's subset. Returns how many got no answer.
pub(super) fn route(
    field: &mut Field,
    at: usize,
    mut leg: Option<&mut Leg>,
    n: u64,
    work: &mut Vec<Work>,
    dice: &mut Dice,
    Stretch { passed, seconds, .. }: Stretch,
) -> u64 {
    let Field { pods, services, served, served_total, .. } = field;
    let Some(service) = services.get_mut(at) else { return 0 };
    let policy = leg.as_ref().and_then(|leg| leg.policy).unwrap_or(service.policy);
    let subset = leg.as_ref().and_then(|leg| leg.subset.clone());
    let weighted = policy == Policy::Weighted;
    let choices: Vec<Choice> = service
        .backends
        .iter()
        .enumerate()
        .filter(|(_, backend)| backend.ready && !backend.down)
        .filter_map(|(at, backend)| {
            let pod = pods.get(backend.pod)?.as_ref()?;
            if subset.as_ref().is_some_and(|subset| !pod.is_of(subset)) {
                return None;
            }
            let weight = if weighted { pod.weight } else { 1.0 };
            Some(Choice { at, weight: weight * pod.behaviour.favoured })
        })
        .collect();
    let choosable = choices.iter().any(|choice| choice.weight > 0.0);
    if !choosable {
        service.unrouted += n;
        // Also if nobody asks in this step: it depends on the length of a step who does.
        service.lost = 1.0;
        return n;
    }
    if let Some(leg) = &mut leg {
        std::mem::swap(&mut service.turn, &mut leg.turn);
    }
    let shares =
        Route { service, policy, choices: &choices, dice, from: passed - seconds, seconds }.shares(n);
    if let Some(leg) = &mut leg {
        std::mem::swap(&mut service.turn, &mut leg.turn);
    }
    let mut lost = 0;
    for (choice, n) in choices.iter().zip(shares).filter(|(_, n)| *n > 0) {
        let Some(backend) = service.backends.get_mut(choice.at) else { continue };
        let Some(pod) = pods.get_mut(backend.pod).and_then(Option::as_mut) else { continue };
        backend.fate.picked += n;
        service.total.picked += n;
        if pod.is_alive() {
            let taken = pod.take(n, seconds, dice);
            served.push((backend.pod, taken.taken));
            *served_total += taken.taken;
            work.push(Work { backend: choice.at, pod: backend.pod, taken });
            continue;
        }
        lost += n;
        let fate = if pod.behaviour.off {
            // A policy that depends on latency uses it.
            backend.ewma = backend.ewma.max(PATIENCE);
            Fate { timeouts: n, ..Fate::default() }
        } else {
            Fate { refused: n, ..Fate::default() }
        };
        backend.fate.add(&fate);
        service.total.add(&fate);
    }
    lost
}

/// The results of a Service's calls in this step: which failures they cause, and how much longer they take than usual.
struct Inner {
    lost: f64,
    failing: f64,
    excess: f64,
    /// The cause of the error, for the logs.
    blame: Option<Wrong>,
}

fn inner(field: &Field, calls: &[(usize, Call)]) -> Inner {
    let mut all = Inner { lost: 0.0, failing: 0.0, excess: 0.0, blame: None };
    let mut worst = 0.0;
    for (to, call) in calls {
        let Some(service) = field.services.get(*to) else { continue };
        // A retry fails with the same probability as the call before it.
        let after = |p: f64| p * (1.0 - RETRIED) + p * RETRIED * p;
        let per_request = |p: f64| 1.0 - (1.0 - after(p)).powf(call.per_request.max(0.0));
        let (lost, failing) = (per_request(service.lost), per_request(service.failing));
        all.lost += (1.0 - all.lost) * lost;
        all.failing += (1.0 - all.failing) * failing;
        all.excess += service.excess * call.per_request;
        if lost.max(failing) > worst {
            worst = lost.max(failing);
            all.blame = Some(blame(field, *to));
        }
    }
    all
}

/// Why calls to a Service fail; a backend without an answer comes first.
fn blame(field: &Field, to: usize) -> Wrong {
    let Some(service) = field.services.get(to) else { return Wrong::NoBackend(to) };
    if service.lost <= 0.0 {
        return Wrong::Answered(to);
    }
    let mut dead = service.backends.iter().filter(|backend| backend.ready && !backend.down);
    let dead = dead.find_map(|backend| field.pod(backend.pod).filter(|pod| !pod.is_alive()));
    match dead {
        None => Wrong::NoBackend(to),
        Some(pod) => {
            let address: Arc<str> =
                format!("{}:8080", if pod.ip.is_empty() { "10.244.0.2" } else { &pod.ip }).into();
            if pod.behaviour.off { Wrong::Timeout(to, address) } else { Wrong::Refused(to, address) }
        }
    }
}

/// The answers of a Service's backends: codes, latencies, and the results that its callers see.
fn answer(
    field: &mut Field,
    at: usize,
    works: &[Work],
    calls: &[(usize, Call)],
    dice: &mut Dice,
    seconds: f64,
) {
    let inner = inner(field, calls);
    let Field { pods, services, notes, .. } = field;
    let Some(service) = services.get_mut(at) else { return };
    let (mut asked, mut failed, mut slow, mut again) = (0, 0, 0.0, 0.0);
    for work in works {
        let Some(pod) = pods.get_mut(work.pod).and_then(Option::as_mut) else { continue };
        let Taken { taken, away, by_version, by_pod } = work.taken;
        let fine = taken - by_version - by_pod;
        let lost = dice.binomial(fine, inner.lost);
        let answered = dice.binomial(fine - lost, inner.failing);
        again += (lost + answered) as f64 * RETRIED;
        let (median, sigma) = (pod.median(), pod.behaviour.sigma);
        let Some((_, counts)) = pod.counts.iter_mut().find(|(of, _)| *of == at) else { continue };
        counts.answered(Code::Ok, fine - lost - answered);
        counts.answered(Code::Own, by_version + by_pod + answered);
        counts.answered(Code::Bad, lost);
        counts.answered(Code::Away, away);
        let timed_out = matches!(inner.blame, Some(Wrong::Timeout(..)));
        let late = if timed_out { lost } else { 0 };
        let before = counts.sum;
        counts.lasted(taken - late, median, sigma, inner.excess, dice);
        counts.lasted(late, median, sigma, PATIENCE, dice);
        let mean = if taken == 0 { median + inner.excess } else { (counts.sum - before) / taken as f64 };
        counts.lasted(away, 0.002, 0.3, 0.0, dice);
        counts.in_flight = dice.poisson(taken as f64 / seconds * mean);
        let errors = by_version + by_pod + answered + lost + away;
        let fate = Fate { ok: fine - lost - answered, errors, ..Fate::default() };
        service.total.add(&fate);
        if let Some(backend) = service.backends.get_mut(work.backend) {
            backend.fate.add(&fate);
            if taken > 0 {
                let keep = (-seconds / 10.0).exp();
                backend.ewma = backend.ewma * keep + mean * (1.0 - keep);
            }
        }
        asked += taken + away;
        failed += errors;
        slow += taken as f64 * (mean - pod.behaviour.median * (sigma * sigma / 2.0).exp()).max(0.0);
        let mut note = |wrong: Wrong, count: u64| {
            if count > 0 {
                notes.push(Note { pod: work.pod, wrong, count });
            }
        };
        note(Wrong::Version, by_version);
        note(Wrong::Pod, by_pod);
        note(Wrong::Overload, away);
        if let Some(blame) = &inner.blame {
            note(blame.clone(), lost + answered);
        }
    }
    service.failing = if asked == 0 { 0.0 } else { failed as f64 / asked as f64 * (1.0 - service.lost) };
    service.excess = if asked == 0 { 0.0 } else { slow / asked as f64 };
    let per_call = calls.first().map(|(to, _)| *to);
    if let Some(service) = per_call.and_then(|to| services.get_mut(to)) {
        service.again.push(Ask::new(Some(at), dice.whole(again)));
    }
}
