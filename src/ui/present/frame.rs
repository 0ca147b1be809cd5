//! What stands around a list: its key, its title with the counts, the state of its source, and the line below.

use pilothouse_core::domain::source::Feed;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::Cluster;

use super::super::app::{PodScope, Ui};
use super::super::list::{ListId, Spec};
use super::super::theme::Role;
use super::super::widget::text;
use super::sources::{self, State};
use super::{Cell, autoscalers, backends, causes, cell, errors, nodes, plain, pods, traffic, workloads};

/// The resource of the view of the cluster's events.
pub const EVENTS: &str = "events";

/// The title, its key, and the state of its source.
pub fn of(ui: &Ui, cluster: &Cluster, id: ListId) -> (Option<char>, String, Vec<Cell>, State, Vec<Cell>) {
    let now = ui.now;
    // what a namespace leaves out is not counted either
    let spec = Spec { namespace: ui.namespace.clone(), ..Spec::default() };
    let table = |source: &str, cover, fresh| sources::of_table(cluster, source, cover, fresh, now);
    let none = Vec::new;
    match id {
        ListId::Now => {
            let n = cluster.derived.causes.iter().filter(|c| causes::passes(c, &spec)).count();
            let mut notes = if n > 0 { vec![plain(text::count(n, "cause"))] } else { none() };
            let silenced = &cluster.derived.silenced;
            let silenced = silenced.iter().filter(|s| causes::passes(&s.cause, &spec)).count();
            if silenced > 0 {
                notes.push(cell(Role::Dim, format!("{silenced} silenced")));
            }
            let state = State { why_empty: causes::empty(cluster), ..State::default() };
            (None, "NOW".into(), notes, state, causes::changes(ui, cluster, ui.size.0 < 110))
        }
        ListId::Nodes => {
            let state = table("nodes", &cluster.nodes.cover, cluster.nodes.fresh);
            let mut counts = nodes::counts(cluster);
            if ui.namespace.is_some() {
                // its numbers are not those of the namespace that the other panes show
                counts.push(cell(Role::Dim, "all namespaces"));
            }
            (Some('1'), "Nodes".into(), counts, state, nodes::footer(cluster))
        }
        ListId::Traffic => {
            let mut state = table("services", &cluster.services.cover, cluster.services.fresh);
            let metrics = sources::of_feed(cluster, Feed::Traffic, now);
            // one word of waiting is enough
            state.notes.extend(
                metrics
                    .notes
                    .into_iter()
                    .filter(|n| n.role != Role::Dim || cluster.services.cover.is_complete()),
            );
            let mut footer = traffic::footer(cluster);
            if cluster.traffic.services.is_empty() {
                footer.extend(metrics.why_empty);
            }
            (Some('2'), "Traffic".into(), traffic::counts(&ui.bases.joined, &spec), state, footer)
        }
        ListId::Errors => {
            let mut state = sources::of_feed(cluster, Feed::Logs, now);
            if cluster.logs.at.0 > 0 {
                state.why_empty.retain(|c| c.role != Role::Dim);
            }
            // whose logs are followed is known from the pods
            let pods = table("pods", &cluster.pods.cover, cluster.pods.fresh);
            state.notes.extend(pods.notes.into_iter().filter(|n| n.role != Role::Dim));
            if state.why_empty.is_empty() {
                state.why_empty = match &cluster.pods.cover {
                    Coverage::Never => {
                        vec![cell(Role::Dim, "waiting for pods: their logs are followed then")]
                    }
                    cover if !cover.is_read() => pods.why_empty,
                    _ if cluster.logs.at.0 > 0 && !cluster.logs.is_following() => {
                        vec![cell(
                            Role::Dim,
                            "no logs are followed: no pod is in trouble, none has restarted lately",
                        )]
                    }
                    _ => none(),
                };
            }
            (Some('3'), "Errors".into(), errors::counts(cluster, &spec, now), state, none())
        }
        ListId::Autoscalers => {
            let state = table("horizontalpodautoscalers", &cluster.hpas.cover, cluster.hpas.fresh);
            (
                Some('4'),
                "Autoscalers".into(),
                autoscalers::counts(cluster, &spec, now),
                state,
                autoscalers::footer(cluster, ui.namespace.is_some()),
            )
        }
        ListId::Workloads => {
            let mut state = table("deployments", &cluster.deployments.cover, cluster.deployments.fresh);
            for (source, other) in [
                ("statefulsets", &cluster.statefulsets),
                ("daemonsets", &cluster.daemonsets),
                ("jobs", &cluster.jobs),
            ] {
                for note in table(source, &other.cover, other.fresh).notes {
                    state.notes.push(cell(note.role, format!("{source} {}", note.text)));
                }
            }
            (Some('5'), "Workloads".into(), workloads::counts(cluster, &spec), state, none())
        }
        ListId::Pods => {
            let title = match &ui.pod_scope {
                PodScope::All => "Pods".into(),
                PodScope::Owner { kind, namespace, name } => {
                    format!("Pods of {namespace}/{}/{name}", kind.short())
                }
                PodScope::Node(node) => format!("Pods on {node}"),
            };
            let state = table("pods", &cluster.pods.cover, cluster.pods.fresh);
            (Some('5'), title, pods::counts(ui, cluster), state, none())
        }
        ListId::Backends => {
            let (_, note) = backends::collect(cluster, &ui.service.0, &ui.service.1);
            let footer = note.map_or_else(none, |n| vec![cell(Role::Dim, n)]);
            (None, format!("Backends of {}/{}", ui.service.0, ui.service.1), none(), State::default(), footer)
        }
        ListId::Actions => {
            let why_empty = vec![cell(Role::Dim, "no actions yet: they appear here with their steps")];
            (Some('8'), "Actions".into(), none(), State { why_empty, ..State::default() }, none())
        }
        ListId::Changes => {
            let title = "Changed in the last 6 hours".into();
            (Some('7'), title, none(), State::default(), none())
        }
        ListId::Namespaces => (None, "Namespaces".into(), none(), State::default(), none()),
        ListId::Table => {
            let mut state = State::default();
            if let Some(words) = &ui.table_of.2 {
                state.why_empty.push(plain(words.as_str()));
            }
            let number = (ui.table_of.0 == EVENTS).then_some('9');
            (number, ui.table_of.0.clone(), none(), state, none())
        }
    }
}

/// What an empty list says when the chosen namespace is not read: it must not look like a namespace without objects.
pub fn not_read(ui: &Ui, cluster: &Cluster, id: ListId) -> Option<String> {
    let cover = match id {
        ListId::Traffic => &cluster.services.cover,
        ListId::Autoscalers => &cluster.hpas.cover,
        ListId::Workloads | ListId::Pods => &cluster.pods.cover,
        _ => return None,
    };
    let (Some(namespace), Coverage::Namespaces(read)) = (&ui.namespace, cover) else { return None };
    if read.contains(namespace) {
        return None;
    }
    Some(format!("namespace {namespace} is not read, only {}: start with -n {namespace}", read.join(", ")))
}

/// What an empty list has none of.
pub fn nothing(id: ListId) -> &'static str {
    match id {
        ListId::Now => "no causes",
        ListId::Nodes => "no nodes",
        ListId::Traffic => "no services",
        ListId::Errors => "no error lines so far",
        ListId::Autoscalers => "no autoscalers",
        ListId::Workloads => "no workloads",
        ListId::Pods => "no pods",
        ListId::Backends => "no backends",
        ListId::Actions => "no actions",
        ListId::Changes => "no changes in the last six hours",
        ListId::Namespaces => "no namespaces seen yet",
        ListId::Table => "no rows",
    }
}
