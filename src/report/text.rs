//! Snapshot, why and doctor for people and chats: plain lines, no colours, safe text.

use pilothouse_core::domain::time::{Stamp, age, skew};
use pilothouse_core::model::changes::{fold_for_people, recent, words};
use pilothouse_core::model::table::Coverage;
use pilothouse_core::model::world::{Cluster, Silenced};
use pilothouse_core::policy::rules::glyph;
use pilothouse_core::policy::seen;

use super::document::Snapshot;

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |v| v.to_string())
}

/// What was not seen, as the first line; none if all was.
pub fn not_seen(cluster: &Cluster) -> Vec<String> {
    let unseen = seen::unseen(cluster);
    if unseen.is_empty() {
        return Vec::new();
    }
    let head = if unseen.iter().any(|u| u.why.is_fault()) { "NOT SEEN" } else { "not seen" };
    vec![format!("{head}: {}", seen::words(&unseen))]
}

/// A server whose clock is off.
pub fn clock(cluster: &Cluster) -> Option<String> {
    let ms = cluster.identity.skew_ms()?;
    Some(format!(
        "CLOCK: the server's clock is {} (compared with this machine's); times here are the server's",
        skew(ms)
    ))
}

/// How long a finding lasts: `for 3m`, or `just now`.
fn lasting(millis: u64) -> String {
    match age(millis) {
        young if young == age(0) => "just now".into(),
        long => format!("for {long}"),
    }
}

/// NOW and what changed.
pub fn why(cluster: &Cluster, now: Stamp) -> Vec<String> {
    let counts = cluster.derived.counts;
    let nodes = if cluster.nodes.is_empty() && !cluster.nodes.cover.is_complete() {
        "nodes unknown".to_owned()
    } else {
        format!("nodes {}/{}", counts.nodes_ready, counts.nodes)
    };
    // a number that is not known is not 0
    let has_pods = cluster.pods.cover.is_read() || !cluster.pods.is_empty();
    let pods = if has_pods {
        format!("pods {} ({} bad)", counts.pods, counts.pods_bad)
    } else {
        "pods unknown".to_owned()
    };
    // first, so that nobody and no script takes the rest for all of it
    let mut lines = not_seen(cluster);
    let nothing_missed = lines.is_empty();
    lines.push(format!("{} at {now}: {nodes}, {pods}", cluster.info.context));
    lines.extend(clock(cluster));
    if let Some(note) = cluster.pods.cover.note().filter(|_| has_pods) {
        lines.push(format!("pods: {note}"));
    }
    let silenced = &cluster.derived.silenced;
    if cluster.derived.causes.is_empty() {
        let all = if silenced.is_empty() {
            "no problems found"
        } else {
            "no problems found except what is silenced"
        };
        let saw_nothing = !has_pods && cluster.nodes.is_empty() && !cluster.nodes.cover.is_read();
        let said = match (nothing_missed, saw_nothing) {
            (true, _) => all,
            (false, false) => "nothing wrong was found in what was seen",
            (false, true) => "neither nodes nor pods were seen: nothing is known",
        };
        lines.push(said.into());
    }
    for cause in cluster.derived.causes.iter() {
        let since = cause.since.map_or_else(String::new, |s| format!(" ({})", lasting(now.since(s))));
        lines.push(format!("{} {}{since}", glyph(cause.severity), cause.title));
        lines.extend(cause.evidence.iter().map(|e| format!("    {e}")));
    }
    if !silenced.is_empty() {
        lines.push(format!("{} silenced:", silenced.len()));
    }
    for Silenced { cause, by } in silenced.iter() {
        lines.push(format!("  {} {} ({})", glyph(cause.severity), cause.title, by.words()));
    }
    let changes = recent(&cluster.derived.changes, now);
    if !changes.is_empty() {
        lines.push("changed in the last 30 minutes:".into());
    }
    for change in fold_for_people(changes) {
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
        let part = match super::snapshot::cover(cluster, &source.name) {
            Some(Coverage::Namespaces(names)) => format!(", only {}", names.join(", ")),
            _ => String::new(),
        };
        lines.push(format!("source {} {}{part} ({seen}){error}", source.name, source.state.as_str()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::node::Node;
    use pilothouse_core::domain::pod::Pod;
    use pilothouse_core::domain::source::{SourceState, SourceStatus};
    use pilothouse_core::model::event::{Batch, Fact, Identity};
    use pilothouse_core::model::state::ClusterState;
    use pilothouse_core::model::world::ClusterInfo;

    use super::*;

    /// All tables empty and complete, then these facts.
    fn cluster(more: Vec<Fact>) -> Arc<Cluster> {
        fn none<T>(fact: fn(Batch<T>) -> Fact) -> [Fact; 2] {
            let (generation, version) = (1, pilothouse_core::domain::id::Version(1));
            [fact(Batch::Begin { generation }), fact(Batch::End { generation, version })]
        }
        let mut state = ClusterState::new(ClusterInfo { context: "test".into(), ..ClusterInfo::default() });
        let empty = [
            none::<Node>(Fact::Nodes),
            none(Fact::Leases),
            none::<Pod>(Fact::Pods),
            none(Fact::Deployments),
            none(Fact::ReplicaSets),
            none(Fact::StatefulSets),
            none(Fact::DaemonSets),
            none(Fact::Jobs),
            none(Fact::CronJobs),
            none(Fact::Services),
            none(Fact::EndpointSlices),
            none(Fact::Hpas),
            none(Fact::Pdbs),
            none(Fact::Events),
        ];
        for fact in empty.into_iter().flatten().chain(more) {
            state.apply(fact, Stamp(0));
        }
        state.publish(Stamp(0), true).unwrap()
    }

    #[test]
    fn all_is_well_only_when_everything_was_seen() {
        let lines = why(&cluster(Vec::new()), Stamp(0));
        assert_eq!(lines, ["test at 1970-01-01T00:00:00Z: nodes 0/0, pods 0 (0 bad)", "no problems found"]);
        let lines = why(&cluster(vec![Fact::Pdbs(Batch::NotInstalled)]), Stamp(0));
        assert_eq!(lines.last().unwrap(), "no problems found", "what is not there is not missed");
        let lines = why(&cluster(vec![Fact::Events(Batch::Stale { since: Some(Stamp(0)) })]), Stamp(0));
        assert_eq!(lines.first().unwrap(), "NOT SEEN: events (no fresh data)");
        assert_eq!(lines.last().unwrap(), "nothing wrong was found in what was seen");
        let lines = why(&cluster(vec![Fact::Events(Batch::Denied { reason: "403".into() })]), Stamp(0));
        assert_eq!(lines.first().unwrap(), "not seen: events (no permission)", "said, and no fault");
        let down = SourceStatus {
            name: "pods".into(),
            state: SourceState::Down { since: Stamp(0) },
            error: Some("503: Service Unavailable".into()),
            ..SourceStatus::default()
        };
        let lines = why(&cluster(vec![Fact::Source(down)]), Stamp(0));
        assert_eq!(lines.first().unwrap(), "NOT SEEN: pods (503: Service Unavailable)");
        assert!(!lines.iter().any(|l| l.contains("nothing is known")), "{lines:?}");
    }

    #[test]
    fn a_clock_that_is_off_is_told_and_rounding_is_not() {
        let at = |ms| {
            let identity = Identity { clock_offset_ms: Some(ms), ..Identity::default() };
            clock(&cluster(vec![Fact::Identity(identity)]))
        };
        assert_eq!(at(900), None);
        assert_eq!(
            at(-5_400_000).unwrap(),
            "CLOCK: the server's clock is 90m behind (compared with this machine's); times here are the server's"
        );
    }
}
