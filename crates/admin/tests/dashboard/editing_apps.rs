//! The form that edits an app, and its deletion.

use async_trait::async_trait;
use http::{StatusCode, request::Parts};
use tower_api_tokens::{AppEdit, AppRecord, AuditQuery, MetadataPatch};
use tower_api_tokens_admin::{Actor, Denied, Guard};

use crate::support::Site;

/// Authenticates every request as Bob, who may grant one scope.
struct Bob;

#[async_trait]
impl Guard for Bob {
    async fn authenticate(&self, _: &mut Parts) -> Result<Actor, Denied> {
        Ok(Actor::granting("bob", "a".parse().unwrap()))
    }
}

async fn saved(site: &Site, app: &AppRecord) -> AppRecord {
    site.ada().get_app(&app.id).await.unwrap()
}

#[tokio::test]
async fn an_app_is_renamed_and_its_metadata_edited() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let path = format!("/tokens/apps/{}/edit", app.id);
    let form = site.get(&path).await;
    let fields = [
        ("version", form.version()),
        ("name", " Invoices "),
        ("metadata", "plan=pro\r\nregion=eu"),
    ];
    let sent = site.post(&path, &fields).await;
    site.get(sent.location())
        .await
        .has("App saved.")
        .has("<h1><bdi>Invoices</bdi></h1>")
        .has("<dt>plan</dt><dd>pro</dd>");
    let wrong = site.get(&path).await;
    let fields = [
        ("version", wrong.version()),
        ("name", " "),
        ("metadata", "x"),
    ];
    let before = site.ada().events(&AuditQuery::default()).await.unwrap();
    site.post(&path, &fields)
        .await
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("App not saved.")
        .has("id=\"name-error\"")
        .has("id=\"metadata-error\"");
    let after = site.ada().events(&AuditQuery::default()).await.unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn an_app_form_that_was_overtaken_shows_what_changed_and_keeps_its_input() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let path = format!("/tokens/apps/{}/edit", app.id);
    let form = site.get(&path).await;
    let edit = AppEdit::default().name("Orders");
    let bob = site.operations.by(Actor::unrestricted("bob"));
    bob.edit_app(&app.id, None, edit).await.unwrap();
    let fields = [("version", form.version()), ("name", "Invoices")];
    let stale = site.post(&path, &fields).await;
    let stale = stale
        .is(StatusCode::CONFLICT)
        .has("App not saved: it was changed after you opened this form.")
        .has("value=\"Invoices\"")
        .has("Saved value: <bdi class=\"mono\">Orders</bdi>")
        .has("<dt>name</dt><dd>Billing → Orders</dd>");
    assert_eq!(saved(&site, &app).await.name, "Orders");
    let fields = [("version", stale.version()), ("name", "Invoices")];
    site.post(&path, &fields).await.location();
    assert_eq!(saved(&site, &app).await.name, "Invoices");
}

#[tokio::test]
async fn a_restricted_operator_renames_an_app_and_keeps_its_metadata() {
    let site = Site::guarded_by(|_| Bob);
    let app = site.scene.create_app("Billing").await;
    let patch = MetadataPatch::default().set("plan", "pro");
    let edit = AppEdit::default().metadata(patch);
    site.ada().edit_app(&app.id, None, edit).await.unwrap();
    let page = format!("/tokens/apps/{}", app.id);
    let path = format!("{page}/edit");
    let form = site.get(&path).await.lacks("name=\"metadata\"");
    let fields = [("version", form.version()), ("name", "Invoices")];
    site.post(&path, &fields).await.location();
    let app = saved(&site, &app).await;
    assert_eq!(
        (app.name.as_str(), app.metadata.get("plan")),
        ("Invoices", Some("pro"))
    );
    let form = site.get(&path).await;
    let fields = [("version", form.version()), ("metadata", "plan=free")];
    site.post(&path, &fields)
        .await
        .is(StatusCode::CONFLICT)
        .has("Only an actor who may grant everything may do this");
    site.get(&page).await.lacks("id=\"delete\"");
    let confirmed = [("confirm", "Invoices")];
    site.post(&format!("{page}/delete"), &confirmed)
        .await
        .is(StatusCode::CONFLICT);
    assert_eq!(saved(&site, &app).await, app);
}

#[tokio::test]
async fn an_app_is_deleted_once_its_tokens_are_revoked() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let first = site.issue(&app.id, "one").await.record().id;
    let second = site.issue(&app.id, "two").await.record().id;
    let page = format!("/tokens/apps/{}", app.id);
    let delete = format!("{page}/delete");
    let wrong = site.post(&delete, &[("confirm", "billing")]).await;
    let wrong = wrong
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("App not deleted.")
        .has_once("That doesn't match the app's name.");
    assert_eq!(wrong.focused().len(), 1);
    assert!(wrong.focused()[0].contains("id=\"delete-confirm\""));
    let confirmed = [("confirm", "Billing")];
    site.post(&delete, &confirmed)
        .await
        .is(StatusCode::CONFLICT)
        .has("App not deleted: it has 2 tokens that are neither expired nor revoked.");
    site.ada().revoke(first).await.unwrap();
    site.post(&delete, &confirmed)
        .await
        .has("App not deleted: it has a token that is neither expired nor revoked.");
    let kept = site.get(&format!("/tokens/apps?deleted={}", app.id)).await;
    kept.lacks("App deleted.");
    site.ada().revoke(second).await.unwrap();
    let sent = site.post(&delete, &confirmed).await;
    site.get(sent.location())
        .await
        .has("App deleted.")
        .lacks("<bdi>Billing</bdi>");
    site.get(&page).await.is(StatusCode::NOT_FOUND);
    assert_eq!(site.all().await, []);
    site.get("/tokens/activity").await.has("Deleted app");
}
