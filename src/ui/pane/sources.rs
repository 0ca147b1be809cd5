//! The state of a source as a pane shows it: a note in the title, and a message if there are no rows.

use pilothouse_core::domain::link::Link;
use pilothouse_core::domain::source::{Feed, SourceState, SourceStatus};
use pilothouse_core::domain::time::{Stamp, age_of_state, until};
use pilothouse_core::facts::table::{Coverage, Freshness};
use pilothouse_core::facts::world::Cluster;

use super::super::cell::{Cell, cell};
use super::super::theme::Role;
use super::super::widget::text::grouped;

/// The state of a pane in words.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub notes: Vec<Cell>,
    /// The message that is shown if there are no rows. It is empty if the list is known to be empty.
    pub why_empty: Vec<Cell>,
}

impl State {
    /// Creates a state with no note and with this message if there are no rows.
    pub fn empty(words: &str) -> Self {
        Self { notes: Vec::new(), why_empty: vec![cell(Role::Dim, words)] }
    }
}

fn words(cluster: &Cluster, source: &str) -> Option<String> {
    let status = cluster.source(source)?;
    let error = status.error.as_ref()?;
    Some(error.to_string())
}

/// Returns the name of a source as panes show it.
fn named(source: &str) -> &str {
    if source == "horizontalpodautoscalers" { "autoscalers" } else { source }
}

/// Returns the lines that explain a source: its error and its request.
fn detail(cluster: &Cluster, source: &str) -> Vec<Cell> {
    let Some(status) = cluster.source(source) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(error) = &status.error {
        lines.push(cell(Role::Text, error.as_str()));
    }
    if let Some(request) = &status.request {
        // a path of the API server says little without the server's address
        let request = match request.split_once(' ') {
            Some((verb, path)) if path.starts_with('/') => format!("{verb} {}{path}", cluster.info.server),
            _ => request.to_string(),
        };
        lines.push(cell(Role::Dim, format!("request: {request}")));
    }
    // the number of attempts and the time until the next one are omitted, because they would change with every
    // attempt
    if let SourceState::Stale { since } | SourceState::Down { since } = status.state {
        lines.push(cell(Role::Dim, format!("failing since {}, retrying", since.clock_secs())));
    }
    lines
}

/// Returns the state of a table's source.
pub fn of_table(cluster: &Cluster, source: &str, cover: &Coverage, fresh: Freshness, now: Stamp) -> State {
    let mut state = State::default();
    match cover {
        Coverage::Never if cluster.link != Link::Open => {
            state.why_empty.extend(unconnected_why(cluster, now));
        }
        Coverage::Never => {
            let failing = cluster.source(source).filter(|s| s.state.is_trouble());
            if let Some(status) = failing {
                state.notes.push(cell(Role::Stale, status.state.as_str().to_uppercase()));
                state.why_empty.push(cell(Role::Stale, format!("no answer yet for {}", named(source))));
                state.why_empty.extend(detail(cluster, source));
            } else {
                state.notes.push(cell(Role::Dim, "loading"));
                state.why_empty.push(cell(Role::Dim, format!("loading {} …", named(source))));
            }
        }
        Coverage::Loading { have, of } => {
            let text = match of {
                Some(of) => format!("{} of {}", grouped(u64::from(*have)), grouped(u64::from(*of))),
                None => format!("{} so far", grouped(u64::from(*have))),
            };
            state.why_empty.push(cell(Role::Dim, format!("loading {}: {text}", named(source))));
            state.notes.push(cell(Role::Info, text));
        }
        Coverage::Denied(reason) => {
            state.notes.push(cell(Role::Denied, "DENIED"));
            state.why_empty.push(cell(Role::Denied, format!("no permission to read {}", named(source))));
            state.why_empty.push(cell(Role::Text, reason.as_str()));
            state.why_empty.extend(detail(cluster, source).into_iter().filter(|l| l.text != reason.as_str()));
        }
        Coverage::NotInstalled => {
            state.notes.push(cell(Role::Dim, "not installed"));
            state.why_empty.push(cell(Role::Dim, format!("this server has no {}", named(source))));
        }
        Coverage::Namespaces(_) => {
            state.notes.extend(cover.note().map(|note| cell(Role::Info, note)));
        }
        Coverage::Complete => {}
    }
    if let Some(since) = fresh.stale_since {
        let why = words(cluster, source).map_or_else(String::new, |w| format!(": {w}"));
        state.notes.push(cell(Role::Stale, format!("STALE {}{why}", age_of_state(now.since(since)))));
    }
    state
}

/// Returns the combined state of the sources of a feed. These sources do not publish tables.
pub fn of_feed(cluster: &Cluster, feed: Feed, now: Stamp) -> State {
    let mut state = State::default();
    // a source that is off, or that the cluster does not have, is missed only if there is no other
    let is_absent = |s: &SourceStatus| matches!(s.state, SourceState::NotInstalled | SourceState::Off);
    let has_other = cluster.sources_of(feed).any(|status| !is_absent(status));
    for status in cluster.sources_of(feed).filter(|status| !(has_other && is_absent(status))) {
        let one = of_source(cluster, status, now);
        state.notes.extend(one.notes);
        state.why_empty.extend(one.why_empty);
    }
    if cluster.link != Link::Open {
        state.why_empty.extend(unconnected(cluster, now));
    } else if cluster.sources_of(feed).next().is_none() {
        state.notes.push(cell(Role::Dim, "loading"));
        state.why_empty.push(cell(Role::Dim, format!("waiting for {} …", feed.as_str())));
    }
    state
}

/// Returns the Services that the sources of a feed are read from through the API server.
pub fn through(cluster: &Cluster, feed: Feed) -> impl Iterator<Item = Cell> {
    cluster.sources_of(feed).filter_map(|status| {
        let service = status.through.as_ref()?;
        Some(cell(Role::Dim, format!("{} {service} through the API server", status.name)))
    })
}

fn of_source(cluster: &Cluster, status: &SourceStatus, now: Stamp) -> State {
    let mut state = State::default();
    let source = status.name.as_str();
    let error = status.error.as_ref().map_or_else(String::new, |e| format!(": {e}"));
    match status.state {
        SourceState::Live => {}
        SourceState::Starting => {
            state.notes.push(cell(Role::Dim, "loading"));
            let waiting = status.error.as_ref();
            let waiting =
                waiting.map_or_else(|| format!("waiting for {source} …"), |words| format!("{words} …"));
            state.why_empty.push(cell(Role::Dim, waiting));
        }
        SourceState::Stale { since } => {
            state
                .notes
                .push(cell(Role::Stale, format!("{source} STALE {}{error}", age_of_state(now.since(since)))));
        }
        SourceState::Down { since } => {
            state.notes.push(cell(Role::Stale, format!("{source} DOWN {}", age_of_state(now.since(since)))));
            state.why_empty.push(cell(Role::Stale, format!("{source} does not answer")));
            state.why_empty.extend(detail(cluster, source));
        }
        SourceState::Denied => {
            state.notes.push(cell(Role::Denied, format!("{source} DENIED")));
            state.why_empty.push(cell(Role::Denied, format!("no permission to read {source}")));
            state.why_empty.extend(detail(cluster, source));
        }
        SourceState::NotInstalled => {
            state.notes.push(cell(Role::Dim, format!("no {source}")));
            let why = status.error.as_ref();
            let why = why.map_or_else(|| format!("{source} is not installed"), ToString::to_string);
            state.why_empty.push(cell(Role::Dim, why));
        }
        SourceState::Off => {
            state.notes.push(cell(Role::Dim, format!("no {source}")));
            let why = status
                .error
                .as_ref()
                .map_or_else(|| format!("{source} is not configured"), ToString::to_string);
            state.why_empty.push(cell(Role::Dim, why));
        }
    }
    state
}

/// Describes the source in the worst state, if a source is not fresh.
pub fn worst(cluster: &Cluster, now: Stamp) -> Option<Cell> {
    let rank = |state: &SourceState| match state {
        SourceState::Stale { .. } => 3,
        SourceState::Down { .. } => 2,
        SourceState::Denied => 1,
        _ => 0,
    };
    let troubled = cluster.sources.iter().filter(|s| s.state.is_trouble());
    let n = troubled.clone().count();
    let worst = troubled.max_by_key(|s| (rank(&s.state), matches!(s.name.as_str(), "nodes" | "pods")))?;
    let more = if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
    Some(match worst.state {
        SourceState::Stale { since } => {
            cell(Role::Stale, format!("{} STALE {}{more}", worst.name, age_of_state(now.since(since))))
        }
        SourceState::Down { since } => {
            cell(Role::Stale, format!("{} DOWN {}{more}", worst.name, age_of_state(now.since(since))))
        }
        _ => cell(Role::Denied, format!("{} DENIED{more}", worst.name)),
    })
}

/// Whether the nodes and pods of a cluster are read, so that no finding means that there is none.
pub fn is_seen(cluster: &Cluster) -> bool {
    cluster.nodes.cover.is_read() && cluster.pods.cover.is_read()
}

/// Says that a cluster is not connected, and when it is tried again.
pub fn unconnected(cluster: &Cluster, now: Stamp) -> Option<Cell> {
    match &cluster.link {
        Link::Open => None,
        Link::Opening { since } => {
            Some(cell(Role::Info, format!("connecting {}", age_of_state(now.since(*since)))))
        }
        Link::Failed { since, next, .. } => {
            let (lasts, retry) = (age_of_state(now.since(*since)), retry(*next, now));
            Some(cell(Role::Critical, format!("NOT CONNECTED {lasts}{retry}")))
        }
        Link::Closed => Some(cell(Role::Dim, "closed")),
    }
}

/// The same, and why.
fn unconnected_why(cluster: &Cluster, now: Stamp) -> Option<Cell> {
    let state = unconnected(cluster, now)?;
    Some(match &cluster.link {
        Link::Failed { why, .. } => Cell { text: format!("{}: {why}", state.text), ..state },
        _ => state,
    })
}

/// Says when a cluster that could not be opened is tried again, such as `, retry in 15m`.
pub fn retry(next: Option<Stamp>, now: Stamp) -> String {
    next.map_or_else(String::new, |next| format!(", retry {}", until(next.since(now))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_one_feed_are_told_together() {
        let status = |name: &str, feed, state| SourceStatus {
            name: name.into(),
            feed,
            state,
            error: Some("why".into()),
            ..SourceStatus::default()
        };
        let mut cluster = Cluster::default();
        let notes = |cluster: &Cluster| -> Vec<String> {
            of_feed(cluster, Feed::Logs, Stamp(9_000)).notes.into_iter().map(|n| n.text).collect()
        };
        assert_eq!(notes(&cluster), ["loading"]);
        let down = SourceState::Down { since: Stamp(2_000) };
        cluster.sources = [
            status("log file a", Feed::Logs, down.clone()),
            status("logs", Feed::Logs, SourceState::Live),
            status("prometheus", Feed::Traffic, down),
        ]
        .into();
        assert_eq!(notes(&cluster), ["log file a DOWN now"]);
        let words: Vec<String> =
            of_feed(&cluster, Feed::Logs, Stamp(9_000)).why_empty.iter().map(|c| c.text.clone()).collect();
        assert_eq!(words.first().unwrap(), "log file a does not answer");
        assert!(words.iter().any(|w| w == "why"), "{words:?}");
    }

    #[test]
    fn a_source_that_is_not_installed_is_missed_only_without_another() {
        let status = |name: &str, state| SourceStatus {
            name: name.into(),
            feed: Feed::Logs,
            state,
            ..SourceStatus::default()
        };
        let notes = |sources: Vec<SourceStatus>| {
            let cluster = Cluster { sources: sources.into(), ..Cluster::default() };
            of_feed(&cluster, Feed::Logs, Stamp(1)).notes.len()
        };
        let absent = status("loki", SourceState::NotInstalled);
        assert_eq!(notes(vec![absent.clone()]), 1);
        assert_eq!(notes(vec![absent, status("logs", SourceState::Live)]), 0);
    }

    #[test]
    fn a_server_in_the_cluster_is_named_and_so_is_the_search_for_one() {
        let told = |status: SourceStatus| {
            let status = SourceStatus { name: "prometheus".into(), feed: Feed::Traffic, ..status };
            let cluster = Cluster { sources: [status].into(), ..Cluster::default() };
            let mut state = of_feed(&cluster, Feed::Traffic, Stamp(1));
            state.notes.extend(through(&cluster, Feed::Traffic));
            let texts = |cells: &[Cell]| cells.iter().map(|c| c.text.clone()).collect::<Vec<_>>().join("; ");
            (texts(&state.notes), texts(&state.why_empty))
        };
        let service = Some("monitoring/prometheus:web".into());
        for (status, notes, why_empty) in [
            (
                SourceStatus { state: SourceState::Live, through: service, ..SourceStatus::default() },
                "prometheus monitoring/prometheus:web through the API server",
                "",
            ),
            (SourceStatus { state: SourceState::Live, ..SourceStatus::default() }, "", ""),
            (
                SourceStatus { error: Some("looking".into()), ..SourceStatus::default() },
                "loading",
                "looking …",
            ),
            (SourceStatus::default(), "loading", "waiting for prometheus …"),
            (
                SourceStatus {
                    state: SourceState::NotInstalled,
                    error: Some("none among 3 Services".into()),
                    ..SourceStatus::default()
                },
                "no prometheus",
                "none among 3 Services",
            ),
        ] {
            assert_eq!(told(status), (notes.to_owned(), why_empty.to_owned()));
        }
    }
}
