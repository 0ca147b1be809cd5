//! The commands `snapshot`, `why`, `get` and `doctor`. They read until the sources are complete, then print.

mod get;
mod logs;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse_core::domain::id::Name;
use pilothouse_core::facts::world::{Cluster, Severity, World};
use pilothouse_core::logs::targets::choose;
use pilothouse_core::policy::seen;

pub(super) use self::get::{check, get};
pub(super) use self::logs::{check as check_logs, input, logs};
use super::Start;
use super::session::Session;
use super::signals::Interrupt;
use crate::cli::{Look, Output};
use crate::clock::Clock;
use crate::report::doctor::{self, Checkup, Permission};
use crate::report::headless::{print, still_read};
use crate::report::rights::Right;
use crate::report::{document, exit, snapshot as documents, text};
use crate::source::logs::NAME as POD_LOGS;
use crate::source::recording::Ended;
use crate::source::{Wanted, are_settled};
use crate::wire::client::{Ask, ReadClient};

/// How long sources may take to stop.
const CLOSE: Duration = Duration::from_millis(500);

/// The maximum time for the logs of pods with problems, after everything else was read.
const LOGS: Duration = Duration::from_secs(5);
/// The time between the first lines of a log and their summary.
const GROUPED: Duration = Duration::from_millis(1200);
/// The timeout of requests after the time limit. They either succeed quickly or not at all.
const LAST: Duration = Duration::from_secs(2);
/// The same timeout for failover plans, which can involve other clusters.
const PLANS: Duration = Duration::from_secs(10);

/// Waits for the logs of pods with problems.
async fn logs_read(start: &Start, session: &mut Session, until: Instant) {
    let most = start.settings.logs.max_streams as usize;
    let pods = |cluster: &Arc<Cluster>| {
        let choices = choose(cluster, most, start.clock.now()).0;
        choices.into_iter().map(|c| (c.namespace, c.pod)).collect::<HashSet<_>>().len()
    };
    let chosen = session.world.borrow().cluster(session.front).map(pods);
    let chosen = chosen.filter(|chosen| *chosen > 0 && start.settings.logs.enabled);
    let Some(chosen) = chosen.and_then(|chosen| u32::try_from(chosen).ok()) else { return };
    let front = session.front;
    let following = |c: &Arc<Cluster>| c.logs.of(POD_LOGS).is_some_and(|s| s.following >= chosen);
    let read = session.world.wait_for(|w| w.cluster(front).is_some_and(following));
    if tokio::time::timeout_at(until.into(), read).await.is_ok() {
        tokio::time::sleep_until(until.min(Clock::deadline(GROUPED)).into()).await;
    }
}

/// Says on standard error that a recording ended.
fn told(start: &Start) -> Ended {
    let voice = start.voice.clone();
    Arc::new(move |why| voice.tell(&why))
}

/// Says why a cluster was not read. Among several clusters it gets a document too, so that none is missing without a
/// word.
fn unread(start: &Start, output: Output, schema: &str, why: &str) {
    start.voice.tell(why);
    let Some(context) = start.voice.context() else { return };
    let text = match output {
        Output::Json => serde_json::json!({
            "schema": schema, "context": context, "cluster": { "context": context }, "error": why,
        })
        .to_string(),
        Output::Text => start.voice.headed(&format!("NOT SEEN: {why}")),
    };
    // the exit status says that something is missing
    let _unwritten = print(&text);
}

/// Opens a session and waits until it is settled or the time limit is reached. If all sources are wanted, reads the logs
/// of pods with problems.
async fn look(start: &Start, look: &Look, wanted: Wanted, schema: &str) -> Result<(Session, Arc<World>), u8> {
    let failed = |why: String| {
        unread(start, look.output, schema, &why);
        exit::USAGE
    };
    let until = Clock::deadline(look.wait);
    let connection = start.connect_until(until).await.map_err(failed)?;
    for note in &connection.notes {
        start.voice.tell(note);
    }
    let unknown = connection.clone();
    let tap = super::session::recorder(start, &connection, told(start)).map_err(failed)?;
    let past = start.journal().history().0;
    let mut session = Session::open(start, connection, false, past, wanted, tap, |_| {}).map_err(failed)?;
    let front = session.front;
    let started = session.shown().map_err(failed)?.started.clone();
    let settled = session.world.wait_for(|w| w.cluster(front).is_some_and(|c| are_settled(&started, c)));
    // an incomplete result is printed too, because it lists what is missing
    let (unknown, complete) = tokio::join!(
        tokio::time::timeout_at(until.into(), super::session::no_such_namespace(start, &unknown)),
        async { tokio::time::timeout_at(until.into(), settled).await.is_ok() },
    );
    if let Some(why) = unknown.ok().flatten() {
        session.close(CLOSE).await;
        return Err(failed(why));
    }
    if wanted == Wanted::All && complete {
        logs_read(start, &mut session, until.min(Clock::deadline(LOGS))).await;
    }
    let any = session.world.wait_for(|w| !w.clusters.is_empty());
    if tokio::time::timeout(LAST, any).await.is_err() {
        session.close(CLOSE).await;
        let why = "nothing was seen: the time was up before anything was asked";
        unread(start, look.output, schema, why);
        return Err(exit::FAILED);
    }
    let world = session.world.borrow().clone();
    Ok((session, world))
}

/// Whether no data was received at all. A document in which every value is null must not look like an answer.
fn saw_nothing(cluster: &Cluster) -> bool {
    cluster.nodes.is_empty()
        && cluster.pods.is_empty()
        && [&cluster.nodes.cover, &cluster.pods.cover].into_iter().all(|c| !c.is_read())
}

/// Returns the exit status. It is a failure if a source that should be readable was not read. A source without
/// permission is reported, but is not a failure.
fn status_of(start: &Start, cluster: &Cluster, flags: &Look) -> u8 {
    if saw_nothing(cluster) {
        explain_nothing(start, cluster, flags.wait);
        return exit::FAILED;
    }
    if seen::unseen(cluster).iter().any(|u| u.why.is_fault()) { exit::FAILED } else { exit::DONE }
}

fn explain_nothing(start: &Start, cluster: &Cluster, waited: Duration) {
    // only these sources explain the failure, because other sources may depend on other servers
    let vital = ["nodes", "pods"].into_iter().filter_map(|name| cluster.source(name));
    let why = vital.filter(|s| s.state.is_trouble()).find_map(|s| s.error.as_ref());
    let why = why.map_or_else(
        || format!("the API server did not answer within {}", humantime::format_duration(waited)),
        ToString::to_string,
    );
    start
        .voice
        .tell(&format!("nothing was seen of {} at {}: {why}", cluster.info.context, cluster.info.server));
}

pub(super) async fn snapshot(start: &Start, flags: &Look, watch: bool) -> u8 {
    // a single document is for scripts, which run often, so it does not wait for logs
    let wanted = if watch { Wanted::All } else { Wanted::WithoutLogs };
    let mut interrupt = Interrupt::new();
    let (mut session, mut world) = match interrupt.or(look(start, flags, wanted, document::SNAPSHOT)).await {
        Some(Ok(seen)) => seen,
        Some(Err(status)) => return status,
        None => return exit::INTERRUPTED,
    };
    let status = loop {
        let now = start.clock.now();
        let Some(cluster) = world.cluster(session.front) else { break exit::FAILED };
        let doc = documents::snapshot(&world, cluster, now);
        let text = match flags.output {
            Output::Json => serde_json::to_string(&doc).map_err(|e| e.to_string()),
            Output::Text => {
                let lines = text::snapshot(&doc, cluster, now).join("\n");
                let second = text::second(now);
                Ok(match start.voice.context().filter(|_| watch) {
                    Some(context) => format!("=== {context} {second}\n{lines}\n"),
                    None if watch => format!("=== {second}\n{lines}\n"),
                    None => start.voice.headed(&lines),
                })
            }
        };
        match text.and_then(|t| still_read(&t).map_err(|e| e.to_string())) {
            Ok(true) => {}
            // the reader has closed the pipe, which ends what is printed about other clusters too
            Ok(false) => {
                start.stop.cancel();
                break exit::DONE;
            }
            Err(_) => break exit::FAILED,
        }
        if !watch {
            break status_of(start, cluster, flags);
        }
        tokio::select! {
            changed = session.world.changed() => {
                if changed.is_err() {
                    break exit::FAILED;
                }
                world = session.world.borrow_and_update().clone();
            }
            () = start.stop.cancelled() => break exit::DONE,
            () = interrupt.came() => break exit::INTERRUPTED,
        }
    };
    session.close(CLOSE).await;
    status
}

/// Whether the cluster has a finding of at least this severity.
fn is_as_bad(cluster: &Cluster, as_what: Severity) -> bool {
    cluster.derived.causes.iter().any(|cause| cause.severity >= as_what)
}

pub(super) async fn why(start: &Start, flags: &Look, fail_on: Option<Severity>) -> u8 {
    let (session, world) = match look(start, flags, Wanted::All, document::SNAPSHOT).await {
        Ok(seen) => seen,
        Err(status) => return status,
    };
    let now = start.clock.now();
    let mut status = exit::FAILED;
    if let Some(cluster) = world.cluster(session.front) {
        let doc = documents::snapshot(&world, cluster, now);
        let text = match flags.output {
            Output::Json => serde_json::to_string(&serde_json::json!({
                "schema": doc.schema, "at": doc.at, "cluster": doc.cluster, "not_seen": doc.not_seen,
                "causes": doc.causes, "silenced": doc.silenced, "changes": doc.changes,
            }))
            .unwrap_or_default(),
            Output::Text => {
                let lines = text::why(cluster, &start.reach(&cluster.info.context), now);
                start.voice.headed(&lines.join("\n"))
            }
        };
        status = status_of(start, cluster, flags);
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

/// Returns the API groups of the server, or `None` if it does not list them.
async fn groups(reader: &ReadClient) -> Option<BTreeSet<String>> {
    let list: serde_json::Value = reader.get_json("/apis").await.ok()?;
    let groups = list.get("groups")?.as_array()?;
    let name = |group: &serde_json::Value| group.get("name")?.as_str().map(str::to_owned);
    Some(groups.iter().filter_map(name).collect())
}

/// Checks every permission that Pilothouse uses.
async fn permissions(reader: &ReadClient, namespaces: &[Name], until: Instant) -> Vec<Permission> {
    let served = tokio::time::timeout_at(until.into(), groups(reader)).await.ok().flatten();
    let questions = doctor::questions(namespaces, served.as_ref());
    let answers = futures::future::join_all(questions.iter().map(async |question| {
        let Right { info, verb, subresource, .. } = &question.right;
        let asked = reader.may(Ask {
            verb,
            group: info.group,
            resource: info.plural,
            subresource,
            namespace: &question.namespace,
            name: "",
        });
        match tokio::time::timeout_at(until.into(), asked).await {
            Ok(Ok(answer)) => Ok((answer.allowed, answer.reason)),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }));
    let answers = answers.await;
    doctor::permissions(questions, answers, namespaces)
}

pub(super) async fn doctor(start: &Start, flags: &Look) -> u8 {
    let (session, world) = match look(start, flags, Wanted::WithoutPodLogs, doctor::SCHEMA).await {
        Ok(seen) => seen,
        Err(status) => return status,
    };
    let now = start.clock.now();
    let last = Clock::deadline(LAST);
    let (Some(cluster), Ok(handle)) = (world.cluster(session.front), session.shown()) else {
        return exit::FAILED;
    };
    let permissions = permissions(handle.reader(), &super::session::namespaces(start), last).await;
    let failover = &start.settings.failover;
    let checked = super::failover::validate(failover, &handle.clients, &handle.info, now);
    let checked = tokio::time::timeout_at(Clock::deadline(PLANS).into(), checked).await;
    let plans = checked.unwrap_or_else(|_| {
        failover.iter().map(|plan| (plan.name.clone(), vec!["not checked: no answer".to_owned()])).collect()
    });
    let checkup = Checkup {
        context: &handle.connection.context,
        server: &handle.connection.server,
        insecure: handle.connection.insecure,
        cluster,
        now,
        config: &start.loaded.path,
        problems: start.loaded.problems.iter().map(ToString::to_string).collect(),
        remarks: [start.remarks(), start.left_out.clone()].concat(),
        sets: &start.cluster.sets,
        journal: super::journal_folder(&start.home),
        permissions,
        plans,
    };
    let text = match flags.output {
        Output::Json => checkup.json().to_string(),
        Output::Text => start.voice.headed(&checkup.text().join("\n")),
    };
    let well = print(&text).is_ok() && !checkup.is_troubled();
    session.close(CLOSE).await;
    if well { exit::DONE } else { exit::FAILED }
}
