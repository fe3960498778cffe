use sqlx::{Row, sqlite::SqliteRow};

use crate::store::{
    StoreError,
    rows::{Columns, corrupt},
};

impl Columns for SqliteRow {
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
        let bytes = self.bytes(column)?;
        bytes
            .map(|bytes| bytes.try_into().map_err(corrupt))
            .transpose()
    }
}
