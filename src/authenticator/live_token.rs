use std::net::IpAddr;

use jiff::Timestamp;

use super::{Admit, Admitted, Authenticator};
use crate::{model::principal::AppPrincipal, rejection::Rejection};

/// A live token, as [`Authenticator::introspect`] returns it: its principal, and the times between
/// which it is valid.
#[derive(Clone, Debug)]
pub struct LiveToken {
    principal: AppPrincipal,
    not_before: Option<Timestamp>,
}

impl LiveToken {
    /// Returns the principal.
    #[must_use]
    pub fn principal(&self) -> &AppPrincipal {
        &self.principal
    }

    /// Returns the principal.
    #[must_use]
    pub fn into_principal(self) -> AppPrincipal {
        self.principal
    }

    /// Returns when the token was issued, to the millisecond, as its identifier shows it. Returns
    /// `None` if the identifier is not a UUID of version 7.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.principal.token_id().created_at()
    }

    /// Returns when the token became valid, if it was issued for a later time.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// Returns when the token expires; `None` means never.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.principal.expires_at()
    }
}

/// Makes the principal of an admitted token, with its times.
#[derive(Clone, Copy)]
struct MakeLiveToken;

impl Admit for MakeLiveToken {
    type Output = LiveToken;

    fn admit(&mut self, admitted: Admitted<'_>) -> LiveToken {
        let restrictions = admitted.entry.grant.restrictions();
        LiveToken {
            not_before: restrictions.and_then(|restrictions| restrictions.not_before()),
            principal: admitted.principal(),
        }
    }
}

impl Authenticator {
    /// Verifies a presented token for another service, which gets the token's times too: for token
    /// introspection ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)).
    ///
    /// The result is as fresh as that of [`authenticate_from`](Self::authenticate_from), and a token
    /// that is admitted counts as used. `client` is the address from which the other service got the
    /// token, if it is known.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    /// let app = tokens.create_app("Billing").await?;
    /// let issued = tokens.issue(&app.id, NewToken::named("ci").never_expires()).await?;
    ///
    /// let presented = issued.token().expose().as_bytes();
    /// let live = tokens.authenticator().introspect(presented, None).await?;
    /// assert_eq!(live.principal().app_id(), &app.id);
    /// assert_eq!(live.expires_at(), None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`authenticate`](Self::authenticate).
    pub async fn introspect(
        &self,
        presented: &[u8],
        client: impl Into<Option<IpAddr>>,
    ) -> Result<LiveToken, Rejection> {
        self.admit(presented, client.into(), MakeLiveToken).await
    }
}
