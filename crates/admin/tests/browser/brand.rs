//! A dashboard that its host frames, with the login of the host.

use async_trait::async_trait;
use axum::{
    Router,
    extract::Query,
    response::{Html, IntoResponse, Redirect},
    routing::{get, post},
};
use http::{
    header::{CONTENT_TYPE, COOKIE, SET_COOKIE},
    request::Parts,
};
use serde_json::json;
use tower_api_tokens::ApiTokens;
use tower_api_tokens_admin::{Actor, Admin, Brand, Denied, Guard, Login};

use crate::{browser::Browser, looks::until, screens::keep, site::Site};

const LOGO: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" fill="#0b6e4f"/></svg>"##;

/// Accepts the session that the login sets.
struct Sessions(Login);

#[async_trait]
impl Guard for Sessions {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
        match request.headers.get(COOKIE) {
            Some(cookie) if cookie == "session=ada" => Ok(Actor::unrestricted("ada@acme.example")),
            _ => Err(Denied::redirect(&self.0)),
        }
    }
}

type Fields = Query<Vec<(String, String)>>;

async fn log_in(Query(fields): Fields) -> impl IntoResponse {
    let page = fields.iter().find(|(name, _)| name == "return_to");
    let page = page.map(|(_, page)| page.as_str());
    let page = page
        .filter(|page| Login::is_return_path(page))
        .unwrap_or("/");
    (
        [(SET_COOKIE, "session=ada; SameSite=Lax")],
        Redirect::to(page),
    )
}

async fn log_out() -> impl IntoResponse {
    ([(SET_COOKIE, "session=; Max-Age=0")], Redirect::to("/"))
}

fn host(tokens: &ApiTokens) -> Router {
    let brand = Brand::builder()
        .name("Acme Console")
        .logo("/logo.svg")
        .stylesheet("/acme.css")
        .accent("#0b6e4f")
        .dark_accent("#2fa37c")
        .with_link("Account", "/account")
        .with_link("Billing", "/billing")
        .with_link("Documentation", "https://docs.acme.example/")
        .sign_out_form("/logout")
        .build()
        .unwrap();
    let guard = Sessions(Login::new("/login").unwrap());
    let admin = Admin::builder(tokens, guard).brand(brand).build();
    let form = Html(
        "<!doctype html><h1>Log in to Acme</h1><form method=post><button>Log in</button></form>",
    );
    let css = ([(CONTENT_TYPE, "text/css")], "h1 { letter-spacing: 3px; }");
    let logo = ([(CONTENT_TYPE, "image/svg+xml")], LOGO);
    Router::new()
        .route("/", get(Html("<!doctype html><h1>Acme</h1>")))
        .route("/login", get(form).post(log_in))
        .route("/logout", post(log_out))
        .route("/acme.css", get(css))
        .route("/logo.svg", get(logo))
        .nest_service("/console/tokens", admin.dashboard())
}

pub(crate) async fn a_browser_logs_in_and_out_with_the_pages_of_the_host() {
    let site = Site::with(|tokens, _| host(tokens)).await;
    let browser = Browser::sign_in(&site).await;
    let page = "/console/tokens/apps?name=a%26b";
    browser.goto(page).await;
    browser.heading("Log in to Acme").await;
    browser.click("Log in").await;
    browser.heading("Apps").await;
    assert_eq!(browser.path().await, page);
    browser.click("Sign out").await;
    browser.heading("Acme").await;
    browser.goto("/console/tokens").await;
    browser.heading("Log in to Acme").await;
    browser.close().await;
}

pub(crate) async fn colors_and_logo_of_the_host_are_shown_in_both_schemes() {
    let site = Site::with(|tokens, _| host(tokens)).await;
    site.scene.create_app("Billing").await;
    let browser = Browser::sign_in(&site).await;
    browser.goto("/console/tokens/new").await;
    browser.click("Log in").await;
    browser.heading("Create token").await;
    let script = "
        const button = [...document.querySelectorAll('button.primary')].pop();
        const logo = document.querySelector('.brand img');
        return [getComputedStyle(button).backgroundColor, getComputedStyle(button).color,
            logo.naturalWidth > 0, getComputedStyle(document.querySelector('h1')).letterSpacing,
            button.getAnimations().length];";
    for (scheme, back, front) in [
        ("light", "rgb(11, 110, 79)", "rgb(255, 255, 255)"),
        ("dark", "rgb(47, 163, 124)", "rgb(0, 0, 0)"),
    ] {
        browser.prefer(scheme).await;
        browser.resize(1280, 860, false).await;
        let expected = json!([back, front, true, "3px", 0]);
        until(&browser, script, |shown| *shown == expected).await;
        keep(&browser, &format!("brand-{scheme}")).await;
        for width in [1280, 900, 600, 390, 320] {
            browser.resize(width, 860, width < 600).await;
            let wide = "return document.documentElement.scrollWidth";
            let wide = browser.client.execute(wide, vec![]).await.unwrap();
            assert!(wide.as_u64().unwrap() <= width.into(), "{width}: {wide}");
        }
        keep(&browser, &format!("brand-{scheme}-narrow")).await;
    }
    browser.close().await;
}
