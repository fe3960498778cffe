use std::error::Error;

use sqlx::{
    Decode, Encode, Postgres, Row, Type,
    encode::IsNull,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef, types::Oid},
};

use crate::{
    audit::AuditEventId,
    store::{
        StoreError,
        rows::{Columns, corrupt},
    },
    token::TokenId,
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

impl Columns for PgRow {
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.try_get(column).map_err(corrupt)
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.try_get(column).map_err(corrupt)
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        self.try_get(column).map_err(corrupt)
    }

    fn identifier(&self, column: usize) -> Result<Option<[u8; 16]>, StoreError> {
        let id: Option<UuidValue> = self.try_get(column).map_err(corrupt)?;
        Ok(id.map(|UuidValue(id)| id))
    }
}
