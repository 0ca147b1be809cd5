//! The HTTP API of VictoriaLogs: `/select/logsql/query`, which answers with a JSON object a line. Its endpoint for tails
//! cannot go on where it broke, so the tail consists of queries, as for Loki.

use std::sync::Arc;

use pilothouse_core::domain::time::Stamp;
use serde::Deserialize;

use super::Labels;
use super::tail::{Entry, Page, Request};
use super::writer::{Writer, level_of};
use crate::source::server::{Answer, Kind, ServerError};
use crate::wire::client::escape;

pub(super) const PATH: &str = "select/logsql/query";
pub(super) const FIELDS: &str = "select/logsql/stream_field_names";
/// Lines that can be errors, by their text or by a field with their level. The level is judged here, as for lines of other
/// sources; the query must let all errors pass.
pub(super) const QUERY: &str = r#"_msg:~"(?i)err|fatal|panic|exception|fail|crit|severe|emerg|alert|traceback|^[ef][0-9]{4} " or level:~"(?i)err|fatal|panic|crit|emerg|alert|^[56]0$" or severity:~"(?i)err|fatal|panic|crit|emerg|alert""#;

pub(super) fn query(request: &Request<'_>) -> String {
    let order = if request.newest_first { "_time desc" } else { "_time" };
    let query = format!("{} | sort by ({order}) limit {}", request.query, request.limit);
    format!("query={}&start={}&end={}", escape(&query), rfc3339(request.from), rfc3339(request.to))
}

/// Formats a time in nanoseconds. Only this form is exact in each version.
fn rfc3339(nanos: i64) -> String {
    let seconds = Stamp(nanos.div_euclid(1_000_000_000) * 1000);
    let shown = seconds.to_string();
    let whole = shown.trim_end_matches('Z');
    let whole = whole.split_once('.').map_or(whole, |(whole, _)| whole);
    format!("{whole}.{:09}Z", nanos.rem_euclid(1_000_000_000))
}

/// The nanoseconds of a time such as `2026-01-02T03:04:05.123456789Z`.
fn nanos(text: &str) -> Option<i64> {
    let seconds = Stamp::parse(text)?.0.div_euclid(1000);
    let part = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits: String = part.chars().take_while(char::is_ascii_digit).take(9).collect();
    let fraction = format!("{digits:0<9}").parse::<i64>().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
}

pub(super) fn read(kind: &Kind, answer: &Answer) -> Result<Page, ServerError> {
    if !answer.status.is_success() {
        return Err(answer.refused(kind));
    }
    let mut page = Page::default();
    for line in answer.body.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let fields: Labels =
            serde_json::from_slice(line).map_err(|e| answer.not_understood(kind, &e.to_string()))?;
        let at = fields.get("_time").and_then(|at| nanos(at));
        let at = at.ok_or_else(|| {
            let section = kind.section;
            ServerError::Config(format!(
                "{section}.query returns rows without _time: it must keep _time and _msg"
            ))
        })?;
        let writer = Arc::new(Writer::of(&fields));
        let level = level_of(&fields);
        let text = fields.get("_msg").cloned().unwrap_or_default();
        page.entries.push(Entry { at, writer, text, level });
    }
    Ok(page)
}

/// Reads the names of the fields that streams have.
pub(super) fn labels(kind: &Kind, answer: &Answer) -> Result<Vec<String>, ServerError> {
    #[derive(Deserialize)]
    struct Names {
        values: Vec<Value>,
    }
    #[derive(Deserialize)]
    struct Value {
        value: String,
    }
    if !answer.status.is_success() {
        return Err(answer.refused(kind));
    }
    let names: Names =
        serde_json::from_slice(&answer.body).map_err(|e| answer.not_understood(kind, &e.to_string()))?;
    Ok(names.values.into_iter().map(|value| value.value).collect())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use pilothouse_core::domain::log::Level;

    use super::super::VICTORIA_LOGS;
    use super::*;
    use crate::source::server::Asked;

    fn answer(code: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(code).unwrap();
        Answer { asked: Asked::Url, status, body: body.as_bytes().to_vec().into(), retry_after: None }
    }

    #[test]
    fn rows() {
        let body = "{\"_msg\":\"boom\",\"_stream\":\"{}\",\"_time\":\"2026-01-02T03:04:05.000000007Z\",\"kubernetes.pod_namespace\":\"shop\",\"kubernetes.pod_name\":\"a-1\",\"kubernetes.container_name\":\"app\",\"level\":\"ERROR\"}\n\n{\"_msg\":\"x\",\"_time\":\"2026-01-02T03:04:05Z\"}\n";
        let page = read(&VICTORIA_LOGS.kind, &answer(200, body)).unwrap();
        let first = &page.entries[0];
        let base = Stamp::parse("2026-01-02T03:04:05Z").unwrap().0 * 1_000_000;
        assert_eq!((first.at, &*first.text, first.level), (base + 7, "boom", Some(Level::Error)));
        assert_eq!((first.writer.pod_name().as_str(), first.writer.place().as_str()), ("shop/a-1", "app"));
        assert_eq!((page.entries.len(), page.entries[1].at), (2, base));
        assert_eq!(rfc3339(base + 7), "2026-01-02T03:04:05.000000007Z");
        assert_eq!(nanos("2026-01-02T03:04:05.5Z"), Some(base + 500_000_000));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |code, body| read(&VICTORIA_LOGS.kind, &answer(code, body)).map(|_| ()).unwrap_err();
        assert_eq!(wrong(400, "cannot parse query [x]\n").to_string(), "400: cannot parse query [x]");
        assert!(wrong(200, "<html>").to_string().contains("an HTML page"));
        assert!(
            matches!(wrong(200, "{\"_msg\":\"cut o"), ServerError::Decode(_)),
            "a broken answer is no end"
        );
        assert!(
            wrong(200, "{\"rows\":\"1\"}").to_string().starts_with("victorialogs.query returns rows without")
        );
        let names = |body| labels(&VICTORIA_LOGS.kind, &answer(200, body));
        assert_eq!(names("{\"values\":[{\"value\":\"host\",\"hits\":3}]}").unwrap(), ["host"]);
        assert!(names("{}").is_err());
    }

    #[test]
    fn a_query_has_an_order_and_a_limit() {
        let request =
            Request { query: "error", from: 1_000_000_000, to: 2_000_000_000, newest_first: true, limit: 9 };
        assert_eq!(
            query(&request),
            "query=error%20%7C%20sort%20by%20%28_time%20desc%29%20limit%209&start=1970-01-01T00:00:01.000000000Z&end=1970-01-01T00:00:02.000000000Z"
        );
    }
}
