//! The budgets that hold pods back: one read every few seconds in the place of an eviction per pod that would only be
//! refused again.

use std::time::{Duration, Instant};

use pilothouse_core::domain::budget::Pdb;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::time::Stamp;

use super::super::settle::get;
use crate::clock::Clock;
use crate::wire::client::ReadClient;
use crate::wire::decode::{Pools, policy::pdb};
use crate::wire::error::ApiError;

/// Namespace and name.
pub type Key = (Name, Name);

/// Between two looks, as kubectl's retry.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After one of its pods went: the next may follow soon.
const LOOK_SOON: Duration = Duration::from_millis(1500);

/// What is known of a budget that refuses.
#[derive(Debug)]
pub struct Budget {
    /// When it is looked at next.
    pub next: Instant,
    pub reading: bool,
    /// What it refused cannot have changed before this.
    pub refused: Instant,
    pub since: Stamp,
    pub seen: Option<Pdb>,
}

/// What a look at a budget says to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Leave {
    /// So many of its pods may be tried, and those that are not ready if true.
    Try(usize, bool),
    Wait,
}

/// The wait before the next try.
pub fn again() -> Duration {
    LOOK_EVERY + Duration::from_millis(fastrand::u64(0..1000))
}

impl Budget {
    pub fn new(since: Stamp) -> Self {
        let now = Clock::instant();
        Self { next: now, reading: false, refused: now, since, seen: None }
    }

    pub fn progress(&mut self) {
        self.next = self.next.min(Clock::deadline(LOOK_SOON));
    }

    /// Takes what was read. None: there is no such budget any more.
    pub fn look(&mut self, read: Result<Option<Pdb>, ApiError>) -> Leave {
        self.reading = false;
        self.next = Clock::deadline(again());
        // a look right after a refusal is for the numbers: it would only be refused again
        let fresh = self.refused.elapsed() < LOOK_EVERY / 2;
        let leave = match &read {
            Ok(None) => Leave::Try(usize::MAX, true),
            // without the right to read it only trying tells
            Err(e) if e.is_denial() => Leave::Try(usize::MAX, true),
            Err(_) => Leave::Wait,
            Ok(Some(pdb)) => {
                let current = pdb.observed_generation >= pdb.generation;
                let healthy = pdb.current_healthy >= pdb.desired_healthy && pdb.desired_healthy > 0;
                let allowed = usize::try_from(pdb.allowed).unwrap_or(0);
                match (current, allowed, pdb.always_allow_unhealthy || healthy) {
                    (false, ..) | (_, 0, false) => Leave::Wait,
                    (true, allowed, unready) => Leave::Try(allowed, unready),
                }
            }
        };
        if let Ok(Some(pdb)) = read {
            self.since = pdb.blocked_since().unwrap_or(self.since);
            self.seen = Some(pdb);
        }
        if fresh { Leave::Wait } else { leave }
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
    pub fn words(&self, (namespace, name): &Key, said: &str) -> String {
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
pub fn may_go(leave: &Leave, pod: Option<&Pod>, tried: usize) -> bool {
    match leave {
        Leave::Wait => false,
        Leave::Try(allowed, unready) => tried < *allowed || (*unready && pod.is_some_and(|p| !p.ready)),
    }
}

/// One read of a budget.
pub async fn read(reader: ReadClient, key: Key) -> (Key, Result<Option<Pdb>, ApiError>) {
    let on = ObjectRef::new(Kind::PodDisruptionBudget, &key.0, &key.1, &Uid::default());
    let read = get(&reader, &on).await.and_then(|body| match body {
        None => Ok(None),
        Some(body) => match pdb(&mut Pools::default(), &body) {
            Ok(pdb) => Ok(Some(pdb)),
            Err(e) => Err(ApiError::Decode(e.to_string())),
        },
    });
    (key, read)
}
