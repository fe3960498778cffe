//! The version of a record, for detecting that it has changed since it was read.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::text::serde_text;

/// The version of a record: a digest of its content, except for its recorded use.
///
/// Two records with the same content have the same version, whichever store or program wrote them. The
/// JSON API sends it as the entity tag of a record ([RFC 9110 section
/// 8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordVersion([u8; 16]);

impl RecordVersion {
    /// A version that no record has.
    pub const NONE: Self = Self([0; 16]);

    /// Computes the version of a record from its fields.
    pub(super) fn of<'a>(fields: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        let mut hash = Sha256::new();
        for field in fields {
            match field {
                // The length keeps fields apart, and no field is this long.
                None => hash.update(u64::MAX.to_be_bytes()),
                Some(bytes) => {
                    hash.update((bytes.len() as u64).to_be_bytes());
                    hash.update(bytes);
                }
            }
        }
        let mut version = [0; 16];
        version.copy_from_slice(&hash.finalize()[..16]);
        Self(version)
    }
}

impl fmt::Display for RecordVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:032x}", u128::from_be_bytes(self.0)))
    }
}

impl fmt::Debug for RecordVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordVersion({self})")
    }
}

impl FromStr for RecordVersion {
    type Err = RecordVersionError;

    fn from_str(text: &str) -> Result<Self, RecordVersionError> {
        let is_canonical = text.len() == 32
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(number) if is_canonical => Ok(Self(number.to_be_bytes())),
            _ => Err(RecordVersionError),
        }
    }
}

serde_text!(RecordVersion, "version of a record");

/// The text is not the version of a record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid record version; use 32 lowercase hexadecimal digits as they were returned")]
#[non_exhaustive]
pub struct RecordVersionError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_reads_back_and_nothing_else_is_read() {
        let version = RecordVersion::of([Some(b"a".as_slice()), None]);
        assert_eq!(version.to_string().parse(), Ok(version));
        let upper = "A".repeat(32);
        for bad in [
            "",
            "0",
            upper.as_str(),
            &"0".repeat(33),
            "+0000000000000000000000000000000",
        ] {
            assert_eq!(
                bad.parse::<RecordVersion>(),
                Err(RecordVersionError),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn fields_are_kept_apart() {
        let version = |fields: &[Option<&str>]| {
            RecordVersion::of(fields.iter().map(|field| field.map(str::as_bytes)))
        };
        let all = [
            version(&[Some("ab"), Some("")]),
            version(&[Some("a"), Some("b")]),
            version(&[Some("ab"), None]),
            version(&[None, Some("ab")]),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|other| other != one));
        }
    }
}
