//! JSON representations of apps, tokens and audit events, as used by the JSON API,
//! [`JsonLines`](super::JsonLines) and the `--json` flag of the command line.
//!
//! They show a token by its mask, and omit its digest. The records themselves serialize every field
//! that a store keeps, with the library's feature `serde`.
//!
//! ```
//! use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
//! use tower_api_tokens_admin::view::AppView;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
//! let app = tokens.create_app("Billing").await?;
//! let json = serde_json::to_value(AppView::from(&app))?;
//! assert_eq!(json["name"], "Billing");
//! # Ok(())
//! # }
//! ```

use std::{borrow::Cow, collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::Serialize;
use tower_api_tokens::{
    AppId, AppRecord, AuditAction, AuditChange, AuditEvent, AuditEventId, AuditOutcome,
    BulkRevocation, IssuedToken, MaskedToken, Metadata, Network, Networks, Policy, RecordVersion,
    Report, ReportKind, ScopeSet, TokenId, TokenRecord, TokenStatus,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Schema,
        schema::{SchemaType, Type},
    },
};

use super::parameters::query_text;
pub use crate::node_view::{FleetView, NodeReceiptView, NodeView, ReceiptView};

/// An app.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = App)]
pub struct AppView<'r> {
    /// The app's identifier.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._~-]{0,39}$")]
    id: AppId,
    /// The app's name.
    name: &'r str,
    /// When the app was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the app was disabled, or null if it is enabled.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    disabled_at: Option<Timestamp>,
    /// The metadata of the app.
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: &'r Metadata,
    /// The version of the app, which changes with the app. Its entity tag in quotes.
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    version: RecordVersion,
}

impl<'r> From<&'r AppRecord> for AppView<'r> {
    fn from(app: &'r AppRecord) -> Self {
        Self {
            id: app.id,
            name: &app.name,
            created_at: app.created_at,
            disabled_at: app.disabled_at,
            metadata: &app.metadata,
            version: app.version(),
        }
    }
}

/// The OpenAPI schema of a [`TokenStatus`].
pub(super) struct StatusSchema;

impl PartialSchema for StatusSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .description(Some("Whether the token works, and if not, why."))
            .enum_values(Some(TokenStatus::ALL.iter().map(|status| status.as_str())))
            .into()
    }
}

impl ToSchema for StatusSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("TokenStatus")
    }
}

/// A token, without its text.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenView<'r> {
    /// The token's identifier.
    #[schema(value_type = String, format = "uuid")]
    id: TokenId,
    /// The app that the token belongs to.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._~-]{0,39}$")]
    app_id: AppId,
    /// The name of the app.
    app_name: &'r str,
    /// The token's name.
    name: &'r str,
    /// The mask of the token, like `acme_live_…x7Kq`.
    #[schema(value_type = String)]
    masked: MaskedToken,
    /// The label of the token's format, or null if it has none of the configured formats.
    #[schema(required, max_length = 40)]
    format: Option<&'r str>,
    /// The token's scopes.
    scopes: Vec<&'r str>,
    /// The token's status.
    #[schema(value_type = StatusSchema)]
    status: TokenStatus,
    /// When the token was issued.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the token expires, or null if it never expires.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    expires_at: Option<Timestamp>,
    /// When the token was revoked, or null.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    revoked_at: Option<Timestamp>,
    /// The token that replaced this one in a rotation, or null.
    #[schema(value_type = Option<String>, format = "uuid", required)]
    successor_id: Option<TokenId>,
    /// When the token was last used, or null if no use was recorded.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    last_used_at: Option<Timestamp>,
    /// How many uses of the token were recorded.
    #[schema(minimum = 0)]
    uses: u64,
    /// The networks from which the token may be used, or null for everywhere.
    #[schema(value_type = Option<Vec<String>>, required)]
    networks: Option<&'r [Network]>,
    /// The instant before which the token is refused, or null.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    not_before: Option<Timestamp>,
    /// When the token was suspended, or null if it is not.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    suspended_at: Option<Timestamp>,
    /// The metadata of the token.
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: &'r Metadata,
    /// Who issued the token, as in the audit log, or null if unknown.
    #[schema(required, max_length = 200)]
    created_by: Option<&'r str>,
    /// The version of the token, which changes with the token, but not with its use or its app. Its
    /// entity tag in quotes.
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    version: RecordVersion,
}

impl<'r> TokenView<'r> {
    /// Creates the view of a token, with its status at `now` and without a
    /// [format](Self::with_format).
    #[must_use]
    pub fn at(now: Timestamp, token: &'r TokenRecord) -> Self {
        Self {
            id: token.id,
            app_id: token.app.id,
            app_name: &token.app.name,
            name: &token.name,
            masked: token.mask,
            format: None,
            scopes: token.scopes.iter().collect(),
            status: token.status(now),
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
            successor_id: token.successor,
            last_used_at: token.last_used_at,
            uses: token.uses,
            networks: token.networks().map(Networks::as_slice),
            not_before: token.not_before(),
            suspended_at: token.suspended_at(),
            metadata: &token.metadata,
            created_by: token.created_by.as_deref(),
            version: token.version(),
        }
    }

    /// Sets the label of the token's format, as
    /// [`TokenFormats::label_of`](tower_api_tokens::TokenFormats::label_of) returns it.
    #[must_use]
    pub fn with_format(mut self, label: Option<&'r str>) -> Self {
        self.format = label;
        self
    }
}

/// The live tokens that deserve attention.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Report)]
pub struct ReportView {
    /// The time of the report.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What was counted.
    cards: Vec<ReportCardView>,
}

/// A part of a report.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ReportCard)]
struct ReportCardView {
    /// What the tokens have in common: they never expire, have had no recorded use for 90 days, expire within
    /// 14 days, were rotated and used since, or were rotated and not used since.
    #[schema(value_type = ReportKindSchema)]
    kind: ReportKind,
    /// How many tokens there are, up to 10,000.
    #[schema(maximum = 10_000)]
    count: usize,
    /// Whether there are more.
    is_truncated: bool,
    /// The query string that lists the tokens.
    query: String,
}

/// The result of a revocation of many tokens.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Revocation)]
pub struct RevocationView {
    /// How many tokens were revoked.
    revoked: usize,
    /// The value of the change `batch` in the events of the revocation, or null if none was revoked.
    #[schema(required, value_type = Option<String>, format = "uuid")]
    batch: Option<AuditEventId>,
}

impl From<&BulkRevocation> for RevocationView {
    fn from(revocation: &BulkRevocation) -> Self {
        Self {
            revoked: revocation.revoked,
            batch: revocation.batch.filter(|_| revocation.revoked > 0),
        }
    }
}

/// The OpenAPI schema of a [`ReportKind`].
struct ReportKindSchema;

impl PartialSchema for ReportKindSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .enum_values(Some(ReportKind::ALL.iter().map(|kind| kind.as_str())))
            .into()
    }
}

impl ToSchema for ReportKindSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ReportKind")
    }
}

impl From<&Report> for ReportView {
    fn from(report: &Report) -> Self {
        let cards = report.cards.iter().map(|card| ReportCardView {
            kind: card.kind,
            count: card.count,
            is_truncated: card.is_truncated,
            query: query_text(&card.query),
        });
        Self {
            at: report.at,
            cards: cards.collect(),
        }
    }
}

/// A newly issued token, including its text.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = IssuedToken)]
pub struct IssuedView<'r> {
    /// The text of the token. It cannot be retrieved again.
    token: &'r str,
    /// The token's record.
    record: TokenView<'r>,
}

impl<'r> IssuedView<'r> {
    /// Creates the view of a newly issued token, with its status at `now`. It contains the token's
    /// text, so use it only for the response to the client. `Debug` redacts the text.
    #[must_use]
    pub fn at(now: Timestamp, issued: &'r IssuedToken) -> Self {
        Self {
            token: issued.token().expose(),
            record: TokenView::at(now, issued.record()),
        }
    }

    /// Sets the label of the token's format. See [`TokenView::with_format`].
    #[must_use]
    pub fn with_format(mut self, label: Option<&'r str>) -> Self {
        self.record = self.record.with_format(label);
        self
    }
}

impl fmt::Debug for IssuedView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedView")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// An audit event.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub struct EventView<'r> {
    /// The event's identifier.
    #[schema(value_type = String, format = "uuid")]
    id: AuditEventId,
    /// When the event occurred.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who caused the event.
    #[schema(max_length = 200)]
    actor: &'r str,
    /// The action, like `token.issue`.
    #[schema(value_type = String, pattern = "^[a-z]+\\.[a-z]+$")]
    action: AuditAction,
    /// The app that the event concerns, or null if there is none or it is unknown.
    #[schema(value_type = Option<String>, required)]
    app_id: Option<AppId>,
    /// The token that the event concerns, or null.
    #[schema(value_type = Option<String>, format = "uuid", required)]
    token_id: Option<TokenId>,
    /// Whether the action was done or refused.
    outcome: OutcomeView,
    /// Why the action was refused, like `unknown_token`, or null.
    #[schema(required)]
    reason: Option<&'r str>,
    /// What an edit changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<ChangeView>, required)]
    changes: Option<Vec<ChangeView<'r>>>,
}

/// The old and the new value of a field that an edit changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AuditChange)]
struct ChangeView<'r> {
    /// The name of the field, like `scopes` or `metadata.plan`.
    field: &'r str,
    /// The value before, or null if there was none.
    #[schema(required)]
    old: Option<&'r str>,
    /// The value after, or null if there is none.
    #[schema(required)]
    new: Option<&'r str>,
}

impl<'r> From<&'r AuditChange> for ChangeView<'r> {
    fn from(change: &'r AuditChange) -> Self {
        Self {
            field: &change.field,
            old: change.old.as_deref(),
            new: change.new.as_deref(),
        }
    }
}

/// The outcome of an action.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuditOutcome)]
enum OutcomeView {
    Done,
    Refused,
}

impl<'r> From<&'r AuditEvent> for EventView<'r> {
    fn from(event: &'r AuditEvent) -> Self {
        let (outcome, reason) = match &event.outcome {
            AuditOutcome::Refused(reason) => (OutcomeView::Refused, Some(reason.as_str())),
            _ => (OutcomeView::Done, None),
        };
        Self {
            id: event.id,
            at: event.at,
            actor: &event.actor,
            action: event.action,
            app_id: event.app,
            token_id: event.token,
            outcome,
            reason,
            changes: Some(event.changes.iter().map(ChangeView::from).collect()),
        }
    }
}

impl EventView<'_> {
    /// Leaves out what an edit changed, for an event that was not read from the store.
    pub(crate) fn without_changes(mut self) -> Self {
        self.changes = None;
        self
    }
}

/// The rules that every new or edited token must follow.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
pub struct PolicyView<'r> {
    /// The maximum time from a token's creation to its expiry, in seconds, or null.
    #[schema(required, minimum = 0)]
    max_lifetime_seconds: Option<u64>,
    /// The lifetime of tokens that are issued without an expiry, in seconds, or null.
    #[schema(required, minimum = 0)]
    default_lifetime_seconds: Option<u64>,
    /// Whether every token must have an expiry.
    expiry_required: bool,
    /// How many live tokens an app may have, or null. Tokens that have a successor do not count.
    #[schema(required, minimum = 0)]
    max_live_tokens: Option<u32>,
    /// Whether the live tokens of an app must have different names.
    unique_names: bool,
    /// The scopes that the tokens of an app may have, or null for any.
    #[schema(required)]
    scopes: Option<Vec<&'r str>>,
    /// The scopes that the tokens of these apps may have, instead of `scopes`.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    scopes_of: BTreeMap<&'r str, Vec<&'r str>>,
}

impl<'r> From<&'r Policy> for PolicyView<'r> {
    fn from(policy: &'r Policy) -> Self {
        let list = |scopes: &'r ScopeSet| scopes.iter().collect();
        let of_apps = policy.scopes_of.iter();
        Self {
            max_lifetime_seconds: policy.max_lifetime.map(|lifetime| lifetime.as_secs()),
            default_lifetime_seconds: policy.default_lifetime.map(|lifetime| lifetime.as_secs()),
            expiry_required: policy.expiry_required,
            max_live_tokens: policy.max_live_tokens,
            unique_names: policy.unique_names,
            scopes: policy.scopes.as_ref().map(list),
            scopes_of: of_apps
                .map(|(app, scopes)| (app.as_str(), list(scopes)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, to_value};
    use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat};

    use super::*;

    async fn issued() -> IssuedToken {
        let format = TokenFormat::new("acme").unwrap();
        let tokens = ApiTokens::new(MemoryStore::new(), format);
        let app = tokens.create_app("Billing").await.unwrap();
        let scopes = "write read".parse().unwrap();
        let new = NewToken::named("ci").scopes(scopes);
        tokens.issue(&app.id, new).await.unwrap()
    }

    #[tokio::test]
    async fn an_app_serializes_like_its_record() {
        let app = issued().await.record().app.clone();
        let disabled = app.clone().disable(app.created_at);
        for app in [app, disabled] {
            let mut record = to_value(&app).unwrap();
            record["metadata"] = json!({});
            record["version"] = json!(app.version());
            assert_eq!(to_value(AppView::from(&app)).unwrap(), record);
        }
    }

    #[tokio::test]
    async fn a_token_has_its_status_and_no_digest() {
        let issued = issued().await;
        let token = issued.record();
        let view = to_value(TokenView::at(token.created_at, token)).unwrap();
        let record = to_value(token).unwrap();
        let mut expected = json!({
            "app_id": record["app"]["id"],
            "app_name": "Billing",
            "masked": record["mask"],
            "format": null,
            "scopes": ["read", "write"],
            "status": "live",
            "successor_id": null,
            "networks": null,
            "not_before": null,
            "suspended_at": null,
            "metadata": {},
            "created_by": null,
            "version": token.version(),
        });
        for same in [
            "id",
            "name",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "uses",
        ] {
            expected[same] = record[same].clone();
        }
        assert_eq!(view, expected);
        let labelled = TokenView::at(token.created_at, token).with_format(Some("live"));
        assert_eq!(to_value(labelled).unwrap()["format"], "live");
        let revoked = token.clone().revoke(token.created_at);
        let view = to_value(TokenView::at(token.created_at, &revoked)).unwrap();
        assert_eq!(view["status"], "revoked");
    }

    #[tokio::test]
    async fn debug_redacts_a_new_token() {
        let issued = issued().await;
        let view = IssuedView::at(issued.record().created_at, &issued);
        let text = issued.token().expose();
        assert_eq!(to_value(&view).unwrap()["token"], text);
        assert!(!format!("{view:?}").contains(text));
    }

    #[test]
    fn an_event_separates_outcome_and_reason() {
        let id = AuditEventId::from_bytes([1; 16]);
        let action = AuditAction::RevokeToken;
        for (outcome, shown) in [
            (AuditOutcome::Done, ["done".into(), Value::Null]),
            (
                AuditOutcome::Refused("unknown_token".into()),
                ["refused".into(), "unknown_token".into()],
            ),
        ] {
            let event = AuditEvent::new(id, Timestamp::UNIX_EPOCH, "alice", action, outcome);
            let view = to_value(EventView::from(&event)).unwrap();
            assert_eq!([&view["outcome"], &view["reason"]], shown.each_ref());
            assert_eq!(view["action"], "token.revoke");
        }
    }
}
