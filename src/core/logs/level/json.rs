//! The level of a JSON line, from the keys that loggers use for it. An incomplete line is read as far as possible.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{by_name, by_number};
use crate::domain::log::Level;

/// The level that the line names. Of a truncated line, the existing part is used.
pub(super) fn level(line: &str) -> Option<Level> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_str(line);
    // malformed JSON: the part before the error counts
    let _whole = Object { found: &mut found, deep: true }.deserialize(&mut reader);
    found
}

/// Matches `level`, `log.level`, `LogLevel`, `level_name`, `severityText` and similar keys, in any case.
pub(super) fn names_level(key: &str) -> bool {
    const NAMES: [&str; 9] = [
        "level",
        "lvl",
        "loglevel",
        "levelname",
        "levelno",
        "severity",
        "severitytext",
        "logseverity",
        "loglvl",
    ];
    let letters = || key.bytes().filter(|b| !matches!(b, b'_' | b'.' | b'-' | b'@' | b' '));
    NAMES.iter().any(|name| letters().map(|b| b.to_ascii_lowercase()).eq(name.bytes()))
}

/// How to read a key's value.
#[derive(Clone, Copy)]
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

fn reads(key: &str, deep: bool) -> Option<Reads> {
    Some(match key {
        "@l" => Reads::Level,
        "s" => Reads::Letter,
        "levelno" => Reads::Python,
        "log" if deep => Reads::Within,
        _ if key.eq_ignore_ascii_case("severitynumber") || key == "severity_number" => Reads::Telemetry,
        _ if names_level(key) => Reads::Level,
        _ => return None,
    })
}

struct Object<'f> {
    found: &'f mut Option<Level>,
    deep: bool,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON log line")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            match reads(&key, self.deep).filter(|_| self.found.is_none()) {
                Some(Reads::Within) => map.next_value_seed(Object { found: self.found, deep: false })?,
                Some(how) => *self.found = map.next_value_seed(LevelValue(how))?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

struct LevelValue(Reads);

impl LevelValue {
    fn text(&self, text: &str) -> Option<Level> {
        let text = text.trim();
        match self.0 {
            Reads::Letter => match text {
                "F" => Some(Level::Fatal),
                "E" => Some(Level::Error),
                "W" => Some(Level::Warn),
                "I" => Some(Level::Info),
                "D" | "D1" | "D2" | "D3" | "D4" | "D5" => Some(Level::Debug),
                _ => None,
            },
            _ => by_name(text).or_else(|| text.parse().ok().and_then(|n| self.number(n))),
        }
    }

    fn number(&self, n: i64) -> Option<Level> {
        match self.0 {
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
}

impl<'de> DeserializeSeed<'de> for LevelValue {
    type Value = Option<Level>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Level>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LevelValue {
    type Value = Option<Level>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a level")
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<Option<Level>, E> {
        Ok(self.text(v))
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Option<Level>, E> {
        Ok(self.number(v))
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Option<Level>, E> {
        Ok(i64::try_from(v).ok().and_then(|n| self.number(n)))
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Option<Level>, E> {
        Ok(None)
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Option<Level>, E> {
        Ok(None)
    }
    fn visit_unit<E: de::Error>(self) -> Result<Option<Level>, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<Level>, A::Error> {
        let mut found = None;
        Object { found: &mut found, deep: false }.visit_map(map)?;
        Ok(found)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Level>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
