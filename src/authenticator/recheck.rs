use std::net::IpAddr;

use super::{Authenticator, Judge, MakePrincipal, Verification, confirmed, entry::Instant};
use crate::{model::principal::AppPrincipal, rejection::Rejection};

impl Authenticator {
    /// Checks whether the token of a connection that was authenticated before is still live, without its
    /// text. Returns its current principal, whose scopes and metadata may have changed.
    ///
    /// Call it from time to time while a WebSocket, an event stream or a gRPC stream is open, and end the
    /// stream if the token is refused. The answer comes from the cache if the token is cached, and from the
    /// store otherwise, and is as fresh as that of [`authenticate`](Self::authenticate). It does not count
    /// as a use of the token.
    ///
    /// A token that is restricted to [networks](crate::Networks) is refused. Use
    /// [`recheck_from`](Self::recheck_from), which has an example, unless you have no such tokens.
    ///
    /// # Errors
    ///
    /// Returns a [`Rejection`] whose kind says why the token is refused. If the kind
    /// [is unavailable](crate::RejectionKind::is_unavailable), the token could not be checked. A token that
    /// is restricted to [networks](crate::Networks) is refused as well.
    pub async fn recheck(&self, principal: &AppPrincipal) -> Result<AppPrincipal, Rejection> {
        self.recheck_from(principal, None).await
    }

    /// Checks whether the token of a connection is still live and may be used from the client's address,
    /// and otherwise behaves like [`recheck`](Self::recheck). `None` means that the address is unknown.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{net::IpAddr, time::Duration};
    ///
    /// use tower_api_tokens::{AppPrincipal, Authenticator, Rejection};
    ///
    /// /// Returns when the token of a stream is refused. A failure of the store ends the stream if it
    /// /// lasts for a minute.
    /// async fn refused(
    ///     authenticator: Authenticator,
    ///     principal: AppPrincipal,
    ///     client: Option<IpAddr>,
    /// ) -> Rejection {
    ///     let mut failures = 0;
    ///     loop {
    ///         tokio::time::sleep(Duration::from_secs(5)).await;
    ///         match authenticator.recheck_from(&principal, client).await {
    ///             Ok(_) => failures = 0,
    ///             Err(rejection) if rejection.kind().is_unavailable() && failures < 12 => failures += 1,
    ///             Err(rejection) => return rejection,
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`recheck`](Self::recheck). The token of a client outside of its networks, or
    /// with an unknown address, is refused.
    pub async fn recheck_from(
        &self,
        principal: &AppPrincipal,
        client: impl Into<Option<IpAddr>>,
    ) -> Result<AppPrincipal, Rejection> {
        let client = client.into();
        let token = principal.token_id();
        let mut judge = Judge {
            shared: &self.shared,
            digest: &principal.digest,
            now: Instant::now(&*self.shared.clock),
            // When the connection began.
            counted: Some(token),
            client,
            admit: MakePrincipal,
        };
        let verdict = match judge.of_cached() {
            Some(verdict) => verdict,
            None => self.verify_uncached(judge, || Ok(())),
        };
        let verdict = match verdict {
            Verification::Admitted(current) => Ok(current),
            Verification::Refused(rejection) => Err(rejection),
            Verification::Pending(lookup) => confirmed(lookup, || client, MakePrincipal).await,
        };
        // A token that was purged can be imported again, with another identifier.
        let verdict = verdict.and_then(|current| match current.token_id() == token {
            true => Ok(current),
            false => Err(Rejection::unknown()),
        });
        self.observed(verdict)
    }
}
