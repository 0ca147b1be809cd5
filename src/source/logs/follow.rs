//! Reads and follows a container's log through the API, and resumes after a break without losing or repeating lines.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::time::Stamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Target;
use super::join::{Joiner, LINE_CAP, Raw, raw};
use super::store::{LogLine, LogStore, Origin};
use crate::source::supervise::Backoff;
use crate::wire::client::{ReadClient, escape};
use crate::wire::error::ApiError;
use crate::wire::frames::Lines;

/// An entry waits this long for its next line.
const JOIN: Duration = Duration::from_millis(500);
/// A silent stream is opened anew: kubelets have stalled at the rotation of a log file.
const SILENT: Duration = Duration::from_secs(300);
/// Lines remembered for telling repeated ones after a resume.
const REMEMBER: usize = 4096;
/// What a stream begins with.
const BEGIN_SECS: u32 = 900;
const BEGIN_LINES: u32 = 200;
/// Bytes of a whole log that is read at once.
const FETCH_CAP: usize = 16 << 20;
/// The pod's container has not started yet.
const NOT_YET: Duration = Duration::from_secs(5);

/// One container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub namespace: Name,
    pub pod: Name,
    pub container: Name,
    /// The container before its last restart.
    pub previous: bool,
    /// Lines from the end to begin with.
    pub tail: u32,
}

impl LogQuery {
    fn path(&self, more: &str) -> String {
        let previous = if self.previous { "&previous=true" } else { "" };
        format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&timestamps=true{previous}{more}",
            escape(&self.namespace),
            escape(&self.pod),
            escape(&self.container)
        )
    }

    fn joiner(&self) -> Joiner {
        Joiner::new(Name::from(format!("{}/{}", self.namespace, self.pod)), self.container.clone())
    }
}

/// Reads the end of a log.
pub async fn fetch_log(read: &ReadClient, query: &LogQuery) -> Result<Vec<LogLine>, ApiError> {
    let path = query.path(&format!("&tailLines={}&limitBytes={FETCH_CAP}", query.tail.max(1)));
    let body = read.get_bytes(&path, FETCH_CAP + 1024).await?;
    let mut joiner = query.joiner();
    let mut lines = Lines::cut(LINE_CAP);
    let mut out = Vec::new();
    let mut take = |line: &[u8]| out.extend(joiner.take(&raw(line), Stamp::default()));
    lines.feed(&body, &mut take);
    lines.finish(&mut take);
    out.extend(joiner.flush());
    Ok(out)
}

/// Streams a log into `out`, beginning with its last `tail` lines, until the receiver is dropped or the pod is gone.
/// Breaks are bridged; the error is what ended it.
pub async fn follow_log(
    read: &ReadClient,
    query: &LogQuery,
    out: mpsc::Sender<LogLine>,
) -> Result<(), ApiError> {
    let begin = format!("&tailLines={}", query.tail.max(1));
    let mut stream = Stream::new(query.clone(), begin);
    loop {
        let mut push = |line| {
            let out = out.clone();
            async move { out.send(line).await.is_ok() }
        };
        match stream.read_once(read, &mut push).await {
            Ok(End::Closed) => return Ok(()),
            Ok(End::Ended) if query.previous => return Ok(()),
            Ok(End::Ended) => {}
            Err(
                error @ (ApiError::NotFound { .. } | ApiError::Forbidden { .. } | ApiError::Unauthorized(_)),
            ) => {
                return Err(error);
            }
            Err(error @ ApiError::Invalid { .. }) if query.previous => return Err(error),
            Err(error) => tracing::debug!(%error, "log stream"),
        }
        if out.is_closed() {
            return Ok(());
        }
        stream.pause().await;
    }
}

/// Follows a target into the store until it is stopped or the pod is gone.
pub(super) async fn keep_following(read: ReadClient, store: Arc<LogStore>, target: Target, previous: bool) {
    let origin = Origin { workload: target.workload.clone(), version: target.version.clone() };
    let query = LogQuery {
        namespace: target.namespace,
        pod: target.pod,
        container: target.container,
        previous: false,
        tail: BEGIN_LINES,
    };
    if previous {
        let before = LogQuery { previous: true, ..query.clone() };
        match fetch_log(&read, &before).await {
            Ok(lines) => lines.into_iter().for_each(|line| store.push(line, &origin)),
            // 400: there is none any more
            Err(error) => tracing::debug!(%error, pod = %query.pod, "no previous log"),
        }
    }
    let begin = format!("&sinceSeconds={BEGIN_SECS}&tailLines={BEGIN_LINES}");
    let mut stream = Stream::new(query, begin);
    loop {
        let cut = stream.lines.oversized();
        let ended = stream
            .read_once(&read, &mut |line| {
                store.push(line, &origin);
                std::future::ready(true)
            })
            .await;
        store.lost(stream.lines.oversized() - cut);
        match ended {
            Err(ApiError::NotFound { .. }) => return,
            Err(ApiError::Forbidden { .. }) => tokio::time::sleep(Duration::from_secs(120)).await,
            Err(error) => tracing::debug!(%error, pod = %stream.query.pod, "log stream"),
            Ok(_) => {}
        }
        stream.pause().await;
    }
}

enum End {
    /// The server ended it: the container ended, or the connection did.
    Ended,
    /// Nobody wants the lines any more.
    Closed,
}

/// One log over any number of connections.
struct Stream {
    query: LogQuery,
    begin: String,
    lines: Lines,
    joiner: Joiner,
    last: Option<Stamp>,
    recent: VecDeque<(Stamp, u64)>,
    resumed: bool,
    backoff: Backoff,
    not_yet: bool,
}

impl Stream {
    fn new(query: LogQuery, begin: String) -> Self {
        let joiner = query.joiner();
        Self {
            query,
            begin,
            lines: Lines::cut(LINE_CAP),
            joiner,
            last: None,
            recent: VecDeque::new(),
            resumed: false,
            backoff: Backoff::api(),
            not_yet: false,
        }
    }

    async fn pause(&mut self) {
        let wait = if self.not_yet { NOT_YET } else { self.backoff.next() };
        tokio::time::sleep(wait).await;
    }

    async fn read_once<P, T>(&mut self, read: &ReadClient, push: &mut P) -> Result<End, ApiError>
    where
        P: FnMut(LogLine) -> T,
        T: Future<Output = bool>,
    {
        self.resumed = self.last.is_some();
        let from = match self.last {
            // it counts in whole seconds: one second too much, and repeated lines are told by time and text
            Some(last) => format!("&sinceTime={}", Stamp(last.0.div_euclid(1000) * 1000).plus_secs(-1)),
            None => self.begin.clone(),
        };
        let follow = if self.query.previous { "" } else { "&follow=true" };
        let opened = read.stream(&self.query.path(&format!("{follow}{from}")), "*/*").await;
        self.not_yet = matches!(opened, Err(ApiError::Invalid { .. }));
        let mut body = opened?.into_body();
        let began = Instant::now();
        loop {
            let patience = if self.joiner.is_holding() { JOIN } else { SILENT };
            let data = match tokio::time::timeout(patience, body.frame()).await {
                Err(_) if self.joiner.is_holding() => {
                    if let Some(line) = self.joiner.flush()
                        && !push(line).await
                    {
                        return Ok(End::Closed);
                    }
                    continue;
                }
                Err(_) => break,
                Ok(None | Some(Err(_))) => break,
                Ok(Some(Ok(frame))) => frame.into_data(),
            };
            let Ok(data) = data else { continue };
            let mut ready = Vec::new();
            let mut raws = Vec::new();
            self.lines.feed(&data, |line| raws.push(raw(line)));
            for line in raws {
                if self.is_new(&line) {
                    ready.extend(self.joiner.take(&line, line.at.or(self.last).unwrap_or_default()));
                }
            }
            for line in ready {
                if !push(line).await {
                    return Ok(End::Closed);
                }
            }
        }
        let mut rest = Vec::new();
        self.lines.finish(|line| rest.push(raw(line)));
        let mut ready: Vec<LogLine> = Vec::new();
        for line in rest {
            if self.is_new(&line) {
                ready.extend(self.joiner.take(&line, line.at.or(self.last).unwrap_or_default()));
            }
        }
        ready.extend(self.joiner.flush());
        for line in ready {
            if !push(line).await {
                return Ok(End::Closed);
            }
        }
        if began.elapsed() >= Duration::from_secs(60) {
            self.backoff.reset();
        }
        Ok(End::Ended)
    }

    /// False for a line that came before the break already.
    fn is_new(&mut self, line: &Raw) -> bool {
        let Some(at) = line.at else { return true };
        let mut hasher = DefaultHasher::new();
        (&line.stamp, &line.text).hash(&mut hasher);
        let hash = hasher.finish();
        if self.resumed && self.recent.iter().any(|(seen, h)| *seen == at && *h == hash) {
            return false;
        }
        let newest = self.last.map_or(at, |last| last.max(at));
        self.last = Some(newest);
        self.recent.push_back((at, hash));
        // what a resume can repeat is at most two seconds old
        while self.recent.len() > REMEMBER
            || self.recent.front().is_some_and(|(seen, _)| newest.since(*seen) > 3_000)
        {
            self.recent.pop_front();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_repeats_nothing() {
        let mut stream = Stream::new(LogQuery::default(), String::new());
        let line = |stamp: &str, text: &str| raw(format!("{stamp} {text}").as_bytes());
        let a = line("2026-01-01T00:00:01.000000001Z", "a");
        let b = line("2026-01-01T00:00:01.000000002Z", "a");
        assert!(stream.is_new(&a) && stream.is_new(&b), "equal texts at different times are two lines");
        stream.resumed = true;
        assert!(!stream.is_new(&a) && !stream.is_new(&b));
        assert!(stream.is_new(&line("2026-01-01T00:00:01.000000003Z", "a")));
    }

    #[test]
    fn paths() {
        let query = LogQuery {
            namespace: "n".into(),
            pod: "p".into(),
            container: "c d".into(),
            previous: true,
            tail: 1,
        };
        assert_eq!(
            query.path("&x=1"),
            "/api/v1/namespaces/n/pods/p/log?container=c%20d&timestamps=true&previous=true&x=1"
        );
    }
}
