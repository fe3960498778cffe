//! The driver that the scheme of a URL selects.

use std::{fmt, str::FromStr};

use tower_api_tokens::StoreError;

use super::error::invalid;

/// A kind of database that can store tokens, even if this build does not include its driver.
///
/// ```
/// use tower_api_tokens_sqlx::Driver;
///
/// assert_eq!(Driver::of_url("sqlite://tokens.db")?, Driver::Sqlite);
/// assert_eq!(Driver::of_url("postgresql://db.internal/platform")?, Driver::Postgres);
/// assert!(Driver::of_url("mysql://db.internal/platform").is_err());
/// # Ok::<(), tower_api_tokens::StoreError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Driver {
    /// PostgreSQL, for `postgres://` and `postgresql://`.
    Postgres,
    /// SQLite, for `sqlite:`.
    Sqlite,
}

impl Driver {
    /// All drivers, in the order of their declaration.
    pub const ALL: &'static [Self] = &[Self::Postgres, Self::Sqlite];

    /// Returns `postgres` or `sqlite`, which is also a scheme of the driver's URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// Returns the name of the database: `PostgreSQL` or `SQLite`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        }
    }

    /// Returns whether the database has [schemas](crate::AnyStoreBuilder::schema).
    #[must_use]
    pub const fn has_schemas(self) -> bool {
        match self {
            Self::Postgres => true,
            Self::Sqlite => false,
        }
    }

    /// Returns the programs that back up and restore a database, or `None` if
    /// [`AnyStore::backup_to`](crate::AnyStore::backup_to) and
    /// [`AnyStore::restore`](crate::AnyStore::restore) do that.
    #[must_use]
    pub const fn backup_tools(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some("`pg_dump` and `pg_restore`"),
            Self::Sqlite => None,
        }
    }

    /// Returns the driver for the scheme of a URL.
    ///
    /// # Errors
    ///
    /// Returns an error if no driver has this scheme. The error does not contain the URL.
    pub fn of_url(url: &str) -> Result<Self, StoreError> {
        Self::split(url).map(|(driver, _)| driver)
    }

    /// Returns the driver, and the part of the URL after the scheme and its colon.
    pub(crate) fn split(url: &str) -> Result<(Self, &str), StoreError> {
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        Ok((scheme.parse()?, rest))
    }
}

impl FromStr for Driver {
    type Err = StoreError;

    fn from_str(scheme: &str) -> Result<Self, StoreError> {
        match scheme {
            "postgres" | "postgresql" => Ok(Self::Postgres),
            "sqlite" => Ok(Self::Sqlite),
            _ => Err(invalid(
                "a store is `sqlite://PATH` or `postgres://USER@HOST/DATABASE`",
            )),
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_driver_is_read_from_its_word() {
        for driver in Driver::ALL {
            assert_eq!(driver.as_str().parse::<Driver>().unwrap(), *driver);
            assert_eq!(driver.to_string(), driver.as_str());
        }
    }
}
