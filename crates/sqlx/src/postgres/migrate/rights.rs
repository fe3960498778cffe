//! Gives roles rights to what a migration has created.

use sqlx::{PgConnection, Row};
use tower_api_tokens::StoreError;

use super::{list::Right, run_all};
use crate::postgres::{error::from_sqlx, schema::Schema};

/// A function that every role that makes changes may execute.
const A_CHANGE: &str = "api_token_revoke_token";

/// The role of an entry in an access control list, as an SQL identifier.
macro_rules! grantee {
    () => {
        "CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(entry.grantee)) END, \
         CASE WHEN entry.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"
    };
}

/// Revokes all rights of `PUBLIC` to new functions. Parameters: the schema, and the functions from
/// before.
const REVOKE: &str = "SELECT format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', p.oid::regprocedure) \
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
    WHERE n.nspname = $1 AND p.proname ~ '^api_token' AND p.oid::bigint <> ALL ($2)";

/// Grants the rights to an existing function for new functions that make changes. Parameters: the schema, the functions
/// from before, and the name of the existing function.
const GRANT_CHANGES: &str = concat!(
    "SELECT DISTINCT format('GRANT EXECUTE ON ROUTINE %s TO %s%s', p.oid::regprocedure, ",
    grantee!(),
    ") FROM pg_namespace n \
     JOIN pg_proc p ON p.pronamespace = n.oid AND p.oid::bigint <> ALL ($2) \
     JOIN pg_type taken ON taken.oid = p.proargtypes[0] AND taken.typnamespace = n.oid \
         AND taken.typname = 'api_token_event' \
     JOIN pg_type returned ON returned.oid = p.prorettype AND returned.typnamespace = n.oid \
         AND returned.typname = 'api_token_applied' \
     JOIN pg_proc o ON o.pronamespace = n.oid AND o.proname = $3 \
     CROSS JOIN aclexplode(coalesce(o.proacl, acldefault('f', o.proowner))) AS entry \
     WHERE n.nspname = $1 AND entry.grantee <> o.proowner"
);

/// Parameters: the schema, the new function, and the existing one.
const GRANT_FUNCTION: &str = concat!(
    "SELECT DISTINCT format('GRANT EXECUTE ON ROUTINE %s TO %s%s', p.oid::regprocedure, ",
    grantee!(),
    ") FROM pg_namespace n \
     JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = $2 \
     JOIN pg_proc o ON o.pronamespace = n.oid AND o.proname = $3 \
     CROSS JOIN aclexplode(coalesce(o.proacl, acldefault('f', o.proowner))) AS entry \
     WHERE n.nspname = $1 AND entry.grantee <> o.proowner"
);

/// Parameters: the schema, the new table or view, and the existing one.
const GRANT_RELATION: &str = concat!(
    "SELECT format('GRANT %s ON %s TO %s%s', entry.privilege_type, c.oid::regclass, ",
    grantee!(),
    ") FROM pg_namespace n \
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2 \
     JOIN pg_class o ON o.relnamespace = n.oid AND o.relname = $3 \
     CROSS JOIN aclexplode(o.relacl) AS entry \
     WHERE n.nspname = $1 AND entry.grantee <> o.relowner \
         AND (c.relkind = 'r' OR entry.privilege_type = 'SELECT')"
);

/// Parameters: the schema, the new table, the column that its roles may update, and the table of the column.
const GRANT_UPDATING: &str = concat!(
    "SELECT DISTINCT format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s%s', c.oid::regclass, ",
    grantee!(),
    ") FROM pg_namespace n \
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2 \
     JOIN pg_class o ON o.relnamespace = n.oid AND o.relname = $4 \
     JOIN pg_attribute a ON a.attrelid = o.oid AND a.attname = $3 \
     CROSS JOIN LATERAL (SELECT * FROM aclexplode(o.relacl) UNION ALL SELECT * FROM aclexplode(a.attacl)) AS entry \
     WHERE n.nspname = $1 AND entry.privilege_type = 'UPDATE' AND entry.grantee <> o.relowner"
);

/// Returns the functions of this crate in a schema.
pub(super) async fn functions(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<Vec<i64>, StoreError> {
    let rows = sqlx::query(
        "SELECT p.oid::bigint FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname = $1 AND p.proname ~ '^api_token'",
    )
    .bind(schema.name())
    .persistent(false)
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    rows.iter()
        .map(|row| row.try_get(0).map_err(from_sqlx))
        .collect()
}

/// Gives roles the rights to what a migration has created, including the functions that did not exist before.
pub(super) async fn grant(
    connection: &mut PgConnection,
    schema: &Schema,
    functions: &[i64],
    rights: &[Right],
) -> Result<(), StoreError> {
    let query = |statement| sqlx::query(statement).persistent(false).bind(schema.name());
    let revoke = query(REVOKE).bind(functions);
    let revoked = revoke.fetch_all(&mut *connection).await;
    run_all(connection, revoked).await?;
    let changes = query(GRANT_CHANGES).bind(functions).bind(A_CHANGE);
    let granted = changes.fetch_all(&mut *connection).await;
    run_all(connection, granted).await?;
    for right in rights {
        let statements = match *right {
            Right::Relation { new, like } => query(GRANT_RELATION).bind(new).bind(like),
            Right::Updating { new, table, column } => {
                query(GRANT_UPDATING).bind(new).bind(column).bind(table)
            }
            Right::Function { new, like } => query(GRANT_FUNCTION).bind(new).bind(like),
        };
        let granted = statements.fetch_all(&mut *connection).await;
        run_all(connection, granted).await?;
    }
    Ok(())
}
