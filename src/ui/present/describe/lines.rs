//! Writes the lines of a text: headings, fields and tables.

use pilothouse_core::domain::id::ObjectRef;

use super::super::super::app::TextLine;
use super::super::super::cell::Grade;
use super::super::super::theme::Role;
use super::super::super::widget::text;

/// The lines written so far.
pub struct Lines(pub Vec<TextLine>);

impl Lines {
    /// Adds a heading, with an empty line before it.
    pub fn head(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push(TextLine::default());
        }
        self.0.push(TextLine::new(Role::Title, title));
    }

    /// Adds a line with a role.
    pub fn say(&mut self, role: Role, text: impl Into<String>) {
        self.0.push(TextLine::new(role, text));
    }

    /// Adds a row of a table. A row that is too long is cut and never wrapped.
    pub fn row(&mut self, role: Role, text: impl Into<String>) {
        self.0.push(TextLine { whole: true, ..TextLine::new(role, text) });
    }

    /// Adds a line about an object that can be opened.
    pub fn about(&mut self, role: Role, text: impl Into<String>, object: ObjectRef) {
        self.0.push(TextLine { object: Some(object), ..TextLine::new(role, text) });
    }

    /// Adds the state with its glyph. A healthy state has no glyph and no gap for it.
    pub fn state(&mut self, grade: Grade, words: &str) {
        let line = format!("{} {words}", grade.glyph());
        self.say(grade.role(), format!("  {:<14} {}", "state", line.trim_start()));
    }

    /// Adds a line such as `label      URL`, which leads there.
    pub fn link(&mut self, label: &str, url: &str) {
        let line = TextLine::new(Role::Text, format!("  {label:<14} {url}"));
        self.0.push(TextLine { link: Some(url.to_owned()), ..line });
    }

    /// Adds a line such as `label      value`.
    pub fn field(&mut self, label: &str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            self.say(Role::Text, format!("  {label:<14} {}", value.as_ref()));
        }
    }
}

/// A row of a table in a text.
pub struct TableRow {
    pub grade: Grade,
    pub cells: Vec<String>,
    /// The object that opens from the row.
    pub object: Option<ObjectRef>,
}

/// The maximum width of a text in a table. Wider texts are cut.
const WIDEST: usize = 44;

impl Lines {
    /// Adds a table. Each column is as wide as its widest text. A header that begins with a blank marks a column of
    /// numbers, which is aligned right. Empty columns are omitted.
    pub fn table(&mut self, heads: &[&str], rows: &[TableRow]) {
        if rows.is_empty() {
            return;
        }
        let cell = |row: &TableRow, i: usize| row.cells.get(i).map_or(0, |c| text::width(c));
        let widths: Vec<usize> = heads
            .iter()
            .enumerate()
            .map(|(i, head)| match rows.iter().map(|row| cell(row, i)).max() {
                None | Some(0) => 0,
                Some(widest) => widest.min(WIDEST).max(text::width(head.trim())),
            })
            .collect();
        let line = |glyph: &str, cells: &mut dyn Iterator<Item = &str>| {
            let mut line = glyph.to_owned();
            for ((cell, head), width) in cells.zip(heads).zip(&widths).filter(|(_, width)| **width > 0) {
                let cell = text::tail(cell, *width);
                let pad = " ".repeat(width - text::width(&cell));
                line.push(' ');
                line += if head.starts_with(' ') { &pad } else { &cell };
                line += if head.starts_with(' ') { &cell } else { &pad };
            }
            line.trim_end().to_owned()
        };
        self.row(Role::Head, line(" ", &mut heads.iter().map(|h| h.trim())));
        for row in rows {
            let text = line(row.grade.glyph(), &mut row.cells.iter().map(String::as_str));
            let role = row.grade.role();
            self.0.push(TextLine { whole: true, object: row.object.clone(), ..TextLine::new(role, text) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_what_stands_in_it() {
        let row = |grade, cells: [&str; 4]| TableRow {
            grade,
            cells: cells.map(str::to_owned).to_vec(),
            object: None,
        };
        let mut out = Lines(Vec::new());
        out.table(
            &["POD", " AGE", "NOTHING", "NODE"],
            &[row(Grade::Fine, ["a", "3m", "", "n"]), row(Grade::Critical, ["longer", "12m", "", "n2"])],
        );
        let lines: Vec<&str> = out.0.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(lines, ["  POD    AGE NODE", "  a       3m n", "✖ longer 12m n2"]);
        assert!(out.0.iter().all(|l| l.whole));
        out.table(&["POD"], &[]);
        assert_eq!(out.0.len(), 3, "nothing is no table");
    }
}
