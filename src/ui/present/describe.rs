//! `d`: all that the World knows about one object, as lines.

mod traffic;

use pilothouse_core::domain::id::{Kind, Name, ObjectRef};
use pilothouse_core::domain::node::{Condition, Status};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::model::world::Cluster;
use pilothouse_core::policy::follow::belongs;
use pilothouse_core::policy::health::is_problem;
use pilothouse_core::policy::hpa;
use pilothouse_core::policy::rules::dead_nodes;

use super::super::app::TextLine;
use super::super::theme::Role;
use super::super::widget::text;
use super::{Grade, ago, bytes, cores, nodes, past, percent, pods, workloads};

/// The lines being written.
pub struct Lines(pub Vec<TextLine>);

impl Lines {
    /// A heading, with an empty line before it.
    pub fn head(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push(TextLine::default());
        }
        self.0.push(TextLine::new(Role::Title, title));
    }

    /// A line of a role.
    pub fn say(&mut self, role: Role, text: impl Into<String>) {
        self.0.push(TextLine::new(role, text));
    }

    /// A row of a table: cut where there is no room, never wrapped.
    pub fn row(&mut self, role: Role, text: impl Into<String>) {
        self.0.push(TextLine { whole: true, ..TextLine::new(role, text) });
    }

    /// A line about an object, which can be opened.
    pub fn about(&mut self, role: Role, text: impl Into<String>, object: ObjectRef) {
        self.0.push(TextLine { object: Some(object), ..TextLine::new(role, text) });
    }

    /// The state, with its glyph; one that is fine has none, and no gap for it.
    pub fn state(&mut self, grade: Grade, words: &str) {
        let line = format!("{} {words}", grade.glyph());
        self.say(grade.role(), format!("  {:<14} {}", "state", line.trim_start()));
    }

    /// `label      value`.
    pub fn field(&mut self, label: &str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            self.say(Role::Text, format!("  {label:<14} {}", value.as_ref()));
        }
    }
}

/// Describes an object.
pub fn lines(cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Vec<TextLine> {
    let mut out = Lines(Vec::new());
    let known = match &object.kind {
        Kind::Node => node(&mut out, cluster, object, now),
        Kind::Pod => pod(&mut out, cluster, object, now),
        Kind::Service => traffic::service(&mut out, cluster, object, now),
        Kind::HorizontalPodAutoscaler => traffic::autoscaler(&mut out, cluster, object, now),
        Kind::PodDisruptionBudget => traffic::budget(&mut out, cluster, object, now),
        Kind::CronJob => cronjob(&mut out, cluster, object, now),
        _ => workload(&mut out, cluster, object, now),
    };
    if known.is_none() {
        out.say(
            Role::Warning,
            format!("{object} is not among what is watched: it is gone, not loaded yet, or of another kind"),
        );
        out.say(Role::Dim, "its YAML may still be asked of the server (y)");
    }
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
    pod_table(out, cluster, "Pods", now, |p| p.node.as_ref() == Some(&n.name));
    Some(())
}

/// Pods in a text, worst first.
fn pod_table(
    out: &mut Lines,
    cluster: &Cluster,
    title: &str,
    now: Stamp,
    wanted: impl Fn(&pilothouse_core::domain::pod::Pod) -> bool,
) {
    let mut found: Vec<_> = cluster.pods.iter().filter(|p| wanted(p)).collect();
    let dead = dead_nodes(cluster);
    found.sort_by(|a, b| pods::order(a, b, 0, &dead, now));
    let note = cluster.pods.cover.note().map_or_else(String::new, |n| format!(" ({n})"));
    out.head(&format!("{title}: {}{note}", found.len()));
    if !found.is_empty() {
        let heads = format!("  {:<38} READY {:<17} RSTS USE cpu/mem REQ cpu/mem  AGE", "POD", "STATUS");
        out.row(Role::Head, heads);
    }
    for pod in found.iter().take(300) {
        let grade = pods::grade(pod, &dead, now);
        let key = (pod.namespace.clone(), pod.name.clone());
        let used = cluster
            .pod_usage
            .get(&key)
            .map_or_else(|| "–".into(), |u| format!("{}/{}", cores(u.cpu_milli), bytes(u.memory_bytes)));
        out.row(
            if grade == Grade::Fine { Role::Text } else { grade.role() },
            format!(
                "{} {:<38} {:>5} {:<17} {:>4} {:>11} {:>11} {:>4}",
                grade.glyph(),
                text::tail(&format!("{}/{}", pod.namespace, pod.name), 38),
                format!("{}/{}", pod.containers_ready, pod.containers),
                text::head(pods::status(pod), 17),
                pod.restarts,
                used,
                format!("{}/{}", cores(pod.requests.cpu_milli), bytes(pod.requests.memory_bytes)),
                age(now.since(pod.created)),
            ),
        );
        if let Some(line) = out.0.last_mut() {
            line.object = Some(pods::object(pod));
        }
    }
    if found.len() > 300 {
        out.say(Role::Dim, format!("  and {} more", found.len() - 300));
    }
}

fn pod(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Option<()> {
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
        let when = exit.at.map_or_else(String::new, |at| format!(", {} ({at})", past(now, at)));
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
    out.field("node", pod.node.as_ref().map_or("not bound to a node", |n| n.as_str()));
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
    Some(())
}

fn cronjob(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Option<()> {
    let cronjob =
        cluster.cronjobs.iter().find(|c| c.namespace == object.namespace && c.name == object.name)?;
    out.head(&format!("CronJob {}/{}", cronjob.namespace, cronjob.name));
    let zone = cronjob.time_zone.as_ref().map_or_else(String::new, |tz| format!(" {tz}"));
    out.field("schedule", format!("{}{zone}", cronjob.schedule));
    if cronjob.suspended {
        out.say(Role::Warning, format!("  {:<14} no job is made until it is resumed", "suspended"));
    }
    let at = |at: Option<Stamp>| at.map_or_else(|| "never".into(), |at| format!("{at} ({})", past(now, at)));
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
        for row in jobs {
            let (grade, w) = (workloads::grade(row), &row.workload);
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
    let grade = workloads::grade(row);
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
    out.field("managed by", w.managed_by.as_ref().map_or("", Name::as_str));
    if let Some(by) = &w.changed {
        out.field("last change", format!("by {}, {} ({})", by.manager, past(now, by.at), by.at));
    }
    out.field("restarted at", w.restarted_at.as_ref().map_or("", Name::as_str));
    out.field("age", age(now.since(w.created)));
    for hpa in cluster
        .hpas
        .iter()
        .filter(|h| h.namespace == w.namespace && h.target_name == w.name && h.target_kind == w.kind)
    {
        let verdict = hpa::judge(hpa, now);
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
    let (kind, ns, name) = (w.kind.clone(), w.namespace.clone(), w.name.clone());
    pod_table(out, cluster, "Pods", now, |p| belongs(p, cluster, &kind, &ns, &name));
    Some(())
}

/// The events about an object, the newest first; of a workload, its pods' and ReplicaSets' too.
pub fn events(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) {
    let about = |o: &ObjectRef| {
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
