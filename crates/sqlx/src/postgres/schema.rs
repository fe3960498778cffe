//! The schema of the tables.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use tower_api_tokens::{StoreError, StoreErrorKind};

/// The maximum length of a name in bytes. PostgreSQL truncates longer names.
const MAX_NAME_LEN: usize = 63;

/// The name of a schema. Every statement qualifies its tables with it, so that the search path of a
/// session does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schema(String);

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, StoreError> {
        if name.is_empty() || name.len() > MAX_NAME_LEN || name.contains('\0') {
            return Err(StoreError::with_source(
                StoreErrorKind::InvalidSettings,
                "invalid schema name: use 1 to 63 bytes without NUL",
            ));
        }
        Ok(Self(name.to_owned()))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Returns the name as an SQL identifier.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }

    /// Inserts the schema into a statement, which writes its tables as `@.table`.
    pub(super) fn fill(&self, template: &str) -> SqlStr {
        // Safe: only a quoted identifier is inserted, and values are bound.
        AssertSqlSafe(template.replace("@.", &format!("{}.", self.quoted()))).into_sql_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let schema = Schema::new("a\"; DROP TABLE x; --").unwrap();
        assert_eq!(
            schema.fill("SELECT 1 FROM @.t").as_str(),
            "SELECT 1 FROM \"a\"\"; DROP TABLE x; --\".t"
        );
    }

    #[test]
    fn names_that_would_be_truncated_are_rejected() {
        assert!(Schema::new(&"s".repeat(63)).is_ok());
        for bad in ["", "a\0b", &"s".repeat(64), &"é".repeat(32)] {
            let error = Schema::new(bad).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
        }
    }
}
