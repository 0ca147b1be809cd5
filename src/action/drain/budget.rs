//! The budgets that hold pods back: one read every few seconds instead of an eviction per pod that would only be refused
//! again.

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

/// Namespace and name.
pub type BudgetKey = (Name, Name);

/// Between two reads, as kubectl waits before it tries again.
const READ_EVERY: Duration = Duration::from_secs(5);
/// After one of its pods went: the next may follow soon.
const READ_SOON: Duration = Duration::from_millis(1500);

/// What is known of a budget that refuses.
#[derive(Debug)]
pub struct Budget {
    /// When it is read next.
    pub next: Instant,
    pub reading: bool,
    /// What it refused cannot have changed before this.
    pub refused: Instant,
    pub since: Stamp,
    pub seen: Option<Pdb>,
}

/// How many of its pods a budget allows to be tried.
#[derive(Debug, PartialEq, Eq)]
pub enum Allowance {
    /// So many of its pods may be tried, and those that are not ready if true.
    Try(usize, bool),
    Wait,
}

/// The wait before the next try.
pub fn again() -> Duration {
    READ_EVERY + Duration::from_millis(fastrand::u64(0..1000))
}

impl Budget {
    pub fn new(since: Stamp) -> Self {
        let now = Clock::instant();
        Self { next: now, reading: false, refused: now, since, seen: None }
    }

    pub fn progress(&mut self) {
        self.next = self.next.min(Clock::deadline(READ_SOON));
    }

    /// Takes what was read. None: there is no such budget any more.
    pub fn take_reading(&mut self, read: Result<Option<Pdb>, ApiError>) -> Allowance {
        self.reading = false;
        self.next = Clock::deadline(again());
        // a read right after a refusal is for the numbers: an eviction would only be refused again
        let fresh = Clock::instant().saturating_duration_since(self.refused) < READ_EVERY / 2;
        let allowance = match &read {
            Ok(None) => Allowance::Try(usize::MAX, true),
            // without the right to read it only trying tells
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

    /// `0 allowed, needs 3 has 3`
    pub fn numbers(&self) -> String {
        match &self.seen {
            Some(p) if p.observed_generation < p.generation => "still being processed".into(),
            Some(p) => {
                format!("{} allowed, needs {} has {}", p.allowed, p.desired_healthy, p.current_healthy)
            }
            None => "0 allowed".into(),
        }
    }

    /// The reason of a pod that it holds.
    pub fn words(&self, (namespace, name): &BudgetKey, said: &str) -> String {
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

/// The order in which its pods are tried: those that are not ready cost nothing.
pub fn may_go(allowance: &Allowance, pod: Option<&Pod>, tried: usize) -> bool {
    match allowance {
        Allowance::Wait => false,
        Allowance::Try(allowed, unready) => tried < *allowed || (*unready && pod.is_some_and(|p| !p.ready)),
    }
}

/// One read of a budget.
pub async fn read(api: Arc<dyn DrainApi>, key: BudgetKey) -> (BudgetKey, Result<Option<Pdb>, ApiError>) {
    let on = ObjectRef::new(Kind::PodDisruptionBudget, &key.0, &key.1, &Uid::default());
    let read = api.get(on).await.and_then(|body| match body {
        None => Ok(None),
        Some(body) => match pdb(&mut Pools::default(), &body) {
            Ok(pdb) => Ok(Some(pdb)),
            Err(e) => Err(ApiError::Decode(e.to_string())),
        },
    });
    (key, read)
}
