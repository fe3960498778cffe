//! Stores identifiers as `uuid`.

use std::error::Error;

use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, types::Oid},
};
use tower_api_tokens::AuditEventId;

use crate::rows::Identifier;

impl From<AuditEventId> for Identifier {
    fn from(id: AuditEventId) -> Self {
        Self(*id.as_bytes())
    }
}

impl Type<Postgres> for Identifier {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2950))
    }
}

impl PgHasArrayType for Identifier {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2951))
    }
}

impl Encode<'_, Postgres> for Identifier {
    fn encode_by_ref(
        &self,
        buffer: &mut PgArgumentBuffer,
    ) -> Result<IsNull, Box<dyn Error + Send + Sync>> {
        buffer.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Identifier {
    fn decode(value: PgValueRef<'_>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(value.as_bytes()?.try_into()?))
    }
}
