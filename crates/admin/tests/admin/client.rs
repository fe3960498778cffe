//! A client of the JSON API.

use axum::{Router, body::Body};
use http::{
    HeaderMap, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_tokens::NewToken;
use tower_api_tokens_admin::{Admin, TokenGuard};

use crate::support::Platform;

/// Sends requests to the API under `/admin/api` with a token.
pub(crate) struct Client {
    pub(crate) router: Router,
    pub(crate) token: String,
}

/// A response.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Client {
    /// Creates a client with a token that has these scopes.
    pub(crate) async fn with_scopes(platform: &Platform, scopes: &str) -> Self {
        let staff = platform.scene.tokens.create_app("Staff").await.unwrap();
        let guard = TokenGuard::new(&platform.scene.tokens, [staff.id]);
        let admin = Admin::new(&platform.operations, guard);
        let new = NewToken::named("admin").scopes(scopes.parse().unwrap());
        let issued = platform.scene.tokens.issue(&staff.id, new).await.unwrap();
        Self {
            router: Router::new().nest("/admin/api", admin.router()),
            token: issued.token().expose().to_owned(),
        }
    }

    pub(crate) async fn new(platform: &Platform) -> Self {
        Self::with_scopes(platform, "tokens:admin read write").await
    }

    /// Creates a client that may grant everything.
    pub(crate) async fn owner(platform: &Platform) -> Self {
        Self::with_scopes(platform, "tokens:admin tokens:owner").await
    }

    /// Creates a request with the token, and with a JSON body unless it is null.
    pub(crate) fn request(&self, method: Method, path: &str, body: &Value) -> Request<Body> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/admin/api{path}"))
            .header(AUTHORIZATION, format!("Bearer {}", self.token));
        let request = match body {
            Value::Null => request.body(Body::empty()),
            body => request
                .header(CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string())),
        };
        request.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, &Value::Null))
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path, &body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path, &body)).await
    }

    /// Sends a request with an `If-Match` header.
    pub(crate) async fn send_if(
        &self,
        tag: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> Answer {
        let mut request = self.request(method, path, &body);
        request.headers_mut().insert(IF_MATCH, tag.parse().unwrap());
        self.send(request).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path, &body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path, &Value::Null))
            .await
    }

    /// Checks that there is an event of this action, with this outcome or reason. Returns what it
    /// changed.
    pub(crate) async fn recorded(&self, action: &str, outcome: &str) -> Value {
        let events = self.get("/events").await.ok();
        let mut events = events["items"].as_array().unwrap().iter();
        let found = events.find(|event| {
            event["action"] == action
                && [&event["outcome"], &event["reason"]].contains(&&json!(outcome))
        });
        found.expect("no such event")["changes"].clone()
    }

    /// Returns the names of the tokens of a listing, in its order.
    pub(crate) async fn listed(&self, query: &str) -> Vec<String> {
        let page = self.get(&format!("/tokens?{query}")).await.ok();
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Issues a token that has the scope `read`.
    pub(crate) async fn issue(&self, app: &str, name: &str) -> Value {
        let new = serde_json::json!({"app_id": app, "name": name, "scopes": ["read"]});
        self.post("/tokens", new).await.created()
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks for a 200, and returns the body.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.json);
        self.json
    }

    /// Checks for a 201, and returns the body.
    pub(crate) fn created(self) -> Value {
        assert_eq!(self.status, StatusCode::CREATED, "{}", self.json);
        self.json
    }

    /// Checks for a problem with this status and code, and returns its detail.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> String {
        let json = &self.json;
        assert_eq!(self.status.as_u16(), status, "{json}");
        assert_eq!(json["code"], code, "{json}");
        assert_eq!(json["status"], status, "{json}");
        assert_eq!(json["type"], format!("urn:tower-api-tokens:problem:{code}"));
        assert_eq!(json["title"], self.status.canonical_reason().unwrap());
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        json["detail"].as_str().unwrap().to_owned()
    }
}
