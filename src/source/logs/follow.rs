//! Reads and follows a container's log through the API, and resumes after a break without losing or repeating lines.
//! It also reports why a container has no lines, how it ended, and what it waits for.

mod memory;
mod resume;

use std::time::Duration;

use http_body_util::BodyExt as _;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::Mark;
use pilothouse_core::domain::time::Stamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::memory::MemoryLog;
use super::Target;
use super::join::{JUDGE_CAP, Joiner, Raw, SHORT, raw};
use super::next::{Next, ended, is_failure};
use super::out::{Kept, Out};
pub use super::out::{Nothing, Told};
use super::pod::{Container, PodWatch};
use super::query::{FETCH_CAP, each_line, since};
pub use super::query::{LogQuery, fetch_log};
use super::seen::Seen;
use crate::source::supervise::Backoff;
use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::frames::Lines;

/// How long an entry waits for its next line.
const JOIN: Duration = Duration::from_millis(500);
/// After this time, a silent stream is opened again, because kubelets have stalled when a log file was rotated.
const SILENT: Duration = Duration::from_secs(300);
/// The number of lines that are remembered to recognize repeated lines after a resume.
const REMEMBER: usize = 1 << 15;
/// The age of the oldest lines that a stream starts with.
const BEGIN_SECS: u32 = 900;
const BEGIN_LINES: u32 = 200;
/// How often to ask again for the log of a container that has not started or waits for its next start.
const NOT_YET: Duration = Duration::from_secs(5);
/// The same interval for a log that the user has not opened.
const NOT_YET_UNSEEN: Duration = Duration::from_secs(20);
/// How long the status of a pod can be behind its kubelet.
const STATUS: Duration = Duration::from_secs(2);
/// How long a request that follows a log can be without an answer before the kubelet is checked.
const SLOW: Duration = Duration::from_secs(5);
const JUST_NOW: Duration = Duration::from_secs(1);
/// How often to ask again after a denial, because the permission can be granted in the meantime.
const DENIED: Duration = Duration::from_secs(120);

/// Streams a container's log into `out`, starting with its last `tail` lines, until the receiver is dropped or no
/// more lines can arrive. The stream continues after breaks and restarts. Returns `false` if the log cannot be read.
pub async fn follow_log(
    read: &ReadClient,
    pod: &PodWatch,
    query: &LogQuery,
    mut out: mpsc::Sender<Told>,
) -> bool {
    Stream::new(query.clone(), query.begin()).run(read, pod, Some(NOT_YET), &mut out).await
}

/// Follows a target into the store until it is stopped or no more lines can arrive.
pub(super) async fn keep_following(read: ReadClient, mut out: Kept, target: Target) {
    let pod = PodWatch::new(&read, &target.namespace, &target.pod, target.uid);
    let query = LogQuery {
        namespace: target.namespace,
        pod: target.pod,
        container: target.container,
        previous: false,
        tail: BEGIN_LINES,
        since: None,
        after: None,
    };
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

/// Whether a connection goes on where the one before it broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overlap {
    /// No overlap is expected: it is the first connection, or the container restarted.
    Free,
    /// The last known line has to come again. Otherwise the container restarted, or the log was rotated.
    Expected,
    /// The pod was read once more, and the container did not restart.
    Insisted,
}

enum End {
    /// The server ended the stream, because the container or the connection ended.
    Ended,
    /// The last line that was read is no longer in the log. The cause, a restart or a rotation, is not known yet.
    Elsewhere,
    /// The receiver was dropped.
    Closed,
}

/// The log of a container over any number of connections.
struct Stream {
    query: LogQuery,
    begin: String,
    /// Whether the log was asked for or waited for before, or begins later than its request.
    is_late: bool,
    lines: Lines,
    joiner: Joiner,
    /// The time of the first line of this run or of the one before it, and of the last line.
    first: Option<Stamp>,
    last: Option<Stamp>,
    seen: Seen,
    /// Whether the next lines must begin with one that is known, because the log goes on where a connection broke.
    overlap: Overlap,
    /// The last line of a connection if it has no line feed. The next connection contains the whole line, if there is
    /// one.
    partial: Option<Raw>,
    /// The container's restart count when its log was last requested, and when it was last read to its end.
    asked_at: u32,
    read_at: Option<u32>,
    /// Only reads of the pod at this time or later decide what to do next.
    moment: Instant,
    backoff: Backoff,
    /// Whether the log could be read once. Later a denial is temporary: an API server that has just started denies
    /// requests until it has read the roles.
    opened: bool,
    said: Option<String>,
}

impl Stream {
    fn new(query: LogQuery, begin: String) -> Self {
        let joiner = query.joiner();
        Self {
            is_late: query.tail > 0,
            query,
            begin,
            lines: Lines::cut(JUDGE_CAP),
            joiner,
            first: None,
            last: None,
            seen: Seen::new(REMEMBER),
            overlap: Overlap::Free,
            partial: None,
            asked_at: 0,
            read_at: None,
            // the caller has just read the pod, so that read is recent enough
            moment: Instant::now().checked_sub(JUST_NOW).unwrap_or_else(Instant::now),
            backoff: Backoff::api(),
            opened: false,
            said: None,
        }
    }

    /// Returns `false` if the log cannot be read. `watched` is the interval between checks while it waits for the
    /// container, for a log that the user has opened.
    async fn run<O: Out>(
        &mut self,
        read: &ReadClient,
        pod: &PodWatch,
        watched: Option<Duration>,
        out: &mut O,
    ) -> bool {
        let not_yet = watched.unwrap_or(NOT_YET_UNSEEN);
        loop {
            match self.next(read, pod, out).await {
                Next::Read => {}
                Next::Wait(why) => {
                    self.is_late = true;
                    if !self.say(Some(why), false, out).await {
                        return true;
                    }
                    tokio::time::sleep(not_yet).await;
                    // waiting containers share one read of the pod
                    self.moment = Instant::now().checked_sub(not_yet / 2).unwrap_or(self.moment);
                    continue;
                }
                Next::Over(why) => {
                    self.finish(out).await;
                    let failed = why.is_some() && self.read_at.is_none();
                    self.say(why, failed, out).await;
                    return !failed;
                }
            }
            let cut = self.lines.oversized();
            let ended = self.read_once(read, out).await;
            self.is_late = true;
            out.cut(self.lines.oversized() - cut);
            self.moment = Instant::now();
            let wait = match &ended {
                Ok(End::Closed) => return true,
                Ok(end) => {
                    self.read_at = Some(self.asked_at);
                    let least = if matches!(end, End::Elsewhere) { STATUS } else { Duration::ZERO };
                    self.backoff.next().max(least)
                }
                Err(ApiError::Forbidden { .. } | ApiError::Unauthorized(_))
                    if watched.is_none() && !self.opened =>
                {
                    DENIED
                }
                // the kubelet reports that the container is about to start, or has just ended
                Err(ApiError::Invalid { .. }) => not_yet,
                Err(_) => self.backoff.next(),
            };
            if let Err(error) = ended {
                out.fails(Some(&error));
                let over = watched.is_some()
                    && !self.opened
                    && matches!(
                        error,
                        ApiError::NotFound { .. } | ApiError::Forbidden { .. } | ApiError::Unauthorized(_)
                    );
                let more = if over { "" } else { "; asked again" };
                tracing::debug!(%error, pod = %self.query.pod, "log stream");
                let failed = is_failure(&error, self.read_at.is_some());
                let words = format!("the log cannot be read: {error}{more}");
                if !self.say(Some(words), failed, out).await || over {
                    return !over;
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Reports a note about the container if it differs from the previous one.
    async fn say<O: Out>(&mut self, words: Option<String>, failed: bool, out: &mut O) -> bool {
        if self.said == words {
            return true;
        }
        self.said.clone_from(&words);
        let pod = Name::from(format!("{}/{}", self.query.namespace, self.query.pod));
        out.put(Told::Note { pod, container: self.query.container.clone(), words, failed }).await
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
            self.catch_up(container.restarts - before, read, out).await;
            return Next::Read;
        }
        match container.ended() {
            None => Next::Read,
            Some(_) => ended(&state, container),
        }
    }

    /// The parameters that say where the next request starts.
    fn from(&self) -> String {
        match (self.last, self.query.after) {
            (Some(last), _) => since(last),
            // in whole seconds; a line too many is better than one that is missing
            (None, Some(after)) if self.is_late => format!("&sinceSeconds={}", after.elapsed().as_secs() + 1),
            (None, _) => self.begin.clone(),
        }
    }

    /// Reads the lines of the previous run that follow the last known line, after this many starts of the container.
    async fn catch_up<O: Out>(&mut self, starts: u32, read: &ReadClient, out: &mut O) {
        let from = self.from();
        let before = LogQuery { previous: true, ..self.query.clone() };
        let path = before.path(&format!("{from}&limitBytes={FETCH_CAP}"));
        let known = self.last.is_some();
        self.overlap = Overlap::Free;
        let body = match read.get_bytes(&path, FETCH_CAP + 1024).await {
            Ok(body) => body,
            Err(error) => {
                tracing::debug!(%error, pod = %self.query.pod, "no previous log");
                if known {
                    self.gap(&format!("the end of the previous run cannot be read: {error}"), out).await;
                }
                return;
            }
        };
        self.seen.resume(i64::MIN);
        let mut raws = Vec::new();
        each_line(&body, FETCH_CAP, |line| raws.push(line));
        if known && starts > 1 {
            let runs = starts - 1;
            let s = if runs == 1 { "" } else { "s" };
            self.gap(
                &format!(
                    "lines of {runs} run{s} of the container are missing: it was started {starts} times"
                ),
                out,
            )
            .await;
        } else if known && !raws.is_empty() && !raws.iter().any(|line| self.is_known(line)) {
            self.gap("lines of the previous run may be missing: its log was rotated", out).await;
        }
        let mut ready = self.entries(raws);
        ready.extend(self.joiner.flush());
        for line in ready {
            out.put(Told::Line(line)).await;
        }
        if body.len() >= FETCH_CAP {
            let mib = FETCH_CAP >> 20;
            self.gap(
                &format!("the end of the previous run is missing: only its first {mib} MiB are read"),
                out,
            )
            .await;
        }
    }

    /// Says in the log that lines are missing here.
    async fn gap<O: Out>(&mut self, words: &str, out: &mut O) {
        let raws = self.partial.take().into_iter().collect();
        let mut ready = self.entries(raws);
        ready.extend(self.joiner.flush());
        ready.push(self.joiner.marked(Mark::Gap, self.last.unwrap_or_default(), words));
        for line in ready {
            out.put(Told::Line(line)).await;
        }
    }

    async fn read_once<O: Out>(&mut self, read: &ReadClient, out: &mut O) -> Result<End, ApiError> {
        if self.last.is_some() {
            self.seen.resume(i64::MIN);
        }
        let from = self.from();
        let follow = if self.query.previous { "" } else { "&follow=true" };
        let path = self.query.path(&format!("{follow}{from}"));
        let check = self.query.path("&tailLines=1&limitBytes=1");
        let opening = read.stream(&path, "*/*");
        tokio::pin!(opening);
        let opened = if let Ok(opened) = tokio::time::timeout(SLOW, &mut opening).await {
            opened?
        } else {
            // A kubelet answers with the first line only. It answers a request for the end of the log at once.
            tokio::select! {
                opened = &mut opening => opened?,
                answers = read.get_bytes(&check, 1024) => {
                    answers?;
                    self.opened = true;
                    out.fails(None);
                    if !self.say(None, false, out).await {
                        return Ok(End::Closed);
                    }
                    match opening.await {
                        Err(ApiError::Timeout(_)) => {
                            self.backoff.reset();
                            return Ok(End::Ended);
                        }
                        opened => opened?,
                    }
                }
            }
        };
        let mut body = opened.into_body();
        self.opened = true;
        out.fails(None);
        if !self.say(None, false, out).await {
            return Ok(End::Closed);
        }
        let began = Instant::now();
        let mut lost = false;
        loop {
            let patience = if self.joiner.is_holding() { JOIN } else { SILENT };
            let data = match tokio::time::timeout(patience, body.frame()).await {
                Err(_) if self.joiner.is_holding() => {
                    for line in self.joiner.flush() {
                        if !out.put(Told::Line(line)).await {
                            return Ok(End::Closed);
                        }
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
            let mut raws = Vec::with_capacity(data.len() / SHORT + 1);
            self.lines.feed(&data, |line| raws.push(raw(line)));
            if self.begins_elsewhere(&raws) {
                if self.overlap == Overlap::Expected {
                    self.overlap = Overlap::Insisted;
                    self.lines = Lines::cut(JUDGE_CAP);
                    return Ok(End::Elsewhere);
                }
                self.overlap = Overlap::Free;
                self.gap("lines may be missing: the log was rotated before they were read", out).await;
            }
            for line in self.entries(raws) {
                if !out.put(Told::Line(line)).await {
                    return Ok(End::Closed);
                }
            }
        }
        let mut rest = None;
        self.lines.finish(|line| rest = Some(raw(line)));
        if self.last.is_some() && self.overlap == Overlap::Free {
            self.overlap = Overlap::Expected;
        }
        // a line that was cut off within its timestamp is dropped
        self.partial = rest.filter(|line| !lost || line.at.is_some());
        for line in self.joiner.flush() {
            if !out.put(Told::Line(line)).await {
                return Ok(End::Closed);
            }
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
        stream.seen.resume(i64::MIN);
        assert!(!stream.is_new(&a) && !stream.is_new(&b));
        assert!(stream.is_new(&line("2026-01-01T00:00:01.000000003Z", "a")));
    }

    #[test]
    fn a_log_that_was_rotated_begins_elsewhere() {
        let line = |stamp: &str, text: &str| raw(format!("2026-01-01T00:00:0{stamp}Z {text}").as_bytes());
        let broken = || {
            let mut stream = Stream::new(LogQuery::default(), String::new());
            assert_eq!(texts(&mut stream, vec![line("2.1", "a"), line("2.2", "b")]), ["a", "b"]);
            stream.seen.resume(i64::MIN);
            stream.overlap = Overlap::Expected;
            stream
        };
        for (raws, elsewhere, new) in [
            (vec![line("2.1", "a"), line("2.2", "b"), line("2.3", "c")], false, vec!["c"]),
            (vec![line("2.2", "b"), line("2.3", "c")], false, vec!["c"]),
            // a resume reaches back to lines from before the beginning, which were not asked for
            (vec![line("1.9", "before"), line("2.1", "a"), line("2.2", "b")], false, vec![]),
            (
                vec![line("2.2", "another line of that time"), line("2.2", "b")],
                false,
                vec!["another line of that time"],
            ),
            (vec![line("2.3", "c")], true, vec!["c"]),
            (vec![], false, vec![]),
        ] {
            let mut stream = broken();
            assert_eq!(stream.begins_elsewhere(&raws), elsewhere, "{raws:?}");
            assert_eq!(texts(&mut stream, raws), new);
        }
        let mut stream = broken();
        stream.partial = Some(line("2.3", "half"));
        assert!(!stream.begins_elsewhere(&[line("2.3", "half of a line")]), "the line is whole now");
        stream.overlap = Overlap::Free;
        assert!(!stream.begins_elsewhere(&[line("9.0", "x")]), "another run of the container");
    }

    #[test]
    fn equal_lines_of_one_time_are_counted() {
        let mut stream = Stream::new(LogQuery::default(), String::new());
        let line = || raw(b"2026-01-01T00:00:01Z same");
        assert_eq!(texts(&mut stream, vec![line(), line()]).len(), 2);
        stream.seen.resume(i64::MIN);
        assert_eq!(texts(&mut stream, vec![line(), line(), line()]).len(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_caught_up_is_told_in_the_log() {
        let mut stream = Stream::new(LogQuery::default(), String::new());
        let (mut out, mut told) = mpsc::channel(9);
        let lines = texts(&mut stream, vec![raw(b"2026-01-01T00:00:01.5Z last")]);
        assert_eq!(lines, ["last"]);
        stream.gap("lines may be missing", &mut out).await;
        let Some(Told::Line(line)) = told.recv().await else { panic!("a line") };
        assert_eq!((line.mark, line.at), (Some(Mark::Gap), Stamp::parse("2026-01-01T00:00:01.5Z").unwrap()));
        assert!(line.fingerprint.is_none());
    }

    fn texts(stream: &mut Stream, raws: Vec<Raw>) -> Vec<String> {
        let mut out = stream.entries(raws);
        out.extend(stream.joiner.flush());
        out.iter().map(|line| line.text.clone()).collect()
    }

    #[test]
    fn half_a_line_of_a_lost_connection_is_not_shown_beside_the_whole_one() {
        let line = |stamp: &str, text: &str| raw(format!("2026-01-01T00:00:0{stamp}Z {text}").as_bytes());
        let mut stream = Stream::new(LogQuery::default(), String::new());
        assert_eq!(texts(&mut stream, vec![line("1.0", "a")]), ["a"]);
        stream.partial = Some(line("2.0", "half of"));
        stream.seen.resume(i64::MIN);
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
        stream.seen.resume(i64::MIN);
        let lines = || vec![raw(b"same"), raw(b"same"), raw(b"other")];
        assert_eq!(texts(&mut stream, lines()), ["same", "same", "other"]);
    }
}
