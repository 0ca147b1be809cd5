//! The one machine that keeps a kind current: LIST decoded while its body arrives, then WATCH from its version, and
//! what to do about every way in which either can end.

mod seen;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use pilothouse_core::domain::id::{Name, Version};
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::model::event::{Batch, Fact};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use self::seen::{Seen, Unread};
use super::backoff::Backoff;
use super::client::ReadClient;
use super::error::ApiError;
use super::frames::Lines;
use super::items::{ITEM_CAP, Items};
use crate::clock::Clock;

/// Items in a batch.
const BATCH: usize = 256;
/// How long an item of a watch waits for company.
const GATHER: Duration = Duration::from_millis(5);
/// Nothing arrived on a watch for longer than the spacing of bookmarks: ask anew from the last version.
const SILENCE: Duration = Duration::from_secs(75);
/// A list whose body stands still.
const STALLED: Duration = Duration::from_secs(30);
/// A denied kind is asked for again.
const DENIED_AGAIN: (u64, u64) = (180, 300);
/// A watch that breaks within this time of its start has not worked.
const BROKE_AT_ONCE: Duration = Duration::from_secs(5);
/// Refusals in a row before rows that were once allowed count as denied (about a minute, by the back-off).
const DENIED_AFTER: u32 = 8;
/// After this long without a failure the back-off starts anew.
const HEALTHY: Duration = Duration::from_secs(60);
/// Signs of life are told at most this often.
const LIFE_EVERY_MS: u64 = 10_000;

/// Where the machine's facts go.
pub trait Outlet: Send + Sync {
    fn fact(&self, fact: Fact) -> impl Future<Output = ()> + Send;
    fn status(&self, status: SourceStatus) -> impl Future<Output = ()> + Send;
}

/// One object that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// One place to list a kind at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `/api/v1/pods`.
    pub path: String,
    /// The namespace that the list is confined to; None = the whole cluster.
    pub namespace: Option<Name>,
}

/// How a kind is kept current.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `pods`: the source's name in the status.
    pub name: &'static str,
    /// `list pods`: what a 403 says is needed.
    pub needs: String,
    /// In order of preference; the next is taken when the one before is forbidden.
    pub places: Vec<Place>,
    /// Further query parameters (`fieldSelector=…`).
    pub query: String,
    /// How long rows of a watch are gathered; zero = 5 ms.
    pub gather: Duration,
    /// Ask how many there are before the first list: `12400 of 150000` while it arrives.
    pub count: bool,
    /// More rows than this are listed every so often instead of watched.
    pub poll_above: Option<(u64, Duration)>,
}

/// Whether the API server answers at all, told by a heartbeat of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// In words; None = it answers.
    pub lost: Option<Arc<str>>,
    pub since: Stamp,
}

/// Runs until its future is dropped.
pub struct ListWatch<O, D, F> {
    pub client: ReadClient,
    pub out: O,
    pub clock: Clock,
    pub plan: Plan,
    pub pulse: watch::Receiver<Pulse>,
    /// Told the number of rows of each complete list (others wait for the first).
    pub listed: Option<watch::Sender<Option<u64>>>,
    pub decode: D,
    pub fact: F,
}

/// What the machine knows between its requests.
struct Run {
    generation: u32,
    /// The version to go on from; None = list first.
    version: Option<String>,
    /// The newest version that was seen: a later list must not be older.
    last: Option<String>,
    /// Any list was ever complete.
    ever: bool,
    place: usize,
    state: SourceState,
    stale: bool,
    denied: bool,
    last_ok: Option<Stamp>,
    told_ok: Stamp,
    attempts: u32,
    /// Refusals in a row: what fails otherwise is none.
    denials: u32,
    /// Watches in a row that broke as soon as they were open.
    broken: u32,
    unread: Unread,
    rows: u64,
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
        }
    }

    /// Counts a failure. True if it is a refusal that waiting will not help: an API server that has just started refuses
    /// people until it has read its roles, and knows no extension yet, so that what once worked is not given up at the
    /// first one.
    fn is_denied(&mut self, error: &ApiError) -> bool {
        self.denials = if error.is_denial() { self.denials + 1 } else { 0 };
        self.denials > 0 && (!self.ever || self.denied || self.denials >= DENIED_AFTER)
    }
}

/// How a step ended that did not fail.
enum Next {
    /// Go on watching from the last version.
    Resume,
    /// The version is too old.
    Relist,
}

impl<O, T, D, F> ListWatch<O, D, F>
where
    O: Outlet,
    T: Send,
    D: FnMut(&[u8]) -> Result<Option<T>, DecodeError> + Send,
    F: Fn(Batch<T>) -> Fact + Send + Sync,
{
    /// Lists and watches for ever.
    pub async fn run(mut self) {
        let mut run = Run::new();
        let mut backoff = Backoff::api();
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
                    // a server that ends every watch at once must not be asked in a tight loop
                    if began.elapsed() < Duration::from_secs(1) && run.attempts == 0 && !self.polls(&run) {
                        sleep(jitter(Duration::from_millis(200), 0.5)).await;
                    }
                }
                Ok(Next::Relist) => {
                    run.version = None;
                    // after a restart of the server every watch is told to relist at the same moment
                    sleep(Duration::from_millis(fastrand::u64(0..1500))).await;
                }
                Err(error) => self.failed(&mut run, &mut backoff, &error).await,
            }
        }
    }

    fn polls(&self, run: &Run) -> bool {
        self.plan.poll_above.is_some_and(|(above, _)| run.rows > above)
    }

    async fn list(&mut self, run: &mut Run) -> Result<(), ApiError> {
        let mut last = None;
        // a narrower place is for those who never saw more: falling back later would sweep what was seen
        let places = match (run.denied, run.ever) {
            (true, _) => 0..self.plan.places.len(),
            (false, true) => run.place..run.place + 1,
            (false, false) => run.place..self.plan.places.len(),
        };
        for at in places {
            match self.list_at(run, at).await {
                Err(error @ ApiError::Forbidden { .. }) => last = Some(error),
                other => {
                    if other.is_ok() {
                        run.place = at;
                    }
                    return other;
                }
            }
        }
        Err(last.unwrap_or(ApiError::NotFound { message: format!("nowhere to list {}", self.plan.name) }))
    }

    async fn list_at(&mut self, run: &mut Run, at: usize) -> Result<(), ApiError> {
        let Some(place) = self.plan.places.get(at).cloned() else { return Ok(()) };
        // the first list may come from the server's cache; a later one must not go back in time
        let asks: &[Option<String>] = &match &run.last {
            Some(version) => {
                [Some(format!("resourceVersion={version}&resourceVersionMatch=NotOlderThan")), None]
            }
            None => [Some("resourceVersion=0".into()), None],
        };
        let mut ended = Ok(());
        for ask in asks {
            let path = join(&place.path, &[ask.as_deref().unwrap_or_default(), &self.plan.query]);
            ended = self.list_path(run, &path, &place).await;
            match &ended {
                Err(error) if matches!(error, ApiError::Gone { .. }) || error.is_version_ahead() => {}
                _ => return ended,
            }
        }
        ended
    }

    async fn list_path(&mut self, run: &mut Run, path: &str, place: &Place) -> Result<(), ApiError> {
        let of = if self.plan.count && !run.ever { self.estimate(&place.path).await } else { None };
        let response = self.client.stream(path, "application/json").await?;
        let mut body = response.into_body();
        run.generation = run.generation.wrapping_add(1);
        run.unread = Unread::default();
        let generation = run.generation;
        self.out.fact((self.fact)(Batch::Begin { generation })).await;
        if let Some(of) = of {
            self.out.fact((self.fact)(Batch::Expect { of })).await;
        }
        let mut items = Items::with_cap(ITEM_CAP);
        let mut rows: Vec<T> = Vec::with_capacity(BATCH);
        let mut count = 0u64;
        let mut expected = of.is_some();
        let mut since = Instant::now();
        loop {
            let data = match timeout(STALLED, body.frame()).await {
                Err(_) => return Err(ApiError::Timeout(STALLED)),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(ApiError::from_transport(&error)),
                Ok(Some(Ok(frame))) => frame.into_data(),
            };
            let Ok(data) = data else { continue };
            let decode = &mut self.decode;
            items
                .feed(&data, |bytes| match decode(bytes) {
                    Ok(Some(row)) => rows.push(row),
                    Ok(None) => {}
                    Err(error) => run.unread.add(error.0),
                })
                .map_err(|e| ApiError::Decode(e.to_string()))?;
            if !expected && let Some(rest) = items.meta().remaining_item_count {
                expected = true;
                let of = u32::try_from(rest + items.count()).unwrap_or(u32::MAX);
                self.out.fact((self.fact)(Batch::Expect { of })).await;
            }
            if rows.len() >= BATCH || since.elapsed() >= GATHER {
                count += rows.len() as u64;
                self.upsert(&mut rows).await;
                since = Instant::now();
            }
        }
        count += rows.len() as u64;
        self.upsert(&mut rows).await;
        if !items.is_complete() {
            return Err(ApiError::Unreachable("the list ended early".into()));
        }
        run.unread.count += items.oversized();
        let version = items.meta().resource_version.clone().unwrap_or_default();
        let namespaces = place.namespace.clone().map(|n| vec![n]);
        self.out.fact((self.fact)(Batch::Scope { namespaces })).await;
        self.out.fact((self.fact)(Batch::End { generation, version: Version::parse(&version) })).await;
        run.last = Some(version.clone()).filter(|v| !v.is_empty());
        run.version = Some(version);
        run.ever = true;
        run.rows = count;
        run.denied = false;
        if let Some(listed) = &self.listed {
            listed.send_replace(Some(count));
        }
        self.alive(run, true).await;
        Ok(())
    }

    /// The server's estimate, from a list of one.
    async fn estimate(&self, path: &str) -> Option<u32> {
        let path = join(path, &["limit=1", &self.plan.query]);
        let body = self.client.get_bytes(&path, ITEM_CAP).await.ok()?;
        let mut items = Items::default();
        items.feed(&body, |_| ()).ok()?;
        u32::try_from(items.meta().remaining_item_count? + items.count()).ok()
    }

    async fn upsert(&self, rows: &mut Vec<T>) {
        while !rows.is_empty() {
            let rest = if rows.len() > BATCH { rows.split_off(BATCH) } else { Vec::new() };
            let full = std::mem::replace(rows, rest);
            self.out.fact((self.fact)(Batch::Upsert(full))).await;
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
        let opened = self.client.stream(&path, "application/json").await;
        let response = match opened {
            Ok(response) => response,
            Err(ApiError::Gone { .. }) => return Ok(Next::Relist),
            Err(error) => {
                if error.is_denial() {
                    run.version = None;
                }
                return Err(error);
            }
        };
        // it answered us: what the heartbeat said before is no news
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
                        // nobody tells the pulse any more: this task is about to be stopped
                        std::future::pending::<()>().await;
                    }
                    let pulse = self.pulse.borrow_and_update().clone();
                    match pulse.lost {
                        Some(words) => self.lost(run, &words).await,
                        None if run.stale => {
                            // the server is back: what happened meanwhile comes with a watch of its own
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
                // silent for longer than bookmarks are apart: the connection may be dead
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
                    // one that opens and breaks again and again is no live source
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
                    // an ERROR event that is not about the version: the server's own trouble
                    other => Err(other),
                };
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
            self.out.fact((self.fact)(Batch::Gone(full))).await;
        }
    }

    /// Something arrived.
    async fn alive(&self, run: &mut Run, transition: bool) {
        let now = self.clock.now();
        run.last_ok = Some(now);
        run.attempts = 0;
        run.denials = 0;
        if run.stale && transition {
            run.stale = false;
            self.out.fact((self.fact)(Batch::Stale { since: None })).await;
        }
        if run.state != SourceState::Live && (transition || !run.stale)
            || now.since(run.told_ok) >= LIFE_EVERY_MS
        {
            run.told_ok = now;
            let words = run.unread.words();
            let state = if run.stale { run.state.clone() } else { SourceState::Live };
            self.tell(run, state, words, None).await;
        }
    }

    /// The heartbeat found the server gone while our watch is still open and silent.
    async fn lost(&self, run: &mut Run, words: &str) {
        if run.stale {
            return;
        }
        run.stale = true;
        let since = run.last_ok.unwrap_or_else(|| self.clock.now());
        self.out.fact((self.fact)(Batch::Stale { since: Some(since) })).await;
        self.tell(run, SourceState::Stale { since }, Some(words.to_owned()), None).await;
    }

    async fn failed(&mut self, run: &mut Run, backoff: &mut Backoff, error: &ApiError) {
        let now = self.clock.now();
        run.attempts += 1;
        let denied = run.is_denied(error);
        let wait = if denied {
            Duration::from_secs(fastrand::u64(DENIED_AGAIN.0..DENIED_AGAIN.1))
        } else {
            // what the server asks for is a floor
            backoff.next().max(error.retry_after().map_or(Duration::ZERO, |d| jitter(d, 0.2)))
        };
        let said = match error {
            ApiError::Forbidden { .. } => format!("403, needs {}", self.plan.needs),
            ApiError::NotFound { .. } => format!("404, this server has no {}", self.plan.name),
            other => other.to_string(),
        };
        let state = if denied {
            run.denied = true;
            run.version = None;
            if let Some(listed) = &self.listed {
                // nobody needs to wait for it
                listed.send_if_modified(|held| held.is_none() && held.replace(0).is_none());
            }
            let reason = Name::from(said.as_str());
            self.out.fact((self.fact)(Batch::Denied { reason })).await;
            SourceState::Denied
        } else if run.ever {
            let since = run.last_ok.unwrap_or(now);
            if !run.stale {
                run.stale = true;
                self.out.fact((self.fact)(Batch::Stale { since: Some(since) })).await;
            }
            SourceState::Stale { since }
        } else {
            let since = match run.state {
                SourceState::Down { since } => since,
                _ => now,
            };
            SourceState::Down { since }
        };
        let retry = Stamp(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)));
        self.tell(run, state, Some(said), Some(retry)).await;
        // the server came back: do not sit out the rest of the wait
        let mut pulse = self.pulse.clone();
        pulse.mark_unchanged();
        let unreachable = matches!(error, ApiError::Unreachable(_) | ApiError::Timeout(_));
        tokio::select! {
            () = sleep(wait) => {}
            () = recovered(&mut pulse), if unreachable => sleep(Duration::from_millis(fastrand::u64(0..800))).await,
        }
    }

    async fn tell(&self, run: &mut Run, state: SourceState, error: Option<String>, retry_at: Option<Stamp>) {
        run.state = state.clone();
        let request = retry_at.is_some().then(|| {
            let path = self.plan.places.get(run.place).map_or("", |p| p.path.as_str());
            Name::from(format!("GET {path}"))
        });
        self.out
            .status(SourceStatus {
                name: Name::from(self.plan.name),
                state,
                last_ok: run.last_ok,
                error: error.map(|e| Name::from(&*text::clean(&e))),
                request,
                retry_at,
                attempts: run.attempts,
            })
            .await;
    }
}

/// Until the heartbeat says that the server answers again.
async fn recovered(pulse: &mut watch::Receiver<Pulse>) {
    while pulse.changed().await.is_ok() {
        if pulse.borrow_and_update().lost.is_none() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// A path with its non-empty queries.
fn join(path: &str, queries: &[&str]) -> String {
    let mut out = path.to_owned();
    for query in queries.iter().filter(|q| !q.is_empty()) {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(query);
    }
    out
}

/// `base` more or less by a part of it.
pub(crate) fn jitter(base: Duration, part: f64) -> Duration {
    base.mul_f64(1.0 - part + 2.0 * part * fastrand::f64())
}
