//! The fields of one line, as a text.

use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::fields as of_line;
use pilothouse_core::logs::message::names_message;
use pilothouse_core::policy::links;
use serde_json::{Map, Value};

use super::super::super::app::TextLine;
use super::super::super::request::LogLine;
use super::super::super::theme::Role;
use super::super::super::widget::text::width;

/// The fields that name a trace, the most common first.
const TRACES: [&str; 6] = ["trace_id", "traceid", "trace.id", "otelTraceID", "dd.trace_id", "trace"];
/// No name of a field takes more cells than this.
const NAME_CELLS: usize = 40;

/// Returns the URL of the trace that an entry belongs to.
pub fn trace_link(url: &str, entry: &str) -> Option<String> {
    if url.is_empty() {
        return None;
    }
    let id = TRACES.iter().find_map(|path| of_line::get(entry, path))?;
    // nothing else is an identifier, and a link must not lead elsewhere
    let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    links::trace(url, &id).filter(|_| is_id)
}

/// The field with the link to the trace.
const TRACE: &str = "trace";

/// Returns the origin of an entry, its fields, the message first, and its text, unless the fields are the whole of it.
/// The pod and the node can be opened.
pub fn fields(
    line: &LogLine,
    entry: &str,
    pod: Option<&ObjectRef>,
    node: Option<&ObjectRef>,
    trace_url: &str,
    zone: fn(Stamp) -> i32,
) -> Vec<TextLine> {
    let mut out = Vec::new();
    let mut say = |name: &str, value: String, object: Option<&ObjectRef>| {
        if !value.is_empty() {
            let link = (name == TRACE).then(|| value.clone());
            let line = TextLine::new(Role::Text, format!("{name:<10} {value}"));
            out.push(TextLine { object: object.cloned(), link, ..line });
        }
    };
    if let Some(at) = line.at {
        let local = zone(at);
        let here = at.plus_secs(i64::from(local)).clock_secs();
        let here = if local == 0 { String::new() } else { format!(", {here} local") };
        say("time", format!("{at}{here}"), None);
    }
    say("level", line.level.as_str().to_owned(), None);
    let name = if line.namespace.is_empty() {
        line.pod.to_string()
    } else {
        format!("{}/{}", line.namespace, line.pod)
    };
    say("pod", if line.pod.is_empty() { String::new() } else { name }, pod);
    say("container", line.container.to_string(), None);
    say("node", node.map(|node| node.name.to_string()).unwrap_or_default(), node);
    say(TRACE, trace_link(trace_url, entry).unwrap_or_default(), None);
    if line.cut > 0 {
        say("cut", format!("{} bytes were not kept", line.cut), None);
    }
    let mut found = of_line::all(entry);
    found.sort_by_key(|(path, _)| !names_message(path));
    if !found.is_empty() {
        title(&mut out, "Fields");
        let widest = found.iter().map(|(path, _)| width(path)).max().unwrap_or(0).min(NAME_CELLS);
        for (path, value) in &found {
            let mut parts = value.split('\n');
            let blanks = " ".repeat(widest.saturating_sub(width(path)));
            let first = parts.next().unwrap_or_default();
            out.push(TextLine::new(Role::Text, format!("  {path}{blanks}  {first}")));
            for part in parts {
                out.push(TextLine::new(Role::Dim, format!("  {}  {part}", " ".repeat(widest))));
            }
        }
    }
    let shown = |line: &str| TextLine::new(Role::Text, format!("  {line}"));
    match object(entry) {
        // the fields say all that there is
        Some(object) if !found.is_empty() && object.values().all(is_plain) => {}
        Some(object) => {
            title(&mut out, "JSON");
            out.extend(pretty(&object).lines().map(shown));
        }
        None => {
            title(&mut out, "Line");
            out.extend(entry.lines().map(shown));
        }
    }
    out
}

fn title(out: &mut Vec<TextLine>, words: &str) {
    out.push(TextLine::default());
    out.push(TextLine::new(Role::Title, words));
}

/// Returns the JSON object that the entry consists of.
fn object(entry: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(entry.trim_start_matches('\u{feff}')).ok()
}

/// Whether the value has no parts. The parts of others show how they belong together.
fn is_plain(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

/// Writes an object with an indent. Escapes in its texts can stand for control characters.
fn pretty(object: &Map<String, Value>) -> String {
    text::clean_lines(&serde_json::to_string_pretty(object).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, url: &str) -> Vec<String> {
        let line = LogLine {
            at: Some(Stamp(0)),
            namespace: "shop".into(),
            pod: "api-1".into(),
            text: text.into(),
            ..LogLine::default()
        };
        fields(&line, text, None, None, url, |_| 3600).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn the_fields_of_json_and_logfmt() {
        let json = r#"{"msg":"boom","http":{"status":503},"trace_id":"abc-1","x":"\u009b31m"}"#;
        let all = texts(json, "https://t/{trace_id}?x=1");
        let has = |wanted: &str| assert!(all.iter().any(|line| line == wanted), "{wanted}: {all:#?}");
        has("time       1970-01-01T00:00:00Z, 01:00:00 local");
        has("pod        shop/api-1");
        has("trace      https://t/abc-1?x=1");
        has("  http.status  503");
        has("    \"http\": {");
        assert!(all.iter().all(|line| text::is_safe(line)), "{all:#?}");
        let all = texts("level=warn status=503 msg=\"a b\"", "");
        assert!(
            all.iter().any(|line| line.trim_start().starts_with("msg") && line.ends_with("a b")),
            "{all:#?}"
        );
        assert!(!all.iter().any(|line| line == "JSON" || line.starts_with("trace")), "{all:#?}");
    }

    #[test]
    fn the_message_is_first_and_nothing_is_shown_twice() {
        let parts = |text: &str| -> Vec<String> {
            texts(text, "").into_iter().skip_while(|line| line != "Fields" && line != "Line").collect()
        };
        let flat = r#"{"attempt":2,"level":"error","MSG":"boom"}"#;
        assert_eq!(parts(flat), ["Fields", "  MSG      boom", "  attempt  2", "  level    error"]);
        let nested = parts(r#"{"a":[1],"msg":"boom"}"#);
        assert_eq!(nested.iter().filter(|line| *line == "JSON" || *line == "Line").count(), 1, "{nested:#?}");
        for other in ["up {\"a\": 1}", r#"{"msg":"cut o"#, "no fields", "a=1 b=2", "{}"] {
            let shown = parts(other);
            let whole = if other == "{}" { "JSON" } else { "Line" };
            let at = texts(other, "").iter().position(|line| line == whole);
            assert!(at.is_some() && !(whole == "Line" && shown.contains(&"JSON".to_owned())), "{shown:#?}");
        }
    }

    #[test]
    fn a_trace_needs_an_identifier() {
        assert_eq!(trace_link("u/{trace_id}", "a trace_id=4bf9 b=1").as_deref(), Some("u/4bf9"));
        assert_eq!(trace_link("u/{trace_id}", "trace_id=../../x"), None);
        assert_eq!(trace_link("", "trace_id=4bf9"), None);
        assert_eq!(trace_link("u", "no fields"), None);
    }
}
