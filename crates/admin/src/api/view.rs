//! Apps and tokens as JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tower_api_tokens::{AppRecord, IssuedToken, TokenRecord, TokenStatus};
use utoipa::ToSchema;

/// An app.
#[derive(Serialize, ToSchema)]
#[schema(as = App)]
pub(super) struct AppView<'r> {
    /// The app's identifier.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._~-]{0,39}$")]
    id: &'r str,
    /// The app's name.
    name: &'r str,
    /// When the app was created.
    #[schema(format = DateTime)]
    created_at: String,
    /// When the app was disabled; null while it is enabled.
    #[schema(format = DateTime, required)]
    disabled_at: Option<String>,
}

impl<'r> AppView<'r> {
    pub(super) fn of(app: &'r AppRecord) -> Self {
        Self {
            id: app.id.as_str(),
            name: &app.name,
            created_at: app.created_at.to_string(),
            disabled_at: text(app.disabled_at),
        }
    }
}

/// Whether a token is admitted, and if not, why.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TokenStatus)]
pub(super) enum StatusView {
    Live,
    Revoked,
    Expired,
    AppDisabled,
}

impl StatusView {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::AppDisabled => "app_disabled",
        }
    }
}

impl From<TokenStatus> for StatusView {
    fn from(status: TokenStatus) -> Self {
        match status {
            TokenStatus::Live => Self::Live,
            TokenStatus::Revoked => Self::Revoked,
            TokenStatus::AppDisabled => Self::AppDisabled,
            // A status that this version does not know is of a token that is not admitted.
            _ => Self::Expired,
        }
    }
}

impl From<StatusView> for TokenStatus {
    fn from(status: StatusView) -> Self {
        match status {
            StatusView::Live => Self::Live,
            StatusView::Revoked => Self::Revoked,
            StatusView::Expired => Self::Expired,
            StatusView::AppDisabled => Self::AppDisabled,
        }
    }
}

/// A token, without its text.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct TokenView<'r> {
    /// The token's identifier.
    #[schema(format = "uuid")]
    id: String,
    /// The app that the token belongs to.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._~-]{0,39}$")]
    app_id: &'r str,
    /// That app's name.
    app_name: &'r str,
    /// The token's name.
    name: &'r str,
    /// What is shown of the token, like `acme_live_…x7Kq`.
    masked: &'r str,
    /// What the token may be used for.
    scopes: Vec<&'r str>,
    /// Whether it is admitted.
    status: StatusView,
    /// When the token was issued.
    #[schema(format = DateTime)]
    created_at: String,
    /// The instant from which the token is refused; null if it does not expire.
    #[schema(format = DateTime, required)]
    expires_at: Option<String>,
    /// When the token was revoked; null if it was not.
    #[schema(format = DateTime, required)]
    revoked_at: Option<String>,
    /// The token that took its place when it was rotated; null if it was not.
    #[schema(format = "uuid", required)]
    successor_id: Option<String>,
    /// When the token was last admitted, as far as it is recorded; null if never.
    #[schema(format = DateTime, required)]
    last_used_at: Option<String>,
    /// How many times the token was admitted, as far as it is recorded.
    #[schema(minimum = 0)]
    uses: u64,
}

impl<'r> TokenView<'r> {
    pub(super) fn of(token: &'r TokenRecord, now: Timestamp) -> Self {
        Self {
            id: token.id.to_string(),
            app_id: token.app.id.as_str(),
            app_name: &token.app.name,
            name: &token.name,
            masked: token.mask.as_str(),
            scopes: token.scopes.iter().collect(),
            status: token.status(now).into(),
            created_at: token.created_at.to_string(),
            expires_at: text(token.expires_at),
            revoked_at: text(token.revoked_at),
            successor_id: token.successor.map(|successor| successor.to_string()),
            last_used_at: text(token.last_used_at),
            uses: token.uses,
        }
    }
}

/// A token that was issued just now, with its text.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedToken)]
pub(super) struct IssuedView<'r> {
    /// The token's text, which is shown here and never again.
    token: &'r str,
    /// What is kept of it.
    record: TokenView<'r>,
}

impl<'r> IssuedView<'r> {
    pub(super) fn of(issued: &'r IssuedToken, now: Timestamp) -> Self {
        Self {
            token: issued.token().expose(),
            record: TokenView::of(issued.record(), now),
        }
    }
}

fn text(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}
