//! Signing in and out, lockouts, and the first steps.

use axum::{Router, body::Body};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, StatusCode, header};
use tower_api_tokens::{AppRecord, IssuedToken, NewToken};
use tower_api_tokens_admin::{Admin, TokenGuard};

use crate::support::{Answer, Site, form};

/// A dashboard whose operators sign in with tokens.
struct Office {
    site: Site,
    operators: AppRecord,
}

impl Office {
    async fn new() -> Self {
        let site = Site::guarded_by(|tokens| TokenGuard::any_app(tokens).realm("acme").unwrap());
        let operators = site.scene.create_app("Operators").await;
        Self { site, operators }
    }

    async fn token(&self, name: &str, scopes: &str) -> IssuedToken {
        let new = NewToken::named(name).scopes(scopes.parse().unwrap());
        self.site
            .scene
            .tokens
            .issue(&self.operators.id, new)
            .await
            .unwrap()
    }

    async fn get(&self, holder: &IssuedToken, path: &str) -> Answer {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.send(holder, request).await
    }

    async fn post(&self, holder: &IssuedToken, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(holder, form(path, fields)).await
    }

    async fn send(&self, holder: &IssuedToken, mut request: Request<Body>) -> Answer {
        let credential = format!("ada:{}", holder.token().expose());
        let basic = format!("Basic {}", BASE64_STANDARD.encode(credential));
        let basic = basic.parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, basic);
        self.site.send(request).await
    }
}

/// Returns the target of the link with this text.
fn link(page: &Answer, text: &str) -> String {
    let (before, _) = page.text.split_once(&format!("\">{text}</a>")).unwrap();
    let (_, address) = before.rsplit_once("href=\"").unwrap();
    address.to_owned()
}

#[track_caller]
fn asks_for_a_password(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
    let mut challenges = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
    assert!(challenges.any(|value| value == "Basic realm=\"acme\", charset=\"UTF-8\""));
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert!(answer.headers.contains_key(header::CONTENT_SECURITY_POLICY));
}

#[tokio::test]
async fn signing_out_prompts_for_another_account() {
    let office = Office::new().await;
    let ada = office.token("ada", "tokens:admin").await;
    let bob = office.token("bob", "tokens:admin").await;
    let page = office.get(&ada, "/tokens").await;
    let sign_out = link(&page, "Sign out");

    let out = office.get(&ada, &sign_out).await.has("You are signed out");
    asks_for_a_password(&out);
    // The browser repeats the request with the new credentials.
    let switched = office.get(&bob, &sign_out).await;
    assert_eq!(switched.location(), "/tokens");
    // If the prompt is canceled, the page links to the sign-in page.
    let cancelled = office.site.get(&sign_out).await;
    asks_for_a_password(&cancelled);
    let sign_in = link(&cancelled, "Sign in");
    asks_for_a_password(&office.site.get(&sign_in).await);
    assert_eq!(office.get(&ada, &sign_in).await.location(), "/tokens");

    // Without an account in the URL, the current one is signed out.
    let typed = office.get(&ada, "/tokens/sign-out").await;
    assert_eq!(typed.location(), sign_out);
}

#[tokio::test]
async fn every_page_links_to_the_sign_out_page() {
    let office = Office::new().await;
    let ada = office.token("ada", "tokens:admin").await;
    let token = format!("/tokens/token/{}", ada.record().id);
    let app = format!("/tokens/apps/{}", office.operators.id);
    for path in [
        "/tokens",
        "/tokens/new",
        "/tokens/apps",
        "/tokens/activity",
        &token,
        &app,
        "/tokens/nothing",
    ] {
        let page = office.get(&ada, path).await;
        assert!(link(&page, "Sign out").contains("account="), "{path}");
        page.has("Signed in as <bdi>ada (Operators)</bdi>");
    }
}

#[tokio::test]
async fn an_account_without_permission_can_be_switched() {
    let office = Office::new().await;
    let ada = office.token("ada", "tokens:admin").await;
    let robot = office.token("robot", "invoices:read").await;
    for path in ["/tokens", "/tokens/new", "/tokens/apps"] {
        let refused = office.get(&robot, path).await;
        let refused = refused
            .is(StatusCode::FORBIDDEN)
            .has("You can't manage tokens");
        let switch = link(&refused, "Use another account");
        asks_for_a_password(&office.get(&robot, &switch).await);
        let sign_out = link(&refused, "Sign out");
        let sign_out = office.get(&robot, &sign_out).await;
        asks_for_a_password(&sign_out.has("You are signed out"));
        assert_eq!(office.get(&ada, &switch).await.location(), "/tokens");
    }
    office
        .site
        .scene
        .tokens
        .revoke(ada.record().id)
        .await
        .unwrap();
    asks_for_a_password(&office.get(&ada, "/tokens/sign-in").await);
}

#[tokio::test]
async fn without_basic_auth_there_is_no_sign_out() {
    let site = Site::new();
    site.get("/tokens").await.lacks("Sign out");
    for path in ["/tokens/sign-out", "/tokens/sign-in"] {
        site.get(path).await.is(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_store_failure_signs_nobody_out() {
    use tower_api_tokens::{StoreErrorKind, testing::Fault};

    let office = Office::new().await;
    let ada = office.token("ada", "tokens:admin").await;
    let site = &office.site;
    site.scene
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    for path in ["/tokens/sign-out", "/tokens/sign-in", "/tokens"] {
        let page = office.get(&ada, path).await;
        page.is(StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn disabling_your_own_app_warns_and_shows_how_to_recover() {
    let office = Office::new().await;
    let ada = office.token("ada", "tokens:admin").await;
    let other = office.site.scene.create_app("Billing").await;
    let way_back = format!("api-tokens app enable {}", office.operators.id);
    office
        .get(&ada, &format!("/tokens/apps/{}", other.id))
        .await
        .lacks("locks you out")
        .lacks("api-tokens app enable");
    let path = format!("/tokens/apps/{}", office.operators.id);
    office
        .get(&ada, &path)
        .await
        .has("Disabling the app locks you out.")
        .has(&way_back);
    let confirm = [("confirm", "Operators")];
    let done = office
        .post(&ada, &format!("{path}/disable"), &confirm)
        .await;
    done.is(StatusCode::OK)
        .has("App disabled: you are locked out")
        .has(&way_back)
        .has("Use another account");
    office
        .get(&ada, "/tokens")
        .await
        .is(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn revoking_your_own_token_warns_and_shows_how_to_recover() {
    let office = Office::new().await;
    let ada = office.token("ada", "tokens:admin").await;
    let bob = office.token("bob", "tokens:admin").await;
    let app = office.operators.id;
    let way_back =
        format!("api-tokens token issue --app {app} --name administrator --scope tokens:admin");
    let path = |token: &IssuedToken| format!("/tokens/token/{}", token.record().id);
    office
        .get(&ada, &path(&bob))
        .await
        .lacks("locks you out")
        .lacks("api-tokens token issue");
    office
        .get(&ada, &path(&ada))
        .await
        .has("Revoking it locks you out.")
        .has(&way_back);
    let revoke = format!("{}/revoke", path(&ada));
    let done = office.post(&ada, &revoke, &[("confirm", "ada")]).await;
    done.is(StatusCode::OK)
        .has("Token revoked: you are locked out")
        .has(&way_back);
    let refused = office.get(&ada, "/tokens").await;
    refused.is(StatusCode::UNAUTHORIZED);
    // Revoking another operator's token locks nobody out.
    let carl = office.token("carl", "tokens:admin").await;
    let revoke = format!("{}/revoke", path(&carl));
    let done = office.post(&bob, &revoke, &[("confirm", "carl")]).await;
    done.location();
}

#[tokio::test]
async fn suspending_your_own_token_warns_and_shows_how_to_recover() {
    let office = Office::new().await;
    let ada = office.token("ada", "tokens:admin").await;
    let bob = office.token("bob", "tokens:admin").await;
    let path = |token: &IssuedToken| format!("/tokens/token/{}", token.record().id);
    let warning = "Suspending it locks you out.";
    office.get(&ada, &path(&bob)).await.lacks(warning);
    office
        .get(&ada, &path(&ada))
        .await
        .has_once(warning)
        .has_once("id=\"suspend-recovery\"")
        .has_once("id=\"recovery\"");
    let suspend = format!("{}/suspend", path(&ada));
    office
        .post(&ada, &suspend, &[])
        .await
        .is(StatusCode::OK)
        .has("Token suspended: you are locked out")
        .has("api-tokens token issue --app");
    let refused = office.get(&ada, "/tokens").await;
    refused.is(StatusCode::UNAUTHORIZED);
    let resume = format!("{}/resume", path(&ada));
    office.post(&bob, &resume, &[]).await.location();
    office.get(&ada, "/tokens").await.is(StatusCode::OK);
}

#[tokio::test]
async fn rotating_your_own_token_shows_which_one_to_sign_in_with() {
    let office = Office::new().await;
    let ada = office.token("ada", "tokens:admin").await;
    let path = format!("/tokens/token/{}", ada.record().id);
    let nonce = office.get(&ada, &path).await.nonce().to_owned();
    let fields = [("nonce", nonce.as_str()), ("overlap", "0")];
    let done = office.post(&ada, &format!("{path}/rotate"), &fields).await;
    done.is(StatusCode::OK)
        .has("You signed in with the old token: sign in with the new one from now on.");
}

#[tokio::test]
async fn the_first_run_leads_from_the_admin_token_to_the_first_app() {
    let office = Office::new().await;
    let ada = office.token("first administrator", "tokens:admin").await;
    let operators = office.operators.id;
    let own_form = format!("/tokens/new?app={operators}");
    office
        .get(&ada, "/tokens")
        .await
        .has("Create your first token")
        .has("Create an app")
        .has("<bdi>first administrator</bdi>");
    // The operators' own app is not offered for clients.
    let form = office.get(&ada, "/tokens/new").await;
    form.has("App name")
        .has(&format!("href=\"{own_form}\""))
        .lacks("<select");

    let fields = [("name", "Billing"), ("then", "token")];
    let created = office.post(&ada, "/tokens/apps", &fields).await;
    let form = office.get(&ada, created.location()).await;
    let form = form.has(" selected>Billing</option>");
    // The form explains which scopes can be granted, and how to grant more.
    form.has("You can grant only these scopes:")
        .has("<li>tokens:admin</li>")
        .has(&format!(
            "api-tokens token issue --app {operators} --name administrator \
             --scope tokens:admin --scope tokens:owner"
        ));
    let open = office.get(&ada, "/tokens/new").await;
    open.has("<option value=\"\">Choose an app</option>")
        .has(">Operators (yours)</option>")
        .lacks(" selected");
    // The form for another administrator's token preselects the operators' app.
    office
        .get(&ada, &own_form)
        .await
        .has(&format!("value=\"{operators}\" selected>"));
    office
        .get(&ada, "/tokens")
        .await
        .has("Create your first token");

    let _ = office
        .site
        .scene
        .tokens
        .issue(
            &office.site.scene.create_app("Shop").await.id,
            NewToken::named("ci"),
        )
        .await
        .unwrap();
    let list = office.get(&ada, "/tokens").await;
    list.lacks("Create your first token").has("<bdi>ci</bdi>");

    let owner = office.token("owner", "tokens:admin tokens:owner").await;
    office
        .get(&owner, "/tokens/new")
        .await
        .lacks("You can grant only");
    let soon = NewToken::named("guest")
        .scopes("tokens:admin".parse().unwrap())
        .expires_in(std::time::Duration::from_secs(7_200));
    let guest = office
        .site
        .scene
        .tokens
        .issue(&operators, soon)
        .await
        .unwrap();
    office
        .get(&guest, "/tokens/new")
        .await
        .has("A token can't outlast your own access, which ends")
        .has(">in 2 hours</time>");

    let eve = office.token("eve", "tokens:admin invoices:read").await;
    office
        .get(&eve, "/tokens/new")
        .await
        .has("<li>invoices:read</li><li>tokens:admin</li>")
        .lacks("api-tokens token issue");
}

#[tokio::test]
async fn an_expiry_beyond_your_own_access_is_reported_at_its_field() {
    let office = Office::new().await;
    let new = NewToken::named("guest")
        .scopes("tokens:admin".parse().unwrap())
        .expires_in(std::time::Duration::from_secs(7_200));
    let tokens = &office.site.scene.tokens;
    let guest = tokens.issue(&office.operators.id, new).await.unwrap();
    let path = format!("/tokens/new?app={}", office.operators.id);
    let nonce = office.get(&guest, &path).await.nonce().to_owned();
    let fields = [
        ("nonce", nonce.as_str()),
        ("name", "ci"),
        ("app", office.operators.id.as_str()),
        ("expires", "7"),
    ];
    let page = office.post(&guest, "/tokens/new", &fields).await;
    page.is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("id=\"expires-error\"")
        .has("no later than the end of your own access, 14 September 2026, 11:26:53 UTC.")
        .has("name=\"name\" value=\"ci\"");
}

#[tokio::test]
async fn without_a_service_url_there_are_no_curl_commands() {
    let site = Site::new();
    let admin = Admin::new(&site.operations, crate::support::Ada);
    let site = Site {
        router: Router::new().nest_service("/tokens", admin.dashboard()),
        ..site
    };
    site.get("/tokens").await.lacks("curl").lacks("example.com");
    let app = site.scene.create_app("Billing").await;
    site.get(&format!("/tokens?app={}", app.id))
        .await
        .has("This app has no tokens yet")
        .lacks("curl");
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let fields = [
        ("nonce", nonce.as_str()),
        ("name", "ci"),
        ("app", app.id.as_str()),
        ("expires", "7"),
    ];
    let revealed = site.post("/tokens/new", &fields).await.is(StatusCode::OK);
    let secret = revealed.secret().to_owned();
    revealed
        .has_once(&secret)
        .lacks("curl")
        .lacks("example.com");
}
