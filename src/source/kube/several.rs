//! One kind in several namespaces: a list and watch for each namespace, and one table whose rows none of them deletes
//! alone.
//!
//! The list-watches do not know of each other; this module merges them. The table's list ends when each of theirs has
//! ended or was refused. A later list of one namespace removes only objects of that namespace. The source's status is
//! the worst of the namespaces.

use std::collections::HashSet;
use std::sync::Arc;

use pilothouse_core::domain::id::{Name, Uid, Version};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Batch, Gone};
use pilothouse_core::facts::table::Row;
use tokio::sync::Mutex;

use crate::wire::list_watch::Outlet;

/// The progress of the list of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Awaited,
    Read,
    Denied,
    Absent,
}

#[derive(Debug)]
struct Part {
    namespace: Name,
    stand: Stand,
    /// The objects in the last complete list and in the watch since then.
    held: HashSet<Uid>,
    /// The objects in the list that is in progress.
    listed: Option<HashSet<Uid>>,
    stale: Option<Stamp>,
    reason: Name,
    status: SourceStatus,
}

struct Joined<O> {
    out: O,
    parts: Vec<Part>,
    /// Whether the table's list has begun, and has ended.
    begun: bool,
    ended: bool,
    told: Option<SourceStatus>,
}

/// The common outlet of all namespaces of a kind.
pub(super) struct Several<O>(Arc<Mutex<Joined<O>>>);

/// The outlet of one namespace.
pub(super) struct Share<O> {
    at: usize,
    all: Arc<Mutex<Joined<O>>>,
}

impl<O> Clone for Share<O> {
    fn clone(&self) -> Self {
        Self { at: self.at, all: self.all.clone() }
    }
}

impl<O> Several<O> {
    pub(super) fn new(out: O, namespaces: &[Name]) -> Self {
        let part = |namespace: &Name| Part {
            namespace: namespace.clone(),
            stand: Stand::Awaited,
            held: HashSet::new(),
            listed: None,
            stale: None,
            reason: Name::default(),
            status: SourceStatus::default(),
        };
        let parts = namespaces.iter().map(part).collect();
        Self(Arc::new(Mutex::new(Joined { out, parts, begun: false, ended: false, told: None })))
    }

    pub(super) fn share(&self, at: usize) -> Share<O> {
        Share { at, all: self.0.clone() }
    }
}

impl<T: Row + Send, O: Outlet<T>> Outlet<T> for Share<O> {
    async fn rows(&self, batch: Batch<T>) {
        let mut all = self.all.lock().await;
        for said in all.take(self.at, batch) {
            all.out.rows(said).await;
        }
    }

    async fn status(&self, status: SourceStatus) {
        let mut all = self.all.lock().await;
        if let Some(part) = all.parts.get_mut(self.at) {
            part.status = status;
        }
        if let Some(worst) = all.worst() {
            all.out.status(worst).await;
        }
    }
}

impl<O> Joined<O> {
    /// The batch for the table that follows from one namespace's batch.
    fn take<T: Row>(&mut self, at: usize, batch: Batch<T>) -> Vec<Batch<T>> {
        let mut out = Vec::new();
        if !self.begun {
            self.begun = true;
            out.push(Batch::Begin { generation: 1 });
        }
        let Some(part) = self.parts.get_mut(at) else { return out };
        match batch {
            Batch::Begin { .. } => part.listed = Some(HashSet::new()),
            // the number of one namespace is not the number of all
            Batch::Expect { .. } | Batch::Scope { .. } => {}
            Batch::Upsert(rows) => {
                for row in &rows {
                    part.held.insert(row.uid().clone());
                    if let Some(listed) = &mut part.listed {
                        listed.insert(row.uid().clone());
                    }
                }
                out.push(Batch::Upsert(rows));
            }
            Batch::Gone(gone) => {
                for one in &gone {
                    part.held.remove(&one.uid);
                }
                out.push(Batch::Gone(gone));
            }
            Batch::End { version, .. } => {
                if let Some(listed) = part.listed.take() {
                    let gone: Vec<Uid> = part.held.difference(&listed).cloned().collect();
                    part.held = listed;
                    out.extend(removed(gone));
                }
                part.stand = Stand::Read;
                self.settle(version, &mut out);
            }
            Batch::Denied { reason } => {
                part.reason = reason;
                self.lose(at, Stand::Denied, &mut out);
            }
            Batch::NotInstalled => self.lose(at, Stand::Absent, &mut out),
            Batch::Stale { since } => {
                part.stale = since;
                out.push(Batch::Stale { since: self.parts.iter().filter_map(|p| p.stale).min() });
            }
        }
        out
    }

    /// A namespace may not be read, or no longer: its rows are removed.
    fn lose<T>(&mut self, at: usize, stand: Stand, out: &mut Vec<Batch<T>>) {
        let Some(part) = self.parts.get_mut(at) else { return };
        (part.stand, part.listed) = (stand, None);
        out.extend(removed(part.held.drain().collect()));
        self.settle(Version::default(), out);
    }

    /// Ends the table's list when no namespace is missing, and reports which namespaces it covers.
    fn settle<T>(&mut self, version: Version, out: &mut Vec<Batch<T>>) {
        if self.parts.iter().any(|p| p.stand == Stand::Awaited) {
            return;
        }
        let read: Vec<Name> =
            self.parts.iter().filter(|p| p.stand == Stand::Read).map(|p| p.namespace.clone()).collect();
        if read.is_empty() {
            let absent = self.parts.iter().all(|p| p.stand == Stand::Absent);
            let reason = self.parts.first().map(|p| p.reason.clone()).unwrap_or_default();
            out.push(if absent { Batch::NotInstalled } else { Batch::Denied { reason } });
            (self.begun, self.ended) = (false, false);
            return;
        }
        out.push(Batch::Scope { namespaces: Some(read) });
        if !self.ended {
            self.ended = true;
            out.push(Batch::End { generation: 1, version });
        }
    }

    /// The status of the source: the worst of its namespaces, which it names. If some are denied and others are read,
    /// this is no problem of the source; the table's coverage says which are read.
    fn worst(&mut self) -> Option<SourceStatus> {
        let rank = |state: &SourceState| match state {
            SourceState::Down { .. } => 5,
            SourceState::Stale { .. } => 4,
            SourceState::Starting => 3,
            SourceState::Live => 2,
            SourceState::Denied => 1,
            SourceState::NotInstalled | SourceState::Off => 0,
        };
        let worst = self.parts.iter().max_by_key(|p| rank(&p.status.state))?;
        let mut status = worst.status.clone();
        let lowest = rank(&worst.status.state).min(2);
        let named = |p: &Part| {
            let error = p.status.error.as_ref().filter(|_| rank(&p.status.state) >= lowest)?;
            Some(format!("{}: {error}", p.namespace))
        };
        let failing: Vec<String> = self.parts.iter().filter_map(named).collect();
        status.error = (!failing.is_empty()).then(|| Name::from(failing.join("; ")));
        status.last_ok = self.parts.iter().map(|p| p.status.last_ok).min().flatten().or(status.last_ok);
        if self.told.as_ref() == Some(&status) {
            return None;
        }
        self.told = Some(status.clone());
        Some(status)
    }
}

fn removed<T>(uids: Vec<Uid>) -> Option<Batch<T>> {
    let gone = |uid| Gone { uid, version: Version::default() };
    (!uids.is_empty()).then(|| Batch::Gone(uids.into_iter().map(gone).collect()))
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::budget::Pdb;
    use pilothouse_core::facts::event::Fact;
    use pilothouse_core::facts::table::Coverage;
    use pilothouse_core::facts::world::ClusterInfo;
    use pilothouse_core::state::ClusterState;

    use super::*;

    fn pdb(n: u128) -> Pdb {
        Pdb { uid: Uid::Uuid(n), version: Version(1), ..Pdb::default() }
    }

    struct Bench(Joined<()>, ClusterState);

    impl Bench {
        fn new() -> Self {
            let several = Several::new((), &["shop".into(), "pay".into()]);
            let joined = Arc::into_inner(several.0).unwrap().into_inner();
            Self(joined, ClusterState::new(ClusterInfo::default()))
        }

        fn say(&mut self, at: usize, batches: Vec<Batch<Pdb>>) -> (Vec<u128>, Coverage) {
            for batch in batches {
                for said in self.0.take(at, batch) {
                    self.1.apply(Fact::Pdbs(said), Stamp(0));
                }
            }
            let cluster = self.1.publish(Stamp(0), true).unwrap_or_else(|| self.1.published().clone());
            let uid = |p: &Arc<Pdb>| match p.uid {
                Uid::Uuid(n) => n,
                Uid::Text(_) => 0,
            };
            let mut uids: Vec<u128> = cluster.pdbs.iter().map(uid).collect();
            uids.sort_unstable();
            (uids, cluster.pdbs.cover.clone())
        }
    }

    fn list(generation: u32, rows: &[u128]) -> Vec<Batch<Pdb>> {
        vec![
            Batch::Begin { generation },
            Batch::Upsert(rows.iter().map(|n| pdb(*n)).collect()),
            Batch::Scope { namespaces: Some(vec!["x".into()]) },
            Batch::End { generation, version: Version(9) },
        ]
    }

    fn of(names: &[&str]) -> Coverage {
        Coverage::Namespaces(names.iter().map(|n| Name::from(*n)).collect())
    }

    #[test]
    fn the_list_ends_with_the_last_namespace_and_a_relist_sweeps_its_own_only() {
        let mut bench = Bench::new();
        let (rows, cover) = bench.say(0, list(1, &[1, 2]));
        assert_eq!(rows, [1, 2]);
        assert!(matches!(cover, Coverage::Loading { .. }), "{cover:?}");
        assert_eq!(bench.say(1, list(1, &[11])), (vec![1, 2, 11], of(&["shop", "pay"])));
        assert_eq!(bench.say(0, list(2, &[2, 3])), (vec![2, 3, 11], of(&["shop", "pay"])));
        let gone = Batch::Gone(vec![Gone { uid: Uid::Uuid(11), version: Version(2) }]);
        assert_eq!(bench.say(1, vec![gone]).0, [2, 3]);
        // truncated: nothing is deleted
        assert_eq!(bench.say(0, list(3, &[]).into_iter().take(2).collect()).0, [2, 3]);
    }

    #[test]
    fn a_namespace_that_is_refused_is_not_among_those_that_were_read() {
        let mut bench = Bench::new();
        bench.say(0, list(1, &[1]));
        let denied = || vec![Batch::Denied { reason: "403".into() }];
        assert_eq!(bench.say(1, denied()), (vec![1], of(&["shop"])));
        assert_eq!(bench.say(1, list(2, &[11])), (vec![1, 11], of(&["shop", "pay"])));
        assert_eq!(bench.say(1, denied()), (vec![1], of(&["shop"])), "what is refused is not known any more");
        let (_, cover) = bench.say(0, denied());
        assert!(matches!(cover, Coverage::Denied(_)), "{cover:?}");
        assert_eq!(bench.say(0, list(3, &[4])), (vec![4], of(&["shop"])));
    }

    #[test]
    fn the_source_is_as_well_as_the_worst_of_them() {
        let mut joined = Bench::new().0;
        let mut tell = |at: usize, state: SourceState, error: Option<&str>| {
            joined.parts[at].status = SourceStatus {
                name: "pods".into(),
                state,
                error: error.map(Name::from),
                ..SourceStatus::default()
            };
            joined.worst()
        };
        tell(0, SourceState::Live, None);
        let down = tell(1, SourceState::Down { since: Stamp(1) }, Some("503")).unwrap();
        assert_eq!(
            (down.state, down.error.as_deref()),
            (SourceState::Down { since: Stamp(1) }, Some("pay: 503"))
        );
        let denied = tell(1, SourceState::Denied, Some("403")).unwrap();
        assert_eq!((denied.state, denied.error.as_deref()), (SourceState::Live, None));
        let denied = tell(0, SourceState::Denied, Some("403")).unwrap();
        assert_eq!(
            (denied.state, denied.error.as_deref()),
            (SourceState::Denied, Some("shop: 403; pay: 403"))
        );
    }
}
