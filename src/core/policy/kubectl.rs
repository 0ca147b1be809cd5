//! Arguments of kubectl commands that the user can paste into a shell.

use crate::facts::world::Cluster;

/// A kubectl command for a cluster: with its context, or with its address if none of the user's kubeconfigs has the
/// context.
pub fn kubectl_in(cluster: &Cluster, context: &str, words: &str) -> String {
    if cluster.info.by_address {
        return format!("kubectl --server {} {words}", quote(&cluster.info.server));
    }
    format!("kubectl --context {} {words}", quote(context))
}

/// An argument for a shell, quoted unless it is plain.
pub fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@=,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
