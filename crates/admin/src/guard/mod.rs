//! Authentication and authorization for the management API.

mod denied;
mod login;
mod token;

use async_trait::async_trait;
use http::request::Parts;

pub use denied::Denied;
pub use login::{Login, LoginError};
pub use token::TokenGuard;

use crate::actor::Actor;

/// Authentication and authorization for the management API and the dashboard.
///
/// The guard checks every request, whatever its path, before anything else happens. [`TokenGuard`]
/// accepts API tokens. If your service has its own logins, implement a guard for them:
///
/// ```
/// use async_trait::async_trait;
/// use http::{HeaderValue, header::COOKIE, request::Parts};
/// use tower_api_tokens_admin::{Actor, Denied, Guard, Login};
///
/// # struct Sessions;
/// # struct User { email: String, may_manage_tokens: bool }
/// # impl Sessions {
/// #     async fn find(&self, _cookie: &HeaderValue) -> Result<Option<User>, std::io::Error> { Ok(None) }
/// # }
/// /// Accepts users who are logged in to the service, and sends others to its login.
/// struct SessionGuard(Sessions, Login);
///
/// #[async_trait]
/// impl Guard for SessionGuard {
///     async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
///         let Some(cookie) = request.headers.get(COOKIE) else {
///             return Err(Denied::redirect(&self.1));
///         };
///         match self.0.find(cookie).await {
///             Ok(Some(user)) if user.may_manage_tokens => Ok(Actor::unrestricted(&user.email)),
///             Ok(Some(_)) => Err(Denied::forbidden("Ask an owner to let you manage tokens.")),
///             Ok(None) => Err(Denied::redirect(&self.1)),
///             Err(_) => Err(Denied::unavailable()),
///         }
///     }
/// }
/// ```
///
/// # Contract
///
/// - Derive the actor only from verified credentials, never from a claim in the body or the query.
/// - If the credentials cannot be checked, return [`Denied::unavailable`]. Do not return an actor or
///   [`Denied::unauthenticated`] then.
/// - Cross-site requests are rejected before the guard runs, so a guard may authenticate by cookie.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not guard the management API",
    label = "this needs `Guard`",
    note = "implement `tower_api_tokens_admin::Guard` for `{Self}`, or use `tower_api_tokens_admin::TokenGuard`"
)]
pub trait Guard: Send + Sync + 'static {
    /// Authenticates a request, and returns the actor.
    ///
    /// # Errors
    ///
    /// Returns the response to send if the request is not authenticated or not allowed.
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied>;

    /// Returns the `Authorization` schemes that the guard accepts. The OpenAPI document lists them, and
    /// with `Basic` the dashboard offers to sign out. Defaults to none.
    fn schemes(&self) -> &[GuardScheme] {
        &[]
    }
}

/// An `Authorization` scheme (RFC 9110 section 11.1) that a [`Guard`] accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GuardScheme {
    /// `Bearer`, RFC 6750.
    Bearer,
    /// `Basic`, RFC 7617.
    Basic,
}
