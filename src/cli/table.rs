//! Rows of text in columns, for a terminal.
//!
//! Pure. No colours, no lines: what a person reads and `awk` does too.

/// Between two columns.
const GAP: usize = 2;

/// The rows below their heads, each column as wide as its widest cell. An empty cell becomes `-`, so that
/// every row has as many words as columns.
pub fn render<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let width = |text: &str| text.chars().count().max(1);
    let mut widths = heads.map(width);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            line.push_str(cell);
            let rest = width - cell.chars().count() + GAP;
            line.extend(std::iter::repeat_n(' ', rest));
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(heads);
    for row in rows {
        let cells = row.each_ref().map(String::as_str);
        text.push_str(&line(cells.map(|cell| if cell.is_empty() { "-" } else { cell })));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_nothing_trails() {
        let rows = [
            ["orders/shardId-1".to_owned(), String::new(), "7".to_owned()],
            ["ö".to_owned(), "worker".to_owned(), String::new()],
        ];
        assert_eq!(
            render(["LEASE", "OWNER", "COUNTER"], &rows),
            "LEASE             OWNER   COUNTER\n\
             orders/shardId-1  -       7\n\
             ö                 worker  -\n"
        );
        assert_eq!(render(["A", "B"], &[]), "A  B\n");
    }
}
