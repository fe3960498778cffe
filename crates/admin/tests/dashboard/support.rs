//! A dashboard, and the requests and responses of a browser.

use std::time::Duration;

use async_trait::async_trait;
use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_api_tokens::{
    ApiTokens, ApiTokensBuilder, AppId, IssuedToken, NewToken, TokenFormat, TokenRecord,
    testing::Fixture,
};
use tower_api_tokens_admin::{Actor, Admin, Denied, Guard, Operations, Operator};

pub(crate) const NOW: &str = "2026-09-14T09:26:53Z";

/// Authenticates every request as Ada.
pub(crate) struct Ada;

#[async_trait]
impl Guard for Ada {
    async fn authenticate(&self, _: &mut Parts) -> Result<Actor, Denied> {
        Ok(Actor::unrestricted("ada@acme.example"))
    }
}

pub(crate) struct Site {
    pub(crate) scene: Fixture<()>,
    pub(crate) operations: Operations,
    pub(crate) router: Router,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::guarded_by(|_| Ada)
    }

    pub(crate) fn guarded_by<G: Guard>(guard: impl FnOnce(&ApiTokens) -> G) -> Self {
        Self::of(Fixture::builder().prefix("acme_live").empty(), guard)
    }

    /// Creates a dashboard of tokens with the formats `live` and `test`.
    pub(crate) fn with_formats(
        configure: impl FnOnce(ApiTokensBuilder) -> ApiTokensBuilder + Send + 'static,
    ) -> Self {
        let test = TokenFormat::new("acme_test").unwrap();
        let test = test.with_label("test").unwrap();
        let scene = Fixture::builder()
            .prefix("acme_live")
            .configure(|tokens| configure(tokens.with_issued_format(test)));
        Self::of(scene.empty(), |_| Ada)
    }

    pub(crate) fn of<G: Guard>(scene: Fixture<()>, guard: impl FnOnce(&ApiTokens) -> G) -> Self {
        scene.clock.set(NOW.parse().unwrap());
        let tokens = &scene.tokens;
        let operations = Operations::new(tokens);
        let admin = Admin::builder(&operations, guard(tokens))
            .service_url("https://api.acme.example/invoices")
            .build();
        Self {
            router: Router::new().nest_service("/tokens", admin.dashboard()),
            operations,
            scene,
        }
    }

    pub(crate) fn ada(&self) -> Operator {
        self.operations.by(Actor::unrestricted("ada@acme.example"))
    }

    pub(crate) async fn issue(&self, app: &AppId, name: &str) -> IssuedToken {
        self.scene.issue(app, NewToken::named(name)).await
    }

    /// Returns the latest token.
    pub(crate) async fn latest(&self) -> TokenRecord {
        self.all().await.into_iter().next().unwrap()
    }

    pub(crate) async fn all(&self) -> Vec<TokenRecord> {
        self.scene
            .tokens
            .list(&Default::default())
            .await
            .unwrap()
            .items
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.scene.clock.advance(Duration::from_secs(seconds));
    }

    /// Returns whether the service accepts a token.
    pub(crate) async fn admits(&self, token: &str) -> bool {
        let authenticator = self.scene.tokens.authenticator();
        authenticator.authenticate(token.as_bytes()).await.is_ok()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// Submits a form like a browser on a dashboard page.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(form(path, fields)).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

/// Creates the request of a form that a browser submits from a dashboard page.
pub(crate) fn form(path: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let encoded: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", percent_encoded(value)))
        .collect();
    Request::post(path)
        .header(header::HOST, "acme.example")
        .header(header::ORIGIN, "https://acme.example")
        .header("sec-fetch-site", "same-origin")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encoded.join("&")))
        .unwrap()
}

pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// Returns a page with apostrophes as they are shown.
fn plain(text: &str) -> String {
    text.replace("&#39;", "'")
}

impl Answer {
    #[track_caller]
    pub(crate) fn has(self, text: &str) -> Self {
        let found = plain(&self.text).contains(&plain(text));
        assert!(found, "no {text:?} in {}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn has_once(self, text: &str) -> Self {
        assert_eq!(
            plain(&self.text).matches(&plain(text)).count(),
            1,
            "{text:?} in {}",
            self.text
        );
        self
    }

    #[track_caller]
    pub(crate) fn lacks(self, text: &str) -> Self {
        let found = plain(&self.text).contains(&plain(text));
        assert!(!found, "{text:?} in {}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn is(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Returns the target of the redirect.
    #[track_caller]
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text);
        self.headers[header::LOCATION].to_str().unwrap()
    }

    /// Returns the idempotency key in the form.
    pub(crate) fn nonce(&self) -> &str {
        let (_, rest) = self.text.split_once("name=\"nonce\" value=\"").unwrap();
        rest.split('"').next().unwrap()
    }

    /// Returns the version of the record that the form edits.
    pub(crate) fn version(&self) -> &str {
        let (_, rest) = self.text.split_once("name=\"version\" value=\"").unwrap();
        rest.split('"').next().unwrap()
    }

    /// Returns the tags of the fields with `autofocus`.
    pub(crate) fn focused(&self) -> Vec<&str> {
        let tags = self
            .text
            .split('<')
            .map(|tag| tag.split('>').next().unwrap());
        tags.filter(|tag| tag.contains(" autofocus")).collect()
    }

    /// Returns the token that the page shows.
    pub(crate) fn secret(&self) -> &str {
        let (_, rest) = self.text.split_once("data-secret>").unwrap();
        rest.split('<').next().unwrap()
    }
}
