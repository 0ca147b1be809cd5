//! Identifies the cluster that an action belongs to. A context's name is not enough, because it can mean another
//! cluster in another kubeconfig, or later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::plan::{Act, Confirm, Plan, Warning};
use serde::{Deserialize, Serialize};

use super::cluster::PlanClients;
use super::journal::Journal;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    Same,
    /// The UID is the same, and the address is not. The cluster got another address, or is a copy of the action's
    /// cluster, for example restored from its backup. Only the user can know which.
    Moved,
    /// The address is the same, and there is no UID to compare.
    ByAddress,
    Another,
}

/// The result of comparing all clusters of an action, if none of them is another one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recognized {
    pub warnings: Vec<Warning>,
    /// The new addresses of clusters, separated by spaces. It is empty if no address has changed.
    pub moved_to: String,
}

impl Recognized {
    /// Adds the warnings to a plan. If an address has changed, the plan asks for the new one.
    pub fn warn(self, plan: &mut Plan) {
        plan.warnings.extend(self.warnings);
        if !self.moved_to.is_empty() {
            plan.confirm = Confirm::Server;
            plan.answer = self.moved_to;
        }
    }
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
    pub fn compare(&self, now: &Self) -> Compared {
        let known = !self.uid.is_empty() && !now.uid.is_empty();
        match (known, self.uid == now.uid, self.server == now.server) {
            (true, true, true) => Compared::Same,
            (true, true, false) => Compared::Moved,
            (false, _, true) => Compared::ByAddress,
            (true, false, _) | (false, _, false) => Compared::Another,
        }
    }

    /// Returns the server's URL without its scheme, which is short enough to type.
    fn address(&self) -> &str {
        self.server
            .split_once("://")
            .map_or(self.server.as_str(), |(_, address)| address)
            .trim_end_matches('/')
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

/// Returns the action that this one resumes or undoes. `follows` is the action that it resumes.
pub fn followed<'a>(act: &'a Act, follows: Option<&'a Name>) -> Option<&'a Name> {
    match (follows, act) {
        (Some(id), _) => Some(id),
        (None, Act::Undo(sequel) | Act::Resume(sequel)) => Some(&sequel.of),
        (None, _) => None,
    }
}

/// Compares the clusters of an action in the journal with `now`. Returns an error if a cluster is another one.
pub fn compare(then: &Clusters, now: &Clusters, own: &Name) -> Result<Recognized, String> {
    let mut found = Recognized::default();
    for (name, here) in now {
        let context = if name.is_empty() { own.clone() } else { name.clone() };
        let address = here.address().to_owned();
        let Some(was) = then.get(name) else {
            let now = here.to_string();
            found.warnings.push(Warning::ClusterUnrecorded { context, now });
            continue;
        };
        match was.compare(here) {
            Compared::Same => {}
            Compared::ByAddress => found.warnings.push(Warning::ClusterByAddress { context, now: address }),
            Compared::Moved => {
                let gap = if found.moved_to.is_empty() { "" } else { " " };
                found.moved_to.push_str(&format!("{gap}{address}"));
                let then = was.address().to_owned();
                found.warnings.push(Warning::ClusterMoved { context, now: address, then });
            }
            Compared::Another => {
                return Err(format!(
                    "context {context} is another cluster now, {here}; the action was done in {was}: nothing was sent; use the kubeconfig of that cluster"
                ));
            }
        }
    }
    Ok(found)
}

/// Compares the clusters of an action that is read from the journals by its ID.
pub async fn same(journal: &Journal, id: &Name, now: &Clusters, own: &Name) -> Result<Recognized, String> {
    let (journal, of) = (journal.clone(), id.clone());
    let read = move || {
        let (chapters, _) = journal.chapters();
        chapters.into_iter().flat_map(|c| c.actions).find(|a| a.id == of).map(|a| a.clusters)
    };
    let then = tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())?;
    // an action of this session whose record is only in memory
    then.map_or_else(|| Ok(Recognized::default()), |then| compare(&then, now, own))
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::ClusterId;
    use pilothouse_core::domain::plan::Intent;
    use pilothouse_core::domain::time::Stamp;

    use super::*;

    fn of(server: &str, uid: &str) -> Identity {
        Identity { server: server.into(), uid: uid.into() }
    }

    #[test]
    fn a_cluster_is_known_by_the_uid_of_kube_system_and_else_by_its_url() {
        for (then, now, found) in [
            (of("a", "1"), of("a", "1"), Compared::Same),
            (of("a", "1"), of("b", "1"), Compared::Moved),
            (of("a", "1"), of("a", "2"), Compared::Another),
            (of("a", ""), of("a", "2"), Compared::ByAddress),
            (of("a", "1"), of("a", ""), Compared::ByAddress),
            (of("a", "1"), of("b", ""), Compared::Another),
            (of("a", ""), of("b", ""), Compared::Another),
        ] {
            assert_eq!(then.compare(&now), found, "{then} {now}");
        }
        let now: Clusters = [(Name::default(), of("a", "1"))].into();
        let older = compare(&Clusters::new(), &now, &"x".into()).unwrap();
        assert_eq!((older.warnings.len(), older.moved_to.as_str()), (1, ""), "an older record: a warning");
        assert!(compare(&[(Name::default(), of("a", "2"))].into(), &now, &"x".into()).is_err());
    }

    #[test]
    fn another_address_of_the_same_uid_has_to_be_typed() {
        let clusters = |own: &str, standby: &str| -> Clusters {
            [(Name::default(), of(own, "1")), ("standby".into(), of(standby, "2"))].into()
        };
        let then = clusters("https://10.0.0.1:6443", "https://s");
        for (now, answer) in [
            (clusters("https://10.0.0.1:6443", "https://s"), "y"),
            (clusters("https://10.0.0.2:6443", "https://s"), "10.0.0.2:6443"),
            (clusters("https://10.0.0.1:6443", "https://r/k8s/c-1/"), "r/k8s/c-1"),
            (clusters("https://b", "https://c"), "b c"),
        ] {
            let intent =
                Intent { cluster: ClusterId(0), context: "x".into(), act: Act::Cordon, targets: vec![] };
            let mut plan = Plan { answer: "y".into(), ..Plan::new(intent, Stamp(0)) };
            compare(&then, &now, &"x".into()).unwrap().warn(&mut plan);
            assert_eq!(plan.answer, answer);
            assert_eq!(plan.confirm == Confirm::Server, answer != "y");
            assert_eq!(plan.warnings.is_empty(), answer == "y");
        }
    }
}
