//! The printer columns: what `kubectl get` shows for each resource. The cells are in `columns/`.

mod objects;
mod pods;
mod tables;
mod workloads;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::clock;

pub use tables::*;

/// One column of a printed table.
pub struct Column {
    pub name: &'static str,
    pub kind: &'static str,
    /// 1 for columns that only `-o wide` shows.
    pub priority: u8,
    pub cell: fn(&Value, DateTime<Utc>) -> Value,
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The text at a pointer, empty if there is none.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The text at a pointer, `<none>` if there is none.
fn or_none(value: &Value, pointer: &str) -> Value {
    let text = text(value, pointer);
    json!(if text.is_empty() { "<none>" } else { text })
}

fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The fields of the elements of a list, joined by commas; `<none>` for an empty one.
fn joined(value: &Value, pointer: &str, field: &str) -> Value {
    let all: Vec<&str> = list(value, pointer).iter().filter_map(|one| one.get(field)?.as_str()).collect();
    json!(if all.is_empty() { "<none>".to_owned() } else { all.join(",") })
}

/// A duration in the server's form: `45s`, `3m20s`, `5h12m`, `2d3h`, `80d`, `2y10d`.
fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    if seconds < -1 {
        "<invalid>".to_owned()
    } else if seconds < 120 {
        format!("{}s", seconds.max(0))
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 192 {
        two(days, "d", hours % 24, "h")
    } else if days < 365 * 2 {
        format!("{days}d")
    } else if days < 365 * 8 {
        two(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

/// How long ago the time at a pointer was.
fn since(value: &Value, pointer: &str, now: DateTime<Utc>) -> Value {
    json!(
        clock::parse(text(value, pointer))
            .map_or("<unknown>".to_owned(), |at| human((now - at).num_seconds()))
    )
}

fn name(value: &Value, _: DateTime<Utc>) -> Value {
    json!(text(value, "/metadata/name"))
}

fn age(value: &Value, now: DateTime<Utc>) -> Value {
    since(value, "/metadata/creationTimestamp", now)
}

fn created(value: &Value, _: DateTime<Utc>) -> Value {
    json!(text(value, "/metadata/creationTimestamp"))
}

/// A label selector or a map as text.
fn selector(value: &Value, pointer: &str) -> Value {
    let selector = value.pointer(pointer).unwrap_or(&Value::Null);
    let labels = crate::selector::Labels::of(selector);
    let text = labels.to_string();
    json!(if text.is_empty() { "<none>".to_owned() } else { text })
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn durations_read_as_the_server_writes_them() {
        for (seconds, want) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (581, "9m41s"),
            (600, "10m"),
            (5160, "86m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (30_000, "8h"),
            (180_000, "2d2h"),
            (700_000, "8d"),
            (70_000_000, "2y80d"),
        ] {
            assert_eq!(human(seconds), want);
        }
    }
}
