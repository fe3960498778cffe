//! Moves records from one store to another as lines of JSON: out of a registry with [`Export`], into
//! one with [`Import`].
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
//! # The format
//!
//! Each line is one JSON object, of at most [`MAX_LINE_LEN`] bytes:
//!
//! ```text
//! {"format":"tower-api-tokens","version":1}
//! {"app":{"id":"billing","name":"Billing","created_at":"2026-03-02T09:00:00.000000Z"}}
//! {"token":{"id":"0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77","digest":"ba78…15ad","mask":"acme_live_…x7Kq","app":"billing","name":"ci","scopes":"read write","created_at":"2026-03-02T09:00:00.000000Z"}}
//! {"end":{"apps":1,"tokens":1}}
//! ```
//!
//! The header comes first, then the apps, then the tokens, and the end says how many there were. A
//! field that has no value is left out.
//!
//! - An **app** has `id`, `name`, `created_at` and `disabled_at`.
//! - A **token** has `id`, `digest`, `mask`, `app`, `name`, `scopes`, `created_at`, `expires_at`,
//!   `revoked_at`, `successor`, `last_used_at` and `uses`.
//! - Times are RFC 3339, to the microsecond; what is finer is cut off.
//! - A digest is the SHA-256 of the token's bytes in hexadecimal, as `sha256sum` prints it.
//!   `digest_base64url` takes the place of `digest` where a table holds base64url without padding. Give
//!   neither the token itself: it would be kept as it is.
//! - An empty line counts for nothing. A field that is not known, or is there twice, makes a line bad.
//!
//! A file holds no token's text, but whoever has it can try guesses against its digests: keep it as you
//! keep the database.
//!
//! # Tokens of another system
//!
//! A list of tokens that another system issued needs neither header nor end, and of each token no more
//! than its app and its digest. Where the app may not be there yet, it comes with its name, and is
//! created with the first token that brings it:
//!
//! ```text
//! {"token":{"app":{"id":"42","name":"Acme Ltd"},"digest":"ba78…15ad"}}
//! {"token":{"app":"42","digest":"9f86…0a08","name":"partner","mask":"legacy-…9f3c","scopes":"read","expires_at":"2027-01-01T00:00:00Z"}}
//! ```
//!
//! Any other field of a token may be given too. A token without an `id` gets one, and one without
//! `created_at` the time of the import; one without a `name` is called `imported`, and one without a
//! `mask` is shown as `…`. From PostgreSQL such a list comes with
//!
//! ```text
//! psql -qAt -c "SELECT json_build_object('token', json_build_object(
//!     'app', json_build_object('id', customer::text, 'name', customer_name),
//!     'digest', encode(sha256, 'hex'), 'name', label)) FROM api_keys"
//! ```
//!
//! An authenticator admits such tokens if it is built with
//! [`any_format`](crate::ApiTokensBuilder::any_format) or knows their format.
//!
//! # Doing it again
//!
//! An import never changes a record that is there. A line whose record is there already and agrees
//! counts as `already_present`; one that disagrees is a [`Conflict`](FaultKind::Conflict). So an import
//! that was interrupted anywhere, be it by a crash, is finished by running it again on the same file.
//! Of a line with an `id` every field has to agree; of a token of another system those that its line
//! gives. A token that was used since it was moved agrees.
//!
//! # Bad lines
//!
//! A bad line is reported with its number and the reason, and the import goes on with the next one,
//! unless it is to [stop](Import::stop_at_fault). No reason repeats what the line holds. The bad lines
//! themselves can be [collected](Import::rejects), to be mended and imported by themselves.
//!
//! # While the store changes
//!
//! An export reads a page at a time, by identifier, and does not lock the store. It holds every app and
//! token that was there when it began, each as it was when its page was read; a token that was issued,
//! purged or changed meanwhile may or may not be so in it. To move house without a loss, stop what
//! issues, rotates and revokes first. Exports of the same records are the same, byte for byte, from
//! whatever store they come.

mod error;
mod export;
mod import;
mod import_options;
mod json;
mod line;
mod lines;
mod place;
mod report;
mod run;
mod write;

pub use error::{TransferError, TransferErrorKind};
pub use export::{Export, ExportReport, ExportStream};
pub use import::Import;
pub use report::{Completeness, FaultKind, ImportReport, LineFault, Progress};

/// The longest line, in bytes, without its line feed.
pub const MAX_LINE_LEN: usize = 64 * 1024;

/// What the header calls the format.
const FORMAT: &str = "tower-api-tokens";

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;
