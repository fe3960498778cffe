//! Token introspection and revocation.

mod introspection;
mod revocation;

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{
    HeaderMap, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tower_api_tokens::{IssuedToken, NewToken};
use tower_api_tokens_admin::{OAuthEndpoints, OAuthEndpointsBuilder};

use crate::support::Platform;

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The endpoints, and a caller that may introspect.
struct Endpoints {
    platform: Platform,
    router: Router,
    caller: IssuedToken,
}

/// A response.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Endpoints {
    async fn new() -> Self {
        Self::configured(Platform::new(), |endpoints| endpoints).await
    }

    async fn configured(
        platform: Platform,
        configure: impl FnOnce(OAuthEndpointsBuilder) -> OAuthEndpointsBuilder,
    ) -> Self {
        let gateways = platform.scene.create_app("Gateways").await;
        let caller = NewToken::named("nginx").scopes(OAuthEndpoints::SCOPE.parse().unwrap());
        let caller = platform.scene.issue(&gateways.id, caller).await;
        let endpoints = configure(OAuthEndpoints::builder(&platform.operations)).build();
        Self {
            router: Router::new().nest("/oauth", endpoints.router()),
            platform,
            caller,
        }
    }

    /// Issues a token to an app of its own.
    async fn issue(&self, new: NewToken) -> IssuedToken {
        let app = self.platform.app().await;
        self.platform.scene.issue(&app.id, new).await
    }

    async fn introspect(&self, form: &str) -> Answer {
        self.introspect_as(&format!("Bearer {}", self.caller.token().expose()), form)
            .await
    }

    async fn introspect_as(&self, credential: &str, form: &str) -> Answer {
        let request = Request::post("/oauth/introspect")
            .header(AUTHORIZATION, credential)
            .header(CONTENT_TYPE, FORM);
        self.send(request.body(Body::from(form.to_owned())).unwrap())
            .await
    }

    async fn introspect_token(&self, token: &IssuedToken) -> Answer {
        self.introspect(&format!("token={}", token.token().expose()))
            .await
    }

    async fn revoke(&self, form: &str) -> Answer {
        let request = Request::post("/oauth/revoke").header(CONTENT_TYPE, FORM);
        self.send(request.body(Body::from(form.to_owned())).unwrap())
            .await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the description of a live token.
    #[track_caller]
    fn active(&self) -> Value {
        let json = self.json();
        assert_eq!(self.status, StatusCode::OK, "{json}");
        assert_eq!(json["active"], true, "{json}");
        json
    }

    #[track_caller]
    fn inactive(&self) {
        assert_eq!(self.status, StatusCode::OK);
        assert_eq!(&self.body[..], br#"{"active":false}"#);
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
    }

    /// Checks for an error with this status and code, and returns its description.
    #[track_caller]
    fn error(&self, status: u16, code: &str) -> String {
        let json = self.json();
        assert_eq!(self.status.as_u16(), status, "{json}");
        assert_eq!(json["error"], code, "{json}");
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        let challenged = self.headers.contains_key("www-authenticate");
        assert_eq!(
            challenged,
            status == 401 || code == "invalid_request" && challenged
        );
        assert_eq!(self.headers.contains_key("retry-after"), status == 503);
        json["error_description"].as_str().unwrap().to_owned()
    }
}

/// Requests that neither endpoint can read, with the status of their answer.
async fn unreadable_forms_are_refused(endpoints: &Endpoints, path: &str, limit: usize) {
    let request = || {
        let caller = format!("Bearer {}", endpoints.caller.token().expose());
        Request::post(path).header(AUTHORIZATION, caller)
    };
    for (content_type, body, status) in [
        (FORM, String::new(), 400),
        (FORM, "token".to_owned(), 400),
        (FORM, "token=".to_owned(), 400),
        (FORM, "Token=a".to_owned(), 400),
        (FORM, "token=a&token=b".to_owned(), 400),
        (FORM, "token=a&token=a".to_owned(), 400),
        (FORM, "token=&token=a".to_owned(), 400),
        (FORM, format!("token={}", "a".repeat(limit)), 413),
        (FORM, format!("token={}", "a".repeat(10 << 20)), 413),
        ("application/json", r#"{"token":"a"}"#.to_owned(), 415),
        ("multipart/form-data; boundary=a", "token=a".to_owned(), 415),
        ("text/plain", "token=a".to_owned(), 415),
        ("", "token=a".to_owned(), 415),
    ] {
        let request = request().header(CONTENT_TYPE, content_type);
        let answer = endpoints
            .send(request.body(Body::from(body)).unwrap())
            .await;
        let description = answer.error(status, "invalid_request");
        assert!(description.len() > 10, "{description}");
    }
    let answer = endpoints
        .send(request().body(Body::from("token=a")).unwrap())
        .await;
    answer.error(415, "invalid_request");
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let request = Request::builder().method(method).uri(path);
        let answer = endpoints.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), "POST");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}
