//! Escapes text from a store, so that it can neither control the terminal nor change the direction in
//! which it shows text.

use std::{borrow::Cow, fmt::Write};

/// Escapes a text for display.
pub(crate) fn escape_controls(text: &str) -> Cow<'_, str> {
    escape(text, |c, out| {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    })
}

/// Escapes JSON for display. The result parses to the same value.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    // These characters occur only in strings, and each is a single UTF-16 unit.
    escape(json, |c, out| {
        let _ = write!(out, "\\u{:04x}", u32::from(c));
    })
}

fn escape(text: &str, mut write: impl FnMut(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_control(c) {
            write(c, &mut shown);
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, line separators, and the controls of the bidirectional algorithm (UAX #9).
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[31mb\u{9b}2Jc\u{202e}d\r\n\u{7f}\0\u{2028}";

    #[test]
    fn terminal_control_characters_are_escaped() {
        assert_eq!(
            escape_controls(HOSTILE),
            r"a\u{1b}[31mb\u{9b}2Jc\u{202e}d\u{d}\u{a}\u{7f}\u{0}\u{2028}"
        );
    }

    #[test]
    fn ordinary_text_is_unchanged() {
        for text in ["", "Zoë's \"CI\" 🚀", "שלום", "a\\b"] {
            assert!(matches!(escape_controls(text), Cow::Borrowed(shown) if shown == text));
        }
    }

    #[test]
    fn escaped_json_parses_to_the_same_value() {
        let json = serde_json::to_string(HOSTILE).unwrap();
        let shown = escape_json(&json);
        assert!(!shown.contains(is_control), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), HOSTILE);
    }
}
