//! Selects nodes by name, by pool label or by zone.

use std::collections::{BTreeSet, HashSet};

use crate::domain::failover::Pick;
use crate::domain::id::{Name, ObjectRef};
use crate::domain::node::Node;
use crate::facts::world::Cluster;

fn takes(pick: &Pick, node: &Node) -> bool {
    match pick {
        Pick::Nodes(names) => names.contains(&node.name),
        Pick::Pool(pool) => node.pool.as_ref() == Some(pool),
        Pick::Zone(zone) => node.zone.as_ref() == Some(zone),
    }
}

/// Returns the selected nodes, ordered by name. A name without a node is left out, so compare the numbers if that
/// matters.
pub fn nodes_of(cluster: &Cluster, pick: &Pick) -> Vec<ObjectRef> {
    let mut found: Vec<ObjectRef> =
        cluster.nodes.iter().filter(|n| takes(pick, n)).map(|n| n.reference(cluster.id())).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Returns true if the nodes include all nodes of a zone. A drain of a whole zone asks for the context's name.
pub fn empties_zone(cluster: &Cluster, nodes: &[Name]) -> bool {
    let taken: HashSet<&Name> = nodes.iter().collect();
    let mut touched: BTreeSet<&Name> = BTreeSet::new();
    let mut kept: BTreeSet<&Name> = BTreeSet::new();
    for node in cluster.nodes.iter() {
        if let Some(zone) = &node.zone {
            if taken.contains(&node.name) {
                touched.insert(zone)
            } else {
                kept.insert(zone)
            };
        }
    }
    touched.iter().any(|zone| !kept.contains(zone))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::id::Uid;
    use crate::domain::time::Stamp;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::state::ClusterState;

    fn cluster() -> Arc<Cluster> {
        let node = |name: &str, zone: Option<&str>, pool: &str| Node {
            uid: Uid::parse(name),
            name: name.into(),
            zone: zone.map(Name::from),
            pool: Some(pool.into()),
            ..Node::default()
        };
        let mut state = ClusterState::new(ClusterInfo::default());
        let nodes = vec![
            node("n3", Some("b"), "big"),
            node("n1", Some("a"), "big"),
            node("n2", Some("a"), "small"),
            node("n4", None, "small"),
        ];
        state.apply(Fact::Nodes(Batch::Upsert(nodes)), Stamp(0));
        state.publish(Stamp(0), false).unwrap()
    }

    #[test]
    fn nodes_by_name_pool_and_zone() {
        let c = cluster();
        let names =
            |pick: &Pick| -> Vec<String> { nodes_of(&c, pick).iter().map(|n| n.name.to_string()).collect() };
        assert_eq!(names(&Pick::Nodes(vec!["n2".into(), "n1".into(), "gone".into()])), ["n1", "n2"]);
        assert_eq!(names(&Pick::Pool("big".into())), ["n1", "n3"]);
        assert_eq!(names(&Pick::Zone("a".into())), ["n1", "n2"]);
        assert_eq!(nodes_of(&c, &Pick::Zone("b".into()))[0].uid, Uid::parse("n3"));
    }

    #[test]
    fn a_whole_zone_is_told_from_a_part() {
        let c = cluster();
        let empties =
            |names: &[&str]| empties_zone(&c, &names.iter().map(|n| Name::from(*n)).collect::<Vec<_>>());
        assert!(!empties(&["n1"]) && empties(&["n1", "n2"]) && empties(&["n3"]));
        assert!(!empties(&["n4"]), "no zone is known of it");
    }
}
