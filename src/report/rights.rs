//! The permissions that Pilothouse uses, from the table of kinds. `doctor` checks them, the README lists them, and
//! `pilothouse rbac` prints roles with them.

use std::collections::BTreeMap;

use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::kinds::{KINDS, KindInfo, Need, Purpose, Watched};

use crate::cli::rbac::Role;

/// One permission, with all its purposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    pub info: &'static KindInfo,
    pub verb: &'static str,
    pub subresource: &'static str,
    pub purposes: Vec<Purpose>,
}

impl Right {
    /// Returns the namespace to check the permission in. `wanted` is the user's namespace, or "" for all.
    pub fn namespace<'a>(&self, wanted: &'a str) -> &'a str {
        match self.info.watched {
            Watched::In(namespace) => namespace,
            _ if self.info.namespaced => wanted,
            _ => "",
        }
    }

    /// Formats the permission as `patch deployments/scale.apps`, the form that access reviews use too.
    pub fn words(&self) -> String {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        let dot = if self.info.group.is_empty() { "" } else { "." };
        format!("{} {}{slash}{}{dot}{}", self.verb, self.info.plural, self.subresource, self.info.group)
    }

    pub fn is_reading(&self) -> bool {
        self.purposes.iter().any(|purpose| purpose.is_reading())
    }
}

fn needs() -> impl Iterator<Item = (&'static KindInfo, &'static Need)> {
    KINDS.iter().filter_map(Kind::info).flat_map(|info| info.needs.iter().map(move |need| (info, need)))
}

/// Returns every permission that Pilothouse uses, each once. Permissions to read come first.
pub fn all() -> Vec<Right> {
    let mut rights: Vec<Right> = Vec::new();
    for (info, need) in needs() {
        for verb in need.verbs {
            let is_it = |r: &Right| r.verb == *verb && r.info == info && r.subresource == need.subresource;
            match rights.iter_mut().find(|r| is_it(r)) {
                Some(right) => right.purposes.push(need.purpose),
                None => rights.push(Right {
                    info,
                    verb,
                    subresource: need.subresource,
                    purposes: vec![need.purpose],
                }),
            }
        }
    }
    rights.sort_by_key(|right| right.purposes.iter().min().copied());
    rights
}

/// Groups values by key, in the order of the input.
fn grouped<K: PartialEq, V>(items: impl Iterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut groups: Vec<(K, Vec<V>)> = Vec::new();
    for (key, value) in items {
        match groups.iter_mut().find(|(has, _)| *has == key) {
            Some((_, values)) => values.push(value),
            None => groups.push((key, vec![value])),
        }
    }
    groups
}

/// Returns the README's table, with one line for each purpose.
pub fn markdown() -> String {
    let mut lines = vec!["| to | these permissions |".to_owned(), "|---|---|".to_owned()];
    for purpose in Purpose::ALL {
        let by_verbs = grouped(needs().filter(|(_, need)| need.purpose == purpose).map(|(info, need)| {
            let place = match info.watched {
                Watched::In(namespace) => format!(" in {namespace}"),
                Watched::Always | Watched::OnDemand => String::new(),
            };
            (need.verbs, (info.group, format!("{}{place}", need.of(info.plural))))
        }));
        let told = by_verbs.into_iter().map(|(verbs, resources)| {
            let verbs: Vec<String> = verbs.iter().map(|verb| format!("`{verb}`")).collect();
            let groups = grouped(resources.into_iter()).into_iter().map(|(group, resources)| match group {
                "" => resources.join(", "),
                group => format!("{} (`{group}`)", resources.join(", ")),
            });
            format!("{} on {}", verbs.join(", "), groups.collect::<Vec<_>>().join(", "))
        });
        lines.push(format!("| {} | {} |", purpose.as_str(), told.collect::<Vec<_>>().join("; ")));
    }
    lines.join("\n")
}

fn has(role: Role, right: &Right) -> bool {
    role == Role::Operator || right.is_reading()
}

/// Returns the rules of a role. Resources of one group with the same verbs share a rule.
fn rules(rights: &[Right]) -> Vec<String> {
    let mut verbs: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for right in rights {
        let slash = if right.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", right.info.plural, right.subresource);
        verbs.entry((right.info.group, resource)).or_default().push(right.verb);
    }
    let mut shared: BTreeMap<(&str, Vec<&str>), Vec<String>> = BTreeMap::new();
    for ((group, resource), mut verbs) in verbs {
        verbs.sort_unstable();
        shared.entry((group, verbs)).or_default().push(resource);
    }
    let list = |texts: &[String]| texts.join(", ");
    shared
        .into_iter()
        .flat_map(|((group, verbs), resources)| {
            let verbs: Vec<String> = verbs.iter().map(ToString::to_string).collect();
            [
                format!("- apiGroups: [\"{group}\"]"),
                format!("  resources: [{}]", list(&resources)),
                format!("  verbs: [{}]", list(&verbs)),
            ]
        })
        .collect()
}

/// Returns a role as YAML for `kubectl apply -f -`.
pub fn manifest(role: Role) -> String {
    let (word, what) = match role {
        Role::Viewer => ("viewer", "see everything and change nothing"),
        Role::Operator => ("operator", "see everything and do every action that has a key"),
    };
    let name = format!("pilothouse-{word}");
    let (confined, everywhere): (Vec<Right>, Vec<Right>) = all()
        .into_iter()
        .filter(|right| has(role, right))
        .partition(|right| matches!(right.info.watched, Watched::In(_)));
    let mut lines = vec![
        format!("# What a person needs to {what}. Leave out what yours must not do:"),
        "# the screen names what is missing. Apply it, then bind it:".to_owned(),
        format!("#   pilothouse rbac {word} | kubectl apply -f -"),
        format!("#   kubectl create clusterrolebinding {name} --clusterrole={name} --group=GROUP"),
    ];
    let mut namespaces: Vec<&str> = Vec::new();
    for right in &confined {
        let namespace = right.namespace("");
        if !namespaces.contains(&namespace) {
            namespaces.push(namespace);
            lines.push(format!(
                "#   kubectl create rolebinding {name} -n {namespace} --role={name} --group=GROUP"
            ));
        }
    }
    let head = |kind: &str, namespace: Option<&str>| {
        let mut head = vec![
            "apiVersion: rbac.authorization.k8s.io/v1".to_owned(),
            format!("kind: {kind}"),
            "metadata:".to_owned(),
            format!("  name: {name}"),
        ];
        head.extend(namespace.map(|namespace| format!("  namespace: {namespace}")));
        head.push("rules:".to_owned());
        head
    };
    lines.extend(head("ClusterRole", None));
    lines.extend(rules(&everywhere));
    for namespace in namespaces {
        let here: Vec<Right> = confined.iter().filter(|r| r.namespace("") == namespace).cloned().collect();
        lines.push("---".to_owned());
        lines.extend(head("Role", Some(namespace)));
        lines.extend(rules(&here));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_is_asked_for_once_with_all_that_it_is_for() {
        let rights = all();
        let mut words: Vec<String> = rights.iter().map(Right::words).collect();
        let count = words.len();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), count);
        for needed in [
            "watch pods",
            "get pods/log",
            "delete pods",
            "create pods/eviction",
            "patch horizontalpodautoscalers.autoscaling",
            "list controllerrevisions.apps",
            "list resourcequotas",
            "patch services",
            "patch httproutes.gateway.networking.k8s.io",
            "patch replicasets/scale.apps",
        ] {
            assert!(words.iter().any(|w| w == needed), "{needed}: {words:?}");
        }
        let get = rights.iter().find(|r| r.words() == "get nodes").unwrap();
        assert_eq!(get.purposes, [Purpose::Describe, Purpose::Cordon, Purpose::Evict]);
        assert!(get.is_reading());
    }

    #[test]
    fn a_viewer_may_change_nothing_and_heartbeats_are_read_in_one_namespace() {
        let viewer = manifest(Role::Viewer);
        for verb in ["patch", "create,", "create]", "delete", "update"] {
            assert!(
                !viewer.contains(&format!("[{verb}")) && !viewer.contains(&format!(", {verb}")),
                "{viewer}"
            );
        }
        let (all, one) = viewer.split_once("\n---\n").unwrap();
        assert!(
            !all.contains("leases") && one.contains("namespace: kube-node-lease") && one.contains("[leases]")
        );
        let operator = manifest(Role::Operator);
        assert!(operator.contains("resources: [pods/eviction]\n  verbs: [create]"), "{operator}");
    }
}
