use arrayvec::ArrayString;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{ApiToken, MaskedToken};
use crate::random::{Entropy, EntropyError};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SECRET_LEN: usize = 32;
const CHECKSUM_LEN: usize = 6;

/// The format of a platform's tokens: `{prefix}_{32 characters}{6 characters of checksum}`.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{SystemEntropy, TokenFormat};
///
/// let format = TokenFormat::new("acme_live")?;
/// let token = format.generate(&SystemEntropy::default())?;
/// assert!(format.accepts(token.expose().as_bytes()));
/// assert!(!format.accepts(b"acme_live_a_typo"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Format
///
/// - The secret part is 32 base62 characters from a cryptographically secure generator: 190 bits.
/// - The checksum is the CRC-32 of everything before it. It adds no security. It lets a form, a
///   secret scanner or the layer recognize a typo without a lookup.
/// - A token is at most 55 bytes, which fit into one block of SHA-256.
/// - A token consists of base62 characters and `_`, so a double click selects all of it, and it
///   needs no escaping in a header, a URL or a shell.
///
/// # Several formats
///
/// A platform can have several formats, such as `acme_live` and `acme_test`; see
/// [`with_issued_format`](crate::ApiTokensBuilder::with_issued_format). A token has exactly one of
/// them, even if one prefix begins with another. Give each format a [label](Self::with_label) that
/// people and handlers recognize.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenFormat {
    prefix: ArrayString<{ Self::MAX_PREFIX_LEN }>,
    label: ArrayString<{ Self::MAX_LABEL_LEN }>,
}

impl TokenFormat {
    /// The maximum length of a prefix, in bytes.
    pub const MAX_PREFIX_LEN: usize = 16;

    /// The maximum length of a label, in characters.
    pub const MAX_LABEL_LEN: usize = 40;

    /// The maximum length of a token of any format, in bytes.
    pub const MAX_TOKEN_LEN: usize = Self::MAX_PREFIX_LEN + 1 + SECRET_LEN + CHECKSUM_LEN;

    /// Creates a format with a prefix, for example `acme_live`.
    ///
    /// The prefix shows whose token it is and what for, and makes leaked tokens easy to find.
    /// Choose it carefully: it cannot be changed for tokens that are already issued.
    ///
    /// # Errors
    ///
    /// Returns an error unless the prefix is 1 to 16 ASCII letters and digits, starts with a
    /// letter, and has only single underscores between words.
    pub fn new(prefix: &str) -> Result<Self, PrefixError> {
        let well_formed = prefix.starts_with(|c: char| c.is_ascii_alphabetic())
            && prefix.split('_').all(|word| {
                !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
        if !well_formed {
            return Err(PrefixError);
        }
        let mut label = ArrayString::new();
        label.try_push_str(prefix).map_err(|_| PrefixError)?;
        let prefix = ArrayString::from(prefix).map_err(|_| PrefixError)?;
        Ok(Self { prefix, label })
    }

    /// Sets the label, for example `live` or `test`. Defaults to the prefix.
    ///
    /// [`AppPrincipal::format`](crate::AppPrincipal::format), listings and the dashboard show it.
    /// Several formats may have the same label, for example an old prefix and the new one. A label
    /// is not stored, so you can change it at any time.
    ///
    /// # Errors
    ///
    /// Returns an error unless the label is 1 to 40 visible ASCII characters without commas and
    /// equals signs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tower_api_tokens::TokenFormat;
    /// let format = TokenFormat::new("acme_test")?.with_label("test")?;
    /// assert_eq!(format.label(), "test");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_label(mut self, label: &str) -> Result<Self, LabelError> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'=');
        if label.is_empty() || !label.bytes().all(allowed) {
            return Err(LabelError);
        }
        self.label = ArrayString::from(label).map_err(|_| LabelError)?;
        Ok(self)
    }

    /// Returns the label: the prefix, unless another was [set](Self::with_label).
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the prefix, without the underscore that follows it in a token.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns a regular expression that finds tokens of this format, for a secret scanner.
    ///
    /// It only uses character classes and a repetition count, so every engine supports it. Use
    /// [`accepts`](Self::accepts) to check the checksum of a match. In Rust, use
    /// [`find_in`](Self::find_in) instead, which does both.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tower_api_tokens::TokenFormat;
    /// let pattern = TokenFormat::new("acme_live")?.pattern();
    /// assert_eq!(pattern, "acme_live_[0-9A-Za-z]{38}");
    /// # Ok::<(), tower_api_tokens::PrefixError>(())
    /// ```
    #[must_use]
    pub fn pattern(&self) -> String {
        format!(
            "{}_[0-9A-Za-z]{{{}}}",
            self.prefix,
            SECRET_LEN + CHECKSUM_LEN
        )
    }

    /// Generates a new token.
    ///
    /// # Errors
    ///
    /// Returns an error if `entropy` fails.
    pub fn generate(&self, entropy: &dyn Entropy) -> Result<ApiToken, EntropyError> {
        let mut text = Zeroizing::new(String::with_capacity(Self::MAX_TOKEN_LEN));
        text.push_str(&self.prefix);
        text.push('_');
        push_secret(&mut text, entropy)?;
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.map(char::from));
        Ok(ApiToken::new(text))
    }

    /// Returns whether a token has this prefix, the right length and alphabet, and a valid
    /// checksum.
    #[must_use]
    pub fn accepts(&self, presented: &[u8]) -> bool {
        let Some(rest) = presented
            .strip_prefix(self.prefix.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"_"))
        else {
            return false;
        };
        rest.len() == SECRET_LEN + CHECKSUM_LEN
            && presented
                .split_last_chunk()
                .is_some_and(|(covered, digits)| {
                    value(digits) == u64::from(crc32fast::hash(covered))
                })
            && rest.iter().all(u8::is_ascii_alphanumeric)
    }

    /// Whether a text has this prefix and the right length. Cheap, so it is checked first.
    #[inline]
    pub(crate) fn resembles(&self, presented: &[u8]) -> bool {
        presented.len() == self.token_len() && presented.starts_with(self.prefix.as_bytes())
    }

    /// The length of a token of this format.
    #[inline]
    pub(super) fn token_len(&self) -> usize {
        self.prefix.len() + 1 + SECRET_LEN + CHECKSUM_LEN
    }

    /// Whether a text begins like a token of this format.
    pub(crate) fn has_prefix(&self, presented: &[u8]) -> bool {
        let rest = presented.strip_prefix(self.prefix.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"_"))
    }

    /// Whether a mask is that of a token of this format.
    pub(crate) fn has_mask(&self, mask: &MaskedToken) -> bool {
        let rest = mask.as_str().strip_prefix(self.prefix.as_str());
        rest.is_some_and(|rest| rest.starts_with("_…"))
    }

    /// Returns the mask of a token of this format.
    pub(crate) fn mask(&self, token: &ApiToken) -> MaskedToken {
        MaskedToken::of_issued(&self.prefix, token)
    }
}

/// Generates the secret part. A byte below 4 × 62 selects a character; any other is drawn again, so
/// that every character is equally likely.
fn push_secret(text: &mut Zeroizing<String>, entropy: &dyn Entropy) -> Result<(), EntropyError> {
    let end = text.len() + SECRET_LEN;
    let mut random = Zeroizing::new([0_u8; SECRET_LEN + 8]);
    while text.len() < end {
        entropy.fill(random.as_mut_slice())?;
        let missing = end - text.len();
        let drawn = random.iter().filter(|byte| **byte < 4 * 62).take(missing);
        text.extend(drawn.map(|byte| char::from(ALPHABET[usize::from(byte % 62)])));
    }
    Ok(())
}

/// The number that base62 digits represent. Faster than computing the digits of a number.
fn value(digits: &[u8; CHECKSUM_LEN]) -> u64 {
    let digit = |byte: &u8| u64::from(DIGITS[usize::from(*byte)]);
    digits
        .iter()
        .fold(0, |value, byte| value * 62 + digit(byte))
}

/// The value of each character of the alphabet; out of range for all other characters.
const DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut digit = 0;
    while digit < ALPHABET.len() {
        digits[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

fn checksum(covered: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(covered);
    let mut digits = [0; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

/// The text is not a valid label of a format.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "invalid label; use 1 to 40 visible ASCII characters without commas and equals signs, such as `live`"
)]
#[non_exhaustive]
pub struct LabelError;

/// The text is not a valid token prefix.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "invalid token prefix; use 1 to 16 ASCII letters and digits, starting with a letter, with single underscores between words, such as `acme_live`"
)]
#[non_exhaustive]
pub struct PrefixError;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::random::SystemEntropy;

    fn format() -> TokenFormat {
        TokenFormat::new("acme_live").unwrap()
    }

    #[test]
    fn the_longest_token_is_55_bytes() {
        let token = TokenFormat::new("sixteen_letters0")
            .unwrap()
            .generate(&SystemEntropy)
            .unwrap();
        assert_eq!(token.expose().len(), 55);
        assert_eq!(TokenFormat::MAX_TOKEN_LEN, 55);
    }

    #[test]
    fn a_prefix_has_single_underscores_between_words() {
        for good in [
            "a",
            "acme",
            "acme_live",
            "Acme2",
            "a_1_b",
            "sixteen_letters0",
        ] {
            assert!(TokenFormat::new(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "_",
            "1acme",
            "_acme",
            "acme_",
            "acme__live",
            "acme-live",
            "acme live",
            "äcme",
            "acme\0",
            "seventeen_letters",
        ] {
            assert_eq!(TokenFormat::new(bad), Err(PrefixError), "{bad:?}");
        }
    }

    #[test]
    fn a_label_is_visible_text_and_defaults_to_the_prefix() {
        assert_eq!(format().label(), "acme_live");
        let longest = "x".repeat(TokenFormat::MAX_LABEL_LEN);
        for good in ["live", "L", "live/eu-1 ".trim(), "<b>", &longest] {
            let labelled = format().with_label(good).unwrap();
            assert_eq!((labelled.label(), labelled.prefix()), (good, "acme_live"));
        }
        let too_long = "x".repeat(TokenFormat::MAX_LABEL_LEN + 1);
        for bad in [
            "", " ", "a b", "a,b", "a=b", "a\n", "ä", "\u{202e}", &too_long,
        ] {
            assert_eq!(format().with_label(bad), Err(LabelError), "{bad:?}");
        }
    }

    #[test]
    fn the_pattern_matches_exactly_the_generated_tokens() {
        let pattern = regex::Regex::new(&format().pattern()).unwrap();
        let token = format().generate(&SystemEntropy).unwrap();
        let leaked = format!("curl -H 'Authorization: Bearer {}'", token.expose());
        assert_eq!(pattern.find(&leaked).unwrap().as_str(), token.expose());
        assert!(!pattern.is_match(format().mask(&token).as_str()));
    }

    #[test]
    fn one_changed_character_is_refused() {
        let token = format().generate(&SystemEntropy).unwrap();
        for position in 0..token.expose().len() {
            let mut typo = token.expose().as_bytes().to_vec();
            typo[position] = if typo[position] == b'x' { b'y' } else { b'x' };
            assert!(!format().accepts(&typo), "changed at {position}");
        }
    }

    #[test]
    fn the_checksum_is_the_crc_32_in_base62() {
        // The CRC-32 of "123456789" is 0xCBF43926 = 3421780262.
        assert_eq!(&checksum(b"123456789"), b"3jZRME");
        assert_eq!(value(b"3jZRME"), 0xCBF4_3926);
    }

    #[test]
    fn bytes_that_would_bias_the_characters_are_drawn_again() {
        #[derive(Debug)]
        struct Counting(AtomicU8);
        impl Entropy for Counting {
            fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
                for byte in buffer {
                    *byte = self.0.fetch_sub(1, Ordering::Relaxed);
                }
                Ok(())
            }
        }
        let mut text = Zeroizing::new(String::new());
        push_secret(&mut text, &Counting(AtomicU8::new(255))).unwrap();
        assert!(text.starts_with("zyxw"), "255 to 248 are skipped");
    }

    #[test]
    fn a_failing_generator_is_an_error() {
        #[derive(Debug)]
        struct Failing;
        impl Entropy for Failing {
            fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
                Err(EntropyError::new("no entropy"))
            }
        }
        assert!(format().generate(&Failing).is_err());
    }

    /// Prefixes that often begin with each other.
    fn prefix() -> impl Strategy<Value = String> {
        "a(_?[al]){0,6}".prop_filter("the maximum length", |prefix| {
            TokenFormat::new(prefix).is_ok()
        })
    }

    proptest! {
        #[test]
        fn a_token_and_its_mask_have_exactly_one_of_two_formats(one in prefix(), other in prefix()) {
            let [format, other] = [&one, &other].map(|prefix| TokenFormat::new(prefix).unwrap());
            let token = format.generate(&SystemEntropy).unwrap();
            let is_same = format == other;
            prop_assert_eq!(other.accepts(token.expose().as_bytes()), is_same);
            prop_assert_eq!(other.has_mask(&format.mask(&token)), is_same);
            prop_assert!(format.accepts(token.expose().as_bytes()));
            prop_assert!(format.has_mask(&format.mask(&token)));
        }

        #[test]
        fn arbitrary_bytes_do_not_cause_a_panic(bytes: Vec<u8>) {
            prop_assert!(!format().accepts(&bytes));
        }

        #[test]
        fn arbitrary_endings_are_refused(end in "[0-9A-Za-z]{38}") {
            // One in 62^6 has a valid checksum by chance.
            let presented = format!("acme_live_{end}");
            prop_assert!(!format().accepts(presented.as_bytes()));
        }
    }
}
