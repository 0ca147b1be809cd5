//! The pods that an eviction is about, kept current: LIST, then WATCH from its version; a watch that is too old or
//! broken is listed anew, with a back-off. It is the re-check before each eviction and the proof after it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use kube::client::Body;
use pilothouse_core::domain::id::Uid;
use pilothouse_core::domain::pod::Pod;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::Clock;
use crate::wire::backoff::Backoff;
use crate::wire::client::ReadClient;
use crate::wire::decode::{Pools, pod::pod};
use crate::wire::error::ApiError;
use crate::wire::frames::Lines;
use crate::wire::items::ITEM_CAP;
use crate::wire::pages;

/// Nothing for longer than bookmarks are apart: the connection may be dead.
const SILENCE: Duration = Duration::from_secs(75);
/// A list that is refused where a watch was not allowed either is asked for again.
const POLL: Duration = Duration::from_secs(5);
/// All pods of a node, or of a namespace.
const LIST_CAP: usize = 256 << 20;

/// What happened to the pods.
#[derive(Debug)]
pub enum News {
    /// All of them, now.
    All(Vec<Pod>),
    Seen(Box<Pod>),
    Gone(Uid),
    /// They cannot be followed now; it is tried again.
    Trouble(ApiError),
}

enum Link {
    Idle(Option<Instant>),
    Listing(BoxFuture<'static, Result<(Vec<Pod>, String), ApiError>>),
    Asking(BoxFuture<'static, Result<Body, ApiError>>),
    Open(Box<Body>, Lines, Instant),
}

/// Follows the pods of one path.
pub struct PodWatch {
    reader: ReadClient,
    clock: Clock,
    /// With its field selector.
    path: String,
    /// None = list first.
    version: Option<String>,
    link: Link,
    backoff: Backoff,
    ready: VecDeque<News>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: Meta,
    code: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    uid: String,
    resource_version: String,
}

impl PodWatch {
    pub fn new(reader: ReadClient, clock: Clock, path: String) -> Self {
        Self {
            reader,
            clock,
            path,
            version: None,
            link: Link::Idle(None),
            backoff: Backoff::api(),
            ready: VecDeque::new(),
        }
    }

    /// The next piece of news. Dropping the future loses nothing.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.ready.pop_front() {
                return news;
            }
            match &mut self.link {
                Link::Idle(at) => {
                    if let Some(at) = *at {
                        tokio::time::sleep_until(at.into()).await;
                    }
                    self.link = self.ask();
                }
                Link::Listing(list) => match list.await {
                    Ok((pods, version)) => {
                        self.version = Some(version);
                        self.link = Link::Idle(None);
                        return News::All(pods);
                    }
                    Err(error) => return self.failed(error),
                },
                Link::Asking(open) => match open.await {
                    Ok(body) => {
                        self.link =
                            Link::Open(Box::new(body), Lines::whole(ITEM_CAP + 1024), Clock::instant());
                    }
                    Err(ApiError::Gone { .. }) => self.relist(),
                    Err(error) => {
                        let denied = error.is_denial();
                        let news = self.failed(error);
                        if denied {
                            // allowed to list and not to watch: lists it is
                            self.version = None;
                            self.link = Link::Idle(Some(Clock::deadline(POLL)));
                        }
                        return news;
                    }
                },
                Link::Open(body, lines, heard) => {
                    let next = tokio::time::timeout_at((*heard + SILENCE).into(), body.frame()).await;
                    let data = match next {
                        // silent, or ended as every watch does after some minutes
                        Err(_) | Ok(None) => {
                            let wait = self.backoff.next();
                            self.link = Link::Idle(Some(Clock::deadline(wait)));
                            continue;
                        }
                        Ok(Some(Err(error))) => return self.failed(ApiError::from_transport(&error)),
                        Ok(Some(Ok(frame))) => frame.into_data(),
                    };
                    let Ok(data) = data else { continue };
                    *heard = Clock::instant();
                    let (mut whole, now) = (Vec::new(), self.clock.now());
                    let dropped = lines.oversized();
                    lines.feed(&data, |line| whole.push(line.to_vec()));
                    // what could not be read might have been the one that matters
                    let mut lost = lines.oversized() > dropped;
                    for line in whole {
                        match frame(&line, now, &mut self.version) {
                            Ok(news) => self.ready.extend(news),
                            Err(ApiError::Gone { .. } | ApiError::Decode(_)) => lost = true,
                            Err(error) => {
                                let news = self.failed(error);
                                self.ready.push_back(news);
                                break;
                            }
                        }
                    }
                    if lost {
                        self.relist();
                    } else if matches!(self.link, Link::Open(..)) {
                        self.backoff.reset();
                    }
                }
            }
        }
    }

    /// What they are at this moment, whatever the watch says.
    pub async fn look(&mut self) -> Result<Vec<Pod>, ApiError> {
        Ok(list(self.reader.clone(), self.path.clone(), self.clock.clone()).await?.0)
    }

    fn relist(&mut self) {
        self.version = None;
        self.link = Link::Idle(Some(Clock::deadline(self.backoff.next())));
    }

    fn failed(&mut self, error: ApiError) -> News {
        let wait = self.backoff.next().max(error.retry_after().unwrap_or_default());
        self.link = Link::Idle(Some(Clock::deadline(wait)));
        News::Trouble(error)
    }

    fn ask(&mut self) -> Link {
        let reader = self.reader.clone();
        match &self.version {
            None => Link::Listing(Box::pin(list(reader, self.path.clone(), self.clock.clone()))),
            Some(version) => {
                let path = format!(
                    "{}&watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds={}",
                    self.path,
                    fastrand::u32(240..300)
                );
                Link::Asking(Box::pin(async move {
                    Ok(reader.stream(&path, "application/json").await?.into_body())
                }))
            }
        }
    }
}

/// One line of a watch. Err: the server ended it, or it cannot be read.
fn frame(
    line: &[u8],
    now: pilothouse_core::domain::time::Stamp,
    version: &mut Option<String>,
) -> Result<Option<News>, ApiError> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let decode = |e: &dyn std::fmt::Display| ApiError::Decode(e.to_string());
    let frame: Frame<'_> = serde_json::from_slice(line).map_err(|e| decode(&e))?;
    let object = frame.object.get().as_bytes();
    let head: Head = serde_json::from_slice(object).unwrap_or_default();
    if frame.kind == "ERROR" {
        return Err(ApiError::from_answer(head.code.unwrap_or(500), None, object));
    }
    let news = match frame.kind.as_str() {
        "ADDED" | "MODIFIED" => {
            let pod = pod(&mut Pools::default(), object, now).map_err(|e| decode(&e))?;
            Some(News::Seen(Box::new(pod)))
        }
        "DELETED" => Some(News::Gone(Uid::parse(&head.metadata.uid))),
        _ => None,
    };
    if !head.metadata.resource_version.is_empty() {
        *version = Some(head.metadata.resource_version);
    }
    Ok(news)
}

/// A whole list at its version (resourceVersion unset: what is judged must not be stale).
async fn list(reader: ReadClient, path: String, clock: Clock) -> Result<(Vec<Pod>, String), ApiError> {
    let (mut pools, now) = (Pools::default(), clock.now());
    let read = |json: &[u8]| pod(&mut pools, json, now);
    let whole = pages::whole(&reader, &path, "PodList", LIST_CAP, read).await?;
    if let Some(error) = whole.unread {
        return Err(ApiError::Decode(error.to_string()));
    }
    if whole.oversized > 0 {
        return Err(ApiError::Decode("a pod is too large".into()));
    }
    Ok((whole.rows, whole.version))
}
