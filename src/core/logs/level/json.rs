//! The level of a JSON line, from the keys that loggers use for it. An incomplete line is read as far as possible.

use super::super::json::{Value, members};
use super::{by_name, by_number};
use crate::domain::log::Level;

/// Maximum depth of the objects that a level is searched for in.
const MOST_LEVELS: usize = 3;

/// The level that the object names. Of a truncated line, the existing part is used.
pub(super) fn level(object: &str) -> Option<Level> {
    within(object, 0)
}

fn within(object: &str, depth: usize) -> Option<Level> {
    members(object).find_map(|(key, value)| match (reads(&key, depth)?, value) {
        (Reads::Within, Value::Object(object)) if depth < MOST_LEVELS => within(object, depth + 1),
        // loguru's level is an object with a name
        (Reads::Level, Value::Object(object)) => members(object)
            .find_map(|(key, value)| (key == "name").then(|| text(&value.text(), Reads::Level))?),
        (how, Value::Text(_) | Value::Cut(_)) => text(&value.text(), how),
        (how, Value::Bare(raw)) => raw.parse().ok().and_then(|n| number(n, how)),
        _ => None,
    })
}

/// Matches `level`, `log.level`, `LogLevel`, `level_name`, `severityText` and similar keys, in any case.
pub(super) fn names_level(key: &str) -> bool {
    const NAMES: [&str; 10] = [
        "level",
        "lvl",
        "loglevel",
        "levelname",
        "levelno",
        "severity",
        "severitytext",
        "logseverity",
        "loglvl",
        "priority",
    ];
    // most keys have other lengths
    if !(3..=14).contains(&key.len()) {
        return false;
    }
    // and begin with other letters
    if !key.starts_with(['l', 's', 'p', 'L', 'S', 'P', '_', '.', '-', '@', ' ']) {
        return false;
    }
    let letters = || key.bytes().filter(|b| !matches!(b, b'_' | b'.' | b'-' | b'@' | b' '));
    NAMES.iter().any(|name| letters().map(|b| b.to_ascii_lowercase()).eq(name.bytes()))
}

/// How to read a key's value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Level,
    /// MongoDB's `s`: `E`, `W`, `D1`.
    Letter,
    /// Python's `levelno`: 10 to 50.
    Python,
    /// OpenTelemetry's `SeverityNumber`: 1 to 24.
    Telemetry,
    /// An object that has the level in it.
    Within,
}

fn reads(key: &str, depth: usize) -> Option<Reads> {
    Some(match key {
        "@l" | "L" => Reads::Level,
        "s" => Reads::Letter,
        "levelno" => Reads::Python,
        "log" | "record" if depth == 0 => Reads::Within,
        _ if key.eq_ignore_ascii_case("severitynumber") || key == "severity_number" => Reads::Telemetry,
        _ if names_level(key) => Reads::Level,
        _ => return None,
    })
}

fn text(text: &str, how: Reads) -> Option<Level> {
    let text = text.trim();
    if how == Reads::Letter {
        return match text {
            "F" => Some(Level::Fatal),
            "E" => Some(Level::Error),
            "W" => Some(Level::Warn),
            "I" => Some(Level::Info),
            "D" | "D1" | "D2" | "D3" | "D4" | "D5" => Some(Level::Debug),
            _ => None,
        };
    }
    // slog writes `INFO+2`, OpenTelemetry `SEVERITY_NUMBER_ERROR` and `ERROR2`
    let word = text.strip_prefix("SEVERITY_NUMBER_").unwrap_or(text);
    let word =
        word.split(['+', '-']).next().unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit());
    by_name(word).or_else(|| text.parse().ok().and_then(|n| number(n, how)))
}

fn number(n: i64, how: Reads) -> Option<Level> {
    match how {
        Reads::Letter | Reads::Within => None,
        Reads::Level => by_number(n),
        Reads::Python => Some(match n {
            ..10 => return None,
            10..20 => Level::Debug,
            20..30 => Level::Info,
            30..40 => Level::Warn,
            40..50 => Level::Error,
            50.. => Level::Fatal,
        }),
        Reads::Telemetry => Some(match n {
            1..=4 => Level::Trace,
            5..=8 => Level::Debug,
            9..=12 => Level::Info,
            13..=16 => Level::Warn,
            17..=20 => Level::Error,
            21..=24 => Level::Fatal,
            _ => return None,
        }),
    }
}
