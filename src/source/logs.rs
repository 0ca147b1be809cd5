//! Log lines: followed through the API, kept in a bounded store beside the shared state, and told to it as groups.

mod choose;
pub mod follow;
mod group;
mod join;
mod out;
pub mod pod;
pub mod store;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::facts::event::Fact;
use tokio::sync::watch;

pub use self::choose::choose_while_it_changes;
pub use self::follow::{LogQuery, Told, fetch_log, follow_log};
pub use self::store::{LogFilter, LogLine, LogStore};
use super::sink::FactSink;
use super::supervise::Supervisor;
use crate::wire::client::ReadClient;

/// Between the starts of two streams: each is a connection of the API server and one of a kubelet.
const STAGGER: Duration = Duration::from_millis(25);
/// Summaries a second at most: two.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Without new lines the rates fall, so they are told from time to time.
const TELL_QUIET: u32 = 20;

/// One container to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    pub namespace: Name,
    pub pod: Name,
    /// Another pod of the same name is another target.
    pub uid: Uid,
    pub container: Name,
    /// `namespace/workload`.
    pub workload: Name,
    /// The image's tag.
    pub version: Name,
}

/// What to follow: the caller decides it from the world and changes it at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowPlan {
    /// Most interesting first: only the first `max_streams` are followed.
    pub targets: Vec<Target>,
    /// How many pods could be followed.
    pub candidates: u32,
}

/// Starts following what the plan names. The store is shared with the views.
pub fn start(
    client: &ReadClient,
    store: &Arc<LogStore>,
    plan: &watch::Receiver<FollowPlan>,
    max_streams: u32,
    sink: &FactSink,
    supervisor: &Supervisor,
) {
    let (client, kept, out) = (client.clone(), store.clone(), sink.clone());
    let (plan, group) = (plan.clone(), supervisor.child());
    supervisor.spawn("logs", sink.clone(), move || {
        // a restart after a panic begins with no streams: those of the run before are stopped with its group
        let streams = group.child();
        run(client.clone(), kept.clone(), plan.clone(), max_streams, out.clone(), streams)
    });
    let (kept, out) = (store.clone(), sink.clone());
    supervisor.spawn("log groups", sink.clone(), move || tell(kept.clone(), out.clone()));
}

/// Ends its streams with itself.
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
    store: Arc<LogStore>,
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
            let (client, store, target) = (client.clone(), store.clone(), target.clone());
            stream.spawn("log stream", out.clone(), move || {
                follow::keep_following(client.clone(), store.clone(), target.clone())
            });
            tokio::time::sleep(STAGGER).await;
            if plan.has_changed().unwrap_or(false) {
                // the rest is decided by the new plan
                break;
            }
        }
        store.following(streams.running.len(), wanted.candidates);
        let now = out.clock().now();
        let status = SourceStatus {
            name: Name::from("logs"),
            state: SourceState::Live,
            last_ok: Some(now),
            ..SourceStatus::default()
        };
        out.status(status).await;
    }
    // nobody changes the plan any more: go on with what runs until we are stopped
    std::future::pending::<()>().await;
}

async fn tell(store: Arc<LogStore>, out: FactSink) {
    let mut last = None;
    let mut quiet = 0;
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        let changes = store.changes();
        quiet += 1;
        let due = last != Some(changes) || (quiet >= TELL_QUIET && store.has_groups());
        if due {
            (last, quiet) = (Some(changes), 0);
            let summary = store.summary(out.clock().now());
            out.fact(Fact::Logs(summary)).await;
        }
    }
}
