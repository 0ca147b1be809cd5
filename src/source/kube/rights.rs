//! Our permissions to change objects, read once, so that the screen can say that there are none, and dim the keys of
//! actions that would be refused. Nothing is decided by them: each plan checks the permissions that it needs.

use std::collections::BTreeSet;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::kinds::{KINDS, Purpose};
use pilothouse_core::facts::event::Right;

use crate::wire::client::{ReadClient, Rule};

/// Maximum number of namespaces that are checked; with more of them, the permissions are not known.
const MOST: usize = 30;

/// The purposes of a permission: those of the table of kinds.
fn purposes(right: Right) -> &'static [Purpose] {
    match right {
        Right::Nodes => &[Purpose::Cordon],
        Right::Evictions => &[Purpose::Evict, Purpose::Delete],
        Right::Pods => &[Purpose::Rotation],
        Right::Workloads => &[Purpose::Restart],
        Right::Scales => &[Purpose::Scale],
        Right::Autoscalers => &[Purpose::Bounds],
    }
}

/// The permissions of which one must be granted, as (verb, group, resource).
fn needed(right: Right) -> impl Iterator<Item = (&'static str, &'static str, String)> {
    let infos = KINDS.iter().filter_map(Kind::info);
    infos.flat_map(move |info| {
        let needs = info.needs.iter().filter(move |need| purposes(right).contains(&need.purpose));
        needs.flat_map(move |need| {
            let changing = need.verbs.iter().filter(|verb| !matches!(**verb, "get" | "list" | "watch"));
            changing.map(move |verb| (*verb, info.group, need.of(info.plural)))
        })
    })
}

/// The permissions that rules grant.
fn given(rules: &[Rule]) -> BTreeSet<Right> {
    let any = |texts: &[String], wanted: &str| texts.iter().any(|t| t == "*" || t == wanted);
    let allows = |(verb, group, resource): (&str, &str, String)| {
        // as in RBAC, `*/scale` is that subresource of all resources
        let of_all = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        rules.iter().any(|r| {
            let resources =
                any(&r.resources, &resource) || of_all.iter().any(|all| r.resources.contains(all));
            any(&r.verbs, verb) && any(&r.api_groups, group) && resources
        })
    };
    Right::ALL.into_iter().filter(|right| needed(*right).any(allows)).collect()
}

/// The permissions to change objects in any of these namespaces, or nodes; None: they cannot be read. If the first
/// answer grants everything, no more requests are sent.
pub(super) async fn ask(client: &ReadClient, namespaces: &[Name]) -> Option<BTreeSet<Right>> {
    if namespaces.is_empty() || namespaces.len() > MOST {
        // one answer tells whether more requests are needed
        let rules = client.rules(namespaces.first().map_or("default", Name::as_str)).await.ok()?;
        return Some(given(&rules.resource_rules)).filter(|all| all.len() == Right::ALL.len());
    }
    let mut all = BTreeSet::new();
    for namespace in namespaces {
        let rules = client.rules(namespace).await.ok()?;
        all.extend(given(&rules.resource_rules));
        if all.len() == Right::ALL.len() {
            break;
        }
        if rules.incomplete {
            return None;
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Rule {
        let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Rule { verbs: own(verbs), api_groups: own(groups), resources: own(resources), ..Rule::default() }
    }

    #[test]
    fn rights_follow_from_rules() {
        let viewer = [rule(&["get", "list", "watch"], &["*"], &["*"])];
        let admin = [rule(&["*"], &["*"], &["*"])];
        let scaler = [rule(&["patch"], &["apps"], &["deployments/scale"]), rule(&["get"], &[""], &["nodes"])];
        let evicts = [rule(&["create"], &[""], &["pods/eviction"]), rule(&["patch"], &[""], &["nodes"])];
        for (rules, rights) in [
            (&viewer[..], &[][..]),
            (&admin, &Right::ALL),
            (&scaler, &[Right::Scales]),
            (&evicts, &[Right::Nodes, Right::Evictions]),
        ] {
            assert_eq!(given(rules), rights.iter().copied().collect(), "{rules:?}");
        }
        // a rule for one object by name still grants the permission somewhere
        let named =
            Rule { resource_names: vec!["web".into()], ..rule(&["patch"], &["apps"], &["deployments"]) };
        assert!(given(&[named]).contains(&Right::Workloads));
    }
}
