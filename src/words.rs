//! Enums whose variants have a name in lower case that APIs, command lines, logs and stores share.

use std::fmt;

use thiserror::Error;

/// The text is not a variant of an enum such as [`TokenStatus`](crate::TokenStatus).
///
/// The message lists the expected variants. It does not repeat the text.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::TokenStatus;
///
/// let error = "asleep".parse::<TokenStatus>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "unknown token status; expected `live`, `revoked`, `expired`, `app_disabled`, `restricted`, \
///      `suspended` or `not_yet_valid`"
/// );
/// ```
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("unknown {what}; expected {}", List(.expected))]
pub struct UnknownVariantError {
    what: &'static str,
    expected: Vec<&'static str>,
}

impl UnknownVariantError {
    /// Creates an error for a text that is not a `what`, for example a `token status`, with the
    /// expected variants.
    #[must_use]
    pub fn new(what: &'static str, expected: impl IntoIterator<Item = &'static str>) -> Self {
        let expected = expected.into_iter().collect();
        Self { what, expected }
    }

    /// Returns the expected variants.
    #[must_use]
    pub fn expected(&self) -> &[&'static str] {
        &self.expected
    }
}

/// Shows words as a list: `` `live`, `revoked` or `expired` ``.
pub(crate) struct List<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.0.iter().enumerate() {
            f.write_str(match at {
                0 => "",
                _ if at + 1 == self.0.len() => " or ",
                _ => ", ",
            })?;
            write!(f, "`{word}`")?;
        }
        Ok(())
    }
}

/// Gives each variant of an enum its text form: `ALL`, `as_str`, [`Display`](fmt::Display),
/// [`FromStr`](std::str::FromStr) and, with feature `serde`, serialization as that text.
macro_rules! words {
    ($type:ident, $what:literal, { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// All variants, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }

        $crate::words::word_of_each!($type, $what, { $($variant = $word),+ });
    };
}

/// Like [`words!`], without `ALL`.
macro_rules! word_of_each {
    ($type:ident, $what:literal, { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// Returns the variant as text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::UnknownVariantError;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownVariantError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::UnknownVariantError::new($what, [$($word),+])),
                }
            }
        }

        $crate::text::serde_text!($type, $what);
    };
}

pub(crate) use {word_of_each, words};

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fmt::Debug, str::FromStr};

    use proptest::prelude::*;

    use super::*;

    fn words_read_back<T>(all: &[T])
    where
        T: Copy + Debug + fmt::Display + FromStr<Err = UnknownVariantError> + PartialEq,
    {
        let mut words = HashSet::new();
        for variant in all {
            let word = variant.to_string();
            assert_eq!(word.parse(), Ok(*variant));
            assert!(word.to_uppercase().parse::<T>().is_err(), "{word}");
            assert_eq!(format!("{variant:>40}").len(), 40, "{word} is padded");
            assert!(words.insert(word), "{variant:?} shares its word");
        }
        let error = "no such word".parse::<T>().unwrap_err();
        assert!(error.expected().iter().all(|word| words.contains(*word)));
        assert_eq!(error.expected().len(), all.len());
        assert!(!error.to_string().contains("no such word"));
    }

    #[test]
    fn every_variant_round_trips_as_text() {
        words_read_back(crate::TokenStatus::ALL);
        words_read_back(crate::AuditAction::ALL);
        words_read_back(crate::RejectionKind::ALL);
        words_read_back(crate::StoreErrorKind::ALL);
        words_read_back(crate::LifecycleErrorKind::ALL);
        words_read_back(crate::ReportKind::ALL);
        #[cfg(feature = "axum")]
        words_read_back(crate::extract::AppPrincipalRejectionKind::ALL);
        #[cfg(feature = "transfer")]
        {
            words_read_back(crate::transfer::Completeness::ALL);
            words_read_back(crate::transfer::FaultKind::ALL);
            words_read_back(crate::transfer::TransferErrorKind::ALL);
        }
        #[cfg(feature = "testing")]
        {
            words_read_back(&crate::testing::latency::Kind::ALL);
            words_read_back(crate::testing::latency::ComparisonErrorKind::ALL);
            words_read_back(crate::testing::latency::LoadTestErrorKind::ALL);
            words_read_back(crate::testing::latency::ReportErrorKind::ALL);
            words_read_back(crate::testing::latency::Phase::ALL);
            words_read_back(crate::testing::latency::Skew::ALL);
        }
    }

    #[test]
    fn expected_variants_are_listed_in_prose() {
        for (words, listed) in [
            (&["a"][..], "`a`"),
            (&["a", "b"], "`a` or `b`"),
            (&["a", "b", "c"], "`a`, `b` or `c`"),
        ] {
            let error = UnknownVariantError::new("letter", words.iter().copied());
            let message = format!("unknown letter; expected {listed}");
            assert_eq!(error.to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn only_the_exact_text_is_accepted(text in "[a-z_]{0,20}|\\PC{0,20}") {
            if let Ok(status) = text.parse::<crate::TokenStatus>() {
                prop_assert_eq!(status.as_str(), text);
            }
        }
    }
}
