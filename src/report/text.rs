//! Snapshot, why and doctor for people and chats: plain lines, no colours, safe text.

use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::model::changes::{fold_for_people, words};
use pilothouse_core::model::world::{Cluster, Silenced};
use pilothouse_core::policy::rules::glyph;

use super::document::Snapshot;

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |v| v.to_string())
}

/// NOW and what changed.
pub fn why(cluster: &Cluster, now: Stamp) -> Vec<String> {
    let counts = cluster.derived.counts;
    let nodes = if cluster.nodes.is_empty() && !cluster.nodes.cover.is_complete() {
        "nodes unknown".to_owned()
    } else {
        format!("nodes {}/{}", counts.nodes_ready, counts.nodes)
    };
    let mut lines = vec![format!(
        "{} at {now}: {nodes}, pods {} ({} bad)",
        cluster.info.context, counts.pods, counts.pods_bad
    )];
    if let Some(note) = cluster.pods.cover.note() {
        lines.push(format!("pods: {note}"));
    }
    let silenced = &cluster.derived.silenced;
    if cluster.derived.causes.is_empty() {
        let but = if silenced.is_empty() { "" } else { " but for what is silenced" };
        lines.push(format!("nothing is known to be wrong{but}"));
    }
    for cause in cluster.derived.causes.iter() {
        let since = cause.since.map_or_else(String::new, |s| format!(" (for {})", age(now.since(s))));
        lines.push(format!("{} {}{since}", glyph(cause.severity), cause.title));
        lines.extend(cause.evidence.iter().map(|e| format!("    {e}")));
    }
    if !silenced.is_empty() {
        lines.push(format!("{} silenced:", silenced.len()));
    }
    for Silenced { cause, by } in silenced.iter() {
        lines.push(format!("  {} {} ({})", glyph(cause.severity), cause.title, by.words()));
    }
    if !cluster.derived.changes.is_empty() {
        lines.push("changed in the last 30 minutes:".into());
    }
    for change in fold_for_people(&cluster.derived.changes) {
        lines.push(format!("  {} {}", change.at.clock(), words(&change, false)));
    }
    lines
}

/// A snapshot in short tables.
pub fn snapshot(doc: &Snapshot, cluster: &Cluster, now: Stamp) -> Vec<String> {
    let mut lines = why(cluster, now);
    lines.push(String::new());
    lines.push(
        "NODE  STATE  ZONE  CPU used/requested/allocatable  MEMORY used/requested/allocatable  PODS".into(),
    );
    for n in &doc.nodes {
        lines.push(format!(
            "{}  {}{}  {}  {}/{}/{}m  {}/{}/{}  {}/{}",
            n.name,
            n.state,
            if n.cordoned { ",cordoned" } else { "" },
            or_dash(n.zone.as_ref()),
            or_dash(n.cpu.used_milli),
            or_dash(n.cpu.requested_milli),
            n.cpu.allocatable_milli,
            or_dash(n.memory.used_bytes),
            or_dash(n.memory.requested_bytes),
            n.memory.allocatable_bytes,
            or_dash(n.pods.count),
            n.pods.capacity
        ));
    }
    lines.push(String::new());
    lines.push("SERVICE  RPS  ERROR%  P95  READY".into());
    for s in &doc.services {
        lines.push(format!(
            "{}/{}  {}  {}  {}  {}/{}",
            s.namespace,
            s.name,
            s.rps.map_or_else(|| "-".into(), |v| format!("{v:.1}")),
            s.error_ratio.map_or_else(|| "-".into(), |v| format!("{:.1}", v * 100.0)),
            s.p95_ms.map_or_else(|| "-".into(), |v| format!("{v:.0}ms")),
            or_dash(s.ready),
            or_dash(s.endpoints)
        ));
    }
    lines.push(String::new());
    lines.push("AUTOSCALER  NOW->WANT  MIN-MAX  VERDICT".into());
    for a in &doc.autoscalers {
        lines.push(format!(
            "{}/{}  {}->{}  {}-{}  {}",
            a.namespace,
            a.name,
            or_dash(a.current),
            or_dash(a.desired),
            a.min,
            a.max,
            a.verdict
        ));
    }
    lines
}

/// Each source, in words.
pub fn sources(cluster: &Cluster, now: Stamp) -> Vec<String> {
    let mut lines = Vec::new();
    for source in cluster.sources.iter() {
        let seen = source
            .last_ok
            .map_or_else(|| "never answered".into(), |at| format!("{} s ago", now.secs_since(at)));
        let error = source.error.as_ref().map_or_else(String::new, |e| format!(": {e}"));
        lines.push(format!("source {} {} ({seen}){error}", source.name, source.state.as_str()));
    }
    lines
}
