//! Who may.

mod denied;
mod token;

use async_trait::async_trait;
use http::request::Parts;

pub use denied::Denied;
pub use token::TokenGuard;

use crate::actor::Actor;

/// Tells who sends a request, or turns it away.
///
/// The management API asks its guard about every request, whatever its path, before anything else is
/// done. [`TokenGuard`] takes tokens of this crate; a service that has logins of its own writes a
/// guard for them:
///
/// ```
/// use async_trait::async_trait;
/// use http::{HeaderValue, header::COOKIE, request::Parts};
/// use tower_api_tokens_admin::{Actor, Denied, Guard};
///
/// # struct Sessions;
/// # struct User { email: String, may_manage_tokens: bool }
/// # impl Sessions {
/// #     async fn find(&self, _cookie: &HeaderValue) -> Result<Option<User>, std::io::Error> { Ok(None) }
/// # }
/// /// Lets those in who are logged in to the service's own pages.
/// struct SessionGuard(Sessions);
///
/// #[async_trait]
/// impl Guard for SessionGuard {
///     async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
///         let challenge = HeaderValue::from_static("Session realm=\"login\"");
///         let Some(cookie) = request.headers.get(COOKIE) else {
///             return Err(Denied::unauthenticated(challenge));
///         };
///         match self.0.find(cookie).await {
///             Ok(Some(user)) if user.may_manage_tokens => Ok(Actor::unrestricted(&user.email)),
///             Ok(Some(_)) => Err(Denied::forbidden("Ask an owner to let you manage tokens.")),
///             Ok(None) => Err(Denied::unauthenticated(challenge)),
///             Err(_) => Err(Denied::unavailable()),
///         }
///     }
/// }
/// ```
///
/// # Contract
///
/// - The actor comes from what the request proves. No part of a body or a query says who asks.
/// - What cannot be checked at the moment is [`Denied::unavailable`]: never an actor, and never
///   [`Denied::unauthenticated`].
/// - Requests that another site makes a browser send are turned away before the guard is asked, so
///   a cookie may be what proves the actor.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not guard the management API",
    label = "this needs `Guard`",
    note = "implement `tower_api_tokens_admin::Guard` for `{Self}`, or give an `tower_api_tokens_admin::TokenGuard`"
)]
pub trait Guard: Send + Sync + 'static {
    /// Tells who sends the request.
    ///
    /// # Errors
    ///
    /// With what the sender is to be answered.
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied>;

    /// The schemes of `Authorization` that it takes, for the document of the API. None unless it
    /// says so.
    fn schemes(&self) -> &[GuardScheme] {
        &[]
    }
}

/// A scheme of `Authorization` (RFC 9110 section 11.1) that a [`Guard`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GuardScheme {
    /// `Bearer`, RFC 6750.
    Bearer,
    /// `Basic`, RFC 7617.
    Basic,
}
