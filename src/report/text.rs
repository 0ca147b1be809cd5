//! Formats `snapshot`, `why` and `doctor` for terminals and chats: plain lines, no colors, sanitized text.

use pilothouse_core::domain::autoscaler::HpaState;
use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::time::{Stamp, age, skew};
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cluster, Silenced};
use pilothouse_core::policy::rules::glyph;
use pilothouse_core::policy::seen;
use pilothouse_core::state::changes::{fold_for_people, recent, words};

use super::advice;
use super::document::{Cpu, Memory, Snapshot};
use super::table::Table;

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |v| v.to_string())
}

/// Truncates a time to the second, because milliseconds are not useful here.
pub fn second(at: Stamp) -> Stamp {
    Stamp(at.0.div_euclid(1000) * 1000)
}

/// Returns the first line, which lists data that was not read. Returns nothing if all data was read.
pub fn not_seen(cluster: &Cluster) -> Vec<String> {
    let unseen = seen::unseen(cluster);
    if unseen.is_empty() {
        return Vec::new();
    }
    let head = if unseen.iter().any(|u| u.why.is_fault()) { "NOT SEEN" } else { "not seen" };
    vec![format!("{head}: {}", seen::words(&unseen))]
}

/// Describes the offset of a server's clock, if there is one.
pub fn clock(cluster: &Cluster) -> Option<String> {
    let ms = cluster.identity.skew_ms()?;
    Some(format!(
        "CLOCK: the server's clock is {} (compared with this machine's); times here are the server's",
        skew(ms)
    ))
}

/// Describes how long a finding has lasted: `for 3m`, or `just now`.
fn lasting(millis: u64) -> String {
    match age(millis) {
        young if young == age(0) => "just now".into(),
        long => format!("for {long}"),
    }
}

fn has_pods(cluster: &Cluster) -> bool {
    cluster.pods.cover.is_read() || !cluster.pods.is_empty()
}

/// Returns the head: the cluster, the time, and how much of the cluster was read.
fn head(cluster: &Cluster, now: Stamp) -> Vec<String> {
    let counts = cluster.derived.counts;
    let nodes = if cluster.nodes.is_empty() && !cluster.nodes.cover.is_complete() {
        "nodes unknown".to_owned()
    } else {
        format!("nodes {}/{}", counts.nodes_ready, counts.nodes)
    };
    // an unknown number is not shown as 0
    let has_pods = has_pods(cluster);
    let pods = if has_pods {
        format!("pods {} ({} bad)", counts.pods, counts.pods_bad)
    } else {
        "pods unknown".to_owned()
    };
    // this line comes first, so that neither people nor scripts mistake the rest for complete data
    let mut lines = not_seen(cluster);
    lines.push(format!("{} at {}: {nodes}, {pods}", cluster.info.context, second(now)));
    if !cluster.info.server.is_empty() {
        let version = cluster.identity.version.as_ref().map_or_else(String::new, |v| format!(", {v}"));
        let only = match &*cluster.info.namespaces {
            [] => String::new(),
            names => format!(", only namespace {}", names.join(", ")),
        };
        lines.push(format!("API server {}{version}{only}", cluster.info.server));
    }
    lines.extend(clock(cluster));
    if let Some(note) = cluster.pods.cover.note().filter(|_| has_pods) {
        lines.push(format!("pods: {note}"));
    }
    lines
}

/// Returns the text that is shown if there is no finding.
fn no_finding(cluster: &Cluster) -> String {
    let all = if cluster.derived.silenced.is_empty() {
        "nothing is known to be wrong"
    } else {
        "nothing is known to be wrong except what is silenced"
    };
    let vital = ["nodes", "pods"].map(|name| cluster.source(name).and_then(|s| s.error.as_ref()));
    let silent = vital.iter().all(Option::is_none) && !matches!(cluster.nodes.cover, Coverage::Denied(_));
    let saw_nothing = !has_pods(cluster) && cluster.nodes.is_empty() && !cluster.nodes.cover.is_read();
    match (seen::unseen(cluster).is_empty(), saw_nothing) {
        (true, _) => all.into(),
        (false, false) => "nothing wrong was found in what was seen".into(),
        (false, true) if silent => format!(
            "the API server {} did not answer: neither nodes nor pods were seen, nothing is known",
            cluster.info.server
        ),
        (false, true) => "neither nodes nor pods were seen: nothing is known".into(),
    }
}

/// Formats NOW with its evidence, the advice, and the recent changes. `reach` contains the flags that select this
/// cluster.
pub fn why(cluster: &Cluster, reach: &str, now: Stamp) -> Vec<String> {
    let mut lines = head(cluster, now);
    let silenced = &cluster.derived.silenced;
    if cluster.derived.causes.is_empty() {
        lines.push(no_finding(cluster));
    }
    for cause in cluster.derived.causes.iter() {
        let since = cause.since.map_or_else(String::new, |s| format!(" ({})", lasting(now.since(s))));
        lines.push(format!("{} {}{since}", glyph(cause.severity), cause));
        lines.extend(cause.lines().into_iter().map(|line| format!("    {line}")));
        if let Some(action) = &cause.action {
            lines.push(match advice::command(cluster, cause, action, reach) {
                Some(command) => format!("    do: {command}    # {action}"),
                None => format!("    do: {action}"),
            });
        }
    }
    if !silenced.is_empty() {
        lines.push(format!("{} silenced:", silenced.len()));
    }
    for Silenced { cause, by } in silenced.iter() {
        lines.push(format!("  {} {} ({})", glyph(cause.severity), cause, by.words()));
    }
    let changes = recent(&cluster.derived.changes, now);
    if !changes.is_empty() {
        lines.push("changed in the last 30 minutes (times are UTC):".into());
    }
    for change in fold_for_people(changes) {
        lines.push(format!("  {} {}", change.change.at.clock(), words(&change, false)));
    }
    lines
}

/// Formats a ratio in percent.
fn percent(part: Option<i64>, whole: i64) -> String {
    part.filter(|_| whole > 0)
        .map_or_else(|| "-".into(), |part| format!("{}%", (part * 100 + whole / 2) / whole))
}

fn cores(cpu: &Cpu) -> [String; 3] {
    let whole = cpu.allocatable_milli;
    let cores = format!("{:.1}", whole as f64 / 1000.0);
    [cores, percent(cpu.used_milli, whole), percent(cpu.requested_milli, whole)]
}

fn gib(memory: &Memory) -> [String; 3] {
    let whole = memory.allocatable_bytes;
    let gib = format!("{:.1}", whole as f64 / f64::from(1 << 30));
    [gib, percent(memory.used_bytes, whole), percent(memory.requested_bytes, whole)]
}

fn nodes(doc: &Snapshot) -> Vec<String> {
    let mut table = Table::new([
        "NODE",
        "STATE",
        "ZONE",
        ">CORES",
        ">CPU-USED",
        ">CPU-REQUESTED",
        ">GIB",
        ">MEM-USED",
        ">MEM-REQUESTED",
        ">PODS",
    ]);
    for n in &doc.nodes {
        let state = format!("{}{}", n.state, if n.cordoned { ",cordoned" } else { "" });
        let ([cores, cpu_used, cpu_requested], [gib, mem_used, mem_requested]) =
            (cores(&n.cpu), gib(&n.memory));
        let pods = format!("{}/{}", or_dash(n.pods.count), n.pods.capacity);
        let (name, zone) = (n.name.clone(), or_dash(n.zone.as_ref()));
        table.row([name, state, zone, cores, cpu_used, cpu_requested, gib, mem_used, mem_requested, pods]);
    }
    table.lines()
}

/// Formats `shop/cart`. A name without a namespace stays as it is.
fn placed(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

fn services(doc: &Snapshot) -> Vec<String> {
    let mut table = Table::new(["SERVICE", ">RPS", ">ERRORS", ">P50", ">P95", ">P99", ">READY"]);
    let ms = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.0}ms"));
    for s in &doc.services {
        table.row([
            placed(&s.namespace, &s.name),
            s.rps.map_or_else(|| "-".into(), |v| format!("{v:.1}")),
            s.error_ratio.map_or_else(|| "-".into(), |v| format!("{:.1}%", v * 100.0)),
            ms(s.p50_ms),
            ms(s.p95_ms),
            ms(s.p99_ms),
            s.ready.zip(s.endpoints).map_or_else(|| "-".into(), |(ready, all)| format!("{ready}/{all}")),
        ]);
    }
    table.lines()
}

fn error_groups(doc: &Snapshot) -> Vec<String> {
    let mut table = Table::new(["WORKLOAD", ">LINES", ">PER-MINUTE", "LAST-SEEN", "ERROR"]);
    for group in &doc.error_groups {
        let at = Stamp::parse(&group.last_seen).map_or_else(String::new, |at| second(at).to_string());
        table.row([
            group.workloads.join(","),
            group.count.to_string(),
            format!("{:.0}", group.per_minute),
            at,
            group.template.clone(),
        ]);
    }
    table.lines()
}

fn autoscalers(cluster: &Cluster) -> Vec<String> {
    let mut table = Table::new(["AUTOSCALER", ">NOW", ">WANTS", ">MIN", ">MAX", "VERDICT"]);
    let mut rows: Vec<_> = cluster.derived.hpas.iter().collect();
    rows.sort_by(|a, b| (&a.hpa.namespace, &a.hpa.name).cmp(&(&b.hpa.namespace, &b.hpa.name)));
    for row in rows {
        let (hpa, verdict) = (&row.hpa, &row.verdict);
        // the number of replicas that the metrics ask for says more than the number that the maximum allows
        let wants = verdict.wants.filter(|_| verdict.state == HpaState::AtMax).or(hpa.desired);
        table.row([
            placed(&hpa.namespace, &hpa.name),
            or_dash(hpa.current),
            or_dash(wants),
            hpa.min.to_string(),
            hpa.max.to_string(),
            verdict.why.to_string(),
        ]);
    }
    table.lines()
}

fn workloads(doc: &Snapshot) -> Vec<String> {
    let mut table = Table::new(["WORKLOAD", ">READY", ">UPDATED", ">RESTARTS", "ROLLOUT"]);
    for w in &doc.workloads {
        let kind = Kind::parse(&w.kind).short();
        table.row([
            format!("{}/{kind}/{}", w.namespace, w.name),
            format!("{}/{}", w.ready, w.desired),
            w.updated.to_string(),
            w.restarts.to_string(),
            w.rollout.to_owned(),
        ]);
    }
    table.lines()
}

/// Formats a snapshot as tables of all objects. Findings are only named here. [`why`] explains them.
pub fn snapshot(doc: &Snapshot, cluster: &Cluster, now: Stamp) -> Vec<String> {
    let mut lines = head(cluster, now);
    let causes = &cluster.derived.causes;
    if causes.is_empty() {
        lines.push(no_finding(cluster));
    } else {
        let s = if causes.len() == 1 { "" } else { "s" };
        lines.push(format!("{} finding{s}; pilothouse why says more:", causes.len()));
    }
    lines.extend(causes.iter().map(|cause| format!("  {} {}", glyph(cause.severity), cause)));
    let tables = [nodes(doc), services(doc), autoscalers(cluster), workloads(doc), error_groups(doc)];
    for table in tables.into_iter().filter(|table| !table.is_empty()) {
        lines.push(String::new());
        lines.extend(table);
    }
    lines
}

/// Describes each source.
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
        let mark = if source.state.is_trouble() { "✖ " } else { "" };
        let through = source.through.as_ref();
        let through = through.map_or_else(String::new, |at| format!(", {at} through the API server"));
        let (name, state) = (&source.name, source.state.as_str());
        lines.push(format!("{mark}source {name} {state}{part} ({seen}){through}{error}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::id::Name;
    use pilothouse_core::domain::source::{Feed, SourceState, SourceStatus};
    use pilothouse_core::facts::event::{Batch, Fact, Identity};
    use pilothouse_core::facts::world::ClusterInfo;
    use pilothouse_core::state::ClusterState;

    use super::*;

    /// All tables are empty and complete before these facts are applied.
    fn cluster(more: Vec<Fact>) -> Arc<Cluster> {
        fn none<T>(fact: fn(Batch<T>) -> Fact) -> [Fact; 2] {
            let (generation, version) = (1, pilothouse_core::domain::id::Version(1));
            [fact(Batch::Begin { generation }), fact(Batch::End { generation, version })]
        }
        let mut state = ClusterState::new(ClusterInfo { context: "test".into(), ..ClusterInfo::default() });
        macro_rules! empty {
            ($($kind:ident: $module:ident::$row:ident, $table:ident, $fact:ident;)*) => {
                [$(none(Fact::$fact)),*]
            };
        }
        let empty = pilothouse_core::domain::kinds::with_tables!(empty);
        for fact in empty.into_iter().flatten().chain(more) {
            state.apply(fact, Stamp(0));
        }
        state.publish(Stamp(0), true).unwrap()
    }

    #[test]
    fn all_is_well_only_when_everything_was_seen() {
        let lines = why(&cluster(Vec::new()), "", Stamp(0));
        assert_eq!(
            lines,
            ["test at 1970-01-01T00:00:00Z: nodes 0/0, pods 0 (0 bad)", "nothing is known to be wrong"]
        );
        let lines = why(&cluster(vec![Fact::Pdbs(Batch::NotInstalled)]), "", Stamp(0));
        assert_eq!(lines.last().unwrap(), "nothing is known to be wrong", "what is not there is not missed");
        let lines = why(&cluster(vec![Fact::Events(Batch::Stale { since: Some(Stamp(0)) })]), "", Stamp(0));
        assert_eq!(lines.first().unwrap(), "NOT SEEN: events (no fresh data)");
        assert_eq!(lines.last().unwrap(), "nothing wrong was found in what was seen");
        let lines = why(&cluster(vec![Fact::Events(Batch::Denied { reason: "403".into() })]), "", Stamp(0));
        assert_eq!(lines.first().unwrap(), "not seen: events (no permission)", "said, and no fault");
        let down = SourceStatus {
            name: "pods".into(),
            state: SourceState::Down { since: Stamp(0) },
            error: Some("503: Service Unavailable".into()),
            ..SourceStatus::default()
        };
        let lines = why(&cluster(vec![Fact::Source(down)]), "", Stamp(0));
        assert_eq!(lines.first().unwrap(), "NOT SEEN: pods (503: Service Unavailable)");
        assert!(!lines.iter().any(|l| l.contains("nothing is known")), "{lines:?}");
    }

    #[test]
    fn a_silent_server_is_blamed_and_not_what_is_asked_through_it() {
        let info =
            ClusterInfo { context: "test".into(), server: "https://api".into(), ..ClusterInfo::default() };
        let mut state = ClusterState::new(info);
        let status = |name: &str, state, error: Option<&str>| {
            let error = error.map(Name::from);
            let feed = if name == "nodes" { Feed::Objects } else { Feed::Usage };
            Fact::Source(SourceStatus { name: name.into(), feed, state, error, ..SourceStatus::default() })
        };
        state.apply(status("nodes", SourceState::Starting, None), Stamp(0));
        let down = SourceState::Down { since: Stamp(0) };
        state.apply(status("metrics.k8s.io", down.clone(), Some("no answer within 10 s")), Stamp(0));
        let now = Stamp(10_000);
        let said = |state: &mut ClusterState| why(&state.publish(now, true).unwrap(), "", now);
        let lines = said(&mut state);
        let last =
            "the API server https://api did not answer: neither nodes nor pods were seen, nothing is known";
        assert_eq!(lines.last().unwrap(), last);
        state.apply(status("nodes", SourceState::Live, None), Stamp(0));
        assert!(said(&mut state).iter().any(|l| l.contains("no fresh data from metrics.k8s.io")));
        state.apply(status("nodes", down, Some("connection refused")), Stamp(0));
        assert!(said(&mut state).iter().any(|l| l.contains("connection refused")));
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
