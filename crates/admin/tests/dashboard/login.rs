//! Redirects to the login of the host.

use async_trait::async_trait;
use axum::{Router, body::Body};
use http::{HeaderValue, Method, Request, StatusCode, header, request::Parts};
use tower_api_tokens_admin::{Actor, Admin, Denied, Guard, Login};

use crate::support::{Answer, Site};

const NAVIGATE: [(&str, &str); 1] = [("sec-fetch-mode", "navigate")];

/// Accepts a session of Ada, and sends others to the login.
struct Sessions(Login);

#[async_trait]
impl Guard for Sessions {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
        match request.headers.get(header::COOKIE) {
            Some(cookie) if cookie == "session=ada" => Ok(Actor::unrestricted("ada")),
            _ => Err(Denied::redirect(&self.0)),
        }
    }
}

fn site(login: Login) -> Site {
    let site = Site::new();
    let admin = Admin::new(&site.operations, Sessions(login));
    Site {
        router: Router::new()
            .nest_service("/console/tokens", admin.dashboard())
            .nest_service("/api", admin.router()),
        ..site
    }
}

fn with_login(path: &str) -> Site {
    site(Login::new(path).unwrap())
}

async fn send(site: &Site, method: Method, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(name, value);
    }
    site.send(request).await
}

async fn open(site: &Site, path: &str) -> Answer {
    send(site, Method::GET, path, &NAVIGATE).await
}

#[track_caller]
fn is_unauthenticated(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
    assert!(!answer.headers.contains_key(header::LOCATION));
    assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
}

#[tokio::test]
async fn a_browser_goes_to_the_login_and_back_to_the_page_that_it_asked_for() {
    let site = with_login("/login");
    for (page, encoded) in [
        ("/console/tokens", "%2Fconsole%2Ftokens"),
        ("/console/tokens/", "%2Fconsole%2Ftokens%2F"),
        (
            "/console/tokens/apps?name=a%26b&x=1",
            "%2Fconsole%2Ftokens%2Fapps%3Fname%3Da%2526b%26x%3D1",
        ),
        ("/console/tokens/nothing", "%2Fconsole%2Ftokens%2Fnothing"),
    ] {
        let answer = open(&site, page).await;
        assert_eq!(answer.location(), format!("/login?return_to={encoded}"));
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        assert!(answer.headers.contains_key(header::CONTENT_SECURITY_POLICY));
    }
    let cookie = [NAVIGATE[0], ("cookie", "session=ada")];
    let back = send(&site, Method::GET, "/console/tokens", &cookie).await;
    back.is(StatusCode::OK).has("Signed in as <bdi>ada</bdi>");
}

#[tokio::test]
async fn the_host_names_the_parameter() {
    let login = Login::new("/login?tenant=1").unwrap();
    let site = site(login.return_parameter("next"));
    let answer = open(&site, "/console/tokens/new").await;
    assert_eq!(
        answer.location(),
        "/login?tenant=1&next=%2Fconsole%2Ftokens%2Fnew"
    );
}

#[tokio::test]
async fn only_navigations_are_redirected() {
    let site = with_login("/login");
    let html = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
    for (fields, redirected) in [
        (vec![NAVIGATE[0]], true),
        (vec![NAVIGATE[0], ("accept", "*/*")], true),
        // Browsers without `Sec-Fetch-Mode`, and on plain HTTP.
        (vec![html], true),
        (vec![("accept", "application/json"), html], true),
        (vec![("accept", "TEXT/HTML;q=0.5")], true),
        (vec![("accept", "text/html;q=0, */*")], false),
        (vec![("accept", "text/html; Q=0.000")], false),
        (vec![("accept", "*/*")], false),
        (vec![("accept", "text/*")], false),
        (vec![("accept", "application/json")], false),
        (vec![], false),
        // Scripts and elements of pages.
        (vec![("sec-fetch-mode", "cors"), html], false),
        (vec![("sec-fetch-mode", "no-cors"), html], false),
        (vec![("sec-fetch-mode", ""), html], false),
        (vec![NAVIGATE[0], ("sec-fetch-mode", "cors"), html], false),
    ] {
        let answer = send(&site, Method::GET, "/console/tokens", &fields).await;
        if redirected {
            assert!(answer.location().starts_with("/login?"), "{fields:?}");
        } else {
            is_unauthenticated(&answer);
        }
    }
}

#[tokio::test]
async fn forms_and_the_api_are_not_redirected() {
    let site = with_login("/login");
    let form = [NAVIGATE[0], ("sec-fetch-site", "same-origin")];
    for path in ["/console/tokens/new", "/console/tokens/apps"] {
        is_unauthenticated(&send(&site, Method::POST, path, &form).await);
    }
    is_unauthenticated(&send(&site, Method::HEAD, "/console/tokens", &NAVIGATE).await);
    for path in ["/api/apps", "/api/openapi.json", "/api"] {
        let answer = open(&site, path).await;
        is_unauthenticated(&answer);
        answer.has("\"code\":\"unauthenticated\"");
    }
}

#[tokio::test]
async fn assets_need_no_login() {
    let site = with_login("/login");
    for asset in ["dashboard.css", "dashboard.js", "icon.svg"] {
        let path = format!("/console/tokens/assets/{asset}");
        open(&site, &path).await.is(StatusCode::OK);
    }
}

#[tokio::test]
async fn the_return_path_never_leads_to_another_site() {
    let site = with_login("/login");
    let admin = Admin::new(&site.operations, Sessions(Login::new("/login").unwrap()));
    // A dashboard that owns a whole host gets paths that no mount path precedes.
    let site = Site {
        router: admin.dashboard(),
        ..site
    };
    let long = format!("/{}", "a".repeat(4000));
    for path in [
        "//evil.example/",
        "//evil.example?a",
        "/\\evil.example",
        "/a?b=\\",
        &long,
    ] {
        let answer = open(&site, path).await;
        assert_eq!(answer.location(), "/login?return_to=%2F", "{path}");
    }
    let encoded = open(&site, "/%5Cevil.example").await;
    assert_eq!(
        encoded.location(),
        "/login?return_to=%2F%255Cevil%2Eexample"
    );
}

#[test]
fn a_login_can_check_the_value_that_it_gets() {
    for good in ["/", "/console/tokens?status=active&name=a%20b"] {
        assert!(Login::is_return_path(good), "{good}");
    }
    for bad in [
        "",
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/\t/evil.example/",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: a=b",
    ] {
        assert!(!Login::is_return_path(bad), "{bad:?}");
    }
}
