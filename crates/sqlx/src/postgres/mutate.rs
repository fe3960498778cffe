//! Makes changes. Each is one call of a function in the database, and therefore one round trip, so a process
//! that stops at any moment holds no lock.

use jiff::Timestamp;
use sqlx::{SqlStr, postgres::PgRow};
use tower_api_tokens::{
    Applied, AuditEvent, BoundKey, GrantError, Grantable, Mutation, Op, Repeated, ScopeSet,
    StoreError, StoreErrorKind, SuccessorError, TokenId, TokenRecord, TokenTarget, TransitionError,
    store::microseconds,
};

use super::{PostgresStore, Query, error::odd_outcome, schema::Schema};
use crate::rows::{Columns, Identifier, app_from, count, token_from, unsupported};

/// The column at which the outcome of a call begins, after the columns of a token.
const OUTCOME: usize = 16;

/// Calls a function that makes a change. The first argument is the event. The columns are those of
/// [`token_from`], and then the outcome.
fn call(schema: &Schema, function: &str, arguments: usize) -> SqlStr {
    let mut text = format!(
        "SELECT id, digest, mask, name, scopes, created_at, actual_expires_at, revoked_at, \
            successor, last_used_at, uses, app_id, app_name, app_created_at, app_disabled_at, \
            restrictions, outcome, detail, made, affected FROM @.{function}\
            (ROW($1::uuid, $2::bigint, $3::text, $4::text, $5::text, $6::uuid, $7::text)::@.api_token_event"
    );
    for number in (8..).take(arguments) {
        text.push_str(&format!(", ${number}"));
    }
    text.push(')');
    schema.fill(&text)
}

/// Defines a call for each function, by its name and the number of its arguments after the event.
macro_rules! calls {
    ($($name:ident = $function:literal with $arguments:literal;)*) => {
        /// The calls that make changes.
        pub(super) struct Calls {
            $($name: SqlStr,)*
        }

        impl Calls {
            pub(super) fn new(schema: &Schema) -> Self {
                Self { $($name: call(schema, $function, $arguments),)* }
            }
        }

        /// The functions that a role must be allowed to execute to make changes.
        pub(super) const FUNCTIONS: &[&str] = &[$($function),*];
    };
}

calls! {
    create_app = "api_token_create_app" with 4;
    disable_app = "api_token_disable_app" with 2;
    enable_app = "api_token_enable_app" with 4;
    insert_tokens = "api_token_insert_tokens" with 17;
    rename_token = "api_token_rename_token" with 3;
    rotate_token = "api_token_rotate_token" with 20;
    revoke_token = "api_token_revoke_token" with 3;
    purge_tokens = "api_token_purge_tokens" with 3;
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
        if let Op::Purge { before, limit } = mutation.op {
            return self.purge(mutation, before, limit).await;
        }
        self.make(mutation, Vec::new()).await
    }

    /// Makes a change. A purge removes these candidates first, and then others up to its limit.
    pub(super) async fn make(
        &self,
        mutation: &Mutation,
        candidates: Vec<Identifier>,
    ) -> Result<Applied, StoreError> {
        let (query, returns) = self.call(mutation, candidates)?;
        let rows = self.change(query).await?;
        outcome(&rows, mutation, returns)
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
            Op::CreateApp(app) => {
                let call = begin(&calls.create_app)
                    .bind(app.id.to_string())
                    .bind(app.name.clone())
                    .bind(microseconds(app.created_at))
                    .bind(app.disabled_at.map(microseconds));
                (call, Returns::App)
            }
            Op::DisableApp(id) => {
                let call = begin(&calls.disable_app).bind(id.to_string()).bind(at);
                (call, Returns::App)
            }
            Op::EnableApp { app, grantable } => {
                let call = begin(&calls.enable_app)
                    .bind(app.to_string())
                    .bind(at)
                    .bind(granted(grantable))
                    .bind(grantable.latest_expiry().map(microseconds));
                (call, Returns::App)
            }
            Op::InsertTokens(tokens) => {
                let call = bind_key(begin(&calls.insert_tokens), mutation);
                (bind_tokens(call, tokens), Returns::Count)
            }
            Op::RenameToken { target, name } => {
                let call = bind_target(begin(&calls.rename_token), target).bind(name.clone());
                (call, Returns::Token)
            }
            Op::RotateToken {
                target,
                successor,
                overlap_ends,
            } => {
                let call = bind_key(begin(&calls.rotate_token), mutation);
                let call = bind_tokens(call, std::slice::from_ref(successor));
                let call = bind_target(call, target).bind(microseconds(*overlap_ends));
                (call, Returns::Token)
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
            Op::ClearCaches => (begin(&calls.clear_caches), Returns::Count),
            _ => return Err(unsupported()),
        })
    }

    /// Begins a call by binding its event. The other arguments follow.
    fn begin_call(&self, call: &SqlStr, event: Option<&AuditEvent>) -> Query {
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

fn bind_key(query: Query, mutation: &Mutation) -> Query {
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

/// Binds an array for each column.
fn bind_tokens(query: Query, tokens: &[TokenRecord]) -> Query {
    fn column<T>(tokens: &[TokenRecord], value: impl Fn(&TokenRecord) -> T) -> Vec<T> {
        tokens.iter().map(value).collect()
    }
    query
        .bind(column(tokens, |token| Identifier::from(token.id)))
        .bind(column(tokens, |token| token.digest.as_bytes().to_vec()))
        .bind(column(tokens, |token| token.mask.to_string()))
        .bind(column(tokens, |token| token.app.id.to_string()))
        .bind(column(tokens, |token| token.name.clone()))
        .bind(column(tokens, |token| token.scopes.to_string()))
        .bind(column(tokens, |token| microseconds(token.created_at)))
        .bind(column(tokens, |token| token.expires_at.map(microseconds)))
        .bind(column(tokens, |token| token.revoked_at.map(microseconds)))
        .bind(column(tokens, |token| {
            token.successor.map(Identifier::from)
        }))
        .bind(column(tokens, |token| token.last_used_at.map(microseconds)))
        .bind(column(tokens, |token| {
            i64::try_from(token.uses).unwrap_or(i64::MAX)
        }))
        .bind(column(tokens, |token| {
            token.restrictions.as_ref().map(ToString::to_string)
        }))
}

fn granted(grantable: &Grantable) -> Option<Vec<String>> {
    let scopes = grantable.scope_set()?;
    Some(scopes.iter().map(str::to_owned).collect())
}

/// Reads the result of a call.
fn outcome(rows: &[PgRow], mutation: &Mutation, returns: Returns) -> Result<Applied, StoreError> {
    let row = rows.first().ok_or_else(|| odd_outcome("no row"))?;
    let detail = row.text(OUTCOME + 1)?.unwrap_or_default();
    match row.text(OUTCOME)?.unwrap_or_default() {
        "done" => applied(row, returns),
        "not_found" => Err(StoreError::new(StoreErrorKind::NotFound)),
        "already_exists" => Err(StoreError::new(StoreErrorKind::AlreadyExists)),
        "repeated" => {
            let made = row.identifier(OUTCOME + 2)?;
            let made = made.ok_or_else(|| odd_outcome("no token of a key"))?;
            Err(Repeated::new(TokenId::from_bytes(made), detail == "same").into())
        }
        "unrestricted" => Err(SuccessorError::default().into()),
        "conflict" => Err(match detail {
            "revoked" => TransitionError::Revoked.into(),
            "expired" => TransitionError::Expired.into(),
            "app_disabled" => TransitionError::AppDisabled.into(),
            "rotated" => TransitionError::Rotated.into(),
            other => odd_outcome(other),
        }),
        "lacking" => {
            let lacking: ScopeSet = detail.parse().map_err(|_| odd_outcome("lacking scopes"))?;
            Err(GrantError::Scopes(lacking).into())
        }
        "outlives" => match &mutation.op {
            Op::EnableApp { grantable, .. } => {
                let latest = grantable.latest_expiry();
                let latest = latest.ok_or_else(|| odd_outcome("an expiry"))?;
                Err(GrantError::Expiry(latest).into())
            }
            _ => Err(odd_outcome("an expiry")),
        },
        other => Err(odd_outcome(other)),
    }
}

fn applied(row: &PgRow, returns: Returns) -> Result<Applied, StoreError> {
    match returns {
        Returns::App => app_from(row, 11).map(Applied::App),
        Returns::Token => token_from(row).map(Applied::Token),
        Returns::Count => {
            let affected = count(row, OUTCOME + 3)?;
            Ok(Applied::Count(
                usize::try_from(affected).unwrap_or(usize::MAX),
            ))
        }
    }
}
