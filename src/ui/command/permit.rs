//! Which commands can be allowed at all, by what is known before anything is sent.

use pilothouse_core::facts::world::Cluster;

use super::{ChangeCmd, Cmd, of};

/// Whether a command's requests can be allowed at all, by what is known beforehand: not in a read-only console, and not
/// without any right of its kind. Not known counts as allowed: the rehearsal asks.
pub fn permitted(cluster: &Cluster, cmd: Cmd) -> bool {
    // stopping and dismissing send nothing by themselves
    if matches!(cmd, Cmd::Change(ChangeCmd::PauseAction | ChangeCmd::Undo)) {
        return true;
    }
    let Some(on) = of(cmd).and_then(|command| command.on) else { return true };
    if cluster.info.read_only {
        return false;
    }
    let Some(may) = &cluster.identity.may else { return true };
    if on.rights.is_empty() { !may.is_empty() } else { on.rights.iter().all(|right| may.contains(right)) }
}
