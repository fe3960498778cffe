//! The name, logo, colors and links with which a host frames the dashboard.

use axum::{Router, body::Body};
use http::{Request, StatusCode, header};
use tower_api_tokens_admin::{Admin, Brand, BrandBuilder, TokenGuard};

use crate::support::{Ada, Site};

fn branded(brand: BrandBuilder) -> Site {
    let site = Site::new();
    let admin = Admin::builder(&site.operations, Ada).brand(brand.build().unwrap());
    Site {
        router: Router::new().nest_service("/tokens", admin.build().dashboard()),
        ..site
    }
}

#[tokio::test]
async fn every_page_has_the_name_the_logo_and_the_links_of_the_brand() {
    let site = branded(
        Brand::builder()
            .name("Acme")
            .logo("/static/logo.svg?v=2")
            .stylesheet("/static/tokens.css")
            .with_link("Account", "/account")
            .with_link("Docs", "https://docs.acme.example/tokens?a=b&c=d"),
    );
    let app = site.scene.create_app("Billing").await;
    let token = site.issue(&app.id, "ci").await.record().id;
    for path in [
        "/tokens",
        "/tokens/new",
        "/tokens/apps",
        "/tokens/policy",
        "/tokens/activity",
        &format!("/tokens/token/{token}"),
        &format!("/tokens/apps/{}/edit", app.id),
        "/tokens/nothing",
    ] {
        let page = site.get(path).await;
        page.has(" · Acme</title>")
            .has_once("<span>Acme</span>")
            .has_once("<img src=\"/static/logo.svg?v=2\" alt=\"\">")
            .has_once("<link rel=\"icon\" href=\"/static/logo.svg?v=2\">")
            // It is loaded last, so that it can override.
            .has("/assets/dashboard.css\">\n<link rel=\"stylesheet\" href=\"/static/tokens.css\">")
            .has_once("<a href=\"/account\">Account</a>")
            .has_once("<a href=\"https://docs.acme.example/tokens?a=b&#38;c=d\">Docs</a>")
            .lacks("API tokens</title>")
            .lacks("<svg viewBox=\"0 0 24 24\" aria-hidden=\"true\"><rect");
    }
}

#[tokio::test]
async fn without_a_brand_pages_have_the_name_and_the_icon_of_the_dashboard() {
    let site = Site::new();
    let page = site.get("/tokens").await;
    page.has(" · API tokens</title>")
        .has("<span>API tokens</span>")
        .has("href=\"/tokens/assets/icon.svg\"")
        .lacks("class=\"sign-out\"")
        .lacks("class=\"inner host\"");
}

#[tokio::test]
async fn texts_of_a_brand_are_escaped() {
    let hostile = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>";
    let site = branded(
        Brand::builder()
            .name(hostile)
            .logo("/a'onerror='alert(1)")
            .with_link(hostile, "/b'onclick='alert(1)")
            .sign_out_link("/c'onclick='alert(1)"),
    );
    let page = site.get("/tokens").await.is(StatusCode::OK);
    for markup in ["<script>alert", "<img src=x", "'onerror='", "'onclick='"] {
        assert!(!page.text.contains(markup), "{markup} in {}", page.text);
    }
    page.has("&#60;script&#62;alert(1)");
}

#[tokio::test]
async fn the_colors_of_a_brand_come_with_the_style_sheet() {
    let site = branded(Brand::builder().accent("#0b6e4f").dark_accent("#2fa37c"));
    let style = site.get("/tokens/assets/dashboard.css").await;
    assert_eq!(
        style.headers[header::CONTENT_TYPE],
        "text/css; charset=utf-8"
    );
    let style = style.has(":root { --accent: #0b6e4f; --accent-hover: #");
    style.has("@media (prefers-color-scheme: dark) {\n  :root { --accent: #2fa37c;");
    let plain = Site::new().get("/tokens/assets/dashboard.css").await;
    plain.lacks("#0b6e4f");
}

#[tokio::test]
async fn a_brand_does_not_change_the_security_headers() {
    let brand = Brand::builder()
        .name("Acme")
        .logo("/logo.svg")
        .stylesheet("/acme.css")
        .accent("#0b6e4f")
        .sign_out_form("/logout");
    let (with, without) = (branded(brand), Site::new());
    for path in ["/tokens", "/tokens/assets/dashboard.css", "/tokens/nothing"] {
        let [with, without] = [with.get(path).await, without.get(path).await];
        let fields = |answer: &crate::support::Answer| {
            let mut headers = answer.headers.clone();
            headers.remove(header::CONTENT_LENGTH);
            headers
        };
        assert_eq!(fields(&with), fields(&without), "{path}");
        for inline in [" style=", "<style", "<script>"] {
            assert!(!with.text.contains(inline), "{inline} in {path}");
        }
    }
}

#[tokio::test]
async fn people_sign_out_with_the_link_or_the_form_of_the_host() {
    let link = branded(Brand::builder().sign_out_link("https://acme.example/logout"));
    link.get("/tokens")
        .await
        .has_once("<a class=\"sign-out\" href=\"https://acme.example/logout\">Sign out</a>")
        .lacks("<form class=\"sign-out\"");
    let form = branded(Brand::builder().sign_out_form("/logout"));
    form.get("/tokens").await.has_once(
        "<form class=\"sign-out\" method=\"post\" action=\"/logout\"><button>Sign out</button></form>",
    );
}

#[tokio::test]
async fn a_denied_person_can_sign_out_but_an_anonymous_one_cannot() {
    let site = Site::guarded_by(|tokens| TokenGuard::any_app(tokens));
    let app = site.scene.create_app("Billing").await;
    let token = site.issue(&app.id, "ci").await;
    let brand = Brand::builder().sign_out_form("/logout").build().unwrap();
    let guard = TokenGuard::any_app(&site.scene.tokens);
    let admin = Admin::builder(&site.operations, guard).brand(brand).build();
    let site = Site {
        router: Router::new().nest_service("/tokens", admin.dashboard()),
        ..site
    };
    site.get("/tokens")
        .await
        .is(StatusCode::UNAUTHORIZED)
        .lacks("class=\"sign-out\"");
    let bearer = format!("Bearer {}", token.token().expose());
    let request = Request::get("/tokens").header(header::AUTHORIZATION, bearer);
    let denied = site.send(request.body(Body::empty()).unwrap()).await;
    denied
        .is(StatusCode::FORBIDDEN)
        .has_once("action=\"/logout\"");
}
