//! The schema that the tables lie in.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use tower_api_tokens::{StoreError, StoreErrorKind};

/// The longest name that PostgreSQL keeps, in bytes; it cuts off what is longer.
const MAX_NAME_LEN: usize = 63;

/// The name of a schema, with which every statement names its tables: nothing depends on the search
/// path of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schema(String);

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, StoreError> {
        if name.is_empty() || name.len() > MAX_NAME_LEN || name.contains('\0') {
            return Err(StoreError::with_source(
                StoreErrorKind::InvalidSettings,
                "the name of a schema has 1 to 63 bytes, and no NUL: give another",
            ));
        }
        Ok(Self(name.to_owned()))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// The name as an SQL identifier.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }

    /// A statement whose tables are written `@.table`.
    pub(super) fn fill(&self, template: &str) -> SqlStr {
        // Nothing but a quoted identifier comes into the text; values are bound.
        AssertSqlSafe(template.replace("@.", &format!("{}.", self.quoted()))).into_sql_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_it_holds() {
        let schema = Schema::new("a\"; DROP TABLE x; --").unwrap();
        assert_eq!(
            schema.fill("SELECT 1 FROM @.t").as_str(),
            "SELECT 1 FROM \"a\"\"; DROP TABLE x; --\".t"
        );
    }

    #[test]
    fn a_name_that_would_be_cut_off_is_refused() {
        assert!(Schema::new(&"s".repeat(63)).is_ok());
        for bad in ["", "a\0b", &"s".repeat(64), &"é".repeat(32)] {
            let error = Schema::new(bad).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
        }
    }
}
