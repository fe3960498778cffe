use std::{net::IpAddr, sync::Arc};

use super::{Authenticator, MakePrincipal, Shared, Verification, confirmed};
use crate::{
    model::principal::AppPrincipal,
    rejection::Rejection,
    token::{TokenDigest, TokenId},
};

impl Authenticator {
    /// Checks whether the token of a connection that was authenticated before is still live, by its
    /// identifier. Returns its current principal, whose scopes and metadata may have changed.
    ///
    /// Call it from time to time while a WebSocket, an event stream or a gRPC stream is open, and end the
    /// stream if the token is refused. The answer comes from the cache where possible, and is as fresh as
    /// that of [`authenticate`](Self::authenticate). It does not count as a use of the token.
    ///
    /// The first call begins to collect the digests of tokens by identifier, which takes about 100 bytes
    /// for each cached token. A token that was evicted from the cache before that counts as unknown, and
    /// so does one after whose last use or check more tokens were used than twice the
    /// [`capacity`](super::AuthenticatorBuilder::capacity). End the stream then too: the client connects
    /// again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_api_tokens::{AppPrincipal, Authenticator, Rejection};
    ///
    /// /// Returns when the token of a stream is refused. A failure of the store ends the stream if it
    /// /// lasts for a minute.
    /// async fn refused(authenticator: Authenticator, principal: AppPrincipal) -> Rejection {
    ///     let mut failures = 0;
    ///     loop {
    ///         tokio::time::sleep(Duration::from_secs(5)).await;
    ///         match authenticator.recheck(&principal).await {
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
    /// Returns a [`Rejection`] whose kind says why the token is refused. If the kind
    /// [is unavailable](crate::RejectionKind::is_unavailable), the token could not be checked. A token that
    /// is restricted to [networks](crate::Networks) is refused; see [`recheck_from`](Self::recheck_from).
    pub async fn recheck(&self, principal: &AppPrincipal) -> Result<AppPrincipal, Rejection> {
        self.recheck_from(principal, None).await
    }

    /// Checks whether the token of a connection is still live and may be used from the client's address,
    /// and otherwise behaves like [`recheck`](Self::recheck). `None` means that the address is unknown.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`recheck`](Self::recheck).
    pub async fn recheck_from(
        &self,
        principal: &AppPrincipal,
        client: impl Into<Option<IpAddr>>,
    ) -> Result<AppPrincipal, Rejection> {
        let (token, client) = (principal.token_id(), client.into());
        let verdict = match self.digest_of(token).await {
            Some(digest) => {
                // Counted already, when the connection began.
                match self.verify_digest(digest, Some(token), client, MakePrincipal, || Ok(())) {
                    Verification::Admitted(principal) => Ok(principal),
                    Verification::Refused(rejection) => Err(rejection),
                    Verification::Pending(lookup) => {
                        confirmed(lookup, || client, MakePrincipal).await
                    }
                }
            }
            None => Err(Rejection::unknown()),
        };
        self.observed(verdict)
    }

    /// Returns the digest of a token that was cached since digests are collected.
    async fn digest_of(&self, token: TokenId) -> Option<TokenDigest> {
        let shared = Arc::clone(&self.shared);
        let identified = &self.shared.cache.identified;
        identified
            .collect(async {
                // Millions of tokens may be cached.
                let add = tokio::task::spawn_blocking(move || add_cached(&shared));
                drop(add.await);
            })
            .await;
        identified.get(token)
    }
}

fn add_cached(shared: &Shared) {
    for (digest, entry) in &shared.cache.entries.pin() {
        shared.cache.identified.insert(entry.token_id(), digest);
    }
}
