use std::{fs, path::PathBuf, time::Duration};

use tower_api_tokens::{AppId, NewToken, TokenId};

use crate::{browser::Browser, site::Site};

const DAY: Duration = Duration::from_secs(86_400);

/// Returns the directory of the screenshots.
fn folder() -> PathBuf {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/screenshots"
    ));
    fs::create_dir_all(&folder).unwrap();
    folder
}

pub(crate) async fn every_screen_is_saved_as_a_screenshot() {
    let site = Site::start().await;
    let browser = Browser::sign_in(&site).await;
    browser.goto("/tokens/new").await;
    keep(&browser, "first-token").await;
    browser.goto("/tokens").await;
    keep(&browser, "first-steps").await;
    browser.goto(&own_app(&site).await).await;
    keep(&browser, "own-app").await;
    let [nightly, old] = fill(&site).await;
    let screens = [
        ("tokens", "/tokens".to_owned()),
        (
            "filtered",
            "/tokens?never_expires=true&sort=last_used".to_owned(),
        ),
        ("find", "/tokens/find".to_owned()),
        ("no-match", "/tokens?name=nothing".to_owned()),
        ("apps", "/tokens/apps".to_owned()),
        (
            "app",
            format!("/tokens/apps/{}", app_of(&site, nightly).await),
        ),
        ("activity", "/tokens/activity".to_owned()),
        ("create", "/tokens/new".to_owned()),
        ("token", format!("/tokens/token/{nightly}")),
        ("edit", format!("/tokens/token/{nightly}/edit")),
        ("policy", "/tokens/policy".to_owned()),
        ("rotated", format!("/tokens/token/{old}")),
        ("not-found", "/tokens/nothing".to_owned()),
    ];
    for (scheme, width) in [
        ("light", 1280),
        ("dark", 1280),
        ("light", 900),
        ("light", 390),
        ("dark", 390),
    ] {
        browser.resize(width, 860, width < 600).await;
        browser.prefer(scheme).await;
        let suffix = match width {
            390 => format!("{scheme}-narrow"),
            900 => format!("{scheme}-middle"),
            _ => scheme.to_owned(),
        };
        for (name, path) in &screens {
            browser.goto(path).await;
            keep(&browser, &format!("{name}-{suffix}")).await;
            // The page does not scroll horizontally.
            let wide = browser
                .client
                .execute("return document.documentElement.scrollWidth", vec![]);
            assert!(
                wide.await.unwrap().as_u64().unwrap() <= width.into(),
                "{name} {suffix}"
            );
        }
        browser.goto("/tokens/new").await;
        browser.fill("#scopes", "say \"so\"").await;
        browser.click("Create token").await;
        browser.find("#name-error").await;
        keep(&browser, &format!("create-error-{suffix}")).await;
        browser.fill("#name", "storefront").await;
        browser.choose("#app", "Storefront").await;
        browser.fill("#scopes", "orders:read").await;
        browser.click("Create token").await;
        browser.heading("Token created").await;
        keep(&browser, &format!("created-{suffix}")).await;
    }
    browser.close().await;
}

async fn own_app(site: &Site) -> String {
    let own = site
        .scene
        .tokens
        .list_apps(&Default::default())
        .await
        .unwrap();
    format!("/tokens/apps/{}", own.items[0].id)
}

async fn app_of(site: &Site, token: TokenId) -> AppId {
    site.scene.tokens.get(token).await.unwrap().app.id
}

pub(crate) async fn keep(browser: &Browser, name: &str) {
    let picture = browser.picture().await;
    fs::write(folder().join(format!("{name}.png")), picture).unwrap();
}

/// Simulates a few weeks of use. Returns a token in use, and a rotated token that is still in use.
pub(crate) async fn fill(site: &Site) -> [TokenId; 2] {
    let tokens = site.audited();
    let mut apps = Vec::new();
    for name in ["Billing", "Storefront", "Warehouse"] {
        apps.push(tokens.create_app(name).await.unwrap().id);
    }
    let issue = async |app: usize, name: &str, scopes: &str, days: u32| {
        let mut new = NewToken::named(name).scopes(scopes.parse().unwrap());
        if days > 0 {
            new = new.expires_in(DAY * days);
        }
        tokens.issue(&apps[app], new).await.unwrap()
    };
    let nightly = issue(0, "nightly export", "invoices:read", 0).await;
    site.scene.clock.advance(DAY * 20);
    let old = issue(1, "checkout", "orders:read orders:write invoices:read", 365).await;
    let printer = issue(2, "label printer", "orders:read", 0).await;
    let _ = issue(2, "trial", "", 3).await;
    site.scene.clock.advance(DAY * 30);
    let ci = issue(0, "ci", "invoices:read invoices:write", 90).await;
    tokens.revoke(printer.record().id).await.unwrap();
    let new = tokens.rotate(old.record().id, DAY * 7).await.unwrap();
    site.scene.clock.advance(DAY * 2);
    let follower = tokens.follow().start().await.unwrap();
    for used in [&nightly, &old, &ci, &new] {
        assert_eq!(site.whoami(used.token().expose()).await.0, 200);
    }
    follower.stop().await.unwrap();
    site.scene.clock.advance(Duration::from_secs(125));
    [nightly.record().id, old.record().id]
}
