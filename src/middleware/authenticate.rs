//! Authentication outside of a service.

use http::{Extensions, HeaderMap, request::Parts};

use super::{
    ApiTokenLayer, Refusal, RequestHead,
    head::{Foreign, Head},
    policy::{Policy, Verdict, attribute},
};
use crate::{authenticator::confirmed, model::principal::AppPrincipal, telemetry};

impl ApiTokenLayer {
    /// Authenticates a request outside of a service: in a handler, a guard, or another middleware.
    ///
    /// It does what the layer's service does before it calls the inner one, by the same rules and
    /// settings: it judges the credential, marks the header fields that hold it as sensitive, removes
    /// a principal that was in the extensions already, inserts its own, and counts the use or the
    /// refusal. [`attribute_responses`](Self::attribute_responses) has no effect, as there is no
    /// response.
    ///
    /// No request passes without a principal, whatever [`optional`](Self::optional) and
    /// [`allow_preflight`](Self::allow_preflight) say: one without a credential is refused with 401,
    /// and a CORS preflight is judged as any other request. Answer preflights before you authenticate.
    ///
    /// Send the response, or pass the request on, as soon as it returns: what it found holds for that
    /// instant. If the future is dropped, nothing was admitted and no use was counted.
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
    /// Returns the [`Refusal`] that the service would answer with, byte for byte.
    pub async fn authenticate(&self, request: &mut Parts) -> Result<AppPrincipal, Refusal> {
        match self.policy.settle(request, insert).await? {
            Some(principal) => Ok(principal),
            None => Err(self.policy.refuse_missing(request.head())),
        }
    }

    /// Authenticates a request that may lack a credential, as [`authenticate`](Self::authenticate)
    /// does otherwise.
    ///
    /// Returns `None` for a request without a credential, and for a CORS preflight after
    /// [`allow_preflight`](Self::allow_preflight), whatever that carries. Such a request is marked as
    /// let through, so extractors and [`RequireScopeLayer`](crate::RequireScopeLayer) refuse it with
    /// this layer's challenge.
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] of a bad credential. It is never ignored.
    pub async fn authenticate_optional(
        &self,
        request: &mut Parts,
    ) -> Result<Option<AppPrincipal>, Refusal> {
        let principal = match self.policy.passes_preflight(request) {
            true => None,
            false => self.policy.settle(request, insert).await?,
        };
        if principal.is_none() {
            self.policy.pass_anonymous(request);
        }
        Ok(principal)
    }

    /// Authenticates a request of a stack that has request types of its own, by its head.
    ///
    /// As [`authenticate`](Self::authenticate), except that the request itself stays as it is: put the
    /// principal where your handlers look for it, in place of one that was there, and mark the header
    /// fields with [`mark_sensitive`](Self::mark_sensitive) if your stack can. Each call counts a use.
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] that the service would answer with, byte for byte.
    pub async fn authenticate_head(
        &self,
        request: RequestHead<'_>,
    ) -> Result<AppPrincipal, Refusal> {
        match self
            .policy
            .settle(&mut Foreign::from(request), pass)
            .await?
        {
            Some(principal) => Ok(principal),
            None => Err(self.policy.refuse_missing(request)),
        }
    }

    /// Marks every header field from which this layer reads a token as sensitive, which keeps it out
    /// of `Debug` output and of the tables of HTTP/2 header compression.
    ///
    /// The service and [`authenticate`](Self::authenticate) do it by themselves;
    /// [`authenticate_head`](Self::authenticate_head) cannot.
    pub fn mark_sensitive(&self, headers: &mut HeaderMap) {
        self.policy.sources.mark_sensitive(headers);
    }
}

/// Attributes a request, and gives its principal.
type Keep = fn(AppPrincipal, &mut Extensions) -> AppPrincipal;

fn insert(principal: AppPrincipal, extensions: &mut Extensions) -> AppPrincipal {
    attribute(principal.clone(), extensions);
    principal
}

fn pass(principal: AppPrincipal, _: &mut Extensions) -> AppPrincipal {
    telemetry::attributed(&principal);
    principal
}

impl Policy {
    /// Judges a request to the end; `None` if it carries no credential.
    async fn settle<H: Head>(
        &self,
        request: &mut H,
        keep: Keep,
    ) -> Result<Option<AppPrincipal>, Refusal> {
        let rejection = match self.judge(request, keep) {
            Verdict::Admitted(principal) => return Ok(Some(principal)),
            Verdict::Anonymous => return Ok(None),
            Verdict::Refused(rejection) => rejection,
            Verdict::Pending(lookup) => match confirmed(lookup).await {
                Ok(principal) => return Ok(Some(keep(principal, request.extensions_mut()))),
                Err(rejection) => rejection,
            },
        };
        Err(self.refuse(rejection, request.head()))
    }
}
