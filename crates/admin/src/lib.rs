//! A management API and a dashboard for [tower-api-tokens](tower_api_tokens), with authentication and
//! an audit log.
//!
//! [`Admin`] creates two axum routers: a JSON API for programs, and a dashboard for people. A
//! [`Guard`] authenticates each request. [`TokenGuard`] accepts tokens of the apps that you name, if
//! they have the scope `tokens:admin`, or for reading, `tokens:read`.
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
//! # Architecture
//!
//! 1. [`Operations`] implement every change, with authorization and the audit log. You can call them
//!    from your own code too.
//! 2. Middleware rejects cross-site requests, calls the guard, and passes the [`Operator`] to the
//!    handlers.
//! 3. The JSON API and the dashboard parse requests, call the operator, and render responses.
//!
//! [`OAuthEndpoints`] is a third router, with which services in other languages verify tokens by
//! introspection, and holders revoke their own.
//!
//! [`ApiTokenSecurity`] describes API tokens in the OpenAPI document of your own service.
//!
//! # The dashboard
//!
//! - Pages are rendered on the server, load nothing from other sites, and work without scripts. The
//!   one script copies tokens and identifiers to the clipboard, and adds local times.
//! - A token is shown only in the response to the form that created it. Submitting the form again, by
//!   a reload or after going back, creates no second token: repetitions are recognized for a day, and
//!   a form expires after 23 hours.
//! - Lists can be downloaded as CSV, up to 100,000 records, which are read and sent page by page. Totals
//!   are counted on request, up to 10,000 records.
//! - [`Brand`] frames the pages with the name, logo, colors and links of your service.
//! - A guard can send browsers to the login of your service and back. See [`Denied::redirect`].
//! - If the guard accepts `Basic` (see [`Guard::schemes`]), `/sign-out` makes the browser discard its
//!   credentials, and `/sign-in` prompts for them.
//! - The content security policy forbids inline scripts, inline styles and framing.
//! - A proxy must not change the path under which the dashboard is nested.
//!
//! # The JSON API
//!
//! | request | effect |
//! |---|---|
//! | `GET /apps?name=`, `POST /apps`, `GET /apps/{app}` | lists, creates, reads apps |
//! | `PATCH /apps/{app}` | edits the name and the metadata of an app |
//! | `DELETE /apps/{app}` | deletes an app that has no live tokens |
//! | `POST /apps/{app}/disable`, `POST /apps/{app}/enable` | blocks or unblocks all tokens of an app |
//! | `GET /tokens?app_id=&status=&name=` | lists tokens, newest first |
//! | `POST /tokens` | issues a token; only this response contains its text |
//! | `GET /tokens/{token}` | reads a token |
//! | `PATCH /tokens/{token}` | edits the name, scopes, expiry, networks and metadata of a token |
//! | `POST /tokens/{token}/rotate` | issues a successor; only this response contains its text |
//! | `POST /tokens/{token}/suspend`, `POST /tokens/{token}/resume` | blocks or unblocks a token |
//! | `POST /tokens/{token}/revoke` | revokes a token permanently |
//! | `GET /policy`, `PUT /policy` | reads, replaces the rules that every new or edited token must follow |
//! | `GET /events?app_id=&token_id=` | lists audit events, latest first, with what each edit changed |
//! | `GET /openapi.json` | returns the OpenAPI 3.1 document |
//!
//! - Names do not have to be unique. Identifiers are.
//! - A page of a listing has a `next` value if there are more records. Send it as `cursor`, with the
//!   same filters.
//! - A `PATCH` takes a JSON merge patch (RFC 7396). Absent fields stay as they are. `null` means no
//!   expiry or no networks, and removes a key of `metadata`.
//! - Every response with one app, one token or the policy has an `ETag`. Send it as `If-Match` with
//!   `PATCH`, `PUT` or a rotation, and the change is refused with 412 if the record has changed since. Without
//!   `If-Match`, any version is changed. The tag of a token does not change with its use or its app.
//!   Other changes take `If-Match` too, but compare the version just before the change: they do not see another
//!   change that is made in the same moment.
//! - A new token without `expires_at` gets the default expiry of the policy. With `null`, it never
//!   expires.
//! - Only an actor who may grant everything can write the `metadata` of apps, delete apps and set the
//!   policy. See [`TokenGuard::OWNER`].
//! - An actor who is [limited to an app](Actor::limited_to) only sees this app: any other app, token or
//!   event does not exist. Such an actor changes nothing but the tokens of the app.
//! - With an `Idempotency-Key`, issuing or rotating creates one token, however often you send the
//!   request within a day. The text of a token is not stored, so a repetition returns 409 with the
//!   identifier of the token. Using the key for a different request returns 422.
//! - Errors are `application/problem+json` (RFC 9457), with a `code` for programs and a `detail` for
//!   people. Unknown fields and parameters are errors.
//! - If the store fails, the response is 503 with `Retry-After`. No response is ever cached.
//! - Requests that make changes must come from the same site, or not from a browser, because browsers
//!   add credentials to cross-site requests. See [`AdminBuilder::with_trusted_origin`].
//!
//! # Error codes
//!
//! These are the values of `code` in an error response, and of `reason` in an audit event. They are
//! stable.
//!
//! | status | code | what to do |
//! |---|---|---|
//! | 400 | `invalid_body`, `invalid_query`, `invalid_path`, `invalid_idempotency_key`, `invalid_if_match` | fix the part of the request that `detail` names |
//! | 400 | `invalid_cursor` | send `next` from the previous page, with the same filters |
//! | 400 | `malformed_credential` | send exactly one token |
//! | 401 | `unauthenticated` | send valid credentials |
//! | 403 | `forbidden` | use a token with the required scope |
//! | 403 | `scope_not_held` | remove the scopes that you do not have |
//! | 403 | `expiry_not_held` | choose an expiry no later than your own |
//! | 403 | `networks_not_held` | choose networks within those of your own token |
//! | 403 | `read_only` | use a token with the scope `tokens:admin` |
//! | 403 | `not_permitted` | leave it to an actor who is not limited to one app |
//! | 403 | `owner_required` | use a token that also has the scope `tokens:owner` |
//! | 403 | `cross_site` | send the request from the same site |
//! | 404 | `not_found`, `unknown_app`, `unknown_token` | check the path or the identifier |
//! | 405 | `method_not_allowed` | use a method from `Allow` |
//! | 409 | `app_exists`, `token_exists` | use another identifier, or try again |
//! | 409 | `app_in_use` | revoke the live tokens of the app first; `live_tokens` is their number |
//! | 409 | `disabled_app` | enable the app first |
//! | 409 | `revoked_token`, `expired_token` | issue a new token |
//! | 409 | `rotated_token` | rotate the successor |
//! | 409 | `suspended_token` | resume the token first |
//! | 409 | `restricted_token` | update the service: it does not know a restriction of the token |
//! | 409 | `repeated` | use the token in `token_id`, or revoke it and send a new key |
//! | 410 | `gone` | start over: send `after=oldest` or `after=latest` |
//! | 412 | `stale` | read the record again, and repeat the change with its new `ETag` |
//! | 413 | `body_too_large` | send at most 64 KiB |
//! | 415 | `unsupported_media_type` | send `Content-Type: application/json` |
//! | 422 | `invalid_name`, `invalid_scopes`, `invalid_expiry`, `invalid_metadata`, `invalid_networks`, `invalid_overlap`, `foreign_format`, `unknown_format`, `format_not_allowed` | fix the value that `detail` names |
//! | 422 | `policy_violation` | follow the rule that `detail` names |
//! | 422 | `key_reused` | send a new key |
//! | 503 | `too_many_keys` | send the same request with the same key later |
//! | 503 | `store_failure`, `entropy_failure`, `unavailable` | try again after `Retry-After` |

#![warn(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod actor;
mod address;
mod api;
mod audit;
mod builder;
mod cross_site;
mod dashboard;
mod gate;
mod guard;
mod media_type;
mod node_view;
mod oauth;
mod openapi;
mod operations;
mod origin;
mod parameters;
mod problem;
mod telemetry;
pub mod view;

pub use actor::Actor;
pub use audit::{AuditSink, JsonLines};
pub use builder::{Admin, AdminBuilder};
pub use dashboard::brand::{Brand, BrandBuilder, BrandError, BrandErrorKind};
pub use guard::{Denied, Guard, GuardScheme, Login, LoginError, TokenGuard};
pub use oauth::{Introspection, OAuthEndpoints, OAuthEndpointsBuilder};
pub use openapi::ApiTokenSecurity;
pub use operations::{OperationError, OperationErrorKind, Operations, Operator};
pub use origin::OriginError;
pub use parameters::token_parameters;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
