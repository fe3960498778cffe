//! Between records and rows. What comes out of a database is checked like any other input.

use std::error::Error;

use jiff::Timestamp;
use sqlx::{
    Decode, Encode, Postgres, Row, Type,
    encode::IsNull,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef, types::Oid},
};

use crate::{
    app::{AppId, AppRecord},
    audit::{AuditEvent, AuditEventId},
    clock::from_microsecond,
    record::TokenRecord,
    store::{Change, IdempotencyKey, Repeated, Revision, StoreError, StoreErrorKind},
    token::{TokenDigest, TokenId},
};

/// An identifier as a value of PostgreSQL's type `uuid`.
#[derive(Clone, Copy)]
pub(super) struct UuidValue([u8; 16]);

impl From<TokenId> for UuidValue {
    fn from(id: TokenId) -> Self {
        Self(*id.as_bytes())
    }
}

impl From<AuditEventId> for UuidValue {
    fn from(id: AuditEventId) -> Self {
        Self(*id.as_bytes())
    }
}

impl Type<Postgres> for UuidValue {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2950))
    }
}

impl PgHasArrayType for UuidValue {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2951))
    }
}

impl Encode<'_, Postgres> for UuidValue {
    fn encode_by_ref(
        &self,
        buffer: &mut PgArgumentBuffer,
    ) -> Result<IsNull, Box<dyn Error + Send + Sync>> {
        buffer.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for UuidValue {
    fn decode(value: PgValueRef<'_>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(value.as_bytes()?.try_into()?))
    }
}

pub(super) fn token_from(row: &PgRow) -> Result<TokenRecord, StoreError> {
    let digest = TokenDigest::from_bytes(bytes(row, 1)?);
    let mask = parse(get(row, 2)?)?;
    let created_at = from_microsecond(get(row, 5)?);
    let (id, app) = (token_id_from(row, 0)?, app_from(row, 11)?);
    let mut token = TokenRecord::new(id, digest, mask, app, get::<String>(row, 3)?, created_at);
    token.scopes = parse(get(row, 4)?)?;
    token.expires_at = time(row, 6)?;
    token.revoked_at = time(row, 7)?;
    token.successor = optional_token_id_from(row, 8)?;
    token.last_used_at = time(row, 9)?;
    token.uses = u64::try_from(get::<i64>(row, 10)?).map_err(corrupt)?;
    Ok(token)
}

/// Reads an app from four columns, the first of which is given.
pub(super) fn app_from(row: &PgRow, first: usize) -> Result<AppRecord, StoreError> {
    let id: AppId = parse(get(row, first)?)?;
    let created_at = from_microsecond(get(row, first + 2)?);
    let mut app = AppRecord::new(id, get::<String>(row, first + 1)?, created_at);
    app.disabled_at = time(row, first + 3)?;
    Ok(app)
}

pub(super) fn revision_from(row: &PgRow) -> Result<Revision, StoreError> {
    Ok(Revision {
        number: u64::try_from(get::<i64>(row, 0)?).map_err(corrupt)?,
        mark: get::<i64>(row, 1)?.cast_unsigned(),
    })
}

pub(super) fn latest_from(row: &PgRow) -> Result<u64, StoreError> {
    u64::try_from(get::<i64>(row, 4)?).map_err(corrupt)
}

pub(super) fn change_from(row: &PgRow) -> Result<Change, StoreError> {
    match get::<Option<&str>>(row, 3)? {
        Some(app) => parse(app).map(Change::App),
        None => Ok(Change::Token(TokenDigest::from_bytes(bytes(row, 2)?))),
    }
}

pub(super) fn repeated_from(row: &PgRow, key: &IdempotencyKey) -> Result<Repeated, StoreError> {
    Ok(Repeated::new(
        token_id_from(row, 0)?,
        bytes(row, 1)? == key.request,
    ))
}

pub(super) fn event_from(row: &PgRow) -> Result<AuditEvent, StoreError> {
    let UuidValue(id) = get(row, 0)?;
    let at = from_microsecond(get(row, 1)?);
    let (action, outcome) = (parse(get(row, 3)?)?, parse(get(row, 6)?)?);
    let id = AuditEventId::from_bytes(id);
    let mut event = AuditEvent::new(id, at, get(row, 2)?, action, outcome);
    event.app = get::<Option<&str>>(row, 4)?.map(parse).transpose()?;
    event.token = optional_token_id_from(row, 5)?;
    Ok(event)
}

/// How many there are, from a row with nothing else.
pub(super) fn count_from(row: &PgRow) -> Result<usize, StoreError> {
    usize::try_from(get::<i64>(row, 0)?).map_err(corrupt)
}

fn token_id_from(row: &PgRow, column: usize) -> Result<TokenId, StoreError> {
    let UuidValue(id) = get(row, column)?;
    Ok(TokenId::from_bytes(id))
}

fn optional_token_id_from(row: &PgRow, column: usize) -> Result<Option<TokenId>, StoreError> {
    let id: Option<UuidValue> = get(row, column)?;
    Ok(id.map(|UuidValue(id)| TokenId::from_bytes(id)))
}

fn time(row: &PgRow, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<i64>>(row, column)?.map(from_microsecond))
}

fn bytes<const N: usize>(row: &PgRow, column: usize) -> Result<[u8; N], StoreError> {
    get::<&[u8]>(row, column)?.try_into().map_err(corrupt)
}

fn get<'r, T>(row: &'r PgRow, column: usize) -> Result<T, StoreError>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(column).map_err(corrupt)
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, StoreError>
where
    T::Err: Error + Send + Sync + 'static,
{
    text.parse().map_err(corrupt)
}

fn corrupt(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, error)
}
