//! Checks that the database has what a node relies on.

use sqlx::{Connection, PgConnection, Row};
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::{error::from_sqlx, schema::Schema};

/// The triggers that write the change log and make changes durable, with their tables.
const TRIGGERS: [(&str, &str); 10] = [
    ("api_tokens", "a_lock"),
    ("api_tokens", "b_inserted"),
    ("api_tokens", "b_updated"),
    ("api_tokens", "b_deleted"),
    ("api_tokens", "b_truncated"),
    ("api_token_apps", "a_durable"),
    ("api_token_apps", "a_lock"),
    ("api_token_apps", "b_updated"),
    ("api_token_audit", "a_durable"),
    ("api_token_audit", "b_position"),
];

/// What a role must be allowed to execute to make changes.
const ROUTINES: &[&str] = &["api_token_change", "api_token_make_all"];

/// Checks that every trigger exists and is enabled. Without the triggers, nodes do not see changes that are
/// made by hand.
pub(super) async fn check_triggers(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<(), StoreError> {
    let (tables, names): (Vec<_>, Vec<_>) = TRIGGERS.into_iter().unzip();
    // Behind a pooler, a statement must be prepared and executed in one transaction.
    let mut transaction = connection
        .begin_with(super::BEGIN)
        .await
        .map_err(from_sqlx)?;
    let row = sqlx::query(
        "SELECT string_agg(needed.relation || '.' || needed.name, ', ') \
                FILTER (WHERE t.oid IS NULL), \
            string_agg(format('ALTER TABLE %I.%I ENABLE ALWAYS TRIGGER %I', $3, needed.relation, needed.name), '; ') \
                FILTER (WHERE t.tgenabled NOT IN ('O', 'A')) \
        FROM unnest($1, $2) AS needed (relation, name) \
        LEFT JOIN (pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
            JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $3) \
            ON c.relname = needed.relation AND t.tgname = needed.name",
    )
    .bind(tables)
    .bind(names)
    .bind(schema.name())
    .persistent(false)
    .fetch_one(&mut *transaction)
    .await
    .map_err(from_sqlx)?;
    transaction.commit().await.map_err(from_sqlx)?;
    let read = |column| row.try_get::<Option<String>, _>(column).map_err(from_sqlx);
    let message = match (read(0)?, read(1)?) {
        (None, None) => return Ok(()),
        (Some(missing), _) => format!(
            "triggers that keep the change log are missing ({missing}): create them again as `migrations/postgres` does, then run `api-tokens cache clear`"
        ),
        (None, Some(fix)) => format!(
            "triggers that keep the change log are disabled: run `{fix}` as the owner of the tables, then `api-tokens cache clear`"
        ),
    };
    Err(StoreError::with_source(
        StoreErrorKind::InvalidSettings,
        message,
    ))
}

/// Checks that the role may make changes.
pub(super) async fn check_changes(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<(), StoreError> {
    // Behind a pooler, a statement must be prepared and executed in one transaction.
    let mut transaction = connection
        .begin_with(super::BEGIN)
        .await
        .map_err(from_sqlx)?;
    let row = sqlx::query(
        "SELECT string_agg(needed.name, ', ') FROM unnest($1) AS needed (name) \
        LEFT JOIN (pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = $2) \
            ON p.proname = needed.name \
        WHERE has_function_privilege(p.oid, 'EXECUTE') IS NOT TRUE",
    )
    .bind(ROUTINES)
    .bind(schema.name())
    .persistent(false)
    .fetch_one(&mut *transaction)
    .await
    .map_err(from_sqlx)?;
    transaction.commit().await.map_err(from_sqlx)?;
    match row.try_get::<Option<String>, _>(0).map_err(from_sqlx)? {
        None => Ok(()),
        Some(lacking) => Err(StoreError::with_source(
            StoreErrorKind::ReadOnly,
            format!(
                "the role lacks rights (EXECUTE on {lacking}): grant them as `migrations/postgres/roles.sql` does"
            ),
        )),
    }
}
