//! UUIDs of version 7 (RFC 9562 section 5.7), which sort by the time of their creation.

use jiff::Timestamp;
use uuid::{Builder, Uuid};

use crate::random::{Entropy, EntropyError};

/// Creates a UUID with the time in milliseconds and 74 random bits. A time before 1970 counts as
/// 1970, because the format cannot represent it.
pub(crate) fn uuid_v7(now: Timestamp, entropy: &dyn Entropy) -> Result<Uuid, EntropyError> {
    let mut random = [0; 10];
    entropy.fill(&mut random)?;
    Ok(uuid_v7_with(now, &random))
}

/// Creates a UUID with the time in milliseconds and 74 of the given bits.
pub(crate) fn uuid_v7_with(now: Timestamp, bits: &[u8; 10]) -> Uuid {
    let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(milliseconds, bits).into_uuid()
}

/// Implements an identifier that is such a UUID, on a tuple struct around it, with the error of its
/// `FromStr`.
macro_rules! uuid_v7_id {
    ($id:ident, $error:ident, $what:literal) => {
        impl $id {
            /// Creates the identifier with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(::uuid::Uuid::from_bytes(bytes))
            }

            /// Returns the bytes of the identifier.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Generates an identifier.
            ///
            /// # Errors
            ///
            /// Returns an error if `entropy` fails.
            pub fn generate(
                now: ::jiff::Timestamp,
                entropy: &dyn $crate::random::Entropy,
            ) -> Result<Self, $crate::random::EntropyError> {
                $crate::uuid_v7::uuid_v7(now, entropy).map(Self)
            }
        }

        impl ::std::fmt::Display for $id {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::std::fmt::Debug for $id {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{}({})", stringify!($id), self.0)
            }
        }

        impl ::std::str::FromStr for $id {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                ::uuid::Uuid::try_parse(text).map(Self).map_err(|_| $error)
            }
        }

        $crate::text::serde_text!($id, $what);
    };
}

pub(crate) use uuid_v7_id;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemEntropy;

    fn made_at(milliseconds: i64) -> Uuid {
        let now = Timestamp::from_millisecond(milliseconds).unwrap();
        uuid_v7(now, &SystemEntropy).unwrap()
    }

    #[test]
    fn uuids_sort_by_time_and_differ_within_a_millisecond() {
        let (first, second, later) = (made_at(1_000), made_at(1_000), made_at(1_001));
        assert_ne!(first, second);
        assert!(first < later && second < later);
        assert_eq!(first.get_version_num(), 7);
    }

    #[test]
    fn a_time_before_1970_counts_as_1970() {
        assert_eq!(made_at(-1).as_bytes()[..6], [0; 6]);
    }
}
