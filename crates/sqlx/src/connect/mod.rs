//! Opens the store at a URL. Only this module interprets the scheme of a URL.

mod any;
pub(crate) mod driver;
mod error;

use std::fmt;

use tower_api_tokens::StoreError;

pub use any::AnyStore;
pub use driver::Driver;

/// Opens the store at a URL: `sqlite://PATH` or `postgres://USER@HOST/DATABASE`.
///
/// ```
/// use tower_api_tokens::{ApiTokens, TokenFormat};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::TempDir::new()?;
/// # let url = format!("sqlite://{}/tokens.db", directory.path().display());
/// let store = tower_api_tokens_sqlx::connect(&url).await?;
/// let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme_live")?);
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
///
/// To set a schema, or to create or write nothing, use [`AnyStore::builder`].
///
/// # Errors
///
/// Returns [`InvalidSettings`](tower_api_tokens::StoreErrorKind::InvalidSettings) if this build has no driver
/// for the URL. Otherwise, returns the errors of `SqliteStore::connect` or `PostgresStore::connect`. No error
/// contains the URL, because it may contain a password.
pub async fn connect(url: &str) -> Result<AnyStore, StoreError> {
    AnyStore::builder(url).connect().await
}

/// A builder for an [`AnyStore`].
///
/// ```no_run
/// use tower_api_tokens_sqlx::AnyStore;
///
/// # async fn open(url: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let store = AnyStore::builder(url).must_exist().connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is opened before `connect`"]
pub struct AnyStoreBuilder {
    url: String,
    schema: Option<String>,
    primary: Option<String>,
    access: Access,
    is_lasting: bool,
}

/// How a store may use its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Create,
    Exist,
    Verify,
    ReadOnly,
}

impl AnyStoreBuilder {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            schema: None,
            primary: None,
            access: Access::Create,
            is_lasting: false,
        }
    }

    /// Sets the schema for the tables in PostgreSQL. Defaults to the first schema in the search path. With
    /// SQLite, which has no schemas, connecting fails.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// Sets the address of the primary if the store is a standby, like `PostgresStoreBuilder::primary`. The store must
    /// be [`verify_only`](Self::verify_only) or [`read_only`](Self::read_only). With SQLite, connecting fails.
    pub fn primary(mut self, url: impl Into<String>) -> Self {
        self.primary = Some(url.into());
        self
    }

    /// Makes connecting fail if the SQLite file, or the tables in PostgreSQL, do not exist, instead of
    /// creating them. Tables of an older version are still migrated.
    pub fn must_exist(mut self) -> Self {
        self.access = Access::Exist;
        self
    }

    /// Opens the store for verification. Uses are recorded if the role or the file permits. An SQLite file
    /// must exist, and its tables are migrated if the file can be written. In PostgreSQL, the tables must
    /// exist, and are not migrated.
    pub fn verify_only(mut self) -> Self {
        self.access = Access::Verify;
        self
    }

    /// Opens the store for reading only, as a standby requires. The tables must exist. Changes fail with
    /// [`ReadOnly`](tower_api_tokens::StoreErrorKind::ReadOnly), and uses are not recorded.
    pub fn read_only(mut self) -> Self {
        self.access = Access::ReadOnly;
        self
    }

    /// Requires a database that outlives the process: connecting to a database in memory fails.
    pub fn persistent(mut self) -> Self {
        self.is_lasting = true;
        self
    }

    /// Opens the store, and migrates its tables unless a setting forbids it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`]. Also returns
    /// [`NotFound`](tower_api_tokens::StoreErrorKind::NotFound) if an SQLite file must exist and does not.
    pub async fn connect(self) -> Result<AnyStore, StoreError> {
        AnyStore::open(self).await
    }
}

// The URL may contain a password.
impl fmt::Debug for AnyStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyStoreBuilder")
            .field("schema", &self.schema)
            .field("has_primary", &self.primary.is_some())
            .field("access", &self.access)
            .field("is_lasting", &self.is_lasting)
            .finish_non_exhaustive()
    }
}
