use std::{error::Error, fmt};

use super::kind::Kind;
use crate::{EntropyError, Rejection, words::words};

/// Why a load test could not be prepared or completed.
#[derive(Debug)]
pub struct LoadTestError {
    kind: LoadTestErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`LoadTestError`]. The text form of a kind is a word such as `wrong_verdict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadTestErrorKind {
    /// The settings are invalid.
    InvalidLoad,
    /// A token was admitted that should have been refused, or the reverse.
    WrongVerdict,
    /// The store failed before the test began.
    StoreFailure,
    /// The random number generator failed.
    Entropy,
}

words!(LoadTestErrorKind, "kind of load test error", {
    InvalidLoad = "invalid_load",
    WrongVerdict = "wrong_verdict",
    StoreFailure = "store_failure",
    Entropy = "entropy_failure",
});

impl LoadTestError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            kind: LoadTestErrorKind::InvalidLoad,
            message: message.into(),
            source: None,
        }
    }

    /// A request of this kind was admitted, or refused with `rejection`, and should not have been.
    pub(super) fn wrong_verdict(kind: Kind, rejection: Option<Rejection>) -> Self {
        let hint = match kind {
            Kind::Hit | Kind::Miss => "pass only live tokens of the store to `with_live`",
            Kind::Unknown => "the store must return no record for an unknown digest",
            Kind::Garbage => "pass the format of the tokens to `format`",
            Kind::Revoked => "pass only revoked tokens of the store to `with_revoked`",
        };
        let answered = match &rejection {
            Some(rejection) => format!("refused as {}", rejection.kind()),
            None => "admitted".to_owned(),
        };
        Self {
            kind: LoadTestErrorKind::WrongVerdict,
            message: format!("a request of kind `{kind}` was {answered}; {hint}"),
            source: rejection.map(Into::into),
        }
    }

    pub(super) fn store(rejection: Rejection) -> Self {
        Self {
            kind: LoadTestErrorKind::StoreFailure,
            message: "the tokens could not be looked up before the test".into(),
            source: Some(rejection.into()),
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> LoadTestErrorKind {
        self.kind
    }
}

impl From<EntropyError> for LoadTestError {
    fn from(error: EntropyError) -> Self {
        Self {
            kind: LoadTestErrorKind::Entropy,
            message: "no unknown tokens could be generated".into(),
            source: Some(error.into()),
        }
    }
}

impl fmt::Display for LoadTestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for LoadTestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
