//! Describes pods: a single pod, or a table of pods in the text about another object.

use pilothouse_core::domain::id::{Name, ObjectRef};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::policy::rules::dead_nodes;

use super::super::super::cell::{bytes, cores, millis, past, rate, ratio};
use super::super::super::pane::traffic::errors_role;
use super::super::super::pane::{nodes, pods};
use super::super::super::theme::Role;
use super::lines::TableRow;
use super::{Lines, error_groups};

/// Adds a table of pods, the worst first.
pub(super) fn table(
    out: &mut Lines,
    cluster: &Cluster,
    title: &str,
    now: Stamp,
    wanted: impl Fn(&Pod) -> bool,
) {
    let mut found: Vec<_> = cluster.pods.iter().filter(|p| wanted(p)).collect();
    // the node is omitted if all pods are on the same one
    let with_nodes = found.first().is_some_and(|one| found.iter().any(|p| p.node != one.node));
    let dead = dead_nodes(cluster);
    found.sort_by(|a, b| pods::order(a, b, 0, &dead, now));
    let note = cluster.pods.cover.note().map_or_else(String::new, |n| format!(" ({n})"));
    out.head(&format!("{title}: {}{note}", found.len()));
    let rows: Vec<TableRow> = found
        .iter()
        .take(300)
        .map(|pod| {
            let used = cluster
                .pod_usage
                .get(&(pod.namespace.clone(), pod.name.clone()))
                .map_or_else(|| "–".into(), |u| format!("{}/{}", cores(u.cpu_milli), bytes(u.memory_bytes)));
            TableRow {
                grade: pods::grade(pod, &dead, now),
                cells: vec![
                    format!("{}/{}", pod.namespace, pod.name),
                    format!("{}/{}", pod.containers_ready, pod.containers),
                    pods::status(pod).to_owned(),
                    pod.restarts.to_string(),
                    used,
                    format!("{}/{}", cores(pod.requests.cpu_milli), bytes(pod.requests.memory_bytes)),
                    age(now.since(pod.created)),
                    if with_nodes {
                        pod.node.as_ref().map_or("–", Name::as_str).to_owned()
                    } else {
                        String::new()
                    },
                ],
                object: Some(pod.reference(cluster.id())),
            }
        })
        .collect();
    out.table(&["POD", " READY", "STATUS", " RSTS", " USE cpu/mem", " REQ cpu/mem", " AGE", "NODE"], &rows);
    if found.len() > 300 {
        out.say(Role::Dim, format!("  and {} more", found.len() - 300));
    }
}

pub(super) fn pod(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Option<()> {
    let pod = cluster.pods.by_uid(&object.uid).or_else(|| cluster.pod(&object.namespace, &object.name))?;
    out.head(&format!("Pod {}/{}", pod.namespace, pod.name));
    let grade = pods::grade(pod, &dead_nodes(cluster), now);
    out.say(grade.role(), format!("  {:<14} {} {}", "status", grade.glyph().trim(), pods::status(pod)));
    out.field("phase", pod.phase.as_str());
    if let Some(message) = &pod.message {
        out.say(Role::Warning, format!("  {:<14} {message}", "says"));
    }
    out.field(
        "ready",
        format!(
            "{}/{} containers{}",
            pod.containers_ready,
            pod.containers,
            pod.ready_since.map_or_else(String::new, |s| {
                let not = if pod.ready { "" } else { "not ready " };
                format!(", {not}since {}", age(now.since(s)))
            })
        ),
    );
    out.field("restarts", pod.restarts.to_string());
    if let Some(exit) = &pod.last_exit {
        let when = exit.at.map_or_else(String::new, |at| format!(", {} ({})", past(now, at), at.told(now)));
        out.say(
            Role::Warning,
            format!(
                "  {:<14} {} exited with {} ({}){when}",
                "last exit", exit.container, exit.code, exit.reason
            ),
        );
    }
    if let Some(asked) = pod.deletion_asked() {
        out.say(Role::Warning, format!("  {:<14} for {}", "terminating", age(now.since(asked))));
    }
    if let Some((kind, name)) = cluster.top_owner(pod) {
        out.field("owner", format!("{}/{name}", kind.short()));
    }
    let on = cluster.derived.nodes.iter().find(|row| Some(&row.node.name) == pod.node.as_ref());
    match (&pod.node, on) {
        (Some(name), Some(row)) => {
            let grade = nodes::grade(row);
            let words = format!("{name}  {} {}", grade.glyph().trim(), nodes::state(row, now));
            out.say(grade.role(), format!("  {:<14} {}", "node", words.replace("   ", "  ")));
            out.field("zone", row.node.zone.as_ref().map_or("", Name::as_str));
        }
        (Some(name), None) => out.field("node", name),
        (None, _) => out.field("node", "not bound to a node"),
    }
    out.field("ip", pod.ip.as_ref().map_or("", Name::as_str));
    out.field("age", age(now.since(pod.created)));
    let used = cluster.pod_usage.get(&(pod.namespace.clone(), pod.name.clone()));
    out.field(
        "requests",
        format!("cpu {} memory {}", cores(pod.requests.cpu_milli), bytes(pod.requests.memory_bytes)),
    );
    out.field(
        "used",
        used.map_or_else(
            || "not measured".into(),
            |u| format!("cpu {} memory {}, {}", cores(u.cpu_milli), bytes(u.memory_bytes), past(now, u.at)),
        ),
    );
    for service in cluster.derived.services.iter().filter(|r| r.service.namespace == pod.namespace) {
        let endpoints = service.slices.iter().flat_map(|s| s.endpoints.iter());
        if let Some(endpoint) = endpoints.into_iter().find(|e| e.pod_uid.as_ref() == Some(&pod.uid)) {
            let (role, words) = if endpoint.ready {
                (Role::Text, "ready")
            } else {
                (Role::Warning, "not ready: gets no requests")
            };
            out.say(role, format!("  {:<14} {}, {words}", "backend of", service.service.name));
        }
    }
    for service in cluster.traffic.services.iter().filter(|t| t.namespace == pod.namespace) {
        for b in service.backends.iter().filter(|b| b.name == pod.name) {
            let (rps, errors) = (rate(b.rps), ratio(b.error_ratio));
            let latency = match b.p95_ms {
                Some(p95) => format!("p95 {}", millis(Some(p95))),
                None => format!("mean {}", millis(b.mean_ms)),
            };
            let role = errors_role(b.error_ratio);
            let words = format!("{rps} rps as {}, {errors}% errors, {latency}", service.name);
            out.say(role, format!("  {:<14} {words}", "traffic"));
        }
    }
    if pod.shape.empty_dir {
        out.field("volumes", "has an emptyDir: its data goes with the pod");
    }
    out.head("Containers");
    for (container, init) in pod
        .shape
        .init_containers
        .iter()
        .map(|c| (c, true))
        .chain(pod.shape.containers.iter().map(|c| (c, false)))
    {
        let kind = if container.sidecar {
            " (sidecar)"
        } else if init {
            " (init)"
        } else {
            ""
        };
        out.say(Role::Text, format!("  {:<24} {}", format!("{}{kind}", container.name), container.image));
    }
    let labels: Vec<String> = pod.labels().iter().map(|(k, v)| format!("{k}={v}")).collect();
    if !labels.is_empty() {
        out.head("Labels");
        out.say(Role::Dim, format!("  {}", labels.join("  ")));
    }
    let own = format!("{}/{}", pod.namespace, pod.name);
    error_groups(out, cluster, now, |group| group.pods.iter().any(|name| **name == *own));
    Some(())
}
