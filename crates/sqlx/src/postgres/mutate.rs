//! Makes changes. Each is one call of a function in the database, and therefore one round trip, so a process
//! that stops at any moment holds no lock.

use jiff::Timestamp;
use sqlx::{SqlStr, postgres::PgRow};
use tower_api_tokens::{
    Applied, AuditEvent, BoundKey, Mutation, Op, Repeated, StoreError, StoreErrorKind, TokenId,
    TokenTarget, store::microseconds,
};

use super::{PostgresStore, Query, error::odd_outcome, schema::Schema};
use crate::rows::{
    Columns, Identifier, TOKEN_COLUMNS, app_from, count, first_identifier_at, token_from,
    unsupported,
};

/// The column at which the outcome of a call begins, after the columns of a token.
const OUTCOME: usize = TOKEN_COLUMNS;

/// Calls a function that makes a change. The first argument is the event. The columns are those of
/// [`token_from`], and then the outcome.
fn call(schema: &Schema, function: &str, arguments: usize) -> SqlStr {
    let mut text = format!(
        "SELECT id, digest, mask, name, scopes, created_at, expires_at, revoked_at, \
            successor, last_used_at, uses, app_id, app_name, app_created_at, app_disabled_at, \
            restrictions, metadata, app_metadata, created_by, outcome, detail, made, affected \
            FROM @.api_token_describe(@.{function}\
            (ROW($1::uuid, $2::bigint, $3::text, $4::text, $5::text, $6::uuid, $7::text)::@.api_token_event"
    );
    for number in (8..).take(arguments) {
        text.push_str(&format!(", ${number}"));
    }
    text.push_str("))");
    schema.fill(&text)
}

/// Defines a call for each function, by its name and the number of its arguments after the event.
macro_rules! calls {
    ($($name:ident = $function:literal with $arguments:literal;)*) => {
        /// The calls that make changes.
        pub(super) struct Calls {
            $(pub(super) $name: SqlStr,)*
        }

        impl Calls {
            pub(super) fn new(schema: &Schema) -> Self {
                Self { $($name: call(schema, $function, $arguments),)* }
            }
        }

        /// The functions that a role must be allowed to execute to make changes.
        pub(super) const FUNCTIONS: &[&str] = &["api_token_describe", $($function),*];
    };
}

calls! {
    commit = "api_token_commit" with 21;
    commit_many = "api_token_commit_many" with 22;
    disable_app = "api_token_disable_app" with 2;
    revoke_token = "api_token_revoke_token" with 3;
    purge_tokens = "api_token_purge_tokens" with 3;
    trim_events = "api_token_trim_events" with 3;
    trim_keys = "api_token_trim_keys" with 2;
    clear_caches = "api_token_clear_caches" with 0;
}

/// What a function returns for a change.
#[derive(Clone, Copy)]
enum Returns {
    App,
    Token,
    Count,
}

impl PostgresStore {
    pub(super) async fn mutate(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        if mutation.key.is_some() {
            mutation.created()?;
        }
        match mutation.op {
            Op::Purge { before, limit } => self.purge(mutation, before, limit).await,
            // Operations that take access away read nothing first, so they also work on unreadable
            // rows.
            Op::DisableApp(_) | Op::RevokeToken(_) | Op::ClearCaches => {
                self.make(mutation, Vec::new()).await
            }
            Op::TrimEvents { .. } | Op::TrimKeys { .. } => self.make(mutation, Vec::new()).await,
            _ => self.plan_and_commit(mutation).await,
        }
    }

    /// Makes a change. A purge removes these candidates first, and then others up to its limit.
    pub(super) async fn make(
        &self,
        mutation: &Mutation,
        candidates: Vec<Identifier>,
    ) -> Result<Applied, StoreError> {
        let (query, returns) = self.call(mutation, candidates)?;
        let rows = self.change(query).await?;
        outcome(&rows)?.applied(returns)
    }

    fn call(
        &self,
        mutation: &Mutation,
        candidates: Vec<Identifier>,
    ) -> Result<(Query, Returns), StoreError> {
        let calls = &self.statements().calls;
        let begin = |call| self.begin_call(call, mutation.audit.as_ref());
        let at = microseconds(mutation.at);
        Ok(match &mutation.op {
            Op::DisableApp(id) => {
                let call = begin(&calls.disable_app).bind(id.to_string()).bind(at);
                (call, Returns::App)
            }
            Op::RevokeToken(target) => {
                let call = bind_target(begin(&calls.revoke_token), target).bind(at);
                (call, Returns::Token)
            }
            Op::Purge { before, limit } => {
                let call = begin(&calls.purge_tokens)
                    .bind(candidates)
                    .bind(microseconds(*before))
                    .bind(i64::try_from(*limit).unwrap_or(i64::MAX));
                (call, Returns::Count)
            }
            Op::TrimEvents { before, limit } => {
                let call = begin(&calls.trim_events)
                    .bind(microseconds(*before))
                    .bind(first_identifier_at(*before))
                    .bind(i64::try_from(*limit).unwrap_or(i64::MAX));
                (call, Returns::Count)
            }
            Op::TrimKeys { before, limit } => {
                let call = begin(&calls.trim_keys)
                    .bind(microseconds(*before))
                    .bind(i64::try_from(*limit).unwrap_or(i64::MAX));
                (call, Returns::Count)
            }
            Op::ClearCaches => (begin(&calls.clear_caches), Returns::Count),
            _ => return Err(unsupported()),
        })
    }

    /// Begins a call by binding its event. The other arguments follow.
    pub(super) fn begin_call(&self, call: &SqlStr, event: Option<&AuditEvent>) -> Query {
        let query = self.query(call);
        match event {
            Some(event) => bind_event(query, event),
            None => query
                .bind(None::<Identifier>)
                .bind(None::<i64>)
                .bind(None::<String>)
                .bind(None::<String>)
                .bind(None::<String>)
                .bind(None::<Identifier>)
                .bind(None::<String>),
        }
    }
}

/// Binds an event. PostgreSQL cannot store NUL in text, so it is replaced: it must not make the change fail.
pub(super) fn bind_event(query: Query, event: &AuditEvent) -> Query {
    let text = |text: &str| text.replace('\0', "\u{fffd}");
    let fits = |text: String, most: usize| match text.char_indices().nth(most) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    };
    let actor = text(&event.actor);
    let end = actor.floor_char_boundary(AuditEvent::MAX_ACTOR_LEN);
    query
        .bind(Identifier::from(event.id))
        .bind(microseconds(event.at))
        .bind(actor[..end].to_owned())
        .bind(event.action.as_str())
        .bind(event.app.map(|app| app.to_string()))
        .bind(event.token.map(Identifier::from))
        .bind(fits(text(&event.outcome.to_string()), MAX_OUTCOME_LEN))
}

/// The maximum length of an event's outcome, in characters.
const MAX_OUTCOME_LEN: usize = 200;

pub(super) fn bind_key(query: Query, mutation: &Mutation) -> Query {
    let oldest = mutation.at.checked_sub(BoundKey::RETENTION);
    query
        .bind(mutation.key.map(|key| key.key))
        .bind(mutation.key.map(|key| key.request))
        .bind(microseconds(mutation.at))
        .bind(microseconds(oldest.unwrap_or(Timestamp::MIN)))
}

fn bind_target(query: Query, target: &TokenTarget) -> Query {
    query
        .bind(Identifier::from(target.id))
        .bind(target.app.map(|app| app.to_string()))
}

/// The row that a call returns for a change.
pub(super) enum Outcome<'r> {
    Made(&'r PgRow),
    /// Something that the change depends on has changed since it was planned.
    Stale,
}

/// Reads the result of a call.
pub(super) fn outcome(rows: &[PgRow]) -> Result<Outcome<'_>, StoreError> {
    let row = rows.first().ok_or_else(|| odd_outcome("no row"))?;
    let detail = row.text(OUTCOME + 1)?.unwrap_or_default();
    match row.text(OUTCOME)?.unwrap_or_default() {
        "done" => Ok(Outcome::Made(row)),
        "stale" => Ok(Outcome::Stale),
        "not_found" => Err(StoreError::new(StoreErrorKind::NotFound)),
        "already_exists" => Err(StoreError::new(StoreErrorKind::AlreadyExists)),
        "repeated" => {
            let made = row.identifier(OUTCOME + 2)?;
            let made = made.ok_or_else(|| odd_outcome("no token of a key"))?;
            Err(Repeated::new(TokenId::from_bytes(made), detail == "same").into())
        }
        other => Err(odd_outcome(other)),
    }
}

impl Outcome<'_> {
    pub(super) fn is_made(&self) -> bool {
        matches!(self, Self::Made(_))
    }

    fn applied(self, returns: Returns) -> Result<Applied, StoreError> {
        let Self::Made(row) = self else {
            return Err(odd_outcome("a plan of a change without one"));
        };
        match returns {
            Returns::App => app_from(row, 11, 17).map(Applied::App),
            Returns::Token => token_from(row).map(Applied::Token),
            Returns::Count => {
                let affected = count(row, OUTCOME + 3)?;
                Ok(Applied::Count(
                    usize::try_from(affected).unwrap_or(usize::MAX),
                ))
            }
        }
    }
}
