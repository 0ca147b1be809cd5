//! Processes the requests that one pod got in one step: it accepts as many as it can, fails some, and spends time and
//! CPU on the others.

use super::draw::{Dice, phi};
use super::field::{BOUNDS, CODES, Code, Counts, Pod};

/// How many requests a pod lets wait, in seconds of its capacity.
const QUEUE: f64 = 0.5;
/// Up to this number, latencies are drawn one by one.
const ONE_BY_ONE: u64 = 24;
/// CPU quota periods per second.
const PERIODS: f64 = 10.0;

/// The results of the requests of one step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    pub taken: u64,
    /// Rejected.
    pub away: u64,
    pub by_version: u64,
    pub by_pod: u64,
}

impl Pod {
    /// How many of `n` requests it accepts, and which of these fail because of its own fault.
    pub(super) fn take(&mut self, n: u64, seconds: f64, dice: &mut Dice) -> Taken {
        let capacity = self.behaviour.capacity;
        // At least one request is accepted, however small the capacity is.
        let room = (capacity * (seconds + QUEUE) - self.backlog - self.arrived).max(1.0);
        let taken = n.min(dice.whole(room));
        self.arrived += taken as f64;
        self.spent += taken as f64 * self.behaviour.cpu_request;
        let by_version = dice.binomial(taken, self.behaviour.version_errors);
        let by_pod = dice.binomial(taken - by_version, self.behaviour.pod_errors);
        Taken { taken, away: n - taken, by_version, by_pod }
    }

    /// The median latency in seconds under the current load.
    pub(crate) fn median(&self) -> f64 {
        let busy = self.busy.min(0.98);
        self.behaviour.median * (1.0 + busy.powi(4) / (1.0 - busy)) + self.backlog / self.behaviour.capacity
    }

    /// Ends a step: queue, CPU, memory.
    pub(super) fn settle(&mut self, seconds: f64, age: f64, dice: &mut Dice) {
        if !self.is_alive() {
            (self.cpu, self.memory, self.backlog, self.busy) = (0.0, 0.0, 0.0, 0.0);
            (self.arrived, self.spent) = (0.0, 0.0);
            return;
        }
        let capacity = self.behaviour.capacity;
        let rho = self.arrived / (capacity * seconds);
        let keep = (-seconds / 5.0).exp();
        self.busy = self.busy * keep + rho * (1.0 - keep);
        self.backlog = (self.backlog + self.arrived - capacity * seconds).clamp(0.0, capacity * QUEUE);
        let noise = 1.0 + 0.06 * dice.normal();
        let wanted = (self.spent / seconds + self.behaviour.cpu_idle) * noise.clamp(0.7, 1.3);
        let wanted = self.fixed_cpu.unwrap_or(wanted);
        self.cpu = wanted;
        if let Some(limit) = self.cpu_limit {
            self.cpu = wanted.min(limit);
            let tight = ((wanted / limit.max(1e-6) - 0.75) / 0.5).clamp(0.0, 1.0);
            self.periods += seconds * PERIODS;
            self.throttled += seconds * PERIODS * tight;
        }
        self.cpu_seconds += self.cpu * seconds;
        let warm = 0.7 + 0.3 * (age / 120.0).min(1.0);
        let requests = self.busy.min(1.0) * 0.12;
        let memory = self.behaviour.memory * (warm + requests) + self.behaviour.leak * age;
        let memory = self.fixed_memory.unwrap_or(memory);
        self.memory = self.memory_limit.map_or(memory, |limit| memory.min(limit));
        (self.arrived, self.spent) = (0.0, 0.0);
    }
}

/// The bucket of a latency.
fn bucket(seconds: f64) -> usize {
    BOUNDS.partition_point(|bound| *bound < seconds)
}

impl Counts {
    /// Counts answers by their code.
    pub(super) fn answered(&mut self, code: Code, n: u64) {
        let name = match code {
            Code::Ok => "200",
            Code::Own => "500",
            Code::Bad => "502",
            Code::Away => "503",
        };
        let place = CODES.iter().position(|one| *one == name).unwrap_or_default();
        if let Some(count) = self.codes.get_mut(place) {
            *count += n;
        }
    }

    /// Counts the latencies of `n` answers: log-normal around a median, plus `beyond` seconds each.
    pub(super) fn lasted(&mut self, n: u64, median: f64, sigma: f64, beyond: f64, dice: &mut Dice) {
        if n <= ONE_BY_ONE {
            for _ in 0..n {
                let seconds = median * (sigma * dice.normal()).exp() + beyond;
                self.sum += seconds;
                if let Some(count) = self.buckets.get_mut(bucket(seconds)) {
                    *count += 1;
                }
            }
            return;
        }
        let mut below = 0.0;
        let mut shares = [0.0; BOUNDS.len() + 1];
        for (share, bound) in shares.iter_mut().zip(BOUNDS.into_iter().chain([f64::INFINITY])) {
            let left = bound - beyond;
            let upto = if left <= 0.0 {
                0.0
            } else if left.is_finite() {
                phi((left / median).ln() / sigma)
            } else {
                1.0
            };
            *share = (upto - below).max(0.0);
            below = upto;
        }
        dice.multinomial(n, &shares, &mut self.buckets);
        let squared = sigma * sigma;
        let mean = median * (squared / 2.0).exp();
        let spread = mean * (squared.exp() - 1.0).sqrt() / (n as f64).sqrt();
        self.sum += n as f64 * ((mean + spread * dice.normal()).max(median * 0.1) + beyond);
    }
}
