//! Log lines. They are followed through the API, kept in a bounded store outside the shared state, and published as
//! groups.

mod choose;
pub mod follow;
mod group;
pub(super) mod join;
mod out;
pub mod pod;
pub mod store;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::facts::event::Fact;
use tokio::sync::watch;

use self::choose::choose_while_it_changes;
pub use self::follow::{LogQuery, Told, fetch_log, follow_log};
pub use self::store::{LogFilter, LogInput, LogLine, LogStore};
use super::Setup;
use super::sink::FactSink;
use super::supervise::Supervisor;
use crate::wire::client::ReadClient;

/// The name of the source that follows the pods with problems.
pub const NAME: &str = "logs";
/// The interval between the starts of two streams. Each stream is a connection of the API server and of a kubelet.
const STAGGER: Duration = Duration::from_millis(25);
/// The interval between two summaries: at most two a second.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Rates fall without new lines, so a summary is published after this many intervals.
const TELL_QUIET: u32 = 20;

/// A container to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub namespace: Name,
    pub pod: Name,
    /// The UID of the pod. Another pod with the same name is another target.
    pub uid: Uid,
    pub container: Name,
    /// The workload, as `namespace/workload`.
    pub workload: Name,
    /// The tag of the image.
    pub version: Name,
    /// The image without its tag.
    pub image: Name,
    pub node: Name,
}

/// The containers to follow. The caller derives them from the World and can change them at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FollowPlan {
    /// The targets, the most interesting first. Only the first `max_streams` are followed.
    pub targets: Vec<Target>,
    /// The number of pods that could be followed.
    pub candidates: u32,
}

/// Starts following pods according to the World and the settings.
pub fn start(setup: &Setup<'_>, sink: &FactSink) -> Vec<Name> {
    let most = setup.settings.logs.max_streams;
    let input = setup.lines.input(NAME, "pods");
    let (plan_out, plan) = watch::channel(FollowPlan::default());
    let (client, kept, out) = (setup.reader.clone(), input.clone(), sink.clone());
    let group = setup.supervisor.child();
    setup.supervisor.spawn(NAME, sink.clone(), move || {
        // a restart after a panic begins without streams, because the earlier ones stop with their group
        let streams = group.child();
        run(client.clone(), kept.clone(), plan.clone(), most, out.clone(), streams)
    });
    setup.supervisor.spawn_once(choose_while_it_changes(
        setup.world.clone(),
        sink.cluster(),
        plan_out,
        most as usize,
        sink.clock().clone(),
    ));
    keep_telling(&input, setup.supervisor, sink);
    vec![input.source().clone()]
}

/// Publishes the summary of an input whenever it changes.
pub(super) fn keep_telling(input: &LogInput, supervisor: &Supervisor, sink: &FactSink) {
    let (input, out) = (input.clone(), sink.clone());
    supervisor.spawn(input.source().to_string(), sink.clone(), move || tell(input.clone(), out.clone()));
}

/// The open streams. They stop when this is dropped.
struct Streams {
    group: Supervisor,
    running: HashMap<Target, Supervisor>,
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.group.cancel();
    }
}

async fn run(
    client: ReadClient,
    input: LogInput,
    mut plan: watch::Receiver<FollowPlan>,
    max_streams: u32,
    out: FactSink,
    group: Supervisor,
) {
    let mut streams = Streams { group, running: HashMap::new() };
    plan.mark_changed();
    while plan.changed().await.is_ok() {
        let wanted = plan.borrow_and_update().clone();
        let chosen: Vec<&Target> = wanted.targets.iter().take(max_streams as usize).collect();
        let keep: HashSet<&Target> = chosen.iter().copied().collect();
        streams.running.retain(|held, stream| {
            let stays = keep.contains(held);
            if !stays {
                stream.cancel();
            }
            stays
        });
        for target in chosen {
            if streams.running.contains_key(target) {
                continue;
            }
            let stream = streams.group.child();
            streams.running.insert(target.clone(), stream.clone());
            let (client, input, target) = (client.clone(), input.clone(), target.clone());
            stream.spawn("log stream", out.clone(), move || {
                follow::keep_following(client.clone(), input.clone(), target.clone())
            });
            tokio::time::sleep(STAGGER).await;
            if plan.has_changed().unwrap_or(false) {
                // the new plan decides about the remaining targets
                break;
            }
        }
        input.following(streams.running.len(), wanted.candidates);
        let now = out.clock().now();
        let status = SourceStatus {
            name: input.source().clone(),
            state: SourceState::Live,
            last_ok: Some(now),
            ..SourceStatus::default()
        };
        out.status(status).await;
    }
    // the plan no longer changes, so the running streams continue until this task is stopped
    std::future::pending::<()>().await;
}

async fn tell(input: LogInput, out: FactSink) {
    let mut last = None;
    let mut quiet = 0;
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        let changes = input.changes();
        quiet += 1;
        let due = last != Some(changes) || (quiet >= TELL_QUIET && input.has_groups());
        if due {
            (last, quiet) = (Some(changes), 0);
            let summary = input.summary(out.clock().now());
            out.fact(Fact::Logs(summary)).await;
        }
    }
}
