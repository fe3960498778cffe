//! Every statement: none is put together from values.

use sqlx::SqlStr;

use super::schema::Schema;
use crate::{record::TokenStatus, store::TokenQuery};

macro_rules! statements {
    ($($(#[doc = $doc:literal])* $name:ident = $template:expr;)*) => {
        /// The statements on the tables of one schema.
        pub(super) struct Statements {
            schema: Schema,
            $($(#[doc = $doc])* pub(super) $name: SqlStr,)*
        }

        impl Statements {
            pub(super) fn new(schema: Schema) -> Self {
                $(let $name = schema.fill($template);)*
                Self { schema, $($name,)* }
            }
        }
    };
}

macro_rules! tokens {
    ($clause:literal) => {
        concat!(
            "SELECT id, digest, mask, name, scopes, created_at, expires_at, revoked_at, successor, ",
            "last_used_at, uses, app_id, app_name, app_created_at, app_disabled_at ",
            "FROM @.api_token_records ",
            $clause
        )
    };
}

/// A token, or nulls in its place, and the latest revision.
macro_rules! with_latest {
    ($tokens:literal) => {
        concat!(
            "SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at, ",
            "t.revoked_at, t.successor, t.last_used_at, t.uses, ",
            "t.app_id, t.app_name, t.app_created_at, t.app_disabled_at, r.revision, r.mark ",
            "FROM (SELECT revision, mark FROM @.api_token_changes ORDER BY revision DESC LIMIT 1) r ",
            "LEFT JOIN ", $tokens
        )
    };
}

/// What a change of one token returns: the token as it is then.
macro_rules! changed_token {
    ($set:literal, $clause:literal) => {
        concat!(
            "UPDATE @.api_tokens t SET ",
            $set,
            " FROM @.api_token_apps a ",
            "WHERE t.id = $1 AND a.id = t.app_id ",
            $clause,
            " RETURNING t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at, ",
            "t.revoked_at, t.successor, t.last_used_at, t.uses, ",
            "a.id, a.name, a.created_at, a.disabled_at"
        )
    };
}

statements! {
    /// Always one row.
    find = with_latest!("@.api_token_records t ON t.digest = $1");
    /// At least one row.
    live = with_latest!("LATERAL (SELECT * FROM @.api_token_records \
        WHERE id < $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3) \
        AND app_disabled_at IS NULL ORDER BY id DESC LIMIT $2) t ON true ORDER BY t.id DESC");
    token = tokens!("WHERE id = $1 AND ($2 IS NULL OR app_id = $2)");
    insert_app =
        "INSERT INTO @.api_token_apps (id, name, created_at, disabled_at) VALUES ($1, $2, $3, $4)";
    app = "SELECT id, name, created_at, disabled_at FROM @.api_token_apps WHERE id = $1";
    apps = "SELECT id, name, created_at, disabled_at FROM @.api_token_apps \
        WHERE id > $1 AND ($3 IS NULL OR strpos(lower(name COLLATE \"C\"), lower($3 COLLATE \"C\")) > 0) \
        ORDER BY id LIMIT $2";
    disable_app = "UPDATE @.api_token_apps SET disabled_at = coalesce(disabled_at, $2) \
        WHERE id = $1 RETURNING id, name, created_at, disabled_at";
    enable_app = "UPDATE @.api_token_apps SET disabled_at = NULL \
        WHERE id = $1 RETURNING id, name, created_at, disabled_at";
    /// Takes arrays, one for each column.
    insert_tokens = "INSERT INTO @.api_tokens \
        (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor, last_used_at, uses) \
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    rename = changed_token!("name = $2", "");
    revoke = changed_token!("revoked_at = $2", "");
    rotate = changed_token!(
        "expires_at = $2, successor = $3",
        "AND t.successor IS NULL AND t.revoked_at IS NULL"
    );
    unrevoked = tokens!("WHERE app_id = $1 AND revoked_at IS NULL");
    /// Changes no row, but takes the lock under which all changes are made.
    lock = "UPDATE @.api_tokens SET revoked_at = revoked_at WHERE false";
    trim_keys = "DELETE FROM @.api_token_keys WHERE used_at < $1";
    key = "SELECT token, request FROM @.api_token_keys WHERE key = $1";
    use_key = "INSERT INTO @.api_token_keys (key, request, token, used_at) VALUES ($1, $2, $3, $4)";
    /// Gathers the identifiers first, for a plan that joined them would read the whole table where it
    /// does not know how few they are.
    purge = "WITH purged AS (DELETE FROM @.api_tokens WHERE id = ANY (ARRAY ( \
            (SELECT id FROM @.api_tokens WHERE revoked_at < $1 ORDER BY revoked_at LIMIT $2) \
            UNION (SELECT id FROM @.api_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2) \
            LIMIT $2)) RETURNING 1) \
        SELECT count(*) FROM purged";
    /// Locks the rows in one order, so that two nodes that record at once do not deadlock.
    record_usage = "WITH used AS ( \
            SELECT token, max(used_at) AS used_at, sum(uses) AS uses \
            FROM unnest($1, $2, $3) AS usage (token, used_at, uses) GROUP BY token), \
        locked AS ( \
            SELECT id FROM @.api_tokens WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE) \
        UPDATE @.api_tokens t SET \
            last_used_at = greatest(t.last_used_at, used.used_at), \
            uses = least(t.uses + used.uses, 9223372036854775807) \
        FROM locked JOIN used ON used.token = locked.id WHERE t.id = locked.id";
    revision = "SELECT revision, mark FROM @.api_token_changes ORDER BY revision DESC LIMIT 1";
    changes = "SELECT revision, mark, digest, app_id, (SELECT max(revision) FROM @.api_token_changes) \
        FROM @.api_token_changes WHERE revision >= $1 ORDER BY revision LIMIT $2";
    append_event = "INSERT INTO @.api_token_audit (id, at, actor, action, app_id, token, outcome) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
}

impl Statements {
    /// The statement for a listing, in the order and by the terms of [`TokenQuery::selects`].
    pub(super) fn list(&self, query: &TokenQuery) -> SqlStr {
        let mut text = tokens!("WHERE $2 IS NOT NULL").to_owned();
        if query.after.is_some() {
            text.push_str(" AND id < $3");
        }
        if query.app.is_some() {
            text.push_str(" AND app_id = $4");
        }
        if query.name.is_some() {
            // In this collation the letters of ASCII alone have a case.
            text.push_str(" AND strpos(lower(name COLLATE \"C\"), lower($5 COLLATE \"C\")) > 0");
        }
        if query.successor.is_some() {
            text.push_str(" AND successor = $6");
        }
        text.push_str(match query.status {
            None => "",
            Some(TokenStatus::Live) => {
                " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2) \
                  AND app_disabled_at IS NULL"
            }
            Some(TokenStatus::Revoked) => " AND revoked_at IS NOT NULL",
            Some(TokenStatus::Expired) => " AND revoked_at IS NULL AND expires_at <= $2",
            Some(TokenStatus::AppDisabled) => {
                " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2) \
                  AND app_disabled_at IS NOT NULL"
            }
        });
        text.push_str(" ORDER BY id DESC LIMIT $1");
        self.schema.fill(&text)
    }

    /// The statement for a listing of events, by the terms of
    /// [`AuditQuery::selects`](crate::AuditQuery::selects).
    pub(super) fn events(&self, query: &crate::store::AuditQuery) -> SqlStr {
        let mut text = "SELECT id, at, actor, action, app_id, token, outcome \
            FROM @.api_token_audit WHERE true"
            .to_owned();
        if query.after.is_some() {
            text.push_str(" AND id < $2");
        }
        if query.app.is_some() {
            text.push_str(" AND app_id = $3");
        }
        if query.token.is_some() {
            text.push_str(" AND token = $4");
        }
        text.push_str(" ORDER BY id DESC LIMIT $1");
        self.schema.fill(&text)
    }
}
