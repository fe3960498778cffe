//! The principal as an argument of handlers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing::{any, get},
};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_api_tokens::{AppPrincipal, RejectionKind};

use crate::{
    support::{Fixture, UNKNOWN, bearer, kind, serve},
    wire::{Wire, both},
};

/// A glob import does not shadow the names of other crates.
mod everything {
    use tower_api_tokens::*;

    pub(super) fn guarded(tokens: &ApiTokens) -> axum::Router {
        let routes = axum::Router::new().route("/", axum::routing::get(async || ""));
        routes.route_layer(ApiTokenLayer::new(tokens))
    }
}

#[tokio::test]
async fn everything_can_be_imported_beside_axum() {
    let fixture = Fixture::new().await;
    let (parts, _) = ask(&everything::guarded(&fixture.tokens), "/", "").await;
    assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
}

async fn whoami(principal: AppPrincipal) -> String {
    principal.app_name().to_owned()
}

async fn greet(principal: Option<AppPrincipal>) -> String {
    principal.map_or_else(|| "nobody".into(), |p| p.app_name().to_owned())
}

fn routes() -> Router {
    Router::new()
        .route("/whoami", any(whoami))
        .route("/greet", get(greet))
}

async fn ask(router: &Router, path: &str, authorization: &str) -> (http::response::Parts, String) {
    let mut request = Request::get(path);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Body::empty()).unwrap();
    let Ok(response) = router.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_handler_gets_the_principal_of_an_admitted_request() {
    let fixture = Fixture::new().await;
    for router in [
        routes().layer(fixture.layer()),
        routes().route_layer(fixture.layer()),
        routes().layer(fixture.layer().optional()),
    ] {
        for path in ["/whoami", "/greet"] {
            let (parts, name) = ask(&router, path, &fixture.bearer()).await;
            assert_eq!((parts.status, &*name), (StatusCode::OK, "Billing"));
        }
    }
}

#[tokio::test]
async fn a_handler_is_not_called_for_a_refused_request() {
    let fixture = Fixture::new().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move || async move {
        counted.fetch_add(1, SeqCst);
    };
    let router = Router::new()
        .route("/", get(handler))
        .layer(fixture.layer());
    for (value, status) in [("", 401), ("Bearer", 400), (&*bearer(UNKNOWN), 401)] {
        let (parts, _) = ask(&router, "/", value).await;
        assert_eq!(parts.status, status);
    }
    assert_eq!(calls.load(SeqCst), 0);
}

#[tokio::test]
async fn without_a_layer_the_extractor_fails_and_states_what_to_add() {
    let router = routes();
    for path in ["/whoami", "/greet"] {
        for value in ["", "Bearer a"] {
            let (parts, body) = ask(&router, path, value).await;
            assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(
                body,
                "no `ApiTokenLayer` around this route; add \
                 `.route_layer(ApiTokenLayer::new(&tokens))` to its router"
            );
            assert!(!parts.headers.contains_key("www-authenticate"));
        }
    }
}

#[tokio::test]
async fn an_optional_principal_is_none_behind_an_optional_layer() {
    let fixture = Fixture::new().await;
    let router = routes().layer(fixture.layer().optional());
    let (parts, name) = ask(&router, "/greet", "").await;
    assert_eq!((parts.status, &*name), (StatusCode::OK, "nobody"));
    let (parts, _) = ask(&router, "/greet", &bearer(UNKNOWN)).await;
    assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_required_principal_behind_an_optional_layer_is_refused_like_a_strict_layer_does() {
    let fixture = Fixture::new().await;
    for layer in [
        fixture.layer(),
        fixture.layer().realm("Acme \"1\"").unwrap(),
        fixture.layer().basic(),
        fixture
            .layer()
            .renderer(|rejection, response| response.map(|_| rejection.kind().as_str().into())),
    ] {
        let strict = serve(routes().layer(layer.clone())).await;
        let optional = serve(routes().layer(layer.optional())).await;
        for method in ["GET", "HEAD", "POST"] {
            let request = Wire::new(method, "/whoami");
            let answer = both(optional, &request).await;
            assert_eq!(answer.status, 401);
            assert_eq!(answer, both(strict, &request).await, "{method}");
        }
    }
}

#[tokio::test]
async fn the_answer_to_a_missing_principal_shows_its_rejection() {
    let fixture = Fixture::new().await;
    let router = routes().layer(fixture.layer().optional());
    let (parts, _) = ask(&router, "/whoami", "").await;
    assert_eq!(kind(&parts), Some(RejectionKind::MissingCredential));
}

#[tokio::test]
async fn scopes_are_required_route_by_route() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().realm("acme").unwrap();
    let read = layer.require_all("invoices:read".parse().unwrap());
    let write = layer.require_any("invoices:write admin".parse().unwrap());
    let router = Router::new()
        .route("/invoices", get(whoami).route_layer(read))
        .route("/invoices/new", get(whoami).route_layer(write))
        .route_layer(layer);
    let (parts, _) = ask(&router, "/invoices", &fixture.bearer()).await;
    assert_eq!(parts.status, StatusCode::OK);
    let (parts, _) = ask(&router, "/invoices/new", &fixture.bearer()).await;
    assert_eq!(parts.status, StatusCode::FORBIDDEN);
    assert_eq!(
        parts.headers["www-authenticate"],
        "Bearer realm=\"acme\", error=\"insufficient_scope\", error_description=\"The token \
         lacks a scope that the request requires.\", scope=\"admin invoices:write\""
    );
    let (parts, _) = ask(&router, "/invoices/new", "").await;
    assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
}

/// The routes in the guide to embedding, of which only `/health` is public.
fn deny_by_default(fixture: &Fixture) -> Router {
    let guarded = Router::new().route("/invoices", get(whoami)).nest(
        "/reports",
        Router::new()
            .route("/latest", get(whoami))
            .fallback(async || "no report"),
    );
    Router::new()
        .route("/health", get(async || "ok"))
        .fallback_service(guarded.layer(fixture.layer()))
}

#[tokio::test]
async fn routes_that_are_not_public_are_refused() {
    let fixture = Fixture::new().await;
    let router = deny_by_default(&fixture);
    let (parts, body) = ask(&router, "/health", "").await;
    assert_eq!((parts.status, &*body), (StatusCode::OK, "ok"));
    for (path, status) in [
        ("/invoices", 200),
        ("/reports/latest", 200),
        ("/reports/nowhere", 200),
        ("/reports", 200),
        ("/nowhere", 404),
        ("/", 404),
        ("/health/", 404),
        ("//health", 404),
    ] {
        for value in ["", "Bearer", &*bearer(UNKNOWN)] {
            let (parts, _) = ask(&router, path, value).await;
            assert!(matches!(parts.status.as_u16(), 400 | 401), "{path}");
        }
        let (parts, _) = ask(&router, path, &fixture.bearer()).await;
        assert_eq!(parts.status, status, "{path}");
    }
    // Another method of a guarded route is refused like the route.
    let request = Request::post("/invoices").body(Body::empty()).unwrap();
    let Ok(response) = router.oneshot(request).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_layer_does_not_cover_what_is_added_after_it() {
    let fixture = Fixture::new().await;
    let late = || get(async || "open");
    for router in [
        routes().route_layer(fixture.layer()).route("/late", late()),
        routes().layer(fixture.layer()).route("/late", late()),
        routes()
            .route_layer(fixture.layer())
            .nest("/late", Router::new().fallback(async || "open")),
        routes()
            .route_layer(fixture.layer())
            .merge(Router::new().route("/late", late())),
        routes()
            .fallback(async || "open")
            .route_layer(fixture.layer()),
    ] {
        let (parts, body) = ask(&router, "/late", "").await;
        assert_eq!((parts.status, &*body), (StatusCode::OK, "open"));
        let (parts, _) = ask(&router, "/whoami", "").await;
        assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn an_unknown_path_is_refused_by_layer_and_not_found_by_route_layer() {
    let fixture = Fixture::new().await;
    let (parts, _) = ask(&routes().layer(fixture.layer()), "/nowhere", "").await;
    assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
    let (parts, _) = ask(&routes().route_layer(fixture.layer()), "/nowhere", "").await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
}
