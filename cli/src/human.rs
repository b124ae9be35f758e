//! Numbers, names and tables as people read them.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

/// `171,075`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    debug_assert_eq!(text.replace(',', ""), digits, "a number is cut into groups and stays that number");
    text
}

/// `1 seed`, `2 seeds`.
pub(crate) fn some(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `1 entry`, `2 entries`.
pub(crate) fn many(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// `1.2 MB`.
pub(crate) fn bytes(number: u64) -> String {
    let value = number as f64;
    match number {
        0..10_000 => format!("{} B", count(number)),
        10_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.2} GB", value / 1e9),
    }
}

/// `0.41 ms`, `3.2 s`, `5 min`, `2 h`, `3 d`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        ..1.0 => format!("{:.2} ms", seconds * 1e3),
        ..60.0 => format!("{seconds:.1} s"),
        ..3_600.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => format!("{:.0} d", seconds / 86_400.0),
    }
}

/// A word for a shell: in quotes where a shell would take it apart.
pub(crate) fn word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '+' | ',' | '=' | '%');
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
}

/// A path for a shell: see [`word`].
pub(crate) fn path(path: &Path) -> String {
    word(&path.to_string_lossy()).into_owned()
}

/// At most `width` characters of a line; a cut shows as `…`.
pub(crate) fn clip(text: &str, width: usize) -> Cow<'_, str> {
    match text.char_indices().nth(width) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let kept: String = text.chars().take(width.saturating_sub(1)).collect();
            let clipped = format!("{}…", kept.trim_end());
            debug_assert!(clipped.chars().count() <= width.max(1), "what is cut fits its width");
            Cow::Owned(clipped)
        }
    }
}

/// The beginning of a long hexadecimal name.
pub(crate) fn short(hex: &str) -> &str {
    hex.get(..8).unwrap_or(hex)
}

/// Text from elsewhere for a terminal: what would steer it, break the line or turn its direction is written as an
/// escape.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    debug_assert!(!plain.contains(steers), "nothing is left that steers a terminal");
    Cow::Owned(plain)
}

/// A table with columns as wide as they must be. Cells may hold any text: see [`plain`].
pub(crate) fn table(indent: &str, rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<Cow<'_, str>>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = format!("{indent}{}", cells.collect::<Vec<_>>().join("  "));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.pop();
    debug_assert!(text.lines().count() <= rows.len(), "a row is a line");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_them() {
        assert_eq!(count(0), "0");
        assert_eq!(count(171_075), "171,075");
        assert_eq!(count(1_000), "1,000");
        assert_eq!((some(1, "run"), some(1_200, "run")), ("1 run".into(), "1,200 runs".into()));
        assert_eq!(bytes(1_500), "1,500 B");
        assert_eq!(bytes(1_250_000), "1.2 MB");
        assert_eq!(duration(Duration::from_micros(410)), "0.41 ms");
        assert_eq!(duration(Duration::from_secs(300)), "5 min");
        assert_eq!(duration(Duration::from_secs(86_400)), "24 h");
        assert_eq!((&*word("a-b"), &*word("a b"), &*word("it's"), &*word("")), ("a-b", "'a b'", r"'it'\''s'", "''"));
        assert_eq!((&*clip("abcdef", 6), &*clip("abcdef", 4), &*clip("ab def", 4)), ("abcdef", "abc…", "ab…"));
        assert_eq!(plain("o-1/\u{e9} 'x' \\"), "o-1/\u{e9} 'x' \\");
        assert_eq!(plain("\u{1b}[2J a\nb \u{202e}c"), r"\u{1b}[2J a\nb \u{202e}c");
        assert_eq!(table("", &[vec!["\u{9b}2J".to_owned()]]), r"\u{9b}2J");
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(table(" ", &rows), " a    b\n ccc  d");
    }
}
