//! Opens the store that a URL names. Nothing else looks at the scheme of a URL.

mod any;
mod driver;
mod error;

use std::fmt;

use tower_api_tokens::StoreError;

pub use any::AnyStore;
pub use driver::Driver;

/// Opens the store that a URL names: `sqlite://PATH` or `postgres://USER@HOST/DATABASE`.
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
/// [`AnyStore::builder`] has settings: a schema, or that nothing is created or written.
///
/// # Errors
///
/// Returns an error of the kind [`InvalidSettings`](tower_api_tokens::StoreErrorKind::InvalidSettings) if the URL names no store
/// that this build has a driver for, and the errors of `SqliteStore::connect` or
/// `PostgresStore::connect` otherwise. No error repeats the URL, which may hold a password.
pub async fn connect(url: &str) -> Result<AnyStore, StoreError> {
    AnyStore::builder(url).connect().await
}

/// Sets up the store that a URL names.
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
    access: Access,
    is_lasting: bool,
}

/// What may be done to a database.
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
            access: Access::Create,
            is_lasting: false,
        }
    }

    /// Sets the schema that holds the tables in PostgreSQL. Defaults to the first of the search path. With
    /// SQLite, which has no schemas, it is an error.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// Creates nothing: the SQLite file, or the tables in PostgreSQL, must exist. Tables of an older
    /// version are still brought up to date.
    pub fn must_exist(mut self) -> Self {
        self.access = Access::Exist;
        self
    }

    /// Opens for verification: uses are recorded if that is allowed. An SQLite file must exist, and its tables
    /// are brought up to date if it may be written to; in PostgreSQL they must exist, and are not changed.
    pub fn verify_only(mut self) -> Self {
        self.access = Access::Verify;
        self
    }

    /// Opens for reading alone, such as a standby. The tables must exist, changes are refused with an error of
    /// the kind [`ReadOnly`](tower_api_tokens::StoreErrorKind::ReadOnly), and uses are not recorded.
    pub fn read_only(mut self) -> Self {
        self.access = Access::ReadOnly;
        self
    }

    /// Requires a place where tokens outlive the process. A database in memory is then an error.
    pub fn persistent(mut self) -> Self {
        self.is_lasting = true;
        self
    }

    /// Opens the store and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// Returns an error as [`connect`] does, and one of the kind [`NotFound`](tower_api_tokens::StoreErrorKind::NotFound) if an
    /// SQLite file must exist and does not.
    pub async fn connect(self) -> Result<AnyStore, StoreError> {
        AnyStore::open(self).await
    }
}

// The URL may hold a password.
impl fmt::Debug for AnyStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyStoreBuilder")
            .field("schema", &self.schema)
            .field("access", &self.access)
            .field("is_lasting", &self.is_lasting)
            .finish_non_exhaustive()
    }
}
