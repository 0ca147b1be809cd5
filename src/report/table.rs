//! Prints tables. Columns are as wide as their widest cell, and numbers are aligned right. No cell is wrapped, so
//! that programs can split the lines too.

use unicode_width::UnicodeWidthStr;

/// Rows with a common header. A column whose header starts with `>` is aligned right.
#[derive(Debug)]
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(heads: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { heads: heads.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let some = |cell: String| if cell.is_empty() { "-".to_owned() } else { cell };
        self.rows.push(cells.into_iter().map(some).collect());
    }

    /// Returns the header and the rows, or nothing if there is no row.
    pub fn lines(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let right: Vec<bool> = self.heads.iter().map(|head| head.starts_with('>')).collect();
        let heads = self.heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect();
        let all = || std::iter::once(&heads).chain(&self.rows);
        let mut widths = vec![0; right.len()];
        for row in all() {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).zip(&right).map(|((cell, width), right)| {
                let blank = " ".repeat(width.saturating_sub(cell.width()));
                if *right { format!("{blank}{cell}") } else { format!("{cell}{blank}") }
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
