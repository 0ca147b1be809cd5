//! The log formats of applications: JSON, logfmt, klog, nginx, Java, plain.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use crate::traffic::Pod;
use crate::traffic::draw::Dice;
use crate::world::Format;

/// The level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Info,
    Warn,
    Error,
}

impl Level {
    fn lower(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    fn upper(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// The content of an entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub level: Level,
    pub message: String,
    /// One frame per line.
    pub trace: Option<String>,
    /// Path, status code, milliseconds.
    pub request: Option<(String, u16, u64)>,
    pub id: String,
    /// The callee that did not answer correctly.
    pub upstream: Option<String>,
}

/// The lines of one entry; there are several only with a stack trace.
pub(super) fn lines(pod: &Pod, at: DateTime<Utc>, entry: &Entry, dice: &mut Dice) -> Vec<String> {
    match pod.behaviour.log {
        Format::Json => vec![in_json(pod, at, entry)],
        Format::Logfmt => vec![logfmt(at, entry)],
        Format::Klog => with_trace(klog(at, entry, dice), entry, "\t"),
        Format::Nginx => vec![nginx(at, entry, dice)],
        Format::Java => with_trace(java(pod, at, entry, dice), entry, "\tat "),
        Format::Plain => with_trace(plain(at, entry), entry, "    "),
    }
}

fn with_trace(line: String, entry: &Entry, lead: &str) -> Vec<String> {
    let mut out = vec![line];
    for frame in entry.trace.iter().flat_map(|trace| trace.lines()).filter(|frame| !frame.trim().is_empty()) {
        let frame = frame.trim();
        // Causes and exceptions start at the left margin, frames do not.
        let bare = frame.starts_with("Caused by:") || frame.starts_with("at ") || !lead.starts_with("\tat");
        match (bare, frame.strip_prefix("at ")) {
            (_, Some(rest)) => out.push(format!("\tat {rest}")),
            (true, None) if frame.starts_with("Caused by:") => out.push(frame.to_owned()),
            _ => out.push(format!("{lead}{frame}")),
        }
    }
    out
}

fn in_json(pod: &Pod, at: DateTime<Utc>, entry: &Entry) -> String {
    let mut value = json!({"ts": at.to_rfc3339_opts(SecondsFormat::Millis, true), "level": entry.level.lower(),
        "msg": entry.message, "service": &*pod.app});
    if let Some(map) = value.as_object_mut() {
        if let Some((path, code, ms)) = &entry.request {
            map.insert("path".to_owned(), path.as_str().into());
            map.insert("status".to_owned(), (*code).into());
            map.insert("duration_ms".to_owned(), (*ms).into());
            map.insert("trace_id".to_owned(), entry.id.as_str().into());
        }
        if let Some(trace) = &entry.trace {
            map.insert("stack".to_owned(), trace.as_str().into());
        }
    }
    value.to_string()
}

fn logfmt(at: DateTime<Utc>, entry: &Entry) -> String {
    let stamp = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut out = format!("time={stamp} level={} msg={:?}", entry.level.lower(), entry.message);
    if let Some((path, code, ms)) = &entry.request {
        out.push_str(&format!(" path={path} status={code} duration={ms}ms trace_id={}", entry.id));
    }
    out
}

fn klog(at: DateTime<Utc>, entry: &Entry, dice: &mut Dice) -> String {
    let letter = match entry.level {
        Level::Info => 'I',
        Level::Warn => 'W',
        Level::Error => 'E',
    };
    let stamp = at.format("%m%d %H:%M:%S%.6f");
    let line = dice.0.choice([87, 142, 143, 210, 388]).unwrap_or(87);
    let mut out = format!("{letter}{stamp}       1 server.go:{line}] {:?}", entry.message);
    if let Some((path, code, ms)) = &entry.request {
        out.push_str(&format!(" path={path:?} code={code} duration=\"{ms}ms\""));
    }
    out
}

/// Requests go to the access log, other entries to the error log; both end up in one stream.
fn nginx(at: DateTime<Utc>, entry: &Entry, dice: &mut Dice) -> String {
    let client = format!("10.244.{}.{}", dice.0.u8(0..12), dice.0.u8(2..250));
    match (&entry.request, entry.level) {
        (Some((path, code, ms)), Level::Info) => {
            let (stamp, bytes) = (at.format("%d/%b/%Y:%H:%M:%S +0000"), dice.0.u32(180..9000));
            let seconds = *ms as f64 / 1000.0;
            format!(
                r#"{client} - - [{stamp}] "GET {path} HTTP/1.1" {code} {bytes} "-" "Mozilla/5.0" {seconds:.3}"#
            )
        }
        (request, level) => {
            let level = match level {
                Level::Info => "notice",
                Level::Warn => "warn",
                Level::Error => "error",
            };
            let (stamp, id) = (at.format("%Y/%m/%d %H:%M:%S"), dice.0.u32(100..99_999));
            let mut out = format!("{stamp} [{level}] 29#29: *{id} {}", entry.message);
            if let Some((path, ..)) = request {
                out.push_str(&format!(", client: {client}, server: _, request: \"GET {path} HTTP/1.1\""));
            }
            if let Some(host) = &entry.upstream {
                out.push_str(&format!(", upstream: \"http://{host}:80/\""));
            }
            out
        }
    }
}

fn java(pod: &Pod, at: DateTime<Utc>, entry: &Entry, dice: &mut Dice) -> String {
    let class: String = {
        let mut letters = pod.app.chars().filter(char::is_ascii_alphanumeric);
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
    };
    let stamp = at.format("%Y-%m-%d %H:%M:%S,%3f");
    let (level, thread) = (entry.level.upper(), dice.0.u8(1..17));
    // as with a mapped diagnostic context: the trace id precedes the logger, and nothing follows the message
    let trace = entry.request.as_ref().map_or_else(String::new, |_| format!(" [trace={}]", entry.id));
    format!(
        "{stamp} {level:<5} [http-nio-8080-exec-{thread}]{trace} c.e.{class}Controller - {}",
        entry.message
    )
}

fn plain(at: DateTime<Utc>, entry: &Entry) -> String {
    let (stamp, level) = (at.format("%Y-%m-%d %H:%M:%S%.3f"), entry.level.upper());
    match &entry.request {
        Some((path, code, ms)) => {
            format!("{stamp} {level} {} GET {path} -> {code} in {ms} ms", entry.message)
        }
        None => format!("{stamp} {level} {}", entry.message),
    }
}
