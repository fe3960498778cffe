//! Names as the pages show them. Different names never look alike.

use unicode_normalization::UnicodeNormalization;

/// How much of an invalid text a message quotes, in characters.
const EXCERPT: usize = 40;

/// Returns a name with hidden characters made visible: invisible characters, bidirectional controls,
/// and letters of another script that look like Latin ones are replaced by their code points.
///
/// That includes joiners and variation selectors, which some scripts and emoji need: whether they
/// change what is shown depends on the reader's fonts.
pub(super) fn visible(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for word in name.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let is_latin = word.contains(|c: char| c.is_ascii_alphabetic());
        for c in word.chars() {
            let spaces = c == ' ' && shown.ends_with(' ');
            if spaces || is_hidden(c) || (is_latin && c.is_alphanumeric() && looks_latin(c)) {
                shown += &format!("[U+{:04X}]", u32::from(c));
            } else {
                shown.push(c);
            }
        }
    }
    shown
}

/// Returns the beginning of an invalid text, as a message quotes it.
pub(super) fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(EXCERPT).collect();
    visible(&start)
}

/// Returns whether typed text matches a name, as stored or as shown. Ignores differences in white
/// space and Unicode normalization, which are invisible and vary between keyboards.
pub(super) fn matches_typed(typed: &str, name: &str) -> bool {
    let typed = folded(typed);
    typed == folded(name) || typed == folded(&visible(name))
}

fn folded(text: &str) -> String {
    let text: String = text.nfkc().collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// Returns whether a character is invisible or can be mistaken for a space: controls, default
/// ignorable characters (DerivedCoreProperties.txt), and blanks other than the ordinary space.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // White space, except the ideographic space, which is as wide as the text around it.
            '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{2028}' | '\u{2029}'
                | '\u{202f}' | '\u{205f}' | '\u{2800}'
            // Default ignorable.
                | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
                | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Returns whether a character belongs to a script with letters that look like ASCII ones. In a word
/// with ASCII letters, such a character is almost always meant to deceive.
fn looks_latin(c: char) -> bool {
    matches!(
        c,
        // Greek, Cyrillic, Armenian, Cherokee, letterlike symbols, full width, mathematical.
        '\u{370}'..='\u{52f}' | '\u{531}'..='\u{58f}' | '\u{13a0}'..='\u{13ff}'
            | '\u{1c80}'..='\u{1c8f}' | '\u{1d26}'..='\u{1d2b}' | '\u{1f00}'..='\u{1fff}'
            | '\u{2100}'..='\u{2138}' | '\u{2160}'..='\u{217f}' | '\u{2de0}'..='\u{2dff}'
            | '\u{a640}'..='\u{a69f}' | '\u{ab70}'..='\u{abbf}' | '\u{ff10}'..='\u{ff5a}'
            | '\u{1d400}'..='\u{1d7ff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_as_code_points() {
        for (name, shown) in [
            ("\u{202e}gnilliB", "[U+202E]gnilliB"),
            ("Bil\u{200b}ling", "Bil[U+200B]ling"),
            ("Bil\u{200c}ling", "Bil[U+200C]ling"),
            ("Bil\u{200d}ling", "Bil[U+200D]ling"),
            ("Billing\u{fe0f}", "Billing[U+FE0F]"),
            ("Billing\u{3164}", "Billing[U+3164]"),
            ("Billing\u{ffa0}", "Billing[U+FFA0]"),
            ("Billing\u{e0041}\u{e007f}", "Billing[U+E0041][U+E007F]"),
            ("Billing\u{e0100}", "Billing[U+E0100]"),
            ("Billing\u{34f}", "Billing[U+034F]"),
            ("\u{2066}Billing\u{2069}", "[U+2066]Billing[U+2069]"),
            ("a\u{a0}b", "a[U+00A0]b"),
            ("a  b", "a [U+0020]b"),
            ("a\u{85}b\u{7f}", "a[U+0085]b[U+007F]"),
            ("\u{2800}", "[U+2800]"),
            ("👩\u{200d}🚀", "👩[U+200D]🚀"),
        ] {
            assert_eq!(visible(name), shown);
        }
        for honest in [
            "Zoë's <CI>",
            "חשבוניות",
            "a b",
            "山田　太郎",
            "🚀",
            "naïve café №",
            "Acme™",
        ] {
            assert_eq!(visible(honest), honest);
        }
    }

    #[test]
    fn lookalike_letters_are_shown_as_code_points() {
        for (name, shown) in [
            ("B\u{456}lling", "B[U+0456]lling"),
            ("sc\u{43e}pe", "sc[U+043E]pe"),
            ("\u{391}pp", "[U+0391]pp"),
            ("Bi\u{ff4c}ling", "Bi[U+FF4C]ling"),
            ("Bi\u{1d425}ling", "Bi[U+1D425]ling"),
        ] {
            assert_eq!(visible(name), shown);
        }
        for honest in ["Биллинг", "Биллинг API", "Αθήνα (prod)", "Armenian: Հայ"]
        {
            assert_eq!(visible(honest), honest);
        }
    }

    #[test]
    fn typed_names_match_as_stored_and_as_shown() {
        for (typed, name) in [
            ("nightly export", "nightly  export"),
            ("nightly [U+0020]export", "nightly  export"),
            ("nightly export", "nightly\u{a0}export"),
            (" nightly\u{3000}export\n", "nightly export"),
            ("Zoe\u{308}", "Zoë"),
            ("Zoë", "Zoe\u{308}"),
            ("office", "o\u{fb03}ce"),
            ("c[U+200B]i", "c\u{200b}i"),
            ("c\u{200b}i", "c\u{200b}i"),
            ("가", "\u{1100}\u{1161}"),
        ] {
            assert!(matches_typed(typed, name), "{typed:?} {name:?}");
        }
        for (typed, name) in [
            ("", "ci"),
            ("CI", "ci"),
            ("ci", "c\u{200b}i"),
            ("nightlyexport", "nightly export"),
            ("c", "ci"),
        ] {
            assert!(!matches_typed(typed, name), "{typed:?} {name:?}");
        }
    }
}
