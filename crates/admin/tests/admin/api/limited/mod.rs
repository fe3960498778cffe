//! Limited actors: customers of one app, and actors who only read.

mod customers;
mod every_operation;
mod read_only;

use std::time::Duration;

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, Request, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_tokens::{
    AppId, AuditEventId, Authority, Grantable, NewApp, NewToken, Policy, SystemEntropy,
    TokenFormat, TokenId, store::digest_words,
};
use tower_api_tokens_admin::{Actor, Admin, Denied, Guard};

use crate::{client::Client, support::Platform};

/// Who sends a request, as its token says. Customers of both apps have the same name.
struct ByToken;

#[async_trait::async_trait]
impl Guard for ByToken {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
        let customer = |app| {
            let app = AppId::new(app).unwrap();
            Actor::new("alice", Grantable::everything()).limited_to(app)
        };
        let bearer = request.headers[header::AUTHORIZATION].to_str().unwrap();
        Ok(match bearer.trim_start_matches("Bearer ") {
            "ours" => customer("ours").metadata_keys(["team"]),
            "theirs" => customer("theirs"),
            "reader of ours" => customer("ours").read_only(),
            "auditor" => Actor::unrestricted("auditor").read_only(),
            _ => Actor::unrestricted("bob-of-staff"),
        })
    }
}

/// The identifiers of the records of one app.
#[derive(Clone)]
struct Named {
    app: AppId,
    token: TokenId,
    event: AuditEventId,
    /// The text of a token.
    text: String,
}

impl Named {
    /// Returns identifiers that no record has, in the same places of all orders.
    fn absent(&self) -> Self {
        let app = self.app.as_str();
        let app = format!("{}{}", &app[..app.len() - 1], "z");
        let changed = |mut bytes: [u8; 16]| {
            bytes[15] ^= 1;
            bytes
        };
        Self {
            app: AppId::new(&app).unwrap(),
            token: TokenId::from_bytes(changed(*self.token.as_bytes())),
            event: AuditEventId::from_bytes(changed(*self.event.as_bytes())),
            text: {
                let format = TokenFormat::new("acme_live").unwrap();
                let unknown = format.generate(&SystemEntropy::default()).unwrap();
                unknown.expose().to_owned()
            },
        }
    }

    /// Returns a text without these identifiers.
    fn anonymous(&self, text: &str) -> String {
        text.replace(&self.token.to_string(), "TOKEN")
            .replace(&self.event.to_string(), "EVENT")
            .replace(self.app.as_str(), "APP")
    }
}

struct Scene {
    platform: Platform,
    router: Router,
    /// The texts of a token of each app.
    texts: Vec<(AppId, String)>,
}

/// What is not to be seen by a customer of `ours`.
const SECRETS: [&str; 4] = ["theirs", "their-secret", "bob-of-staff", "auditor"];

impl Scene {
    async fn new() -> Self {
        let platform = Platform::new();
        let admin = Admin::new(&platform.operations, ByToken);
        let mut scene = Self {
            router: Router::new().nest("/admin/api", admin.router()),
            platform,
            texts: Vec::new(),
        };
        let tokens = &scene.platform.scene.tokens;
        let bob = tokens.acting_as(Authority::of("bob-of-staff"));
        for (id, name) in [("ours", "Ours"), ("theirs", "their-secret")] {
            let app = NewApp::named(name).id(AppId::new(id).unwrap());
            let app = bob.create_app(app).await.unwrap().id;
            let scopes = match id {
                "ours" => "read write",
                _ => "read their-secret",
            };
            let by_staff = NewToken::named(name).scopes(scopes.parse().unwrap());
            scene.pass();
            let by_staff = bob.issue(&app, by_staff).await.unwrap();
            scene.pass();
            bob.suspend(by_staff.record().id).await.unwrap();
            scene.pass();
            let alice = tokens.acting_as(Authority::of("alice").limited_to(app));
            let own = NewToken::named(name).scopes(scopes.parse().unwrap());
            let own = alice.issue(&app, own).await.unwrap();
            scene.texts.push((app, own.token().expose().to_owned()));
        }
        let theirs = AppId::new("theirs").unwrap();
        let policy = Policy::default().with_scopes_of(theirs, "read their-secret".parse().unwrap());
        bob.set_policy(None, policy.unique_names()).await.unwrap();
        scene
    }

    /// Advances the clock, so that what follows is listed before what was done so far.
    fn pass(&self) {
        self.platform.scene.clock.advance(Duration::from_secs(1));
    }

    fn client(&self, token: &str) -> Client {
        Client {
            router: self.router.clone(),
            token: token.to_owned(),
        }
    }

    /// Returns the identifiers of an app, its latest token and its latest event.
    async fn named(&self, app: &str) -> Named {
        let staff = self.client("staff");
        let first = async |path: String| {
            let page = staff.get(&path).await.ok();
            page["items"][0]["id"].as_str().unwrap().to_owned()
        };
        let id = AppId::new(app).unwrap();
        let text = self.texts.iter().find(|(of, _)| *of == id);
        Named {
            app: id,
            text: text.unwrap().1.clone(),
            token: first(format!("/tokens?app_id={app}"))
                .await
                .parse()
                .unwrap(),
            event: first(format!("/events?app_id={app}"))
                .await
                .parse()
                .unwrap(),
        }
    }

    /// Everything that exists, as staff sees it, without refusals.
    async fn everything(&self) -> Vec<String> {
        let staff = self.client("staff");
        let mut all = Vec::new();
        for path in [
            "/apps",
            "/tokens",
            "/policy",
            "/events?after=oldest&limit=1000",
        ] {
            all.push(exchange(&staff, &Call::get(path)).await.body);
        }
        all
    }
}

/// A request of a table.
#[derive(Clone, Debug)]
struct Call {
    method: Method,
    path: String,
    body: Value,
}

impl Call {
    fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Value::Null)
    }

    fn new(method: Method, path: impl Into<String>, body: Value) -> Self {
        let path = path.into();
        Self { method, path, body }
    }
}

/// Everything that a client gets.
#[derive(Debug, PartialEq)]
struct Exchange {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn exchange(client: &Client, call: &Call) -> Exchange {
    let request = client.request(call.method.clone(), &call.path, &call.body);
    send(client, request).await
}

async fn send(client: &Client, request: Request<Body>) -> Exchange {
    let response = client.router.clone().oneshot(request).await.unwrap();
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::DATE);
    let body = body.collect().await.unwrap().to_bytes();
    Exchange {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// Returns a cursor, as the listing at this path without filters makes it.
fn cursor(path: &str, position: &[u8]) -> String {
    let tag = digest_words([path]);
    URL_SAFE_NO_PAD.encode([&tag[..8], position].concat())
}

/// The calls of an operation that name records, for each way to name them. Returns `None` for an
/// operation that is not known here.
fn calls(operation: &str, on: &Named) -> Option<Vec<Call>> {
    let Named {
        app,
        token,
        event,
        text,
    } = on;
    let (method, _) = operation.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let call = |path: String, body: Value| vec![Call::new(method.clone(), path, body)];
    let reads = |paths: Vec<String>| paths.into_iter().map(Call::get).collect();
    let newest = format!("newest.0.{token}");
    Some(match operation {
        "GET /apps" => reads(vec![
            "/apps".into(),
            format!("/apps?cursor={}", cursor("/apps", app.as_str().as_bytes())),
        ]),
        "POST /apps" => call("/apps".into(), json!({"id": app, "name": "x"})),
        "GET /apps/{app}" => reads(vec![format!("/apps/{app}")]),
        "PATCH /apps/{app}" => call(format!("/apps/{app}"), json!({"name": "x"})),
        "DELETE /apps/{app}" => call(format!("/apps/{app}"), Value::Null),
        "POST /apps/{app}/disable" => call(format!("/apps/{app}/disable"), Value::Null),
        "POST /apps/{app}/enable" => call(format!("/apps/{app}/enable"), Value::Null),
        "GET /tokens" => reads(vec![
            "/tokens".into(),
            format!("/tokens?app_id={app}"),
            format!("/tokens?id={token}"),
            "/tokens?created_by=bob-of-staff".into(),
            format!("/tokens?app_id={app}&status=live&name=s&limit=1"),
            format!("/tokens?cursor={}", cursor("/tokens", newest.as_bytes())),
        ]),
        "GET /tokens/revocation" => reads(vec![
            "/tokens/revocation".into(),
            format!("/tokens/revocation?app_id={app}"),
            format!("/tokens/revocation?id={token}"),
            "/tokens/revocation?created_by=bob-of-staff".into(),
        ]),
        "POST /tokens/revocation" => {
            let body = json!({"count": 10, "newest": token});
            let paths = [
                format!("/tokens/revocation?app_id={app}&id={token}"),
                "/tokens/revocation?created_by=bob-of-staff".to_owned(),
            ];
            let call = |path| Call::new(method.clone(), path, body.clone());
            paths.map(call).into()
        }
        "POST /tokens/revoke" => call("/tokens/revoke".into(), json!({"token_ids": [token]})),
        "POST /tokens/search" => call("/tokens/search".into(), json!({"token": text})),
        "GET /report" => reads(vec!["/report".into(), format!("/report?app_id={app}")]),
        "POST /tokens" => call("/tokens".into(), json!({"app_id": app, "name": "x"})),
        "GET /tokens/{token}" => reads(vec![format!("/tokens/{token}")]),
        "PATCH /tokens/{token}" => call(format!("/tokens/{token}"), json!({"name": "x"})),
        "POST /tokens/{token}/rotate" => call(
            format!("/tokens/{token}/rotate"),
            json!({"overlap_seconds": 60}),
        ),
        "POST /tokens/{token}/suspend" => call(format!("/tokens/{token}/suspend"), Value::Null),
        "POST /tokens/{token}/resume" => call(format!("/tokens/{token}/resume"), Value::Null),
        "POST /tokens/{token}/revoke" => call(format!("/tokens/{token}/revoke"), Value::Null),
        "GET /policy" => reads(vec!["/policy".into()]),
        "PUT /policy" => call(
            "/policy".into(),
            json!({"scopes_of": {app.as_str(): ["read"]}}),
        ),
        "GET /events" => reads(vec![
            "/events".into(),
            format!("/events?app_id={app}"),
            format!("/events?token_id={token}"),
            format!("/events?app_id={app}&token_id={token}"),
            format!("/events?cursor={}", cursor("/events", event.as_bytes())),
            "/events?after=oldest".into(),
            "/events?after=latest".into(),
            "/events?after=0".into(),
            format!("/events?after={event}"),
            format!("/events?after=3-{event}"),
            format!("/events?after=latest&app_id={app}"),
        ]),
        "POST /tokens/{token}/revoke/everywhere" => call(
            format!("/tokens/{token}/revoke/everywhere"),
            json!({"wait_seconds": 0}),
        ),
        "GET /nodes" => reads(vec![
            "/nodes".into(),
            format!("/nodes?cursor={}", cursor("/nodes", &[7; 16])),
        ]),
        "DELETE /nodes/{node}" => call(format!("/nodes/{token}"), Value::Null),
        "GET /fleet" => reads(vec!["/fleet".into()]),
        "PUT /fleet" => call("/fleet".into(), json!({"all_registered": true})),
        "GET /openapi.json" => reads(vec!["/openapi.json".into()]),
        _ => return None,
    })
}

/// The operations of the API, and the names of the query parameters of each.
async fn operations(scene: &Scene) -> Vec<(String, Vec<String>)> {
    let document = scene.client("staff").get("/openapi.json").await.ok();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array();
            let queries = parameters.into_iter().flatten();
            let queries = queries.filter(|parameter| parameter["in"] == "query");
            let names = queries.map(|parameter| parameter["name"].as_str().unwrap().to_owned());
            let method = method.to_uppercase();
            operations.push((format!("{method} {path}"), names.collect()));
        }
    }
    assert!(operations.len() > 15, "{operations:?}");
    operations
}
