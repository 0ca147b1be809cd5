//! Which backend gets how many requests, by the Service's policy.

use std::cmp::Reverse;

use super::draw::Dice;
use super::field::{Backend, Leg, Service};
use crate::world::Policy;

/// Above this number of comparisons per step, least connections is computed from latencies instead of simulated.
const PLAYED: u64 = 20_000;

/// A possible backend, and its weight.
pub(super) struct Choice {
    /// Its index in the Service.
    pub at: usize,
    pub weight: f64,
}

/// One step's routing.
pub(super) struct Route<'a> {
    pub service: &'a mut Service,
    pub policy: Policy,
    pub choices: &'a [Choice],
    pub dice: &'a mut Dice,
    /// The start of the step, in seconds since the clock's start (negative before it), and its length.
    pub from: f64,
    pub seconds: f64,
}

fn nanos(seconds: f64) -> i64 {
    (seconds * 1e9) as i64
}

/// FNV-1a.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Mixes a hash so that every bit depends on every other one.
fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The backend of a client: the one with the highest hash of both, so that few clients change their backend when one is
/// added or removed.
pub(super) fn spread_clients(service: &mut Service) {
    for backend in &mut service.backends {
        backend.clients = 0;
    }
    let hashes = |leg: &Leg| leg.policy == Some(Policy::ClientHash);
    if service.policy != Policy::ClientHash && !service.legs.iter().any(hashes) {
        return;
    }
    let seeds: Vec<(usize, u64)> = service
        .backends
        .iter()
        .enumerate()
        .filter(|(_, backend)| backend.ready && !backend.down)
        .map(|(at, backend)| (at, hash(backend.uid.bytes())))
        .collect();
    // With very many backends the exact choice is too expensive.
    let exact = seeds.len() as u64 * u64::from(service.clients) <= 1_000_000;
    for client in 0..u64::from(service.clients) {
        let chosen = if exact {
            seeds.iter().max_by_key(|(_, seed)| mixed(seed ^ mixed(client + 1))).copied()
        } else {
            seeds.get((mixed(client) % seeds.len().max(1) as u64) as usize).copied()
        };
        if let Some(backend) = chosen.and_then(|(at, _)| service.backends.get_mut(at)) {
            backend.clients += 1;
        }
    }
}

impl Route<'_> {
    /// How many of `n` requests each choice gets.
    pub(super) fn shares(&mut self, n: u64) -> Vec<u64> {
        let mut out = vec![0; self.choices.len()];
        if self.choices.is_empty() || n == 0 {
            return out;
        }
        let level = self.choices.iter().all(|choice| (choice.weight - 1.0).abs() < 1e-9);
        match self.policy {
            Policy::RoundRobin if level => self.in_turn(n, &mut out),
            Policy::RoundRobin | Policy::Weighted => {
                let weights: Vec<f64> = self.choices.iter().map(|choice| choice.weight).collect();
                self.owed(n, &weights, &mut out);
            }
            Policy::Random => {
                let weights: Vec<f64> = self.choices.iter().map(|choice| choice.weight).collect();
                self.dice.multinomial(n, &weights, &mut out);
            }
            Policy::ResponseTime => {
                let weights = self.by_backend(|backend, weight| weight / backend.ewma.max(1e-6));
                self.dice.multinomial(n, &weights, &mut out);
            }
            Policy::ClientHash => {
                let mut weights = self.by_backend(|backend, weight| weight * f64::from(backend.clients));
                if weights.iter().all(|weight| *weight <= 0.0) {
                    // These backends are a subset that is nobody's first choice.
                    weights = self.by_backend(|_, weight| weight);
                }
                self.dice.multinomial(n, &weights, &mut out);
            }
            Policy::LeastRequest if n <= PLAYED => self.fewer_of_two(n, level, &mut out),
            Policy::LeastRequest => {
                let weights = self.by_backend(|backend, weight| weight / backend.ewma.max(1e-6));
                self.dice.multinomial(n, &weights, &mut out);
            }
            Policy::LeastConnections if n.saturating_mul(self.choices.len() as u64) <= PLAYED => {
                self.least(n, &mut out);
            }
            Policy::LeastConnections => {
                let weights = self.by_backend(|backend, weight| weight / backend.ewma.max(1e-6));
                self.owed(n, &weights, &mut out);
            }
        }
        out
    }

    fn by_backend(&self, weight: impl Fn(&Backend, f64) -> f64) -> Vec<f64> {
        let of = |choice: &Choice| self.service.backends.get(choice.at).map(|b| weight(b, choice.weight));
        self.choices.iter().map(|choice| of(choice).unwrap_or(0.0)).collect()
    }

    fn in_turn(&mut self, n: u64, out: &mut [u64]) {
        let len = out.len() as u64;
        let turn = self.service.turn % out.len();
        for (place, out) in out.iter_mut().enumerate() {
            let behind = (place + len as usize - turn) as u64 % len;
            *out = n / len + u64::from(behind < n % len);
        }
        self.service.turn = ((turn as u64 + n) % len) as usize;
    }

    /// Deterministic shares by weight: the fraction that a backend is owed is carried over to the next step.
    fn owed(&mut self, n: u64, weights: &[f64], out: &mut [u64]) {
        let sum: f64 = weights.iter().sum();
        if sum <= 0.0 {
            return;
        }
        let mut owed: Vec<(usize, f64)> = Vec::with_capacity(out.len());
        let mut left = n;
        for (place, ((choice, weight), out)) in
            self.choices.iter().zip(weights).zip(out.iter_mut()).enumerate()
        {
            let Some(backend) = self.service.backends.get(choice.at) else { continue };
            let due = backend.credit + n as f64 * weight / sum;
            let now = (due.floor().max(0.0) as u64).min(left);
            (*out, left) = (now, left - now);
            owed.push((place, due - now as f64));
        }
        owed.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (place, due) in &mut owed {
            let weight = weights.get(*place).copied().unwrap_or_default();
            if left > 0
                && weight > 0.0
                && let Some(out) = out.get_mut(*place)
            {
                (*out, left, *due) = (*out + 1, left - 1, *due - 1.0);
            }
        }
        if left > 0
            && let Some(out) = owed.first().and_then(|(place, _)| out.get_mut(*place))
        {
            *out += left;
        }
        for (place, due) in owed {
            let backend = self.choices.get(place).and_then(|choice| self.service.backends.get_mut(choice.at));
            if let Some(backend) = backend {
                backend.credit = due.clamp(-2.0, 2.0);
            }
        }
    }

    /// Sends request after request over the step, each to the backend with the fewest in flight relative to its weight;
    /// equal ones get them in turn.
    fn least(&mut self, n: u64, out: &mut [u64]) {
        let len = self.choices.len();
        for request in 0..n {
            let now = self.arrival(request, n);
            let turn = self.service.turn;
            let mut best: Option<(f64, usize)> = None;
            for step in 0..len {
                let place = (turn + step) % len;
                let Some(choice) = self.choices.get(place).filter(|choice| choice.weight > 0.0) else {
                    continue;
                };
                let Some(backend) = self.service.backends.get(choice.at) else { continue };
                let load = backend.in_flight as f64 / choice.weight;
                if best.is_none_or(|(least, _)| load < least) {
                    best = Some((load, place));
                }
            }
            let Some((_, place)) = best else { return };
            self.service.turn = (place + 1) % len;
            self.send(place, now, out);
        }
    }

    /// As Envoy's least request: the one with fewer in flight of two random backends if their weights are equal.
    /// Otherwise a random one, by its weight divided by its requests in flight plus one. All callers share the counts,
    /// as if they used one proxy.
    fn fewer_of_two(&mut self, n: u64, level: bool, out: &mut [u64]) {
        let len = self.choices.len();
        for request in 0..n {
            let now = self.arrival(request, n);
            let load = |place: usize| {
                let choice = self.choices.get(place)?;
                self.service.backends.get(choice.at).map(|backend| backend.in_flight)
            };
            let place = if level {
                let (one, other) = (self.dice.0.usize(..len), self.dice.0.usize(..len));
                if load(other) < load(one) { other } else { one }
            } else {
                let weights = self.by_backend(|backend, weight| weight / (backend.in_flight as f64 + 1.0));
                let mut left = self.dice.0.f64() * weights.iter().sum::<f64>();
                let chosen = weights.iter().position(|weight| {
                    left -= weight;
                    *weight > 0.0 && left < 0.0
                });
                let Some(place) = chosen.or_else(|| weights.iter().rposition(|weight| *weight > 0.0)) else {
                    return;
                };
                place
            };
            self.send(place, now, out);
        }
    }

    /// The time of the next of `n` requests. Those that have ended by then are no longer in flight.
    fn arrival(&mut self, request: u64, n: u64) -> f64 {
        let now = self.from + self.seconds * (request as f64 + self.dice.0.f64()) / n as f64;
        while let Some(Reverse((end, at))) = self.service.pending.peek().copied()
            && end <= nanos(now)
        {
            self.service.pending.pop();
            if let Some(backend) = self.service.backends.get_mut(at) {
                backend.in_flight = backend.in_flight.saturating_sub(1);
            }
        }
        now
    }

    fn send(&mut self, place: usize, now: f64, out: &mut [u64]) {
        let (Some(choice), Some(out)) = (self.choices.get(place), out.get_mut(place)) else { return };
        let Some(backend) = self.service.backends.get_mut(choice.at) else { return };
        *out += 1;
        backend.in_flight += 1;
        let lasts = backend.ewma * (0.4 * self.dice.normal()).exp() / 1.083;
        self.service.pending.push(Reverse((nanos(now + lasts), choice.at)));
    }
}
