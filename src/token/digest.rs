use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256, block_api::compress256};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// The SHA-256 digest of a token. Stores keep this instead of the token.
///
/// It is the digest of exactly the bytes that a client sends, so other tools can compute it:
/// `printf %s "$TOKEN" | sha256sum`. A token issued by another system can therefore be imported by
/// its digest alone.
///
/// A fast, unsalted hash is sufficient: a token made by [`TokenFormat`](super::TokenFormat) has 190
/// bits of randomness, well above the 112 bits below which [NIST SP
/// 800-63B](https://pages.nist.gov/800-63-3/sp800-63b.html) requires a salted, slow hash.
///
/// Comparison takes constant time. `Debug` output is redacted.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::TokenDigest;
///
/// let digest = TokenDigest::of(b"abc");
/// assert_eq!(digest.to_base64url(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
/// // What `sha256sum` prints is read.
/// assert_eq!(
///     digest,
///     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse()?
/// );
/// # Ok::<(), tower_api_tokens::DigestError>(())
/// ```
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; Self::LEN]);

/// The maximum length of a message that fits into one block with its padding, in bytes.
const ONE_BLOCK: usize = 55;

/// SHA-256 of a message that fits into one block, following FIPS 180-4 sections 5.1.1 (padding),
/// 5.3.3 (initial value) and 6.2.2. It skips the buffering of a general hasher, which saves a fifth
/// of the time.
#[inline]
fn digest_one_block(message: &[u8]) -> [u8; TokenDigest::LEN] {
    let mut block = [0; 64];
    block[..message.len()].copy_from_slice(message);
    block[message.len()] = 0x80;
    block[62..].copy_from_slice(&(message.len() as u16 * 8).to_be_bytes());
    let mut state = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    compress256(&mut state, &[block]);
    let mut digest = [0; TokenDigest::LEN];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

impl TokenDigest {
    /// The length of a digest, in bytes.
    pub const LEN: usize = 32;

    /// Computes the digest of a token as a client sends it.
    #[must_use]
    #[inline]
    pub fn of(presented: &[u8]) -> Self {
        if presented.len() <= ONE_BLOCK {
            Self(digest_one_block(presented))
        } else {
            Self(Sha256::digest(presented).into())
        }
    }

    /// Creates a digest from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Returns the digest as 43 characters of base64url without padding ([RFC 4648 section
    /// 5](https://www.rfc-editor.org/rfc/rfc4648#section-5)).
    ///
    /// There is no `Display`, so that a digest is never printed by accident.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Returns the digest as 64 hexadecimal characters, as `sha256sum` prints it.
    ///
    /// There is no `Display`, so that a digest is never printed by accident.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        digits
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }

    /// Parses the result of [`to_base64url`](Self::to_base64url).
    ///
    /// This is not `FromStr`, because a token may look the same. `FromStr` only accepts
    /// hexadecimal, so it rejects a token that was pasted instead of its digest.
    ///
    /// # Errors
    ///
    /// Returns an error unless the text is 43 characters of base64url without padding.
    pub fn from_base64url(text: &str) -> Result<Self, DigestError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| DigestError)?;
        bytes.try_into().map(Self).map_err(|_| DigestError)
    }

    fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks::<8>();
        std::array::from_fn(|i| u64::from_ne_bytes(words[i]))
    }
}

impl PartialEq for TokenDigest {
    // Folds the difference and compares it once with `subtle`. Comparing byte slices would put an
    // optimization barrier after each byte, and take longer than the hash itself.
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.words(), other.words());
        let difference = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
        difference.ct_eq(&0).into()
    }
}

impl Eq for TokenDigest {}

impl std::hash::Hash for TokenDigest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(redacted)")
    }
}

impl FromStr for TokenDigest {
    type Err = DigestError;

    /// Parses 64 hexadecimal characters, as `sha256sum` prints them. No token is that long.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        from_hex(text.as_bytes()).map(Self).ok_or(DigestError)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for TokenDigest {
    /// Serializes the digest in hexadecimal.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

#[cfg(feature = "serde")]
crate::text::deserialize_text!(TokenDigest, "digest");

fn from_hex(text: &[u8]) -> Option<[u8; TokenDigest::LEN]> {
    if text.len() != 2 * TokenDigest::LEN {
        return None;
    }
    let mut bytes = [0; TokenDigest::LEN];
    let (pairs, _) = text.as_chunks::<2>();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |c: &u8| char::from(*c).to_digit(16);
        *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    }
    Some(bytes)
}

/// The text is not a digest.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid SHA-256 digest; use the 64 hexadecimal characters that `sha256sum` prints")]
#[non_exhaustive]
pub struct DigestError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equality_compares_every_byte() {
        let digest = TokenDigest::of(b"a token");
        for byte in 0..TokenDigest::LEN {
            for bit in 0..8 {
                let mut other = *digest.as_bytes();
                other[byte] ^= 1 << bit;
                assert_ne!(digest, TokenDigest::from_bytes(other));
            }
        }
        assert_eq!(digest, TokenDigest::from_bytes(*digest.as_bytes()));
    }

    #[test]
    fn a_token_is_not_accepted_as_a_digest() {
        // Has the length and the alphabet of a digest in base64url.
        let token = "acme_00000000000000000000000000000000000000";
        assert!(TokenDigest::from_base64url(token).is_ok());
        assert_eq!(token.parse::<TokenDigest>(), Err(DigestError));
    }

    #[test]
    fn the_one_block_digest_agrees_with_the_hasher_at_any_length() {
        let message: Vec<u8> = (0..=130).collect();
        for length in 0..=message.len() {
            let expected: [u8; 32] = Sha256::digest(&message[..length]).into();
            assert_eq!(TokenDigest::of(&message[..length]).as_bytes(), &expected);
        }
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(
            format!("{:?}", TokenDigest::of(b"a token")),
            "TokenDigest(redacted)"
        );
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 32]) {
            let digest = TokenDigest::from_bytes(bytes);
            prop_assert_eq!(TokenDigest::from_base64url(&digest.to_base64url()), Ok(digest));
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(hex.parse(), Ok(digest));
            prop_assert_eq!(digest.to_hex(), hex);
        }

        #[test]
        fn arbitrary_text_is_read_or_refused(text in "\\PC{0,70}") {
            let _ = TokenDigest::from_base64url(&text);
            prop_assert_eq!(text.parse::<TokenDigest>().is_ok(), false);
        }
    }
}
