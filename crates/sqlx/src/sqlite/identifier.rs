//! Stores identifiers as `BLOB`.

use std::error::Error;

use sqlx::{
    Decode, Sqlite, Type,
    sqlite::{SqliteTypeInfo, SqliteValueRef},
};

use crate::rows::Identifier;

impl Type<Sqlite> for Identifier {
    fn type_info() -> SqliteTypeInfo {
        <[u8] as Type<Sqlite>>::type_info()
    }

    fn compatible(other: &SqliteTypeInfo) -> bool {
        <[u8] as Type<Sqlite>>::compatible(other)
    }
}

impl Decode<'_, Sqlite> for Identifier {
    fn decode(value: SqliteValueRef<'_>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let bytes = <&[u8] as Decode<Sqlite>>::decode(value)?;
        Ok(Self(bytes.try_into()?))
    }
}
