//! Text from outside, made fit for one line of a log or a terminal.

/// Of a text from outside, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// Escapes control characters and those that turn the direction of writing (UAX 9), and cuts what is too long.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(TEXT_CHARS_MAX));
    let mut chars = text.chars();
    for c in chars.by_ref().take(TEXT_CHARS_MAX) {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(shown(text), want);
    }

    #[test]
    fn plain() {
        check("wartung, später", "wartung, später");
    }

    #[test]
    fn escaped() {
        check("a\u{1b}[2J\r\nb\u{202e}c", "a\\u{1b}[2J\\r\\nb\\u{202e}c");
    }

    #[test]
    fn cut() {
        check(&"é".repeat(TEXT_CHARS_MAX), &"é".repeat(TEXT_CHARS_MAX));
        check(&"é".repeat(TEXT_CHARS_MAX + 1), &format!("{}…", "é".repeat(TEXT_CHARS_MAX)));
    }
}
