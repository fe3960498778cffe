//! Text from a store on a terminal: what would steer the terminal, or the order in which it shows
//! characters, is shown as an escape instead.

use std::{borrow::Cow, fmt::Write};

/// The text, fit to be shown.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escape(text, |c, out| {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    })
}

/// JSON that means the same, fit to be shown.
pub(crate) fn visible_json(json: &str) -> Cow<'_, str> {
    // Such characters stand in strings alone, and each is one UTF-16 unit.
    escape(json, |c, out| {
        let _ = write!(out, "\\u{:04x}", u32::from(c));
    })
}

fn escape(text: &str, mut write: impl FnMut(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            write(c, &mut shown);
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, line separators, and the controls of the bidirectional algorithm (UAX #9).
fn steers(c: char) -> bool {
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
    fn what_steers_a_terminal_is_shown_as_an_escape() {
        assert_eq!(
            visible(HOSTILE),
            r"a\u{1b}[31mb\u{9b}2Jc\u{202e}d\u{d}\u{a}\u{7f}\u{0}\u{2028}"
        );
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in ["", "Zoë's \"CI\" 🚀", "שלום", "a\\b"] {
            assert!(matches!(visible(text), Cow::Borrowed(shown) if shown == text));
        }
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let json = serde_json::to_string(HOSTILE).unwrap();
        let shown = visible_json(&json);
        assert!(!shown.contains(steers), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), HOSTILE);
    }
}
