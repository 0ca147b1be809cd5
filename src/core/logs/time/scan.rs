//! Reads a time in one of the forms that loggers write, at the start of a text.

/// A time as it is written. What is not written is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub year: Option<i32>,
    /// Month and day, from 1.
    pub day: Option<(u32, u32)>,
    /// Milliseconds since midnight.
    pub millis: u32,
    /// The zone, in minutes east of UTC.
    pub offset_min: Option<i32>,
}

/// The time at the start of the text, and its length.
pub(super) fn time(text: &str) -> Option<(Scan, usize)> {
    let mut at = Cursor { rest: text, begin: text.len() };
    let scan = if text.starts_with(|c: char| c.is_ascii_digit()) {
        at.attempt(Cursor::year_first)
            .or_else(|| at.attempt(Cursor::day_and_name))
            .or_else(|| at.attempt(Cursor::short_year))
            .or_else(|| at.attempt(Cursor::kitchen))
            .or_else(|| at.attempt(|at| at.clock(Scan::default())))?
    } else {
        at.attempt(Cursor::klog).or_else(|| at.attempt(Cursor::name_and_day))?
    };
    // `12:00:00abc` and `1.2.3:45` are no times
    let ends = !at.rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '%');
    ends.then_some((scan, at.begin - at.rest.len()))
}

/// The length of a number with at least ten digits before its point at the start of the text, which can be an epoch.
pub(super) fn number(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let whole = text.get(..end)?.split('.').next()?;
    let ends = text.get(end..)?.starts_with([' ', '\t', ']', ')', ',', ':', '|']);
    (ends && matches!(whole.len(), 10 | 13 | 16 | 19)).then_some(end)
}

pub(super) fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 14] = [
        "Mon",
        "Tue",
        "Wed",
        "Thu",
        "Fri",
        "Sat",
        "Sun",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    DAYS.iter().any(|day| word.eq_ignore_ascii_case(day))
}

fn month(name: &str) -> Option<u32> {
    const NAMES: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    NAMES.iter().position(|month| name.eq_ignore_ascii_case(month)).and_then(|n| u32::try_from(n + 1).ok())
}

#[derive(Clone, Copy)]
struct Cursor<'a> {
    rest: &'a str,
    /// The length of the whole text.
    begin: usize,
}

impl Cursor<'_> {
    /// Reads on if the form matches, and stays here if not.
    fn attempt(&mut self, read: impl FnOnce(&mut Self) -> Option<Scan>) -> Option<Scan> {
        let mut at = *self;
        let scan = read(&mut at)?;
        *self = at;
        Some(scan)
    }

    fn sign(&mut self, signs: &[char]) -> Option<char> {
        let found = self.rest.chars().next().filter(|c| signs.contains(c))?;
        self.rest = self.rest.get(found.len_utf8()..)?;
        Some(found)
    }

    /// A number of `least` to `most` digits that no further digit follows.
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        self.take(length).filter(|_| (least..=most).contains(&length))
    }

    /// The next `length` digits. Times have no number of more than nine.
    fn take(&mut self, length: usize) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(length).filter(|_| (1..=9).contains(&length))?;
        let number = digits
            .bytes()
            .try_fold(0, |number, b| b.is_ascii_digit().then(|| 10 * number + u32::from(b - b'0')))?;
        self.rest = rest;
        Some(number)
    }

    fn month(&mut self) -> Option<u32> {
        let (name, rest) = self.rest.split_at_checked(3)?;
        self.rest = rest;
        month(name)
    }

    fn year(&mut self) -> Option<i32> {
        i32::try_from(self.number(4, 4)?).ok().filter(|year| (1970..=2200).contains(year))
    }

    fn spaces(&mut self) -> Option<()> {
        let rest = self.rest.trim_start_matches(' ');
        let any = rest.len() < self.rest.len();
        self.rest = rest;
        any.then_some(())
    }

    /// `15:04:05`, with fraction, AM or PM and zone if there are any.
    fn clock(&mut self, scan: Scan) -> Option<Scan> {
        let hour = self.number(1, 2)?;
        self.sign(&[':'])?;
        let minute = self.number(2, 2)?;
        self.sign(&[':'])?;
        let second = self.number(2, 2)?;
        let mut scan = scan.at(hour, minute, second)?;
        self.fraction(&mut scan);
        self.half(&mut scan, hour);
        self.zone(&mut scan);
        Some(scan)
    }

    fn fraction(&mut self, scan: &mut Scan) {
        let mut at = *self;
        if at.sign(&['.', ',']).is_none() {
            return;
        }
        let digits = at.rest.bytes().take_while(u8::is_ascii_digit);
        let (mut length, mut millis) = (0usize, 0u32);
        for digit in digits {
            if length < 3 {
                millis = millis * 10 + u32::from(digit - b'0');
            }
            length += 1;
        }
        if length == 0 {
            return;
        }
        scan.millis += millis * [1000, 100, 10, 1].get(length.min(3)).copied().unwrap_or(1);
        at.rest = at.rest.get(length..).unwrap_or_default();
        *self = at;
    }

    /// AM or PM.
    fn half(&mut self, scan: &mut Scan, hour: u32) {
        let rest = self.rest.trim_start_matches([' ', '\u{202f}']);
        let Some((word, after)) = rest.split_at_checked(2) else { return };
        let is_pm = word.eq_ignore_ascii_case("pm");
        if !(is_pm || word.eq_ignore_ascii_case("am")) || after.starts_with(|c: char| c.is_alphanumeric()) {
            return;
        }
        match (is_pm, hour) {
            (true, 1..=11) => scan.millis += 12 * 3_600_000,
            (false, 12) => scan.millis = scan.millis.saturating_sub(12 * 3_600_000),
            _ => {}
        }
        self.rest = after;
    }

    /// `Z`, `+02:00`, `-0700`, ` +0000`, ` UTC`.
    fn zone(&mut self, scan: &mut Scan) {
        let mut at = *self;
        if at.sign(&['Z', 'z']).is_some() {
            (scan.offset_min, *self) = (Some(0), at);
            return;
        }
        let spaced = at.sign(&[' ']).is_some();
        for name in ["UTC", "GMT"] {
            let rest = at.rest.strip_prefix(name).filter(|_| spaced);
            if let Some(rest) = rest.filter(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric())) {
                (scan.offset_min, self.rest) = (Some(0), rest);
                return;
            }
        }
        let Some(sign) = at.sign(&['+', '-']) else { return };
        let Some(hours) = at.take(2) else { return };
        let colon = at.sign(&[':']).is_some();
        let minutes = match at.take(2) {
            Some(minutes) => minutes,
            None if !colon && !spaced => 0,
            None => return,
        };
        if hours <= 14 && minutes < 60 && !at.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let east = i32::try_from(hours * 60 + minutes).unwrap_or(0);
            scan.offset_min = Some(if sign == '-' { -east } else { east });
            *self = at;
        }
    }

    /// `I0102 15:04:05.123456` of klog and `I20260102 15:04:05.123456` of glog.
    fn klog(&mut self) -> Option<Scan> {
        self.sign(&['I', 'W', 'E', 'F', 'D', 'C'])?;
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let year = match length {
            4 => None,
            8 => Some(i32::try_from(self.take(4)?).ok()?),
            _ => return None,
        };
        let (month, day) = (self.take(2)?, self.take(2)?);
        self.spaces()?;
        self.clock(Scan { year, ..Scan::default() }.on(month, day)?)
    }

    /// `2026-01-02T15:04:05Z`, `2026-01-02 15:04:05,123`, `2026/01/02 15:04:05`, `2026.01.02 …`, and a date alone is none.
    fn year_first(&mut self) -> Option<Scan> {
        let year = self.year()?;
        let between = self.sign(&['-', '/', '.'])?;
        let month = self.number(1, 2)?;
        self.sign(&[between])?;
        let day = self.number(1, 2)?;
        self.separator()?;
        self.clock(Scan { year: Some(year), ..Scan::default() }.on(month, day)?)
    }

    /// What stands between a date and a time.
    fn separator(&mut self) -> Option<()> {
        if self.sign(&['T', 't', '_', ':', '-']).is_some() {
            return Some(());
        }
        self.sign(&[',']);
        self.spaces()
    }

    /// `02/Jan/2026:15:04:05 +0000`, `02-Jan-2026 15:04:05.123`, `02 Jan 2026 15:04:05.123`.
    fn day_and_name(&mut self) -> Option<Scan> {
        let day = self.number(1, 2)?;
        let between = self.sign(&['/', '-', ' '])?;
        let month = self.month()?;
        self.sign(&[between])?;
        let year = self.year()?;
        self.separator()?;
        self.clock(Scan { year: Some(year), ..Scan::default() }.on(month, day)?)
    }

    /// `Jan  2 15:04:05`, `Jan 02 15:04:05.123456 2026`, `Jan 02, 2026 3:04:05 PM`.
    fn name_and_day(&mut self) -> Option<Scan> {
        let month = self.month()?;
        self.spaces()?;
        let day = self.number(1, 2)?;
        let mut ahead = *self;
        ahead.sign(&[',']);
        let year = ahead.spaces().and_then(|()| ahead.year());
        if year.is_some() {
            *self = ahead;
        }
        self.sign(&[',']);
        self.spaces()?;
        let mut scan = self.clock(Scan { year, ..Scan::default() }.on(month, day)?)?;
        let mut behind = *self;
        if year.is_none()
            && let Some(year) = behind.spaces().and_then(|()| behind.year())
            && behind.rest.chars().next().is_none_or(|c| matches!(c, ']' | ' '))
        {
            (scan.year, *self) = (Some(year), behind);
        }
        Some(scan)
    }

    /// `26/01/02 15:04:05` of Spark and `260102 150405` of Hadoop's and MySQL's older logs.
    fn short_year(&mut self) -> Option<Scan> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let year = |short: u32| i32::try_from(2000 + short).ok();
        if length == 2 {
            let short = self.take(2)?;
            let between = self.sign(&['/', '-'])?;
            let month = self.number(2, 2)?;
            self.sign(&[between])?;
            let day = self.number(2, 2)?;
            self.separator()?;
            return self.clock(Scan { year: year(short), ..Scan::default() }.on(month, day)?);
        }
        if length != 6 {
            return None;
        }
        let (short, month, day) = (self.take(2)?, self.take(2)?, self.take(2)?);
        self.spaces()?;
        let scan = Scan { year: year(short), ..Scan::default() }.on(month, day)?;
        if self.rest.bytes().take_while(u8::is_ascii_digit).count() == 6 {
            let (hour, minute, second) = (self.take(2)?, self.take(2)?, self.take(2)?);
            return scan.at(hour, minute, second);
        }
        self.clock(scan)
    }

    /// `3:04PM` of zerolog's console.
    fn kitchen(&mut self) -> Option<Scan> {
        let hour = self.number(1, 2)?;
        self.sign(&[':'])?;
        let minute = self.number(2, 2)?;
        let mut scan = Scan::default().at(hour, minute, 0)?;
        let before = self.rest.len();
        self.half(&mut scan, hour);
        (self.rest.len() < before).then_some(scan)
    }
}

impl Scan {
    fn on(self, month: u32, day: u32) -> Option<Self> {
        let exists = (1..=12).contains(&month) && (1..=31).contains(&day);
        exists.then_some(Self { day: Some((month, day)), ..self })
    }

    /// A second 60 is a leap second.
    fn at(self, hour: u32, minute: u32, second: u32) -> Option<Self> {
        let exists = hour < 24 && minute < 60 && second <= 60;
        exists.then_some(Self { millis: ((hour * 60 + minute) * 60 + second) * 1000, ..self })
    }
}
