//! Loki's HTTP API: `query_range` and `labels`.

use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use super::Labels;
use super::tail::{Entry, Page, Request};
use super::writer::{NAMESPACE, Writer, is_namespace, level_of};
use crate::source::server::{Answer, Kind, ServerError, said};
use crate::wire::client::escape;

pub(super) const PATH: &str = "loki/api/v1/query_range";
pub(super) const LABELS: &str = "loki/api/v1/labels";
/// A line filter for lines that can be errors. The level of a line is judged here, as for lines of other sources; the
/// filter must let all errors pass: words in any case, the letters of klog, the numbers of bunyan and pino.
const ERRORS: &str = r#"|~ `(?i)err|fatal|panic|exception|fail|crit|severe|emerg|alert|traceback|^[ef][0-9]{4} |"level": ?[56]0`"#;

/// Returns the queries for the error lines of all streams. LogQL demands a label that is not empty, and streams of
/// different collectors have different ones.
pub(super) fn queries(labels: &[String], namespaces: &[Name]) -> Vec<String> {
    let matcher = if namespaces.is_empty() {
        "=~\".+\"".to_owned()
    } else {
        let names: Vec<String> =
            namespaces.iter().map(|name| regex::escape(name).replace('\\', "\\\\")).collect();
        format!("=~\"{}\"", names.join("|"))
    };
    let known: Vec<&str> = NAMESPACE.into_iter().filter(|name| labels.iter().any(|l| l == name)).collect();
    let mut queries: Vec<String> = (0..known.len().min(3))
        .map(|n| {
            let others = known.iter().take(n).map(|name| format!(",{name}=\"\""));
            let others = others.collect::<String>();
            format!("{{{}{matcher}{others}}} {ERRORS}", known.get(n).copied().unwrap_or_default())
        })
        .collect();
    if queries.is_empty() && namespaces.is_empty() {
        // no label names a namespace: the first label that streams usually have
        let usual = ["service_name", "job", "app", "container", "filename", "host"];
        let label = usual.into_iter().find(|name| labels.iter().any(|l| l == name));
        let label = label.or_else(|| labels.iter().map(String::as_str).find(|l| !l.starts_with("__")));
        queries.extend(label.map(|label| format!("{{{label}=~\".+\"}} {ERRORS}")));
    }
    queries
}

pub(super) fn query(request: &Request<'_>) -> String {
    format!(
        "query={}&start={}&end={}&limit={}&direction={}",
        escape(request.query),
        request.from,
        request.to,
        request.limit,
        if request.newest_first { "backward" } else { "forward" }
    )
}

#[derive(Deserialize)]
struct Envelope<T> {
    status: Option<String>,
    data: Option<T>,
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    #[serde(default)]
    result: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    stream: Labels,
    #[serde(default)]
    values: Vec<Value>,
}

/// The time in nanoseconds and the text. A third element has the structured metadata, if the server was asked to keep it
/// apart from the labels.
struct Value(i64, String, Labels);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Value;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time and a line")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let missing = || A::Error::custom("a value without a time and a line");
                let at: String = seq.next_element()?.ok_or_else(missing)?;
                let text: String = seq.next_element()?.ok_or_else(missing)?;
                let more: Categorized = seq.next_element()?.unwrap_or_default();
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                let at = at.parse().map_err(|_| A::Error::custom("the time of a line is not a number"))?;
                let mut labels = more.structured_metadata;
                labels.extend(more.parsed);
                Ok(Value(at, text, labels))
            }
        }
        from.deserialize_seq(Of)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Categorized {
    structured_metadata: Labels,
    parsed: Labels,
}

/// Reads the envelope. Loki's own errors are plain text.
fn opened<'a, T: Deserialize<'a>>(kind: &Kind, answer: &'a Answer) -> Result<(T, Vec<String>), ServerError> {
    match serde_json::from_slice::<Envelope<T>>(&answer.body) {
        Ok(Envelope { status: Some(word), data: Some(data), warnings, .. })
            if word == "success" && answer.status.is_success() =>
        {
            Ok((data, warnings.unwrap_or_default().iter().map(|one| said(one)).collect()))
        }
        Ok(Envelope { error: Some(error), .. }) => Err(answer.refusal(&error)),
        _ if !answer.status.is_success() => Err(answer.refused(kind)),
        Ok(_) => Err(answer.not_understood(kind, "no data in the answer")),
        Err(error) => Err(answer.not_understood(kind, &error.to_string())),
    }
}

pub(super) fn read(kind: &Kind, answer: &Answer) -> Result<Page, ServerError> {
    let (data, notes) = opened::<Data>(kind, answer).map_err(|error| {
        // a query for numbers has values of another form
        match opened::<ResultType>(kind, answer) {
            Ok((ResultType { result_type }, _)) if result_type != "streams" => no_lines(kind),
            _ => error,
        }
    })?;
    if data.result_type != "streams" {
        return Err(no_lines(kind));
    }
    let mut page = Page { notes, ..Page::default() };
    for Stream { stream, values } in data.result {
        let (writer, level) = (Arc::new(Writer::of(&stream)), level_of(&stream));
        for Value(at, text, more) in values {
            if more.is_empty() {
                page.entries.push(Entry { at, writer: writer.clone(), text, level });
                continue;
            }
            let mut labels = stream.clone();
            labels.extend(more);
            let (writer, level) = (Arc::new(Writer::of(&labels)), level_of(&labels));
            page.entries.push(Entry { at, writer, text, level });
        }
    }
    Ok(page)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultType {
    result_type: String,
}

fn no_lines(kind: &Kind) -> ServerError {
    ServerError::Config(format!("{}.query returns numbers and not lines", kind.section))
}

pub(super) fn labels(kind: &Kind, answer: &Answer) -> Result<Vec<String>, ServerError> {
    // a Loki without streams leaves the data out
    #[derive(Deserialize)]
    struct Names {
        status: String,
        #[serde(default)]
        data: Option<Vec<String>>,
    }
    if answer.status.is_success()
        && let Ok(Names { status, data }) = serde_json::from_slice(&answer.body)
        && status == "success"
    {
        let mut names = data.unwrap_or_default();
        names.retain(|name| is_namespace(name) || !name.starts_with("__"));
        return Ok(names);
    }
    Err(opened::<Vec<String>>(kind, answer).map_or_else(|error| error, |_| answer.refused(kind)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use pilothouse_core::domain::log::Level;

    use super::super::LOKI;
    use super::*;
    use crate::source::server::Asked;

    fn answer(code: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(code).unwrap();
        let retry_after = (code == 429).then(|| Duration::from_secs(7));
        Answer { asked: Asked::Url, status, body: body.as_bytes().to_vec().into(), retry_after }
    }

    fn wrong(code: u16, body: &str) -> ServerError {
        read(&LOKI.kind, &answer(code, body)).map(|_| ()).unwrap_err()
    }

    #[test]
    fn streams_with_and_without_metadata_apart() {
        let body = r#"{"status":"success","warnings":["a shard is late\u001b"],"data":{"resultType":"streams","result":[
            {"stream":{"namespace":"shop","pod":"a-1","container":"app","detected_level":"error"},"values":[["1700000000000000001","boom"],["1700000000000000002","bang"]]},
            {"stream":{"namespace":"shop"},"values":[["1700000000000000003","x",{"structuredMetadata":{"pod":"b-1","severity":"fatal"},"parsed":{"container":"c"}}]]}],"stats":{}}}"#;
        let page = read(&LOKI.kind, &answer(200, body)).unwrap();
        assert_eq!(page.notes, ["a shard is late␛"]);
        let seen: Vec<_> = page
            .entries
            .iter()
            .map(|e| (e.at, e.writer.pod_name().to_string(), e.writer.place().to_string(), e.level, &*e.text))
            .collect();
        let error = Some(Level::Error);
        assert_eq!(
            seen,
            [
                (1_700_000_000_000_000_001, "shop/a-1".into(), "app".into(), error, "boom"),
                (1_700_000_000_000_000_002, "shop/a-1".into(), "app".into(), error, "bang"),
                (1_700_000_000_000_000_003, "shop/b-1".into(), "c".into(), Some(Level::Fatal), "x"),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            wrong(400, "parse error at line 1, col 5\n").to_string(),
            "400: parse error at line 1, col 5"
        );
        let limited = wrong(429, "too many outstanding requests");
        assert_eq!(limited.retry_after(), Some(Duration::from_secs(7)));
        assert!(!limited.is_lasting());
        assert!(wrong(401, "no org id").is_lasting());
        assert!(
            wrong(404, "404 page not found")
                .to_string()
                .contains("base URL of a Loki, without /loki/api/v1?")
        );
        assert_eq!(wrong(502, "<html>").to_string(), "502: Bad Gateway");
        let login = wrong(200, "<!doctype html>").to_string();
        assert!(login.contains("an HTML page, perhaps for a login") && login.contains("a Loki?"), "{login}");
        let numbers = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"]]}]}}"#;
        assert_eq!(wrong(200, numbers).to_string(), "loki.query returns numbers and not lines");
        let late = r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["x","y"]]}]}}"#;
        assert!(matches!(wrong(200, late), ServerError::Decode(_)));
    }

    #[test]
    fn the_streams_are_chosen_by_the_labels_that_there_are() {
        let of = |labels: &[&str], namespaces: &[&str]| {
            let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
            let namespaces: Vec<Name> = namespaces.iter().map(|n| Name::from(*n)).collect();
            let queries = queries(&labels, &namespaces);
            queries.iter().map(|q| q.strip_suffix(ERRORS).unwrap().trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["app", "namespace"], &[]), [r#"{namespace=~".+"}"#]);
        assert_eq!(
            of(&["k8s_namespace_name", "namespace"], &["shop", "a.b"]),
            [r#"{namespace=~"shop|a\\.b"}"#, r#"{k8s_namespace_name=~"shop|a\\.b",namespace=""}"#]
        );
        assert_eq!(of(&["filename", "job"], &[]), [r#"{job=~".+"}"#]);
        assert_eq!(of(&["x"], &[]), [r#"{x=~".+"}"#]);
        assert_eq!(of(&["filename"], &["shop"]), Vec::<String>::new(), "a namespace cannot be selected");
        assert_eq!(of(&[], &[]), Vec::<String>::new());
    }

    #[test]
    fn labels_of_an_empty_store() {
        let names = |body: &str| labels(&LOKI.kind, &answer(200, body));
        assert_eq!(names(r#"{"status":"success"}"#).unwrap(), Vec::<String>::new());
        let some = r#"{"status":"success","data":["__stream_shard__","app"]}"#;
        assert_eq!(names(some).unwrap(), ["app"]);
        assert!(names("<html>").is_err());
        assert_eq!(
            labels(&LOKI.kind, &answer(401, "no org id\n")).unwrap_err().to_string(),
            "401: no org id"
        );
    }
}
