//! Foreign text made safe to show: on one line, nothing invisible, and short.

/// A name from the data as text on one line: control and invisible formatting characters are spelled
/// out (a line break as `\n`), and at most `limit` characters are kept.
///
/// Direction marks count as invisible: they can make a name read as another one.
pub(crate) fn visible(text: &str, limit: usize) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, c) in text.chars().enumerate() {
        if index == limit {
            shown.push('…');
            break;
        }
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Format characters (Unicode category Cf) and line separators that change how other text reads.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_one_line_and_short() {
        assert_eq!(visible("a\r\nBcc: x\u{202e}\u{0}", 99), "a\\r\\nBcc: x\\u{202e}\\u{0}");
        assert_eq!(visible("größe", 3), "grö…");
    }
}
