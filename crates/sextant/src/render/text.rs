//! The small tools of rendering: styles that vanish without a terminal, aligned tables, durations.

use serde_json::Value;

/// A way to set text apart. Never the only carrier of a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
    Accent,
}

impl Style {
    /// Wraps text in the style's terminal codes; `anstream` strips them where they do not belong.
    pub fn paint(self, text: impl std::fmt::Display) -> String {
        let code = match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Accent => "36",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// A duration for people.
pub fn seconds(value: f64) -> String {
    if value < 0.001 {
        format!("{:.0} µs", value * 1e6)
    } else if value < 1.0 {
        format!("{:.0} ms", value * 1e3)
    } else if value < 90.0 {
        format!("{value:.1} s")
    } else {
        format!("{:.0} min {:02.0} s", (value / 60.0).floor(), value % 60.0)
    }
}

/// The text of a value: strings without quotes, nothing for null.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(real) if number.is_f64() => format!("{real:.4}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A digest shortened for people; other text as it is.
pub fn short(value: &Value) -> String {
    let text = plain(value);
    match text.strip_prefix("sha256:") {
        Some(hex) if hex.len() > 12 => hex[..12].to_owned(),
        _ => text,
    }
}

/// JSON over several lines.
pub fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// The items of an array field; nothing when it is absent.
pub fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// Columns aligned by their widest cell; the first row is the heading.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(visible(cell));
        }
    }
    let mut text = String::new();
    let heading: Vec<String> = heading.iter().map(|cell| Style::Dim.paint(cell)).collect();
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(visible(cell)) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Letters of a value that a grid shows; `--json` and `--csv` have all.
const CELL_CHARS: usize = 60;

/// The rows of a query: numbers as they are and to the right, what is not there as `null`.
pub fn grid(columns: &[String], rows: &[Vec<&Value>]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let cell = |value: &&Value| match value {
                Value::Null => "null".to_owned(),
                Value::String(text) => cut(text, CELL_CHARS),
                other => cut(&other.to_string(), CELL_CHARS),
            };
            row.iter().map(cell).collect()
        })
        .collect();
    let wide = |at: usize| {
        let cells = cells.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let is_number = |at: usize| {
        let mut values = rows.iter().filter_map(|row| row.get(at)).filter(|value| !value.is_null());
        values.clone().next().is_some() && values.all(|value| value.is_number())
    };
    let padded = |text: &str, at: usize| {
        let width = wide(at).max(columns[at].chars().count());
        if is_number(at) { format!("{text:>width$}") } else { format!("{text:<width$}") }
    };
    let heading: Vec<String> =
        columns.iter().enumerate().map(|(at, name)| Style::Dim.paint(padded(name, at))).collect();
    let mut text = heading.join("  ") + "\n";
    for (row, values) in cells.iter().zip(rows) {
        let shown = row.iter().zip(values).enumerate().map(|(at, (cell, value))| {
            let cell = padded(cell, at);
            if value.is_null() { Style::Dim.paint(cell) } else { cell }
        });
        text.push_str(shown.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// How many columns a cell takes, terminal codes left out.
fn visible(cell: &str) -> usize {
    let mut count = 0;
    let mut inside = false;
    for c in cell.chars() {
        match c {
            '\u{1b}' => inside = true,
            'm' if inside => inside = false,
            _ if inside => {}
            _ => count += 1,
        }
    }
    count
}

/// Cuts text to a width, with an ellipsis.
pub fn cut(text: &str, width: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_by_what_is_visible() {
        let rows = vec![vec![Style::Good.paint("ok"), "x".to_owned()]];
        let text = table(&["state", "name"], &rows);
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with("ok\u{1b}[0m     x\n"), "{text:?}");
    }

    #[test]
    fn a_grid_shows_numbers_to_the_right_and_what_is_missing() {
        let values = [Value::from(2.5), Value::from("a"), Value::from(10), Value::Null];
        let rows = vec![vec![&values[0], &values[1]], vec![&values[2], &values[3]]];
        let text = grid(&["n".to_owned(), "word".to_owned()], &rows);
        assert_eq!(
            text,
            "\u{1b}[2m  n\u{1b}[0m  \u{1b}[2mword\u{1b}[0m\n2.5  a\n 10  \u{1b}[2mnull\u{1b}[0m\n"
        );
    }

    #[test]
    fn durations_have_a_fitting_unit() {
        for (value, text) in
            [(0.000_05, "50 µs"), (0.25, "250 ms"), (12.34, "12.3 s"), (125.0, "2 min 05 s")]
        {
            assert_eq!(seconds(value), text);
        }
    }
}
