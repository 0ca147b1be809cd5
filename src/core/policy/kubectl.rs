//! Builds commands that a user can paste into a shell.

use crate::facts::world::Cluster;

/// Returns a kubectl command for a cluster. It names the context, or the server's address if none of the user's
/// kubeconfigs has the context.
pub fn kubectl_in(cluster: &Cluster, context: &str, words: &str) -> String {
    format!("kubectl {} {words}", place(cluster, context))
}

/// Returns a command of Pilothouse for a cluster, which it names in the same way.
pub fn pilothouse_in(cluster: &Cluster, context: &str, words: &str) -> String {
    format!("pilothouse {words} {}", place(cluster, context))
}

fn place(cluster: &Cluster, context: &str) -> String {
    if cluster.info.by_address {
        return format!("--server {}", quote(&cluster.info.server));
    }
    format!("--context {}", quote(context))
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
