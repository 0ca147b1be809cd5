//! LIST: from the first permitted path, page by page. Each item is passed on when it has arrived. Rows are deleted only
//! after the last page was read completely.

use std::time::Duration;

use http_body_util::BodyExt as _;
use pilothouse_core::domain::id::Version;
use pilothouse_core::facts::event::Batch;
use tokio::time::{Instant, timeout};

use super::seen::Unread;
use super::{BATCH, DecodeError, GATHER, ListWatch, Outlet, Place, Run, join};
use crate::wire::error::ApiError;
use crate::wire::items::{ITEM_CAP, Items, ListMeta};
use crate::wire::pages;

/// The timeout of a list whose body makes no progress.
const STALLED: Duration = Duration::from_secs(30);

/// The state of a list while its pages arrive.
struct Reading<T> {
    rows: Vec<T>,
    /// The number of items of the earlier pages.
    before: u64,
    /// The number of rows that were passed on.
    sent: u64,
    /// The total number was reported, or cannot be known.
    expected: bool,
    since: Instant,
}

impl<O, T, D> ListWatch<O, D>
where
    O: Outlet<T>,
    T: Send,
    D: FnMut(&[u8]) -> Result<Option<T>, DecodeError> + Send,
{
    pub(super) async fn list(&mut self, run: &mut Run) -> Result<(), ApiError> {
        let mut last = None;
        // a narrower path is used only before the first list; later, it would delete the rows that were read with the
        // wider one
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
        Err(last.unwrap_or(ApiError::Invalid { message: format!("nowhere to list {}", self.plan.name) }))
    }

    async fn list_at(&mut self, run: &mut Run, at: usize) -> Result<(), ApiError> {
        let Some(place) = self.plan.places.get(at).cloned() else { return Ok(()) };
        // the first list may come from the server's cache; a later one must not be older than what was seen
        let first = match &run.last {
            _ if self.plan.exact => String::new(),
            Some(version) => format!("resourceVersion={version}&resourceVersionMatch=NotOlderThan"),
            None => "resourceVersion=0".into(),
        };
        let mut ended = Ok(());
        // if the version or a later page's token has expired, the list starts again at the newest version
        for ask in [first.as_str(), "", ""] {
            let path = join(&place.path, &[ask, &self.plan.query]);
            ended = self.list_pages(run, &path, &place).await;
            match &ended {
                Err(error) if matches!(error, ApiError::Gone { .. }) || error.is_version_ahead() => {}
                _ => return ended,
            }
        }
        ended
    }

    /// Lists once, in one generation, to the last page.
    async fn list_pages(&mut self, run: &mut Run, path: &str, place: &Place) -> Result<(), ApiError> {
        let of = if self.plan.count && !run.ever { self.estimate(&place.path).await } else { None };
        let mut response = self.ask(run, path).await?;
        run.generation = run.generation.wrapping_add(1);
        run.unread = Unread::default();
        let generation = run.generation;
        self.out.rows(Batch::Begin { generation }).await;
        if let Some(of) = of {
            self.out.rows(Batch::Expect { of }).await;
        }
        let mut reading = Reading {
            rows: Vec::with_capacity(BATCH),
            before: 0,
            sent: 0,
            expected: of.is_some(),
            since: Instant::now(),
        };
        let mut version = None;
        let mut token: Option<String> = None;
        let mut pages = 0;
        loop {
            pages += 1;
            let meta = self.page(run, response.into_body(), &mut reading).await?;
            // the first page's version: a watch from there repeats the changes made while the other pages were read
            version = version.or(meta.resource_version.filter(|v| !v.is_empty()));
            let Some(more) = meta.continue_token.filter(|t| !t.is_empty()) else { break };
            // a request with a continue token must not have a version
            let next = pages::next(&join(&place.path, &[&self.plan.query]), &more, token.as_deref(), pages)?;
            token = Some(more);
            response = self.ask(run, &next).await?;
        }
        if let Some(words) = run.unread.words().filter(|_| self.plan.exact) {
            return Err(ApiError::Decode(words));
        }
        let version = version.unwrap_or_default();
        let namespaces = place.namespace.clone().map(|n| vec![n]);
        self.out.rows(Batch::Scope { namespaces }).await;
        self.out.rows(Batch::End { generation, version: Version::parse(&version) }).await;
        run.last = Some(version.clone()).filter(|v| !v.is_empty());
        run.version = Some(version);
        run.ever = true;
        run.rows = reading.sent;
        run.denied = false;
        if let Some(listed) = &self.listed {
            listed.send_replace(Some(reading.sent));
        }
        self.alive(run, true).await;
        Ok(())
    }

    /// Reads one page and passes its items on while it arrives.
    async fn page(
        &mut self,
        run: &mut Run,
        mut body: kube::client::Body,
        reading: &mut Reading<T>,
    ) -> Result<ListMeta, ApiError> {
        let mut items = Items::with_cap(ITEM_CAP);
        loop {
            let data = match timeout(STALLED, body.frame()).await {
                Err(_) => return Err(ApiError::Timeout(STALLED)),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(ApiError::from_transport(&error)),
                Ok(Some(Ok(frame))) => frame.into_data(),
            };
            let Ok(data) = data else { continue };
            let decode = &mut self.decode;
            let fed = items.feed(&data, |bytes| match decode(bytes) {
                Ok(Some(row)) => reading.rows.push(row),
                Ok(None) => {}
                Err(error) => run.unread.add(error.0),
            });
            if fed.is_err() {
                break;
            }
            if !reading.expected
                && let Some(rest) = items.meta().remaining_item_count
            {
                reading.expected = true;
                let of = u32::try_from(rest + reading.before + items.count()).unwrap_or(u32::MAX);
                self.out.rows(Batch::Expect { of }).await;
            }
            if reading.rows.len() >= BATCH || reading.since.elapsed() >= GATHER {
                reading.sent += reading.rows.len() as u64;
                self.upsert(&mut reading.rows).await;
                reading.since = Instant::now();
            }
        }
        let meta = items.finish(self.plan.list)?.clone();
        reading.sent += reading.rows.len() as u64;
        self.upsert(&mut reading.rows).await;
        reading.before += items.count();
        run.unread.count += items.oversized();
        Ok(meta)
    }

    /// The server's estimate of the total, from a list with limit 1.
    async fn estimate(&self, path: &str) -> Option<u32> {
        let path = join(path, &["limit=1", &self.plan.query]);
        let body = self.client.get_bytes(&path, ITEM_CAP).await.ok()?;
        let mut items = Items::default();
        items.feed(&body, |_| ()).ok()?;
        u32::try_from(items.meta().remaining_item_count? + items.count()).ok()
    }
}
