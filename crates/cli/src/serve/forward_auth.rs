//! The endpoint that a proxy asks about each request before it passes it on.
//!
//! The proxy sends the header fields of its client. The layer reads the credential from them, and
//! nothing else that the client sends has a part in the status of the answer.

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use http::{
    HeaderName, HeaderValue, StatusCode, Uri,
    header::{CACHE_CONTROL, InvalidHeaderValue},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;
use tower_api_tokens::{ApiTokenLayer, AppPrincipal, Refusal, Rejection, ScopeSet};

/// The identity of an admitted request, for the service behind the proxy. All of them are in every
/// such answer, so that a proxy replaces all that its client sent.
const APP_ID: HeaderName = HeaderName::from_static("x-api-app-id");
const APP_NAME: HeaderName = HeaderName::from_static("x-api-app-name");
const TOKEN_ID: HeaderName = HeaderName::from_static("x-api-token-id");
const SCOPES: HeaderName = HeaderName::from_static("x-api-scopes");

/// All but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What follows a path prefix is the path that the client asked for.
const WITHOUT_SCOPES: &str = "/verify/any";
const WITH_SCOPES: &str = "/verify/scope/";

/// Whether a proxy takes this field from the answers, so that a request must not carry it.
pub(super) fn is_of_answers(name: &HeaderName) -> bool {
    [APP_ID, APP_NAME, TOKEN_ID, SCOPES].contains(name)
}

#[derive(Clone)]
struct Proxied {
    layer: ApiTokenLayer,
}

pub(super) fn router(layer: ApiTokenLayer) -> Router {
    let layer = layer.renderer(|rejection, response| match response.status() {
        // nginx takes 401 and 403 alone for a refusal.
        StatusCode::BAD_REQUEST => unauthorized(rejection, response),
        _ => response,
    });
    Router::new()
        .route("/verify", any(verify))
        .route("/verify/", any(verify))
        .route("/verify/{*rest}", any(verify))
        .with_state(Proxied { layer })
}

fn unauthorized(
    rejection: &Rejection,
    mut response: http::Response<Bytes>,
) -> http::Response<Bytes> {
    let problem = json!({
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": rejection.to_string(),
    });
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    *response.body_mut() = problem.to_string().into();
    response
}

async fn verify(State(proxied): State<Proxied>, request: Request) -> Response {
    match required_scopes(request.uri()) {
        Ok(scopes) => match attribute(&proxied.layer, scopes, request).await {
            Ok(principal) => identity(&principal).unwrap_or_else(|_| {
                // An identity that no header field can carry is not passed on in part.
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }),
            Err(refusal) => refusal.into_response(),
        },
        // The proxy is set up wrongly: to answer as if it were not could admit too many.
        Err(hint) => (StatusCode::INTERNAL_SERVER_ERROR, hint).into_response(),
    }
}

/// Finds out whose request this is, if its token has the scopes that are required.
async fn attribute(
    layer: &ApiTokenLayer,
    required: ScopeSet,
    request: Request,
) -> Result<AppPrincipal, Refusal> {
    let (mut request, _) = request.into_parts();
    let principal = layer.authenticate(&mut request).await?;
    let required = layer.require_all(required);
    required.check(&principal, (&request).into())?;
    Ok(principal)
}

/// The scopes that the proxy requires: those of `/verify?scope=a+b`, or those of
/// `/verify/scope/a+b`, whatever follows that. `/verify/any` requires none.
fn required_scopes(uri: &Uri) -> Result<ScopeSet, String> {
    let path = uri.path();
    if path == "/verify" {
        return from_query(uri.query().unwrap_or_default());
    }
    let prefix = path.strip_prefix(WITHOUT_SCOPES);
    if prefix.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Ok(ScopeSet::default());
    }
    match path.strip_prefix(WITH_SCOPES) {
        Some(rest) => from_text(rest.split('/').next().unwrap_or_default()),
        None => Err(format!(
            "ask for `/verify?scope=…`, or under the path prefix `{WITH_SCOPES}…` or `{WITHOUT_SCOPES}`\n"
        )),
    }
}

fn from_query(query: &str) -> Result<ScopeSet, String> {
    let mut texts = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("scope", scopes)) => texts.push(scopes),
            _ => return Err("the only parameter is `scope`, with scopes joined by `+`\n".into()),
        }
    }
    if texts.is_empty() {
        return Ok(ScopeSet::default());
    }
    from_text(&texts.join("+"))
}

/// Reads scopes that are joined by `+` or commas and percent-encoded each.
fn from_text(text: &str) -> Result<ScopeSet, String> {
    let mut scopes = Vec::new();
    for scope in text.split(['+', ',']) {
        let scope = percent_decode_str(scope).decode_utf8();
        scopes.push(scope.map_err(|_| "a scope is not UTF-8\n")?);
    }
    ScopeSet::new(scopes.iter().flat_map(|scope| scope.split(' ')))
        .map_err(|error| format!("the scopes that are required are none: {error}\n"))
}

fn identity(principal: &AppPrincipal) -> Result<Response, InvalidHeaderValue> {
    let name = utf8_percent_encode(principal.app_name(), RESERVED).to_string();
    let mut response = Response::default();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (field, value) in [
        (APP_ID, principal.app_id().as_str()),
        (APP_NAME, &name),
        (TOKEN_ID, &principal.token_id().to_string()),
        (SCOPES, principal.scopes().as_str()),
    ] {
        headers.insert(field, HeaderValue::from_str(value)?);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(uri: &str) -> Result<String, String> {
        required_scopes(&uri.parse().unwrap()).map(|scopes| scopes.as_str().to_owned())
    }

    #[test]
    fn scopes_come_from_the_query_or_the_path() {
        for (uri, expected) in [
            ("/verify", ""),
            ("/verify?", ""),
            ("/verify?scope=a", "a"),
            ("/verify?scope=b+a", "a b"),
            ("/verify?scope=b&scope=a%20c", "a b c"),
            ("/verify?scope=a%2Bb", "a+b"),
            ("/verify?scope=b,a", "a b"),
            ("/verify?scope=a%2Cb", "a,b"),
            ("/verify/scope/b,a/orders", "a b"),
            ("/verify/any", ""),
            ("/verify/any/orders?scope=%22", ""),
            ("/verify/any/scope/a", ""),
            ("/verify/scope/a", "a"),
            ("/verify/scope/b+a/orders?scope=c", "a b"),
            ("/verify/scope/a/../../any/x", "a"),
            ("/verify/scope/a/", "a"),
        ] {
            assert_eq!(scopes(uri).as_deref(), Ok(expected), "{uri}");
        }
    }

    #[test]
    fn a_proxy_that_is_set_up_wrongly_admits_nobody() {
        for uri in [
            "/verify?scope",
            "/verify?scope=",
            "/verify?scope=a++b",
            "/verify?scope=a,,b",
            "/verify?scope=a,",
            "/verify?scopes=a",
            "/verify?scope=a&x=y",
            "/verify?scope=%22",
            "/verify?scope=%ff",
            "/verify/",
            "/verify/anything",
            "/verify/scope",
            "/verify/scope/",
            "/verify/scope//orders",
            "/verify/orders",
        ] {
            assert!(scopes(uri).is_err(), "{uri}");
        }
    }
}
