//! Which commands can be permitted, according to the rights that are known before a request is sent.

use pilothouse_core::domain::kinds::Purpose;
use pilothouse_core::facts::event::Right;
use pilothouse_core::facts::world::Cluster;

use super::{Cmd, Risk, of};

/// Returns the purpose for which a command needs rights on its object.
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

/// Whether a command can be permitted, according to what is known in advance. It is not permitted in a read-only
/// console or if the user has no right of its kind. An unknown right counts as permitted, because the rehearsal
/// checks it.
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

/// Whether a command opens a plan. Canceling and dismissing an action send no request themselves.
fn is_change(cmd: Cmd) -> bool {
    let opens = of(cmd).is_some_and(|c| c.risk == Risk::Rehearsed);
    opens && !matches!(cmd, Cmd::PauseAction | Cmd::Undo)
}
