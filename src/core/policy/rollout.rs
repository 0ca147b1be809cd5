//! The state of a rollout, with the criteria and the messages of `kubectl rollout status`.

use crate::domain::id::Kind;
use crate::domain::node::Status;
use crate::domain::workload::{Rollout, RolloutPhase, Strategy, Workload};

/// Judges the rollout of one workload.
pub fn judge(w: &Workload) -> Rollout {
    match w.kind {
        Kind::Deployment => deployment(w),
        Kind::DaemonSet => daemon_set(w),
        Kind::StatefulSet => stateful_set(w),
        _ => Rollout::new(RolloutPhase::NotApplicable, ""),
    }
}

fn unobserved() -> Rollout {
    Rollout::new(RolloutPhase::Progressing, "waiting for the spec update to be observed")
}

fn deployment(w: &Workload) -> Rollout {
    if w.generation > w.observed_generation {
        return unobserved();
    }
    if let Some(condition) = w.condition("Progressing")
        && condition.reason == "ProgressDeadlineExceeded"
        && condition.status == Status::False
    {
        return Rollout {
            phase: RolloutPhase::Stuck,
            why: format!(
                "exceeded its progress deadline: {} of {} updated replicas are available",
                available_new(w),
                w.desired
            ),
            since: condition.since,
        };
    }
    if w.updated < w.desired {
        let phase = if w.paused { RolloutPhase::Paused } else { RolloutPhase::Progressing };
        return Rollout::new(phase, format!("{} of {} new replicas have been updated", w.updated, w.desired));
    }
    if w.current > w.updated {
        return Rollout::new(
            RolloutPhase::Progressing,
            format!("{} old replicas are pending termination", w.current - w.updated),
        );
    }
    if w.available < w.updated {
        return Rollout::new(
            RolloutPhase::Progressing,
            format!("{} of {} updated replicas are available", w.available, w.updated),
        );
    }
    if w.paused {
        return Rollout::new(RolloutPhase::Paused, "paused");
    }
    Rollout::default()
}

fn available_new(w: &Workload) -> i32 {
    // status.availableReplicas counts old and new pods together. At most the updated ones are new.
    w.available.min(w.updated)
}

fn daemon_set(w: &Workload) -> Rollout {
    if w.strategy == Strategy::OnDelete {
        return on_delete(w);
    }
    if w.generation > w.observed_generation {
        return unobserved();
    }
    if w.updated < w.desired {
        return Rollout::new(
            RolloutPhase::Progressing,
            format!("{} out of {} new pods have been updated", w.updated, w.desired),
        );
    }
    if w.available < w.desired {
        return Rollout::new(
            RolloutPhase::Progressing,
            format!("{} of {} updated pods are available", w.available, w.desired),
        );
    }
    Rollout::default()
}

fn stateful_set(w: &Workload) -> Rollout {
    if w.strategy == Strategy::OnDelete {
        return on_delete(w);
    }
    if w.observed_generation == 0 || w.generation > w.observed_generation {
        return unobserved();
    }
    if w.ready < w.replicas {
        return Rollout::new(
            RolloutPhase::Progressing,
            format!("waiting for {} pods to be ready", w.replicas - w.ready),
        );
    }
    if let Some(partition) = w.partition {
        let wanted = w.replicas - partition;
        if w.updated < wanted {
            return Rollout::new(
                RolloutPhase::Progressing,
                format!("{} out of {wanted} new pods have been updated", w.updated),
            );
        }
        if partition > 0 {
            return Rollout::new(
                RolloutPhase::Complete,
                format!("partitioned roll out complete: {} new pods have been updated", w.updated),
            );
        }
        return Rollout::default();
    }
    if w.update_revision != w.current_revision {
        return Rollout::new(RolloutPhase::Progressing, format!("{} pods at the new revision", w.updated));
    }
    Rollout::default()
}

fn on_delete(w: &Workload) -> Rollout {
    let old = w.desired - w.updated;
    let why = if old > 0 {
        format!("OnDelete: {old} pods still run the old template until they are deleted")
    } else {
        "OnDelete".into()
    };
    Rollout::new(RolloutPhase::NotApplicable, why)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::node::Condition;
    use crate::domain::time::Stamp;

    fn healthy(kind: Kind) -> Workload {
        Workload {
            kind,
            generation: 2,
            observed_generation: 2,
            replicas: 3,
            desired: 3,
            current: 3,
            updated: 3,
            ready: 3,
            available: 3,
            ..Workload::default()
        }
    }

    #[test]
    fn in_kubectls_order() {
        let w = healthy(Kind::Deployment);
        assert_eq!(judge(&w).phase, RolloutPhase::Complete);
        let mut late = w.clone();
        late.observed_generation = 1;
        assert_eq!(judge(&late).phase, RolloutPhase::Progressing);
        for (edit, want) in [
            (
                (|w: &mut Workload| w.updated = 1) as fn(&mut Workload),
                "1 of 3 new replicas have been updated",
            ),
            (|w| w.current = 5, "2 old replicas are pending termination"),
            (|w| w.available = 2, "2 of 3 updated replicas are available"),
        ] {
            let mut w = w.clone();
            edit(&mut w);
            assert_eq!(judge(&w).why, want);
        }
    }

    #[test]
    fn stuck_is_what_the_condition_says() {
        let mut w = healthy(Kind::Deployment);
        w.updated = 1;
        w.conditions = Arc::from([Condition {
            kind: "Progressing".into(),
            status: Status::False,
            reason: "ProgressDeadlineExceeded".into(),
            message: "".into(),
            since: Some(Stamp(5)),
        }]);
        assert_eq!(judge(&w).phase, RolloutPhase::Stuck);
        assert_eq!(judge(&w).since, Some(Stamp(5)));
    }

    #[test]
    fn a_partition_ends_early_and_on_delete_claims_nothing() {
        let mut w = healthy(Kind::StatefulSet);
        w.partition = Some(2);
        w.updated = 1;
        assert_eq!(judge(&w).phase, RolloutPhase::Complete);
        w.partition = None;
        w.update_revision = "b".into();
        assert_eq!(judge(&w).phase, RolloutPhase::Progressing);
        w.strategy = Strategy::OnDelete;
        w.updated = 0;
        assert_eq!(judge(&w).phase, RolloutPhase::NotApplicable);
        assert!(judge(&w).why.contains("3 pods still run the old template"));
    }
}
