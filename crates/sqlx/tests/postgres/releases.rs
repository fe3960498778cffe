//! The tables of released versions, and nodes of these versions, by their statements.

use std::fmt::Write as _;

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, Postgres, Row, postgres::PgArguments, query::Query,
};
use tower_api_tokens::{TokenDigest, TokenId};

use crate::support::{Schema, execute, server};

/// The migrations of the released versions.
const MIGRATIONS: [(&str, &str); 3] = [
    (
        "tokens",
        include_str!("../../migrations/postgres/0001_tokens.sql"),
    ),
    (
        "changes",
        include_str!("../../migrations/postgres/0002_changes.sql"),
    ),
    (
        "restrictions",
        include_str!("../../migrations/postgres/0003_restrictions.sql"),
    ),
];

/// The number of released versions.
pub(crate) const RELEASED: usize = MIGRATIONS.len();

/// Creates the tables of a released version, and returns a connection with the schema as its search path.
pub(crate) async fn tables_of(version: usize) -> (Schema, PgConnection) {
    let schema = Schema::new();
    let mut hand = PgConnection::connect(&server()).await.unwrap();
    let name = &schema.name;
    execute(
        &mut hand,
        &format!(
            "CREATE SCHEMA \"{name}\"; SET search_path TO \"{name}\", pg_temp; \
             CREATE TABLE _api_token_migrations (version bigint NOT NULL PRIMARY KEY, \
                name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        ),
    )
    .await;
    for (number, (name, sql)) in (1..).zip(&MIGRATIONS[..version]) {
        let record = format!(
            "INSERT INTO _api_token_migrations (version, name) VALUES ({number}, '{name}')"
        );
        execute(&mut hand, &format!("{sql}; {record}")).await;
    }
    (schema, hand)
}

pub(crate) fn id_of(number: u128) -> String {
    TokenId::from_bytes(number.to_be_bytes()).to_string()
}

pub(crate) fn digest_of(number: u128) -> TokenDigest {
    TokenDigest::of(&number.to_be_bytes())
}

/// The outcome of a change, its detail, and the expiry of the token that it returns.
pub(crate) type Outcome = (String, Option<String>, Option<i64>);

/// The columns that every version reads of a token, for its lookup by digest.
macro_rules! find {
    ($view:literal, $more:literal) => {
        concat!(
            "SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at, t.revoked_at, ",
            "t.successor, t.last_used_at, t.uses, t.app_id, t.app_name, t.app_created_at, ",
            "t.app_disabled_at, r.revision, r.mark, ",
            $more,
            " AS is_restricted FROM ",
            "(SELECT revision, mark FROM api_token_changes ORDER BY revision DESC LIMIT 1) r ",
            "LEFT JOIN ",
            $view,
            " t ON t.digest = $1"
        )
    };
}

/// The arrays of a token to insert, for the app `app`. Parameters: its identifier and its digest.
const ARRAYS: &str = "ARRAY[$1::text::uuid], ARRAY[$2::bytea], ARRAY['acme_…x7Kq'], ARRAY['app'], ARRAY['ci'], \
    ARRAY[''], ARRAY[0::bigint], ARRAY[NULL::bigint], ARRAY[NULL::bigint], ARRAY[NULL::uuid], \
    ARRAY[NULL::bigint], ARRAY[0::bigint]";

/// An expiry that has not passed.
pub(crate) const LATER: i64 = 9_000_000_000_000_000;

/// Begins a transaction of a node of the first version.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
    UPDATE api_tokens t SET revoked_at = revoked_at WHERE false";

/// What a changed token returns to a node of the first version.
const RETURNING: &str = " RETURNING t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at, \
    t.revoked_at, t.successor, t.last_used_at, t.uses, a.id, a.name, a.created_at, a.disabled_at";

/// A node of a released version, which prepares its statements once.
pub(crate) struct Node {
    version: usize,
    connection: PgConnection,
}

/// A token as a node sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Unknown,
    Live,
    Revoked,
    Expired,
    AppDisabled,
    Restricted,
}

impl Node {
    pub(crate) async fn start(schema: &Schema, version: usize) -> Self {
        let connection = schema.connect().await;
        Self {
            version,
            connection,
        }
    }

    /// Calls a function that makes a change.
    fn call(&self, function: &str, arguments: &str) -> String {
        let columns = match self.version {
            2 => "expires_at",
            _ => "actual_expires_at",
        };
        let mut call = format!(
            "SELECT outcome, detail, {columns} AS expires_at, id, digest, mask, name, scopes, created_at, \
             revoked_at, successor, last_used_at, uses, app_id, app_name, app_created_at, app_disabled_at, "
        );
        if self.version > 2 {
            call.push_str("restrictions, ");
        }
        write!(
            call,
            "made, affected FROM api_token_{function} \
             (ROW(NULL::uuid, NULL::bigint, NULL::text, NULL::text, NULL::text, NULL::uuid, NULL::text)::api_token_event{arguments})"
        )
        .unwrap();
        call
    }

    async fn change(
        &mut self,
        call: String,
        bind: impl for<'q> Fn(Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>,
    ) -> Outcome {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let query = bind(sqlx::query(AssertSqlSafe(call.clone())));
            match query.fetch_one(&mut self.connection).await {
                Ok(row) => return (row.get(0), row.get(1), row.get(2)),
                // The migration to the third version has altered what functions return and call, so that calls in
                // progress fail and are rolled back. The next one must not.
                Err(error) if self.version == 2 && attempts == 1 => {
                    let code = error.as_database_error().and_then(|error| error.code());
                    let code = code.as_deref().unwrap_or_default();
                    assert!(matches!(code, "42804" | "42883"), "{error}");
                }
                Err(error) => panic!("version {}: {error}", self.version),
            }
        }
    }

    pub(crate) async fn find(&mut self, number: u128) -> Seen {
        let find = match self.version {
            1 | 2 => find!("api_token_records", "false"),
            _ => find!("api_token_details", "t.restrictions IS NOT NULL"),
        };
        let row = sqlx::query(find)
            .bind(digest_of(number).as_bytes().as_slice())
            .fetch_one(&mut self.connection)
            .await
            .unwrap();
        let time = |column| row.get::<Option<i64>, _>(column);
        if row.get::<Option<String>, _>("mask").is_none() {
            Seen::Unknown
        } else if time("revoked_at").is_some() {
            Seen::Revoked
        } else if time("expires_at").is_some_and(|expiry| expiry < LATER) {
            Seen::Expired
        } else if time("app_disabled_at").is_some() {
            Seen::AppDisabled
        } else if row.get("is_restricted") {
            Seen::Restricted
        } else {
            Seen::Live
        }
    }

    /// Returns the identifiers of the live tokens.
    pub(crate) async fn live(&mut self) -> Vec<String> {
        let live = match self.version {
            1 | 2 => {
                "SELECT id::text FROM api_token_records WHERE revoked_at IS NULL \
                 AND (expires_at IS NULL OR expires_at > $1) AND app_disabled_at IS NULL ORDER BY id"
            }
            _ => {
                "SELECT id::text FROM api_token_details WHERE revoked_at IS NULL \
                 AND (expires_at IS NULL OR expires_at > $1) AND app_disabled_at IS NULL \
                 AND restrictions IS NULL ORDER BY id"
            }
        };
        let live = sqlx::query_scalar(live).bind(LATER - 1);
        live.fetch_all(&mut self.connection).await.unwrap()
    }

    pub(crate) async fn issue(&mut self, number: u128) {
        if self.version == 1 {
            execute(&mut self.connection, BEGIN).await;
            self.insert(number).await;
            return execute(&mut self.connection, "COMMIT").await;
        }
        let restrictions = self.no_restrictions();
        let call = self.call(
            "insert_tokens",
            &format!(", NULL, NULL, 5, 0, {ARRAYS}{restrictions}"),
        );
        let issued = self
            .change(call, |call| {
                call.bind(id_of(number))
                    .bind(digest_of(number).as_bytes().to_vec())
            })
            .await;
        assert_eq!(issued.0, "done");
    }

    /// Inserts a token as a node of the first version.
    async fn insert(&mut self, number: u128) {
        let insert = AssertSqlSafe(format!(
            "INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, \
             successor, last_used_at, uses) SELECT * FROM unnest({ARRAYS})"
        ));
        sqlx::query(insert)
            .bind(id_of(number))
            .bind(digest_of(number).as_bytes().to_vec())
            .execute(&mut self.connection)
            .await
            .unwrap();
    }

    fn no_restrictions(&self) -> &'static str {
        match self.version {
            1 | 2 => "",
            _ => ", ARRAY[NULL::text]",
        }
    }

    /// Rotates a token, which then expires at [`LATER`].
    pub(crate) async fn rotate(&mut self, number: u128, successor: u128) -> Outcome {
        if self.version == 1 {
            execute(&mut self.connection, BEGIN).await;
            self.insert(successor).await;
            let rotate = AssertSqlSafe(format!(
                "UPDATE api_tokens t SET expires_at = $2, successor = $3::text::uuid FROM api_token_apps a \
                 WHERE t.id = $1::text::uuid AND a.id = t.app_id AND t.successor IS NULL AND t.revoked_at IS NULL \
                 {RETURNING}"
            ));
            let rotated = sqlx::query(rotate)
                .bind(id_of(number))
                .bind(LATER)
                .bind(id_of(successor))
                .fetch_one(&mut self.connection)
                .await;
            let end = match rotated {
                Ok(_) => "COMMIT",
                Err(_) => "ROLLBACK",
            };
            execute(&mut self.connection, end).await;
            return match rotated {
                Ok(_) => ("done".to_owned(), None, Some(LATER)),
                Err(error) => ("failed".to_owned(), Some(error.to_string()), None),
            };
        }
        let restrictions = self.no_restrictions();
        let call = self.call(
            "rotate_token",
            &format!(", NULL, NULL, 5, 0, {ARRAYS}{restrictions}, $3::text::uuid, NULL, {LATER}"),
        );
        self.change(call, |call| {
            call.bind(id_of(successor))
                .bind(digest_of(successor).as_bytes().to_vec())
                .bind(id_of(number))
        })
        .await
    }

    pub(crate) async fn revoke(&mut self, number: u128) {
        if self.version == 1 {
            execute(&mut self.connection, BEGIN).await;
            let revoke = AssertSqlSafe(format!(
                "UPDATE api_tokens t SET revoked_at = $2 FROM api_token_apps a \
                 WHERE t.id = $1::text::uuid AND a.id = t.app_id {RETURNING}"
            ));
            sqlx::query(revoke)
                .bind(id_of(number))
                .bind(7_i64)
                .fetch_one(&mut self.connection)
                .await
                .unwrap();
            return execute(&mut self.connection, "COMMIT").await;
        }
        let call = self.call("revoke_token", ", $1::text::uuid, NULL, 7");
        let revoked = self.change(call, |call| call.bind(id_of(number))).await;
        assert_eq!(revoked.0, "done");
    }

    pub(crate) async fn record_usage(&mut self, number: u128) {
        let record = match self.version {
            1 => {
                "WITH used AS ( \
                    SELECT token, max(used_at) AS used_at, sum(uses) AS uses \
                    FROM unnest(ARRAY[$1::text::uuid], ARRAY[5::bigint], ARRAY[1::bigint]) \
                        AS usage (token, used_at, uses) GROUP BY token), \
                locked AS ( \
                    SELECT id FROM api_tokens WHERE id = $1::text::uuid ORDER BY id FOR NO KEY UPDATE) \
                UPDATE api_tokens t SET \
                    last_used_at = greatest(t.last_used_at, used.used_at), \
                    uses = least(t.uses + used.uses, 9223372036854775807) \
                FROM locked JOIN used ON used.token = locked.id WHERE t.id = locked.id"
            }
            _ => {
                "SELECT unnest(api_token_record_usage(ARRAY[$1::text::uuid], ARRAY[5::bigint], ARRAY[1::bigint]))"
            }
        };
        let record = sqlx::query(record).bind(id_of(number));
        record.execute(&mut self.connection).await.unwrap();
    }
}
