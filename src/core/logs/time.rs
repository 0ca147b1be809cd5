//! The time that a log line itself carries, for logs without a time of their own: files and standard input.

use std::borrow::Cow;
use std::ops::Range;

use chrono::{Datelike, NaiveDate};

use self::scan::Scan;
use super::json::{self, Value};
use super::level;
use crate::domain::time::Stamp;

mod scan;

/// How far into a line a time is searched for.
const WINDOW: usize = 120;
const DAY_MS: i64 = 86_400_000;

/// A time in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub at: Stamp,
    /// The bytes of the line that name the time.
    pub range: Range<usize>,
}

/// The time that the line names: in a JSON or logfmt field, or in front of the message in one of the common forms. A
/// time within the message is not the line's time. Without a zone it is UTC; without a year or a day it is the one
/// that is nearest to `near`.
pub fn find(line: &str, near: Stamp) -> Option<Found> {
    let line = line.split('\n').next().unwrap_or_default();
    let start = line.len() - line.trim_start_matches(['\u{feff}', ' ', '\t']).len();
    if line.get(start..).is_some_and(|text| text.starts_with('{')) {
        return of_json(line, line.get(start..)?, near);
    }
    of_logfmt(line, near).or_else(|| of_head(line, start, near))
}

/// Keys of times, the most common first; compared without case.
const KEYS: [&str; 11] = [
    "ts",
    "time",
    "timestamp",
    "@timestamp",
    "t",
    "@t",
    "asctime",
    "datetime",
    "date",
    "eventtime",
    "timemillis",
];

fn is_time_key(key: &str) -> bool {
    KEYS.iter().any(|name| key.eq_ignore_ascii_case(name))
}

/// The range of a part of the line.
fn range_of(line: &str, part: &str) -> Option<Range<usize>> {
    let from = (part.as_ptr() as usize).checked_sub(line.as_ptr() as usize)?;
    (from + part.len() <= line.len()).then_some(from..from + part.len())
}

fn of_json(line: &str, object: &str, near: Stamp) -> Option<Found> {
    json::members(object).filter(|(key, _)| is_time_key(key)).find_map(|(_, value)| {
        let value = match value {
            // MongoDB: {"t":{"$date":"…"}}
            Value::Object(raw) => json::members(raw).find(|(key, _)| key == "$date")?.1,
            value => value,
        };
        let at = match value {
            Value::Bare(raw) => epoch(raw),
            Value::Text(raw) => whole(raw, near),
            Value::Cut(_) | Value::Object(_) | Value::Array(_) => None,
        };
        Some(Found { at: at?, range: range_of(line, value.raw())? })
    })
}

/// `ts=…` or `time="…"` among the first pairs of a line.
fn of_logfmt(line: &str, near: Stamp) -> Option<Found> {
    super::fields::pairs(line).take(4).find_map(|(key, value)| {
        let Cow::Borrowed(raw) = value else { return None };
        let at = is_time_key(key).then(|| whole(raw, near)).flatten()?;
        Some(Found { at, range: range_of(line, raw)? })
    })
}

/// A text that is nothing but a time.
fn whole(text: &str, near: Stamp) -> Option<Stamp> {
    match scan::time(text) {
        Some((time, length)) if text.get(length..).is_some_and(|rest| rest.trim().is_empty()) => {
            placed(&time, near)
        }
        _ => epoch(text),
    }
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970, by the size of the number.
fn epoch(text: &str) -> Option<Stamp> {
    let number = || text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exact = digits(whole) && digits(fraction) && !whole.is_empty() && whole.len() < 20;
    let n: i64 = if exact { whole.parse().ok()? } else { number()? as i64 };
    // 1973 to 5138 in each unit
    let ms = match n {
        100_000_000..100_000_000_000 => {
            let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
            let part = if exact { fraction.parse::<i64>().ok()? } else { (number()? * 1e3) as i64 % 1000 };
            n * 1000 + part
        }
        100_000_000_000..100_000_000_000_000 => n,
        100_000_000_000_000..100_000_000_000_000_000 => n / 1_000,
        100_000_000_000_000_000.. => n / 1_000_000,
        _ => return None,
    };
    Some(Stamp(ms))
}

/// The time in front of the message.
fn of_head(line: &str, start: usize, near: Stamp) -> Option<Found> {
    let priority = line.get(start..)?.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    let mut at = match priority {
        // syslog's `<131>`
        Some((number, _)) if number.len() <= 3 => start + number.len() + 2,
        _ => start,
    };
    let (mut words, mut sentence) = (0, false);
    while at < WINDOW.min(line.len()) {
        let rest = line.get(at..)?;
        let inner = rest.trim_start_matches(['[', '(', '<', '"', '\'', '|']);
        let begin = at + rest.len() - inner.len();
        // the day of the week does not matter
        let dated =
            inner.split_once([' ', ',']).filter(|(day, _)| scan::is_weekday(day)).map(|(_, after)| {
                let after = after.trim_start();
                (after, begin + inner.len() - after.len())
            });
        let (inner, begin) = dated.unwrap_or((inner, begin));
        if let Some((time, length)) = scan::time(inner)
            // `took 00:00:12` is a duration
            && (time.day.is_some() || !sentence)
            && let Some(stamp) = placed(&time, near)
        {
            return Some(Found { at: stamp, range: begin..begin + length });
        }
        if let Some(length) = scan::number(inner).filter(|_| words == 0)
            && let Some(stamp) = inner.get(..length).and_then(epoch)
        {
            return Some(Found { at: stamp, range: begin..begin + length });
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let token = rest.get(..end)?;
        if !belongs_to_head(token)? {
            sentence = true;
            // the first word can be a host or a program
            words += usize::from(at > start);
        }
        if words > 1 {
            return None;
        }
        let after = rest.get(end..)?;
        at += end + after.len() - after.trim_start().len();
    }
    None
}

/// Whether a word belongs to what loggers write in front of a time: a level, an address, a process, a name in brackets.
/// None if it says that the next time is part of a sentence.
fn belongs_to_head(token: &str) -> Option<bool> {
    const SPEAKS: [&str; 16] = [
        "at", "until", "since", "after", "before", "on", "from", "to", "is", "was", "expires", "by", "for",
        "in", "expired", "till",
    ];
    if SPEAKS.iter().any(|word| token.eq_ignore_ascii_case(word)) {
        return None;
    }
    let bare = token.trim_matches(|c: char| !c.is_alphanumeric());
    let sign = bare.is_empty() || token.starts_with(['[', '(', '<', '|']) || token.ends_with([']', ':', '|']);
    Some(sign || bare.contains(|c: char| c.is_ascii_digit()) || level::by_name(bare).is_some())
}

/// A time of the line as a moment.
fn placed(time: &Scan, near: Stamp) -> Option<Stamp> {
    let clock = i64::from(time.millis) - i64::from(time.offset_min.unwrap_or(0)) * 60_000;
    let of = |date: NaiveDate| {
        let days = i64::from(date.num_days_from_ce()) - 719_163;
        days * DAY_MS + clock
    };
    let nearest = |days: [Option<NaiveDate>; 3]| {
        days.into_iter().flatten().map(of).min_by_key(|at| at.abs_diff(near.0)).map(Stamp)
    };
    let today = near.to_chrono()?.date_naive();
    match (time.year, time.day) {
        (Some(year), Some((month, day))) => NaiveDate::from_ymd_opt(year, month, day).map(of).map(Stamp),
        (None, Some((month, day))) => {
            let year = today.year();
            nearest([year - 1, year, year + 1].map(|year| NaiveDate::from_ymd_opt(year, month, day)))
        }
        (_, None) => nearest([today.pred_opt(), Some(today), today.succ_opt()]),
    }
}

#[cfg(test)]
mod tests;
