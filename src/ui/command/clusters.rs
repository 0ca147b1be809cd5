//! The commands for several clusters. None of them changes a cluster.

use super::super::list::ListId;
use super::{Cmd, Command, Context, look, open};
use Context::{Backends, Clusters, Now, Traffic};

/// All of them.
pub(super) const CLUSTERS: &[Command] = &[
    open(
        ListId::Clusters,
        "clusters",
        "clusters",
        "list the clusters with their state: type to filter, enter opens one or brings it to the front",
        &["ctrl-t"],
        0,
    ),
    look(
        Cmd::CloseCluster,
        "close-cluster",
        "close",
        "close the cluster: its sources stop, and nothing of it is kept; the cluster itself is not changed",
        &[Clusters],
        &["ctrl-x"],
        2,
    ),
    look(
        Cmd::AllClusters,
        "all-clusters",
        "all clusters",
        "show the findings and changes of all open clusters, or only those of the one in front",
        &[Now],
        &["t"],
        3,
    ),
    look(
        Cmd::Compare,
        "compare-clusters",
        "compare clusters",
        "compare the service in all open clusters: versions, replicas, requests, errors",
        &[Traffic, Backends],
        &["a"],
        1,
    ),
];
