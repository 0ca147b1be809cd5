//! Interprets lines whose first word is a kind or a command: `pods shop`, `svc cart`, `svc/cart`, `drain node-7`.

use pilothouse_core::domain::id::{Kind, Name, ObjectRef};
use pilothouse_core::facts::world::World;

use super::super::super::app::{Hit, Target, Ui};
use super::super::super::command;
use super::super::super::pane;
use super::super::super::request::KindWords;
use super::super::super::rows::clusters::lines;
use super::super::super::rows::namespaces;
use super::super::super::targets;
use super::objects;

/// Kinds that nearly every API server has. They are used until discovery succeeds, or if it fails.
const USUAL: [&[&str]; 12] = [
    &["persistentvolumeclaims", "persistentvolumeclaim", "pvc"],
    &["persistentvolumes", "persistentvolume", "pv"],
    &["ingresses", "ingress", "ing"],
    &["configmaps", "configmap", "cm"],
    &["serviceaccounts", "serviceaccount", "sa"],
    &["cronjobs", "cronjob", "cj"],
    &["jobs", "job"],
    &["replicasets", "replicaset", "rs"],
    &["resourcequotas", "resourcequota", "quota"],
    &["storageclasses", "storageclass", "sc"],
    &["networkpolicies", "networkpolicy", "netpol"],
    &["secrets", "secret"],
];

/// Whether the API server serves a kind with this name.
fn is_served(known: Option<&[KindWords]>, word: &str) -> bool {
    let usual = || USUAL.iter().any(|words| words.contains(&word));
    known.map_or_else(usual, |all| all.iter().any(|kind| kind.answers_to(word)))
}

/// Returns the served kinds whose names begin with the word.
fn begin_so(known: Option<&[KindWords]>, word: &str) -> Vec<String> {
    let mut found: Vec<String> = match known {
        Some(all) => all.iter().filter(|k| k.plural.starts_with(word)).map(|k| k.plural.clone()).collect(),
        None => USUAL
            .iter()
            .filter_map(|words| words.first())
            .filter(|w| w.starts_with(word))
            .map(|w| (*w).to_owned())
            .collect(),
    };
    found.sort();
    found.dedup();
    found.truncate(5);
    found
}

fn table(word: &str, namespace: Option<Name>) -> Hit {
    let place = namespace.as_ref().map_or_else(String::new, |ns| format!(" of namespace {ns}"));
    Hit {
        target: Target::Resource(word.to_owned(), namespace),
        kind: "table".into(),
        title: word.to_owned(),
        detail: format!("list {word}{place} as the server prints it"),
    }
}

/// Returns the meanings of the whole line, the best first.
pub(super) fn read(ui: &Ui, world: &World, needle: &str) -> Vec<Hit> {
    let mut words = needle.splitn(2, ' ');
    if matches!(words.next(), Some("ctx" | "context" | "contexts")) {
        return contexts(ui, world, words.next().unwrap_or_default());
    }
    let (first, rest) = needle.split_once([' ', '/']).unwrap_or((needle, ""));
    let known = ui.kinds.as_deref();
    let namespaces = || ui.shown(world).map_or_else(Vec::new, |c| namespaces::collect(c));
    let mut hits = acts(ui, world, first, rest);
    if let Some(kind) = Kind::from_word(first)
        && let Some(list) = pane::of_kind(&kind)
    {
        let view = |namespace: Option<Name>| Hit {
            kind: "view".into(),
            title: first.to_owned(),
            detail: namespace
                .as_ref()
                .map_or_else(|| "the list".to_owned(), |ns| format!("the list, of namespace {ns}")),
            target: Target::View(list.id, namespace),
        };
        if rest.is_empty() {
            hits.push(view(None));
        } else if kind.is_namespaced()
            && let Some(namespace) = namespaces().into_iter().find(|ns| *ns == *rest)
        {
            hits.push(view(Some(namespace)));
        }
        if !rest.is_empty() {
            hits.extend(of_kind(ui, world, rest, |object| object.kind == kind));
        }
        return hits;
    }
    if is_served(known, first) && !needle.contains('/') {
        if rest.is_empty() {
            hits.push(table(first, None));
        } else if let Some(namespace) = namespaces().into_iter().find(|ns| *ns == *rest) {
            hits.push(table(first, Some(namespace)));
        }
    }
    hits
}

/// Returns the clusters whose context or name matches, the open ones first. Without a name, the first hit is the list of all.
fn contexts(ui: &Ui, world: &World, name: &str) -> Vec<Hit> {
    let all = lines(world, &ui.fleet.contexts);
    let mut found: Vec<(u32, Hit)> = all
        .iter()
        .filter_map(|line| {
            let rank = match name {
                "" => 0,
                name => super::score(&line.context, name).or_else(|| super::score(&line.name, name))?,
            };
            let detail = match line.cluster(world) {
                Some(cluster) if cluster.id() == ui.cluster => "is in front",
                Some(_) => "bring this cluster to the front",
                None => "open this cluster",
            };
            let title = if line.name == line.context {
                line.name.to_string()
            } else {
                format!("{} ({})", line.name, line.context)
            };
            let target = Target::Context(line.context.clone());
            Some((rank, Hit { target, kind: "context".into(), title, detail: detail.into() }))
        })
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    let list = Hit {
        target: Target::Contexts,
        kind: "contexts".into(),
        title: "clusters".into(),
        detail: "list the clusters: those that are open, and the other contexts of the kubeconfig".into(),
    };
    let hits = found.into_iter().map(|(_, hit)| hit);
    if name.is_empty() { std::iter::once(list).chain(hits).collect() } else { hits.chain([list]).collect() }
}

/// Returns kinds whose names begin with the word. They follow all other hits.
pub(super) fn kinds(ui: &Ui, needle: &str) -> Vec<Hit> {
    let word = needle.len() >= 2 && needle.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    let known = ui.kinds.as_deref();
    if !word
        || Kind::from_word(needle).is_some_and(|k| pane::of_kind(&k).is_some())
        || is_served(known, needle)
    {
        return Vec::new();
    }
    begin_so(known, needle).into_iter().map(|plural| table(&plural, None)).collect()
}

/// Returns hits for an action followed by the name of its object.
fn acts(ui: &Ui, world: &World, first: &str, rest: &str) -> Vec<Hit> {
    let id = if first == "uncordon" { "cordon" } else { first };
    let Some(command) = command::by_id(id).filter(|_| !rest.is_empty()) else { return Vec::new() };
    // a command that fits an event fits any object, so it is not about an object
    if targets::fits(command.cmd, &Kind::Event) {
        return Vec::new();
    }
    of_kind(ui, world, rest, |object| targets::fits(command.cmd, &object.kind))
        .into_iter()
        .filter_map(|hit| {
            let Target::Object(object) = hit.target else { return None };
            let title = format!("{first} {}", hit.title);
            let detail = command.doc.split(';').next().unwrap_or_default().to_owned();
            Some(Hit { target: Target::Act(command.cmd, object), kind: "action".into(), title, detail })
        })
        .collect()
}

/// Returns the objects of the wanted kinds whose names match.
fn of_kind(ui: &Ui, world: &World, rest: &str, wanted: impl Fn(&ObjectRef) -> bool) -> Vec<Hit> {
    let mut found = objects(ui, world, rest, wanted);
    found.sort();
    found.into_iter().map(|(_, object)| super::of_object(object)).collect()
}
