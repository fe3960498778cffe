//! Authentication outside of a service.

use http::{Extensions, HeaderMap, request::Parts};

use super::{
    ApiTokenLayer, Refusal, RequestHead,
    head::{Borrowed, Head},
    policy::{AdmitRequest, Policy, Verdict, attribute},
};
use crate::{
    authenticator::{Admitted, MakePrincipal, confirmed},
    model::principal::AppPrincipal,
    telemetry,
};

impl ApiTokenLayer {
    /// Authenticates a request without a service: in a handler, a guard, or other middleware.
    ///
    /// It applies the same rules and settings as the layer's service does before calling the inner
    /// service. It checks the credential, marks the header fields that may hold a token as
    /// sensitive, replaces any [`AppPrincipal`] in the extensions, and counts the use or the
    /// refusal. [`attribute_responses`](Self::attribute_responses) has no effect, because there is
    /// no response.
    ///
    /// A request without a credential is refused with 401 even if the layer is
    /// [`optional`](Self::optional), and CORS preflights are checked like any other request despite
    /// [`allow_preflight`](Self::allow_preflight). Answer preflights before you authenticate.
    ///
    /// Send the refusal or pass the request on as soon as this returns, because the result is only
    /// valid at that moment. If the future is dropped, nothing was admitted and no use was counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::request::Parts;
    /// use tower_api_tokens::{ApiTokenLayer, Refusal};
    ///
    /// async fn owner(layer: &ApiTokenLayer, request: &mut Parts) -> Result<String, Refusal> {
    ///     let principal = layer.authenticate(request).await?;
    ///     Ok(principal.app_name().to_owned())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] that the service would send, byte for byte.
    pub async fn authenticate(&self, request: &mut Parts) -> Result<AppPrincipal, Refusal> {
        match self.policy.authenticate_any(request, insert, false).await? {
            Some(principal) => Ok(principal),
            None => Err(self.policy.refuse_missing(request.head())),
        }
    }

    /// Authenticates a request that may have no credential, and otherwise behaves like
    /// [`authenticate`](Self::authenticate).
    ///
    /// Returns `None` for a request without a credential, for one whose credential is
    /// [passed on](Self::pass_unrecognized) and, if the layer has
    /// [`allow_preflight`](Self::allow_preflight), for every CORS preflight. Extractors and
    /// [`RequireScopeLayer`](crate::RequireScopeLayer) refuse such a request with this layer's
    /// challenge.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] if the credential is not admitted. A bad credential is never ignored.
    pub async fn authenticate_optional(
        &self,
        request: &mut Parts,
    ) -> Result<Option<AppPrincipal>, Refusal> {
        let principal = match self.policy.passes_preflight(request) {
            true => None,
            false => self.policy.authenticate_any(request, insert, true).await?,
        };
        if principal.is_none() {
            self.policy.pass_anonymous(request);
        }
        Ok(principal)
    }

    /// Authenticates a request by its head, for frameworks with request types of their own.
    ///
    /// It behaves like [`authenticate`](Self::authenticate), but leaves the request itself
    /// unchanged. Put the principal where your handlers look for it, replacing an existing one, and
    /// call [`mark_sensitive`](Self::mark_sensitive) if your framework supports it. Each call
    /// counts a use.
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] that the service would send, byte for byte.
    pub async fn authenticate_head(
        &self,
        request: RequestHead<'_>,
    ) -> Result<AppPrincipal, Refusal> {
        match self
            .policy
            .authenticate_any(&mut Borrowed::from(request), pass, false)
            .await?
        {
            Some(principal) => Ok(principal),
            None => Err(self.policy.refuse_missing(request)),
        }
    }

    /// Marks every header field from which this layer reads a token as sensitive. This keeps the
    /// token out of `Debug` output and out of the tables of HTTP/2 header compression.
    ///
    /// The service and [`authenticate`](Self::authenticate) do this themselves.
    /// [`authenticate_head`](Self::authenticate_head) cannot.
    pub fn mark_sensitive(&self, headers: &mut HeaderMap) {
        self.policy.sources.mark_sensitive(headers);
    }
}

/// What is done with the principal, which is then returned.
type Keep = fn(AppPrincipal, &mut Extensions) -> AppPrincipal;

impl AdmitRequest for Keep {
    type Output = AppPrincipal;

    fn admit(&self, admitted: Admitted<'_>, extensions: &mut Extensions) -> AppPrincipal {
        self(admitted.principal(), extensions)
    }
}

fn insert(principal: AppPrincipal, extensions: &mut Extensions) -> AppPrincipal {
    attribute(principal.clone(), extensions);
    principal
}

fn pass(principal: AppPrincipal, _: &mut Extensions) -> AppPrincipal {
    telemetry::attributed(&principal);
    principal
}

impl Policy {
    /// Authenticates a request. Returns `None` if it has no credential, or, if `may_pass`, one that is
    /// [passed on](ApiTokenLayer::pass_unrecognized).
    async fn authenticate_any<H: Head>(
        &self,
        request: &mut H,
        keep: Keep,
        may_pass: bool,
    ) -> Result<Option<AppPrincipal>, Refusal> {
        let rejection = match self.check(request, &keep) {
            Verdict::Admitted(principal) => return Ok(Some(principal)),
            Verdict::Anonymous => return Ok(None),
            Verdict::Refused(rejection) if may_pass && self.passes(&rejection, request) => {
                return Ok(None);
            }
            Verdict::Refused(rejection) => rejection,
            Verdict::Pending(lookup) => {
                let client = || self.client_address(request.head());
                match confirmed(lookup, client, MakePrincipal).await {
                    Ok(principal) => return Ok(Some(keep(principal, request.extensions_mut()))),
                    Err(rejection) => rejection,
                }
            }
        };
        Err(self.refuse(rejection, request.head()))
    }
}
