//! Turns a rejection into a response: status, challenge and body.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{Refusal, RequestHead, ResponseFormat, credential::CredentialSources};
use crate::{
    intern::intern,
    model::scope::ScopeSet,
    rejection::{CredentialFault, Misplaced, Rejection, RejectionKind},
    telemetry,
};

type Observer = dyn Fn(&Rejection) + Send + Sync;
type Renderer = dyn Fn(&Rejection, Response<Bytes>) -> Response<Bytes> + Send + Sync;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The default realm.
const DEFAULT_REALM: &str = "api";

/// Renders rejections for one protection space.
#[derive(Clone)]
pub(crate) struct Challenger {
    /// The realm, escaped for a quoted-string.
    realm: String,
    sources: CredentialSources,
    /// Whether gRPC calls are refused in the gRPC format.
    grpc: bool,
    /// Called for every refusal.
    observer: Option<Arc<Observer>>,
    renderer: Option<Arc<Renderer>>,
    /// The prepared response for each answer. Anyone can cause a refusal, so refusals must be
    /// cheap.
    responses: Box<[Prepared]>,
}

#[derive(Clone)]
struct Prepared {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    grpc_message: Option<HeaderValue>,
}

impl Default for Challenger {
    fn default() -> Self {
        Self {
            realm: DEFAULT_REALM.to_owned(),
            sources: CredentialSources::default(),
            grpc: false,
            observer: None,
            renderer: None,
            responses: Box::default(),
        }
        .prepared()
    }
}

impl Challenger {
    pub(super) fn observed_by(observer: Arc<Observer>) -> Self {
        Self {
            observer: Some(observer),
            ..Self::default()
        }
    }

    /// Sets the realm. Returns an error if it is not allowed in a header field.
    pub(super) fn set_realm(&mut self, realm: &str) -> Result<(), ()> {
        if !realm
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
        {
            return Err(());
        }
        self.realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
        *self = self.clone().prepared();
        Ok(())
    }

    /// Sets where tokens are read from, which challenges and bodies mention.
    pub(super) fn set_sources(&mut self, sources: CredentialSources) {
        self.sources = sources;
        *self = self.clone().prepared();
    }

    pub(super) fn enable_grpc(&mut self) {
        self.grpc = true;
    }

    pub(super) fn set_renderer(&mut self, renderer: Arc<Renderer>) {
        self.renderer = Some(renderer);
    }

    fn prepared(mut self) -> Self {
        self.responses = Answer::ALL
            .iter()
            .map(|answer| self.prepare(*answer))
            .collect();
        self
    }

    /// The rejection of a request without a credential.
    pub(crate) fn missing(&self, request: RequestHead<'_>) -> Rejection {
        Rejection::missing(self.sources.misplaced(request))
    }

    /// Refuses a request without a credential.
    pub(super) fn refuse_missing(&self, request: RequestHead<'_>) -> Refusal {
        self.refuse(self.missing(request), self.format_for(request))
    }

    /// The response format for a request.
    pub(crate) fn format_for(&self, request: RequestHead<'_>) -> ResponseFormat {
        ResponseFormat::of(request, self.grpc)
    }

    /// Refuses a request.
    pub(crate) fn refuse(&self, rejection: Rejection, format: ResponseFormat) -> Refusal {
        let answer = Answer::to(&rejection);
        let prepared = &self.responses[answer.index()];
        let mut response = Response::new(prepared.body.clone());
        *response.status_mut() = prepared.status;
        *response.headers_mut() = prepared.headers.clone();
        if let Some(required) = rejection.required_scopes() {
            let challenge = challenge(&self.realm, Answer::InsufficientScope);
            let challenge = HeaderValue::try_from(format!("{challenge}, scope=\"{required}\""));
            if let Ok(challenge) = challenge {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            *response.body_mut() = scope_problem(required).into();
        }
        if let ResponseFormat::Grpc(content_type) = format {
            make_trailers_only(&mut response, answer, content_type);
            if let Some(message) = &prepared.grpc_message {
                let headers = response.headers_mut();
                headers.insert(GRPC_MESSAGE, message.clone());
            }
        }
        if let Some(renderer) = &self.renderer {
            response = renderer(&rejection, response);
        }
        if format == ResponseFormat::Head {
            *response.body_mut() = Bytes::new();
        }
        telemetry::rejected(&rejection);
        if let Some(observer) = &self.observer {
            observer(&rejection);
        }
        Refusal::new(rejection, response)
    }

    fn prepare(&self, answer: Answer) -> Prepared {
        let status = answer.status();
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        } else {
            headers.insert(WWW_AUTHENTICATE, field(challenge(&self.realm, answer)));
        }
        if self.sources.basic && status == StatusCode::UNAUTHORIZED {
            // RFC 7617 section 2.1.
            let basic = format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.realm);
            headers.append(WWW_AUTHENTICATE, field(basic));
        }
        Prepared {
            status,
            headers,
            body: intern(problem(status, &self.detail(answer), "")),
            grpc_message: grpc_message(&self.detail(answer)),
        }
    }

    /// The `detail` of the body: what is wrong, and what to send instead.
    fn detail(&self, answer: Answer) -> String {
        let summary = answer.summary();
        match (answer, &self.sources.api_key_header) {
            (Answer::Missing(_), None) => {
                format!("{summary} Send the token as `Authorization: Bearer <token>`.")
            }
            (Answer::Missing(_), Some(name)) => format!(
                "{summary} Send the token as `Authorization: Bearer <token>` or `{name}: <token>`."
            ),
            _ => summary.to_owned(),
        }
    }
}

/// A problem document (RFC 9457). The arguments need no escaping. `members` are additional members.
fn problem(status: StatusCode, detail: &str, members: &str) -> String {
    format!(
        r#"{{"type":"about:blank","title":"{}","status":{},"detail":"{detail}"{members}}}"#,
        status.canonical_reason().unwrap_or_default(),
        status.as_u16(),
    )
}

/// The body of a 403. Scopes contain no quotes and no backslashes, so they need no escaping.
fn scope_problem(required: &ScopeSet) -> String {
    let answer = Answer::InsufficientScope;
    let members = format!(r#","scope":"{required}""#);
    let detail = match required.is_empty() {
        true => answer.summary().to_owned(),
        false => format!("The token lacks a required scope: {required}"),
    };
    problem(answer.status(), &detail, &members)
}

/// Encodes a message for `grpc-message`, which is percent-encoded. Everything else in it is visible
/// ASCII.
fn grpc_message(message: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(message.replace('%', "%25")).ok()
}

/// The Bearer challenge (RFC 6750 section 3).
fn challenge(realm: &str, answer: Answer) -> String {
    match answer.error() {
        Some(error) => {
            let detail = answer.summary();
            format!("Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{detail}\"")
        }
        None => format!("Bearer realm=\"{realm}\""),
    }
}

/// Turns a refusal into a trailers-only response. gRPC clients treat any HTTP status but 200 as a
/// transport failure. The challenge is kept as metadata.
fn make_trailers_only(response: &mut Response<Bytes>, answer: Answer, content_type: &'static str) {
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = Bytes::new();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(GRPC_STATUS, HeaderValue::from_static(answer.grpc_status()));
}

/// Every part of a challenge consists of visible ASCII and spaces, so this cannot fail.
fn field(value: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(intern(value)).unwrap_or(HeaderValue::from_static("Bearer"))
}

impl fmt::Debug for Challenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenger")
            .field("realm", &self.realm)
            .field("sources", &self.sources)
            .field("grpc", &self.grpc)
            .field("renderer", &self.renderer.is_some())
            .finish_non_exhaustive()
    }
}

impl Rejection {
    /// Returns a sentence that a client may see: it reveals no more than the response does.
    /// Unknown, revoked and expired tokens share one.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        Answer::to(self).summary()
    }
}

/// What a client sees of a rejection. Rejections that must look the same have the same answer.
#[derive(Clone, Copy)]
enum Answer {
    Missing(Option<Misplaced>),
    Invalid,
    InsufficientScope,
    OutsideNetworks,
    Unavailable,
    Malformed(CredentialFault),
}

impl Answer {
    const ALL: [Self; 13] = [
        Self::Missing(None),
        Self::Missing(Some(Misplaced::Scheme)),
        Self::Missing(Some(Misplaced::Header)),
        Self::Missing(Some(Misplaced::Query)),
        Self::Invalid,
        Self::InsufficientScope,
        Self::OutsideNetworks,
        Self::Unavailable,
        Self::Malformed(CredentialFault::Grammar),
        Self::Malformed(CredentialFault::TooLong),
        Self::Malformed(CredentialFault::Repeated),
        Self::Malformed(CredentialFault::TwoPlaces),
        Self::Malformed(CredentialFault::Basic),
    ];

    /// The index in [`ALL`](Self::ALL).
    fn index(self) -> usize {
        match self {
            Self::Missing(None) => 0,
            Self::Missing(Some(misplaced)) => 1 + misplaced as usize,
            Self::Invalid => 4,
            Self::InsufficientScope => 5,
            Self::OutsideNetworks => 6,
            Self::Unavailable => 7,
            Self::Malformed(fault) => 8 + fault as usize,
        }
    }

    fn to(rejection: &Rejection) -> Self {
        match rejection.kind() {
            kind if kind.is_unavailable() => Self::Unavailable,
            RejectionKind::MissingCredential => Self::Missing(rejection.misplaced()),
            RejectionKind::MalformedCredential => Self::Malformed(rejection.fault()),
            RejectionKind::OutsideNetworks => Self::OutsideNetworks,
            RejectionKind::InsufficientScope => Self::InsufficientScope,
            // There is no live token. Clients do not learn why.
            _ => Self::Invalid,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Missing(_) | Self::Invalid => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope | Self::OutsideNetworks => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The gRPC status code: `UNAUTHENTICATED`, `PERMISSION_DENIED` or `UNAVAILABLE`.
    fn grpc_status(self) -> &'static str {
        match self {
            Self::Missing(_) | Self::Invalid | Self::Malformed(_) => "16",
            Self::InsufficientScope | Self::OutsideNetworks => "7",
            Self::Unavailable => "14",
        }
    }

    /// The error code of RFC 6750 section 3.1.
    fn error(self) -> Option<&'static str> {
        match self {
            Self::Missing(_) | Self::OutsideNetworks | Self::Unavailable => None,
            Self::Invalid => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
            Self::Malformed(_) => Some("invalid_request"),
        }
    }

    /// What is wrong, in one sentence.
    fn summary(self) -> &'static str {
        match self {
            Self::Missing(None) => "The request has no token.",
            Self::Missing(Some(Misplaced::Scheme)) => {
                "The `Authorization` header has no supported scheme."
            }
            Self::Missing(Some(Misplaced::Header)) => "This API-key header is not accepted.",
            Self::Missing(Some(Misplaced::Query)) => {
                "Tokens in the URL are not accepted, because URLs end up in logs."
            }
            Self::Invalid => "The token is not valid.",
            Self::InsufficientScope => "The token lacks a required scope.",
            Self::OutsideNetworks => "The token may not be used from this address.",
            Self::Unavailable => "The token cannot be checked at the moment. Try again.",
            Self::Malformed(fault) => fault.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_own_index() {
        for (index, answer) in Answer::ALL.into_iter().enumerate() {
            assert_eq!(answer.index(), index);
            // So that it needs no escaping in JSON and in `grpc-message`.
            let detail = Challenger::default().detail(answer);
            assert!(HeaderValue::try_from(&detail).is_ok());
            assert!(!detail.contains(['"', '\\', '%']), "{detail}");
        }
    }
}
