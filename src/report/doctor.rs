//! The command `doctor`: the permissions to check, and the report about them, the sources, the config and the
//! failover plans.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::policy::seen;

use super::rights::{self, Right};
use super::{snapshot, text};

/// The schema of the report.
pub const SCHEMA: &str = "pilothouse/doctor/v1";

/// A permission to check in one namespace ("" for all of them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub right: Right,
    pub namespace: Name,
}

/// Returns the permissions to check: every one that Pilothouse uses, in each namespace where it makes a difference.
/// `served` contains the API groups of the server. Without it, nothing is omitted.
pub fn questions(namespaces: &[Name], served: Option<&BTreeSet<String>>) -> Vec<Question> {
    let everywhere = [Name::default()];
    let places = if namespaces.is_empty() { &everywhere } else { namespaces };
    let is_served = |right: &Right| {
        let group = right.info.group;
        group.is_empty() || served.is_none_or(|served| served.contains(group))
    };
    let mut questions: Vec<Question> = Vec::new();
    for right in rights::all().into_iter().filter(is_served) {
        for place in places {
            let question = Question { namespace: right.namespace(place).into(), right: right.clone() };
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
    }
    questions
}

/// The answer to a question: whether it is allowed, with the server's reason. An error explains why there is no
/// answer.
pub type Answer = Result<(bool, String), String>;

/// A permission, and whether the user has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The permission, such as `patch deployments.apps`. The namespace is added if several were checked.
    pub words: String,
    pub purposes: Vec<&'static str>,
    /// Whether the permission is granted, or `None` if there was no answer.
    pub allowed: Option<bool>,
    pub why: String,
}

/// Combines the questions with their answers, which have the same order.
pub fn permissions(
    questions: Vec<Question>,
    answers: impl IntoIterator<Item = Answer>,
    namespaces: &[Name],
) -> Vec<Permission> {
    let told = questions.into_iter().zip(answers).map(|(Question { right, namespace }, answer)| {
        let several = namespaces.len() > 1 && right.info.namespaced && !namespace.is_empty();
        let place = if several { format!(" in {namespace}") } else { String::new() };
        let (allowed, why) = match answer {
            Ok((allowed, reason)) => (Some(allowed), reason),
            Err(why) => (None, why),
        };
        let purposes = right.purposes.iter().map(|p| p.as_str()).collect();
        Permission { words: format!("{}{place}", right.words()), purposes, allowed, why }
    });
    told.collect()
}

/// The results of all checks.
pub struct Checkup<'a> {
    pub context: &'a str,
    pub server: &'a str,
    /// Whether the server's certificate is not verified.
    pub insecure: bool,
    pub cluster: &'a Cluster,
    pub now: Stamp,
    /// The path of the config file. It is empty if there is no home directory and no path was given.
    pub config: &'a Path,
    /// The errors in the config file.
    pub problems: Vec<String>,
    /// What the config says about other clusters only.
    pub remarks: Vec<String>,
    /// The sets of the config that the cluster belongs to.
    pub sets: &'a [String],
    pub journal: Option<PathBuf>,
    pub permissions: Vec<Permission>,
    /// The failover plans by name, with the reasons why each cannot run.
    pub plans: Vec<(Name, Vec<String>)>,
}

impl Checkup<'_> {
    /// Whether a check found a problem that needs to be fixed. A denied permission can be intended and does not
    /// count.
    pub fn is_troubled(&self) -> bool {
        self.faulty_plans() > 0
            || !self.problems.is_empty()
            || self.cluster.sources.iter().any(|s| s.state.is_trouble())
            || seen::unseen(self.cluster).iter().any(|u| u.why.is_fault())
    }

    fn faulty_plans(&self) -> usize {
        self.plans.iter().filter(|(_, against)| !against.is_empty()).count()
    }

    pub fn json(&self) -> serde_json::Value {
        let cluster = self.cluster;
        serde_json::json!({
            "schema": SCHEMA,
            "context": self.context, "server": self.server,
            "version": cluster.identity.version, "user": cluster.identity.user,
            "clock_offset_ms": cluster.identity.clock_offset_ms,
            "insecure": self.insecure,
            "sets": self.sets, "read_only": cluster.info.read_only, "protected": cluster.info.protected,
            "config": {
                "path": self.config.display().to_string(), "problems": self.problems, "remarks": self.remarks,
            },
            "journal": self.journal.as_ref().map(|path| path.display().to_string()),
            "failover": self.plans.iter().map(|(name, against)| serde_json::json!({
                "name": name, "missing": against,
            })).collect::<Vec<_>>(),
            "not_seen": snapshot::not_seen(cluster),
            "sources": snapshot::sources(cluster, self.now),
            "searches": cluster.sources.iter().filter_map(search).collect::<Vec<_>>(),
            "permissions": self.permissions.iter().map(|p| serde_json::json!({
                "access": p.words, "allowed": p.allowed, "reason": p.why, "for": p.purposes,
            })).collect::<Vec<_>>(),
        })
    }

    /// Formats the results as text.
    pub fn text(&self) -> Vec<String> {
        let cluster = self.cluster;
        let or_unknown = |v: Option<&Name>| v.map_or("unknown".to_owned(), ToString::to_string);
        let mut lines = text::not_seen(cluster);
        lines.extend([
            format!("context {} at {}", self.context, self.server),
            format!("server version {}", or_unknown(cluster.identity.version.as_ref())),
            format!("user {}", or_unknown(cluster.identity.user.as_ref())),
        ]);
        if !self.sets.is_empty() {
            lines.push(format!("sets of clusters: {}", self.sets.join(", ")));
        }
        lines.extend(self.guards());
        lines.extend(text::clock(cluster));
        if self.insecure {
            lines.push("! INSECURE: the server's certificate is not checked".into());
        }
        let shown = |path: Option<&Path>| {
            path.map_or_else(
                || "none: there is no home directory".to_owned(),
                |path| path.display().to_string(),
            )
        };
        let config = Some(self.config).filter(|path| !path.as_os_str().is_empty());
        lines.push(format!("config {}", shown(config)));
        lines.extend(self.problems.iter().map(|p| format!("✖ CONFIG: {p}")));
        lines.extend(self.remarks.iter().map(|remark| format!("  config: {remark}")));
        lines.push(format!("journal {}", shown(self.journal.as_deref())));
        for (source, line) in cluster.sources.iter().zip(text::sources(cluster, self.now)) {
            lines.push(line);
            let tried = source.found.iter().filter(|found| !found.tried.is_empty());
            let found = tried.flat_map(|found| found.lines());
            lines.extend(found.map(|line| format!("  {}: {line}", source.name)));
        }
        lines.extend(self.permissions.iter().map(|p| self.permission(p)));
        for (name, against) in &self.plans {
            match against.as_slice() {
                [] => lines.push(format!("  failover {name}: ready")),
                more => lines.extend(more.iter().map(|why| format!("✖ FAILOVER {name}: {why}"))),
            }
        }
        lines.push(self.summary());
        lines
    }

    /// Returns how actions in this cluster are guarded.
    fn guards(&self) -> Option<String> {
        let info = &self.cluster.info;
        let read_only = "READ-ONLY: nothing but reads and access reviews is sent";
        let protected = "PROTECTED: actions need one confirmation level higher";
        match (info.read_only, info.protected) {
            (true, _) => Some(read_only.to_owned()),
            (false, true) => Some(protected.to_owned()),
            (false, false) => None,
        }
    }

    fn permission(&self, permission: &Permission) -> String {
        let Permission { words, purposes, allowed, why } = permission;
        let (mark, word) = match allowed {
            Some(true) => return format!("may {words}: yes"),
            Some(false) => ("✖ ", "NO"),
            None => ("! ", "unknown"),
        };
        let why = match (allowed, why.as_str(), &self.cluster.identity.user) {
            // if the server gives no reason, the text names the user and the permission
            (Some(false), "", Some(user)) => format!(" (User \"{user}\" cannot {words})"),
            (_, "", _) => String::new(),
            (_, why, _) => format!(" ({why})"),
        };
        format!("{mark}may {words}: {word}{why}, for: {}", purposes.join("; "))
    }

    /// Returns the last line: that all checks passed, or how many did not.
    fn summary(&self) -> String {
        let (sources, permissions) = (&self.cluster.sources, &self.permissions);
        let troubled = sources.iter().filter(|s| s.state.is_trouble() || s.state == SourceState::Starting);
        let denied = permissions.iter().filter(|p| p.allowed == Some(false)).count();
        let unknown = permissions.iter().filter(|p| p.allowed.is_none()).count();
        let counted = |n: usize, of: usize, what: &str| (n > 0).then(|| format!("{n} of {of} {what}"));
        let problems = self.problems.len();
        let wrong: Vec<String> = [
            counted(troubled.count(), sources.len(), "sources are not live"),
            counted(
                denied,
                permissions.len(),
                "permissions are denied: what needs them is missing or refused",
            ),
            counted(unknown, permissions.len(), "permissions could not be checked"),
            counted(self.faulty_plans(), self.plans.len(), "failover plans cannot run"),
            (problems > 0).then(|| format!("{problems} in the config")),
        ]
        .into_iter()
        .flatten()
        .collect();
        match wrong.as_slice() {
            [] => format!("all is well: {} sources, {} permissions", sources.len(), permissions.len()),
            _ => format!("problems: {}", wrong.join("; ")),
        }
    }
}

/// The search for the server of a source. `used` is null if none was found.
fn search(source: &SourceStatus) -> Option<serde_json::Value> {
    let found = source.found.as_ref()?;
    Some(serde_json::json!({
        "source": source.name, "product": found.product,
        "services": found.services, "namespaces": found.namespaces,
        "used": found.used().map(|used| &used.service),
        "tried": found.tried.iter().map(|tried| serde_json::json!({
            "service": tried.service, "installation": tried.installation,
            "outcome": tried.outcome.as_str(), "error": tried.error,
        })).collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::found::{Found, Outcome, Tried};
    use pilothouse_core::domain::source::Feed;
    use pilothouse_core::facts::event::Identity;

    use super::*;

    fn asked(namespaces: &[&str], served: Option<&[&str]>) -> Vec<String> {
        let namespaces: Vec<Name> = namespaces.iter().map(|n| Name::from(*n)).collect();
        let served = served.map(|served| served.iter().map(ToString::to_string).collect());
        let questions = questions(&namespaces, served.as_ref());
        questions.iter().map(|q| format!("{} in {:?}", q.right.words(), q.namespace.as_str())).collect()
    }

    #[test]
    fn every_right_of_the_table_is_asked_for_once() {
        let asked = asked(&[], None);
        assert_eq!(asked.len(), rights::all().len());
        for needed in [
            r#"list pods in """#,
            r#"watch pods in """#,
            r#"get pods/log in """#,
            r#"delete pods in """#,
            r#"create pods/eviction in """#,
            r#"patch nodes in """#,
            r#"list nodes.metrics.k8s.io in """#,
            r#"patch deployments/scale.apps in """#,
            r#"patch httproutes.gateway.networking.k8s.io in """#,
            r#"watch leases.coordination.k8s.io in "kube-node-lease""#,
        ] {
            assert!(asked.iter().any(|q| q == needed), "{needed}: {asked:#?}");
        }
    }

    #[test]
    fn what_is_in_a_namespace_is_asked_for_in_each_and_the_rest_once() {
        let asked = asked(&["shop", "pay"], None);
        let of = |right: &str| -> Vec<&str> {
            let of = asked.iter().filter_map(|q| q.strip_prefix(right)?.strip_prefix(" in "));
            of.collect()
        };
        assert_eq!(of("list pods"), [r#""shop""#, r#""pay""#]);
        assert_eq!(of("list nodes"), [r#""""#]);
        assert_eq!(of("watch leases.coordination.k8s.io"), [r#""kube-node-lease""#]);
    }

    #[test]
    fn an_api_that_is_not_installed_is_not_asked_about() {
        let (all, some) = (asked(&[], None), asked(&[], Some(&["apps", "batch"])));
        let foreign = |q: &&String| !["apps", "batch"].iter().any(|g| q.contains(&format!(".{g} ")));
        let of_core = |q: &&String| !q.split(" in ").next().unwrap().contains('.');
        assert!(all.iter().any(|q| q.contains("metrics.k8s.io")));
        assert!(some.iter().filter(foreign).all(|q| of_core(&q)), "{some:?}");
        assert!(some.iter().any(|q| q.contains("patch deployments.apps")) && some.len() < all.len());
    }

    #[test]
    fn answers_go_with_their_questions() {
        let namespaces = [Name::from("shop"), "pay".into()];
        let questions: Vec<Question> =
            questions(&namespaces, None).into_iter().filter(|q| q.right.words() == "list pods").collect();
        let answers = [Ok((false, "RBAC".to_owned())), Err("timed out".to_owned())];
        let told = permissions(questions, answers, &namespaces);
        let told: Vec<_> = told.iter().map(|p| (p.words.as_str(), p.allowed, p.why.as_str())).collect();
        assert_eq!(
            told,
            [("list pods in shop", Some(false), "RBAC"), ("list pods in pay", None, "timed out")]
        );
    }

    fn checkup(cluster: &Cluster) -> Checkup<'_> {
        Checkup {
            context: "test",
            server: "https://api",
            insecure: false,
            cluster,
            now: Stamp(9_000),
            config: Path::new(""),
            problems: Vec::new(),
            remarks: Vec::new(),
            sets: &[],
            journal: None,
            permissions: Vec::new(),
            plans: Vec::new(),
        }
    }

    fn permission(allowed: Option<bool>, why: &str) -> Permission {
        let (words, why) = ("get pods/log".to_owned(), why.to_owned());
        Permission { words, purposes: vec!["logs"], allowed, why }
    }

    #[test]
    fn a_permission_says_what_is_lost_without_it() {
        let cluster = Cluster {
            identity: Identity { user: Some("ann".into()), ..Identity::default() },
            ..Cluster::default()
        };
        let checkup = checkup(&cluster);
        for (allowed, why, line) in [
            (Some(true), "RBAC: allowed by x", "may get pods/log: yes"),
            (Some(false), "", "✖ may get pods/log: NO (User \"ann\" cannot get pods/log), for: logs"),
            (Some(false), "by policy", "✖ may get pods/log: NO (by policy), for: logs"),
            (None, "no answer", "! may get pods/log: unknown (no answer), for: logs"),
        ] {
            assert_eq!(checkup.permission(&permission(allowed, why)), line);
        }
    }

    #[test]
    fn the_guards_and_the_sets_of_a_cluster_are_told() {
        let said = |read_only, protected| {
            let mut cluster = Cluster::default();
            let info = std::sync::Arc::make_mut(&mut cluster.info);
            (info.read_only, info.protected) = (read_only, protected);
            let sets = ["eu".to_owned(), "audit".to_owned()];
            let remarks = vec!["clusters.us: no context matches us-*".to_owned()];
            let checkup = Checkup { sets: &sets, remarks, ..checkup(&cluster) };
            let json = checkup.json();
            assert_eq!(json["sets"], serde_json::json!(["eu", "audit"]));
            assert_eq!((&json["read_only"], &json["protected"]), (&read_only.into(), &protected.into()));
            let lines = checkup.text();
            assert!(
                lines.iter().any(|line| line == "  config: clusters.us: no context matches us-*"),
                "{lines:#?}"
            );
            let at = lines.iter().position(|line| line == "sets of clusters: eu, audit").unwrap();
            lines[at + 1].split(':').next().unwrap().to_owned()
        };
        assert_eq!([said(true, true), said(false, true)], ["READ-ONLY", "PROTECTED"]);
        assert!(said(false, false).starts_with("config"), "no guard, no line");
    }

    #[test]
    fn a_search_is_told_with_what_was_tried() {
        let tried = |service: &str, outcome, error: Option<&str>| Tried {
            service: service.into(),
            installation: "name".into(),
            outcome,
            error: error.map(Name::from),
        };
        let found = Found {
            product: "Prometheus".into(),
            services: 214,
            namespaces: Vec::new(),
            tried: vec![
                tried("a/p:1", Outcome::NoEndpoints, Some("no endpoint is ready")),
                tried("b/p:1", Outcome::Used, None),
            ],
        };
        let status = SourceStatus {
            name: "prometheus".into(),
            feed: Feed::Traffic,
            state: SourceState::Live,
            last_ok: Some(Stamp(5_000)),
            through: Some("b/p:1".into()),
            found: Some(Arc::new(found)),
            ..SourceStatus::default()
        };
        let cluster = Cluster { sources: [status].into(), ..Cluster::default() };
        let lines = checkup(&cluster).text();
        let at = lines.iter().position(|l| l.starts_with("source prometheus")).unwrap();
        assert_eq!(
            lines[at..at + 4],
            [
                "source prometheus live (4 s ago), b/p:1 through the API server",
                "  prometheus: 2 of the cluster's 214 Services can be a Prometheus, by name or labels",
                "  prometheus: a/p:1 (name): no endpoint is ready",
                "  prometheus: b/p:1 (name): used, through the API server",
            ]
        );
        let search = &checkup(&cluster).json()["searches"][0];
        assert_eq!((search["used"].as_str(), search["services"].as_u64()), (Some("b/p:1"), Some(214)));
        assert_eq!(search["tried"][0]["outcome"], "no-endpoints");
        assert_eq!(search["tried"][1]["error"], serde_json::Value::Null);
    }

    #[test]
    fn each_source_is_told_and_the_last_line_counts_what_is_wrong() {
        let status = |name: &str, feed, state, error: Option<&str>| SourceStatus {
            name: name.into(),
            feed,
            state,
            last_ok: Some(Stamp(5_000)),
            error: error.map(Name::from),
            ..SourceStatus::default()
        };
        let live = || status("pods", Feed::Objects, SourceState::Live, None);
        let off = || status("prometheus", Feed::Traffic, SourceState::Off, Some("none is configured"));
        // tables that were never read are not part of this test
        let mut cluster = Cluster { sources: [live(), off()].into(), ..Cluster::default() };
        let lines = checkup(&cluster).text();
        for line in ["source pods live (4 s ago)", "source prometheus off (4 s ago): none is configured"] {
            assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
        }
        assert_eq!(lines.last().unwrap(), "all is well: 2 sources, 0 permissions");
        let down = SourceState::Down { since: Stamp(1_000) };
        cluster.sources =
            [live(), off(), status("log file a", Feed::Logs, down, Some("no such file"))].into();
        let checkup = Checkup {
            permissions: vec![permission(Some(true), ""), permission(Some(false), ""), permission(None, "")],
            problems: vec!["c.toml:3: unknown key".into()],
            plans: vec![("a".into(), Vec::new()), ("b".into(), vec!["no Service shop/b".into()])],
            ..checkup(&cluster)
        };
        let lines = checkup.text();
        for line in [
            "✖ source log file a down (4 s ago): no such file",
            "✖ CONFIG: c.toml:3: unknown key",
            "  failover a: ready",
            "✖ FAILOVER b: no Service shop/b",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
        }
        assert_eq!(
            lines.last().unwrap(),
            "problems: 1 of 3 sources are not live; 1 of 3 permissions are denied: what needs them is missing or \
             refused; 1 of 3 permissions could not be checked; 1 of 2 failover plans cannot run; 1 in the config"
        );
        assert!(checkup.is_troubled());
        let json = checkup.json();
        assert_eq!(json["sources"][2]["name"], "log file a");
        assert_eq!(json["permissions"][2]["allowed"], serde_json::Value::Null);
        assert_eq!(json["failover"][1]["missing"][0], "no Service shop/b");
    }
}
