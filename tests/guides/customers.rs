//! Self-service for customers behind a cookie session, as the guide to the dashboard shows it.

use axum::body::Body;
use http::{Request, StatusCode, header::COOKIE};
use tower::ServiceExt;
use tower_api_tokens::{MemoryStore, NewToken, TokenFormat};

include!("shown/customers.rs");

fn session(headers: &HeaderMap) -> Option<(String, AppId)> {
    let cookie = headers.get(COOKIE)?.to_str().ok()?;
    let customer = cookie.strip_prefix("session=")?;
    Some(("alice".to_owned(), AppId::new(customer).ok()?))
}

#[tokio::test]
async fn each_customer_manages_the_tokens_of_the_own_app() {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme").unwrap());
    let mut names = Vec::new();
    for (id, name) in [("one", "First export"), ("two", "Second export")] {
        let app = AppId::new(id).unwrap();
        tokens.create_app_with_id(app, id).await.unwrap();
        assert!(tokens.issue(&app, NewToken::named(name)).await.is_ok());
        names.push(name);
    }
    let offered = "invoices:read".parse().unwrap();
    let login = Login::new("/login").unwrap();
    let customers = Customers {
        session,
        login,
        offered,
    };
    let service = self_service(&tokens, customers);
    let get = async |path: &str, cookie: &str| {
        let request = Request::get(path)
            .header(COOKIE, cookie)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document");
        let request = request.body(Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    };
    for (path, without_session) in [
        ("/account/tokens", StatusCode::SEE_OTHER),
        ("/account/api/tokens", StatusCode::UNAUTHORIZED),
    ] {
        let (status, page) = get(path, "session=one").await;
        assert_eq!(status, StatusCode::OK, "{page}");
        assert!(
            page.contains(names[0]) && !page.contains(names[1]),
            "{page}"
        );
        let (status, page) = get(path, "session=two").await;
        assert_eq!(status, StatusCode::OK, "{page}");
        assert!(
            page.contains(names[1]) && !page.contains(names[0]),
            "{page}"
        );
        assert_eq!(get(path, "other=one").await.0, without_session);
    }
}
