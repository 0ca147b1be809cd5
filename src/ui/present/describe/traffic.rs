//! Describes the objects between workloads and their load: Services, autoscalers and disruption budgets.

use std::sync::Arc;

use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::node::Status;
use pilothouse_core::domain::route::Host;
use pilothouse_core::domain::slo::{self, SloState};
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::domain::traffic::ServiceTraffic;
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::world::{Cluster, HpaRow, TrafficRow};
use pilothouse_core::logs::targets::belongs;
use pilothouse_core::policy::balancing::{self, Lookup};
use pilothouse_core::policy::{hpa, links, split};

use super::super::super::cell::{millis, past, rate, ratio};
use super::super::super::pane::{autoscalers, backends, workloads};
use super::super::super::rows::backends::{Backend, collect};
use super::super::super::theme::Role;
use super::super::super::widget::text;
use super::lines::TableRow;
use super::{Lines, conditions, pod};

fn traffic_of<'c>(cluster: &'c Cluster, namespace: &str, name: &str) -> Option<&'c Arc<ServiceTraffic>> {
    cluster.traffic.services.iter().find(|t| t.namespace == namespace && t.name == name)
}

/// Describes requests, errors and latencies.
fn measured(t: &ServiceTraffic) -> String {
    let (p50, p95, p99) = (millis(t.p50_ms), millis(t.p95_ms), millis(t.p99_ms));
    format!("{} rps, {}% errors, p50 {p50} p95 {p95} p99 {p99}", rate(t.rps), ratio(t.error_ratio))
}

pub(super) fn service(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Option<()> {
    let row = cluster
        .derived
        .services
        .iter()
        .find(|r| r.service.namespace == object.namespace && r.service.name == object.name);
    let traffic = cluster.measured(&object.namespace, &object.name);
    if row.is_none() && traffic.is_none() {
        return None;
    }
    out.head(&format!("Service {}/{}", object.namespace, object.name));
    if let Some(row) = row {
        let s = &row.service;
        let role = if row.ready == 0 { Role::Critical } else { Role::Text };
        out.say(role, format!("  {:<14} {} of {} ready", "backends", row.ready, row.total));
        let selector: Vec<String> = s.selector.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        out.field(
            "selector",
            if selector.is_empty() {
                "none: the endpoints are managed by hand".into()
            } else {
                selector.join(",")
            },
        );
        out.field(
            "type",
            format!(
                "{}{}",
                s.kind.as_str(),
                if s.headless { ", headless (clients balance by name)" } else { "" }
            ),
        );
        if s.sticky {
            out.field("affinity", "ClientIP");
        }
        out.field("age", age(now.since(s.created)));
    }
    if let Some(row) = traffic {
        let t = &row.traffic;
        out.field("traffic", format!("{}, measured by {} over {} s", measured(t), t.preset, t.window_secs));
    }
    balanced(out, cluster, object, traffic);
    objectives(out, cluster, object);
    let found = collect(cluster, &object.namespace, &object.name);
    out.head(&format!("Backends: {}", found.len()));
    let mut found: Vec<_> = found.iter().collect();
    found.sort_by(|a, b| backends::order(a, b, 0));
    // a drawing needs the width of a list
    let columns = || backends::COLUMNS.iter().zip(0..).filter(|(column, _)| !column.is_drawn());
    let texts = |b: &Backend| -> Vec<String> {
        let row = backends::row(b);
        columns().map(|(_, at)| row.cells.get(at).map_or_else(String::new, |c| c.text.clone())).collect()
    };
    let rows: Vec<TableRow> = found
        .iter()
        .map(|b| TableRow { grade: b.grade(), cells: texts(b), object: b.object(cluster, &object.namespace) })
        .collect();
    // numbers are aligned right, as in the list of backends
    let heads: Vec<String> =
        columns().map(|(c, _)| if c.right { format!(" {}", c.head) } else { c.head.to_owned() }).collect();
    out.table(&heads.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
    if let Some(note) = traffic.and_then(|row| row.shares.note) {
        out.say(Role::Dim, format!("  {note}"));
    }
    Some(())
}

/// Describes how requests are distributed, and where that was read.
fn balanced(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, traffic: Option<&Arc<TrafficRow>>) {
    let host = Host { namespace: object.namespace.clone(), name: object.name.clone() };
    let found = match traffic {
        Some(row) => row.balancing.clone(),
        None => balancing::discover(&host, None, &Lookup::new(cluster)),
    };
    let from = if found.read_from.is_empty() { String::new() } else { format!(" from {}", found.read_from) };
    out.field("balancing", format!("{} ({}{from})", found.shown().as_str(), found.origin.as_str()));
    out.field("", &found.detail);
    // of a Service that is measured, the note below its backends says it
    let no_share = found.no_share.filter(|_| traffic.is_none());
    out.field("", no_share.map(|why| why.to_string()).unwrap_or_default());
    let total: f64 = found.split.iter().map(|part| part.weight).sum();
    for part in found.split.iter() {
        let count = text::count(part.backends.len(), "backend");
        out.field("part", format!("{}: {} of {total}, {count}", part.name, part.weight));
    }
    if let Some(share) = &found.of_route {
        let seen = |part: &Host| cluster.measured(&part.namespace, &part.name).map(|row| &*row.traffic);
        let judged = split::judge(&host, share, seen);
        let role = if judged.significant == Some(true) { Role::Warning } else { Role::Text };
        let verdict = match judged.significant {
            Some(true) => ", not as expected",
            Some(false) => ", as expected",
            None if share.partial => ", not judged: other rules send requests to it as well",
            None => "",
        };
        let observed = judged.observed.map_or_else(String::new, |o| format!(", observed {:.1}%", o * 100.0));
        out.say(role, format!("  {:<14} {share}{observed}{verdict}", "route"));
    }
}

/// Describes the service level objectives, and names the dashboard.
fn objectives(out: &mut Lines, cluster: &Cluster, object: &ObjectRef) {
    if let Some(url) = links::dashboard(&cluster.info.dashboard, &object.namespace, &object.name) {
        out.link("dashboard", &url);
    }
    for row in cluster.slos(&object.namespace, &object.name) {
        let (objective, verdict) = (&row.measured.objective, &row.verdict);
        let role = match verdict.state {
            SloState::BurningFast => Role::Critical,
            SloState::Spent | SloState::BurningSlowly => Role::Warning,
            SloState::Fine => Role::Text,
            SloState::Unknown => Role::Dim,
        };
        let share =
            |share: Option<f64>| share.map_or_else(|| "–".into(), |s| format!("{} %", slo::percent(s)));
        let left = verdict.budget_left.map_or_else(|| "–".into(), |left| format!("{:.1} %", left * 100.0));
        let gone = verdict.gone_in_secs.map_or_else(String::new, |secs| {
            format!("; at this rate it is used up in {}", age(secs.saturating_mul(1000)))
        });
        out.say(
            role,
            format!(
                "  {:<14} {objective} ({}): {} good, {left} of the error budget left{gone}",
                "objective",
                objective.by.as_str(),
                share(verdict.availability),
            ),
        );
        out.say(role, format!("  {:<14} {}", "", verdict.why));
        let burns = verdict.burns.iter().map(|burn| {
            let (long, short) = (slo::rate(burn.long), slo::rate(burn.short));
            let (of_long, of_short) = (slo::window(burn.long_secs), slo::window(burn.short_secs));
            format!("{of_long} {long}, {of_short} {short} (too high: both {})", slo::rate(Some(burn.factor)))
        });
        out.say(Role::Dim, format!("  {:<14} burn rates: {}", "", burns.collect::<Vec<_>>().join("; ")));
        if let Some(note) = &row.measured.note {
            out.say(Role::Dim, format!("  {:<14} {note}", ""));
        }
    }
}

pub(super) fn autoscaler(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Option<()> {
    let is = |row: &&Arc<HpaRow>| row.hpa.namespace == object.namespace && row.hpa.name == object.name;
    let row = cluster.derived.hpas.iter().find(is)?;
    let (h, verdict) = (&row.hpa, &row.verdict);
    let grade = autoscalers::grade_of(verdict.state);
    out.head(&format!("HorizontalPodAutoscaler {}/{}", h.namespace, h.name));
    let since =
        verdict.since.map_or_else(String::new, |s| format!(", {} ({})", age(now.since(s)), s.told(now)));
    out.say(grade.role(), format!("  {:<14} {} {}{since}", "verdict", grade.glyph().trim(), verdict.why));
    let is_target =
        |w: &Workload| w.kind == h.target_kind && w.namespace == h.namespace && w.name == h.target_name;
    let target = cluster.derived.workloads.iter().find(|row| is_target(&row.workload));
    let state = target.map_or_else(String::new, |row| {
        let w = &row.workload;
        let images: Vec<&str> = w.images.iter().map(|i| workloads::image(i)).collect();
        format!("  {} of {} ready, {}, {}", w.ready, w.desired, row.rollout.phase.as_str(), images.join(" "))
    });
    out.field("target", format!("{}/{}{state}", h.target_kind.short(), h.target_name));
    // the load of the workload: the traffic of its Services
    for row in cluster.derived.services.iter().filter(|row| row.service.namespace == h.namespace) {
        let service = &row.service;
        if target
            .is_some_and(|t| !service.selector.is_empty() && t.workload.may_have_pods_for(&service.selector))
            && let Some(t) = traffic_of(cluster, &service.namespace, &service.name)
        {
            out.field("load", format!("{}: {}", service.name, measured(t)));
        }
    }
    let show = |n: Option<i32>| n.map_or_else(|| "–".into(), |n| n.to_string());
    out.field(
        "replicas",
        format!("{} now, {} desired, {} to {} allowed", show(h.current), show(h.desired), h.min, h.max),
    );
    if let Some(by) = &h.changed {
        out.field("last edit", format!("by {}, {}", by.manager, past(now, by.at)));
    }
    out.field("last scaling", h.last_scale.map_or_else(String::new, |s| past(now, s)));
    if h.keda {
        out.say(Role::Info, "  owned by a ScaledObject (KEDA): edits of the HPA are reverted");
    }
    out.head("How the number of replicas is computed");
    for m in h.metrics.iter() {
        let asks = hpa::ask(h, m).map_or_else(|| "no value, so it computes nothing".into(), |(_, text)| text);
        out.say(Role::Text, format!("  {:<28} {asks}", autoscalers::metric(m)));
    }
    if let (Some(wants), Some(limit)) = (verdict.wants, &verdict.limited_by) {
        out.say(
            grade.role(),
            format!("  asks for {wants}, limited to {} by {limit}", show(h.desired.or(h.current))),
        );
    }
    if let (Some(wants), Some(desired), None) = (verdict.wants, h.desired, &verdict.limited_by)
        && wants != desired
    {
        out.say(
            Role::Dim,
            format!("  the controller's own number is {desired}: pods that are not ready count as 0 %, and it waits for its stabilization windows"),
        );
    }
    conditions(out, &h.conditions, |c| (c.kind == "ScalingLimited") == (c.status == Status::True), now);
    // the metrics are measured on these pods
    pod::table(out, cluster, "Pods that it scales", now, |p| {
        belongs(p, cluster, &h.target_kind, &h.namespace, &h.target_name)
    });
    Some(())
}

pub(super) fn budget(out: &mut Lines, cluster: &Cluster, object: &ObjectRef, now: Stamp) -> Option<()> {
    let p = cluster.pdbs.iter().find(|p| p.namespace == object.namespace && p.name == object.name)?;
    out.head(&format!("PodDisruptionBudget {}/{}", p.namespace, p.name));
    let role = if p.allowed <= 0 { Role::Warning } else { Role::Ok };
    out.say(
        role,
        format!(
            "  {:<14} {}",
            "allows now",
            text::count(usize::try_from(p.allowed).unwrap_or(0), "disruption")
        ),
    );
    out.field(
        "rule",
        match (&p.min_available, &p.max_unavailable) {
            (Some(min), _) => format!("minAvailable {min}"),
            (None, Some(max)) => format!("maxUnavailable {max}"),
            _ => "none".into(),
        },
    );
    out.field(
        "healthy",
        format!("{} of {} expected, {} needed", p.current_healthy, p.expected, p.desired_healthy),
    );
    out.field(
        "blocked since",
        p.blocked_since().map_or_else(String::new, |s| format!("{} ({})", s.told(now), age(now.since(s)))),
    );
    conditions(out, &p.conditions, |c| c.status == Status::False, now);
    let selector = p.selector.clone();
    let ns = p.namespace.clone();
    pod::table(out, cluster, "Pods that it protects", now, |pod| {
        pod.namespace == ns && selector.matches(pod)
    });
    Some(())
}
