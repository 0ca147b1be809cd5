//! What was displayed before: the transitions of states, counts and findings, oldest first, each with its time.
//!
//! The history is bounded by a [`Limit`]. The oldest leave first, and [`History::known_since`] says from when on a part
//! is known. A moment of the past is reached from the present by undoing the transitions after it, so no whole snapshot is
//! kept.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::alert::AlertRow;
use crate::domain::autoscaler::{HpaReason, HpaState};
use crate::domain::id::{Name, ObjectRef};
use crate::domain::node::NodeState;
use crate::domain::time::Stamp;
use crate::domain::workload::RolloutPhase;

use super::world::{Cause, Counts, NodeTotals, OwnerTotals};

/// The largest size of the kept transitions of a cluster in bytes, as [`Moment::bytes`] estimates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub usize);

impl Default for Limit {
    fn default() -> Self {
        Self(4 << 20)
    }
}

impl Limit {
    /// Nothing is kept.
    pub fn is_off(self) -> bool {
        self.0 == 0
    }
}

/// The number of transitions in one chunk. Chunks are shared with the snapshots.
const CHUNK: usize = 64;

/// One transition.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// When it was seen, by the clock of the API server.
    pub at: Stamp,
    pub what: Happened,
}

/// A value before and after. `None`: the object did not exist, or was not shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<T> {
    pub was: Option<T>,
    pub is: Option<T>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    Node(ObjectRef, Box<Step<NodeThen>>),
    Workload(ObjectRef, Box<Step<WorkloadThen>>),
    Service(ObjectRef, Step<ServiceThen>),
    Hpa(ObjectRef, Box<Step<HpaThen>>),
    /// A line of NOW. `inside`: it came out of, or went into another finding that explains it, so it neither began nor
    /// ended.
    Finding {
        step: Step<Arc<Cause>>,
        inside: bool,
    },
    /// The counts of the header.
    Counts(Box<Step<Counts>>),
    /// A group of error lines was seen for the first time. `first` is the time of its first line, which can be older.
    Error {
        first: Stamp,
        fingerprint: Name,
        template: Name,
        workloads: Arc<[Name]>,
    },
    /// An alert, by its fingerprint, is among the alerts now. It can have begun earlier: a rule can wait before it
    /// fires.
    AlertSeen(Name),
    /// An alert is no longer among the alerts. When it began stands in the alert.
    AlertEnded(Arc<AlertRow>),
}

/// What was shown of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeThen {
    pub state: NodeState,
    pub since: Option<Stamp>,
    pub cordoned: bool,
    pub problems: Arc<[Name]>,
    pub totals: NodeTotals,
}

/// What was shown of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadThen {
    pub replicas: i32,
    pub desired: i32,
    pub updated: i32,
    pub ready: i32,
    pub available: i32,
    pub images: Arc<[Name]>,
    pub totals: OwnerTotals,
    pub phase: RolloutPhase,
}

impl WorkloadThen {
    /// True if it has fewer ready pods than it should have.
    pub fn is_short(&self) -> bool {
        self.ready < self.desired
    }
}

/// The endpoints of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceThen {
    pub ready: u32,
    pub total: u32,
}

/// What was shown of an autoscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct HpaThen {
    pub min: i32,
    pub max: i32,
    pub current: Option<i32>,
    pub desired: Option<i32>,
    pub state: HpaState,
    pub why: HpaReason,
    pub since: Option<Stamp>,
}

impl Moment {
    /// An estimate of the memory that it needs, in bytes. Names that it shares with the tables count too, because the
    /// tables may drop them first.
    pub fn bytes(&self) -> usize {
        let object = |o: &ObjectRef| o.name.len() + o.namespace.len() + 32;
        let inner = match &self.what {
            Happened::Node(o, _) => object(o) + size_of::<Step<NodeThen>>(),
            Happened::Workload(o, _) => object(o) + size_of::<Step<WorkloadThen>>(),
            Happened::Service(o, _) => object(o),
            Happened::Hpa(o, _) => object(o) + size_of::<Step<HpaThen>>(),
            Happened::Finding { step, .. } => step.is.as_ref().or(step.was.as_ref()).map_or(0, |cause| {
                let objects: usize = cause.objects.iter().map(object).sum();
                size_of::<Cause>() + objects + cause.objects.len() * size_of::<ObjectRef>() + 256
            }),
            Happened::Counts(_) => size_of::<Step<Counts>>(),
            Happened::Error { template, workloads, .. } => {
                template.len() + workloads.iter().map(|name| name.len() + 32).sum::<usize>()
            }
            Happened::AlertSeen(fingerprint) => fingerprint.len(),
            Happened::AlertEnded(row) => {
                let texts = row.alert.labels.iter().chain(row.alert.annotations.iter());
                texts.map(|(name, text)| name.len() + text.len() + 64).sum::<usize>() + 256
            }
        };
        size_of::<Self>() + inner + 32
    }
}

/// The parts of the history, which become known at different times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    Nodes,
    Workloads,
    Services,
    Hpas,
    Findings,
    Alerts,
}

impl Track {
    pub const ALL: [Self; 6] =
        [Self::Nodes, Self::Workloads, Self::Services, Self::Hpas, Self::Findings, Self::Alerts];
}

/// The history of one cluster. A clone shares all full chunks.
#[derive(Clone, Debug, Default)]
pub struct History {
    chunks: VecDeque<Arc<Vec<Arc<Moment>>>>,
    len: usize,
    bytes: usize,
    limit: Limit,
    /// Since when each part is known without a gap; None: it is not read now.
    began: [Option<Stamp>; Track::ALL.len()],
    /// The time of the newest transition that was dropped.
    dropped: Option<Stamp>,
}

impl History {
    pub fn new(limit: Limit) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Adds a transition. It is not older than those before it.
    pub fn add(&mut self, moment: Moment) {
        let full = self.chunks.back().is_none_or(|chunk| chunk.len() >= CHUNK);
        if full {
            self.chunks.push_back(Arc::new(Vec::with_capacity(CHUNK)));
        }
        self.len += 1;
        self.bytes += moment.bytes();
        if let Some(last) = self.chunks.back_mut() {
            Arc::make_mut(last).push(Arc::new(moment));
        }
        while self.bytes > self.limit.0 {
            let Some(oldest) = self.chunks.pop_front() else { return };
            self.len -= oldest.len();
            self.bytes -= oldest.iter().map(|moment| moment.bytes()).sum::<usize>();
            self.dropped = oldest.last().map(|moment| moment.at).max(self.dropped);
        }
    }

    /// Records that a part is read completely from now on, or that it no longer is.
    pub fn set_known(&mut self, track: Track, since: Option<Stamp>) {
        if let Some(began) = self.began.get_mut(track as usize) {
            *began = since;
        }
    }

    /// Since when a part is known without a gap; None: it is not known.
    pub fn known_since(&self, track: Track) -> Option<Stamp> {
        let began = self.began.get(track as usize).copied().flatten()?;
        Some(self.dropped.map_or(began, |dropped| dropped.max(began)))
    }

    /// Since when any part is known.
    pub fn since(&self) -> Option<Stamp> {
        Track::ALL.iter().filter_map(|track| self.known_since(*track)).min()
    }

    /// The number of transitions.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The estimated size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All transitions, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Moment>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The transitions after a moment, the newest first.
    pub fn after(&self, at: Stamp) -> impl Iterator<Item = &Arc<Moment>> {
        self.iter().rev().take_while(move |moment| moment.at > at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::{ClusterId, Kind, Uid};

    fn service(at: i64, name: &str, ready: u32) -> Moment {
        let object =
            ObjectRef::new(ClusterId(0), Kind::Service, &"shop".into(), &name.into(), &Uid::default());
        let then = |ready| Some(ServiceThen { ready, total: 9 });
        Moment {
            at: Stamp(at),
            what: Happened::Service(object, Step { was: then(ready), is: then(ready + 1) }),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn it_is_bounded_and_says_since_when_it_knows(
            long in 1usize..2_000,
            many in 1usize..20_000,
        ) {
            let limit = Limit(1 << 20);
            let mut history = History::new(limit);
            history.set_known(Track::Services, Some(Stamp(-5)));
            let name = "x".repeat(long);
            for at in 0..many {
                history.add(service(at as i64, &name, 1));
                prop_assert!(history.bytes() <= limit.0);
            }
            let kept: Vec<i64> = history.iter().map(|moment| moment.at.0).collect();
            prop_assert_eq!(kept.len(), history.len());
            prop_assert!(kept.is_sorted() && kept.last() == Some(&(many as i64 - 1)), "the newest stay");
            let real: usize = history.iter().map(|moment| moment.bytes()).sum();
            prop_assert_eq!(real, history.bytes());
            let since = history.known_since(Track::Services).unwrap();
            let first = kept.first().copied().unwrap();
            prop_assert_eq!(since, Stamp(if first == 0 { -5 } else { first - 1 }));
        }
    }

    #[test]
    fn a_snapshot_does_not_change_when_the_history_goes_on() {
        let mut history = History::default();
        for at in 0..100 {
            history.add(service(at, "web", 1));
        }
        let snapshot = history.clone();
        history.add(service(100, "web", 1));
        assert_eq!((snapshot.len(), history.len()), (100, 101));
        assert_eq!(snapshot.iter().count(), 100);
        assert_eq!(snapshot.after(Stamp(97)).map(|m| m.at.0).collect::<Vec<_>>(), [99, 98]);
        assert_eq!(history.known_since(Track::Nodes), None, "nothing says that the nodes are read");
    }
}
