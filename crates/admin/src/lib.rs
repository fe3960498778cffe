//! Managing apps and tokens: over HTTP, by whom a guard knows, with an audit of it all.
//!
//! [`Admin`] makes axum routers: of the JSON API for programs, and of the dashboard for people. It
//! asks a [`Guard`] who sends each request; [`TokenGuard`] takes tokens of the apps
//! that you name, if they have the scope `tokens:admin`.
//!
//! ```
//! use axum::Router;
//! use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat};
//! use tower_api_tokens_admin::{Admin, TokenGuard};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
//! let staff = tokens.create_app("Staff").await?;
//! let admin = NewToken::named("first admin").scopes("tokens:admin invoices:read".parse()?);
//! let admin = tokens.issue(&staff.id, admin).await?;
//! println!("shown once: {}", admin.token().expose());
//!
//! let admin = Admin::new(&tokens, TokenGuard::new(&tokens, [staff.id]));
//! let app: Router = Router::new()
//!     .nest_service("/admin/api", admin.router())
//!     .nest_service("/admin/tokens", admin.dashboard());
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
//!     -d '{"name": "Billing"}' http://127.0.0.1:3000/admin/api/apps
//! ```
//!
//! # The parts
//!
//! 1. [`Operations`] are what can be done, with the rules on who may and the audit. The forms below
//!    do nothing that they do not.
//! 2. The gate turns away what a page of another site has sent, asks the guard who sends the
//!    request, and hands the [`Operator`] on to what stands behind it.
//! 3. The JSON API and the dashboard read requests, call the operator and write answers. Whatever
//!    else is to manage tokens over HTTP stands behind the same gate.
//!
//! # The dashboard
//!
//! - Its pages are rendered here, load nothing from elsewhere, and work without scripts; the one
//!   script copies a token to the clipboard and adds the reader's local time.
//! - A token is shown in the answer to the form that made it, and nowhere else. A form that is sent
//!   again, by a reload or after going back, makes no second token and shows none: within a day it
//!   is known, and after 23 hours it is refused.
//! - Where the guard takes passwords (see [`Guard::schemes`]), `/sign-out` makes the browser drop the
//!   one that it has, and `/sign-in` asks for one.
//! - Its content security policy allows nothing inline and no framing.
//! - It has to be reached under the path at which it is nested: a proxy in front must not change
//!   that.
//!
//! # The JSON API
//!
//! | request | does |
//! |---|---|
//! | `GET /apps?name=`, `POST /apps`, `GET /apps/{app}` | lists, creates, reads apps |
//! | `POST /apps/{app}/disable`, `POST /apps/{app}/enable` | refuses or admits all its tokens |
//! | `GET /tokens?app_id=&status=&name=` | lists tokens, the newest first |
//! | `POST /tokens` | issues a token; its text is in this answer alone |
//! | `GET /tokens/{token}`, `PATCH /tokens/{token}` | reads, renames a token |
//! | `POST /tokens/{token}/rotate` | issues the successor; its text is in this answer alone |
//! | `POST /tokens/{token}/revoke` | revokes a token for good |
//! | `GET /events?app_id=&token_id=` | lists audit events, the latest first |
//! | `GET /openapi.json` | describes all this, as OpenAPI 3.1 |
//!
//! - Names are for people and need not be distinct; identifiers are what tells apps and tokens apart.
//! - A listing has a `next` while there is more: give it as `cursor`, with the same filters.
//! - With an `Idempotency-Key`, issuing and rotating make one token however often the request is
//!   sent within a day. The text of a token is not kept, so a repetition is told which token was
//!   made (409). The same key with another request is 422.
//! - What is wrong with a request is answered as `application/problem+json` (RFC 9457), with a `code`
//!   for programs and a `detail` that says what to change. Unknown fields and parameters are wrong.
//! - A store that fails is 503 with `Retry-After`. Nothing is ever kept by a cache.
//! - Requests that change something have to come from the same site, or from no browser, because
//!   browsers add credentials by themselves; see [`AdminBuilder::with_trusted_origin`].
//!
//! # Codes
//!
//! The `code` of a problem, and the `reason` of a refusal in the audit, are one of these. They stay
//! what they are.
//!
//! | status | code | what to change |
//! |---|---|---|
//! | 400 | `invalid_body`, `invalid_query`, `invalid_path`, `invalid_idempotency_key` | the part of the request that `detail` names |
//! | 400 | `invalid_cursor` | give the `next` of the page before, with the same filters |
//! | 400 | `malformed_credential` | send exactly one token |
//! | 401 | `unauthenticated` | send a credential that the guard takes |
//! | 403 | `forbidden` | use a token with the scope, or ask for it |
//! | 403 | `scope_not_held` | leave out the scopes that you do not hold |
//! | 403 | `expiry_not_held` | choose an expiry no later than your own |
//! | 403 | `cross_site` | send the request from the same site |
//! | 404 | `not_found`, `unknown_app`, `unknown_token` | the path, or the identifier |
//! | 405 | `method_not_allowed` | use a method that `Allow` names |
//! | 409 | `app_exists`, `token_exists` | take another identifier, or try again |
//! | 409 | `disabled_app` | enable the app first |
//! | 409 | `revoked_token`, `expired_token` | issue a new token |
//! | 409 | `rotated_token` | rotate the successor |
//! | 409 | `repeated` | use the token in `token_id`, or revoke it and take another key |
//! | 413 | `body_too_large` | send at most 16 KiB |
//! | 415 | `unsupported_media_type` | send `Content-Type: application/json` |
//! | 422 | `invalid_name`, `invalid_scopes`, `invalid_expiry`, `invalid_overlap`, `foreign_format`, `unknown_format` | the value that `detail` names |
//! | 422 | `key_reused` | take a new key |
//! | 503 | `store_failure`, `entropy_failure`, `unavailable` | try again after `Retry-After` |

#![warn(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod actor;
mod api;
mod audit;
mod builder;
mod cross_site;
mod dashboard;
mod gate;
mod guard;
mod operations;
mod origin;
mod problem;
mod telemetry;
pub mod view;

pub use actor::Actor;
pub use audit::{AuditSink, JsonLines};
pub use builder::{Admin, AdminBuilder};
pub use guard::{Denied, Guard, GuardScheme, TokenGuard};
pub use operations::{OperationError, OperationErrorKind, Operations, Operator};
pub use origin::OriginError;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
