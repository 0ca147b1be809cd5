//! Which error groups are NEW: those that were first seen recently, or after a recent rollout of a workload that wrote
//! them, or after the moment that the user chose.

use pilothouse_core::domain::log::ErrorGroup;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{ChangeKind, Cluster};

/// A group that was first seen less than this many seconds ago is NEW.
pub const NEW_SECS: u64 = 600;
/// Older rollouts do not count, because the lines before them are not read.
const ROLLOUT_SECS: u64 = 900;

/// When groups count as new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Novelty {
    now: Stamp,
    since: Stamp,
    /// The recent rollouts, by `namespace/workload`.
    rollouts: Vec<(String, Stamp)>,
}

impl Novelty {
    /// `moment` is the one that the user chose.
    pub fn of(cluster: &Cluster, moment: Option<Stamp>, now: Stamp) -> Self {
        if let Some(since) = moment {
            return Self { now, since, rollouts: Vec::new() };
        }
        let changes = cluster.derived.changes.iter();
        let recent = changes.filter(|change| {
            matches!(change.kind, ChangeKind::Rollout { .. }) && now.secs_since(change.at) <= ROLLOUT_SECS
        });
        let rollouts = recent.map(|c| (format!("{}/{}", c.object.namespace, c.object.name), c.at)).collect();
        let recently = i64::try_from(NEW_SECS).unwrap_or(0);
        // a group that is exactly so old is not new
        Self { now, since: Stamp(now.plus_secs(-recently).0.saturating_add(1)), rollouts }
    }

    /// Whether the group is new and still occurs.
    pub fn has(&self, group: &ErrorGroup) -> bool {
        let after_a_rollout = || {
            self.rollouts
                .iter()
                .any(|(name, at)| group.first >= *at && group.workloads.iter().any(|of| of == name.as_str()))
        };
        (group.first >= self.since || after_a_rollout()) && !group.has_stopped(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_is_what_was_first_seen_recently_or_since_a_moment() {
        let now = Stamp::from_secs(10_000);
        let group = |ago: i64| ErrorGroup {
            first: now.plus_secs(-ago),
            last: now,
            count: 9,
            workloads: ["shop/web".into()].into(),
            ..ErrorGroup::default()
        };
        let cluster = Cluster::default();
        let usual = Novelty::of(&cluster, None, now);
        assert_eq!([599, 600, 700].map(|ago| usual.has(&group(ago))), [true, false, false]);
        let chosen = Novelty::of(&cluster, Some(now.plus_secs(-30)), now);
        assert_eq!([29, 30, 31].map(|ago| chosen.has(&group(ago))), [true, true, false]);
        let rollouts = vec![("shop/web".to_owned(), now.plus_secs(-800))];
        let after = Novelty { rollouts, ..usual };
        assert_eq!([700, 801].map(|ago| after.has(&group(ago))), [true, false]);
    }
}
