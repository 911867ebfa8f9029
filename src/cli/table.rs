//! Columns of text for a terminal. What comes from a server is shown with control characters escaped: a user may be called
//! anything, also something that clears the screen.

use std::fmt;

/// Rows of cells, printed with each column as wide as its widest cell.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    titled: bool,
}

impl Table {
    /// A table under these titles; none at all leave it without a head.
    pub(super) fn new<const N: usize>(titles: [&str; N]) -> Self {
        let titled = N > 0;
        Self { rows: if titled { vec![titles.map(str::to_owned).to_vec()] } else { Vec::new() }, titled }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// Whether it has no row under its head.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == usize::from(self.titled)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let line: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// The text with what a terminal would obey made visible.
pub(super) fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        if c.is_control() {
            plain.extend(c.escape_default())
        } else {
            plain.push(c)
        }
        plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["ID", "USER"]);
        assert!(table.is_empty());
        table.row(["0-1".to_owned(), "ä".to_owned()]);
        table.row(["12-345".to_owned(), "bob".to_owned()]);
        assert_eq!(table.to_string(), "ID      USER\n0-1     ä\n12-345  bob");
    }

    #[test]
    fn what_a_terminal_would_obey_is_made_visible() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    }
}
