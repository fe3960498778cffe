//! Between records and rows. What comes out of a file is checked like any other input.

use jiff::Timestamp;
use sqlx::{Decode, Row, Sqlite, Type, sqlite::SqliteRow};

use crate::{
    app::{AppId, AppRecord},
    audit::{AuditEvent, AuditEventId},
    clock::from_microsecond,
    record::TokenRecord,
    store::{Change, IdempotencyKey, Repeated, Revision, StoreError, StoreErrorKind},
    token::{TokenDigest, TokenId},
};

pub(super) fn token_from(row: &SqliteRow) -> Result<TokenRecord, StoreError> {
    let digest = TokenDigest::from_bytes(bytes(row, 1)?);
    let mask = parse(get(row, 2)?)?;
    let created_at = from_microsecond(get(row, 5)?);
    let (id, app) = (TokenId::from_bytes(bytes(row, 0)?), app_from(row, 11)?);
    let mut token = TokenRecord::new(id, digest, mask, app, get::<String>(row, 3)?, created_at);
    token.scopes = parse(get(row, 4)?)?;
    token.expires_at = time(row, 6)?;
    token.revoked_at = time(row, 7)?;
    token.successor = id_from(row, 8)?;
    token.last_used_at = time(row, 9)?;
    token.uses = u64::try_from(get::<i64>(row, 10)?).map_err(corrupt)?;
    Ok(token)
}

/// Reads an app from four columns, the first of which is given.
pub(super) fn app_from(row: &SqliteRow, first: usize) -> Result<AppRecord, StoreError> {
    let id: AppId = parse(get(row, first)?)?;
    let created_at = from_microsecond(get(row, first + 2)?);
    let mut app = AppRecord::new(id, get::<String>(row, first + 1)?, created_at);
    app.disabled_at = time(row, first + 3)?;
    Ok(app)
}

pub(super) fn mark_from(row: &SqliteRow) -> Result<Revision, StoreError> {
    Ok(Revision {
        number: u64::try_from(get::<i64>(row, 0)?).map_err(corrupt)?,
        mark: get::<i64>(row, 1)?.cast_unsigned(),
    })
}

pub(super) fn latest_from(row: &SqliteRow) -> Result<u64, StoreError> {
    u64::try_from(get::<i64>(row, 4)?).map_err(corrupt)
}

pub(super) fn change_from(row: &SqliteRow) -> Result<Change, StoreError> {
    match get::<Option<&str>>(row, 3)? {
        Some(app) => parse(app).map(Change::App),
        None => Ok(Change::Token(TokenDigest::from_bytes(bytes(row, 2)?))),
    }
}

pub(super) fn repeated_from(row: &SqliteRow, key: &IdempotencyKey) -> Result<Repeated, StoreError> {
    let token = TokenId::from_bytes(bytes(row, 0)?);
    Ok(Repeated::new(token, bytes(row, 1)? == key.request))
}

pub(super) fn event_from(row: &SqliteRow) -> Result<AuditEvent, StoreError> {
    let id = AuditEventId::from_bytes(bytes(row, 0)?);
    let at = from_microsecond(get(row, 1)?);
    let (action, outcome) = (parse(get(row, 3)?)?, parse(get(row, 6)?)?);
    let mut event = AuditEvent::new(id, at, get(row, 2)?, action, outcome);
    event.app = get::<Option<&str>>(row, 4)?.map(parse).transpose()?;
    event.token = id_from(row, 5)?;
    Ok(event)
}

/// Reads an identifier that may be absent.
fn id_from(row: &SqliteRow, column: usize) -> Result<Option<TokenId>, StoreError> {
    match get::<Option<&[u8]>>(row, column)? {
        Some(_) => Ok(Some(TokenId::from_bytes(bytes(row, column)?))),
        None => Ok(None),
    }
}

fn time(row: &SqliteRow, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<i64>>(row, column)?.map(from_microsecond))
}

fn bytes<const N: usize>(row: &SqliteRow, column: usize) -> Result<[u8; N], StoreError> {
    get::<&[u8]>(row, column)?.try_into().map_err(corrupt)
}

fn get<'r, T>(row: &'r SqliteRow, column: usize) -> Result<T, StoreError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(column).map_err(corrupt)
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, StoreError>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(corrupt)
}

fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, error)
}
