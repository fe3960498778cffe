use axum::body::Body;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, StatusCode, header};
use tower_api_tokens::{AppEdit, AuditQuery, MetadataPatch, NewToken, TokenEdit};
use tower_api_tokens_admin::TokenGuard;

use crate::support::{Site, form};

const HOSTILE: [&str; 4] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}&lt;b&gt;",
    "javascript:alert(1)",
];

#[tokio::test]
async fn every_response_has_security_headers() {
    let site = Site::new();
    for path in [
        "/tokens",
        "/tokens/new",
        "/tokens/apps",
        "/tokens/activity",
        "/tokens/tokens.csv",
        "/tokens/nothing",
        "/tokens/assets/dashboard.css",
    ] {
        let answer = site.get(path).await;
        let field = |name: &str| answer.headers[name].to_str().unwrap();
        assert_eq!(
            field("content-security-policy"),
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        assert_eq!(field("x-content-type-options"), "nosniff");
        assert_eq!(field("x-frame-options"), "DENY");
        assert_eq!(field("referrer-policy"), "same-origin");
        assert_eq!(field("cross-origin-opener-policy"), "same-origin");
        assert_eq!(field("cross-origin-resource-policy"), "same-origin");
        let is_asset = path.starts_with("/tokens/assets/");
        let caching = if is_asset { "max-age=300" } else { "no-store" };
        assert_eq!(field("cache-control"), caching);
    }
}

#[tokio::test]
async fn no_page_violates_the_content_security_policy() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let token = format!("/tokens/token/{}", issued.record().id);
    for path in [
        "/tokens",
        "/tokens/new",
        "/tokens/apps",
        "/tokens/activity",
        &format!("/tokens/apps/{}", app.id),
        &format!("/tokens/apps/{}/edit", app.id),
        &token,
        &format!("{token}/edit"),
        "/tokens/policy",
        "/tokens/nothing",
    ] {
        let page = site.get(path).await;
        for forbidden in [
            " style=",
            "<style",
            "<script>",
            " onclick",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!page.text.contains(forbidden), "{forbidden} in {path}");
        }
    }
}

#[tokio::test]
async fn hostile_names_are_escaped() {
    let site = Site::new();
    for name in HOSTILE {
        let app = site.scene.create_app(name).await;
        let issued = site.issue(&app.id, name).await;
        let token = format!("/tokens/token/{}", issued.record().id);
        // The names of scopes and networks cannot be hostile, but metadata can.
        let metadata = MetadataPatch::default().set("name", name);
        let edit = TokenEdit::default().name(name).metadata(metadata.clone());
        let edited = site.ada().edit(issued.record().id, None, edit).await;
        let about_app = format!("/tokens/apps/{}", edited.unwrap().app.id);
        let edit = AppEdit::default().metadata(metadata);
        site.ada().edit_app(&app.id, None, edit).await.unwrap();
        for path in [
            "/tokens",
            "/tokens/new",
            "/tokens/apps",
            "/tokens/activity",
            &about_app,
            &format!("{about_app}/edit"),
            &token,
            &format!("{token}/edit"),
        ] {
            let page = site.get(path).await.is(StatusCode::OK);
            for tag in ["<script>alert", "<img", "href=\"javascript:", "&lt;b&gt;"] {
                assert!(!page.text.contains(tag), "{tag} in {path}");
            }
        }
        let wrong = site
            .post(
                &format!("{token}/revoke"),
                &[("confirm", name.get(1..).unwrap())],
            )
            .await;
        wrong
            .is(StatusCode::UNPROCESSABLE_ENTITY)
            .lacks("<script>alert")
            .lacks("<img");
        let revoked = site
            .post(&format!("{token}/revoke"), &[("confirm", name)])
            .await;
        revoked.location();
    }
}

#[tokio::test]
async fn no_name_looks_like_another() {
    let site = Site::new();
    let app = site.scene.create_app("\u{202e}gnilliB").await;
    let issued = site.issue(&app.id, "c\u{200b}i").await;
    site.get("/tokens")
        .await
        .has("[U+202E]gnilliB")
        .has("c[U+200B]i")
        .lacks("\u{202e}");
    // The name can be typed as shown.
    let revoke = format!("/tokens/token/{}/revoke", issued.record().id);
    site.post(&revoke, &[("confirm", "c[U+200B]i")])
        .await
        .location();
}

#[tokio::test]
async fn a_cross_site_form_changes_nothing() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let token = format!("/tokens/token/{}", issued.record().id);
    let new = [
        ("nonce", nonce.as_str()),
        ("name", "x"),
        ("app", app.id.as_str()),
        ("expires", "7"),
    ];
    let rotate = [("nonce", nonce.as_str()), ("overlap", "0")];
    let token_form = site.get(&format!("{token}/edit")).await;
    let edit_token = [("version", token_form.version()), ("name", "x")];
    let app_form = site.get(&format!("/tokens/apps/{}/edit", app.id)).await;
    let edit_app = [("version", app_form.version()), ("name", "x")];
    let policy_form = site.get("/tokens/policy").await;
    let policy = [("version", policy_form.version()), ("unique_names", "on")];
    let forms: [(String, &[(&str, &str)]); 13] = [
        ("/tokens/new".into(), &new),
        ("/tokens/apps".into(), &[("name", "x")]),
        (format!("/tokens/apps/{}/disable", app.id), &[]),
        (format!("/tokens/apps/{}/enable", app.id), &[]),
        (format!("{token}/rename"), &[("name", "x")]),
        (format!("{token}/rotate"), &rotate),
        (format!("{token}/revoke"), &[("confirm", "ci")]),
        (format!("{token}/edit"), &edit_token),
        (format!("{token}/suspend"), &[]),
        (format!("{token}/resume"), &[]),
        (format!("/tokens/apps/{}/edit", app.id), &edit_app),
        (
            format!("/tokens/apps/{}/delete", app.id),
            &[("confirm", "Billing")],
        ),
        ("/tokens/policy".into(), &policy),
    ];
    let senders = [
        [
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
        ],
        [
            ("origin", "https://other.acme.example"),
            ("sec-fetch-site", "same-site"),
        ],
        [("origin", "null"), ("sec-fetch-site", "cross-site")],
        // A browser without `Sec-Fetch-Site`.
        [("origin", "https://evil.example"), ("sec-fetch-site", "")],
        [("origin", "null"), ("sec-fetch-site", "")],
    ];
    let before = site.ada().events(&AuditQuery::default()).await.unwrap();
    for (path, fields) in &forms {
        for sender in senders {
            let mut request = form(path, fields);
            for (name, value) in sender {
                if value.is_empty() {
                    request.headers_mut().remove(name);
                } else {
                    request.headers_mut().insert(name, value.parse().unwrap());
                }
            }
            site.send(request).await.is(StatusCode::FORBIDDEN);
        }
    }
    let after = site.ada().events(&AuditQuery::default()).await.unwrap();
    assert_eq!(before, after);
    assert_eq!(site.latest().await, *issued.record());
    // The same form from the dashboard's own page.
    site.post(&forms[0].0, forms[0].1).await.is(StatusCode::OK);
}

#[tokio::test]
async fn a_browser_signs_in_with_a_token_as_its_password() {
    let site = Site::guarded_by(|tokens| TokenGuard::any_app(tokens).realm("acme").unwrap());
    let app = site.scene.create_app("operators").await;
    let admin = NewToken::named("ada").scopes("tokens:admin invoices:read".parse().unwrap());
    let admin = site.scene.tokens.issue(&app.id, admin).await.unwrap();
    let other = site.issue(&app.id, "ci").await;
    let signed_in = |path: &str, token: &str| {
        let basic = BASE64_STANDARD.encode(format!("ada:{token}"));
        Request::get(path)
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .body(Body::empty())
            .unwrap()
    };

    for path in ["/tokens", "/tokens/new", "/tokens/nothing"] {
        let asked = site.get(path).await.is(StatusCode::UNAUTHORIZED);
        let asked = asked
            .has("Sign in to manage tokens")
            .has("Enter any user name, and your admin token as the password.");
        let challenges = asked.headers.get_all(header::WWW_AUTHENTICATE);
        let basic = challenges
            .iter()
            .any(|value| value == "Basic realm=\"acme\", charset=\"UTF-8\"");
        assert!(basic, "{path}");
        assert_eq!(asked.headers[header::CACHE_CONTROL], "no-store");
    }
    for asset in ["dashboard.css", "dashboard.js", "icon.svg"] {
        let path = format!("/tokens/assets/{asset}");
        site.get(&path).await.is(StatusCode::OK);
    }
    let wrong = site.send(signed_in("/tokens", "acme_live_wrong")).await;
    wrong
        .is(StatusCode::UNAUTHORIZED)
        .has("That token doesn't work");
    let refused = site
        .send(signed_in("/tokens", other.token().expose()))
        .await;
    refused
        .is(StatusCode::FORBIDDEN)
        .has("You can't manage tokens")
        .lacks("ada");
    let page = site
        .send(signed_in("/tokens", admin.token().expose()))
        .await;
    page.is(StatusCode::OK)
        .has(&format!(
            "title=\"token:{}\">Signed in as <bdi>{} ({})</bdi>",
            admin.record().id,
            admin.record().name,
            admin.record().app.name
        ))
        .lacks(admin.token().expose());
}

#[tokio::test]
async fn a_form_cannot_grant_scopes_that_the_operator_lacks() {
    let site = Site::guarded_by(|tokens| TokenGuard::any_app(tokens));
    let app = site.scene.create_app("operators").await;
    let admin = NewToken::named("ada").scopes("tokens:admin invoices:read".parse().unwrap());
    let admin = site.scene.tokens.issue(&app.id, admin).await.unwrap();
    let basic = BASE64_STANDARD.encode(format!("ada:{}", admin.token().expose()));
    let mut request = form(
        "/tokens/new",
        &[
            ("nonce", "n"),
            ("name", "x"),
            ("app", app.id.as_str()),
            ("scopes", "invoices:read invoices:write"),
            ("expires", "7"),
        ],
    );
    let credential = format!("Basic {basic}").parse().unwrap();
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, credential);
    let refused = site.send(request).await;
    refused
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("scopes-error")
        .has("You can't grant “invoices:write”");
    assert_eq!(site.all().await.len(), 1);
}
