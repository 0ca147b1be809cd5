//! `/tail`: upgrades to a websocket and sends lines when they are written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::http::{Asked, bad, streams};
use super::logql::{self, Selector};
use super::{Found, Loki};
use crate::logs::{LogBook as _, Mark};
use crate::prom::tsdb::Labels;

/// Lines written within this time are sent together.
const BATCH: Duration = Duration::from_millis(150);
/// How often the client is pinged.
const PING: Duration = Duration::from_secs(1);
/// How long a client may accept no byte before its connection is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum number of lines in one frame.
const FRAME: usize = 1000;
/// Maximum length of a client's message, because clients have nothing to send.
const HEARD: usize = 64 << 10;
/// Maximum delay that can be requested, in seconds.
const DELAY: i64 = 5;
/// Maximum number of followers at the same time.
const MOST: usize = 10;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The followers. Clones share them; they end when the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Tails {
    loki: Loki,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Tails {
    pub(super) fn new(loki: Loki) -> Self {
        Self { loki, tasks: Arc::default() }
    }

    fn follow(&self, upgrade: OnUpgrade, wish: Wish) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        let count = tasks.len() + 1;
        let loki = self.loki.clone();
        tasks.spawn(async move {
            // A client that leaves before the upgrade misses nothing.
            let Ok(connection) = upgrade.await else { return };
            let config = WebSocketConfig::default().max_message_size(Some(HEARD)).max_frame_size(Some(HEARD));
            let io = TokioIo::new(connection);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
            if count > MOST {
                let why =
                    format!("max concurrent tail requests limit exceeded, count > limit ({count} > {MOST})");
                refuse(socket, why).await;
            } else {
                run(socket, loki, wish).await;
            }
        });
    }
}

/// The parameters of a follower.
#[derive(Debug)]
struct Wish {
    selector: Selector,
    start: DateTime<Utc>,
    limit: usize,
    delay: TimeDelta,
}

impl Wish {
    fn of(asked: &Asked, now: DateTime<Utc>) -> Result<Self, String> {
        let logql::Query::Lines(selector) = logql::parse(asked.get("query").unwrap_or_default())? else {
            return Err("only log selector is supported".to_owned());
        };
        let limit = asked.limit()?;
        let since = asked.span("since")?.unwrap_or(TimeDelta::hours(1));
        let start = asked.time("start")?.unwrap_or(now - since);
        let delay = match asked.get("delay_for") {
            None => 0,
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))?,
        };
        if delay > DELAY {
            return Err(format!("delay_for can't be greater than {DELAY}"));
        }
        Ok(Self { selector, start, limit, delay: TimeDelta::seconds(delay.max(0)) })
    }
}

/// Whether the header, a list of words, has this word.
fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// The accept key of an upgrade's answer; `None` if the request is no upgrade.
fn accepted(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_upgrade = says(headers, &header::CONNECTION, "upgrade")
        && says(headers, &header::UPGRADE, "websocket")
        && says(headers, &header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_upgrade && !key.is_empty())?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

pub(super) async fn serve(
    State(tails): State<Tails>,
    Query(pairs): Query<Vec<(String, String)>>,
    mut request: Request,
) -> Response {
    let wish = match Wish::of(&Asked(pairs), tails.loki.clock.now()) {
        Ok(wish) => wish,
        Err(text) => return bad(text),
    };
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (Some(upgrade), Some(accept)) = (upgrade, accepted(request.headers())) else {
        let version = [(header::SEC_WEBSOCKET_VERSION, "13")];
        return (StatusCode::BAD_REQUEST, version, "Bad Request\n").into_response();
    };
    tails.follow(upgrade, wish);
    let mut out = Response::new(Body::empty());
    *out.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = out.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    out
}

/// One stream, and how far it was read.
#[derive(Debug)]
struct Stream {
    app: Arc<str>,
    node: Arc<str>,
    /// `None`: the selector does not match it.
    labels: Option<Arc<Labels>>,
    mark: Mark,
    /// The last round in which it existed.
    seen: u64,
}

/// Continues to read where it stopped.
#[derive(Debug)]
struct Reader {
    loki: Loki,
    wish: Wish,
    /// By the pod's uid and the container's name.
    streams: HashMap<(Arc<str>, Arc<str>), Stream>,
    looks: u64,
}

impl Reader {
    /// Updates the list of streams. A deleted pod keeps its stream for this round, because its last lines count.
    fn meet(&mut self) {
        self.looks += 1;
        let field = self.loki.field.read();
        for pod in field.live() {
            for container in self.loki.logs.containers(&pod.uid) {
                let key = (pod.uid.clone(), container);
                let known = self.streams.get_mut(&key);
                if let Some(known) = known
                    && known.app == pod.app
                    && known.node == pod.node
                {
                    known.seen = self.looks;
                    continue;
                }
                let labels = Loki::labels(pod, &key.1);
                let mark = self.streams.get(&key).map(|known| known.mark).unwrap_or_default();
                let stream = Stream {
                    app: pod.app.clone(),
                    node: pod.node.clone(),
                    labels: self.wish.selector.means(&labels).then(|| Arc::new(labels)),
                    mark,
                    seen: self.looks,
                };
                self.streams.insert(key, stream);
            }
        }
    }

    /// The lines since the last round in order of time, and whether some are too young to be sent.
    fn look(&mut self) -> (Vec<Found>, bool) {
        self.meet();
        let until = (!self.wish.delay.is_zero()).then(|| self.loki.clock.now() - self.wish.delay);
        let (mut out, mut young) = (Vec::new(), false);
        for ((pod, container), stream) in &mut self.streams {
            let Some(labels) = &stream.labels else { continue };
            let (lines, more) = self.loki.logs.after(pod, container, &mut stream.mark, until);
            young |= more;
            for line in lines {
                if line.at >= self.wish.start
                    && self.wish.selector.passes(&String::from_utf8_lossy(&line.text))
                {
                    out.push(Found { stream: labels.clone(), at: line.at, text: line.text });
                }
            }
        }
        let looks = self.looks;
        self.streams.retain(|_, stream| stream.seen == looks);
        out.sort_by_key(|found| found.at);
        (out, young)
    }
}

/// `None` if the client cannot be reached any more.
async fn send(socket: &mut Socket, message: Message) -> Option<()> {
    tokio::time::timeout(PATIENCE, socket.send(message)).await.ok()?.ok()
}

/// Sends the reason and closes, as Loki does after the upgrade.
async fn refuse(mut socket: Socket, why: String) {
    let frame = CloseFrame { code: CloseCode::Error, reason: why.into() };
    if send(&mut socket, Message::Close(Some(frame))).await.is_some() {
        // Until the client has closed too, or the timeout is over.
        let closed = async { while let Some(Ok(_)) = socket.next().await {} };
        drop(tokio::time::timeout(PATIENCE, closed).await);
    }
}

async fn run(mut socket: Socket, loki: Loki, wish: Wish) {
    let mut grown = loki.logs.grown();
    let limit = wish.limit;
    let mut reader = Reader { loki, wish, streams: HashMap::new(), looks: 0 };
    let mut ping = tokio::time::interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    // When to look next; None if nothing new has come.
    let mut due = Some(Instant::now());
    loop {
        tokio::select! {
            heard = socket.next() => match heard {
                Some(Ok(Message::Close(_))) => {
                    // The answer to it is ready and only has to be sent.
                    drop(tokio::time::timeout(PATIENCE, socket.flush()).await);
                    return;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            _ = ping.tick() => {
                if send(&mut socket, Message::Ping(Bytes::new())).await.is_none() { return }
                // Traffic may have reached a pod after its lines were written.
                due = due.or_else(|| Some(Instant::now()));
            }
            changed = grown.changed(), if due.is_none() => {
                if changed.is_err() { return }
                due = Some(Instant::now() + BATCH);
            }
            () = until(due) => {
                grown.mark_unchanged();
                let looked = tokio::task::spawn_blocking(move || {
                    let found = reader.look();
                    (reader, found)
                });
                let Ok((back, (mut found, young))) = looked.await else { return };
                reader = back;
                if reader.looks == 1 {
                    // Of the existing lines, the newest.
                    found = found.split_off(found.len().saturating_sub(limit));
                }
                for lines in found.chunks(FRAME) {
                    let frame = json!({"streams": streams(lines), "dropped_entries": []});
                    if send(&mut socket, Message::text(frame.to_string())).await.is_none() { return }
                }
                due = young.then(|| Instant::now() + BATCH);
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
