//! Which commands can be permitted, according to the rights that are known before a request is sent.

use pilothouse_core::facts::world::Cluster;

use super::{ChangeCmd, Cmd, of};

/// Whether a command can be permitted, according to what is known in advance. It is not permitted in a read-only
/// console or if the user has no right of its kind. An unknown right counts as permitted, because the rehearsal
/// checks it.
pub fn permitted(cluster: &Cluster, cmd: Cmd) -> bool {
    // stopping and dismissing send nothing by themselves
    if matches!(cmd, Cmd::Change(ChangeCmd::PauseAction | ChangeCmd::Undo)) {
        return true;
    }
    let Some(on) = of(cmd).and_then(|command| command.on) else { return true };
    if cluster.info.read_only {
        return false;
    }
    // an Alertmanager with a URL needs no right of the cluster
    if cmd == Cmd::Change(ChangeCmd::SilenceAlerts) {
        return true;
    }
    let Some(may) = &cluster.identity.may else { return true };
    if on.rights.is_empty() { !may.is_empty() } else { on.rights.iter().all(|right| may.contains(right)) }
}
