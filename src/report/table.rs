//! Prints tables: columns as wide as their widest cell, numbers right-aligned. No cell is wrapped, so that programs can
//! split the lines too.

use unicode_width::UnicodeWidthStr;

/// Rows under a common head. A column whose head starts with `>` is right-aligned.
#[derive(Debug)]
pub struct Table<const N: usize> {
    heads: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub fn new(heads: [&'static str; N]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }

    /// The head and the rows; empty if there is no row.
    pub fn lines(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let right = self.heads.map(|head| head.starts_with('>'));
        let heads = self.heads.map(|head| head.trim_start_matches('>').to_owned());
        let all = || std::iter::once(&heads).chain(&self.rows);
        let mut widths = [0; N];
        for row in all() {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let line = |row: &[String; N]| {
            let cells = row.iter().zip(widths).zip(right).map(|((cell, width), right)| {
                let blank = " ".repeat(width.saturating_sub(cell.width()));
                if right { format!("{blank}{cell}") } else { format!("{cell}{blank}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        all().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["NAME", ">RPS", "WHY"]);
        assert!(table.lines().is_empty());
        table.row(["shop/cart".into(), "7.5".into(), "at max".into()]);
        table.row(["a".into(), "120.0".into(), String::new()]);
        assert_eq!(
            table.lines(),
            ["NAME         RPS  WHY", "shop/cart    7.5  at max", "a          120.0  -"]
        );
    }
}
