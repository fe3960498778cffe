//! The backends of the commands: a store, or the management API of a server.

mod document;
mod policy;
pub(crate) mod server;
mod store;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{TryStreamExt, stream::BoxStream};
use jiff::Timestamp;
use serde::Serialize;
use tower_api_tokens::{
    AppEdit, AppId, AppQuery, AuditQuery, EventPosition, EventQuery, FleetSettings,
    LifecycleErrorKind, Metadata, Networks, NodeId, Policy, RecordVersion, Revision, ScopeSet,
    TokenEdit, TokenId, TokenQuery,
};
use tower_api_tokens_admin::OperationErrorKind;

pub(crate) use document::{
    App, Document, Event, Fleet, IssuedDocument, Node, Report, ReportCard, Revocation,
    RevokedEverywhere, Selection, Token,
};
pub(crate) use policy::Rules;

use crate::{
    failure::Failure, options::Options, output::print_changed_json, session::Session, time::Expiry,
};

/// The records of a listing, in its order.
pub(crate) type Records<'a, T> = BoxStream<'a, Result<Document<T>, Failure>>;

/// A token to issue.
#[derive(Clone, Debug)]
pub(crate) struct NewToken<'a> {
    pub(crate) name: &'a str,
    pub(crate) scopes: ScopeSet,
    /// The label of its format, or `None` for the default one.
    pub(crate) format: Option<&'a str>,
    /// When it expires, or `None` for the default of the policy.
    pub(crate) expires: Option<Expiry>,
    pub(crate) networks: Option<Networks>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) metadata: Metadata,
}

/// Which tokens to list.
#[derive(Clone, Debug)]
pub(crate) struct TokenFilter {
    pub(crate) query: TokenQuery,
    /// The label or the prefix of their format. The server knows its own formats.
    pub(crate) format: Option<String>,
}

/// The result of a search for a token by its text.
pub(crate) enum FoundToken {
    Record(Box<Document<Token>>),
    /// No token has this text.
    Unknown,
    /// The text has none of the accepted formats.
    OtherFormat(Failure),
}

impl From<Option<Document<Token>>> for FoundToken {
    fn from(record: Option<Document<Token>>) -> Self {
        record.map_or(Self::Unknown, |record| Self::Record(Box::new(record)))
    }
}

/// Events in the order in which they were committed, each with its position.
pub(crate) struct EventsInOrder {
    pub(crate) events: Vec<Document<Event>>,
    /// The position to continue from.
    pub(crate) position: EventPosition,
}

/// Whether a text is not that of a token of an accepted format.
fn is_other_format(kind: OperationErrorKind) -> bool {
    kind == OperationErrorKind::Lifecycle(LifecycleErrorKind::ForeignFormat)
}

/// Whether a token was not issued because of its format, so that another `--format` is needed.
fn is_about_format(kind: OperationErrorKind) -> bool {
    matches!(
        kind,
        OperationErrorKind::Lifecycle(
            LifecycleErrorKind::UnknownFormat | LifecycleErrorKind::FormatNotAllowed
        )
    )
}

/// The operations of the commands. A command that supports both a store and a server needs one
/// method here, in `store` and in `server`. Both return the same documents and the same failures.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Returns a revision of the store that includes every change made so far, if there was one.
    fn latest_revision(&self) -> Option<Revision>;

    /// Returns the open store, for a command that the management API does not offer.
    fn store(&self) -> Result<&Session, Failure>;

    async fn app(&self, id: &AppId) -> Result<Option<Document<App>>, Failure>;

    fn apps(&self, query: AppQuery) -> Records<'_, App>;

    async fn create_app(
        &self,
        id: Option<AppId>,
        name: &str,
        metadata: Metadata,
    ) -> Result<Document<App>, Failure>;

    async fn edit_app(
        &self,
        id: &AppId,
        version: Option<RecordVersion>,
        edit: AppEdit,
    ) -> Result<Document<App>, Failure>;

    async fn delete_app(&self, id: &AppId) -> Result<(), Failure>;

    async fn disable_app(&self, id: &AppId) -> Result<Document<App>, Failure>;

    async fn enable_app(&self, id: &AppId) -> Result<Document<App>, Failure>;

    async fn token(&self, id: TokenId) -> Result<Document<Token>, Failure>;

    /// Searches for the token with this text.
    async fn find_token(&self, text: &str) -> Result<FoundToken, Failure>;

    fn tokens(&self, filter: TokenFilter) -> Result<Records<'_, Token>, Failure>;

    async fn issue(&self, app: &AppId, new: NewToken<'_>) -> Result<IssuedDocument, Failure>;

    async fn rotate(&self, id: TokenId, overlap: Duration) -> Result<IssuedDocument, Failure>;

    async fn rename_token(&self, id: TokenId, name: &str) -> Result<Document<Token>, Failure>;

    async fn edit_token(
        &self,
        id: TokenId,
        version: Option<RecordVersion>,
        edit: TokenEdit,
    ) -> Result<Document<Token>, Failure>;

    async fn suspend(&self, id: TokenId) -> Result<Document<Token>, Failure>;

    async fn resume(&self, id: TokenId) -> Result<Document<Token>, Failure>;

    async fn revoke(&self, id: TokenId) -> Result<Document<Token>, Failure>;

    async fn report(&self, app: Option<AppId>) -> Result<Document<Report>, Failure>;

    /// Selects tokens to revoke.
    async fn select(&self, filter: &TokenFilter) -> Result<Selection, Failure>;

    /// Revokes at most `count` tokens, none of which is newer than `newest`.
    async fn revoke_selected(
        &self,
        filter: TokenFilter,
        newest: TokenId,
        count: usize,
    ) -> Result<Document<Revocation>, Failure>;

    /// Revokes the active tokens of these, at most 1,000, except for the one that the backend itself uses.
    async fn revoke_many(&self, ids: &[TokenId]) -> Result<Document<Revocation>, Failure>;

    /// Revokes a token, and waits until no node accepts it any more.
    async fn revoke_everywhere(
        &self,
        id: TokenId,
        wait: Duration,
    ) -> Result<Document<RevokedEverywhere>, Failure>;

    /// Lists the nodes that verify tokens.
    fn nodes(&self) -> Records<'_, Node>;

    async fn remove_node(&self, id: NodeId) -> Result<(), Failure>;

    async fn fleet(&self) -> Result<Document<Fleet>, Failure>;

    async fn set_fleet(&self, settings: FleetSettings) -> Result<Document<Fleet>, Failure>;

    /// Revokes the token that the backend itself uses, which needs no other right.
    async fn revoke_own(&self) -> Result<(), Failure>;

    async fn policy(&self) -> Result<Document<Rules>, Failure>;

    async fn set_policy(
        &self,
        version: Option<RecordVersion>,
        policy: Policy,
    ) -> Result<Document<Rules>, Failure>;

    fn events(&self, query: AuditQuery) -> Records<'_, Event>;

    /// Reads events in the order in which they were committed. If there is none yet, waits for one
    /// for up to `wait`.
    async fn read_events(
        &self,
        query: &EventQuery,
        wait: Duration,
    ) -> Result<EventsInOrder, Failure>;
}

/// The environment of a command.
pub(crate) struct Context<'a> {
    pub(crate) backend: &'a dyn Backend,
    /// Print JSON.
    pub(crate) json: bool,
    pub(crate) options: &'a Options,
}

impl Context<'_> {
    /// Prints a record as JSON: after a change, with the revision of the store that includes it.
    pub(crate) fn print_json(&self, record: &impl Serialize) -> Result<(), Failure> {
        print_changed_json(record, self.backend.latest_revision())
    }

    /// Finds an app by its identifier or name, or by `id:IDENTIFIER`. Fails if several apps match:
    /// otherwise anyone who can create an app could give it the name or identifier of another, and
    /// get the tokens that are meant for that one.
    pub(crate) async fn find_app(&self, named: &str) -> Result<Document<App>, Failure> {
        if let Some(id) = named.strip_prefix("id:") {
            return match AppId::new(id) {
                Ok(id) => self.backend.app(&id).await?.ok_or_else(no_such_app),
                Err(error) => Err(Failure::usage(error.to_string())),
            };
        }
        let mut found = Vec::new();
        if let Ok(id) = AppId::new(named) {
            found.extend(self.backend.app(&id).await?);
        }
        // The query matches parts of names.
        let query = AppQuery::default().name(named).limit(1000);
        let mut apps = self.backend.apps(query);
        while let Some(app) = apps.try_next().await? {
            if app.name == named && app.id.as_str() != named {
                found.push(app);
            }
        }
        match found.as_slice() {
            [] => Err(no_such_app()),
            [_] => Ok(found.remove(0)),
            _ => {
                let named: Vec<_> = found
                    .iter()
                    .map(|app| format!("`id:{}` ({})", app.id, app.name))
                    .collect();
                Err(Failure::usage(format!(
                    "several apps have this name or identifier; use one of {}",
                    named.join(", ")
                )))
            }
        }
    }
}

fn no_such_node() -> Failure {
    Failure::not_found("no node has this identifier; list all nodes with `api-tokens nodes`")
}

fn no_such_app() -> Failure {
    Failure::not_found(
        "no app has this identifier or name; list all apps with `api-tokens app list`",
    )
}
