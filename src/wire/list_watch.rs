//! Keeps the objects of one kind up to date: a LIST, decoded while its body arrives (`list`), then a WATCH from the
//! list's version. It handles every way in which either can end.

mod health;
mod list;
mod seen;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::Batch;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::health::Trouble;
use self::seen::{Seen, Unread};
use super::backoff::Backoff;
use super::client::ReadClient;
use super::error::ApiError;
use super::frames::Lines;
use super::items::ITEM_CAP;
use crate::clock::Clock;

/// Maximum number of items in a batch.
const BATCH: usize = 256;
/// How long items of a watch are gathered for one batch.
const GATHER: Duration = Duration::from_millis(5);
/// If nothing arrives on a watch for longer than the interval of bookmarks, it is opened again from the last version.
const SILENCE: Duration = Duration::from_secs(75);
/// A watch that breaks within this time of its start counts as failed.
const BROKE_AT_ONCE: Duration = Duration::from_secs(5);
/// After this many consecutive refusals, rows that were readable before count as denied (about a minute with the
/// back-off).
const DENIED_AFTER: u32 = 8;
/// After this time without a failure, the back-off starts from the beginning.
const HEALTHY: Duration = Duration::from_secs(60);

/// Receives the rows and the status.
pub trait Outlet<T>: Send + Sync {
    fn rows(&self, batch: Batch<T>) -> impl Future<Output = ()> + Send;
    fn status(&self, status: SourceStatus) -> impl Future<Output = ()> + Send;
}

/// An object that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// A path that lists a kind, in the cluster or in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// For example `/api/v1/pods`.
    pub path: String,
    /// The namespace that is listed. `None` stands for the whole cluster.
    pub namespace: Option<Name>,
}

/// How a kind is listed and watched.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The source's name in the status, for example `pods`.
    pub name: &'static str,
    /// The kind that the answer to a list must have, for example `PodList`.
    pub list: &'static str,
    /// The permission that a 403 names, for example `list pods`.
    pub needs: String,
    /// In order of preference; if one is forbidden, the next is used.
    pub places: Vec<Place>,
    /// Additional query parameters (`fieldSelector=…`).
    pub query: String,
    /// How long rows of a watch are gathered for one batch. Zero stands for 5 ms.
    pub gather: Duration,
    /// Ask for the number of items before the first list, to show `12400 of 150000` while it arrives.
    pub count: bool,
    /// Above this number of rows, the kind is listed periodically instead of watched.
    pub poll_above: Option<(u64, Duration)>,
    /// Writes depend on these rows: a list must be consistent with etcd, not with the server's cache, and an object
    /// that cannot be decoded is a failure.
    pub exact: bool,
    /// The interval of lists if listing is allowed and watching is not; None: a forbidden watch is a failure like any
    /// other.
    pub unwatched: Option<Duration>,
}

/// Whether the API server answers, according to a separate heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// The error of the first failed heartbeat. `None` while the server answers.
    pub lost: Option<Arc<str>>,
    pub since: Stamp,
}

/// Runs until its future is dropped.
pub struct ListWatch<O, D> {
    pub client: ReadClient,
    pub out: O,
    pub clock: Clock,
    pub plan: Plan,
    pub pulse: watch::Receiver<Pulse>,
    /// Receives the number of rows of each complete list (other kinds wait for the first one).
    pub listed: Option<watch::Sender<Option<u64>>>,
    pub decode: D,
}

/// The state between two requests.
struct Run {
    generation: u32,
    /// The version from which the next watch continues. `None` if a list must come first.
    version: Option<String>,
    /// The newest version that was seen; a later list must not be older.
    last: Option<String>,
    /// At least one list was complete.
    ever: bool,
    place: usize,
    state: SourceState,
    stale: bool,
    denied: bool,
    last_ok: Option<Stamp>,
    told_ok: Stamp,
    attempts: u32,
    /// The number of consecutive refusals; another failure is no refusal.
    denials: u32,
    /// The number of consecutive watches that broke soon after they were opened.
    broken: u32,
    unread: Unread,
    rows: u64,
    /// The kind belongs to the core group, which every Kubernetes API has.
    core: bool,
    /// The last failure is permanent.
    lasting: bool,
}

impl Run {
    fn new() -> Self {
        Self {
            generation: 0,
            version: None,
            last: None,
            ever: false,
            place: 0,
            state: SourceState::Starting,
            stale: false,
            denied: false,
            last_ok: None,
            told_ok: Stamp(0),
            attempts: 0,
            denials: 0,
            broken: 0,
            unread: Unread::default(),
            rows: 0,
            core: false,
            lasting: false,
        }
    }

    /// Counts a failure. True if it is a permanent refusal. An API server that has just started refuses users until it
    /// has read its roles, and does not know its extensions yet, so a kind that was readable before is not given up at
    /// the first refusal.
    fn is_denied(&mut self, error: &ApiError) -> bool {
        self.denials = if matches!(Trouble::of(error, self.core), Trouble::Denied | Trouble::Absent) {
            self.denials + 1
        } else {
            0
        };
        self.denials > 0 && (!self.ever || self.denied || self.denials >= DENIED_AFTER)
    }
}

/// The end of a step that did not fail.
enum Next {
    /// Continue to watch from the last version.
    Resume,
    /// The version is too old.
    Relist,
}

impl<O, T, D> ListWatch<O, D>
where
    O: Outlet<T>,
    T: Send,
    D: FnMut(&[u8]) -> Result<Option<T>, DecodeError> + Send,
{
    /// Lists and watches until the future is dropped.
    pub async fn run(mut self) {
        let core = self.plan.places.first().is_some_and(|p| p.path.starts_with("/api/"));
        let mut run = Run { core, ..Run::new() };
        let mut backoff = Backoff::reads();
        self.tell(&mut run, SourceState::Starting, None, None).await;
        loop {
            let began = Instant::now();
            let ended = match run.version.clone() {
                None => self.list(&mut run).await.map(|()| Next::Resume),
                Some(_) if self.polls(&run) => {
                    sleep(self.plan.poll_above.map_or(Duration::ZERO, |(_, every)| jitter(every, 0.15)))
                        .await;
                    self.list(&mut run).await.map(|()| Next::Resume)
                }
                Some(version) => self.watch(&mut run, &version).await,
            };
            if began.elapsed() >= HEALTHY {
                backoff.reset();
            }
            match ended {
                Ok(Next::Resume) => {
                    // a server that closes every watch at once must not be asked in a tight loop
                    if began.elapsed() < Duration::from_secs(1) && run.attempts == 0 && !self.polls(&run) {
                        sleep(jitter(Duration::from_millis(200), 0.5)).await;
                    }
                }
                Ok(Next::Relist) => {
                    run.version = None;
                    // after a restart of the server, every watch has to relist at the same moment
                    sleep(Duration::from_millis(fastrand::u64(0..1500))).await;
                }
                Err(error) => self.failed(&mut run, &mut backoff, &error).await,
            }
        }
    }

    fn polls(&self, run: &Run) -> bool {
        self.plan.poll_above.is_some_and(|(above, _)| run.rows > above)
    }

    async fn upsert(&self, rows: &mut Vec<T>) {
        while !rows.is_empty() {
            let rest = if rows.len() > BATCH { rows.split_off(BATCH) } else { Vec::new() };
            let full = std::mem::replace(rows, rest);
            self.out.rows(Batch::Upsert(full)).await;
        }
    }

    async fn watch(&mut self, run: &mut Run, version: &str) -> Result<Next, ApiError> {
        let began = Instant::now();
        let Some(place) = self.plan.places.get(run.place).cloned() else { return Ok(Next::Relist) };
        let ask = format!(
            "watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds={}",
            fastrand::u32(240..300)
        );
        let path = join(&place.path, &[&ask, &self.plan.query]);
        let response = match self.ask(run, &path).await {
            Ok(response) => response,
            Err(ApiError::Gone { .. }) => return Ok(Next::Relist),
            Err(error) => {
                if error.is_denial() {
                    run.version = None;
                    if let Some(every) = self.plan.unwatched {
                        sleep(jitter(every, 0.15)).await;
                        return Ok(Next::Resume);
                    }
                }
                return Err(error);
            }
        };
        // the server answered, so an earlier failure of the heartbeat no longer counts
        self.pulse.mark_unchanged();
        self.alive(run, true).await;
        let gather = if self.plan.gather.is_zero() { GATHER } else { self.plan.gather };
        let mut body: Body = response.into_body();
        let mut lines = Lines::whole(ITEM_CAP + 1024);
        let mut seen: Seen<T> = Seen::default();
        let mut heard = Instant::now();
        let mut due: Option<Instant> = None;
        loop {
            let wake = due.unwrap_or_else(|| heard + SILENCE);
            let next = tokio::select! {
                biased;
                frame = body.frame() => Some(frame),
                () = tokio::time::sleep_until(wake) => None,
                changed = self.pulse.changed() => {
                    if changed.is_err() {
                        // the heartbeat's task has ended, so this task is about to be stopped too
                        std::future::pending::<()>().await;
                    }
                    let pulse = self.pulse.borrow_and_update().clone();
                    match pulse.lost {
                        Some(words) => self.lost(run, &words).await,
                        None if run.stale => {
                            // the server is back; a new watch delivers the missed changes
                            self.flush(&mut seen).await;
                            return Ok(Next::Resume);
                        }
                        None => {}
                    }
                    continue;
                }
            };
            let Some(next) = next else {
                if due.take().is_some() {
                    self.flush(&mut seen).await;
                    continue;
                }
                // nothing arrived for longer than the interval of bookmarks, so the connection may be dead
                return Ok(Next::Resume);
            };
            let data = match next {
                None => {
                    self.flush(&mut seen).await;
                    return Ok(Next::Resume);
                }
                Some(Err(error)) => {
                    self.flush(&mut seen).await;
                    let words = super::error::words(&error);
                    tracing::debug!(source = self.plan.name, error = %words, "watch broke");
                    if began.elapsed() < BROKE_AT_ONCE {
                        run.broken += 1;
                    } else {
                        run.broken = 0;
                    }
                    // a watch that repeatedly breaks after it was opened does not make the source live
                    return if run.broken >= 3 {
                        Err(ApiError::Unreachable(words))
                    } else {
                        Ok(Next::Resume)
                    };
                }
                Some(Ok(frame)) => frame.into_data(),
            };
            let Ok(data) = data else { continue };
            heard = Instant::now();
            let dropped = lines.oversized();
            let decode = &mut self.decode;
            lines.feed(&data, |line| seen.line(line, decode, &mut run.unread));
            run.unread.count += lines.oversized() - dropped;
            if let Some(version) = seen.version.take() {
                run.last = Some(version.clone());
                run.version = Some(version);
            }
            if let Some(error) = seen.ended.take() {
                self.flush(&mut seen).await;
                return match error {
                    ApiError::Gone { .. } => Ok(Next::Relist),
                    // an ERROR event that is not about the version: an internal error of the server
                    other => Err(other),
                };
            }
            if self.plan.exact && run.unread.count > 0 {
                // an object that could not be decoded can be the important one
                self.flush(&mut seen).await;
                return Ok(Next::Relist);
            }
            let waiting = seen.rows.len() + seen.gone.len();
            if waiting >= BATCH {
                self.flush(&mut seen).await;
                due = None;
            } else if waiting > 0 {
                due.get_or_insert_with(|| Instant::now() + gather);
            }
            self.alive(run, false).await;
        }
    }

    async fn flush(&self, seen: &mut Seen<T>) {
        self.upsert(&mut seen.rows).await;
        while !seen.gone.is_empty() {
            let rest = if seen.gone.len() > BATCH { seen.gone.split_off(BATCH) } else { Vec::new() };
            let full = std::mem::replace(&mut seen.gone, rest);
            self.out.rows(Batch::Gone(full)).await;
        }
    }
}

/// A path with its non-empty query parameters.
fn join(path: &str, queries: &[&str]) -> String {
    let mut out = path.to_owned();
    for query in queries.iter().filter(|q| !q.is_empty()) {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(query);
    }
    out
}

/// `base` plus or minus a random part of it.
pub(crate) fn jitter(base: Duration, part: f64) -> Duration {
    base.mul_f64(1.0 - part + 2.0 * part * fastrand::f64())
}
