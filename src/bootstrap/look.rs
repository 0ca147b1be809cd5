//! `snapshot`, `why`, `get` and `doctor`: look until the sources are complete, then print.

mod get;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::facts::event::Identity;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{Cluster, Severity, World};
use pilothouse_core::logs::targets::choose;
use pilothouse_core::policy::seen;

pub use self::get::get;
use super::Start;
use super::session::Session;
use crate::cli::{Look, Output};
use crate::clock::Clock;
use crate::report::headless::{print, still_read, tell};
use crate::report::rights::{self, Right};
use crate::report::{exit, snapshot as documents, text};
use crate::wire::client::{Ask, ReadClient};

/// How long sources get to stop.
const CLOSE: Duration = Duration::from_millis(500);

/// True once everything has been seen that can be: a failure may pass, a refusal does not.
fn is_settled(start: &Start, cluster: &Cluster) -> bool {
    // a table's rows and what its source is doing come by different ways
    let told = |name: &str| cluster.source(name).is_some_and(|s| s.state != SourceState::Starting);
    let passing = |name: &str| {
        let failing =
            |s: &SourceStatus| matches!(s.state, SourceState::Stale { .. } | SourceState::Down { .. });
        cluster.source(name).is_some_and(|s| !s.lasting && failing(s))
    };
    let over = |name: &str| {
        cluster.source(name).is_some_and(|s| {
            s.lasting || matches!(s.state, SourceState::Denied | SourceState::NotInstalled | SourceState::Off)
        })
    };
    // the names of the other namespaces come with our identity
    let partly = cluster.info.namespaces.is_empty()
        && cluster.tables().iter().any(|(_, cover, _)| matches!(cover, Coverage::Namespaces(_)));
    let known = !partly || cluster.identity != Identity::default();
    cluster.tables().iter().all(|(name, ..)| told(name))
        && !seen::may_come(cluster)
        && known
        && (cluster.node_usage_source.is_some() || over("metrics.k8s.io"))
        && !passing("metrics.k8s.io pods")
        && (start.settings.prometheus.url.is_empty() || told("prometheus"))
}

/// Most time that the logs of pods in trouble get, once everything else was seen.
const LOGS: Duration = Duration::from_secs(5);
/// From a log's first lines to the summary of them.
const GROUPED: Duration = Duration::from_millis(1200);
/// What is asked after the time is up gets this long: an answer to it is quick, or does not come.
const LAST: Duration = Duration::from_secs(2);
/// The same for failover plans, which may have clusters of their own.
const PLANS: Duration = Duration::from_secs(10);

/// Waits for what the logs of pods in trouble say.
async fn logs_read(start: &Start, session: &mut Session, until: Instant) {
    let most = start.settings.logs.max_streams as usize;
    let chosen = session.world.borrow().clusters.first().map(|c| choose(c, most, start.clock.now()).0.len());
    let chosen = chosen.filter(|chosen| *chosen > 0 && start.settings.logs.enabled);
    let Some(chosen) = chosen.and_then(|chosen| u32::try_from(chosen).ok()) else { return };
    let read = session.world.wait_for(|w| w.clusters.first().is_some_and(|c| c.logs.following >= chosen));
    if tokio::time::timeout_at(until.into(), read).await.is_ok() {
        tokio::time::sleep_until(until.min(Clock::deadline(GROUPED)).into()).await;
    }
}

/// Opens a session and waits until it is settled or the time is up. `logs`: with what pods in trouble log.
async fn look(start: &Start, look: &Look, logs: bool) -> Result<(Session, Arc<World>), u8> {
    let failed = |why: String| {
        tell(&format!("pilothouse: {why}"));
        exit::USAGE
    };
    let until = Clock::deadline(look.wait);
    let connection = start.connect().await.map_err(failed)?;
    for note in &connection.notes {
        tell(&format!("pilothouse: {note}"));
    }
    let unknown = connection.clone();
    let mut session =
        Session::open(start, connection, start.journal().history().0, |_| {}).map_err(failed)?;
    if logs {
        session.follow_logs(start);
    }
    let settled = session.world.wait_for(|w| w.clusters.first().is_some_and(|c| is_settled(start, c)));
    // an incomplete picture is printed all the same: it says what is missing
    let (unknown, complete) = tokio::join!(
        tokio::time::timeout_at(until.into(), super::session::no_such_namespace(start, &unknown)),
        async { tokio::time::timeout_at(until.into(), settled).await.is_ok() },
    );
    if let Some(why) = unknown.ok().flatten() {
        session.close(CLOSE).await;
        return Err(failed(why));
    }
    if logs && complete {
        logs_read(start, &mut session, until.min(Clock::deadline(LOGS))).await;
    }
    let any = session.world.wait_for(|w| !w.clusters.is_empty());
    if tokio::time::timeout(LAST, any).await.is_err() {
        session.close(CLOSE).await;
        tell("pilothouse: nothing was seen: the time was up before anything was asked");
        return Err(exit::FAILED);
    }
    let world = session.world.borrow().clone();
    Ok((session, world))
}

/// Nothing at all was received: a document full of nulls must not pass for an answer.
fn saw_nothing(cluster: &Cluster) -> bool {
    cluster.nodes.is_empty()
        && cluster.pods.is_empty()
        && [&cluster.nodes.cover, &cluster.pods.cover].into_iter().all(|c| !c.is_read())
}

/// Failed if something was not seen that should have been. What we may not see is said, and is no failure.
fn status_of(cluster: &Cluster, flags: &Look) -> u8 {
    if saw_nothing(cluster) {
        explain_nothing(cluster, flags.wait);
        return exit::FAILED;
    }
    if seen::unseen(cluster).iter().any(|u| u.why.is_fault()) { exit::FAILED } else { exit::DONE }
}

fn explain_nothing(cluster: &Cluster, waited: Duration) {
    // what another source says, which has a server of its own behind the API server, is not the reason
    let vital = ["nodes", "pods"].into_iter().filter_map(|name| cluster.source(name));
    let why = vital.filter(|s| s.state.is_trouble()).find_map(|s| s.error.as_ref());
    let why = why.map_or_else(
        || format!("the API server did not answer within {}", humantime::format_duration(waited)),
        ToString::to_string,
    );
    tell(&format!(
        "pilothouse: nothing was seen of {} at {}: {why}",
        cluster.info.context, cluster.info.server
    ));
}

pub async fn snapshot(start: &Start, flags: &Look, watch: bool) -> u8 {
    // one document is for scripts, which ask often: it does not wait for logs
    let (mut session, mut world) = match look(start, flags, watch).await {
        Ok(seen) => seen,
        Err(status) => return status,
    };
    let status = loop {
        let now = start.clock.now();
        let Some(cluster) = world.clusters.first() else { break exit::FAILED };
        let doc = documents::snapshot(&world, cluster, now);
        let text = match flags.output {
            Output::Json => serde_json::to_string(&doc).map_err(|e| e.to_string()),
            Output::Text => {
                let mut lines = text::snapshot(&doc, cluster, now);
                if watch {
                    lines.insert(0, format!("=== {}", text::second(now)));
                    lines.push(String::new());
                }
                Ok(lines.join("\n"))
            }
        };
        match text.and_then(|t| still_read(&t).map_err(|e| e.to_string())) {
            Ok(true) => {}
            // whoever read it has enough
            Ok(false) => break exit::DONE,
            Err(_) => break exit::FAILED,
        }
        if !watch {
            break status_of(cluster, flags);
        }
        tokio::select! {
            changed = session.world.changed() => {
                if changed.is_err() {
                    break exit::FAILED;
                }
                world = session.world.borrow_and_update().clone();
            }
            _ = tokio::signal::ctrl_c() => break exit::INTERRUPTED,
        }
    };
    session.close(CLOSE).await;
    status
}

/// True if a finding is at least as bad.
fn is_as_bad(cluster: &Cluster, as_what: Severity) -> bool {
    cluster.derived.causes.iter().any(|cause| cause.severity >= as_what)
}

pub async fn why(start: &Start, flags: &Look, fail_on: Option<Severity>) -> u8 {
    let (session, world) = match look(start, flags, true).await {
        Ok(seen) => seen,
        Err(status) => return status,
    };
    let now = start.clock.now();
    let mut status = exit::FAILED;
    if let Some(cluster) = world.clusters.first() {
        let doc = documents::snapshot(&world, cluster, now);
        let text = match flags.output {
            Output::Json => serde_json::to_string(&serde_json::json!({
                "schema": doc.schema, "at": doc.at, "cluster": doc.cluster, "not_seen": doc.not_seen,
                "causes": doc.causes, "silenced": doc.silenced, "changes": doc.changes,
            }))
            .unwrap_or_default(),
            Output::Text => text::why(cluster, &start.reach(&cluster.info.context), now).join("\n"),
        };
        status = status_of(cluster, flags);
        if print(&text).is_err() {
            status = exit::FAILED;
        }
        if fail_on.is_some_and(|severity| is_as_bad(cluster, severity)) {
            status = status.max(exit::FAILED);
        }
    }
    session.close(CLOSE).await;
    status
}

/// What was asked about one right: in which namespace ("" for all), the answer, and the server's reason.
struct Permission {
    words: String,
    purposes: Vec<&'static str>,
    /// None = there was no answer.
    allowed: Option<bool>,
    why: String,
}

/// The API groups that the server has; None = it does not say.
async fn groups(reader: &ReadClient) -> Option<HashSet<String>> {
    let list: serde_json::Value = reader.get_json("/apis").await.ok()?;
    let groups = list.get("groups")?.as_array()?;
    let name = |group: &serde_json::Value| group.get("name")?.as_str().map(str::to_owned);
    Some(groups.iter().filter_map(name).collect())
}

/// Asks for every right that is used, in each namespace where it makes a difference.
async fn permissions(reader: &ReadClient, places: &[Name], until: Instant) -> Vec<Permission> {
    let served = tokio::time::timeout_at(until.into(), groups(reader)).await.ok().flatten();
    let is_served = |right: &rights::Right| {
        // without an answer nothing is left out
        served.as_ref().is_none_or(|served| right.info.group.is_empty() || served.contains(right.info.group))
    };
    let rights: Vec<_> = rights::all().into_iter().filter(is_served).collect();
    let mut questions: Vec<(&rights::Right, &str)> = Vec::new();
    for right in &rights {
        for place in places {
            let asked = (right, right.namespace(place));
            if !questions.contains(&asked) {
                questions.push(asked);
            }
        }
    }
    let answers = futures::future::join_all(questions.iter().map(|(right, namespace)| {
        let Right { info, verb, subresource, .. } = right;
        let asked = reader.may(Ask {
            verb,
            group: info.group,
            resource: info.plural,
            subresource,
            namespace,
            name: "",
        });
        tokio::time::timeout_at(until.into(), asked)
    }))
    .await;
    let told = questions.into_iter().zip(answers).map(|((right, namespace), answer)| {
        let several = places.len() > 1 && right.info.namespaced && !namespace.is_empty();
        let place = if several { format!(" in {namespace}") } else { String::new() };
        let (allowed, why) = match answer {
            Ok(Ok(a)) => (Some(a.allowed), a.reason),
            Ok(Err(e)) => (None, e.to_string()),
            Err(_) => (None, "no answer".into()),
        };
        let purposes = right.purposes.iter().map(|p| p.as_str()).collect();
        Permission { words: format!("{}{place}", right.words()), purposes, allowed, why }
    });
    told.collect()
}

pub async fn doctor(start: &Start, flags: &Look) -> u8 {
    let (session, world) = match look(start, flags, false).await {
        Ok(seen) => seen,
        Err(status) => return status,
    };
    let now = start.clock.now();
    let last = Clock::deadline(LAST);
    let Some(cluster) = world.clusters.first() else { return exit::FAILED };
    let mut places = super::session::namespaces(start);
    if places.is_empty() {
        places.push(Name::default());
    }
    let permissions = permissions(&session.reader, &places, last).await;
    let info = super::session::info(start, &session.connection);
    let failover = &start.settings.failover;
    let dialer = start.dialer();
    let checked = super::failover::validate(failover, &dialer, &session.reader, &info, now);
    let checked = tokio::time::timeout_at(Clock::deadline(PLANS).into(), checked).await;
    let plans = checked.unwrap_or_else(|_| {
        failover.iter().map(|plan| (plan.name.clone(), vec!["not checked: no answer".to_owned()])).collect()
    });
    let missing = plans.iter().any(|(_, against)| !against.is_empty());
    let troubled =
        missing || cluster.sources.iter().any(|s| s.state.is_trouble()) || !start.loaded.problems.is_empty();
    let troubled = troubled || seen::unseen(cluster).iter().any(|u| u.why.is_fault());
    let text = match flags.output {
        Output::Json => serde_json::to_string(&serde_json::json!({
            "schema": "pilothouse/doctor/v1",
            "context": session.connection.context, "server": session.connection.server,
            "version": cluster.identity.version, "user": cluster.identity.user,
            "clock_offset_ms": cluster.identity.clock_offset_ms,
            "insecure": session.connection.insecure,
            "config": {
                "path": start.loaded.path,
                "problems": start.loaded.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
            "journal": super::journal_folder(&start.home),
            "failover": plans.iter().map(|(name, against)| serde_json::json!({
                "name": name, "missing": against,
            })).collect::<Vec<_>>(),
            "not_seen": documents::not_seen(cluster),
            "sources": documents::sources(cluster, now),
            "permissions": permissions.iter().map(|p| serde_json::json!({
                "access": p.words, "allowed": p.allowed, "reason": p.why, "for": p.purposes,
            })).collect::<Vec<_>>(),
        }))
        .unwrap_or_default(),
        Output::Text => {
            let mut lines = doctor_text(start, &session, cluster, &permissions);
            for (name, against) in &plans {
                match against.as_slice() {
                    [] => lines.push(format!("  failover {name}: ready")),
                    more => lines.extend(more.iter().map(|why| format!("✖ FAILOVER {name}: {why}"))),
                }
            }
            let faulty = plans.iter().filter(|(_, against)| !against.is_empty()).count();
            lines.push(summary(start, cluster, &permissions, faulty));
            lines.join("\n")
        }
    };
    let printed = print(&text).is_ok();
    session.close(CLOSE).await;
    if printed && !troubled { exit::DONE } else { exit::FAILED }
}

/// What a summary counts, and how many of them there are.
fn counted(n: usize, of: usize, what: &str) -> Option<String> {
    (n > 0).then(|| format!("{n} of {of} {what}"))
}

/// The last line: whether all is well, and else how much of what is not.
fn summary(start: &Start, cluster: &Cluster, permissions: &[Permission], faulty_plans: usize) -> String {
    let sources = &cluster.sources;
    let troubled = sources.iter().filter(|s| s.state.is_trouble() || s.state == SourceState::Starting);
    let denied = permissions.iter().filter(|p| p.allowed == Some(false)).count();
    let unknown = permissions.iter().filter(|p| p.allowed.is_none()).count();
    let problems = start.loaded.problems.len();
    let wrong: Vec<String> = [
        counted(troubled.count(), sources.len(), "sources are not live"),
        counted(denied, permissions.len(), "permissions are denied: what needs them is missing or refused"),
        counted(unknown, permissions.len(), "permissions could not be asked for"),
        counted(faulty_plans, start.settings.failover.len(), "failover plans cannot run"),
        (problems > 0).then(|| format!("{problems} in the config")),
    ]
    .into_iter()
    .flatten()
    .collect();
    match wrong.as_slice() {
        [] => format!("all is well: {} sources, {} permissions", sources.len(), permissions.len()),
        _ => format!("not all is well: {}", wrong.join("; ")),
    }
}

fn doctor_text(
    start: &Start,
    session: &Session,
    cluster: &Cluster,
    permissions: &[Permission],
) -> Vec<String> {
    let c = &session.connection;
    let or_unknown = |v: Option<&Name>| v.map_or("unknown".to_owned(), ToString::to_string);
    let mut lines = text::not_seen(cluster);
    lines.extend([
        format!("context {} at {}", c.context, c.server),
        format!("server version {}", or_unknown(cluster.identity.version.as_ref())),
        format!("user {}", or_unknown(cluster.identity.user.as_ref())),
    ]);
    lines.extend(text::clock(cluster));
    if c.insecure {
        lines.push("! INSECURE: the server's certificate is not checked".into());
    }
    let shown = |path: Option<&std::path::Path>| {
        path.map_or_else(|| "none: there is no home directory".to_owned(), |path| path.display().to_string())
    };
    let config = Some(start.loaded.path.as_path()).filter(|path| !path.as_os_str().is_empty());
    lines.push(format!("config {}", shown(config)));
    lines.extend(start.loaded.problems.iter().map(|p| format!("✖ CONFIG: {p}")));
    lines.push(format!("journal {}", shown(super::journal_folder(&start.home).as_deref())));
    lines.extend(text::sources(cluster, start.clock.now()));
    for Permission { words: name, purposes, allowed, why } in permissions {
        let (mark, word) = match allowed {
            Some(true) => ("", "yes"),
            Some(false) => ("✖ ", "NO"),
            None => ("! ", "unknown"),
        };
        let refused = cluster.identity.user.as_ref().map(|user| format!("User \"{user}\" cannot {name}"));
        let why = match (allowed, why.as_str()) {
            (Some(true), _) => String::new(),
            // a server that gives no reason refuses whom it takes us for
            (Some(false), "") => refused.unwrap_or_default(),
            (_, why) => why.to_owned(),
        };
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let lost =
            if *allowed == Some(true) { String::new() } else { format!(", for: {}", purposes.join("; ")) };
        lines.push(format!("{mark}may {name}: {word}{why}{lost}"));
    }
    lines
}
