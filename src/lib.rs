//! API tokens for [tower], axum, hyper and tonic services: a layer verifies the token of each request,
//! and your handlers see which app sent it. You issue, rotate and revoke tokens in a dashboard, with a
//! JSON API or from the command line.
//!
//! There are three ways to start:
//!
//! - [**Embed**](#embed-it-in-your-service) the layer in your service. Apps and tokens are kept in
//!   memory, SQLite or PostgreSQL.
//! - [**Store**](#verify-tokens-in-your-own-table): keep the tokens in a table that you already have,
//!   by implementing one method.
//! - [**Measure**](#measure-it) what verification costs with your store, before you decide.
//!
//! # Embed it in your service
//!
//! ```
//! use tower::{ServiceBuilder, service_fn};
//! use tower_api_tokens::{ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, NewToken, TokenFormat};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme_live")?);
//! let app = tokens.create_app("Billing").await?;
//! let issued = tokens.issue(&app.id, NewToken::named("nightly export")).await?;
//! println!("shown once: {}", issued.token().expose());
//!
//! let service = ServiceBuilder::new()
//!     .layer(ApiTokenLayer::new(&tokens))
//!     .service(service_fn(async |request: http::Request<String>| {
//!         let app = request.extensions().get::<AppPrincipal>().map(|p| p.app_id().to_string());
//!         Ok::<_, std::convert::Infallible>(http::Response::new(app.unwrap_or_default()))
//!     }));
//! # let _: tower_api_tokens::ApiTokenAuth<_> = service;
//! # Ok(())
//! # }
//! ```
//!
//! - **axum:** add `.route_layer(ApiTokenLayer::new(&tokens))` after your routes, and take an
//!   [`AppPrincipal`] as an argument of your handlers (feature `axum`).
//! - **To keep tokens across restarts,** replace `MemoryStore::new()` with
//!   `SqliteStore::connect("sqlite://tokens.db").await?`, or use `PostgresStore` (package
//!   `tower-api-tokens-sqlx`).
//! - **gRPC:** [`ApiTokenLayer::grpc`] refuses calls with gRPC status codes.
//! - **Other frameworks:** the layer wraps any service of `http` requests. For frameworks with request
//!   types of their own, call [`ApiTokenLayer::authenticate_head`]. The repository has examples for
//!   hyper, tonic, actix-web, poem and salvo.
//!
//! The [guide to embedding](guide/embed/index.html) covers denying by default, scopes, gRPC, other
//! credentials, streams, rate limits and proxies.
//!
//! # Verify tokens in your own table
//!
//! Implement one method, and the tokens that you have already issued keep working:
//!
//! ```
//! use std::collections::HashMap;
//!
//! use async_trait::async_trait;
//! use tower_api_tokens::{
//!     Answer, ApiTokenLayer, Authenticator, StoreError, TokenDigest, TokenRecord, TokenStore,
//! };
//!
//! #[derive(Debug)]
//! struct Partners(HashMap<TokenDigest, TokenRecord>);
//!
//! #[async_trait]
//! impl TokenStore for Partners {
//!     async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
//!         Ok(self.0.get(digest).cloned().into())
//!     }
//! }
//!
//! let layer = ApiTokenLayer::new(Authenticator::new(Partners(HashMap::new())));
//! ```
//!
//! `find` gets the SHA-256 digest of a token, as printed by `printf %s "$TOKEN" | sha256sum`. To issue
//! tokens as well, implement [`TokenRegistry`]. The [guide to stores](guide/custom_store/index.html) has
//! a query for PostgreSQL, a store that also issues tokens, and a conformance suite for both.
//!
//! # Measure it
//!
//! ```sh
//! api-tokens bench --store sqlite://bench.db --tokens 100000 --unknown 5% --skew zipf
//! ```
//!
//! This fills an SQLite or PostgreSQL database with tokens, and measures how long verification takes on
//! your machine. To measure your own store, use `testing::latency` (feature `testing`). The [guide to
//! measuring](guide/measure/index.html) explains the output.
//!
//! # How a request is processed
//!
//! 1. **Extract** the credential from the header fields. A malformed credential, or more than one, gets 400.
//! 2. **Hash** the token with SHA-256.
//! 3. **Check the cache.** A hit takes no lock and allocates only the request extension.
//! 4. **Look it up** in the store otherwise. Concurrent lookups of one token share a query, with a timeout. If the store fails, the request gets 503.
//! 5. **Check the record** against the current time. An unknown, revoked or expired token, or one of a
//!    disabled app, gets 401.
//! 6. **Call the inner service** with an [`AppPrincipal`] in the request's extensions.
//!
//! # Guarantees
//!
//! | guarantee | how |
//! |---|---|
//! | A revoked token stops working everywhere within five seconds by default | The cache holds an answer for at most [`max_staleness`](AuthenticatorBuilder::max_staleness), whatever fails. The process that revokes it refuses it immediately. |
//! | A failing store never admits a request | A request whose token cannot be checked gets 503. The feature `tracing` logs the cause. |
//! | A leaked database contains no usable token | Stores hold SHA-256 digests of tokens with 190 random bits. The plaintext exists only in the response that creates the token. |
//! | Logs and URLs contain no tokens | Tokens are read only from header fields, and these are marked sensitive. Lists show only masks. |
//! | Refusals reveal nothing | Unknown, revoked and expired tokens get the same 401. Digests are compared in constant time. |
//! | A flood does not overload the store | Malformed tokens cause no lookup. Concurrent requests with the same token share one lookup. |
//! | A cached token costs almost nothing | A hit takes no lock, and allocates only the request extension. |
//!
//! The [threat model](guide/threat_model/index.html) names the tests that prove each guarantee. The
//! crates contain no unsafe code. They do not provide users, sessions, passwords, OAuth or rate limits.
//! To limit rates by app, add a layer inside the token layer.
//!
//! # Features
//!
//! No feature is enabled by default. Features are additive.
//!
//! | feature | what it adds |
//! |---|---|
//! | `axum` | [`AppPrincipal`] as an extractor |
//! | `metrics` | hits, lookups, refusals and the state of the cache, through the `metrics` facade |
//! | `tracing` | `app.id`, `token.id` and `token.format` in the current span, and [events](#what-it-logs) for refusals and failures |
//! | `testing` | a fixture for tests of your service, a clock set by hand, a store that fails on demand, the conformance suite for stores, and load tests |
//! | `serde` | `Serialize` and `Deserialize` for identifiers, records and enums, but never for a token |
//! | `transfer` | export and import of records as lines of JSON, with digests instead of tokens |
//! | `full` | all of these |
//!
//! The crate needs a Tokio runtime and Rust 1.89. It does not depend on a database driver or a web
//! framework.
//!
//! # Packages
//!
//! | package | what it adds |
//! |---|---|
//! | [`tower-api-tokens-sqlx`](https://docs.rs/tower-api-tokens-sqlx) | stores for SQLite and PostgreSQL |
//! | [`tower-api-tokens-admin`](https://docs.rs/tower-api-tokens-admin) | a dashboard and a JSON API for managing apps and tokens |
//! | [`api-tokens`](https://crates.io/crates/api-tokens) | a command line that manages tokens, measures stores, and verifies tokens for proxies and for services in other languages |
//!
//! # Guides
//!
//! - [Embed the layer in a service](guide/embed/index.html)
//! - [Write a store](guide/custom_store/index.html)
//! - [Rotate a token without an outage](guide/rotation/index.html)
//! - [Run a fleet on PostgreSQL](guide/fleet/index.html)
//! - [Manage tokens in the dashboard](guide/manage/index.html)
//! - [Manage tokens from the command line](guide/command_line/index.html)
//! - [Operate the server](guide/operate/index.html)
//! - [Verify tokens in a proxy](guide/proxies/index.html)
//! - [Verify tokens in Spring, Express, FastAPI or Go](guide/languages/index.html)
//! - [Measure verification](guide/measure/index.html)
//! - [Threat model](guide/threat_model/index.html)
//!
//! # What it logs
//!
//! With feature `tracing`, these events have the target `tower_api_tokens`, as do those of the other
//! packages. They contain nothing derived from a token.
//!
//! | level | event |
//! |---|---|
//! | ERROR | a route requires an `ApiTokenLayer` and has none around it; its requests get 500 |
//! | ERROR | a store returned a record with a different digest than the one looked up |
//! | WARN | tokens cannot be checked (`kind`: `store_failure`, `store_timeout` or `overload`); requests get 503 |
//! | WARN | a follower cannot read the change log |
//! | WARN | a snapshot of a preloaded cache was discarded, or cannot be saved |
//! | WARN | live tokens cannot be read in one stream, so a preloaded cache reads them in pages |
//! | WARN | a row of a table cannot be read and was left out of a listing |
//! | WARN | a trigger that a database needs was missing or altered, and was restored |
//! | WARN | an operation of the management API or an audit event failed |
//! | INFO | a follower can read the change log again |
//! | INFO | a follower has started from a snapshot |
//! | DEBUG | a request was refused; includes the `kind` of the rejection and, if known, the app and the token |
//!
//! Events that a request can cause are logged at most once in ten seconds for each authenticator and
//! kind. The field `suppressed` shows how many were left out. Refused requests at DEBUG, and events about
//! operations or about opening a store, are not limited.
//!
//! [tower]: https://docs.rs/tower

#![warn(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod authenticator;
#[cfg(feature = "axum")]
pub mod extract;
mod fleet;
mod intern;
mod lifecycle;
pub mod middleware;
mod model;
mod random;
mod rejection;
pub mod store;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod time;
mod token;
#[cfg(feature = "transfer")]
pub mod transfer;
mod uuid_v7;
mod words;

#[cfg(all(
    any(doc, doctest),
    feature = "axum",
    feature = "metrics",
    feature = "testing"
))]
pub mod guide;

pub use authenticator::{
    Authenticator, AuthenticatorBuilder, Follower, FollowerBuilder, LiveToken, PreloadSource,
    Stats, UsageRecorder, UsageRecorderBuilder, WaitError, WaitErrorKind,
};
pub use fleet::{FleetMember, FleetMemberBuilder, NodeReceipt, Receipt, ReceiptStatus};
pub use lifecycle::{
    ApiTokens, ApiTokensBuilder, AppTokens, Authority, BulkRevocation, ChangeObserver, EventStream,
    IdempotencyKey, IdempotencyKeyError, ImportedToken, IssuedToken, LifecycleError,
    LifecycleErrorKind, Maintenance, MaintenanceReport, NewApp, NewToken, Report, ReportCard,
    ReportKind, Rotation, TokenFormats, TokenSelection,
};
#[doc(inline)]
pub use middleware::{
    ApiTokenAuth, ApiTokenLayer, LayerError, Refusal, RequestHead, RequireScopeLayer,
    TrustedProxies,
};
pub use model::app::{AppId, AppIdError, AppRecord};
pub use model::audit::{
    AuditAction, AuditChange, AuditEvent, AuditEventId, AuditEventIdError, AuditOutcome,
    name_in_app, one_line,
};
pub use model::edit::{AppEdit, EditError, TokenEdit};
pub use model::grantable::{GrantError, Grantable};
pub use model::metadata::{Metadata, MetadataError, MetadataPatch};
pub use model::name::{MAX_NAME_LEN, NameError, NamePartError, check_name_part, normalize_name};
pub use model::network::{Network, NetworkError, Networks};
pub use model::policy::{Policy, PolicyError};
pub use model::principal::AppPrincipal;
pub use model::record::{SuccessorError, TokenRecord, TokenStatus, TransitionError};
pub use model::restrictions::{Restrictions, RestrictionsError};
pub use model::scope::{Scope, ScopeError, ScopeSet};
pub use model::version::{RecordVersion, RecordVersionError};
pub use random::{Entropy, EntropyError, SystemEntropy};
pub use rejection::{Rejection, RejectionKind};
#[doc(inline)]
pub use store::{
    Answer, AppQuery, Applied, AsyncSnapshot, AuditLog, AuditQuery, BoundKey, Change,
    ChangeHistory, ChangeLog, ChangeLogStreams, Changes, Committed, EventHistory, EventLog,
    EventPage, EventPosition, EventPositionError, EventQuery, EventStart, ExpiringQuery,
    FleetSettings, FleetState, Inheritance, LivePage, LiveStream, LoggedChange, LoggedEvent,
    MemoryStore, Mutation, NodeId, NodeIdError, NodePage, NodeQuery, NodeRecord, NodeRegistry,
    NodeReport, Op, Outdated, OutdatedQuery, Page, PageSize, Plan, Repeated, Replacement, Revision,
    RevisionError, Snapshot, StoreError, StoreErrorKind, TableRegistry, Tables, TokenCondition,
    TokenCursor, TokenCursorError, TokenOrder, TokenQuery, TokenQueryConflict, TokenRegistry,
    TokenRegistryExt, TokenRegistryStreams, TokenStore, TokenTarget, Transactional, Usage,
    UsageLog, UsedKey, Write,
};
pub use time::{Clock, SystemClock, TimeError, end_of_day, parse_expiry, parse_instant};
pub use token::{
    ApiToken, DigestError, LabelError, MaskError, MaskedToken, PrefixError, TokenDigest,
    TokenFormat, TokenId, TokenIdError,
};
pub use words::UnknownVariantError;
