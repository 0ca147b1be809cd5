//! Connects the log sources with the screen, for logs that the user opened.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use pilothouse_core::domain::id::{Kind, Name, Uid};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::World;
use pilothouse_core::logs::targets::{MOST_PODS, containers, pods_of, worst_first};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::desk::hand;
use crate::source::logs::follow::{LogQuery, Told, fetch_log, follow_log};
use crate::source::logs::pod::{Container, PodWatch};
use crate::source::logs::store::LogLine;
use crate::source::supervise::Supervisor;
use crate::ui::request::{LogLine as Shown, LogNote, LogRequest, Ticket};
use crate::ui::run::Input;
use crate::wire::client::ReadClient;

/// The minimum interval between two searches for new pods of an open log.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The maximum number of lines that are passed on together.
const BATCH: usize = 500;

/// The maximum number of containers whose logs are read at the same time for one request.
const MOST_STREAMS: usize = 60;

/// Streams the logs that the user opened to the screen, in batches, until the group is stopped. Pods that are created
/// in the meantime are added.
pub fn follow(
    group: &Supervisor,
    reader: &ReadClient,
    ticket: Ticket,
    request: LogRequest,
    world: watch::Receiver<Arc<World>>,
    inbox: &SyncSender<Input>,
) {
    let (out, told) = mpsc::channel(4 * BATCH);
    let (reader, inbox) = (reader.clone(), inbox.clone());
    group.spawn_once(async move {
        let pump = pump(ticket, told, inbox.clone());
        tokio::join!(read_pods(&reader, &request, world, out), pump);
        hand(&inbox, Input::LogEnded(ticket)).await;
    });
}

/// The logs of one pod of a request.
struct PodLogs {
    namespace: Name,
    name: Name,
    uid: Uid,
    /// The containers in the pod's spec when it was selected.
    containers: Vec<Name>,
}

/// Returns the pods of the request that are not read yet, the worst first, within the limits for pods and streams.
fn newcomers(
    world: &World,
    request: &LogRequest,
    taken: &mut HashSet<Uid>,
    (pods_left, mut streams_left): (usize, usize),
) -> Vec<PodLogs> {
    let Some(cluster) = world.cluster(request.object.cluster) else { return Vec::new() };
    let mut pods = pods_of(cluster, &request.object, request.within.as_ref());
    pods.sort_by(|a, b| worst_first(a, b));
    let mut found = Vec::new();
    for pod in pods.into_iter().filter(|p| !taken.contains(&p.uid)).take(pods_left) {
        let containers: Vec<Name> = containers(pod).map(|c| c.name.clone()).collect();
        // the first pod is read regardless of its number of containers
        if containers.len() > streams_left && !(found.is_empty() && streams_left == MOST_STREAMS) {
            break;
        }
        streams_left = streams_left.saturating_sub(containers.len());
        found.push(PodLogs {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            containers,
        });
    }
    taken.extend(found.iter().map(|pod| pod.uid.clone()));
    found
}

async fn read_pods(
    reader: &ReadClient,
    request: &LogRequest,
    mut world: watch::Receiver<Arc<World>>,
    out: mpsc::Sender<Told>,
) {
    let (mut taken, mut running) = (HashSet::new(), FuturesUnordered::new());
    let (mut pods, mut streams) = (0usize, 0usize);
    // a request for a pod has only this pod; every other object can get more pods
    let grows = request.follow && request.object.kind != Kind::Pod;
    loop {
        let now = world.borrow_and_update().clone();
        let room = (MOST_PODS.saturating_sub(pods), MOST_STREAMS.saturating_sub(streams));
        for pod in newcomers(&now, request, &mut taken, room) {
            pods += 1;
            streams += pod.containers.len();
            running.push(read_pod(reader, request, pod, out.clone()));
        }
        let looks = async {
            tokio::time::sleep(LOOK_EVERY).await;
            world.changed().await.is_ok()
        };
        tokio::pin!(looks);
        let goes_on = loop {
            tokio::select! {
                ended = running.next(), if !running.is_empty() => {
                    pods = pods.saturating_sub(1);
                    streams = streams.saturating_sub(ended.unwrap_or(0));
                }
                alive = &mut looks, if grows => break alive,
                else => break false,
            }
        };
        if !goes_on {
            while running.next().await.is_some() {}
            return;
        }
    }
}

/// Reads a pod's containers until their logs end. Returns the number of streams.
async fn read_pod(reader: &ReadClient, request: &LogRequest, pod: PodLogs, out: mpsc::Sender<Told>) -> usize {
    let streams = pod.containers.len();
    let watch = PodWatch::new(reader, &pod.namespace, &pod.name, pod.uid.clone());
    // this includes the ephemeral containers that were added in the meantime
    let seen = watch.since(Instant::now()).await.ok();
    let names = match &seen {
        Some(state) => state.containers.iter().map(|c| c.name.clone()).collect(),
        None => pod.containers,
    };
    let restarted =
        |name: &Name| seen.as_ref().is_none_or(|s| s.container(name).is_some_and(Container::has_previous));
    let names: Vec<Name> = names.into_iter().filter(|n| !request.previous || restarted(n)).collect();
    if names.is_empty() {
        let words = Some("no container has been restarted: there is no log of a run before".to_owned());
        let pod = Name::from(format!("{}/{}", pod.namespace, pod.name));
        // the screen was closed
        let _closed = out.send(Told::Note { pod, container: Name::default(), words }).await;
    }
    let each = names.into_iter().map(|container| {
        let query = LogQuery {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container,
            previous: request.previous,
            tail: request.tail,
        };
        let (watch, out) = (&watch, out.clone());
        async move {
            if request.follow && !request.previous {
                follow_log(reader, watch, &query, out).await;
            } else {
                fetch(reader, &query, out).await;
            }
        }
    });
    futures::future::join_all(each).await;
    streams
}

async fn fetch(reader: &ReadClient, query: &LogQuery, out: mpsc::Sender<Told>) {
    let told = match fetch_log(reader, query).await {
        Ok(lines) => lines.into_iter().map(Told::Line).collect(),
        Err(error) => vec![Told::Note {
            pod: Name::from(format!("{}/{}", query.namespace, query.pod)),
            container: query.container.clone(),
            words: Some(format!("the log cannot be read: {error}")),
        }],
    };
    for told in told {
        if out.send(told).await.is_err() {
            return;
        }
    }
}

async fn pump(ticket: Ticket, mut told: mpsc::Receiver<Told>, inbox: SyncSender<Input>) {
    let mut batch = Vec::new();
    while told.recv_many(&mut batch, BATCH).await > 0 {
        let (mut lines, mut notes) = (Vec::new(), Vec::new());
        for told in batch.drain(..) {
            match told {
                Told::Line(line) => lines.push(line),
                Told::Note { pod, container, words } => {
                    notes.push(LogNote { pod: short(&pod), container, words: words.unwrap_or_default() });
                }
            }
        }
        // lines of several containers arrive interleaved, and are sorted within one batch
        lines.sort_by_key(|line: &LogLine| line.at);
        if !lines.is_empty() {
            let shown = lines.into_iter().flat_map(rows).collect();
            hand(&inbox, Input::LogLines(ticket, shown)).await;
        }
        if !notes.is_empty() {
            hand(&inbox, Input::LogNotes(ticket, notes)).await;
        }
    }
}

fn short(pod: &Name) -> Name {
    pod.rsplit('/').next().map_or_else(Name::default, Name::from)
}

/// Converts an entry to rows of an open log. A stack trace has one row for each line.
fn rows(line: LogLine) -> Vec<Shown> {
    let shown = shown(line);
    let parts = shown.text.split('\n').enumerate();
    parts.map(|(i, text)| Shown { text: text.to_owned(), more: i > 0, ..shown.clone() }).collect()
}

/// Converts a line to the screen's type.
pub fn shown(line: LogLine) -> Shown {
    Shown {
        at: (line.at != Stamp::default()).then_some(line.at),
        level: line.level,
        pod: short(&line.pod),
        container: line.container,
        text: line.text.to_string(),
        more: false,
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{ClusterId, ObjectRef, Owner};
    use pilothouse_core::domain::pod::{ContainerShape, Phase, Pod, PodShape};
    use pilothouse_core::facts::event::{Batch, Fact};
    use pilothouse_core::facts::world::ClusterInfo;
    use pilothouse_core::state::ClusterState;

    use super::*;

    fn world(pods: std::ops::Range<u32>) -> World {
        let owner =
            Owner { kind: Kind::StatefulSet, name: "web".into(), uid: Uid::default(), group: "apps".into() };
        let shape = PodShape {
            containers: ["app", "side"]
                .map(|name| ContainerShape { name: name.into(), ..ContainerShape::default() })
                .into(),
            ..PodShape::default()
        };
        let (owner, shape) = (Arc::new(owner), Arc::new(shape));
        let pod = |n: u32| Pod {
            uid: Uid::parse(&format!("u{n}")),
            namespace: "shop".into(),
            name: Name::from(format!("web-{n:02}")),
            owner: Some(owner.clone()),
            phase: Phase::Running,
            ready: n != 7,
            shape: shape.clone(),
            ..Pod::default()
        };
        let mut state = ClusterState::new(ClusterInfo::default());
        state.apply(Fact::Pods(Batch::Upsert(pods.map(pod).collect())), Stamp(0));
        World { clusters: [state.publish(Stamp(0), false).unwrap()].into(), ..World::default() }
    }

    #[test]
    fn an_open_log_takes_up_the_pods_that_join_as_far_as_there_is_room() {
        let request = LogRequest {
            object: ObjectRef::new(
                ClusterId(0),
                Kind::StatefulSet,
                &"shop".into(),
                &"web".into(),
                &Uid::default(),
            ),
            within: None,
            previous: false,
            follow: true,
            tail: 10,
        };
        let mut taken = HashSet::new();
        let mut names = |world: &World, room| -> Vec<String> {
            newcomers(world, &request, &mut taken, room).iter().map(|p| p.name.to_string()).collect()
        };
        assert_eq!(names(&world(6..9), (20, 60)), ["web-07", "web-06", "web-08"], "what is bad comes first");
        assert_eq!(names(&world(6..9), (17, 54)), Vec::<String>::new(), "each is read once");
        assert_eq!(names(&world(7..12), (17, 54)), ["web-09", "web-10", "web-11"]);
        assert_eq!(names(&world(7..20), (2, 48)), ["web-12", "web-13"], "pods have a limit");
        assert_eq!(names(&world(7..20), (9, 3)), ["web-14"], "and so have containers");
        assert_eq!(names(&world(7..20), (0, 9)), Vec::<String>::new());
    }

    #[test]
    fn a_stack_trace_is_shown_row_by_row() {
        let entry = LogLine { text: "ERROR boom\n\tat f\n".into(), ..LogLine::default() };
        let shown: Vec<(String, bool)> = rows(entry).into_iter().map(|row| (row.text, row.more)).collect();
        assert_eq!(shown, [("ERROR boom".into(), false), ("\tat f".into(), true), (String::new(), true)]);
    }
}
