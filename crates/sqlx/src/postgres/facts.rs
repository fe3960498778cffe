//! Properties of a server, and the rights of a role.

use sqlx::{Connection, PgConnection, Row};
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::{
    error::{from_sqlx, invalid},
    schema::Schema,
};

/// Properties of a server and a schema.
pub(super) struct ServerFacts {
    pub(super) version: i32,
    pub(super) read_only: bool,
    pub(super) is_standby: bool,
    pub(super) schema: Option<String>,
    pub(super) has_schema: bool,
    /// Whether the role can create tables in the schema, or the schema if it does not exist.
    may_create: bool,
    pub(super) has_tables: bool,
    encoding: String,
    /// Whether statements can run outside of a transaction with the default isolation level.
    pub(super) reads_committed: bool,
}

impl ServerFacts {
    pub(super) async fn read(
        connection: &mut PgConnection,
        schema: Option<&str>,
    ) -> Result<Self, StoreError> {
        // Behind a pooler, a statement has to be prepared in the transaction that executes it.
        let mut transaction = connection
            .begin_with(super::BEGIN)
            .await
            .map_err(from_sqlx)?;
        let row = sqlx::query(
            "SELECT current_setting('server_version_num')::int, \
                current_setting('transaction_read_only') = 'on', \
                named.name, \
                n.oid IS NOT NULL, \
                CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE') \
                    ELSE has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE') END, \
                EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = '_api_token_migrations'), \
                current_setting('server_encoding'), \
                current_setting('default_transaction_isolation') = 'read committed' \
                    AND current_setting('default_transaction_deferrable') = 'off', \
                pg_is_in_recovery() \
            FROM (SELECT coalesce($1, current_schema()::text) AS name) AS named \
            LEFT JOIN pg_namespace n ON n.nspname = named.name",
        )
        .bind(schema)
        .persistent(false)
        .fetch_one(&mut *transaction)
        .await
        .map_err(from_sqlx)?;
        transaction.commit().await.map_err(from_sqlx)?;
        let read = || {
            Ok(Self {
                version: row.try_get(0)?,
                read_only: row.try_get(1)?,
                schema: row.try_get(2)?,
                has_schema: row.try_get(3)?,
                may_create: row.try_get(4)?,
                has_tables: row.try_get(5)?,
                encoding: row.try_get(6)?,
                reads_committed: row.try_get(7)?,
                is_standby: row.try_get(8)?,
            })
        };
        read().map_err(from_sqlx)
    }

    /// Fails unless the encoding is UTF-8: masks, names and events can hold any character.
    pub(super) fn check_encoding(&self) -> Result<(), StoreError> {
        match self.encoding.as_str() {
            "UTF8" => Ok(()),
            other => Err(invalid(format!(
                "the database's encoding is {other}, but the store needs UTF8: create a database with \
                 `ENCODING 'UTF8' TEMPLATE template0`, and use that"
            ))),
        }
    }

    pub(super) fn check_creating(&self, schema: &Schema) -> Result<(), StoreError> {
        if self.may_create {
            return Ok(());
        }
        let quoted = schema.quoted();
        Err(invalid(match self.has_schema {
            false => format!(
                "there is no schema {quoted}, and the role cannot create it: create it, and grant the role CREATE on it"
            ),
            true => format!(
                "the tables need a migration, but the role cannot create tables: grant it CREATE on schema {quoted}, or connect once with a role that has it"
            ),
        }))
    }
}

pub(super) type Rights = &'static [(&'static str, &'static [&'static str])];

pub(super) const VERSION: Rights = &[("_api_token_migrations", &["SELECT"])];

pub(super) const READING: Rights = &[
    ("api_token_details", &["SELECT"]),
    ("api_token_changes", &["SELECT"]),
];

pub(super) const MANAGING: Rights = &[
    ("api_token_details", &["SELECT"]),
    ("api_token_changes", &["SELECT"]),
    ("api_token_apps", &["SELECT", "INSERT", "UPDATE"]),
    ("api_tokens", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("api_token_keys", &["SELECT", "INSERT", "DELETE"]),
    ("api_token_audit", &["SELECT", "INSERT"]),
];

pub(super) async fn check_rights(
    connection: &mut PgConnection,
    schema: &Schema,
    rights: Rights,
    without: StoreErrorKind,
) -> Result<(), StoreError> {
    let needed = rights.iter().flat_map(|(relation, privileges)| {
        privileges
            .iter()
            .map(move |privilege| (*relation, *privilege))
    });
    let (relations, privileges): (Vec<_>, Vec<_>) = needed.unzip();
    let mut transaction = connection
        .begin_with(super::BEGIN)
        .await
        .map_err(from_sqlx)?;
    let row = sqlx::query(
        "SELECT string_agg(needed.privilege || ' on ' || needed.relation, ', ') \
        FROM unnest($1, $2) AS needed (relation, privilege) \
        LEFT JOIN pg_class c ON c.relname = needed.relation \
            AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $3) \
        WHERE (has_table_privilege(c.oid, needed.privilege) \
            AND has_schema_privilege(c.relnamespace, 'USAGE')) IS NOT TRUE",
    )
    .bind(relations)
    .bind(privileges)
    .bind(schema.name())
    .persistent(false)
    .fetch_one(&mut *transaction)
    .await
    .map_err(from_sqlx)?;
    transaction.commit().await.map_err(from_sqlx)?;
    match row.try_get::<Option<String>, _>(0).map_err(from_sqlx)? {
        None => Ok(()),
        Some(lacking) => Err(StoreError::with_source(
            without,
            format!(
                "the role lacks rights ({lacking}): grant the rights in `migrations/postgres/roles.sql`"
            ),
        )),
    }
}
