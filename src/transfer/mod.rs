//! Moves records between stores as lines of JSON: out of a registry with [`Export`], into one with
//! [`Import`].
//!
//! # Examples
//!
//! ```
//! use tower_api_tokens::{
//!     ApiTokens, MemoryStore, NewToken, TokenFormat,
//!     transfer::{Completeness, Export, Import},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let old = MemoryStore::new();
//! let tokens = ApiTokens::new(old.clone(), TokenFormat::new("acme_live")?);
//! let app = tokens.create_app("Billing").await?;
//! let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;
//!
//! let mut file = Vec::new();
//! Export::new(&old).run(&mut file).await?;
//!
//! let new = MemoryStore::new();
//! let report = Import::new(&new).run(&file[..]).await?;
//! assert_eq!((report.inserted, report.faults()), (2, 0));
//! assert_eq!(report.completeness, Completeness::Complete);
//!
//! let tokens = ApiTokens::new(new, TokenFormat::new("acme_live")?);
//! let principal = tokens.authenticator().authenticate(issued.token().expose().as_bytes()).await?;
//! assert_eq!(principal.app_name(), "Billing");
//! # Ok(())
//! # }
//! ```
//!
//! # Format
//!
//! Each line is a JSON object of at most [`MAX_LINE_LEN`] bytes:
//!
//! ```text
//! {"format":"tower-api-tokens","version":1}
//! {"app":{"id":"billing","name":"Billing","created_at":"2026-03-02T09:00:00.000000Z"}}
//! {"token":{"id":"0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77","digest":"ba78…15ad","mask":"acme_live_…x7Kq","app":"billing","name":"ci","scopes":"read write","created_at":"2026-03-02T09:00:00.000000Z"}}
//! {"end":{"apps":1,"tokens":1}}
//! ```
//!
//! First comes the header, then the apps, then the tokens, and then the end, which contains their
//! number. Fields without a value are omitted.
//!
//! - An **app** has `id`, `name`, `created_at` and `disabled_at`.
//! - A **token** has `id`, `digest`, `mask`, `app`, `name`, `scopes`, `created_at`, `expires_at`,
//!   `revoked_at`, `successor`, `last_used_at` and `uses`.
//! - Times have the format of RFC 3339, as [`parse_instant`](crate::parse_instant) reads it, and a
//!   precision of microseconds. Further digits are truncated.
//! - A digest is the SHA-256 of the token's bytes in hexadecimal, as `sha256sum` prints it. If your
//!   table has digests in base64url without padding, use `digest_base64url` instead of `digest`.
//!   Never put the token itself there: it would be stored as it is.
//! - Empty lines are ignored. A line with an unknown or duplicate field is bad.
//!
//! The file does not contain tokens, but anyone who has it can test guesses against the digests.
//! Protect it like the database.
//!
//! # Tokens of another system
//!
//! A list of tokens that another system issued needs neither a header nor an end. Each token only
//! needs its app and its digest. If the app may not exist yet, give its name as well: it is created
//! with its first token.
//!
//! ```text
//! {"token":{"app":{"id":"42","name":"Acme Ltd"},"digest":"ba78…15ad"}}
//! {"token":{"app":"42","digest":"9f86…0a08","name":"partner","mask":"legacy-…9f3c","scopes":"read","expires_at":"2027-01-01T00:00:00Z"}}
//! ```
//!
//! All other fields of a token are optional. A token without an `id` gets a new one, one without
//! `created_at` the time of the import, one without a `name` the name `imported`, and one without a
//! `mask` is shown as `…`. In PostgreSQL, this query produces such a list:
//!
//! ```text
//! psql -qAt -c "SELECT json_build_object('token', json_build_object(
//!     'app', json_build_object('id', customer::text, 'name', customer_name),
//!     'digest', encode(sha256, 'hex'), 'name', label)) FROM api_keys"
//! ```
//!
//! An authenticator accepts these tokens if it is built with
//! [`any_format`](crate::ApiTokensBuilder::any_format) or knows their format.
//!
//! # Repeating an import
//!
//! An import never changes an existing record. A line counts as `already_present` if the existing
//! record agrees with it, and as a [`Conflict`](FaultKind::Conflict) if it does not. So an import
//! that was interrupted, even by a crash, is finished by importing the same file again. For a line
//! with an `id`, every field has to agree; for a token of another system, the fields in its line.
//! Usage since the export does not count as a difference.
//!
//! # Bad lines
//!
//! A bad line is reported with its number and a reason that does not repeat the line. The import
//! continues with the next line, unless it is set to [stop](Import::stop_at_fault). The bad lines
//! can be [collected](Import::rejects), corrected, and imported on their own.
//!
//! # Changes during an export
//!
//! An export reads one page at a time, by identifier, and does not lock the store. It contains
//! every app and token that existed when it began, each in its state when its page was read. Tokens
//! that are issued, purged or changed during the export may or may not be included in that state.
//! To move to another store without losing anything, first stop everything that issues, rotates and
//! revokes. Exports of the same records are identical byte for byte, whatever store they come from.
//!
//! If a record cannot be read, for example because it was edited in the database, the export fails
//! with an error of the kind [`Corrupt`](TransferErrorKind::Corrupt) and names the record.

mod batch;
mod error;
mod events;
mod export;
mod import;
mod import_options;
mod json;
mod line;
mod lines;
mod report;
mod run;
mod write;

pub use error::{TransferError, TransferErrorKind};
pub use export::{Export, ExportReport, ExportStream};
pub use import::Import;
pub use report::{Completeness, FaultKind, ImportReport, LineFault, Progress};

/// The maximum length of a line, in bytes, without its line feed.
pub const MAX_LINE_LEN: usize = 64 * 1024;

/// The name of the format in the header.
const FORMAT: &str = "tower-api-tokens";

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;
