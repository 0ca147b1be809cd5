//! Logs between the sources and the screen: what is followed by itself, and what a person opened.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::model::world::World;
use pilothouse_core::policy::follow::choose;
use tokio::sync::{mpsc, watch};

use super::desk::hand;
use crate::clock::Clock;
use crate::source::logs::follow::{LogQuery, fetch_log, follow_log};
use crate::source::logs::store::LogLine;
use crate::source::logs::{FollowPlan, Target};
use crate::source::supervise::Supervisor;
use crate::ui::request::{LogLine as Shown, LogRequest, Ticket};
use crate::ui::run::Input;
use crate::wire::client::ReadClient;

/// What is worth following is looked at anew this often at most.
const CHOOSE_EVERY: Duration = Duration::from_secs(2);
/// Lines handed over at once.
const BATCH: usize = 500;

/// Keeps the follow plan in step with the world.
pub async fn choose_while_it_changes(
    mut world: watch::Receiver<Arc<World>>,
    plan: watch::Sender<FollowPlan>,
    most: usize,
    clock: Clock,
) {
    loop {
        let chosen = {
            let world = world.borrow_and_update().clone();
            world.clusters.first().map(|c| choose(c, most, clock.now()))
        };
        if let Some((choices, candidates)) = chosen {
            let targets = choices
                .into_iter()
                .map(|c| Target {
                    namespace: c.namespace,
                    pod: c.pod,
                    container: c.container,
                    workload: c.workload,
                    version: c.version,
                    restarts: c.restarts,
                })
                .collect();
            let new = FollowPlan { targets, candidates };
            plan.send_if_modified(|held| {
                let differs = *held != new;
                *held = new;
                differs
            });
        }
        tokio::time::sleep(CHOOSE_EVERY).await;
        if world.changed().await.is_err() {
            return;
        }
    }
}

/// Streams what a person opened into the screen, in batches, until its group is stopped.
pub fn follow(
    group: &Supervisor,
    reader: &ReadClient,
    ticket: Ticket,
    request: &LogRequest,
    inbox: &SyncSender<Input>,
) {
    let (out, lines) = mpsc::channel(4 * BATCH);
    let mut streams = Vec::new();
    for pod in &request.pods {
        let query = LogQuery {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container: Name::default(),
            previous: request.previous,
            tail: request.tail,
        };
        let (reader, out, follows) = (reader.clone(), out.clone(), request.follow && !request.previous);
        streams.push(async move {
            let ended = if follows {
                follow_log(&reader, &query, out).await
            } else {
                match fetch_log(&reader, &query).await {
                    Ok(lines) => {
                        for line in lines {
                            if out.send(line).await.is_err() {
                                break;
                            }
                        }
                        Ok(())
                    }
                    Err(e) => Err(e),
                }
            };
            ended.err().map(|e| format!("{}/{}: {e}", query.namespace, query.pod))
        });
    }
    drop(out);
    let inbox_lines = inbox.clone();
    let pump = pump(ticket, lines, inbox_lines);
    let inbox = inbox.clone();
    group.spawn_once(async move {
        let (problems, ()) = tokio::join!(futures::future::join_all(streams), pump);
        let problems: Vec<String> = problems.into_iter().flatten().collect();
        let why = if problems.is_empty() { "the log ended".to_owned() } else { problems.join("; ") };
        hand(&inbox, Input::LogEnded(ticket, why)).await;
    });
}

async fn pump(ticket: Ticket, mut lines: mpsc::Receiver<LogLine>, inbox: SyncSender<Input>) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, BATCH).await > 0 {
        // lines of several pods come interleaved: in order within what came together
        batch.sort_by_key(|line: &LogLine| line.at);
        let shown = batch.drain(..).map(shown).collect();
        hand(&inbox, Input::LogLines(ticket, shown)).await;
    }
}

/// A line as the screen takes it.
pub fn shown(line: LogLine) -> Shown {
    let pod = line.pod.rsplit('/').next().map_or_else(Name::default, Name::from);
    Shown {
        at: (line.at != Stamp::default()).then_some(line.at),
        level: line.level,
        pod,
        container: line.container,
        text: line.text.to_string(),
    }
}
