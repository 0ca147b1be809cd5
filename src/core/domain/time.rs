//! Time in the shared state: UTC in milliseconds. It is passed in; core never reads a clock.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A time in UTC, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(pub i64);

impl Stamp {
    /// Parses RFC 3339 in Kubernetes' form (`2026-01-01T00:00:00Z`, with or without fractions).
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|t| Self(t.timestamp_millis()))
    }

    pub fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` to `self`, never negative, because another machine's clock can be ahead.
    pub fn since(self, earlier: Stamp) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    pub fn secs_since(self, earlier: Stamp) -> u64 {
        self.since(earlier) / 1000
    }

    pub fn plus_secs(self, secs: i64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(1000)))
    }

    pub fn to_chrono(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.0)
    }

    /// `03:12` (UTC).
    pub fn clock(self) -> String {
        self.to_chrono().map_or_else(|| "--:--".into(), |t| t.format("%H:%M").to_string())
    }

    /// Returns the time as text, such as `03:12:45 UTC`. The date comes first if it is not the date of `now`.
    pub fn told(self, now: Stamp) -> String {
        self.shown(now).to_string()
    }

    /// Returns the time in the form of [`Self::told`] as a value that is formatted later.
    pub fn shown(self, now: Stamp) -> ShownTime {
        let day = |at: Stamp| at.to_chrono().map(|t| t.date_naive());
        let other_day = matches!((day(self), day(now)), (Some(day), Some(today)) if day != today);
        ShownTime { at: self, other_day }
    }

    /// `03:12:45` (UTC).
    pub fn clock_secs(self) -> String {
        self.to_chrono().map_or_else(|| "--:--:--".into(), |t| t.format("%H:%M:%S").to_string())
    }
}

/// A time that is displayed in the form of [`Stamp::told`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownTime {
    pub at: Stamp,
    /// Whether the date is displayed too, because the time is on another day than `now`.
    pub other_day: bool,
}

impl fmt::Display for ShownTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at.to_chrono().filter(|_| self.other_day) {
            write!(f, "{} ", at.date_naive())?;
        }
        write!(f, "{} UTC", self.at.clock_secs())
    }
}

impl fmt::Display for Stamp {
    /// RFC 3339 in UTC, in seconds, or in milliseconds if there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = if self.0 % 1000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
        match self.to_chrono() {
            Some(t) => f.write_str(&t.to_rfc3339_opts(format, true)),
            None => f.write_str("unknown"),
        }
    }
}

impl Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("not an RFC 3339 time: {text}")))
    }
}

/// A rounded age: `45s`, `3m`, `2h`, `4d`. Below a minute it advances in steps of 5 s, so that young rows are not
/// redrawn every second.
pub fn age(millis: u64) -> String {
    in_steps(millis, 5)
}

/// The age of a running pod or container, to the second, as in kubectl.
pub fn age_of_running(millis: u64) -> String {
    in_steps(millis, 1)
}

/// The age of a state that lasts, in steps of 15 s, so that a screen without changes is seldom redrawn.
pub fn age_of_state(millis: u64) -> String {
    in_steps(millis, 15)
}

fn in_steps(millis: u64, step: u64) -> String {
    let secs = millis / 1000;
    match secs {
        0..=59 if secs < step => "now".into(),
        0..=59 => format!("{}s", secs / step * step),
        60..=7_199 => format!("{}m", secs / 60),
        7_200..=172_799 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// The difference of another clock to ours: `2h ahead`, `1.5s behind`.
pub fn skew(ms: i64) -> String {
    let of = ms.unsigned_abs();
    let size = match of {
        0..=9_999 => format!("{}.{}s", of / 1000, of % 1000 / 100),
        10_000..=119_999 => format!("{}s", of / 1000),
        120_000..=7_199_999 => format!("{}m", of / 60_000),
        7_200_000..=172_799_999 => format!("{}h", of / 3_600_000),
        _ => format!("{}d", of / 86_400_000),
    };
    format!("{size} {}", if ms < 0 { "behind" } else { "ahead" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_form_of_kubernetes() {
        for text in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.250Z"] {
            assert_eq!(Stamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Stamp::parse("2026-01-01T02:00:00+02:00"), Stamp::parse("2026-01-01T00:00:00Z"));
        assert_eq!(Stamp::parse("yesterday"), None);
    }

    #[test]
    fn ages_are_rounded() {
        for (secs, shown) in
            [(3, "now"), (7, "5s"), (59, "55s"), (61, "1m"), (3_599, "59m"), (7_200, "2h"), (200_000, "2d")]
        {
            assert_eq!(age(secs * 1000), shown);
        }
        let all = |secs: u64| [age_of_running, age, age_of_state].map(|age| age(secs * 1000));
        assert_eq!(all(0), ["now"; 3]);
        assert_eq!(all(13), ["13s", "10s", "now"]);
        assert_eq!(all(47), ["47s", "45s", "45s"]);
        assert_eq!(all(60), ["1m"; 3]);
    }

    #[test]
    fn a_moment_is_told_with_its_day_where_that_is_another_one() {
        let at = |text: &str| Stamp::parse(text).unwrap();
        let then = at("2026-01-01T23:59:58.250Z");
        assert_eq!(then.told(at("2026-01-01T23:59:59Z")), "23:59:58 UTC");
        assert_eq!(then.told(at("2026-01-02T00:00:01Z")), "2026-01-01 23:59:58 UTC");
    }

    #[test]
    fn a_skew_says_how_far_and_which_way() {
        for (ms, said) in [
            (1_540, "1.5s ahead"),
            (-90_000, "90s behind"),
            (-3_600_000, "60m behind"),
            (7_205_000, "2h ahead"),
            (400_000_000, "4d ahead"),
        ] {
            assert_eq!(skew(ms), said);
        }
    }

    #[test]
    fn a_clock_that_runs_ahead_gives_age_zero() {
        assert_eq!(Stamp(1).since(Stamp(5_000)), 0);
    }
}
