//! The log of one container as a request to the API server, and the end of a log in one answer.

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::Mark;
use pilothouse_core::domain::time::Stamp;
use tokio::time::Instant;

use super::join::{JUDGE_CAP, Joiner, Raw, raw};
use super::store::LogLine;
use crate::wire::client::{ReadClient, escape};
use crate::wire::error::ApiError;
use crate::wire::frames::Lines;

/// The maximum size of a whole log that is read at once.
pub(super) const FETCH_CAP: usize = 16 << 20;

/// The log of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub namespace: Name,
    pub pod: Name,
    pub container: Name,
    /// Whether to read the log of the container's previous run.
    pub previous: bool,
    /// The number of lines from the end to start with. 0: only new lines.
    pub tail: u32,
    /// The maximum age of the lines to start with, in seconds.
    pub since: Option<u32>,
    /// If the log cannot be read at once, because its container has not started: every line since this moment is new.
    pub after: Option<Instant>,
}

impl LogQuery {
    pub(super) fn path(&self, more: &str) -> String {
        let previous = if self.previous { "&previous=true" } else { "" };
        format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&timestamps=true{previous}{more}",
            escape(&self.namespace),
            escape(&self.pod),
            escape(&self.container)
        )
    }

    /// The parameters that say where to start.
    pub(super) fn begin(&self) -> String {
        let since = self.since.map_or_else(String::new, |secs| format!("&sinceSeconds={}", secs.max(1)));
        format!("{since}&tailLines={}", self.tail)
    }

    pub(super) fn joiner(&self) -> Joiner {
        Joiner::new(Name::from(format!("{}/{}", self.namespace, self.pod)), self.container.clone())
    }
}

/// Reads the end of a log.
pub async fn fetch_log(read: &ReadClient, query: &LogQuery) -> Result<Vec<LogLine>, ApiError> {
    let path = query.path(&format!("{}&limitBytes={FETCH_CAP}", query.begin()));
    let body = read.get_bytes(&path, FETCH_CAP + 1024).await?;
    Ok(entries(&body, query, FETCH_CAP))
}

/// Converts a log that has at most `cap` bytes. If it has as many, its end is missing, which a mark says.
fn entries(body: &[u8], query: &LogQuery, cap: usize) -> Vec<LogLine> {
    let mut joiner = query.joiner();
    let mut out = Vec::new();
    each_line(body, cap, |line| out.extend(joiner.take(line, Stamp::default())));
    out.extend(joiner.flush());
    if body.len() >= cap {
        let last = out.last().map_or_else(Stamp::default, |line: &LogLine| line.at);
        let words = format!(
            "newer lines are missing: only the first {} MiB are read at once; ask for fewer lines or a shorter time",
            cap >> 20
        );
        out.push(joiner.marked(Mark::Gap, last, &words));
    }
    out
}

/// Reads the lines of a log that has at most `cap` bytes. If it has as many, its last line is left out, because it was
/// cut at any character.
pub(super) fn each_line(body: &[u8], cap: usize, mut take: impl FnMut(Raw)) {
    let mut lines = Lines::cut(JUDGE_CAP);
    lines.feed(body, |line| take(raw(line)));
    if body.len() < cap {
        lines.finish(|line| take(raw(line)));
    }
}

/// Returns the `sinceTime` of a resume. It has whole seconds, so the resume starts one second earlier, and repeated
/// lines are recognized by time and text.
pub(super) fn since(last: Stamp) -> String {
    format!("&sinceTime={}", Stamp(last.0.div_euclid(1000) * 1000).plus_secs(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_too_long_ends_with_a_mark() {
        let body = b"2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z thr";
        let read = |cap: usize| -> Vec<(Option<Mark>, String)> {
            let lines = entries(body, &LogQuery::default(), cap);
            lines.iter().map(|line| (line.mark, line.text.clone())).collect()
        };
        let whole = read(body.len() + 1);
        assert_eq!(whole, ["one", "two", "thr"].map(|text| (None, text.to_owned())));
        let cut = read(body.len());
        assert_eq!(cut[..2], whole[..2]);
        assert_eq!(cut.len(), 3);
        assert!(cut[2].0 == Some(Mark::Gap) && cut[2].1.starts_with("newer lines are missing"), "{cut:?}");
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
            after: None,
        };
        assert_eq!(query.begin(), "&sinceSeconds=60&tailLines=1");
        assert_eq!(LogQuery::default().begin(), "&tailLines=0", "no line that is there already");
        assert_eq!(
            query.path("&x=1"),
            "/api/v1/namespaces/n/pods/p/log?container=c%20d&timestamps=true&previous=true&x=1"
        );
    }
}
