//! Reads and follows a container's log through the API, and resumes after a break without losing or repeating lines.
//! It also reports why a container has no lines, how it ended, and what it waits for.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use http_body_util::BodyExt as _;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::time::Stamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Target;
use super::join::{JUDGE_CAP, Joiner, Raw, raw};
pub use super::out::Told;
use super::out::{Kept, Out};
use super::pod::{Container, PodState, PodWatch};
use super::store::{LogInput, LogLine, Origin};
use crate::source::supervise::Backoff;
use crate::wire::client::{ReadClient, escape};
use crate::wire::error::ApiError;
use crate::wire::frames::Lines;

/// How long an entry waits for its next line.
const JOIN: Duration = Duration::from_millis(500);
/// After this time, a silent stream is opened again, because kubelets have stalled when a log file was rotated.
const SILENT: Duration = Duration::from_secs(300);
/// The number of lines that are remembered to recognize repeated lines after a resume.
const REMEMBER: usize = 4096;
/// The age of the oldest lines that a stream starts with.
const BEGIN_SECS: u32 = 900;
const BEGIN_LINES: u32 = 200;
/// The maximum size of a whole log that is read at once.
const FETCH_CAP: usize = 16 << 20;
/// How often to ask again for the log of a container that has not started or waits for its next start.
const NOT_YET: Duration = Duration::from_secs(5);
/// The same interval for a log that the user has not opened.
const NOT_YET_UNSEEN: Duration = Duration::from_secs(20);
const JUST_NOW: Duration = Duration::from_secs(1);
/// How often to ask again after a denial, because the permission can be granted in the meantime.
const DENIED: Duration = Duration::from_secs(120);

/// The log of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub namespace: Name,
    pub pod: Name,
    pub container: Name,
    /// Whether to read the log of the container's previous run.
    pub previous: bool,
    /// The number of lines from the end to start with.
    pub tail: u32,
    /// The maximum age of the lines to start with, in seconds.
    pub since: Option<u32>,
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

    /// The parameters that say where to start.
    fn begin(&self) -> String {
        let since = self.since.map_or_else(String::new, |secs| format!("&sinceSeconds={}", secs.max(1)));
        format!("{since}&tailLines={}", self.tail.max(1))
    }

    fn joiner(&self) -> Joiner {
        Joiner::new(Name::from(format!("{}/{}", self.namespace, self.pod)), self.container.clone())
    }
}

/// Reads the end of a log.
pub async fn fetch_log(read: &ReadClient, query: &LogQuery) -> Result<Vec<LogLine>, ApiError> {
    let path = query.path(&format!("{}&limitBytes={FETCH_CAP}", query.begin()));
    let body = read.get_bytes(&path, FETCH_CAP + 1024).await?;
    let mut joiner = query.joiner();
    let mut lines = Lines::cut(JUDGE_CAP);
    let mut out = Vec::new();
    let mut take = |line: &[u8]| out.extend(joiner.take(&raw(line), Stamp::default()));
    lines.feed(&body, &mut take);
    lines.finish(&mut take);
    out.extend(joiner.flush());
    Ok(out)
}

/// Streams a container's log into `out`, starting with its last `tail` lines, until the receiver is dropped or no
/// more lines can arrive. The stream continues after breaks and restarts.
pub async fn follow_log(read: &ReadClient, pod: &PodWatch, query: &LogQuery, mut out: mpsc::Sender<Told>) {
    Stream::new(query.clone(), query.begin()).run(read, pod, Some(NOT_YET), &mut out).await;
}

/// Follows a target into the store until it is stopped or no more lines can arrive.
pub(super) async fn keep_following(read: ReadClient, input: LogInput, target: Target) {
    let origin = Origin { workload: target.workload.clone(), version: target.version.clone() };
    let pod = PodWatch::new(&read, &target.namespace, &target.pod, target.uid);
    let query = LogQuery {
        namespace: target.namespace,
        pod: target.pod,
        container: target.container,
        previous: false,
        tail: BEGIN_LINES,
        since: None,
    };
    let mut out = Kept::new(input, origin);
    if pod
        .since(Instant::now())
        .await
        .is_ok_and(|now| now.container(&query.container).is_some_and(Container::has_previous))
    {
        let before = LogQuery { previous: true, ..query.clone() };
        match fetch_log(&read, &before).await {
            Ok(lines) => {
                for line in lines {
                    out.put(Told::Line(line)).await;
                }
            }
            // status 400: there is no previous log any more
            Err(error) => tracing::debug!(%error, pod = %query.pod, "no previous log"),
        }
    }
    let begin = format!("&sinceSeconds={BEGIN_SECS}&tailLines={BEGIN_LINES}");
    Stream::new(query, begin).run(&read, &pod, None, &mut out).await;
}

enum End {
    /// The server ended the stream, because the container or the connection ended.
    Ended,
    /// The receiver was dropped.
    Closed,
}

/// What to do next, according to the pod.
enum Next {
    /// Request the log.
    Read,
    /// Wait, for this reason.
    Wait(String),
    /// Stop, for this reason.
    Over(Option<String>),
}

/// The log of a container over any number of connections.
struct Stream {
    query: LogQuery,
    begin: String,
    lines: Lines,
    joiner: Joiner,
    last: Option<Stamp>,
    recent: VecDeque<(Stamp, u64)>,
    resumed: bool,
    /// The last line of a connection if it has no line feed. The next connection contains the whole line, if there is
    /// one.
    partial: Option<Raw>,
    /// The container's restart count when its log was last requested, and when it was last read to its end.
    asked_at: u32,
    read_at: Option<u32>,
    /// Only reads of the pod at this time or later decide what to do next.
    moment: Instant,
    backoff: Backoff,
    said: Option<String>,
}

impl Stream {
    fn new(query: LogQuery, begin: String) -> Self {
        let joiner = query.joiner();
        Self {
            query,
            begin,
            lines: Lines::cut(JUDGE_CAP),
            joiner,
            last: None,
            recent: VecDeque::new(),
            resumed: false,
            partial: None,
            asked_at: 0,
            read_at: None,
            // the caller has just read the pod, so that read is recent enough
            moment: Instant::now().checked_sub(JUST_NOW).unwrap_or_else(Instant::now),
            backoff: Backoff::api(),
            said: None,
        }
    }

    /// `watched` is the interval between checks while it waits for the container, for a log that the user has opened.
    async fn run<O: Out>(
        &mut self,
        read: &ReadClient,
        pod: &PodWatch,
        watched: Option<Duration>,
        out: &mut O,
    ) {
        let not_yet = watched.unwrap_or(NOT_YET_UNSEEN);
        loop {
            match self.next(read, pod, out).await {
                Next::Read => {}
                Next::Wait(why) => {
                    if !self.say(Some(why), out).await {
                        return;
                    }
                    tokio::time::sleep(not_yet).await;
                    // waiting containers share one read of the pod
                    self.moment = Instant::now().checked_sub(not_yet / 2).unwrap_or(self.moment);
                    continue;
                }
                Next::Over(why) => {
                    self.finish(out).await;
                    self.say(why, out).await;
                    return;
                }
            }
            let cut = self.lines.oversized();
            let ended = self.read_once(read, out).await;
            out.cut(self.lines.oversized() - cut);
            self.moment = Instant::now();
            let wait = match &ended {
                Ok(End::Closed) => return,
                Ok(End::Ended) => {
                    self.read_at = Some(self.asked_at);
                    self.backoff.next()
                }
                Err(ApiError::Forbidden { .. } | ApiError::Unauthorized(_)) if watched.is_none() => DENIED,
                // the kubelet reports that the container is about to start, or has just ended
                Err(ApiError::Invalid { .. }) => not_yet,
                Err(_) => self.backoff.next(),
            };
            if let Err(error) = ended {
                let over = watched.is_some()
                    && matches!(
                        error,
                        ApiError::NotFound { .. } | ApiError::Forbidden { .. } | ApiError::Unauthorized(_)
                    );
                let more = if over { "" } else { "; asked again" };
                tracing::debug!(%error, pod = %self.query.pod, "log stream");
                if !self.say(Some(format!("the log cannot be read: {error}{more}")), out).await || over {
                    return;
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Reports a note about the container if it differs from the previous one.
    async fn say<O: Out>(&mut self, words: Option<String>, out: &mut O) -> bool {
        if self.said == words {
            return true;
        }
        self.said.clone_from(&words);
        let pod = Name::from(format!("{}/{}", self.query.namespace, self.query.pod));
        out.put(Told::Note { pod, container: self.query.container.clone(), words }).await
    }

    /// Checks the pod before its log is requested.
    async fn next<O: Out>(&mut self, read: &ReadClient, pod: &PodWatch, out: &mut O) -> Next {
        let state = match pod.since(self.moment).await {
            Ok(state) => state,
            Err(ApiError::NotFound { .. }) => return Next::Over(Some("the pod is gone".into())),
            // the log may be readable even if the pod is not
            Err(_) => return Next::Read,
        };
        let Some(container) = state.container(&self.query.container) else {
            return Next::Over(Some("the pod has no container of this name".into()));
        };
        if !state.has_log(container) {
            let why = state.waits(container);
            return if state.over { Next::Over(Some(why)) } else { Next::Wait(why) };
        }
        self.asked_at = container.restarts;
        let Some(before) = self.read_at else { return Next::Read };
        if container.restarts > before {
            self.catch_up(read, out).await;
            return Next::Read;
        }
        match container.ended() {
            None => Next::Read,
            Some(_) => ended(&state, container),
        }
    }

    /// Reads the lines of the previous run that follow the last known line.
    async fn catch_up<O: Out>(&mut self, read: &ReadClient, out: &mut O) {
        let from = self.last.map_or_else(|| self.begin.clone(), since);
        let before = LogQuery { previous: true, ..self.query.clone() };
        let path = before.path(&format!("{from}&limitBytes={FETCH_CAP}"));
        let body = match read.get_bytes(&path, FETCH_CAP + 1024).await {
            Ok(body) => body,
            Err(error) => return tracing::debug!(%error, pod = %self.query.pod, "no previous log"),
        };
        self.resumed = true;
        let mut raws = Vec::new();
        let mut lines = Lines::cut(JUDGE_CAP);
        lines.feed(&body, |line| raws.push(raw(line)));
        lines.finish(|line| raws.push(raw(line)));
        let mut ready = self.entries(raws);
        ready.extend(self.joiner.flush());
        for line in ready {
            out.put(Told::Line(line)).await;
        }
    }

    async fn read_once<O: Out>(&mut self, read: &ReadClient, out: &mut O) -> Result<End, ApiError> {
        self.resumed = self.last.is_some();
        let from = self.last.map_or_else(|| self.begin.clone(), since);
        let follow = if self.query.previous { "" } else { "&follow=true" };
        let opened = read.stream(&self.query.path(&format!("{follow}{from}")), "*/*").await;
        let mut body = opened?.into_body();
        if !self.say(None, out).await {
            return Ok(End::Closed);
        }
        let began = Instant::now();
        let mut lost = false;
        loop {
            let patience = if self.joiner.is_holding() { JOIN } else { SILENT };
            let data = match tokio::time::timeout(patience, body.frame()).await {
                Err(_) if self.joiner.is_holding() => {
                    if let Some(line) = self.joiner.flush()
                        && !out.put(Told::Line(line)).await
                    {
                        return Ok(End::Closed);
                    }
                    continue;
                }
                Err(_) | Ok(None) => break,
                Ok(Some(Err(_))) => {
                    lost = true;
                    break;
                }
                Ok(Some(Ok(frame))) => frame.into_data(),
            };
            let Ok(data) = data else { continue };
            let mut raws = Vec::new();
            self.lines.feed(&data, |line| raws.push(raw(line)));
            for line in self.entries(raws) {
                if !out.put(Told::Line(line)).await {
                    return Ok(End::Closed);
                }
            }
        }
        let mut rest = None;
        self.lines.finish(|line| rest = Some(raw(line)));
        // a line that was cut off within its timestamp is dropped
        self.partial = rest.filter(|line| !lost || line.at.is_some());
        if let Some(line) = self.joiner.flush()
            && !out.put(Told::Line(line)).await
        {
            return Ok(End::Closed);
        }
        if began.elapsed() >= Duration::from_secs(60) {
            self.backoff.reset();
        }
        Ok(End::Ended)
    }

    /// Passes the last line on, because nothing will complete it.
    async fn finish<O: Out>(&mut self, out: &mut O) {
        let raws = self.partial.take().into_iter().collect();
        let mut ready = self.entries(raws);
        ready.extend(self.joiner.flush());
        for line in ready {
            out.put(Told::Line(line)).await;
        }
    }

    /// Returns the entries that new lines complete. Lines from before a break are omitted.
    fn entries(&mut self, raws: Vec<Raw>) -> Vec<LogLine> {
        let mut out = Vec::new();
        for line in raws {
            if let Some(partial) = self.partial.take_if(|held| line.at.is_none() || line.at >= held.at)
                // the same line, now complete, replaces the partial one
                && (partial.stamp != line.stamp || partial.stamp.is_empty())
            {
                out.extend(self.entry(&partial));
            }
            out.extend(self.entry(&line));
        }
        out
    }

    fn entry(&mut self, line: &Raw) -> Option<LogLine> {
        if self.is_new(line) {
            self.joiner.take(line, line.at.or(self.last).unwrap_or_default())
        } else {
            None
        }
    }

    /// Whether the line is new, and not a repetition of a line from before the break.
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
        // a resume repeats lines of at most two seconds
        while self.recent.len() > REMEMBER
            || self.recent.front().is_some_and(|(seen, _)| newest.since(*seen) > 3_000)
        {
            self.recent.pop_front();
        }
        true
    }
}

/// Returns the `sinceTime` of a resume. It has whole seconds, so the resume starts one second earlier, and repeated
/// lines are recognized by time and text.
fn since(last: Stamp) -> String {
    format!("&sinceTime={}", Stamp(last.0.div_euclid(1000) * 1000).plus_secs(-1))
}

/// Decides what to do after a container's log was read to its end.
fn ended(state: &PodState, container: &Container) -> Next {
    let how = container.ended().map_or_else(String::new, |exit| format!(", {exit}"));
    if !state.restarts(container) {
        // an init container that succeeded needs no note
        let silent = container.is_done_init();
        return Next::Over((!silent).then(|| format!("the container ended{how}")));
    }
    let waits = match &container.state {
        super::pod::State::Waiting { reason, message } if !message.is_empty() => {
            format!("{reason}: {message}")
        }
        super::pod::State::Waiting { reason, .. } => reason.clone(),
        _ => String::new(),
    };
    let waits = if waits.is_empty() { String::new() } else { format!(" ({waits})") };
    Next::Wait(format!("the container ended{how}; it will be started again{waits}"))
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

    fn texts(stream: &mut Stream, raws: Vec<Raw>) -> Vec<String> {
        let mut out = stream.entries(raws);
        out.extend(stream.joiner.flush());
        out.iter().map(|line| line.text.to_string()).collect()
    }

    #[test]
    fn half_a_line_of_a_lost_connection_is_not_shown_beside_the_whole_one() {
        let line = |stamp: &str, text: &str| raw(format!("2026-01-01T00:00:0{stamp}Z {text}").as_bytes());
        let mut stream = Stream::new(LogQuery::default(), String::new());
        assert_eq!(texts(&mut stream, vec![line("1.0", "a")]), ["a"]);
        stream.partial = Some(line("2.0", "half of"));
        stream.resumed = true;
        assert_eq!(
            texts(&mut stream, vec![line("1.0", "a"), line("2.0", "half of a line")]),
            ["half of a line"]
        );
        // the next connection does not repeat the line, which was complete without a line feed
        stream.partial = Some(line("3.0", "the end"));
        assert_eq!(texts(&mut stream, vec![line("4.0", "b")]), ["the end", "b"]);
    }

    #[test]
    fn lines_without_time_stamps_are_taken_as_they_come() {
        let mut stream = Stream::new(LogQuery::default(), String::new());
        stream.resumed = true;
        let lines = || vec![raw(b"same"), raw(b"same"), raw(b"other")];
        assert_eq!(texts(&mut stream, lines()), ["same", "same", "other"]);
    }

    #[test]
    fn paths() {
        let query = LogQuery {
            namespace: "n".into(),
            pod: "p".into(),
            container: "c d".into(),
            previous: true,
            tail: 1,
            since: Some(60),
        };
        assert_eq!(query.begin(), "&sinceSeconds=60&tailLines=1");
        assert_eq!(
            query.path("&x=1"),
            "/api/v1/namespaces/n/pods/p/log?container=c%20d&timestamps=true&previous=true&x=1"
        );
    }
}
