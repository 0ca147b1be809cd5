//! Log lines. They are followed through the API, kept in a bounded store outside the shared state, and published as
//! groups.

mod choose;
pub mod follow;
mod group;
pub(super) mod join;
mod next;
mod out;
pub mod pod;
mod query;
mod ring;
pub(super) mod seen;
pub mod shares;
pub mod store;
pub mod twice;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::domain::source::SourceStatus;
use pilothouse_core::facts::event::Fact;
use tokio::sync::watch;

use self::choose::choose_while_it_changes;
pub use self::follow::{LogQuery, Nothing, Told, fetch_log, follow_log};
use self::out::{Kept, Troubles};
use self::shares::Part;

pub use self::store::{LogFilter, LogInput, LogLine, LogStore};
use self::twice::Twice;
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
    /// The targets, the most interesting first. Only the first ones are followed.
    pub targets: Vec<Target>,
    /// The number of pods that could be followed.
    pub candidates: u32,
}

/// Starts following pods according to the World and the settings.
pub fn start(setup: &Setup<'_>, sink: &FactSink) -> Vec<Name> {
    let most = setup.streams.clone();
    let input = setup.lines.input(NAME, "pods");
    let (plan_out, plan) = watch::channel(FollowPlan::default());
    let (client, kept, out) = (setup.reader.clone(), input.clone(), sink.clone());
    let (group, twice, bound) = (setup.supervisor.child(), setup.twice.clone(), most.clone());
    setup.supervisor.spawn(NAME, sink.clone(), move || {
        // a restart after a panic begins without streams, because the earlier ones stop with their group
        let streams = Streams { group: group.child(), running: HashMap::new() };
        let most = bound.clone();
        run(client.clone(), kept.clone(), plan.clone(), most, (twice.clone(), out.clone()), streams)
    });
    setup.supervisor.spawn_once(choose_while_it_changes(
        setup.world.clone(),
        sink.cluster(),
        plan_out,
        most,
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

impl Streams {
    /// Stops the streams of other targets.
    fn keep(&mut self, chosen: &[&Target]) {
        let keep: HashSet<&Target> = chosen.iter().copied().collect();
        self.running.retain(|held, stream| {
            let stays = keep.contains(held);
            if !stays {
                stream.cancel();
            }
            stays
        });
    }

    /// The number of pods that are followed. A pod can have several containers.
    fn pods(&self) -> usize {
        self.running.keys().map(|target| (&target.namespace, &target.pod)).collect::<HashSet<_>>().len()
    }
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
    most: Arc<Part>,
    (twice, out): (Arc<Twice>, FactSink),
    mut streams: Streams,
) {
    let troubles = Arc::new(Troubles::default());
    plan.mark_changed();
    loop {
        let changed = tokio::select! {
            changed = plan.changed() => changed.is_ok(),
            () = troubles.changed.notified() => false,
        };
        if changed {
            let wanted = plan.borrow_and_update().clone();
            let chosen: Vec<&Target> = wanted.targets.iter().take(most.size()).collect();
            streams.keep(&chosen);
            for target in chosen {
                if streams.running.contains_key(target) {
                    continue;
                }
                let stream = streams.group.child();
                streams.running.insert(target.clone(), stream.clone());
                let (client, target) = (client.clone(), target.clone());
                let (input, twice) = (input.clone(), twice.clone());
                let (troubles, clock) = (troubles.clone(), out.clock().clone());
                stream.spawn("log stream", out.clone(), move || {
                    let (input, twice, troubles) = (input.clone(), twice.clone(), troubles.clone());
                    let kept = Kept::new(input, &target, twice, troubles, clock.clone());
                    follow::keep_following(client.clone(), kept, target.clone())
                });
                tokio::time::sleep(STAGGER).await;
                if plan.has_changed().unwrap_or(false) {
                    // the new plan decides about the remaining targets
                    break;
                }
            }
            input.following(streams.pods(), wanted.candidates);
        } else if plan.has_changed().is_err() {
            // the plan no longer changes, so the running streams continue until this task is stopped
            troubles.changed.notified().await;
        }
        let (state, error) = troubles.state(streams.running.len());
        let (name, last_ok) = (input.source().clone(), Some(out.clock().now()));
        out.status(SourceStatus { name, state, last_ok, error, ..SourceStatus::default() }).await;
    }
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
