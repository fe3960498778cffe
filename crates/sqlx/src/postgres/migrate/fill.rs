//! Fills new columns of existing rows in small steps, without waiting for other sessions or blocking them for long.

use sqlx::{Connection, PgConnection, Row, SqlStr};
use tower_api_tokens::StoreError;

use super::list::Fill;
use crate::{
    postgres::{BEGIN, error::from_sqlx, schema::Schema},
    rows::Identifier,
};

/// The number of rows to read in one step.
const STEP: i64 = 1000;

/// Fills the columns of all rows that lack a value. Rows that other sessions have locked are skipped, because two
/// sessions that lock the same rows in different orders would wait for each other, and filled when they are free.
pub(super) async fn fill(
    connection: &mut PgConnection,
    schema: &Schema,
    fill: &Fill,
) -> Result<(), StoreError> {
    let Fill { table, stale, set } = fill;
    let statement = schema.fill(&format!(
        "WITH page AS MATERIALIZED ( \
            SELECT id, ({stale}) AS is_stale FROM @.{table} \
            WHERE $1 IS NULL OR id > $1 ORDER BY id LIMIT $2), \
        free AS MATERIALIZED ( \
            SELECT id FROM @.{table} WHERE id = ANY (ARRAY(SELECT id FROM page WHERE is_stale)) AND ({stale}) \
            FOR NO KEY UPDATE SKIP LOCKED), \
        filled AS ( \
            UPDATE @.{table} SET {set} WHERE id = ANY (ARRAY(SELECT id FROM free)) RETURNING id) \
        SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1), \
            (SELECT count(*) FROM page WHERE is_stale) - (SELECT count(*) FROM filled)"
    ));
    loop {
        let (mut after, mut skipped) = (None, 0);
        loop {
            let (last, more) = step(connection, &statement, after).await?;
            skipped += more;
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        if skipped == 0 {
            return Ok(());
        }
        super::indexes::pause().await;
    }
}

/// Fills the rows after one. Returns the last row that it read, and how many are left to fill.
async fn step(
    connection: &mut PgConnection,
    statement: &SqlStr,
    after: Option<Identifier>,
) -> Result<(Option<Identifier>, i64), StoreError> {
    // Behind a pooler, a statement must be prepared and executed in one transaction.
    let mut transaction = connection.begin_with(BEGIN).await.map_err(from_sqlx)?;
    let row = sqlx::query(statement.clone())
        .bind(after)
        .bind(STEP)
        .persistent(false)
        .fetch_one(&mut *transaction)
        .await
        .map_err(from_sqlx)?;
    transaction.commit().await.map_err(from_sqlx)?;
    let last = row.try_get(0).map_err(from_sqlx)?;
    Ok((last, row.try_get(1).map_err(from_sqlx)?))
}
