//! Cells, rows and lists as view models: words with their roles, nothing drawn yet; and how numbers are written in them.

use std::net::IpAddr;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::time::{Stamp, age};

use super::list::ListId;
use super::theme::Role;
use super::widget::columns::Column;

/// One cell of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub role: Role,
}

/// A cell of a role.
pub fn cell(role: Role, text: impl Into<String>) -> Cell {
    Cell { text: text.into(), role }
}

/// A cell of ordinary text.
pub fn plain(text: impl Into<String>) -> Cell {
    cell(Role::Text, text)
}

/// How bad a row is, for its glyph, its colour and its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    #[default]
    Fine,
    /// Out of the ordinary, and meant so.
    Info,
    Warning,
    Critical,
}

impl Grade {
    /// Legible without colour.
    pub fn glyph(self) -> &'static str {
        match self {
            Self::Fine => " ",
            Self::Info => "~",
            Self::Warning => "!",
            Self::Critical => "✖",
        }
    }

    /// Its colour.
    pub fn role(self) -> Role {
        match self {
            Self::Fine => Role::Text,
            Self::Info => Role::Info,
            Self::Warning => Role::Warning,
            Self::Critical => Role::Critical,
        }
    }
}

/// One row of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowView {
    pub grade: Grade,
    pub cells: Vec<Cell>,
    pub marked: bool,
    /// The start of a cell's text in a role of its own: the cluster of the row. `None`: the row is of the one in front.
    pub lead: Option<(usize, Cell)>,
    /// What there is to say besides, each for lines of its own below the row, where those are free; the first says most.
    pub below: Vec<Cell>,
}

/// A list as it stands on the screen: the visible rows only.
#[derive(Clone, Debug, Default)]
pub struct ListView {
    /// Which list it is; None: none that keys act on.
    pub id: Option<ListId>,
    /// The key that focuses it.
    pub key: Option<String>,
    pub title: String,
    /// Counts, coverage, staleness, filter: after the title.
    pub notes: Vec<Cell>,
    /// The lines above the heads, as wide as the list.
    pub preface: Vec<Cell>,
    pub columns: Vec<Column>,
    /// Heads that only the server knows; else the columns' own.
    pub heads: Vec<String>,
    /// The column that the rows are ordered by, and the mark in its head.
    pub ordered: Option<(usize, &'static str)>,
    pub rows: Vec<RowView>,
    /// The selected one among the visible rows.
    pub selected: Option<usize>,
    pub focused: bool,
    pub footer: Vec<Cell>,
    /// What to say where there are no rows.
    pub empty: Vec<Cell>,
    /// Of all rows: how many lie above, and how many there are.
    pub above: usize,
    pub total: usize,
    /// Whole texts are worth more than many rows.
    pub whole: bool,
}

impl ListView {
    /// How many rows are not shown below the last one that is.
    pub fn hidden(&self) -> usize {
        self.total.saturating_sub(self.above + self.rows.len())
    }
}

/// `1 bad 9 degraded of 24`, `24 ok`: what rows are, of all of them. A row that is out of the ordinary runs with less than
/// it should have.
pub fn counts(grades: impl Iterator<Item = Grade>) -> Vec<Cell> {
    let (mut all, mut bad, mut degraded) = (0u64, 0u64, 0u64);
    for grade in grades {
        all += 1;
        bad += u64::from(grade >= Grade::Warning);
        degraded += u64::from(grade == Grade::Info);
    }
    let grouped = super::widget::text::grouped;
    let mut counts = Vec::new();
    if bad > 0 {
        counts.push(cell(Role::Critical, format!("{} bad", grouped(bad))));
    }
    if degraded > 0 {
        counts.push(cell(Role::Info, format!("{} degraded", grouped(degraded))));
    }
    match (all, bad + degraded) {
        (0, _) => {}
        (all, 0) => counts.push(cell(Role::Ok, format!("{} ok", grouped(all)))),
        (all, _) => counts.push(plain(format!("of {}", grouped(all)))),
    }
    counts
}

/// The rounded age of a moment; `–` where it is not known.
pub fn ago(now: Stamp, since: Option<Stamp>) -> String {
    since.map_or_else(|| "–".into(), |since| age(now.since(since)))
}

/// `3m ago`, `just now`.
pub fn past(now: Stamp, at: Stamp) -> String {
    match age(now.since(at)).as_str() {
        "now" => "just now".into(),
        age => format!("{age} ago"),
    }
}

/// `71`, `–` where it is not known. `part` of `whole` in percent.
pub fn percent(part: Option<i64>, whole: i64) -> String {
    match part {
        Some(part) if whole > 0 => (i128::from(part) * 100 / i128::from(whole)).to_string(),
        _ => "–".into(),
    }
}

/// A rate in at most four characters: `0.4`, `83`, `1.2k`.
pub fn rate(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(v) if !v.is_finite() => "–".into(),
        Some(v) if v >= 1_000_000.0 => format!("{:.1}M", v / 1_000_000.0),
        Some(v) if v >= 10_000.0 => format!("{:.0}k", v / 1000.0),
        Some(v) if v >= 1000.0 => format!("{:.1}k", v / 1000.0),
        Some(v) if v >= 10.0 => format!("{v:.0}"),
        Some(0.0) => "0".into(),
        Some(v) => format!("{v:.1}"),
    }
}

/// `810ms`, `2.4s`.
pub fn millis(value: Option<f64>) -> String {
    match value {
        Some(v) if v.is_finite() && v >= 10_000.0 => format!("{:.0}s", v / 1000.0),
        Some(v) if v.is_finite() && v >= 1000.0 => format!("{:.1}s", v / 1000.0),
        Some(v) if v.is_finite() => format!("{v:.0}ms"),
        _ => "–".into(),
    }
}

/// A ratio in percent with one digit: `4.1`.
pub fn ratio(value: Option<f64>) -> String {
    match value {
        Some(v) if v.is_finite() => {
            let percent = v * 100.0;
            if percent >= 99.95 {
                "100".into()
            } else if percent == 0.0 {
                "0".into()
            } else if percent < 0.05 {
                "<0.1".into()
            } else {
                format!("{percent:.1}")
            }
        }
        _ => "–".into(),
    }
}

/// `2.1Gi`, `512Mi`.
pub fn bytes(value: i64) -> String {
    let mib = value as f64 / (1024.0 * 1024.0);
    if mib >= 10_240.0 {
        format!("{:.0}Gi", mib / 1024.0)
    } else if mib >= 1024.0 {
        format!("{:.1}Gi", mib / 1024.0)
    } else {
        format!("{mib:.0}Mi")
    }
}

/// An address by its numbers, for the order: 10.0.0.9 stands before 10.0.0.10.
pub fn address(text: Option<&Name>) -> Option<Result<IpAddr, Name>> {
    text.map(|text| text.parse().map_err(|_| text.clone()))
}

/// `250m`, `3.5`, `64` cores.
pub fn cores(milli: i64) -> String {
    if milli >= 10_000 || (milli >= 1000 && milli % 1000 == 0) {
        (milli / 1000).to_string()
    } else if milli >= 1000 {
        format!("{:.1}", milli as f64 / 1000.0)
    } else {
        format!("{milli}m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!(rate(Some(842.3)), "842");
        assert_eq!(rate(Some(1234.0)), "1.2k");
        assert_eq!(rate(None), "–");
        assert_eq!(rate(Some(f64::NAN)), "–");
        assert_eq!(millis(Some(810.2)), "810ms");
        assert_eq!(ratio(Some(0.041)), "4.1");
        assert_eq!(ratio(Some(0.0002)), "<0.1", "a little is not none");
        assert_eq!(percent(Some(1), 0), "–");
        assert_eq!(cores(2500), "2.5");
        assert_eq!(bytes(3 << 30), "3.0Gi");
    }
}
