//! A query whose lines are read as they come. Each pass asks for the lines of a window that begins before the end of the
//! window of the last pass, because collectors deliver lines late; lines that were read before are left out.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::time::Stamp;

use super::writer::Writer;
use crate::source::logs::seen::Seen;
use crate::source::server::ServerError;

const SECOND: i64 = 1_000_000_000;
/// How late a collector can deliver a line.
const OVERLAP: i64 = 30 * SECOND;
/// For how long after an outage of the store collectors can deliver lines of the outage. Their longest back-off is
/// usually five minutes.
const GRACE: i64 = 360 * SECOND;
/// How far in the future a window ends, because clocks differ.
const AHEAD: i64 = 60 * SECOND;
/// The maximum number of queries of the first pass, and of another pass.
const HISTORY_PAGES: usize = 4;
const PAGES: usize = 10;
/// How far a tail can be behind before lines are left out.
const BEHIND: i64 = 120 * SECOND;
/// The maximum number of lines that are remembered.
const REMEMBER: usize = 200_000;

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// In nanoseconds since 1970.
    pub at: i64,
    pub writer: Arc<Writer>,
    pub text: String,
    /// The level according to the labels.
    pub level: Option<Level>,
}

/// A query for lines of the window from `from` to before `to`, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub query: &'a str,
    pub from: i64,
    pub to: i64,
    pub newest_first: bool,
    pub limit: u32,
}

/// The lines of one answer, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Page {
    pub entries: Vec<Entry>,
    /// Warnings of the server, for example about a part that did not answer.
    pub notes: Vec<String>,
}

/// Answers queries for lines.
pub(super) trait Pages: Send + Sync {
    fn page(&self, request: &Request<'_>) -> impl Future<Output = Result<Page, ServerError>> + Send;
}

/// What a pass brought.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub entries: Vec<Entry>,
    pub notes: Vec<String>,
    /// Where lines are missing, and why.
    pub gaps: Vec<(Stamp, String)>,
    /// There are more lines already.
    pub more: bool,
}

/// A query and how far it was read.
#[derive(Debug)]
pub(super) struct Tail {
    pub query: String,
    limit: u32,
    since: i64,
    seen: Seen,
    /// When the last complete pass began; `None` before the first one.
    read: Option<i64>,
    /// Where an incomplete pass goes on.
    at: Option<i64>,
    /// Whether the last pass failed.
    failing: bool,
    /// After an outage: where the windows begin, until this time.
    hold: Option<(i64, i64)>,
    /// The times with more lines than a query returns, which was told already.
    crowded: Vec<i64>,
}

fn nanos(at: Stamp) -> i64 {
    at.0.saturating_mul(1_000_000)
}

fn stamp(nanos: i64) -> Stamp {
    Stamp(nanos.div_euclid(1_000_000))
}

impl Tail {
    pub(super) fn new(query: String, limit: u32, since_mins: u32) -> Self {
        Self {
            query,
            limit: limit.max(2),
            since: i64::from(since_mins) * 60 * SECOND,
            seen: Seen::new(REMEMBER),
            read: None,
            at: None,
            failing: false,
            hold: None,
            crowded: Vec::new(),
        }
    }

    /// Notes that the store cannot be read, even if it was not asked for this query.
    pub(super) fn fail(&mut self) {
        self.failing = true;
    }

    /// Asks for the lines that were not read yet. Lines that came before a failure are returned too.
    pub(super) async fn pass(&mut self, server: &impl Pages, now: Stamp) -> (Passed, Option<ServerError>) {
        let mut passed = Passed::default();
        let now = nanos(now);
        let done = match self.read {
            None => self.history(server, now, &mut passed).await,
            Some(read) => self.forward(server, now, read, &mut passed).await,
        };
        self.failing = done.is_err();
        (passed, done.err())
    }

    /// Takes the new lines of a page that was asked for from this time on. Returns the times of its oldest and its newest
    /// line.
    fn take(&mut self, page: Page, from: i64, passed: &mut Passed) -> Option<(i64, i64)> {
        let mut ends: Option<(i64, i64)> = None;
        let notes: HashSet<String> = passed.notes.drain(..).chain(page.notes).collect();
        passed.notes.extend(notes);
        passed.notes.sort_unstable();
        for entry in page.entries.into_iter().filter(|entry| entry.at >= from) {
            let (oldest, newest) = ends.unwrap_or((entry.at, entry.at));
            ends = Some((oldest.min(entry.at), newest.max(entry.at)));
            if self.seen.is_new(entry.at, hash(&entry)) {
                passed.entries.push(entry);
            }
        }
        ends
    }

    /// Reads the lines before the start, the newest first.
    async fn history(
        &mut self,
        server: &impl Pages,
        now: i64,
        passed: &mut Passed,
    ) -> Result<(), ServerError> {
        let (from, mut to) = (now - self.since, now + AHEAD);
        let mut missing = None;
        for page in 0..HISTORY_PAGES {
            self.seen.resume(i64::MIN);
            let answer = {
                let request = Request { query: &self.query, from, to, newest_first: true, limit: self.limit };
                server.page(&request).await
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) if page == 0 => return Err(error),
                // the newest lines are there; the tail goes on with those that come
                Err(error) => {
                    missing = Some(format!("older lines could not be read: {error}"));
                    break;
                }
            };
            let got = answer.entries.len();
            let Some((oldest, _)) = self.take(answer, from, passed) else { break };
            if got < self.limit as usize {
                missing = None;
                break;
            }
            // other lines can have the time of the oldest one
            to = if oldest + 1 < to { oldest + 1 } else { oldest };
            missing =
                Some(format!("older lines were not read: there are more than {}", passed.entries.len()));
        }
        if let Some(words) = missing {
            passed.gaps.push((stamp(to), words));
        }
        self.read = Some(now);
        Ok(())
    }

    /// Reads the lines since the last pass, the oldest first.
    async fn forward(
        &mut self,
        server: &impl Pages,
        now: i64,
        read: i64,
        passed: &mut Passed,
    ) -> Result<(), ServerError> {
        if self.hold.is_some_and(|(_, until)| now >= until) {
            self.hold = None;
        }
        let held = self.hold.map_or(i64::MAX, |(from, _)| from);
        let begin = held.min(read - OVERLAP);
        let mut from = self.at.unwrap_or(begin);
        self.seen.forget_before(begin.min(from));
        self.crowded.retain(|at| *at >= begin.min(from));
        for _ in 0..PAGES {
            self.seen.resume(from);
            let to = now + AHEAD;
            let answer = {
                let request =
                    Request { query: &self.query, from, to, newest_first: false, limit: self.limit };
                server.page(&request).await?
            };
            let got = answer.entries.len();
            let ends = self.take(answer, from, passed);
            let Some((_, newest)) = ends.filter(|_| got >= self.limit as usize) else {
                if self.failing {
                    self.hold = Some((begin, now + GRACE));
                }
                (self.read, self.at) = (Some(now), None);
                return Ok(());
            };
            if newest > from {
                from = newest;
            } else {
                // overlapping windows come here again
                if !self.crowded.contains(&from) {
                    let words = format!(
                        "lines may be missing: at least {got} lines have the same timestamp, more than one query returns"
                    );
                    passed.gaps.push((stamp(from), words));
                    self.crowded.push(from);
                }
                from += 1;
            }
            self.at = Some(from);
        }
        if now - from > BEHIND {
            let behind = (now - from) / SECOND;
            let words = format!("skipped {behind} s of lines: they arrive faster than they can be read");
            passed.gaps.push((stamp(from), words));
            self.at = Some(now);
        }
        passed.more = true;
        Ok(())
    }
}

/// A line of a writer. A log store keeps equal lines with one time once, or each of them, but always equally often.
fn hash(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (entry.at, &entry.writer, &entry.text).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;

    /// A store in memory. It fails while it is down.
    #[derive(Default)]
    struct Script {
        lines: Mutex<Vec<(i64, String)>>,
        down: Mutex<bool>,
        asked: Mutex<Vec<(i64, bool)>>,
    }

    impl Script {
        fn put(&self, at: i64, text: &str) {
            self.lines.lock().unwrap().push((at, text.to_owned()));
        }
    }

    impl Pages for Script {
        async fn page(&self, r: &Request<'_>) -> Result<Page, ServerError> {
            self.asked.lock().unwrap().push((r.from, r.newest_first));
            if *self.down.lock().unwrap() {
                return Err(ServerError::Unreachable("refused".into()));
            }
            let mut lines = self.lines.lock().unwrap().clone();
            lines.retain(|(at, _)| (r.from..r.to).contains(at));
            lines.sort();
            if r.newest_first {
                lines.reverse();
            }
            lines.truncate(r.limit as usize);
            let writer = Arc::new(Writer::default());
            let entry = |(at, text)| Entry { at, writer: writer.clone(), text, level: None };
            Ok(Page { entries: lines.into_iter().map(entry).collect(), notes: Vec::new() })
        }
    }

    fn secs(n: i64) -> Stamp {
        Stamp(n * 1000)
    }

    fn texts(passed: &Passed) -> Vec<&str> {
        let mut texts: Vec<&str> = passed.entries.iter().map(|e| e.text.as_str()).collect();
        texts.sort_unstable();
        texts
    }

    #[tokio::test]
    async fn history_then_what_comes_also_if_it_comes_late() {
        let store = Script::default();
        let mut tail = Tail::new("q".into(), 100, 15);
        store.put(1000 * SECOND, "too old");
        store.put(9500 * SECOND, "old");
        let (first, failed) = tail.pass(&store, secs(10_000)).await;
        assert!(failed.is_none() && first.gaps.is_empty());
        assert_eq!(texts(&first), ["old"]);
        store.put(10_005 * SECOND, "new");
        store.put(9_985 * SECOND, "late");
        store.put(9_000 * SECOND, "too late");
        assert_eq!(texts(&tail.pass(&store, secs(10_010)).await.0), ["late", "new"]);
        assert_eq!(texts(&tail.pass(&store, secs(10_020)).await.0), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn an_outage_loses_and_doubles_nothing() {
        let store = Script::default();
        let mut tail = Tail::new("q".into(), 3, 15);
        tail.pass(&store, secs(10_000)).await;
        *store.down.lock().unwrap() = true;
        for at in [10_010, 10_020, 10_200] {
            assert!(tail.pass(&store, secs(at)).await.1.is_some());
        }
        *store.down.lock().unwrap() = false;
        for at in 0..5 {
            store.put((10_100 + at) * SECOND, &format!("during {at}"));
        }
        let (passed, failed) = tail.pass(&store, secs(10_210)).await;
        assert!(failed.is_none());
        assert_eq!(passed.entries.len(), 5);
        // a collector delivers lines of the outage minutes later
        store.put(10_050 * SECOND, "buffered");
        assert_eq!(texts(&tail.pass(&store, secs(10_500)).await.0), ["buffered"]);
        store.put(10_051 * SECOND, "after the grace");
        assert_eq!(texts(&tail.pass(&store, secs(10_600)).await.0), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn what_is_not_read_is_told() {
        let store = Script::default();
        for n in 0..100 {
            store.put((9_900 + n) * SECOND, &format!("{n:03}"));
        }
        let mut tail = Tail::new("q".into(), 10, 15);
        let (history, _) = tail.pass(&store, secs(10_000)).await;
        // pages share their last line
        let newest = 10 * HISTORY_PAGES - (HISTORY_PAGES - 1);
        assert_eq!(history.entries.len(), newest);
        assert_eq!(history.gaps.len(), 1);
        assert!(history.gaps[0].1.starts_with("older lines were not read"));
        for n in 0..30 {
            store.put(10_001 * SECOND, &format!("same {n:03}"));
        }
        let mut gaps = 0;
        loop {
            let (passed, _) = tail.pass(&store, secs(10_010)).await;
            gaps += passed.gaps.len();
            if !passed.more {
                break;
            }
        }
        assert_eq!(gaps, 1, "more lines of one time than a query returns");
        // a tail that is far behind goes on with the newest lines
        for n in 0..2000 {
            store.put(10_020 * SECOND + n, "flood");
        }
        let (passed, _) = tail.pass(&store, secs(10_300)).await;
        assert!(passed.more && passed.gaps.len() == 1, "{:?}", passed.gaps);
        assert!(!tail.pass(&store, secs(10_301)).await.0.more);
    }

    proptest! {
        /// Lines arrive up to the overlap late, in any order, and the store fails now and then.
        #[test]
        fn each_line_once(
            arrivals in prop::collection::vec((0i64..200, 0i64..25, 0u8..3), 0..80),
            outages in prop::collection::vec(0i64..30, 0..6),
            limit in 25u32..60,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let store = Script::default();
            let mut tail = Tail::new("q".into(), limit, 15);
            let mut got = Vec::new();
            let mut sorted: Vec<(i64, i64, String)> = arrivals
                .iter()
                .enumerate()
                .map(|(n, (arrives, late, kind))| (*arrives, *arrives - *late, format!("{kind} {n}")))
                .collect();
            sorted.sort();
            let mut left = sorted.into_iter().peekable();
            for round in 0..30 {
                let now = round * 10;
                while let Some((_, at, text)) = left.next_if(|(arrives, ..)| *arrives <= now) {
                    // each line has a time of its own
                    let n = store.lines.lock().unwrap().len() as i64;
                    store.put((10_000 + at) * SECOND + n, &text);
                }
                *store.down.lock().unwrap() = outages.contains(&round) && round < 28;
                loop {
                    let (passed, _) = runtime.block_on(tail.pass(&store, secs(10_000 + now)));
                    prop_assert!(passed.gaps.is_empty(), "{:?}", passed.gaps);
                    got.extend(passed.entries.into_iter().map(|e| e.text));
                    if !passed.more {
                        break;
                    }
                }
            }
            got.sort();
            let mut want: Vec<String> = store.lines.lock().unwrap().iter().map(|(_, t)| t.clone()).collect();
            want.sort();
            prop_assert_eq!(got, want);
        }
    }
}
