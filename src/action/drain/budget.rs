//! The disruption budgets that block evictions. Each budget is read every few seconds. This replaces an eviction
//! request for each pod, which would only be refused again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse_core::domain::budget::Pdb;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::time::Stamp;

use super::api::DrainApi;
use crate::clock::Clock;
use crate::wire::decode::{Pools, policy::pdb};
use crate::wire::error::ApiError;

/// The namespace and name of a budget.
pub(super) type BudgetKey = (Name, Name);

/// The interval between two reads, which is the time that kubectl waits before it retries.
const READ_EVERY: Duration = Duration::from_secs(5);
/// The interval after one of the budget's pods was evicted, because the next eviction may be possible soon.
const READ_SOON: Duration = Duration::from_millis(1500);

/// The known state of a budget that refuses evictions.
#[derive(Debug)]
pub(super) struct Budget {
    /// The time of the next read.
    pub next: Instant,
    pub reading: bool,
    /// The time until which a refusal cannot have changed.
    pub refused: Instant,
    pub since: Stamp,
    pub seen: Option<Pdb>,
}

/// The number of its pods that a budget permits to try.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// The number of pods that may be tried. If the flag is `true`, pods that are not ready may be tried too.
    Try(usize, bool),
    Wait,
}

/// Returns the wait before the next try, with jitter.
pub(super) fn again() -> Duration {
    READ_EVERY + Duration::from_millis(fastrand::u64(0..1000))
}

impl Budget {
    pub(super) fn new(since: Stamp) -> Self {
        let now = Clock::instant();
        Self { next: now, reading: false, refused: now, since, seen: None }
    }

    pub(super) fn progress(&mut self) {
        self.next = self.next.min(Clock::deadline(READ_SOON));
    }

    /// Records a read. `None` means that the budget no longer exists.
    pub(super) fn take_reading(&mut self, read: Result<Option<Pdb>, ApiError>) -> Allowance {
        self.reading = false;
        self.next = Clock::deadline(again());
        // a read immediately after a refusal only updates the numbers, because an eviction would be refused again
        let fresh = Clock::instant().saturating_duration_since(self.refused) < READ_EVERY / 2;
        let allowance = match &read {
            Ok(None) => Allowance::Try(usize::MAX, true),
            // without permission to read the budget, only an eviction request can find out
            Err(e) if e.is_denial() => Allowance::Try(usize::MAX, true),
            Err(_) => Allowance::Wait,
            Ok(Some(pdb)) => {
                let current = pdb.observed_generation >= pdb.generation;
                let healthy = pdb.current_healthy >= pdb.desired_healthy && pdb.desired_healthy > 0;
                let allowed = usize::try_from(pdb.allowed).unwrap_or(0);
                match (current, allowed, pdb.always_allow_unhealthy || healthy) {
                    (false, ..) | (_, 0, false) => Allowance::Wait,
                    (true, allowed, unready) => Allowance::Try(allowed, unready),
                }
            }
        };
        if let Ok(Some(pdb)) = read {
            self.since = pdb.blocked_since().unwrap_or(self.since);
            self.seen = Some(pdb);
        }
        if fresh { Allowance::Wait } else { allowance }
    }

    /// Formats the numbers, such as `0 allowed, needs 3 has 3`.
    pub(super) fn numbers(&self) -> String {
        match &self.seen {
            Some(p) if p.observed_generation < p.generation => "still being processed".into(),
            Some(p) => {
                format!("{} allowed, needs {} has {}", p.allowed, p.desired_healthy, p.current_healthy)
            }
            None => "0 allowed".into(),
        }
    }

    /// Describes why a pod is blocked by the budget.
    pub(super) fn words(&self, (namespace, name): &BudgetKey, said: &str) -> String {
        let who = format!("PDB {namespace}/{name}");
        match &self.seen {
            Some(p) if p.observed_generation >= p.generation => format!(
                "{who} allows {}: it needs {} healthy and has {}, since {}",
                p.allowed, p.desired_healthy, p.current_healthy, self.since
            ),
            _ => format!("{who} refuses since {}: {said}", self.since),
        }
    }
}

/// Whether a pod may be tried after `tried` others. Pods that are not ready do not count against the budget.
pub(super) fn may_go(allowance: &Allowance, pod: Option<&Pod>, tried: usize) -> bool {
    match allowance {
        Allowance::Wait => false,
        Allowance::Try(allowed, unready) => tried < *allowed || (*unready && pod.is_some_and(|p| !p.ready)),
    }
}

/// Reads a budget once.
pub(super) async fn read(
    api: Arc<dyn DrainApi>,
    key: BudgetKey,
) -> (BudgetKey, Result<Option<Pdb>, ApiError>) {
    let on = ObjectRef::new(api.cluster(), Kind::PodDisruptionBudget, &key.0, &key.1, &Uid::default());
    let read = api.get(on).await.and_then(|body| match body {
        None => Ok(None),
        Some(body) => match pdb(&mut Pools::default(), &body) {
            Ok(pdb) => Ok(Some(pdb)),
            Err(e) => Err(ApiError::Decode(e.to_string())),
        },
    });
    (key, read)
}
