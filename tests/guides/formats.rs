//! Several formats in one service, as the guide to embedding shows them.

use axum::body::Body;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_api_tokens::{LifecycleErrorKind, NewToken, RejectionKind};

include!("shown/formats.rs");

#[tokio::test]
async fn tokens_are_issued_in_two_formats_and_accepted_in_three() {
    let tokens = tokens().unwrap();
    let app = tokens.create_app("Billing").await.unwrap();
    for (token, prefix) in [
        (NewToken::named("export"), "acme_live_"),
        (NewToken::named("export").format("test"), "acme_test_"),
    ] {
        let issued = tokens.issue(&app.id, token).await.unwrap();
        let token = issued.token().expose();
        assert!(token.starts_with(prefix));
        let verdict = tokens.authenticator().authenticate(token.as_bytes()).await;
        assert_eq!(verdict.unwrap().app_id(), &app.id);
    }
    let test = NewToken::named("pay").format("test");
    let paying = test.scopes("payments:write".parse().unwrap());
    let error = tokens.issue(&app.id, paying).await.unwrap_err();
    assert_eq!(error.kind(), LifecycleErrorKind::FormatNotAllowed);
    let accepted_only = NewToken::named("export").prefix("acme");
    let error = tokens.issue(&app.id, accepted_only).await.unwrap_err();
    assert_eq!(error.kind(), LifecycleErrorKind::UnknownFormat);

    // A well-formed token of the accepted format is looked up, and one of any other is not.
    for (prefix, kind) in [
        ("acme", RejectionKind::UnknownToken),
        ("foreign", RejectionKind::WrongFormat),
    ] {
        let format = TokenFormat::new(prefix).unwrap();
        let elsewhere = ApiTokens::new(MemoryStore::new(), format);
        let app = elsewhere.create_app("Billing").await.unwrap();
        let issued = elsewhere.issue(&app.id, NewToken::named("export")).await;
        let token = issued.unwrap();
        let token = token.token().expose().as_bytes();
        let rejection = tokens
            .authenticator()
            .authenticate(token)
            .await
            .unwrap_err();
        assert_eq!(rejection.kind(), kind, "{prefix}");
    }
}

#[tokio::test]
async fn test_tokens_get_made_up_data() {
    let tokens = tokens().unwrap();
    let app = tokens.create_app("Billing").await.unwrap().id;
    let service = service(&tokens, Routes::default());
    for (label, expected) in [("live", "invoices"), ("test", "made-up invoices")] {
        let new = NewToken::named("export").format(label);
        let issued = tokens.issue(&app, new).await.unwrap();
        let value = format!("Bearer {}", issued.token().expose());
        let request = Request::get("/invoices").header("authorization", value);
        let request = request.body(Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 100).await;
        assert_eq!(body.unwrap(), expected);
    }
}

#[tokio::test]
async fn http_is_refused_by_status_and_grpc_by_grpc_status() {
    let (_, health) = tonic_health::server::health_reporter();
    let service = service(&tokens().unwrap(), Routes::new(health));
    let refused = async |request: http::request::Builder| {
        let request = request.body(Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let code = response.headers().get("grpc-status").cloned();
        (
            response.status(),
            code.map(|code| code.to_str().unwrap().to_owned()),
        )
    };
    let grpc = |path| Request::post(path).header("content-type", "application/grpc");
    let unauthenticated = (StatusCode::OK, Some("16".to_owned()));
    let call = refused(grpc("/grpc.health.v1.Health/Check")).await;
    assert_eq!(call, unauthenticated);
    // What the client sends does not choose the answer of a route that is not gRPC.
    for request in [
        Request::get("/invoices"),
        Request::get("/invoices").header("content-type", "application/grpc"),
        Request::get("/nowhere"),
        Request::get("/grpc.health.v1.Health/Check"),
    ] {
        assert_eq!(refused(request).await, (StatusCode::UNAUTHORIZED, None));
    }
}
