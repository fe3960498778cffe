//! Why a request was refused.

use std::{fmt, net::IpAddr, sync::Arc};

use crate::{
    model::{app::AppId, record::TokenStatus, scope::ScopeSet},
    store::StoreError,
    token::TokenId,
    words::words,
};

/// Why a request was refused.
///
/// A refused client only gets a status, a challenge and a hint about what to change. The full
/// reason is in this `Rejection`, which the layer puts into the extensions of the response, for
/// access logs and metrics outside of the layer. Its [`kind`](Self::kind) distinguishes what the
/// response does not: unknown, revoked and expired tokens all get the same response.
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    fault: Option<CredentialFault>,
    misplaced: Option<Misplaced>,
    /// Boxed, so that a malformed request, which anyone can send, is cheap to refuse.
    known: Option<Box<Known>>,
}

/// Details of a refused request besides the kind.
#[derive(Clone, Default)]
struct Known {
    token: Option<(TokenId, AppId)>,
    required: Option<ScopeSet>,
    client: Option<IpAddr>,
    source: Option<Arc<StoreError>>,
}

/// The kinds of [`Rejection`]. The text form of a kind is a word for logs and metrics, such as
/// `revoked_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The request has no credential.
    MissingCredential,
    /// The credential is malformed, or there are several.
    MalformedCredential,
    /// The token has the wrong prefix, length or checksum. It was not looked up.
    WrongFormat,
    /// The store does not have the token.
    UnknownToken,
    /// The token was revoked.
    RevokedToken,
    /// The token has expired.
    ExpiredToken,
    /// The token's app is disabled.
    DisabledApp,
    /// The token has restrictions that this version does not understand.
    RestrictedToken,
    /// The token is suspended.
    SuspendedToken,
    /// The token is not valid yet.
    NotYetValidToken,
    /// The token is used from outside its networks, or from an unknown address.
    OutsideNetworks,
    /// The token lacks a required scope.
    InsufficientScope,
    /// The store failed or panicked.
    StoreFailure,
    /// The store exceeded the lookup timeout.
    StoreTimeout,
    /// Too many lookups were in flight.
    Overload,
}

impl RejectionKind {
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// Returns whether the token could not be checked, because the store failed or exceeded the
    /// timeout, or too many lookups were in flight. HTTP requests then get 503.
    #[must_use]
    pub const fn is_unavailable(self) -> bool {
        matches!(
            self,
            Self::StoreFailure | Self::StoreTimeout | Self::Overload
        )
    }
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
    SuspendedToken = "suspended_token",
    NotYetValidToken = "not_yet_valid_token",
    OutsideNetworks = "outside_networks",
    InsufficientScope = "insufficient_scope",
    StoreFailure = "store_failure",
    StoreTimeout = "store_timeout",
    Overload = "overload",
});

/// Where a request without a credential seems to have put its token instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// In `Authorization`, without a scheme or with one that is not enabled.
    Scheme,
    /// In an API-key header that is not configured.
    Header,
    /// In the query of the URL.
    Query,
}

/// What is wrong with a malformed credential.
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
            Self::Repeated => "The request has several credentials: send exactly one.",
            Self::TwoPlaces => "The request has a token in two header fields: send it in one.",
            Self::Basic => {
                "The Basic credential is malformed: send base64 of UTF-8 text with a colon in it."
            }
        }
    }
}

impl fmt::Display for CredentialFault {
    /// The hint in the form of an error message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = self.hint();
        let hint = hint.strip_suffix('.').unwrap_or(hint);
        match hint.strip_prefix("The ") {
            Some(rest) => write!(f, "the {rest}"),
            None => f.write_str(hint),
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

    /// The rejection of a token that is not live; `None` for a live one.
    pub(crate) fn of_status(status: TokenStatus, token: TokenId, app: AppId) -> Option<Self> {
        let kind = match status {
            TokenStatus::Live => return None,
            TokenStatus::Revoked => RejectionKind::RevokedToken,
            TokenStatus::Expired => RejectionKind::ExpiredToken,
            TokenStatus::AppDisabled => RejectionKind::DisabledApp,
            TokenStatus::Restricted => RejectionKind::RestrictedToken,
            TokenStatus::Suspended => RejectionKind::SuspendedToken,
            TokenStatus::NotYetValid => RejectionKind::NotYetValidToken,
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
            ..Known::default()
        };
        Self::knowing(RejectionKind::InsufficientScope, known)
    }

    pub(crate) fn outside_networks(token: TokenId, app: AppId, client: Option<IpAddr>) -> Self {
        let known = Known {
            token: Some((token, app)),
            client,
            ..Known::default()
        };
        Self::knowing(RejectionKind::OutsideNetworks, known)
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

    /// Returns the kind of the rejection.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// Returns the refused token, if the store has it.
    #[must_use]
    pub fn token_id(&self) -> Option<TokenId> {
        self.token().map(|(token, _)| *token)
    }

    /// Returns the app of the refused token, if the store has it.
    #[must_use]
    pub fn app_id(&self) -> Option<&AppId> {
        self.token().map(|(_, app)| app)
    }

    /// Returns the required scopes, if the token lacks them.
    #[must_use]
    pub fn required_scopes(&self) -> Option<&ScopeSet> {
        self.known.as_ref()?.required.as_ref()
    }

    /// Returns the address of the client, if the token may not be used from it. For rejections of
    /// the kind [`OutsideNetworks`](RejectionKind::OutsideNetworks), `None` means that the address
    /// is unknown.
    #[must_use]
    pub fn client_address(&self) -> Option<IpAddr> {
        self.known.as_ref()?.client
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
            RejectionKind::MissingCredential => "the request has no credential",
            RejectionKind::MalformedCredential => return self.fault().fmt(f),
            RejectionKind::WrongFormat => "the token has the wrong prefix, length or checksum",
            RejectionKind::UnknownToken => "the token is unknown",
            RejectionKind::RevokedToken => "the token was revoked",
            RejectionKind::ExpiredToken => "the token has expired",
            RejectionKind::DisabledApp => "the token's app is disabled",
            RejectionKind::RestrictedToken => {
                "the token has restrictions that this version does not understand; upgrade this program"
            }
            RejectionKind::SuspendedToken => "the token is suspended",
            RejectionKind::NotYetValidToken => "the token is not valid yet",
            RejectionKind::OutsideNetworks => match self.client_address() {
                Some(_) => "the token is used from outside its networks",
                None => {
                    "the token is restricted to networks, and the address of the client is unknown"
                }
            },
            RejectionKind::InsufficientScope => "the token lacks a required scope",
            RejectionKind::StoreFailure => "the token store failed",
            RejectionKind::StoreTimeout => "the token store did not answer in time",
            RejectionKind::Overload => "too many token lookups are in flight",
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
        if let Some(client) = self.client_address() {
            debug.field("client_address", &client);
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
