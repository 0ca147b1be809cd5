//! Reads the logs of pods that are chosen from the World, and of those that join them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::facts::world::World;
use pilothouse_core::logs::targets::containers;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::source::logs::follow::{LogQuery, Nothing, Told, fetch_log, follow_log};
use crate::source::logs::pod::{Container, PodWatch};
use crate::wire::client::ReadClient;

/// The minimum interval between two searches for new pods.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The number of lines that stands for all of a log. The API server refuses larger ones.
pub(crate) const ALL: u32 = u32::MAX >> 1;

/// What is read of the pods, and how many at the same time.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub previous: bool,
    pub follow: bool,
    /// The number of lines from the end of each log to start with (0: only new lines), and their maximum age in seconds.
    pub tail: u32,
    pub since: Option<u32>,
    /// The containers; empty: all.
    pub containers: Vec<Name>,
    /// Whether pods can join.
    pub grows: bool,
    /// The maximum number of pods and of containers that are read at the same time.
    pub pods: usize,
    pub streams: usize,
    /// The maximum number of pods that are read at all.
    pub in_all: usize,
}

impl Ask {
    fn wants(&self, container: &str) -> bool {
        self.containers.is_empty() || self.containers.iter().any(|wanted| wanted == container)
    }
}

/// The logs of one pod.
struct PodLogs {
    namespace: Name,
    name: Name,
    uid: Uid,
    /// The containers in the pod's spec when it was selected.
    containers: Vec<Name>,
}

/// The containers of a pod that are read.
fn wanted<'a>(pod: &'a Pod, ask: &'a Ask) -> impl Iterator<Item = Name> + 'a {
    containers(pod).map(|c| c.name.clone()).filter(|name| ask.wants(name))
}

/// Returns the pods that are not read yet, within the limits for pods and streams.
fn newcomers(
    pods: &[Arc<Pod>],
    ask: &Ask,
    taken: &mut HashSet<Uid>,
    (pods_left, mut streams_left): (usize, usize),
) -> Vec<PodLogs> {
    let mut found = Vec::new();
    for pod in pods.iter().filter(|p| !taken.contains(&p.uid)).take(pods_left) {
        let containers: Vec<Name> = wanted(pod, ask).collect();
        // the first pod is read regardless of its number of containers
        if containers.len() > streams_left && !(found.is_empty() && streams_left == ask.streams) {
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

/// Says how many containers of the selected pods are not read, because there are too many. `None`: all are read.
fn left_out(pods: &[Arc<Pod>], ask: &Ask, taken: &HashSet<Uid>) -> Option<String> {
    let waiting = || pods.iter().filter(|pod| !taken.contains(&pod.uid));
    let count = waiting().count();
    let streams: usize = waiting().map(|pod| wanted(pod, ask).count()).sum();
    let (s, are) = if count == 1 { ("", "is") } else { ("s", "are") };
    (streams > 0).then(|| {
        format!(
            "{count} more pod{s} with {streams} containers {are} not followed: at most {} pods with {} containers are followed at the same time, the worst first",
            ask.pods, ask.streams
        )
    })
}

/// Reads the logs of the selected pods, in the order of the selection, until no more lines can arrive or the receiver
/// is dropped.
pub(crate) async fn read_pods(
    reader: &ReadClient,
    ask: &Ask,
    select: impl Fn(&World) -> Vec<Arc<Pod>> + Send,
    mut world: watch::Receiver<Arc<World>>,
    out: mpsc::Sender<Told>,
) {
    let (mut taken, mut running) = (HashSet::new(), FuturesUnordered::new());
    let (mut pods, mut streams) = (0usize, 0usize);
    let (mut said, mut any_read) = (None, false);
    let mut begin = Begin { tail: ask.tail, after: (ask.follow && ask.tail == 0).then(Instant::now) };
    loop {
        let now = world.borrow_and_update().clone();
        let left = ask.in_all.saturating_sub(taken.len());
        let room = (ask.pods.saturating_sub(pods).min(left), ask.streams.saturating_sub(streams));
        let selected = select(&now);
        for pod in newcomers(&selected, ask, &mut taken, room) {
            pods += 1;
            streams += pod.containers.len();
            running.push(read_pod(reader, ask, begin, pod, out.clone()));
        }
        if begin.after.is_some() {
            // all lines of a pod that joins are new
            begin.tail = ALL;
        }
        let missing = if ask.grows { left_out(&selected, ask, &taken) } else { None };
        if missing != said {
            said.clone_from(&missing);
            let (pod, container) = (Name::default(), Name::default());
            if out.send(Told::Note { pod, container, words: missing, failed: false }).await.is_err() {
                return;
            }
        }
        if !ask.grows {
            // the next pod takes the place of the one that ends
            let Some((ended, _)) = running.next().await else { return };
            pods = pods.saturating_sub(1);
            streams = streams.saturating_sub(ended);
            continue;
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
                    let (ended, is_read) = ended.unwrap_or_default();
                    streams = streams.saturating_sub(ended);
                    any_read |= is_read;
                    // the logs of pods that join could not be read either
                    if running.is_empty() && !any_read {
                        return;
                    }
                }
                alive = &mut looks => break alive,
                () = out.closed() => return,
            }
        };
        if !goes_on {
            while running.next().await.is_some() {}
            return;
        }
    }
}

/// The line that a log begins with, as in [`LogQuery`].
#[derive(Clone, Copy)]
struct Begin {
    tail: u32,
    after: Option<Instant>,
}

/// Reads a pod's containers until their logs end. Returns the number of streams, and whether a log could be read or
/// there was none.
async fn read_pod(
    reader: &ReadClient,
    ask: &Ask,
    begin: Begin,
    pod: PodLogs,
    out: mpsc::Sender<Told>,
) -> (usize, bool) {
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
    // a container that has not started has no log to read, and is waited for only by those who follow it
    let has_log = |name: &Name| {
        let started =
            |s: &crate::source::logs::pod::PodState| s.container(name).is_some_and(|c| s.has_log(c));
        ask.follow || seen.as_ref().is_none_or(|s| started(s))
    };
    let (names, without): (Vec<Name>, Vec<Name>) = names
        .into_iter()
        .filter(|name| ask.wants(name))
        .partition(|name| if ask.previous { restarted(name) } else { has_log(name) });
    let mut notes = Vec::new();
    if ask.previous && names.is_empty() {
        let pod = Name::from(format!("{}/{}", pod.namespace, pod.name));
        // the receiver may be gone
        let _closed = out.send(Told::Nothing { pod, why: Nothing::NeverRestarted }).await;
    } else if !ask.previous {
        for name in without {
            let why = seen.as_ref().and_then(|state| Some(state.waits(state.container(&name)?)));
            notes.push((name, why.unwrap_or_default()));
        }
    }
    for (container, words) in notes {
        let pod = Name::from(format!("{}/{}", pod.namespace, pod.name));
        // the receiver may be gone
        let _closed = out.send(Told::Note { pod, container, words: Some(words), failed: false }).await;
    }
    let none = names.is_empty();
    let each = names.into_iter().map(|container| {
        let query = LogQuery {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container,
            previous: ask.previous,
            tail: begin.tail,
            since: ask.since,
            after: begin.after,
        };
        let (watch, out) = (&watch, out.clone());
        async move {
            if ask.follow && !ask.previous {
                follow_log(reader, watch, &query, out).await
            } else {
                fetch(reader, &query, out).await
            }
        }
    });
    let read = futures::future::join_all(each).await;
    (streams, none || read.contains(&true))
}

/// Reads the end of a log. Returns `false` if it cannot be read.
async fn fetch(reader: &ReadClient, query: &LogQuery, out: mpsc::Sender<Told>) -> bool {
    let log = fetch_log(reader, query).await;
    let is_read = log.is_ok();
    let told = match log {
        Ok(lines) => lines.into_iter().map(Told::Line).collect(),
        Err(error) => {
            vec![Told::Note {
                pod: Name::from(format!("{}/{}", query.namespace, query.pod)),
                container: query.container.clone(),
                words: Some(format!("the log cannot be read: {error}")),
                failed: true,
            }]
        }
    };
    for told in told {
        if out.send(told).await.is_err() {
            break;
        }
    }
    is_read
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::pod::{ContainerShape, PodShape};

    use super::*;

    fn pods(range: std::ops::Range<u32>) -> Vec<Arc<Pod>> {
        let container = |name: &str| ContainerShape { name: name.into(), ..ContainerShape::default() };
        let shape = PodShape { containers: ["app", "side"].map(container).into(), ..PodShape::default() };
        let shape = Arc::new(shape);
        let pod = |n: u32| Pod {
            uid: Uid::parse(&format!("u{n}")),
            namespace: "shop".into(),
            name: Name::from(format!("web-{n:02}")),
            shape: shape.clone(),
            ..Pod::default()
        };
        range.map(pod).map(Arc::new).collect()
    }

    #[test]
    fn pods_that_join_are_taken_up_as_far_as_there_is_room() {
        let mut ask = Ask {
            previous: false,
            follow: true,
            tail: 10,
            since: None,
            containers: Vec::new(),
            grows: true,
            pods: 20,
            streams: 60,
            in_all: usize::MAX,
        };
        let mut taken = HashSet::new();
        let mut names = |ask: &Ask, pods: &[Arc<Pod>], room| -> Vec<String> {
            newcomers(pods, ask, &mut taken, room).iter().map(|p| p.name.to_string()).collect()
        };
        assert_eq!(names(&ask, &pods(6..9), (20, 60)), ["web-06", "web-07", "web-08"]);
        assert_eq!(names(&ask, &pods(6..9), (17, 54)), Vec::<String>::new(), "each is read once");
        assert_eq!(names(&ask, &pods(7..12), (17, 54)), ["web-09", "web-10", "web-11"]);
        assert_eq!(names(&ask, &pods(7..20), (2, 48)), ["web-12", "web-13"], "pods have a limit");
        assert_eq!(names(&ask, &pods(7..20), (9, 3)), ["web-14"], "and so have containers");
        assert_eq!(names(&ask, &pods(7..20), (0, 9)), Vec::<String>::new());
        ask.containers = vec!["app".into()];
        assert_eq!(names(&ask, &pods(7..20), (9, 3)), ["web-15", "web-16", "web-17"], "one of them each");
    }

    #[test]
    fn containers_that_are_not_followed_are_counted() {
        let mut ask = Ask {
            previous: false,
            follow: true,
            tail: 10,
            since: None,
            containers: Vec::new(),
            grows: true,
            pods: 5,
            streams: 7,
            in_all: usize::MAX,
        };
        let (selected, mut taken) = (pods(0..6), HashSet::new());
        assert_eq!(newcomers(&selected, &ask, &mut taken, (5, 7)).len(), 3, "pods of two containers");
        let said = left_out(&selected, &ask, &taken).unwrap();
        assert!(said.starts_with("3 more pods with 6 containers are not followed"), "{said}");
        assert!(newcomers(&selected, &ask, &mut taken, (2, 1)).is_empty(), "one of seven streams is free");
        ask.containers = vec!["app".into()];
        let said = left_out(&selected, &ask, &taken).unwrap();
        assert!(said.starts_with("3 more pods with 3 containers"), "{said}");
        assert_eq!(left_out(&selected[..3], &ask, &taken), None);
    }
}
