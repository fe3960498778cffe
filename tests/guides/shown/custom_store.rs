use jiff::Timestamp;
use tower_api_tokens::{
    AppId, AppRecord, MaskedToken, StoreError, StoreErrorKind, TokenDigest, TokenId, TokenRecord,
};

struct Row {
    key_id: i64,
    sha256: [u8; 32],
    customer: i64,
    customer_name: String,
    label: String,
    revoked: Option<Timestamp>,
}

fn record(row: Row) -> Result<TokenRecord, StoreError> {
    // The log shows this text, so it names the row and the column, and no value that is secret.
    let corrupt = |column: &str, error: &dyn std::fmt::Display| {
        let source = format!("{column} of key {}: {error}", row.key_id);
        StoreError::with_source(StoreErrorKind::Corrupt, source)
    };
    let id = AppId::new(&row.customer.to_string()).map_err(|error| corrupt("customer", &error))?;
    let mask = MaskedToken::new("legacy-", "").map_err(|error| corrupt("mask", &error))?;
    let mut token = TokenRecord::new(
        TokenId::from_bytes(u128::from(row.key_id.unsigned_abs()).to_be_bytes()),
        TokenDigest::from_bytes(row.sha256),
        mask,
        AppRecord::new(id, row.customer_name, Timestamp::UNIX_EPOCH),
        row.label,
        Timestamp::UNIX_EPOCH,
    );
    token.revoked_at = row.revoked;
    Ok(token)
}
