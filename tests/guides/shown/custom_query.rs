use std::error::Error;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{PgPool, Row, postgres::PgRow};
use tower_api_tokens::{
    Answer, AppId, AppRecord, MaskedToken, StoreError, StoreErrorKind, TokenDigest, TokenId,
    TokenRecord, TokenStore,
};

const FIND: &str = "
    SELECT k.id, k.label, k.scopes, c.id AS customer, c.name AS customer_name,
        extract(epoch FROM k.created_at)::float8 AS created_at,
        extract(epoch FROM k.expires_at)::float8 AS expires_at,
        extract(epoch FROM k.revoked_at)::float8 AS revoked_at,
        extract(epoch FROM c.suspended_at)::float8 AS suspended_at
    FROM keys AS k JOIN customers AS c ON c.id = k.customer
    WHERE k.sha256 = $1";

#[derive(Debug)]
struct Keys(PgPool);

#[async_trait]
impl TokenStore for Keys {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let row = sqlx::query(FIND)
            .bind(&digest.as_bytes()[..])
            .fetch_optional(&self.0)
            .await
            .map_err(StoreError::unavailable)?;
        let record = row.map(|row| record(*digest, &row)).transpose();
        let corrupt = |source| StoreError::with_source(StoreErrorKind::Corrupt, source);
        Ok(record.map_err(corrupt)?.into())
    }
}

fn record(digest: TokenDigest, row: &PgRow) -> Result<TokenRecord, Box<dyn Error + Send + Sync>> {
    let id: i64 = row.try_get("id")?;
    let customer: i64 = row.try_get("customer")?;
    let mut app = AppRecord::new(
        AppId::new(&customer.to_string())?,
        row.try_get::<String, _>("customer_name")?,
        Timestamp::UNIX_EPOCH,
    );
    app.disabled_at = instant(row, "suspended_at")?;
    let mut token = TokenRecord::new(
        TokenId::from_bytes(u128::from(id.unsigned_abs()).to_be_bytes()),
        digest,
        MaskedToken::new("legacy-", "")?,
        app,
        row.try_get::<String, _>("label")?,
        instant(row, "created_at")?.unwrap_or(Timestamp::UNIX_EPOCH),
    );
    token.scopes = row.try_get::<&str, _>("scopes")?.parse()?;
    token.expires_at = instant(row, "expires_at")?;
    token.revoked_at = instant(row, "revoked_at")?;
    Ok(token)
}

/// NULL and `infinity` mean never. `-infinity` lies before every time.
fn instant(row: &PgRow, column: &str) -> Result<Option<Timestamp>, Box<dyn Error + Send + Sync>> {
    match row.try_get(column)? {
        None | Some(f64::INFINITY) => Ok(None),
        Some(f64::NEG_INFINITY) => Ok(Some(Timestamp::UNIX_EPOCH)),
        Some(seconds) => {
            let instant = Timestamp::from_microsecond((seconds * 1e6).round() as i64);
            // Name the row and the column in the error, but no secret value: it is logged.
            let id: i64 = row.try_get("id")?;
            let at = |error| format!("{column} of key {id}: {error}");
            Ok(Some(instant.map_err(at)?))
        }
    }
}
