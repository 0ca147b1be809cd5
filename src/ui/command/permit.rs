//! Which commands can be allowed at all, by what is known before anything is sent.

use pilothouse_core::domain::kinds::Purpose;
use pilothouse_core::facts::event::Right;
use pilothouse_core::facts::world::Cluster;

use super::{Cmd, Risk, of};

/// What a command needs rights for, on the object that it acts on.
pub fn purpose(cmd: Cmd) -> Option<Purpose> {
    match cmd {
        Cmd::Drain | Cmd::Cordon | Cmd::OutOfService => Some(Purpose::Cordon),
        Cmd::Restart | Cmd::Rollback | Cmd::PauseRollout => Some(Purpose::Restart),
        Cmd::Scale => Some(Purpose::Scale),
        Cmd::Bounds => Some(Purpose::Bounds),
        Cmd::Evict => Some(Purpose::Evict),
        Cmd::Rotation => Some(Purpose::Rotation),
        _ => None,
    }
}

/// Whether a command's requests can be allowed at all, by what is known beforehand: not in a read-only console, and not
/// without any right of its kind. Not known counts as allowed: the rehearsal asks.
pub fn permitted(cluster: &Cluster, cmd: Cmd) -> bool {
    if !is_change(cmd) {
        return true;
    }
    if cluster.info.read_only {
        return false;
    }
    let Some(may) = &cluster.identity.may else { return true };
    let has = |right| may.contains(&right);
    match purpose(cmd) {
        Some(Purpose::Cordon) => has(Right::Nodes) && (cmd != Cmd::Drain || has(Right::Evictions)),
        Some(Purpose::Restart) => has(Right::Workloads),
        Some(Purpose::Scale) => has(Right::Scales),
        Some(Purpose::Bounds) => has(Right::Autoscalers),
        Some(Purpose::Evict) => has(Right::Evictions),
        Some(Purpose::Rotation) => has(Right::Pods),
        _ => !may.is_empty(),
    }
}

/// Opens a plan; stopping and dismissing send nothing by themselves.
fn is_change(cmd: Cmd) -> bool {
    let opens = of(cmd).is_some_and(|c| c.risk == Risk::Rehearsed);
    opens && !matches!(cmd, Cmd::PauseAction | Cmd::Undo)
}
