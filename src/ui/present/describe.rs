//! The text for `d`: everything that the World knows about one object, as lines.

mod lines;
mod pod;
mod traffic;

use std::sync::Arc;

use pilothouse_core::domain::autoscaler::Hpa;
use pilothouse_core::domain::event::InvolvedObject;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef};
use pilothouse_core::domain::log::ErrorGroup;
use pilothouse_core::domain::node::{Condition, Status};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::logs::targets::belongs;
use pilothouse_core::policy::health::is_problem;

use super::super::app::TextLine;
use super::super::cell::{ago, bytes, cores, past, percent, rate};
use super::super::pane::novelty::Novelty;
use super::super::pane::{errors, nodes, workloads};
use super::super::rows::workloads::told;
use super::super::theme::Role;
use super::super::widget::text;
use super::alert;
pub use lines::{Lines, TableRow};

/// Returns the lines that describe an object.
pub fn lines(cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Vec<TextLine> {
    let mut out = Lines(Vec::new());
    let known = match &object.kind {
        Kind::Node => node(&mut out, cluster, object, now),
        Kind::Pod => pod::pod(&mut out, cluster, object, now),
        Kind::Service => traffic::service(&mut out, cluster, object, now),
        Kind::HorizontalPodAutoscaler => traffic::autoscaler(&mut out, cluster, object, now),
        Kind::PodDisruptionBudget => traffic::budget(&mut out, cluster, object, now),
        Kind::CronJob => cronjob(&mut out, cluster, object, now),
        _ => workload(&mut out, cluster, object, now),
    };
    if known.is_none() {
        out.say(
            Role::Warning,
            format!("{object} is not among the watched objects: it was deleted, is not loaded yet, or is of another kind"),
        );
        out.say(Role::Dim, "y asks the server for its YAML");
    }
    alert::of_object(&mut out, cluster, object, now);
    events(&mut out, cluster, object, now);
    out.0
}

fn conditions(out: &mut Lines, conditions: &[Condition], bad: impl Fn(&Condition) -> bool, now: Stamp) {
    if conditions.is_empty() {
        return;
    }
    out.head("Conditions");
    for c in conditions {
        let role = if bad(c) { Role::Critical } else { Role::Text };
        let glyph = if bad(c) { "✖" } else { " " };
        let line =
            format!("{glyph} {:<22} {:<8} {:>4}  {}", c.kind, c.status.as_str(), ago(now, c.since), c.reason);
        out.say(role, line.trim_end());
        if !c.message.is_empty() {
            out.say(Role::Dim, format!("      {}", c.message));
        }
    }
}

fn node(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Option<()> {
    let row = cluster.derived.nodes.iter().find(|r| r.node.name == object.name)?;
    let n = &row.node;
    out.head(&format!("Node {}", n.name));
    let grade = nodes::grade(row);
    out.state(grade, &nodes::state(row, now));
    out.field("zone", n.zone.as_ref().map_or("", Name::as_str));
    out.field("pool", n.pool.as_ref().map_or("", Name::as_str));
    out.field("kubelet", &n.kubelet);
    out.field("address", n.internal_ip.as_ref().map_or("", Name::as_str));
    out.field("age", age(now.since(n.created)));
    if let Some(by) = n.changed.as_ref().filter(|_| n.cordoned) {
        out.field("cordoned by", format!("{}, {}", by.manager, past(now, by.at)));
    }
    for taint in n.taints.iter() {
        let since = taint.added.map_or_else(String::new, |at| format!(", {}", past(now, at)));
        out.field("taint", format!("{}={}:{}{since}", taint.key, taint.value, taint.effect));
    }
    out.head("Resources             allocatable   requested        used");
    let used = row.usage.as_ref();
    let line = |name: &str, whole: i64, requested: i64, used: Option<i64>, show: fn(i64) -> String| {
        let with = |part: Option<i64>| {
            part.map_or_else(|| "–".into(), |p| format!("{} {:>3}%", show(p), percent(Some(p), whole)))
        };
        format!("  {name:<18} {:>12} {:>11} {:>11}", show(whole), with(Some(requested)), with(used))
    };
    let total = row.totals.requests;
    out.say(
        Role::Text,
        line("cpu", n.allocatable.cpu_milli, total.cpu_milli, used.map(|u| u.cpu_milli), cores),
    );
    out.say(
        Role::Text,
        line("memory", n.allocatable.memory_bytes, total.memory_bytes, used.map(|u| u.memory_bytes), bytes),
    );
    let what = match (&cluster.node_usage_source, used) {
        (Some(source), Some(u)) => format!("used: {source}, {}", past(now, u.at)),
        _ => "used: not measured".into(),
    };
    out.say(Role::Dim, format!("  pods {} of {}; {what}", row.totals.pods, n.allocatable_pods));
    conditions(
        out,
        &n.conditions,
        |c| if c.kind == "Ready" { c.status != Status::True } else { is_problem(c) },
        now,
    );
    pod::table(out, cluster, "Pods", now, |p| p.node.as_ref() == Some(&n.name));
    Some(())
}

fn cronjob(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Option<()> {
    let cronjob =
        cluster.cronjobs.iter().find(|c| c.namespace == object.namespace && c.name == object.name)?;
    out.head(&format!("CronJob {}/{}", cronjob.namespace, cronjob.name));
    let zone = cronjob.time_zone.as_ref().map_or_else(String::new, |tz| format!(" {tz}"));
    out.field("schedule", format!("{}{zone}", cronjob.schedule));
    if cronjob.suspended {
        out.say(Role::Warning, format!("  {:<14} no Job is created until it is resumed", "suspended"));
    }
    let at = |at: Option<Stamp>| {
        at.map_or_else(|| "never".into(), |at| format!("{} ({})", at.told(now), past(now, at)))
    };
    out.field("last job", at(cronjob.last_scheduled));
    out.field("last success", at(cronjob.last_successful));
    out.field("running", text::count(cronjob.active as usize, "job"));
    let mut jobs: Vec<_> = cluster
        .derived
        .workloads
        .iter()
        .filter(|row| row.workload.owner.as_ref().is_some_and(|owner| owner.uid == cronjob.uid))
        .collect();
    if !jobs.is_empty() {
        jobs.sort_by_key(|row| std::cmp::Reverse(row.workload.created));
        out.head("Jobs");
        let told = told(cluster);
        for row in jobs {
            let (grade, w) = (workloads::grade(row, &told), &row.workload);
            let made = past(now, w.created);
            out.row(grade.role(), format!("  {} {:<40} made {made}", grade.glyph(), w.name));
        }
    }
    Some(())
}

fn workload(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Option<()> {
    let row = cluster.derived.workloads.iter().find(|r| {
        let w = &r.workload;
        w.kind == object.kind && w.namespace == object.namespace && w.name == object.name
    })?;
    let w = &row.workload;
    out.head(&format!("{} {}/{}", w.kind, w.namespace, w.name));
    let grade = workloads::of_itself(row);
    let why = if row.rollout.why.is_empty() { String::new() } else { format!(": {}", row.rollout.why) };
    out.say(
        grade.role(),
        format!("  {:<14} {} {}{why}", "rollout", grade.glyph().trim(), row.rollout.phase.as_str()),
    );
    out.field(
        "replicas",
        format!(
            "{} wanted, {} ready, {} up to date, {} available",
            w.desired, w.ready, w.updated, w.available
        ),
    );
    let t = row.totals;
    out.field(
        "pods",
        format!(
            "{} ({} ready, {} bad, {} terminating), {} restarts",
            t.pods, t.ready, t.bad, t.terminating, t.restarts
        ),
    );
    for image in w.images.iter() {
        out.field("image", image);
    }
    out.field("revision", w.revision.map_or_else(|| w.update_revision.to_string(), |r| r.to_string()));
    out.field("managed by", w.managed_by.as_ref().map_or_else(String::new, ToString::to_string));
    if let Some(by) = &w.changed {
        out.field("last change", format!("by {}, {} ({})", by.manager, past(now, by.at), by.at.told(now)));
    }
    out.field("restarted at", w.restarted_at.as_ref().map_or("", Name::as_str));
    out.field("age", age(now.since(w.created)));
    let scales = |h: &Hpa| h.namespace == w.namespace && h.target_name == w.name && h.target_kind == w.kind;
    for row in cluster.derived.hpas.iter().filter(|row| scales(&row.hpa)) {
        let (hpa, verdict) = (&row.hpa, &row.verdict);
        out.field("autoscaler", format!("{} {}-{}: {}", hpa.name, hpa.min, hpa.max, verdict.why));
    }
    conditions(
        out,
        &w.conditions,
        |c| match c.kind.as_str() {
            "ReplicaFailure" | "Failed" => c.status == Status::True,
            _ => c.status == Status::False,
        },
        now,
    );
    let own = format!("{}/{}", w.namespace, w.name);
    error_groups(out, cluster, now, |group| group.workloads.iter().any(|name| **name == *own));
    let (kind, ns, name) = (w.kind.clone(), w.namespace.clone(), w.name.clone());
    pod::table(out, cluster, "Pods", now, |p| belongs(p, cluster, &kind, &ns, &name));
    Some(())
}

/// Lists the error lines that the object's pods wrote recently, the most frequent first.
fn error_groups(out: &mut Lines, cluster: &Cluster, now: Stamp, wanted: impl Fn(&ErrorGroup) -> bool) {
    let going_on = |g: &&Arc<ErrorGroup>| wanted(g) && !g.has_stopped(now);
    let mut found: Vec<_> = cluster.logs.groups.iter().filter(going_on).collect();
    if found.is_empty() {
        return;
    }
    let novelty = Novelty::of(cluster, None, now);
    found.sort_by(|a, b| errors::order(a, b, 0, &novelty));
    out.head(&format!("Errors in its logs: {}", found.len()));
    for group in found.into_iter().take(10) {
        let role = if novelty.has(group) { Role::Warning } else { Role::Text };
        let many = format!("{}/min", rate(Some(group.per_minute)));
        let earlier = if group.or_earlier { " or earlier" } else { "" };
        let first = past(now, group.first);
        out.say(role, format!("  {many:<9} first seen {first}{earlier}: {}", group.template));
    }
}

/// Lists the events about an object, the newest first. For a workload, the list includes the events of its pods and
/// ReplicaSets.
pub fn events(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) {
    let about = |o: &InvolvedObject| {
        (o.kind == object.kind
            && o.name == object.name
            && (o.namespace == object.namespace || object.namespace.is_empty()))
            || (o.namespace == object.namespace
                && !object.namespace.is_empty()
                && matches!(o.kind, Kind::Pod | Kind::ReplicaSet)
                && matches!(object.kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::Job)
                && o.name.strip_prefix(object.name.as_str()).is_some_and(|rest| rest.starts_with('-')))
    };
    let mut found: Vec<_> = cluster.events.iter().filter(|e| about(&e.about)).collect();
    found.sort_by_key(|e| std::cmp::Reverse(e.last.or(e.first)));
    let note = cluster.events.cover.note().map_or_else(String::new, |n| format!(" ({n})"));
    out.head(&format!("Events: {}{note}", found.len()));
    if found.is_empty() {
        out.say(Role::Dim, "  none in the last hour (events of a normal start are left out)");
    }
    for e in found.into_iter().take(100) {
        let times = if e.count > 1 { format!(" x{}", e.count) } else { String::new() };
        let whom = if e.about.name == object.name { String::new() } else { format!("{}: ", e.about.name) };
        out.say(
            if e.warning { Role::Warning } else { Role::Text },
            format!(
                "{} {:>4} {:<22}{times} {whom}{}",
                if e.warning { "!" } else { " " },
                ago(now, e.last.or(e.first)),
                e.reason,
                e.message
            ),
        );
    }
}
