//! Why a request was refused.

use std::{fmt, sync::Arc};

use crate::{
    model::{app::AppId, record::TokenStatus, scope::ScopeSet},
    store::StoreError,
    token::TokenId,
    words::words,
};

/// Why a request was refused.
///
/// The layer answers with a status, a challenge and a body that tell the caller what to change and
/// nothing else; it puts the `Rejection` itself into the extensions of that response, where access
/// logs and metrics outside the layer find the whole truth. [`kind`](Self::kind) tells apart what
/// the caller must not be able to: an unknown, a revoked and an expired token look the same from
/// outside.
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    fault: Option<CredentialFault>,
    misplaced: Option<Misplaced>,
    /// Apart, so that garbage, which anybody can send, is refused at little cost.
    known: Option<Box<Known>>,
}

/// What is known of a refused request beyond the kind of the rejection.
#[derive(Clone, Default)]
struct Known {
    token: Option<(TokenId, AppId)>,
    required: Option<ScopeSet>,
    source: Option<Arc<StoreError>>,
}

/// The kinds of [`Rejection`]. The text of a kind is a word for logs and metrics, like
/// `revoked_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The request carries no credential.
    MissingCredential,
    /// The request carries a credential that is not well formed, or several.
    MalformedCredential,
    /// The token has the wrong prefix, length or checksum; the store was not asked.
    WrongFormat,
    /// The store does not know the token.
    UnknownToken,
    /// The token was revoked.
    RevokedToken,
    /// The token's expiry has come.
    ExpiredToken,
    /// The token's app is disabled.
    DisabledApp,
    /// The token has restrictions that this version does not understand.
    RestrictedToken,
    /// The token lacks a required scope.
    InsufficientScope,
    /// The store failed or panicked.
    StoreFailure,
    /// The store did not answer in time.
    StoreTimeout,
    /// Too many lookups were under way.
    Overload,
}

impl RejectionKind {
    pub(crate) const COUNT: usize = Self::ALL.len();
}

words!(RejectionKind, "kind of rejection", {
    MissingCredential = "missing_credential",
    MalformedCredential = "malformed_credential",
    WrongFormat = "wrong_format",
    UnknownToken = "unknown_token",
    RevokedToken = "revoked_token",
    ExpiredToken = "expired_token",
    DisabledApp = "disabled_app",
    RestrictedToken = "restricted_token",
    InsufficientScope = "insufficient_scope",
    StoreFailure = "store_failure",
    StoreTimeout = "store_timeout",
    Overload = "overload",
});

/// Where a request without a credential seems to carry a token that is not read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// In `Authorization`, without a scheme or with one that is not enabled.
    Scheme,
    /// In an API-key header that is not configured.
    Header,
    /// In the query of the URL.
    Query,
}

/// What is wrong with a malformed credential; its text is the hint that the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialFault {
    Grammar,
    TooLong,
    Repeated,
    TwoPlaces,
    Basic,
}

impl CredentialFault {
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Grammar => "The credential is malformed: send exactly one token.",
            Self::TooLong => "The credential is longer than 4096 bytes.",
            Self::Repeated => "The request carries several credentials: send exactly one.",
            Self::TwoPlaces => "The request carries a token in two header fields: send it in one.",
            Self::Basic => {
                "The Basic credential is malformed: send base64 of UTF-8 text with a colon in it."
            }
        }
    }
}

impl Rejection {
    fn of_kind(kind: RejectionKind) -> Self {
        Self {
            kind,
            fault: None,
            misplaced: None,
            known: None,
        }
    }

    fn knowing(kind: RejectionKind, known: Known) -> Self {
        Self {
            known: Some(Box::new(known)),
            ..Self::of_kind(kind)
        }
    }

    pub(crate) fn missing(misplaced: Option<Misplaced>) -> Self {
        Self {
            misplaced,
            ..Self::of_kind(RejectionKind::MissingCredential)
        }
    }

    pub(crate) fn malformed(fault: CredentialFault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::of_kind(RejectionKind::MalformedCredential)
        }
    }

    pub(crate) fn wrong_format() -> Self {
        Self::of_kind(RejectionKind::WrongFormat)
    }

    pub(crate) fn unknown() -> Self {
        Self::of_kind(RejectionKind::UnknownToken)
    }

    /// The rejection of a token that is not live.
    pub(crate) fn of_status(status: TokenStatus, token: TokenId, app: AppId) -> Option<Self> {
        let kind = match status {
            TokenStatus::Live => return None,
            TokenStatus::Revoked => RejectionKind::RevokedToken,
            TokenStatus::Expired => RejectionKind::ExpiredToken,
            TokenStatus::AppDisabled => RejectionKind::DisabledApp,
            TokenStatus::Restricted => RejectionKind::RestrictedToken,
        };
        let known = Known {
            token: Some((token, app)),
            ..Known::default()
        };
        Some(Self::knowing(kind, known))
    }

    pub(crate) fn insufficient_scope(token: TokenId, app: AppId, required: ScopeSet) -> Self {
        let known = Known {
            token: Some((token, app)),
            required: Some(required),
            source: None,
        };
        Self::knowing(RejectionKind::InsufficientScope, known)
    }

    pub(crate) fn store_failure(source: StoreError) -> Self {
        let known = Known {
            source: Some(Arc::new(source)),
            ..Known::default()
        };
        Self::knowing(RejectionKind::StoreFailure, known)
    }

    pub(crate) fn store_timeout() -> Self {
        Self::of_kind(RejectionKind::StoreTimeout)
    }

    pub(crate) fn overload() -> Self {
        Self::of_kind(RejectionKind::Overload)
    }

    /// The kind of this rejection.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The token that was refused, where the store knows it.
    #[must_use]
    pub fn token_id(&self) -> Option<TokenId> {
        self.token().map(|(token, _)| *token)
    }

    /// The app of the token that was refused, where the store knows it.
    #[must_use]
    pub fn app_id(&self) -> Option<&AppId> {
        self.token().map(|(_, app)| app)
    }

    /// The scopes that are required, when the token lacks them.
    #[must_use]
    pub fn required_scopes(&self) -> Option<&ScopeSet> {
        self.known.as_ref()?.required.as_ref()
    }

    fn token(&self) -> Option<&(TokenId, AppId)> {
        self.known.as_ref()?.token.as_ref()
    }

    fn store_error(&self) -> Option<&StoreError> {
        self.known.as_ref()?.source.as_deref()
    }

    pub(crate) fn misplaced(&self) -> Option<Misplaced> {
        self.misplaced
    }

    pub(crate) fn fault(&self) -> CredentialFault {
        self.fault.unwrap_or(CredentialFault::Grammar)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RejectionKind::MissingCredential => "the request carries no credential",
            RejectionKind::MalformedCredential => return f.write_str(self.fault().hint()),
            RejectionKind::WrongFormat => "the token has the wrong prefix, length or checksum",
            RejectionKind::UnknownToken => "the token is unknown",
            RejectionKind::RevokedToken => "the token was revoked",
            RejectionKind::ExpiredToken => "the token has expired",
            RejectionKind::DisabledApp => "the token's app is disabled",
            RejectionKind::RestrictedToken => {
                "the token has restrictions that this version does not understand; upgrade it"
            }
            RejectionKind::InsufficientScope => "the token lacks a required scope",
            RejectionKind::StoreFailure => "the token store failed",
            RejectionKind::StoreTimeout => "the token store did not answer in time",
            RejectionKind::Overload => "too many token lookups are under way",
        })
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Rejection");
        debug.field("kind", &self.kind);
        if let Some((token, app)) = self.token() {
            debug.field("token_id", token).field("app_id", app);
        }
        if let Some(required) = self.required_scopes() {
            debug.field("required_scopes", required);
        }
        if let Some(source) = self.store_error() {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.store_error()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
