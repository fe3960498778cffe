//! The rules for requests, shared by the service and the functions without a service.

use std::{fmt, mem, net::IpAddr, sync::Arc, time::Duration};

use http::{
    Extensions, Method,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};

use super::{
    Refusal, RequestHead,
    challenge::Challenger,
    credential::{CredentialSources, Presented},
    head::Head,
};
use crate::{
    authenticator::{Admit, Admitted, Authenticator, Lookup, Required, Verification},
    model::principal::AppPrincipal,
    rejection::{Rejection, RejectionKind},
    store::Revision,
    telemetry,
    token::TokenId,
};

/// The settings that decide how requests are checked and refused.
#[derive(Clone)]
pub(super) struct Policy {
    pub(super) authenticator: Authenticator,
    pub(super) sources: CredentialSources,
    pub(super) challenger: Arc<Challenger>,
    pub(super) optional: bool,
    /// Whether credentials that are not tokens of ours are passed on.
    pub(super) passes_unrecognized: bool,
    pub(super) preflight: bool,
    pub(super) attributes_responses: bool,
    pub(super) client_address: Option<Arc<ClientAddress>>,
    pub(super) required_revision: Option<RequiredRevision>,
}

/// Returns the address of the client of a request, if it is known.
pub(super) type ClientAddress = dyn Fn(RequestHead<'_>) -> Option<IpAddr> + Send + Sync;

/// Finds the revision that the answer for a request must include.
#[derive(Clone)]
pub(super) struct RequiredRevision {
    pub(super) of: Arc<dyn Fn(RequestHead<'_>) -> Option<Revision> + Send + Sync>,
    pub(super) wait: Duration,
}

impl RequiredRevision {
    fn of_request(&self, request: RequestHead<'_>) -> Option<Required> {
        let revision = (self.of)(request)?;
        Some(Required {
            revision,
            wait: self.wait,
        })
    }
}

/// The result of checking a request without waiting. `T` is what was made of its principal.
pub(super) enum Verdict<T> {
    Admitted(T),
    /// The request has no credential.
    Anonymous,
    Refused(Rejection),
    /// The token has to be looked up.
    Pending(Lookup),
}

/// The principal to put into the response, if configured.
pub(super) type Shown = Option<Box<AppPrincipal>>;

/// Marks a request that was let through without a principal, so that an inner extractor or layer
/// that needs one can refuse it with this layer's challenge.
#[derive(Clone, Debug)]
pub(crate) struct Anonymous(pub(crate) Arc<Challenger>);

/// What is made of an admitted token, with the extensions of its request. A trait rather than a
/// closure, because the compiler can be told to inline its method.
pub(super) trait AdmitRequest {
    type Output;

    fn admit(&self, admitted: Admitted<'_>, extensions: &mut Extensions) -> Self::Output;
}

/// Puts the principal of a cached token into the extensions, where it is made. Returns the copy to put
/// into the response.
pub(super) struct AdmitCached<'p>(pub(super) &'p Policy);

impl AdmitRequest for AdmitCached<'_> {
    type Output = Shown;

    #[inline(always)]
    fn admit(&self, admitted: Admitted<'_>, extensions: &mut Extensions) -> Shown {
        let Self(policy) = self;
        if policy.attributes_responses {
            return policy.admit(admitted.principal(), extensions);
        }
        attribute(admitted.principal(), extensions);
        None
    }
}

/// Admits a token with the extensions of its request.
struct WithExtensions<'r, A> {
    admit: &'r A,
    extensions: &'r mut Extensions,
}

impl<A: AdmitRequest> Admit for WithExtensions<'_, A> {
    type Output = A::Output;

    #[inline(always)]
    fn admit(&mut self, admitted: Admitted<'_>) -> A::Output {
        self.admit.admit(admitted, self.extensions)
    }
}

impl Policy {
    /// Lets refusals mention where tokens are read from.
    pub(super) fn describe_sources(&mut self) {
        let sources = self.sources.clone();
        Arc::make_mut(&mut self.challenger).set_sources(sources);
    }

    /// Checks a request as far as possible without waiting. Marks every field that may hold a token
    /// as sensitive, and removes an existing principal unless `admit` has replaced it.
    #[inline]
    pub(super) fn check<H: Head, A: AdmitRequest>(
        &self,
        request: &mut H,
        admit: &A,
    ) -> Verdict<A::Output> {
        let mut verdict = self.check_from(request, None, admit);
        if let Verdict::Refused(rejection) = &verdict
            && rejection.kind() == RejectionKind::OutsideNetworks
            && let Some(client) = self.client_address(request.head())
        {
            verdict = self.check_again(request, client, admit);
        }
        if !matches!(verdict, Verdict::Admitted(_)) {
            request.extensions_mut().remove::<AppPrincipal>();
        }
        verdict
    }

    /// Checks a request whose token is restricted to networks. Few tokens are.
    #[cold]
    #[inline(never)]
    fn check_again<H: Head, A: AdmitRequest>(
        &self,
        request: &mut H,
        client: IpAddr,
        admit: &A,
    ) -> Verdict<A::Output> {
        self.check_from(request, Some(client), admit)
    }

    /// The address of the client, if it is known.
    pub(super) fn client_address(&self, request: RequestHead<'_>) -> Option<IpAddr> {
        self.client_address.as_ref()?(request)
    }

    /// Checks a request of a client with this address. `None` means that it is unknown so far.
    // Every request runs this, and it has a second caller.
    #[inline(always)]
    fn check_from<H: Head, A: AdmitRequest>(
        &self,
        request: &mut H,
        client: Option<IpAddr>,
        admit: &A,
    ) -> Verdict<A::Output> {
        let required = self.required_revision.as_ref();
        let required = required.and_then(|required| required.of_request(request.head()));
        // The credential borrows the header fields while the principal is put into the extensions.
        let mut extensions = mem::take(request.extensions_mut());
        // An outer layer has already counted the use of the token that it admitted.
        let counted = extensions.get().map(AppPrincipal::token_id);
        let verdict = match self.sources.extract(request.fields_mut()) {
            Ok(Some(presented)) => {
                let admit = WithExtensions {
                    admit,
                    extensions: &mut extensions,
                };
                self.verify(&presented, counted, client, required, admit)
                    .into()
            }
            Ok(None) => Verdict::Anonymous,
            Err(fault) => {
                self.sources.mark_sensitive(request.fields_mut());
                Verdict::Refused(Rejection::malformed(fault))
            }
        };
        *request.extensions_mut() = extensions;
        verdict
    }

    #[inline]
    fn verify<A: Admit>(
        &self,
        presented: &Presented<'_>,
        counted: Option<TokenId>,
        client: Option<IpAddr>,
        required: Option<Required>,
        admit: A,
    ) -> Verification<A::Output> {
        let verify = |token: &[u8]| match required {
            None => self.authenticator.verify(token, counted, client, admit),
            Some(required) => {
                let authenticator = &self.authenticator;
                authenticator.verify_with(required, token, counted, client, admit)
            }
        };
        match presented {
            Presented::Token(token) => verify(token),
            // Any text may be a password. One that cannot be a token is wrong rather than
            // malformed, so that a browser prompts again.
            Presented::Basic(basic) => match verify(basic.token()) {
                Verification::Refused(rejection)
                    if rejection.kind() == RejectionKind::MalformedCredential =>
                {
                    Verification::Refused(Rejection::wrong_format())
                }
                verification => verification,
            },
        }
    }

    /// Puts the principal into the extensions. Returns the copy to put into the response.
    #[inline]
    pub(super) fn admit(&self, principal: AppPrincipal, extensions: &mut Extensions) -> Shown {
        let shown = self
            .attributes_responses
            .then(|| Box::new(principal.clone()));
        attribute(principal, extensions);
        shown
    }

    /// Whether this is a CORS preflight that is let through.
    #[inline]
    pub(super) fn passes_preflight<H: Head>(&self, request: &H) -> bool {
        self.preflight && is_preflight(request.head())
    }

    /// Whether a refused request is passed on, because its credential is not a token of ours.
    #[cold]
    pub(super) fn passes<H: Head>(&self, rejection: &Rejection, request: &mut H) -> bool {
        let kinds = [
            RejectionKind::WrongFormat,
            RejectionKind::MalformedCredential,
        ];
        self.passes_unrecognized
            && kinds.contains(&rejection.kind())
            && !self.sources.is_recognized(request.fields_mut(), |text| {
                self.authenticator.recognizes(text)
            })
    }

    /// Lets a request through without a principal.
    pub(super) fn pass_anonymous<H: Head>(&self, request: &mut H) {
        self.sources.mark_sensitive(request.fields_mut());
        let extensions = request.extensions_mut();
        extensions.remove::<AppPrincipal>();
        extensions.insert(Anonymous(Arc::clone(&self.challenger)));
    }

    /// Refuses a request without a credential.
    pub(super) fn refuse_missing(&self, request: RequestHead<'_>) -> Refusal {
        self.challenger.refuse_missing(request)
    }

    pub(super) fn refuse(&self, rejection: Rejection, request: RequestHead<'_>) -> Refusal {
        let format = self.challenger.format_for(request);
        self.challenger.refuse(rejection, format)
    }
}

/// Puts the principal into the extensions and the current span.
// Every request runs this, and it has several callers.
#[inline(always)]
pub(super) fn attribute(principal: AppPrincipal, extensions: &mut Extensions) {
    telemetry::attributed(&principal);
    extensions.insert(principal);
}

fn is_preflight(request: RequestHead<'_>) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(ORIGIN)
        && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl<T> From<Verification<T>> for Verdict<T> {
    #[inline]
    fn from(verification: Verification<T>) -> Self {
        match verification {
            Verification::Admitted(admitted) => Self::Admitted(admitted),
            Verification::Refused(rejection) => Self::Refused(rejection),
            Verification::Pending(lookup) => Self::Pending(lookup),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiTokenLayer")
            .field("authenticator", &self.authenticator)
            .field("sources", &self.sources)
            .field("challenger", &self.challenger)
            .field("optional", &self.optional)
            .field("passes_unrecognized", &self.passes_unrecognized)
            .field("preflight", &self.preflight)
            .field("attributes_responses", &self.attributes_responses)
            .field("client_address", &self.client_address.is_some())
            .finish()
    }
}
