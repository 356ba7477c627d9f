//! Columns of a terminal: how wide a text is there, and how it is cut and filled up.

use unicode_width::UnicodeWidthStr;

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text, filled up with blanks to so many columns.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(width(text));
    format!("{text}{:blanks$}", "")
}

/// The text, cut to so many columns with `…` at its end.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    // By prefixes, because several characters can be one.
    let fits = |end: &usize| width(&text[..*end]) < columns;
    let ends = text.char_indices().map(|(at, _)| at);
    let end = ends.take_while(fits).last().unwrap_or(0);
    format!("{}…", &text[..end])
}

/// Rows as a table, each column as wide as its widest cell.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut out = String::new();
    let widest = |n: usize| rows.iter().map(|row| width(&row[n])).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(widest);
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| padded(cell, width));
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal of 7 columns, and names from everywhere: no line wraps, none is cut too early, and no
    /// cell pushes its neighbours out of line.
    #[test]
    fn a_text_is_as_wide_as_on_a_terminal() {
        assert_eq!(cut("waiting", 7), "waiting");
        assert_eq!(cut("waiting for", 7), "waitin…");
        assert_eq!(cut("größere", 7), "größere");
        assert_eq!(cut("ждёт её", 7), "ждёт её");
        assert_eq!(cut("東京東京", 8), "東京東京");
        assert_eq!(cut("東京東京", 7), "東京東…");
        assert_eq!(cut("東京東京", 6), "東京…");
        assert_eq!(cut("abc", 0), "…");
        let rows = [["東京", "x"], ["дeploy", "y"], ["🚀", "z"]].map(|row| row.map(String::from));
        assert_eq!(table(&rows), "東京    x\nдeploy  y\n🚀      z\n");
    }
}
