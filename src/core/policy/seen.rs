//! The data of a cluster that could not be read. The console may report "nothing is wrong" only if it has all the
//! data that findings use.

use crate::domain::id::Name;
use crate::domain::source::{Feed, SourceState, SourceStatus};
use crate::domain::text::few;
use crate::facts::table::{Coverage, Freshness};
use crate::facts::world::Cluster;

/// Why data could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyNot {
    /// The source fails, or its data is stale.
    Failing,
    /// Some objects exist, but they cannot be read.
    Unreadable,
    /// The source has not answered yet.
    Loading,
    /// The server denies access. That is not a fault of the cluster.
    Denied,
}

impl WhyNot {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Unreadable => "unreadable",
            Self::Loading => "loading",
            Self::Denied => "denied",
        }
    }

    /// Returns true if something fails in the cluster or on the way to it. A user who relies on the answer must be
    /// warned.
    pub fn is_fault(self) -> bool {
        self != Self::Denied
    }
}

/// A source that was not read, or not completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    pub source: Name,
    pub why: WhyNot,
    /// The namespaces that were not read. Empty if no namespace was read, or if their names are not known
    /// ([`Unseen::elsewhere`]).
    pub namespaces: Vec<Name>,
    /// The namespaces that were read, if the names of the others are not known.
    pub elsewhere: Vec<Name>,
    /// The error of the source.
    pub words: Option<Name>,
}

/// Returns all sources that findings use and that were not completely read.
pub fn unseen(cluster: &Cluster) -> Vec<Unseen> {
    let tables = cluster.tables();
    let mut out: Vec<Unseen> =
        tables.into_iter().filter_map(|(name, cover, fresh)| of_table(cluster, name, cover, fresh)).collect();
    out.extend(cluster.sources_of(Feed::Traffic).filter_map(|status| {
        let why = match status.state {
            SourceState::Stale { .. } | SourceState::Down { .. } => WhyNot::Failing,
            SourceState::Starting => WhyNot::Loading,
            SourceState::Denied => WhyNot::Denied,
            SourceState::Live | SourceState::NotInstalled | SourceState::Off => return None,
        };
        Some(whole(&status.name, why, Some(status)))
    }));
    out
}

/// Returns true if waiting can still help: a source that was not read may recover by itself.
pub fn may_come(cluster: &Cluster) -> bool {
    unseen(cluster).iter().any(|u| {
        let lasting = cluster.source(&u.source).is_some_and(|s| s.lasting);
        matches!(u.why, WhyNot::Failing | WhyNot::Loading) && !lasting
    })
}

fn whole(source: &str, why: WhyNot, status: Option<&SourceStatus>) -> Unseen {
    Unseen {
        source: source.into(),
        why,
        namespaces: Vec::new(),
        elsewhere: Vec::new(),
        words: status.and_then(|s| s.error.clone()),
    }
}

fn of_table(cluster: &Cluster, name: &str, cover: &Coverage, fresh: Freshness) -> Option<Unseen> {
    let status = cluster.source(name);
    let failing =
        status.is_some_and(|s| matches!(s.state, SourceState::Stale { .. } | SourceState::Down { .. }));
    let why = match cover {
        // The kind does not exist on the server, so no data is missing.
        Coverage::NotInstalled => return None,
        Coverage::Denied(reason) => {
            return Some(Unseen { words: Some(reason.clone()), ..whole(name, WhyNot::Denied, None) });
        }
        _ if failing || fresh.stale_since.is_some() => WhyNot::Failing,
        Coverage::Never | Coverage::Loading { .. } => WhyNot::Loading,
        Coverage::Namespaces(read) => {
            if let Some(others) = others(cluster, name, read) {
                return Some(others);
            }
            WhyNot::Unreadable
        }
        Coverage::Complete => WhyNot::Unreadable,
    };
    // A live source with an error could not read some of its objects.
    (why != WhyNot::Unreadable || status.is_some_and(|s| s.error.is_some())).then(|| whole(name, why, status))
}

/// Returns the part of a table that may not be read, if only these namespaces may.
fn others(cluster: &Cluster, name: &str, read: &[Name]) -> Option<Unseen> {
    let asked = &cluster.info.namespaces;
    let unread = |all: &[Name]| all.iter().filter(|n| !read.contains(n)).cloned().collect::<Vec<_>>();
    let (namespaces, elsewhere) = match (&**asked, &cluster.identity.namespaces) {
        ([], Some(all)) => (unread(all), Vec::new()),
        // The names of the other namespaces are not known. The code assumes that others exist.
        ([], None) => (Vec::new(), read.to_vec()),
        (asked, _) => (unread(asked), Vec::new()),
    };
    let some = !namespaces.is_empty() || !elsewhere.is_empty();
    some.then(|| Unseen { namespaces, elsewhere, ..whole(name, WhyNot::Denied, None) })
}

/// Returns `no permission for User "ann"`. The user is named, because the request may use another user than expected.
fn denied(reason: &str) -> String {
    let user = reason.split_once("User \"").and_then(|(_, rest)| rest.split_once('"'));
    user.map_or_else(|| "no permission".into(), |(user, _)| format!("no permission for User \"{user}\""))
}

/// Returns all of them in one line, faults first: `pods, events (503: Service Unavailable); nodes (no permission)`.
pub fn words(unseen: &[Unseen]) -> String {
    type Group<'a> = (String, Vec<&'a str>);
    let mut groups: Vec<(WhyNot, Group<'_>)> = Vec::new();
    for one in unseen {
        let reason = one.words.as_ref().map_or("", |w| w.as_str());
        let place = if !one.elsewhere.is_empty() {
            format!("outside {} ", one.elsewhere.join(", "))
        } else if one.namespaces.is_empty() {
            String::new()
        } else {
            format!("in {} ", few(&one.namespaces))
        };
        let denied = denied(reason);
        let why = match (one.why, reason) {
            (WhyNot::Loading, _) => "no answer yet",
            (WhyNot::Failing, "") => "no fresh data",
            (WhyNot::Denied, _) => &denied,
            (_, reason) => reason,
        };
        let said = format!("{place}({why})");
        match groups.iter_mut().find(|(kind, (words, _))| *kind == one.why && *words == said) {
            Some((_, (_, names))) => names.push(&one.source),
            None => groups.push((one.why, (said, vec![&one.source]))),
        }
    }
    groups.sort_by_key(|(why, _)| *why);
    let said = groups.iter().map(|(_, (words, names))| format!("{} {words}", few(names)));
    said.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::kinds::with_tables;
    use crate::domain::time::Stamp;
    use crate::facts::event::Identity;
    use crate::facts::tables::Tables;
    use crate::facts::world::ClusterInfo;

    /// Returns a completely read cluster. The user asked for the namespaces `asked`.
    fn cluster(asked: &[&str]) -> Cluster {
        macro_rules! complete {
            ($($kind:ident: $module:ident::$row:ident, $table:ident, $fact:ident;)*) => {{
                let mut tables = Tables::default();
                $(tables.$table.cover = Coverage::Complete;)*
                tables
            }};
        }
        let info = ClusterInfo {
            namespaces: asked.iter().map(|n| Name::from(*n)).collect(),
            ..ClusterInfo::default()
        };
        Cluster { info: Arc::new(info), tables: with_tables!(complete), ..Cluster::default() }
    }

    fn status(name: &str, state: SourceState, error: Option<&str>) -> SourceStatus {
        let feed = if name == "prometheus" { Feed::Traffic } else { Feed::Objects };
        let error = error.map(Name::from);
        SourceStatus { name: name.into(), feed, state, error, ..SourceStatus::default() }
    }

    fn only(names: &[&str]) -> Coverage {
        Coverage::Namespaces(names.iter().map(|n| Name::from(*n)).collect())
    }

    #[test]
    fn what_is_missing_by_design_is_not_missed() {
        let mut c = cluster(&[]);
        assert_eq!((unseen(&c), may_come(&c)), (Vec::new(), false));
        c.hpas.cover = Coverage::NotInstalled;
        c.sources = [
            status("horizontalpodautoscalers", SourceState::NotInstalled, Some("404")),
            status("metrics.k8s.io", SourceState::NotInstalled, Some("404")),
            status("prometheus", SourceState::Off, Some("not configured")),
        ]
        .into();
        assert_eq!((unseen(&c), may_come(&c)), (Vec::new(), false));
    }

    #[test]
    fn faults_come_first_and_say_why() {
        let mut c = cluster(&[]);
        c.nodes.cover = Coverage::Denied("403, needs list nodes".into());
        c.pods.cover = Coverage::Never;
        c.events.cover = Coverage::Loading { have: 3, of: None };
        c.services.fresh.stale_since = Some(Stamp(5));
        c.jobs.cover = Coverage::Never;
        c.sources = [
            status("pods", SourceState::Down { since: Stamp(1) }, Some("503: Service Unavailable")),
            status("services", SourceState::Stale { since: Stamp(5) }, Some("503: Service Unavailable")),
            status("deployments", SourceState::Live, Some("1 objects could not be read (the first: x)")),
            status("prometheus", SourceState::Down { since: Stamp(1) }, Some("connection refused")),
        ]
        .into();
        assert_eq!(
            words(&unseen(&c)),
            "pods, services (503: Service Unavailable); prometheus (connection refused); deployments (1 objects could \
             not be read (the first: x)); jobs, events (no answer yet); nodes (no permission)"
        );
        assert!(may_come(&c));
    }

    #[test]
    fn what_does_not_pass_by_itself_is_not_waited_for() {
        let mut c = cluster(&[]);
        c.pods.cover = Coverage::Never;
        let down = status("pods", SourceState::Down { since: Stamp(1) }, Some("not logged in: Unauthorized"));
        c.sources = [down.clone()].into();
        assert!(may_come(&c));
        c.sources = [SourceStatus { lasting: true, ..down }].into();
        assert!(!may_come(&c));
        assert!(unseen(&c).iter().all(|u| u.why.is_fault()));
        let mut c = cluster(&[]);
        c.nodes.cover = Coverage::Denied("403".into());
        assert!(!may_come(&c) && unseen(&c).iter().all(|u| !u.why.is_fault()));
    }

    #[test]
    fn other_namespaces_are_named_where_they_are_known() {
        let mut c = cluster(&[]);
        c.pods.cover = only(&["shop"]);
        c.services.cover = only(&["shop"]);
        assert_eq!(words(&unseen(&c)), "pods, services outside shop (no permission)");
        let all = ["pay", "shop", "web"].map(Name::from).to_vec();
        c.identity = Identity { namespaces: Some(all), ..Identity::default() };
        assert_eq!(words(&unseen(&c)), "pods, services in pay, web (no permission)");
        // A user who asks for some namespaces does not need the others.
        let mut c = Cluster { identity: c.identity, ..cluster(&["shop", "pay"]) };
        c.pods.cover = only(&["shop", "pay"]);
        assert_eq!(unseen(&c), []);
        c.pods.cover = only(&["shop"]);
        assert_eq!(words(&unseen(&c)), "pods in pay (no permission)");
    }
}
