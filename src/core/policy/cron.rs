//! Schedules of CronJobs. They are parsed like the standard parser of robfig/cron does: five fields or an `@` word.
//! The next due time is calculated without a table of time zones.

use chrono::{DateTime, Datelike, Days, NaiveDate, Timelike, Utc};

use crate::domain::time::Stamp;

/// A schedule: its minutes, hours, days and months, with one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// True if neither the day of the month nor the day of the week is `*`. A date then has to match only one of
    /// them.
    either_day: bool,
}

/// The search limit. It is longer than the longest gap of any recurring schedule (29 February, over a century).
const FARTHEST_DAYS: u64 = 366 * 9;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Parses a schedule. Returns `None` if the text is not a schedule. Also returns `None` for `@every`, which has
    /// no fixed times.
    pub fn parse(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { return None };
        let free = |field: &str| field.starts_with(['*', '?']);
        Some(Self {
            minutes: bits(minute, 0, 59, &[])?,
            hours: bits(hour, 0, 23, &[])?,
            days: bits(day, 1, 31, &[])?,
            months: bits(month, 1, 12, &MONTHS)?,
            weekdays: {
                let days = bits(weekday, 0, 7, &WEEKDAYS)?;
                // 7 means Sunday too.
                if days & 1 << 7 == 0 { days } else { days | 1 }
            },
            either_day: !free(day) && !free(weekday),
        })
    }

    fn has_day(&self, date: NaiveDate) -> bool {
        let of_month = self.days & 1 << date.day() != 0;
        let of_week = self.weekdays & 1 << date.weekday().num_days_from_sunday() != 0;
        let fits = if self.either_day { of_month || of_week } else { of_month && of_week };
        fits && self.months & 1 << date.month() != 0
    }

    /// Returns the first scheduled time after `after`, in UTC.
    pub fn next(&self, after: Stamp) -> Option<Stamp> {
        let after = after.to_chrono()?;
        let minute = after.hour() * 60 + after.minute();
        let mut date = after.date_naive();
        for day in 0..FARTHEST_DAYS {
            if self.has_day(date) {
                let first = if day == 0 { minute + 1 } else { 0 };
                let due = self.minutes_of_a_day().find(|m| *m >= first);
                if let Some(due) = due {
                    let at: DateTime<Utc> = date.and_hms_opt(due / 60, due % 60, 0)?.and_utc();
                    return Some(Stamp(at.timestamp_millis()));
                }
            }
            date = date.checked_add_days(Days::new(1))?;
        }
        None
    }

    fn minutes_of_a_day(&self) -> impl Iterator<Item = u32> + '_ {
        (0..24 * 60).filter(|m| self.hours & 1 << (m / 60) != 0 && self.minutes & 1 << (m % 60) != 0)
    }

    /// Returns the longest gap between two scheduled times of the next year, in seconds. If no Job is created for
    /// longer than this, a scheduled time was missed in any time zone.
    pub fn longest_gap(&self, after: Stamp) -> Option<u64> {
        const YEAR: u64 = 366;
        let (first, last) = (self.minutes_of_a_day().next()?, self.minutes_of_a_day().last()?);
        let within = self.minutes_of_a_day().zip(self.minutes_of_a_day().skip(1)).map(|(a, b)| b - a).max();
        let start = after.to_chrono()?.date_naive();
        let (mut before, mut longest) = (None, None);
        for day in 0..FARTHEST_DAYS {
            if self.has_day(start.checked_add_days(Days::new(day))?) {
                if let Some(before) = before {
                    let gap = (day - before) * 24 * 60 + u64::from(first) - u64::from(last);
                    longest = longest.max(Some(gap));
                }
                before = Some(day);
            }
            if day > YEAR && longest.is_some() {
                break;
            }
        }
        Some(longest?.max(u64::from(within.unwrap_or(0))) * 60)
    }

    /// Returns true if the schedule has the same minutes in every hour of every day. A time zone of whole hours makes
    /// no difference to it.
    pub fn is_hourly(&self) -> bool {
        self.hours == range(0, 23, 1)
            && self.months == range(1, 12, 1)
            && self.days == range(1, 31, 1)
            && self.weekdays & range(0, 6, 1) == range(0, 6, 1)
    }
}

fn range(from: u32, to: u32, step: u32) -> u64 {
    (from..=to).step_by(step.max(1) as usize).fold(0, |bits, n| bits | 1 << n)
}

fn bits(field: &str, least: u32, most: u32, names: &[&str]) -> Option<u64> {
    let number = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let n = match named {
            Some(at) => u32::try_from(at).ok()? + least,
            None => text.parse().ok()?,
        };
        (least..=most).contains(&n).then_some(n)
    };
    let mut all = 0;
    for part in field.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, Some(step.parse::<u32>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match span.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            // 7 is another name for Sunday, which is 0.
            None if matches!(span, "*" | "?") => (least, if names.len() == 7 { 6 } else { most }),
            None => (number(span)?, if step.is_some() { most } else { number(span)? }),
        };
        if from > to {
            return None;
        }
        all |= range(from, to, step.unwrap_or(1));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Stamp {
        Stamp::parse(text).unwrap()
    }

    #[test]
    fn the_next_time() {
        // 2026-01-01 is a Thursday
        for (schedule, after, want) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:14:59Z", "2026-01-01T00:15:00Z"),
            ("0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"),
            ("30 2 * * mon-FRI", "2026-01-02T02:30:00Z", "2026-01-05T02:30:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 1 * mon", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
            ("5/20 0-6/3 ? jan,JUN *", "2026-01-01T03:45:00Z", "2026-01-01T06:05:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            let next = Schedule::parse(schedule).unwrap().next(at(after));
            assert_eq!(next, Some(at(want)), "{schedule}");
        }
    }

    #[test]
    fn what_is_no_schedule() {
        for text in [
            "",
            "* * * *",
            "61 * * * *",
            "a * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "@every 5m",
            "0 0 30 13 *",
        ] {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
        assert_eq!(Schedule::parse("0 0 31 2 *").unwrap().next(at("2026-01-01T00:00:00Z")), None, "never");
    }

    #[test]
    fn the_longest_gap() {
        for (schedule, secs) in [
            ("* * * * *", 60),
            ("0 1-5 * * *", 20 * 3600),
            ("0 3 * * 1-5", 3 * 86_400),
            ("* 9-17 * * 1-5", 2 * 86_400 + 15 * 3600 + 60),
            ("0,30 * * * *", 1800),
            ("@monthly", 31 * 86_400),
        ] {
            let gap = Schedule::parse(schedule).unwrap().longest_gap(at("2026-01-01T00:00:00Z"));
            assert_eq!(gap, Some(secs), "{schedule}");
        }
        assert!(Schedule::parse("*/7 * * * *").unwrap().is_hourly());
        assert!(!Schedule::parse("0 3 * * *").unwrap().is_hourly());
    }
}
