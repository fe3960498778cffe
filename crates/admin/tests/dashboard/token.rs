use std::time::Duration;

use http::StatusCode;
use tower_api_tokens::{NewToken, Rotation, TokenStatus};
use tower_api_tokens_admin::Actor;

use crate::support::Site;

async fn site_with_token() -> (Site, String, String) {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site
        .ada()
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let path = format!("/tokens/token/{}", issued.record().id);
    (site, path, issued.token().expose().to_owned())
}

#[tokio::test]
async fn revoking_requires_typing_the_tokens_name() {
    let (site, path, secret) = site_with_token().await;
    let revoke = format!("{path}/revoke");
    for typed in ["", "CI", "another"] {
        let page = site.post(&revoke, &[("confirm", typed)]).await;
        page.is(StatusCode::UNPROCESSABLE_ENTITY)
            .has("That doesn't match the token's name.")
            .has(&format!("value=\"{typed}\""));
    }
    assert!(site.admits(&secret).await);

    let sent = site.post(&revoke, &[("confirm", " ci ")]).await;
    assert!(!site.admits(&secret).await);
    let page = site.get(sent.location()).await;
    page.has("Requests with this token now fail. Other servers follow within 5 seconds (default).")
        .has(">Revoked</span>")
        .lacks("id=\"revoke\"")
        .lacks("id=\"rotate\"");
}

#[tokio::test]
async fn a_name_can_be_typed_as_shown() {
    for (name, typed) in [
        // Browsers collapse white space, and keyboards differ in Unicode normalization.
        ("nightly  export", "nightly export"),
        ("nightly\u{a0}export", "nightly export"),
        ("nightly\u{3000}export", " nightly  export "),
        ("Zoe\u{308}", "Zo\u{eb}"),
        ("Zo\u{eb}", "Zoe\u{308}"),
        ("\u{fb01}nance", "finance"),
        ("c\u{200d}i", "c[U+200D]i"),
        ("c\u{200d}i", "c\u{200d}i"),
        ("B\u{456}lling", "B[U+0456]lling"),
    ] {
        let site = Site::new();
        let app = site.scene.create_app(name).await;
        let issued = site.issue(&app.id, name).await;
        let revoke = format!("/tokens/token/{}/revoke", issued.record().id);
        site.post(&revoke, &[("confirm", "another")])
            .await
            .is(StatusCode::UNPROCESSABLE_ENTITY);
        site.post(&revoke, &[("confirm", typed)]).await.location();
        let disable = format!("/tokens/apps/{}/disable", app.id);
        site.post(&disable, &[("confirm", typed)]).await.location();
        assert!(site.latest().await.revoked_at.is_some(), "{name:?}");
    }
}

#[tokio::test]
async fn errors_are_shown_on_top_and_get_the_focus() {
    let (site, path, _) = site_with_token().await;
    for (action, field, id, title) in [
        (
            "revoke",
            ("confirm", "x"),
            "id=\"confirm\"",
            "Token not revoked.",
        ),
        (
            "rename",
            ("name", " "),
            "id=\"new-name\"",
            "Token not renamed.",
        ),
        (
            "rotate",
            ("overlap", "x"),
            "name=\"overlap\"",
            "Token not rotated.",
        ),
    ] {
        let fields = [("nonce", "n"), field];
        let page = site.post(&format!("{path}/{action}"), &fields).await;
        let page = page.is(StatusCode::UNPROCESSABLE_ENTITY);
        let (before, after) = page.text.split_once("role=\"alert\"").unwrap();
        assert!(!before.contains("<section"), "the notice is on top");
        assert!(after.contains(title), "{title}");
        let focused = page.focused();
        assert_eq!(focused.len(), 1, "{action}");
        assert!(focused[0].contains(id), "{focused:?}");
        // The script replaces the URL in the history with the token's own.
        page.has(&format!("data-address=\"{path}\""));
    }
}

#[tokio::test]
async fn a_notice_in_the_url_is_shown_only_if_it_is_true() {
    let (site, path, _) = site_with_token().await;
    let page = site.get(&format!("{path}?done=revoked")).await;
    page.is(StatusCode::OK).lacks("now fail");
}

#[tokio::test]
async fn a_token_is_renamed() {
    let (site, path, _) = site_with_token().await;
    let rename = format!("{path}/rename");
    let wrong = site
        .post(&rename, &[("name", "x".repeat(101).leak())])
        .await;
    wrong
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("Enter a name of 1–100 characters.")
        .has(&"x".repeat(101));
    let sent = site.post(&rename, &[("name", " release ")]).await;
    assert_eq!(site.latest().await.name, "release");
    site.get(sent.location())
        .await
        .has("Token renamed.")
        .has("<h1><bdi>release</bdi></h1>");
}

#[tokio::test]
async fn the_history_shows_who_did_what() {
    let (site, path, _) = site_with_token().await;
    site.post(&format!("{path}/rename"), &[("name", "release")])
        .await;
    site.post(&format!("{path}/revoke"), &[("confirm", "release")])
        .await;
    let page = site.get(&path).await;
    for done in ["Created", "Renamed", "Revoked"] {
        assert!(
            page.text.contains(&format!(
                "{done} <span class=\"by\">by <bdi>ada@acme.example</bdi>"
            )),
            "{done}"
        );
    }
}

#[tokio::test]
async fn an_upcoming_expiration_is_part_of_the_history() {
    let site = Site::new();
    let week = Duration::from_secs(7 * 86_400);
    let app = site.scene.create_app("Sandbox").await;
    let new = NewToken::named("trial").expires_in(week);
    let issued = site.ada().issue(&app.id, new).await.unwrap();
    site.scene.tokens.record_expiring(week).await.unwrap();
    site.get(&format!("/tokens/token/{}", issued.record().id))
        .await
        .has("Announced the expiration <span class=\"by\">by <bdi>system</bdi>");
    site.get("/tokens/activity")
        .await
        .has("Announced the expiration of token <a href");
}

#[tokio::test]
async fn an_unknown_token_is_a_404_page() {
    let site = Site::new();
    for id in ["01a09f3d-a748-79b0-b382-ad57b0490c59", "x", "..%2f", "%ff"] {
        let page = site.get(&format!("/tokens/token/{id}")).await;
        page.is(StatusCode::NOT_FOUND).has("not found");
    }
    let absent = "/tokens/token/01a09f3d-a748-79b0-b382-ad57b0490c59";
    site.get(absent)
        .await
        .is(StatusCode::NOT_FOUND)
        .has("Token not found");
    let revoked = site
        .post(&format!("{absent}/revoke"), &[("confirm", "")])
        .await;
    revoked.is(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_token_of_a_disabled_app_can_still_be_revoked() {
    let (site, path, _) = site_with_token().await;
    let app = site.latest().await.app.id;
    site.scene.tokens.disable_app(&app).await.unwrap();
    site.get(&path)
        .await
        .has(">App disabled</span>")
        .lacks("id=\"rotate\"");
    site.post(&format!("{path}/revoke"), &[("confirm", "ci")])
        .await
        .location();
    assert_eq!(
        site.latest().await.status(site.ada().now()),
        TokenStatus::Revoked
    );
}

#[tokio::test]
async fn page_titles_name_the_record() {
    let (site, path, _) = site_with_token().await;
    let app = site.latest().await.app.id;
    for (path, title) in [
        (path.as_str(), "ci · Billing"),
        (&format!("/tokens/apps/{app}"), "Billing · Apps"),
        ("/tokens", "Tokens"),
        ("/tokens/apps", "Apps"),
        ("/tokens/new", "Create token"),
        ("/tokens/nothing", "Page not found"),
    ] {
        let title = format!("<title>{title} · API tokens</title>");
        site.get(path).await.has(&title);
    }
}

#[tokio::test]
async fn a_token_shows_who_created_it() {
    let (site, path, _) = site_with_token().await;
    let by = "<dt>Created by</dt><dd><bdi>ada@acme.example</bdi></dd>";
    let id = site.latest().await.id;
    site.get(&path)
        .await
        .has(by)
        .has(&format!("<code>{id}</code>"))
        .has("aria-label=\"Copy token ID\"");
    // The event that created the token is found behind later ones too.
    let bob = site.operations.by(Actor::unrestricted("bob"));
    for n in 0..30 {
        bob.rename(id, &format!("name {n}")).await.unwrap();
    }
    site.get(&path)
        .await
        .has(by)
        .has(&format!("href=\"/tokens/activity?token={id}\""));
    // A successor is created by the one who rotated the old token.
    let rotated = bob.rotate(id, Rotation::new(Default::default())).await;
    let successor = rotated.unwrap().record().id;
    site.get(&format!("/tokens/token/{successor}"))
        .await
        .has("<dt>Created by</dt><dd><bdi>bob</bdi></dd>")
        .has("Created by rotating");
}
