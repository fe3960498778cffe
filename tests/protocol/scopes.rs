use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, MemoryStore, NewToken, Rejection, RejectionKind, RequireScopeLayer,
    TokenFormat,
    middleware::{RequireScope, ResponseBody},
};

struct Scoped {
    tokens: ApiTokens,
    token: String,
}

async fn with_scopes(scopes: &str) -> Scoped {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme").unwrap());
    let app = tokens.create_app("Billing").await.unwrap();
    let new = NewToken::named("ci").scopes(scopes.parse().unwrap());
    let issued = tokens.issue(&app.id, new).await.unwrap();
    let token = issued.token().expose().to_owned();
    Scoped { tokens, token }
}

async fn ok(_: Request<()>) -> Result<Response<()>, Infallible> {
    Ok(Response::new(()))
}

type Answer = Response<ResponseBody<ResponseBody<()>>>;

async fn ask(
    auth: &ApiTokenLayer,
    require: &RequireScopeLayer,
    token: Option<&str>,
) -> Response<()> {
    let inner: RequireScope<_> = require.layer(service_fn(ok));
    let mut service = auth.layer(inner);
    let mut request = Request::new(());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
    }
    let response: Answer = service.ready().await.unwrap().call(request).await.unwrap();
    response.map(|_| ())
}

#[tokio::test]
async fn a_token_without_a_required_scope_is_told_which_are_required() {
    let Scoped { tokens, token } = with_scopes("read").await;
    let auth = ApiTokenLayer::new(&tokens).realm("acme").unwrap();
    let require = auth.require_all("write read".parse().unwrap());
    let response = ask(&auth, &require, Some(&token)).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let challenges: Vec<_> = response
        .headers()
        .get_all("www-authenticate")
        .iter()
        .collect();
    assert_eq!(
        challenges,
        [
            "Bearer realm=\"acme\", error=\"insufficient_scope\", error_description=\"The token lacks a scope that the request requires.\", scope=\"read write\""
        ]
    );
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::InsufficientScope);
    assert!(rejection.token_id().is_some() && rejection.app_id().is_some());
}

#[tokio::test]
async fn all_or_any_of_the_scopes_are_required() {
    let Scoped { tokens, token } = with_scopes("read write").await;
    let auth = ApiTokenLayer::new(&tokens);
    for (all, scopes, status) in [
        (true, "read", 200),
        (true, "read write", 200),
        (true, "read admin", 403),
        (true, "", 200),
        (false, "read admin", 200),
        (false, "admin", 403),
        (false, "rea", 403),
        (false, "", 403),
    ] {
        let scopes = scopes.parse().unwrap();
        let require = if all {
            auth.require_all(scopes)
        } else {
            auth.require_any(scopes)
        };
        let response = ask(&auth, &require, Some(&token)).await;
        assert_eq!(response.status(), status, "{require:?}");
    }
}

#[tokio::test]
async fn scopes_are_judged_anew_on_each_route_for_a_remembered_token() {
    let Scoped { tokens, token } = with_scopes("read").await;
    let auth = ApiTokenLayer::new(&tokens);
    let (open, closed) = (
        auth.require_all("read".parse().unwrap()),
        auth.require_all("write".parse().unwrap()),
    );
    for _ in 0..3 {
        assert_eq!(ask(&auth, &open, Some(&token)).await.status(), 200);
        assert_eq!(ask(&auth, &closed, Some(&token)).await.status(), 403);
    }
}

#[tokio::test]
async fn a_scope_is_required_of_requests_without_a_token_too() {
    let Scoped { tokens, .. } = with_scopes("read").await;
    let auth = ApiTokenLayer::new(&tokens)
        .optional()
        .realm("acme")
        .unwrap();
    let require = RequireScopeLayer::all("read".parse().unwrap());
    let response = ask(&auth, &require, None).await;
    assert_eq!(response.status(), 401);
    assert_eq!(
        response.headers()["www-authenticate"],
        "Bearer realm=\"acme\""
    );
}

#[tokio::test]
async fn a_scope_without_an_authenticating_layer_lets_nobody_through() {
    let service = RequireScopeLayer::all("read".parse().unwrap()).layer(service_fn(ok));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_renderer_of_the_layer_renders_missing_scopes_too() {
    let Scoped { tokens, token } = with_scopes("read").await;
    let auth = ApiTokenLayer::new(&tokens).render_with(|rejection, mut response| {
        let kind = rejection.kind().as_str().parse().unwrap();
        response.headers_mut().insert("x-kind", kind);
        response
    });
    let require = auth.require_any("write".parse().unwrap());
    let response = ask(&auth, &require, Some(&token)).await;
    assert_eq!(response.headers()["x-kind"], "insufficient_scope");
}
