//! The Pods pane: all pods, the pods of a workload, or the pods on a node.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::pod::{Phase, Pod, Trouble};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::logs::targets::belongs;
use pilothouse_core::policy::rules::dead_nodes;

use super::super::app::{PodScope, Ui};
use super::super::cell::{Cell, Grade, RowView, address, ago, bytes, cell, cores, plain};
use super::super::list::{List, ListId, Spec};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text::grouped;
use super::orders::{Order, texts, turned};

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 14] = [
    Order::worst("worst first"),
    Order::rises("by namespace and name", "NAMESPACE"),
    Order::falls("by restarts", "RESTARTS"),
    Order::rises("youngest first", "AGE"),
    Order::rises("by node", "NODE"),
    Order::rises("by name", "POD"),
    Order::falls("by containers that are not ready", "READY"),
    Order::rises("by status", "STATUS"),
    Order::rises("last exit first", "LAST EXIT"),
    Order::rises("by version", "VERSION"),
    Order::falls("by CPU use", "CPU use/req").wide(),
    Order::falls("by memory use", "MEM use/req").wide(),
    Order::rises("by address", "IP").wide(),
    Order::rises("by owner", "OWNER").wide(),
];

/// The first order that needs other tables than the pods. [`order_beside`] compares by these orders.
pub const BESIDE: usize = 10;

/// Compares two rows by data from other tables than the pods. It looks the data up for each comparison, because a
/// precomputed table would have to be rebuilt for every pod that changes.
pub fn order_beside(a: &Pod, b: &Pod, order: usize, cluster: &Cluster) -> Ordering {
    let used = |pod: &Pod| {
        let used = cluster.pod_usage.get(&(pod.namespace.clone(), pod.name.clone()));
        used.map(|u| if order == 10 { u.cpu_milli } else { u.memory_bytes })
    };
    let by = match order {
        10 | 11 => used(b).cmp(&used(a)),
        12 => address(a.ip.as_ref()).cmp(&address(b.ip.as_ref())),
        _ => owner(a, cluster).cmp(&owner(b, cluster)),
    };
    by.then_with(|| a.namespace.cmp(&b.namespace)).then_with(|| a.name.cmp(&b.name))
}

/// Returns the owner above ReplicaSets, such as `deploy/checkout`.
fn owner(pod: &Pod, cluster: &Cluster) -> String {
    cluster.top_owner(pod).map_or_else(String::new, |(kind, name)| format!("{}/{name}", kind.short()))
}

/// The columns.
pub const COLUMNS: [Column; 13] = [
    Column::left("NAMESPACE", 6, 18, 5),
    Column::name("POD", 14, 56),
    Column::right("READY", 5, 6, 0),
    Column::left("STATUS", 15, 26, 0),
    Column::right("RESTARTS", 8, 8, 3),
    Column::left("LAST EXIT", 10, 24, 6),
    Column::name("NODE", 8, 34).leaving(7),
    Column::left("VERSION", 7, 26, 9),
    Column::right("AGE", 4, 5, 8),
    Column::right("CPU use/req", 7, 13, 10).short("CPU u/r").named("cpu"),
    Column::right("MEM use/req", 7, 13, 11).short("MEM u/r").named("memory"),
    Column::left("IP", 9, 39, 12),
    Column::name("OWNER", 8, 44).leaving(13),
];

/// Returns the severity of a pod. `dead` contains the nodes that no longer report.
pub fn grade(pod: &Pod, dead: &BTreeSet<Name>, now: Stamp) -> Grade {
    let stuck = || pod.is_leaving() && pod.node.as_ref().is_some_and(|node| dead.contains(node));
    match pod.trouble {
        Some(Trouble::CrashLoop | Trouble::ImagePull | Trouble::Config) => Grade::Critical,
        _ if pod.phase == Phase::Failed || pod.phase == Phase::Unknown => Grade::Critical,
        Some(_) => Grade::Warning,
        None if pod.is_starting(now) => Grade::Info,
        None if pod.is_bad() || stuck() => Grade::Warning,
        None if pod.is_terminating() || pod.phase == Phase::Pending => Grade::Info,
        None => Grade::Fine,
    }
}

/// Returns the text that kubectl prints under STATUS.
pub fn status(pod: &Pod) -> &str {
    if pod.is_terminating() {
        "Terminating"
    } else if pod.status.is_empty() {
        pod.phase.as_str()
    } else {
        &pod.status
    }
}

/// Whether the pod matches the filter, the scope and the namespace.
pub fn passes(
    pod: &Pod,
    spec: &Spec,
    scope: &PodScope,
    cluster: &Cluster,
    more: impl Fn() -> Vec<String>,
) -> bool {
    let here = match scope {
        PodScope::All => spec.namespace.as_ref().is_none_or(|ns| pod.namespace == *ns),
        PodScope::Node(node) => pod.node.as_ref() == Some(node),
        PodScope::Owner { kind, namespace, name } => belongs(pod, cluster, kind, namespace, name),
    };
    here && (spec.filter.is_empty()
        || spec.filter.passes_or(
            &[
                &pod.name,
                &pod.namespace,
                status(pod),
                pod.node.as_ref().map_or("", Name::as_str),
                pod.shape.containers.first().map_or("", |c| c.image.as_str()),
                pod.last_exit.as_ref().map_or("", |exit| exit.reason.as_str()),
            ],
            more,
        ))
}

fn version(pod: &Pod) -> &str {
    pod.shape.containers.first().map_or("", |c| pilothouse_core::domain::image::version(&c.image))
}

/// Compares two rows.
pub fn order(a: &Pod, b: &Pod, order: usize, dead: &BTreeSet<Name>, now: Stamp) -> Ordering {
    let missing = |p: &Pod| p.containers.saturating_sub(p.containers_ready);
    let exit = |p: &Pod| p.last_exit.as_ref().and_then(|e| e.at);
    let by = match order {
        1 => Ordering::Equal,
        2 => b.restarts.cmp(&a.restarts),
        3 => b.created.cmp(&a.created),
        4 => a.node.cmp(&b.node),
        5 => a.name.cmp(&b.name),
        6 => missing(b).cmp(&missing(a)),
        7 => status(a).cmp(status(b)),
        8 => exit(b).cmp(&exit(a)),
        9 => version(a).cmp(version(b)),
        _ => grade(b, dead, now).cmp(&grade(a, dead, now)).then_with(|| {
            // restarts of healthy pods say little, and sorting by them would move rows often
            if grade(a, dead, now) >= Grade::Warning { b.restarts.cmp(&a.restarts) } else { Ordering::Equal }
        }),
    };
    by.then_with(|| a.namespace.cmp(&b.namespace)).then_with(|| a.name.cmp(&b.name))
}

/// Returns the counts that follow the title: all pods, or the pods of the scope or the namespace.
pub fn counts(ui: &Ui, cluster: &Cluster) -> Vec<Cell> {
    let list = ui.list(ListId::Pods);
    let whole = ui.pod_scope == PodScope::All && ui.namespace.is_none();
    // a filter shows the number of matches; the total would require counting all pods for every frame
    if cluster.pods.is_empty() || (!whole && !list.filter.is_empty()) {
        return Vec::new();
    }
    let all = grouped(cluster.pods.len() as u64);
    vec![plain(if whole { all } else { format!("{} of {all}", grouped(list.ids.len() as u64)) })]
}

/// Formats usage and request, such as `120m/250m`. Shows `–` for a value that is unknown or not set.
fn pair(used: Option<i64>, requested: i64, show: fn(i64) -> String) -> String {
    let requested = if requested > 0 { show(requested) } else { "–".into() };
    format!("{}/{requested}", used.map_or_else(|| "–".into(), show))
}

/// Builds one row.
pub fn row(pod: &Pod, cluster: &Cluster, dead: &BTreeSet<Name>, now: Stamp) -> RowView {
    let grade = grade(pod, dead, now);
    let exit = pod.last_exit.as_ref().map_or_else(String::new, |exit| {
        let when = exit.at.map_or_else(String::new, |at| format!(" {}", age(now.since(at))));
        format!("{} {}{when}", exit.reason, exit.code)
    });
    let mut words = status(pod).to_owned();
    if pod.is_terminating() {
        words += format!(" {}", ago(now, pod.deletion_asked())).as_str();
    }
    if !pod.is_leaving() && pod.node.as_ref().is_some_and(|node| dead.contains(node)) {
        // the counts of ready containers are the last ones that the kubelet reported
        words += ", node down";
    }
    if pod.trouble == Some(Trouble::OomKilled) && !words.contains("OOM") {
        // the current status does not explain why the row is marked
        words += ", OOMKilled before";
    }
    let used = cluster.pod_usage.get(&(pod.namespace.clone(), pod.name.clone()));
    let ready = if pod.containers_ready < pod.containers && !pod.phase.is_finished() {
        Role::Warning
    } else {
        Role::Text
    };
    RowView {
        grade,
        cells: vec![
            cell(Role::Dim, pod.namespace.as_str()),
            cell(if grade >= Grade::Warning { Role::Strong } else { Role::Text }, pod.name.as_str()),
            cell(ready, format!("{}/{}", pod.containers_ready, pod.containers)),
            cell(grade.role(), words),
            plain(pod.restarts.to_string()),
            plain(exit),
            plain(pod.node.as_ref().map_or("–", Name::as_str)),
            plain(version(pod)),
            cell(Role::Dim, age(now.since(pod.created))),
            plain(pair(used.map(|u| u.cpu_milli), pod.requests.cpu_milli, cores)),
            plain(pair(used.map(|u| u.memory_bytes), pod.requests.memory_bytes, bytes)),
            cell(Role::Dim, pod.ip.as_ref().map_or("", Name::as_str)),
            cell(Role::Dim, owner(pod, cluster)),
        ],
        below: pod.message.iter().map(|words| cell(Role::Dim, words.as_str())).collect(),
        ..RowView::default()
    }
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    let (scope, now) = (ui.pod_scope.clone(), ui.now);
    spec.scope = format!("{scope:?}");
    if matches!(scope, PodScope::Owner { .. }) {
        // the owner of a pod can become known after the pod
        spec.salt = cluster.derived.replicaset_owner.len() as u64;
    }
    let dead = dead_nodes(cluster);
    if ui.rows.dead != dead {
        ui.rows.dead = dead;
        ui.rows.dead_turn = ui.rows.dead_turn.wrapping_add(1);
    }
    // the other orders do not depend on the nodes, so 150,000 rows are not sorted again when nodes change
    if spec.order == 0 {
        spec.salt |= u64::from(ui.rows.dead_turn) << 32;
        // a pod that does not become ready gets a worse grade after a while
        spec.salt ^= u64::try_from(now.0 / 60_000).unwrap_or(0) << 40;
    }
    if spec.order >= BESIDE {
        // new measurements change the order of the same pods
        spec.salt ^= Arc::as_ptr(&cluster.pod_usage) as u64;
    }
    let (spec, dead) = (&*spec, &ui.rows.dead);
    let numeric = spec.filter.is_numeric();
    ui.rows.pods.refresh(
        &mut list.sorted,
        &cluster.pods,
        spec,
        |p| {
            passes(p, spec, &scope, cluster, || {
                if numeric { texts(row(p, cluster, dead, now)) } else { Vec::new() }
            })
        },
        |a, b| {
            let by = if spec.order < BESIDE {
                order(a, b, spec.order, dead, now)
            } else {
                order_beside(a, b, spec.order, cluster)
            };
            turned(by, spec.reverse)
        },
    );
}

/// Lets the NAMESPACE column leave first for the pods of one workload, because the title already contains the
/// namespace.
pub fn adjust(ui: &Ui, column: Column) -> Option<Column> {
    let named = matches!(ui.pod_scope, PodScope::Owner { .. }) && column.head == "NAMESPACE";
    Some(if named { column.leaving(u8::MAX) } else { column })
}

/// Describes the owner or node of the pods, for the title.
pub fn title(scope: &PodScope) -> String {
    match scope {
        PodScope::All => "Pods".into(),
        PodScope::Owner { kind, namespace, name } => format!("Pods of {namespace}/{}/{name}", kind.short()),
        PodScope::Node(node) => format!("Pods on {node}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_end_stands_with_the_bad_ones() {
        let pod = |name: &str, node: &str, deleting: Option<Stamp>| Pod {
            name: name.into(),
            node: Some(node.into()),
            phase: Phase::Running,
            ready: deleting.is_none(),
            deleting,
            ..Pod::default()
        };
        let dead = BTreeSet::from([Name::from("gone")]);
        let (well, leaves, stuck) =
            (pod("a", "up", None), pod("b", "up", Some(Stamp(1))), pod("c", "gone", Some(Stamp(1))));
        let grades = [&well, &leaves, &stuck].map(|p| grade(p, &dead, Stamp(0)));
        assert_eq!(grades, [Grade::Fine, Grade::Info, Grade::Warning]);
        assert_eq!(grade(&stuck, &BTreeSet::new(), Stamp(0)), Grade::Info, "its node came back");
        assert_eq!(order(&stuck, &leaves, 0, &dead, Stamp(0)), Ordering::Less);
    }
}
