//! Which commands can be allowed at all, by what is known before anything is sent.

use pilothouse_core::facts::event::Right;
use pilothouse_core::facts::world::Cluster;

use super::{Cmd, Risk, of};

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
    match cmd {
        Cmd::Drain => has(Right::Nodes) && has(Right::Evictions),
        Cmd::Cordon | Cmd::OutOfService => has(Right::Nodes),
        Cmd::Restart | Cmd::Rollback | Cmd::PauseRollout => has(Right::Workloads),
        Cmd::Scale => has(Right::Scales),
        Cmd::Bounds => has(Right::Autoscalers),
        Cmd::Evict => has(Right::Evictions),
        Cmd::Rotation => has(Right::Pods),
        _ => !may.is_empty(),
    }
}

/// Opens a plan; stopping and dismissing send nothing by themselves.
fn is_change(cmd: Cmd) -> bool {
    let opens = of(cmd).is_some_and(|c| c.risk == Risk::Rehearsed);
    opens && !matches!(cmd, Cmd::PauseAction | Cmd::Undo)
}
