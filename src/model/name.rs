//! The display names of apps and tokens.

use thiserror::Error;

/// The maximum length of the name of an app or a token, in characters.
pub const MAX_NAME_LEN: usize = 100;

/// Trims the name of an app or a token, and checks it.
///
/// # Errors
///
/// Returns an error if the trimmed name is empty, is longer than [`MAX_NAME_LEN`] characters, or
/// contains control characters.
pub fn normalize_name(name: &str) -> Result<String, NameError> {
    let name = name.trim();
    match is_one_line(name) {
        true => Ok(name.to_owned()),
        false => Err(NameError),
    }
}

/// Checks that a text can be part of a name. Use this for search terms.
///
/// # Errors
///
/// Returns an error if the text is empty, is longer than [`MAX_NAME_LEN`] characters, or contains
/// control characters.
pub fn check_name_part(part: &str) -> Result<(), NamePartError> {
    match is_one_line(part) {
        true => Ok(()),
        false => Err(NamePartError),
    }
}

fn is_one_line(text: &str) -> bool {
    let separates_lines = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let fits = !text.is_empty() && text.chars().nth(MAX_NAME_LEN).is_none();
    fits && !text.contains(separates_lines)
}

/// The name of an app or a token is empty, too long, or contains control characters.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid name; use 1 to 100 characters without control characters")]
#[non_exhaustive]
pub struct NameError;

/// The text cannot be part of a name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid part of a name; use 1 to 100 characters without control characters")]
#[non_exhaustive]
pub struct NamePartError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed() {
        assert_eq!(
            normalize_name(" \t Zoë's \"CI\" 🚀\n").unwrap(),
            "Zoë's \"CI\" 🚀"
        );
    }

    #[test]
    fn a_name_is_1_to_100_characters() {
        assert_eq!(normalize_name(""), Err(NameError));
        assert_eq!(normalize_name(" \n "), Err(NameError));
        assert!(normalize_name(&"é".repeat(100)).is_ok());
        assert_eq!(normalize_name(&"é".repeat(101)), Err(NameError));
        assert_eq!(normalize_name(&"x".repeat(10 << 20)), Err(NameError));
    }

    #[test]
    fn a_name_is_one_line_without_control_characters() {
        for bad in ["a\nb", "a\0b", "a\u{1b}[31mb", "a\u{85}b", "a\u{2028}b"] {
            assert_eq!(normalize_name(bad), Err(NameError), "{bad:?}");
        }
    }
}
