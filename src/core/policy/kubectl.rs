//! Builds kubectl commands that a user can paste into a shell.

use crate::facts::world::Cluster;

/// Returns a kubectl command for a cluster. It names the context, or the server's address if none of the user's
/// kubeconfigs has the context.
pub fn kubectl_in(cluster: &Cluster, context: &str, words: &str) -> String {
    if cluster.info.by_address {
        return format!("kubectl --server {} {words}", quote(&cluster.info.server));
    }
    format!("kubectl --context {} {words}", quote(context))
}

/// Returns an argument for a shell. It is quoted if it has special characters.
pub fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@=,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
