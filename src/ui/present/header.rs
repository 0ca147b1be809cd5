//! The first line of the screen: the cluster, the permissions, the health of the cluster, and the age of the data.

use std::collections::BTreeSet;

use pilothouse_core::domain::alert::AlertState;
use pilothouse_core::domain::source::{Feed, SourceState};
use pilothouse_core::domain::time::{age, skew};
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cluster, Severity, World};

use super::super::app::Ui;
use super::super::cell::{Cell, cell, plain};
use super::super::command::Cmd;
use super::super::pane::sources;
use super::super::theme::Role;
use super::super::widget::text::grouped;

/// The header: groups from the left, the most important first, and the text at the right end.
#[derive(Clone, Debug, Default)]
pub struct HeaderView {
    /// Groups that are separated by bars. If the line is too long, the last groups are removed first.
    pub groups: Vec<Vec<Cell>>,
    pub right: Vec<Cell>,
    /// The number of cells that the first group can lose, starting at the third, if the line is too long. The user
    /// name and the note that nothing is hidden are the least important.
    pub spare: usize,
}

/// Builds the header.
pub fn view(ui: &Ui, world: &World) -> HeaderView {
    let mut header =
        HeaderView { right: vec![plain(format!("{} UTC", ui.now.clock()))], ..HeaderView::default() };
    let Some(cluster) = ui.shown(world) else {
        header.groups.push(vec![cell(Role::Dim, "connecting …")]);
        return header;
    };
    let info = &cluster.info;
    let (mode, role) = if info.replayed {
        ("REPLAY", Role::ModeReadOnly)
    } else if info.read_only {
        ("READ-ONLY", Role::ModeReadOnly)
    } else if cluster.identity.may.as_ref().is_some_and(BTreeSet::is_empty) {
        ("no write permission", Role::ModeReadOnly)
    } else if info.protected {
        ("PROTECTED", Role::ModeProtected)
    } else {
        ("WRITE", Role::ModeWrite)
    };
    let mut first = vec![cell(ui.tint(world, info), info.name().as_str()), cell(role, mode)];
    let user = cluster.identity.user.as_ref().unwrap_or(&info.kubeconfig_user);
    first.push(cell(Role::Dim, user.as_str()));
    let shown = match (&ui.namespace, &*info.namespaces) {
        (Some(one), _) => Some(one.to_string()),
        // if not all namespaces can be read, the header lists those that are
        (None, []) => match &cluster.pods.cover {
            Coverage::Namespaces(read) => Some(read.join(",")),
            _ => None,
        },
        (None, some) if some.len() <= 3 => Some(some.join(",")),
        (None, some) => Some(format!("{} namespaces", some.len())),
    };
    header.spare = if shown.is_none() { 2 } else { 1 };
    first.push(plain(format!("ns:{}", shown.as_deref().unwrap_or("all"))));
    header.groups.push(first);
    if ui.is_recorded {
        header.groups.push(vec![cell(Role::Info, "rec")]);
    }
    if let Some(past) = &ui.past {
        let ago = age(past.now.since(past.at));
        header.groups.push(vec![cell(Role::Marked, format!("AT {} ({ago} ago)", past.at.clock_secs()))]);
    }
    header.groups.extend(sources::unconnected(cluster, ui.now).map(|why| vec![why]));
    header.groups.push(nodes(cluster));
    header.groups.push(pods(cluster, ui.past.is_some()));
    header.groups.extend(alerts(cluster));
    if let Some(worst) = sources::worst(cluster, ui.now) {
        header.groups.push(vec![worst]);
    }
    if let Some(ms) = cluster.identity.skew_ms() {
        header.groups.push(vec![cell(Role::Warning, format!("server clock {}", skew(ms)))]);
    }
    // the last group, because it is the first to leave a narrow screen, and the timeline has it too
    header.groups.extend(incident(cluster, ui));
    if let Some(version) = &cluster.identity.version {
        header.right.insert(0, cell(Role::Dim, format!("server {version}")));
    }
    header
}

/// Says that an incident is open, how long, and which key acknowledges it.
fn incident(cluster: &Cluster, ui: &Ui) -> Option<Vec<Cell>> {
    let open = cluster.derived.incidents.first().filter(|incident| incident.is_open())?;
    let mut group = vec![cell(Role::Critical, format!("INCIDENT {}", age(ui.now.since(open.detected))))];
    if open.acknowledged.is_none() {
        // only where it works
        let key = ui.key(Cmd::Acknowledge);
        group.extend(key.map(|key| cell(Role::Key, format!("{key} ack"))));
    }
    Some(group)
}

fn unknown(cover: &Coverage) -> Option<Cell> {
    match cover {
        Coverage::Never => Some(cell(Role::Dim, "…")),
        Coverage::Denied(_) => Some(cell(Role::Denied, "denied")),
        _ => None,
    }
}

fn nodes(cluster: &Cluster) -> Vec<Cell> {
    let counts = cluster.derived.counts;
    let mut group = vec![plain("nodes")];
    if let Some(word) = unknown(&cluster.nodes.cover) {
        group.push(word);
    } else {
        let off = counts.nodes_out_of_service;
        let role = match counts.nodes.saturating_sub(counts.nodes_ready) {
            0 => Role::Ok,
            away if away <= off => Role::Info,
            _ => Role::Critical,
        };
        group.push(cell(role, format!("{}/{}", counts.nodes_ready, grouped(u64::from(counts.nodes)))));
        if off > 0 {
            group.push(cell(Role::Info, format!("{} out of service", grouped(u64::from(off)))));
        }
    }
    group
}

/// `is_past`: the counts are those of an earlier moment, of which no pods are kept.
fn pods(cluster: &Cluster, is_past: bool) -> Vec<Cell> {
    let counts = cluster.derived.counts;
    let mut group = vec![plain("pods")];
    let cover = if is_past { &cluster.nodes.cover } else { &cluster.pods.cover };
    if let Some(word) = unknown(cover) {
        group.push(word);
        return group;
    }
    // pods on a node that is out of service are expected to be down, so the list of nodes reports them
    let off = counts.pods_out_of_service.min(counts.pods_bad);
    let bad = counts.pods_bad - off;
    if bad > 0 {
        group.push(cell(Role::Critical, format!("{} bad", grouped(u64::from(bad)))));
    }
    if counts.pods_pending > 0 {
        group.push(cell(Role::Warning, format!("{} pending", grouped(u64::from(counts.pods_pending)))));
    }
    if bad == 0 && counts.pods_pending == 0 {
        group.push(cell(Role::Ok, format!("{} ok", grouped(u64::from(counts.pods.saturating_sub(off))))));
    }
    if let Coverage::Loading { have, of: Some(of) } = &cluster.pods.cover {
        group.push(cell(
            Role::Info,
            format!("({} of {})", grouped(u64::from(*have)), grouped(u64::from(*of))),
        ));
    }
    group
}

/// Counts the alerts that fire and that nobody silenced. `None` if there is no source of alerts.
fn alerts(cluster: &Cluster) -> Option<Vec<Cell>> {
    let absent = |state: &SourceState| matches!(state, SourceState::NotInstalled | SourceState::Off);
    let source = cluster.sources_of(Feed::Alerts).find(|source| !absent(&source.state))?;
    if !cluster.alerts.is_known() {
        return Some(vec![plain("alerts"), cell(Role::Dim, "–")]);
    }
    let firing = cluster.alerts.alerts.iter().filter(|alert| alert.state == AlertState::Firing);
    let severities: Vec<Severity> = firing.filter_map(|alert| alert.severity).collect();
    let role = match severities.iter().max() {
        _ if source.state.is_trouble() => Role::Stale,
        Some(Severity::Critical) => Role::Critical,
        Some(Severity::Warning) => Role::Warning,
        Some(Severity::Info) => Role::Info,
        None => Role::Ok,
    };
    Some(vec![plain("alerts"), cell(role, grouped(severities.len() as u64))])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::alert::{Alert, AlertsSeen};
    use pilothouse_core::domain::id::{ClusterId, Name};
    use pilothouse_core::domain::settings::UiSettings;
    use pilothouse_core::domain::source::SourceStatus;
    use pilothouse_core::domain::time::Stamp;
    use pilothouse_core::facts::event::Identity;
    use pilothouse_core::facts::world::ClusterInfo;

    use super::*;

    /// Returns the words of the header for a cluster whose pods have this coverage.
    fn words(asked: &[&str], cover: Coverage, offset: i64) -> String {
        let namespaces = asked.iter().map(|n| Name::from(*n)).collect();
        let info = ClusterInfo { id: ClusterId(0), namespaces, ..ClusterInfo::default() };
        let identity = Identity { clock_offset_ms: Some(offset), ..Identity::default() };
        let mut cluster = Cluster { info: Arc::new(info), identity, ..Cluster::default() };
        cluster.pods.cover = cover;
        let world = World { clusters: [Arc::new(cluster)].into(), ..World::default() };
        let (ui, _) = Ui::new(&UiSettings::default());
        let cells = view(&ui, &world).groups.into_iter().flatten();
        cells.map(|c| c.text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn says_which_namespaces_are_read() {
        let only = |names: &[&str]| Coverage::Namespaces(names.iter().map(|n| Name::from(*n)).collect());
        assert!(words(&[], Coverage::Complete, 0).contains("ns:all"));
        assert!(words(&[], only(&["shop"]), 0).contains("ns:shop "), "not all: the rest may not be read");
        assert!(words(&["shop", "pay"], only(&["shop", "pay"]), 0).contains("ns:shop,pay"));
        assert!(words(&["a", "b", "c", "d"], Coverage::Never, 0).contains("ns:4 namespaces"));
    }

    #[test]
    fn alerts_are_counted_if_there_is_a_source() {
        let alert = |name: &str, severity, state| {
            let labels = [("alertname".into(), Name::from(name))].into();
            Arc::new(Alert { fingerprint: name.into(), labels, severity, state, ..Alert::default() })
        };
        let all: Arc<[Arc<Alert>]> = [
            alert("a", Some(Severity::Info), AlertState::Firing),
            alert("b", Some(Severity::Critical), AlertState::Silenced),
            alert("c", None, AlertState::Firing),
            alert("d", Some(Severity::Warning), AlertState::Firing),
        ]
        .into();
        for (state, known, want) in [
            (None, false, None),
            (Some(SourceState::NotInstalled), false, None),
            (Some(SourceState::Starting), false, Some(("–", Role::Dim))),
            (Some(SourceState::Live), true, Some(("2", Role::Warning))),
            (Some(SourceState::Stale { since: Stamp(0) }), true, Some(("2", Role::Stale))),
        ] {
            let mut cluster = Cluster::default();
            if known {
                let (source, alerts) = ("alertmanager".into(), all.clone());
                cluster.alerts = Arc::new(AlertsSeen { source, alerts, ..AlertsSeen::default() });
            }
            let status = |state| SourceStatus { feed: Feed::Alerts, state, ..SourceStatus::default() };
            cluster.sources = state.map(status).into_iter().collect();
            let told = alerts(&cluster).map(|cells| (cells[1].text.clone(), cells[1].role));
            assert_eq!(told, want.map(|(text, role)| (text.to_owned(), role)));
        }
    }

    #[test]
    fn tells_a_clock_that_is_off() {
        assert!(words(&[], Coverage::Complete, 7_300_000).contains("server clock 2h ahead"));
        assert!(!words(&[], Coverage::Complete, 900).contains("clock"));
    }
}
