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
        Self::parse_nanos(text).map(|(at, _)| at)
    }

    /// The same, and the nanoseconds of the second.
    pub fn parse_nanos(text: &str) -> Option<(Self, u32)> {
        // kubelets put a time in front of every line, and chrono's parser is for any form
        utc(text).or_else(|| {
            let time = DateTime::parse_from_rfc3339(text).ok()?;
            Some((Self(time.timestamp_millis()), time.timestamp_subsec_nanos()))
        })
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

/// Reads `2026-01-01T00:00:00.123456789Z`. None for any other form, also for a leap second.
fn utc(text: &str) -> Option<(Stamp, u32)> {
    const DAYS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (head, fraction) = text.strip_suffix('Z')?.as_bytes().split_at_checked(19)?;
    let number = |from: usize, length: usize| {
        head.get(from..from + length)?
            .iter()
            .try_fold(0, |number, b| b.is_ascii_digit().then(|| 10 * number + u32::from(b - b'0')))
    };
    let has = |at: usize, sign: u8| head.get(at) == Some(&sign);
    if !(has(4, b'-') && has(7, b'-') && has(10, b'T') && has(13, b':') && has(16, b':')) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let leaps = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = DAYS.get(month.checked_sub(1)? as usize)? + u32::from(leaps && month == 2);
    if !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let number = digits
                .iter()
                .try_fold(0, |number, b| b.is_ascii_digit().then(|| 10 * number + u32::from(b - b'0')))?;
            number * 10u32.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    // years begin in March, so that a leap day is the last one
    let (year, month) =
        if month > 2 { (i64::from(year), month - 3) } else { (i64::from(year) - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap_days + i64::from((153 * month + 2) / 5 + day - 1) - 719_468;
    let secs = 86_400 * days + i64::from(3600 * hour + 60 * minute + second);
    Some((Stamp(1000 * secs + i64::from(nanos / 1_000_000)), nanos))
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

/// The time until something happens, rounded up, in steps of 15 s below a minute: `in 45s`, `in 3m`, `now`.
pub fn until(millis: u64) -> String {
    let secs = millis.div_ceil(1000);
    match secs.div_ceil(15) * 15 {
        0 => "now".into(),
        steps @ 1..=59 => format!("in {steps}s"),
        60..=3_600 => format!("in {}m", secs.div_ceil(60)),
        _ => format!("in {}h", secs.div_ceil(3600)),
    }
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_writes_the_form_of_kubernetes() {
        for text in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.250Z"] {
            assert_eq!(Stamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Stamp::parse("2026-01-01T02:00:00+02:00"), Stamp::parse("2026-01-01T00:00:00Z"));
        assert_eq!(Stamp::parse("yesterday"), None);
    }

    proptest! {
        /// What the fast parser reads is what chrono reads, also at the borders of months.
        #[test]
        fn a_time_in_utc_is_read_as_chrono_reads_it(
            year in 0u32..10_000, month in 0u32..14, day in 0u32..33,
            (hour, minute, second) in (0u32..26, 0u32..62, 0u32..62), fraction in "(\\.[0-9]{0,10})?",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z");
            let chrono = DateTime::parse_from_rfc3339(&text).ok();
            let wanted = chrono.map(|time| (Stamp(time.timestamp_millis()), time.timestamp_subsec_nanos()));
            prop_assert_eq!(Stamp::parse_nanos(&text), wanted, "{}", text);
            if let Some(read) = utc(&text) {
                prop_assert_eq!(Some(read), wanted, "{}", text);
            }
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "[0-9TZ:.+-]{0,32}|.{0,32}") {
            let wanted = DateTime::parse_from_rfc3339(&text).ok().map(|time| Stamp(time.timestamp_millis()));
            prop_assert_eq!(Stamp::parse(&text), wanted);
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_the_day_of_chrono() {
        let first = chrono::NaiveDate::from_ymd_opt(1900, 1, 1).unwrap();
        for day in first.iter_days().take(146_097) {
            let (at, _) = utc(&format!("{day}T00:00:00Z")).unwrap();
            assert_eq!(at.to_chrono().unwrap().date_naive(), day);
        }
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
    fn a_wait_is_rounded_up() {
        for (millis, shown) in [
            (0, "now"),
            (1, "in 15s"),
            (15_001, "in 30s"),
            (45_000, "in 45s"),
            (46_000, "in 1m"),
            (61_000, "in 2m"),
            (1_799_000, "in 30m"),
            (7_300_000, "in 3h"),
        ] {
            assert_eq!(until(millis), shown);
        }
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
