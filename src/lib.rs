//! API tokens for [tower] services, done right: each of a platform's customers' apps gets named
//! tokens, shown once, masked ever after, rotated without an outage, revoked at once. A layer turns
//! the token of a request into the app that the request is attributed to.
//!
//! # Quickstart
//!
//! ```text
//! cargo run -p quickstart
//! ```
//!
//! serves on `127.0.0.1:3000` from an SQLite file, and prints a token, the `curl` line that uses it,
//! and how to sign in to the dashboard at `/tokens`.
//!
//! # Test
//!
//! ```text
//! cargo test
//! ```
//!
//! # Protect a service
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
//! With axum it is `.route_layer(ApiTokenLayer::new(&tokens))`, and handlers take an
//! [`AppPrincipal`] as an argument (feature `axum`). `SqliteStore::open("sqlite://tokens.db")` in
//! the place of [`MemoryStore`] keeps the tokens (package `tower-api-tokens-sqlx`). The layer goes around any
//! service of `http` requests: `examples/hyper` is one on hyper alone, and `examples/tonic` one
//! of gRPC, whose clients get gRPC status codes after [`ApiTokenLayer::grpc`].
//! Where requests are of other types, as in actix-web, poem and salvo, a short middleware calls
//! [`ApiTokenLayer::authenticate_head`]: `examples/actix`, `examples/poem` and `examples/salvo`.
//!
//! # Verify tokens in a table of your own
//!
//! One method is all that verification needs:
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
//! A digest is what `printf %s "$TOKEN" | sha256sum` prints, so tokens that were issued by another
//! system go on working. A store that issues tokens too implements [`TokenRegistry`]; feature
//! `testing` has the conformance suite that the crate's own stores pass.
//!
//! # Manage tokens
//!
//! <!-- README: ![The dashboard with a list of tokens](docs/images/tokens.png) -->
//!
//! ```text
//! let admin = Admin::new(&tokens, TokenGuard::new(&tokens, [staff.id]));
//! let app = app.nest_service("/tokens", admin.dashboard());
//! ```
//!
//! Issue, rotate and revoke tokens from the dashboard. A new token is shown on one page, once. You see
//! when it was last used, rotate it while both the old and the new one work, and revoke the old one when
//! nothing uses it any more. Programs do the same through a JSON API (`admin.router()`), and scripts
//! with the command line `api-tokens`. All of them record what they change in the audit log (packages
//! `tower-api-tokens-admin` and `api-tokens`).
//!
//! # Use it from any language
//!
//! ```text
//! cargo install api-tokens
//! ```
//!
//! installs `api-tokens`. It manages tokens at a terminal and in scripts, and serves the API, the
//! dashboard and an endpoint that nginx, Envoy and Traefik ask about each request; so a service in any
//! language gets the attributed app in header fields. The
//! [guide to the command line](guide/command_line/index.html) shows every command.
//!
//! # Measure
//!
//! ```text
//! api-tokens bench --store sqlite://bench.db --tokens 100000 --unknown 5% --skew zipf
//! ```
//!
//! shows what a request pays for being verified on your machine, with an SQLite or PostgreSQL
//! database that it fills with tokens. With several `--store`, or with the files that load tests
//! wrote, it shows the stores side by side at one rate, and `--plot` draws them.
//!
//! | kind | requests | a second | p50 | p90 | p99 | p99.9 | max |
//! |---|---|---|---|---|---|---|---|
//! | hit | 179,721 | 35,944 | 1.23 µs | 17.0 µs | 278 µs | 3.15 ms | 4.11 ms |
//! | miss | 11,233 | 2,247 | 43.5 µs | 160 µs | 989 µs | 3.84 ms | 7.39 ms |
//! | unknown | 11,233 | 2,247 | 33.3 µs | 140 µs | 1.18 ms | 4.31 ms | 7.37 ms |
//! | garbage | 11,233 | 2,247 | 1.01 µs | 17.3 µs | 268 µs | 3.03 ms | 4.06 ms |
//! | revoked | 11,233 | 2,247 | 1.52 µs | 18.6 µs | 193 µs | 2.65 ms | 4.03 ms |
//!
//! That is from an AMD EPYC virtual machine with two cores. Other programs kept it busy all the
//! while, at a lower priority: the columns on the right are theirs. Without a schedule it verified
//! 179,722 requests a second; the table is of a quarter of that rate. A latency counts from the
//! instant at which a request was due, whether earlier ones had been answered or not.
//!
//! `testing::latency` measures a store of your own (feature `testing`): a `Report` prints such a
//! table and keeps the whole histograms as JSON. The [guide to measuring](guide/measure/index.html)
//! explains the kinds and the columns, and measures a table in PostgreSQL against `PostgresStore`.
//!
//! ```text
//! cargo bench --bench bar
//! ```
//!
//! compares the layer with the least that verification could cost, and with what people write
//! instead. `benches/README.md` has the results from one machine.
//!
//! # Guides
//!
//! - [Put the layer into a service](guide/embed/index.html)
//! - [Write a store](guide/custom_store/index.html)
//! - [Rotate a token without an outage](guide/rotation/index.html)
//! - [A fleet on PostgreSQL](guide/fleet/index.html)
//! - [Manage tokens in the dashboard](guide/manage/index.html)
//! - [Manage tokens from the command line](guide/command_line/index.html)
//! - [Measure verification](guide/measure/index.html)
//! - [Threat model](guide/threat_model/index.html)
//!
//! In the repository and in the package, they are the files in `docs`.
//!
//! # The path of a request
//!
//! 1. **Extract** one credential from the header fields. Two, or one that is not well formed, are
//!    400.
//! 2. **Digest** it: one SHA-256.
//! 3. **Check the cache.** A hit takes no lock and allocates only the request extension.
//! 4. **Look it up**, if nothing fresh enough is cached. Concurrent lookups of the same token share one
//!    query, with a timeout. A store that cannot answer is 503, never 401, and never an admission.
//! 5. **Admit**: the whole digest is compared in constant time, and revocation, expiry and the app's
//!    state are judged at this very request. Unknown, revoked and expired tokens are the same 401.
//! 6. **Call** the inner service, with the [`AppPrincipal`] in the request's extensions. If the request
//!    had to be looked up, it is judged once more when the inner service is ready.
//!
//! An answer is cached for at most [`max_staleness`](AuthenticatorBuilder::max_staleness), five seconds
//! by default: a revoked token stops working everywhere within that time, and in the process that
//! revokes it as soon as the call returns. The [guide to a fleet](guide/fleet/index.html) explains why
//! this holds for many nodes on one PostgreSQL, whatever fails.
//!
//! # Packages
//!
//! This package has neither a database driver nor a web framework in its tree.
//!
//! | package | what it adds |
//! |---|---|
//! | [`tower-api-tokens-sqlx`](https://docs.rs/tower-api-tokens-sqlx) | stores on SQLite and PostgreSQL |
//! | [`tower-api-tokens-admin`](https://docs.rs/tower-api-tokens-admin) | a JSON API and a dashboard for managing apps and tokens, who may use them, and the audit of it |
//! | [`api-tokens`](https://crates.io/crates/api-tokens) | the command line, which manages tokens and serves proxies that ask about each request |
//!
//! # Features
//!
//! None is enabled by default, and none changes what another does.
//!
//! | feature | what it adds |
//! |---|---|
//! | `axum` | [`AppPrincipal`] as an extractor |
//! | `metrics` | hits, lookups, refusals and the age of the lease through the `metrics` facade |
//! | `tracing` | `app.id` and `token.id` on the current span, and [events](#what-it-logs) for rejections and trouble |
//! | `testing` | a fixture for tests of a service, the conformance suite, a load test, a clock set by hand, stores that fail on demand |
//! | `serde` | identifiers, words and records as `Serialize` and `Deserialize`; never a token's text |
//! | `transfer` | export and import of records by digest, as lines of JSON |
//! | `full` | all of these |
//!
//! # What it logs
//!
//! With feature `tracing`, these events go to the target `tower_api_tokens`, those of the
//! other packages too. Nothing in them derives
//! from a token.
//!
//! | level | event |
//! |---|---|
//! | ERROR | a route needs an `ApiTokenLayer` and has none around it: its requests are answered with 500 |
//! | ERROR | a store returned a record with another digest than it was asked for |
//! | WARN | tokens cannot be checked (`kind`: `store_failure`, `store_timeout` or `overload`): requests are answered with 503 |
//! | WARN | a follower cannot read the change log |
//! | WARN | a row of a table cannot be read and was left out of a listing |
//! | WARN | a trigger that a database needs was missing or altered, and was restored |
//! | WARN | an operation of the management API or an audit event failed |
//! | INFO | a follower reads the change log again |
//! | DEBUG | each refused request, with the `kind` of its rejection and what is known of the token |
//!
//! An event that a request can cause is written once in ten seconds at most, for each authenticator
//! and kind; its field `suppressed` counts those that were left out. Refused requests at DEBUG, and
//! what happens in an operation or at opening, are not limited.
//!
//! # What it refuses to do
//!
//! - **Keep or show a token's text.** Stores see SHA-256 digests, people see masks, logs see
//!   identifiers. The text exists once, in what [`ApiTokens::issue`] and [`ApiTokens::rotate`]
//!   return.
//! - **Take tokens from URLs, bodies or cookies**, where they end up in logs and histories.
//! - **Hash slowly.** A token carries 190 random bits; a slow hash would add nothing but a way to
//!   overload the service.
//! - **Fail open**, or serve what is too old because the store is down.
//! - **Be a session, a password or an OAuth server.** It identifies apps by opaque tokens. There
//!   are no refresh tokens, no users and no self-contained tokens that cannot be revoked.
//! - **Limit rates.** It says which app a request comes from; a layer inside can count.
//!
//! It needs a Tokio runtime and Rust 1.89, and has no unsafe code.
//!
//! [tower]: https://docs.rs/tower

#![warn(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod authenticator;
mod clock;
mod entropy;
#[cfg(feature = "axum")]
pub mod extract;
mod intern;
mod lifecycle;
pub mod middleware;
mod model;
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
    Authenticator, AuthenticatorBuilder, Follower, FollowerBuilder, Stats, UsageRecorder,
    UsageRecorderBuilder,
};
pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use lifecycle::{
    ApiTokens, ApiTokensBuilder, AppTokens, Authority, ChangeObserver, IdempotencyKey,
    IdempotencyKeyError, ImportedToken, IssuedToken, LifecycleError, LifecycleErrorKind, NewToken,
    Rotation,
};
#[doc(inline)]
pub use middleware::{
    ApiTokenAuth, ApiTokenLayer, LayerError, Refusal, RequestHead, RequireScopeLayer,
};
pub use model::app::{AppId, AppIdError, AppRecord};
pub use model::audit::{
    AuditAction, AuditEvent, AuditEventId, AuditEventIdError, AuditOutcome, one_line,
};
pub use model::grantable::{GrantError, Grantable};
pub use model::name::{MAX_NAME_LEN, NameError, NamePartError, check_name_part, normalize_name};
pub use model::principal::AppPrincipal;
pub use model::record::{SuccessorError, TokenRecord, TokenStatus, TransitionError};
pub use model::restrictions::{Restrictions, RestrictionsError};
pub use model::scope::{Scope, ScopeError, ScopeSet};
pub use rejection::{Rejection, RejectionKind};
#[doc(inline)]
pub use store::{
    Answer, AppQuery, Applied, AsyncSnapshot, AuditLog, AuditQuery, BoundKey, Change,
    ChangeHistory, ChangeLog, ChangeLogStreams, Changes, LivePage, LoggedChange, MemoryStore,
    Mutation, Op, Page, PageSize, Plan, Repeated, Replacement, Revision, Snapshot, StoreError,
    StoreErrorKind, TableRegistry, Tables, TokenQuery, TokenRegistry, TokenRegistryExt,
    TokenRegistryStreams, TokenStore, TokenTarget, Transactional, Usage, UsageLog, UsedKey, Write,
};
pub use time::{TimeError, end_of_day, parse_expiry, parse_instant};
pub use token::{
    ApiToken, DigestError, MaskError, MaskedToken, PrefixError, TokenDigest, TokenFormat, TokenId,
    TokenIdError,
};
pub use words::UnknownVariantError;
