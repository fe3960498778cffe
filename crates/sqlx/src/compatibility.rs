//! Decides whether this version of the crate may use the tables in a database.

use tower_api_tokens::{StoreError, StoreErrorKind};

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To verify, follow and list.
    Read,
    /// To make changes as well.
    Write,
}

/// The version of the tables, and the oldest versions that may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compatibility {
    pub(crate) version: i64,
    /// The oldest version that may read.
    pub(crate) min_reader: i64,
    /// The oldest version that may make changes.
    pub(crate) min_writer: i64,
}

impl Compatibility {
    /// Fails unless a program that knows a version of the tables may use these.
    pub(crate) fn check(self, known: i64, access: Access) -> Result<(), StoreError> {
        let Self {
            version,
            min_reader,
            min_writer,
        } = self;
        let reason = if version <= known {
            return Ok(());
        } else if min_reader > known {
            format!(
                "a newer version of this crate migrated the tables to version {version}, which a program \
                 that knows version {known} cannot read: upgrade this program"
            )
        } else if access == Access::Write && min_writer > known {
            format!(
                "a newer version of this crate migrated the tables to version {version}, which a program \
                 that knows version {known} can read but not change: upgrade this program, or open the \
                 store as read-only"
            )
        } else {
            return Ok(());
        };
        Err(StoreError::with_source(
            StoreErrorKind::Incompatible,
            reason,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(version: i64, min_reader: i64, min_writer: i64, access: Access) -> Option<String> {
        let tables = Compatibility {
            version,
            min_reader,
            min_writer,
        };
        let error = tables.check(4, access).err()?;
        assert_eq!(error.kind(), StoreErrorKind::Incompatible);
        Some(std::error::Error::source(&error)?.to_string())
    }

    #[test]
    fn newer_tables_can_be_used_from_their_minimum_versions_on() {
        for access in [Access::Read, Access::Write] {
            // What the tables need does not matter to a program that knows their version.
            assert_eq!(refused(4, 9, 9, access), None);
            assert_eq!(refused(9, 4, 4, access), None);
            assert_eq!(refused(9, 1, 1, access), None);
            let reason = refused(9, 5, 1, access).unwrap();
            assert!(
                reason.contains("cannot read: upgrade this program"),
                "{reason}"
            );
        }
        assert_eq!(refused(9, 4, 5, Access::Read), None);
        let reason = refused(9, 4, 5, Access::Write).unwrap();
        assert!(reason.contains("open the store as read-only"), "{reason}");
    }
}
