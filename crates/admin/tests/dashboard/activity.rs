//! The list of audit events, and who they name.

use http::StatusCode;
use tower_api_tokens::{AuditAction, AuditOutcome, AuditQuery, NewToken};
use tower_api_tokens_admin::Actor;

use crate::support::Site;

#[tokio::test]
async fn the_latest_events_are_first() {
    let site = Site::new();
    let app = site.ada().create_app("Billing").await.unwrap();
    site.pass(1);
    let new = NewToken::named("nightly export");
    let issued = site.ada().issue(&app.id, new).await.unwrap();
    let token = issued.record().id;
    site.pass(1);
    site.ada().disable_app(&app.id).await.unwrap();
    site.pass(1);
    let rotation = tower_api_tokens::Rotation::new(Default::default());
    site.ada().rotate(token, rotation).await.unwrap_err();
    let page = site.get("/tokens/activity").await.is(StatusCode::OK);
    let app_link = format!("<a href=\"/tokens/apps/{}\"><bdi>Billing</bdi></a>", app.id);
    let token_link = format!("<a href=\"/tokens/token/{token}\"><bdi>nightly export</bdi></a>");
    let mut rest = page.text.as_str();
    for event in [
        format!("Couldn't rotate token {token_link} of {app_link}: the app is disabled"),
        format!("Disabled app {app_link}"),
        format!("Created token {token_link} of {app_link}"),
        format!("Created app {app_link}"),
    ] {
        let event = event.replace('\'', "&#39;");
        let (_, after) = rest.split_once(&event).expect(&event);
        let by = "<span class=\"by\">by <bdi>ada@acme.example</bdi></span>";
        assert!(after.trim_start().starts_with(by), "{event}");
        rest = after;
    }
    let event = site.ada().events(&AuditQuery::default()).await.unwrap();
    page.has(&format!("<code>{}</code>", event.items[0].id))
        .has("aria-label=\"Copy event ID\"")
        .has("4 events");
}

#[tokio::test]
async fn an_actor_with_a_token_is_shown_by_the_names_of_its_token_and_app() {
    let site = Site::new();
    let staff = site.scene.create_app("Staff").await;
    let key = site.issue(&staff.id, "ada").await.record().id;
    let actor = Actor::unrestricted(&format!("token:{key}"));
    let by_token = site.operations.by(actor);
    let app = by_token.create_app("Billing").await.unwrap();
    let issued = by_token
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let token = issued.record().id;
    let shown = format!("<a href=\"/tokens/token/{key}\"><bdi>ada</bdi></a> (<bdi>Staff</bdi>)");
    for path in [
        "/tokens/activity".to_owned(),
        format!("/tokens/apps/{}", app.id),
        format!("/tokens/token/{token}"),
    ] {
        site.get(&path)
            .await
            .has(&format!("by {shown}"))
            // The name in the audit log can be copied.
            .has(&format!("<code>token:{key}</code>"));
    }
    site.get(&format!("/tokens/token/{token}"))
        .await
        .has(&format!("<dt>Created by</dt><dd>{shown}</dd>"));
    // A name that imitates a person's is shown with its app all the same.
    site.scene
        .tokens
        .rename(key, "ada@acme.example")
        .await
        .unwrap();
    site.get("/tokens/activity")
        .await
        .has("<bdi>ada@acme.example</bdi></a> (<bdi>Staff</bdi>)")
        .lacks("by <bdi>ada@acme.example</bdi>");
}

#[tokio::test]
async fn an_actor_whose_token_is_gone_is_shown_by_its_identifier() {
    let site = Site::new();
    let gone = "token:01a09f3d-a748-79b0-b382-ad57b0490c59";
    let actor = site.operations.by(Actor::unrestricted(gone));
    actor.create_app("Billing").await.unwrap();
    site.get("/tokens/activity")
        .await
        .has(&format!("by <bdi>{gone}</bdi>"));
}

#[tokio::test]
async fn each_record_is_looked_up_once() {
    let site = Site::new();
    let staff = site.scene.create_app("Staff").await;
    let key = site.issue(&staff.id, "ada").await.record().id;
    let actor = Actor::unrestricted(&format!("token:{key}"));
    let by_token = site.operations.by(actor);
    let app = by_token.create_app("Billing").await.unwrap();
    let issued = by_token.issue(&app.id, NewToken::named("ci")).await;
    let id = issued.unwrap().record().id;
    for n in 0..40 {
        by_token.rename(id, &format!("name {n}")).await.unwrap();
    }
    let before = site.scene.store.calls();
    let page = site.get("/tokens/activity").await;
    // As the actor of 42 events, and as the token of the event that issued it.
    assert_eq!(page.text.matches("by <a href=").count(), 42);
    assert_eq!(page.text.matches("<bdi>ada</bdi>").count(), 43);
    // The apps to choose from, the events and two tokens.
    assert_eq!(site.scene.store.calls() - before, 4);
}

#[tokio::test]
async fn events_are_filtered_by_app_token_and_action() {
    let site = Site::new();
    let ours = site.ada().create_app("ours").await.unwrap();
    let theirs = site.ada().create_app("theirs").await.unwrap();
    let alpha = site.ada().issue(&ours.id, NewToken::named("alpha")).await;
    let beta = site.ada().issue(&theirs.id, NewToken::named("beta")).await;
    let alpha = alpha.unwrap().record().id;
    site.ada().revoke(alpha).await.unwrap();
    drop(beta.unwrap());
    for (query, events) in [
        (String::new(), 5),
        (format!("?app={}", ours.id), 3),
        (format!("?token={alpha}"), 2),
        ("?action=app.create".to_owned(), 2),
        ("?action=token.revoke".to_owned(), 1),
        (format!("?app={}&action=token.issue", theirs.id), 1),
        ("?action=token.rotate".to_owned(), 0),
        // Events outlive the app.
        ("?app=nosuch".to_owned(), 0),
    ] {
        let page = site.get(&format!("/tokens/activity{query}")).await;
        let page = page.is(StatusCode::OK);
        assert_eq!(page.text.matches("<summary>").count(), events, "{query}");
    }
    site.get("/tokens/activity?action=token.revoke")
        .await
        .has("<option value=\"token.revoke\" selected>Revoked token</option>");
    for query in [
        "app=two+words",
        "token=x",
        "action=x",
        "after=x",
        "app=a&app=b",
    ] {
        site.get(&format!("/tokens/activity?{query}"))
            .await
            .is(StatusCode::BAD_REQUEST)
            .has("The filter in the address is invalid.");
    }
}

#[tokio::test]
async fn a_search_for_an_action_is_bounded_and_can_be_continued() {
    let site = Site::new();
    let app = site.ada().create_app("Billing").await.unwrap();
    site.pass(1);
    for _ in 0..2_100 {
        let (action, outcome) = (AuditAction::PurgeTokens, AuditOutcome::Done);
        site.ada().note(action, outcome).await.unwrap();
    }
    let page = site.get("/tokens/activity?action=app.create").await;
    let page = page
        .has("Searched 2,000 events, back to 14 September 2026, 09:26:54 UTC.")
        .has("No events found");
    let (_, rest) = page.text.split_once("rel=\"next\" href=\"").unwrap();
    let (older, label) = rest.split_once("\">").unwrap();
    assert!(label.starts_with("Search older events"), "{label}");
    site.get(&older.replace("&#38;", "&"))
        .await
        .has(&format!("<bdi>{}</bdi>", app.name))
        .has("Previous page")
        .lacks("Searched");
}

#[tokio::test]
async fn an_event_shows_what_an_edit_changed() {
    let site = Site::new();
    let app = site.ada().create_app("Billing").await.unwrap();
    let mut event = site
        .ada()
        .events(&AuditQuery::default())
        .await
        .unwrap()
        .items
        .remove(0);
    event.id = tower_api_tokens::AuditEventId::from_bytes([7; 16]);
    event.action = AuditAction::EditApp;
    let (old, new) = ("Bill\u{200b}ing".to_owned(), "<b>".to_owned());
    event.changes = vec![tower_api_tokens::AuditChange::new(
        "name",
        Some(old),
        Some(new),
    )];
    let registry = site.scene.tokens.registry();
    registry.audit_log().unwrap().append(&event).await.unwrap();
    site.get(&format!("/tokens/activity?app={}", app.id))
        .await
        .has("Edited app")
        .has("<dt>name</dt><dd>Bill[U+200B]ing → &#60;b&#62;</dd>");
}
