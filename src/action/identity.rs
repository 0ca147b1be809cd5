//! Identifies the cluster that an action belongs to. A context's name is not enough, because it can mean another
//! cluster in another kubeconfig, or later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::plan::{Act, Plan};
use serde::{Deserialize, Serialize};

use super::cluster::PlanClients;
use super::journal::{Follows, Journal};
use super::list_path::ListPath;
use crate::wire::client::ReadClient;

/// The cluster of each context that an action uses. "" stands for the action's own context.
pub type Clusters = BTreeMap<Name, Identity>;

/// The timeout for the requests that identify a cluster.
const DEADLINE: Duration = Duration::from_secs(3);
/// The namespace whose UID identifies a cluster. It exists in every cluster for the cluster's whole lifetime.
const NAMESPACE: &str = "kube-system";

/// The values that identify a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The API server's URL without credentials.
    pub server: String,
    /// The UID of the namespace kube-system. It is empty if the namespace cannot be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.uid.as_str() {
            "" => f.write_str(&self.server),
            uid => write!(f, "{} (kube-system {uid})", self.server),
        }
    }
}

/// The comparison of a context's cluster with the cluster of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    Same,
    /// The cluster is the same. Contains a note for the user.
    Noted(String),
    Another(String),
}

impl Identity {
    /// Reads the identity from the cluster.
    pub async fn of(reader: &ReadClient) -> Self {
        let path = format!("{}/{NAMESPACE}", ListPath::of(&Kind::Namespace, ""));
        let uid = match reader.with_deadline(DEADLINE).get_json::<serde_json::Value>(&path).await {
            Ok(found) => found.pointer("/metadata/uid").and_then(|u| u.as_str()).unwrap_or_default().into(),
            Err(error) => {
                tracing::debug!(%error, "the namespace kube-system cannot be read");
                String::new()
            }
        };
        Self { server: reader.server().to_owned(), uid }
    }

    /// Compares the identity in the journal (`self`) with the identity of the context's current cluster (`now`).
    pub fn compare(&self, context: &str, now: &Self) -> Compared {
        let known = !self.uid.is_empty() && !now.uid.is_empty();
        let (one_uid, one_server) = (self.uid == now.uid, self.server == now.server);
        match (known, one_uid, one_server) {
            (true, true, true) => Compared::Same,
            (true, true, false) => Compared::Noted(format!(
                "context {context} is at {} now; it was at {}: the same cluster by the UID of its namespace kube-system",
                now.server, self.server
            )),
            (false, _, true) => Compared::Noted(format!(
                "context {context}: the namespace kube-system cannot be read, so the cluster is known by its URL only, {}",
                now.server
            )),
            (true, false, _) | (false, _, false) => Compared::Another(format!(
                "context {context} is another cluster now, {now}; the action was done in {self}: nothing was sent; use the kubeconfig of that cluster"
            )),
        }
    }
}

/// Returns the identities of the action's own cluster and of the contexts in the plan's steps.
pub async fn clusters(reach: &PlanClients, plan: &Plan) -> Clusters {
    let contexts: BTreeSet<&Name> = plan.steps.iter().map(|s| &s.context).filter(|c| !c.is_empty()).collect();
    let others = contexts.into_iter().filter_map(|c| Some((c.clone(), reach.of(c)?)));
    let all = others.chain([(Name::default(), &reach.own)]);
    let asked = all.map(|(context, clients)| async move { (context, Identity::of(&clients.reader).await) });
    futures::future::join_all(asked).await.into_iter().collect()
}

/// Returns the action that this one resumes or undoes.
pub fn followed<'a>(act: &'a Act, follows: Option<&'a Follows>) -> Option<&'a Name> {
    match (follows, act) {
        (Some(follows), _) => Some(&follows.id),
        (None, Act::Undo(sequel) | Act::Resume(sequel)) => Some(&sequel.of),
        (None, _) => None,
    }
}

/// Compares the clusters of an action in the journal with `now`. Returns notes for the user, or an error if a cluster
/// is another one.
pub fn compare(then: &Clusters, now: &Clusters, own: &str) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    for (context, here) in now {
        let name = if context.is_empty() { own } else { context };
        match then.get(context).map(|was| was.compare(name, here)) {
            Some(Compared::Same) => {}
            Some(Compared::Noted(note)) => notes.push(note),
            Some(Compared::Another(why)) => return Err(why),
            None => notes.push(format!(
                "context {name}: the record does not say which cluster it was; it is {here} now"
            )),
        }
    }
    Ok(notes)
}

/// Compares the clusters of an action that is read from the journals by its ID.
pub async fn same(journal: &Journal, id: &Name, now: &Clusters, own: &str) -> Result<Vec<String>, String> {
    let (journal, of) = (journal.clone(), id.clone());
    let read = move || {
        let (chapters, _) = journal.chapters();
        chapters.into_iter().flat_map(|c| c.actions).find(|a| a.id == of).map(|a| a.clusters)
    };
    let then = tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())?;
    // an action of this session whose record is only in memory
    then.map_or_else(|| Ok(Vec::new()), |then| compare(&then, now, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_known_by_the_uid_of_kube_system_and_else_by_its_url() {
        let of = |server: &str, uid: &str| Identity { server: server.into(), uid: uid.into() };
        for (then, now, same) in [
            (of("a", "1"), of("a", "1"), true),
            (of("a", "1"), of("b", "1"), true),
            (of("a", "1"), of("a", "2"), false),
            (of("a", ""), of("a", "2"), true),
            (of("a", "1"), of("b", ""), false),
            (of("a", ""), of("b", ""), false),
        ] {
            let found = then.compare("x", &now);
            assert_eq!(!matches!(found, Compared::Another(_)), same, "{then} {now}");
            assert_eq!(found == Compared::Same, then == now && !then.uid.is_empty(), "{then} {now}");
        }
        let now: Clusters = [(Name::default(), of("a", "1"))].into();
        assert_eq!(compare(&Clusters::new(), &now, "x").map(|n| n.len()), Ok(1), "an older record: a note");
        assert!(compare(&[(Name::default(), of("a", "2"))].into(), &now, "x").is_err());
    }
}
