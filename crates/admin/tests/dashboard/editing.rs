//! The form that edits a token.

use http::StatusCode;
use tower_api_tokens::{AuditQuery, MetadataPatch, NewToken, TokenEdit, TokenId};
use tower_api_tokens_admin::{Actor, Guard};

use crate::support::{Ada, Answer, Site};

/// A token to edit.
struct Edited {
    site: Site,
    id: TokenId,
    path: String,
}

impl Edited {
    async fn new() -> Self {
        Self::guarded_by(Ada).await
    }

    async fn guarded_by(guard: impl Guard) -> Self {
        let site = Site::guarded_by(|_| guard);
        let app = site.scene.create_app("Billing").await;
        let new = NewToken::named("ci").scopes("a b".parse().unwrap());
        let issued = site.ada().issue(&app.id, new).await.unwrap();
        let id = issued.record().id;
        let path = format!("/tokens/token/{id}/edit");
        Self { site, id, path }
    }

    /// Submits the form as it is shown, with some fields changed.
    async fn save(&self, changed: &[(&str, &str)]) -> Answer {
        let page = self.site.get(&self.path).await.is(StatusCode::OK);
        self.save_version(page.version(), changed).await
    }

    async fn save_version(&self, version: &str, changed: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("version", version),
            ("name", "ci"),
            ("scopes", "a b"),
            ("networks", ""),
            ("metadata", ""),
            ("expires", "keep"),
            ("date", ""),
        ];
        for (name, value) in changed {
            fields.retain(|(present, _)| present != name);
            fields.push((name, value));
        }
        self.site.post(&self.path, &fields).await
    }

    async fn events(&self) -> usize {
        let query = AuditQuery::default().token(self.id);
        self.site.ada().events(&query).await.unwrap().items.len()
    }
}

#[tokio::test]
async fn every_field_of_a_token_is_edited() {
    let edited = Edited::new().await;
    let sent = edited
        .save(&[
            ("name", " deploy "),
            ("scopes", "c a"),
            ("networks", "192.0.2.7"),
            ("metadata", "team=billing"),
            ("expires", "date"),
            ("date", "2026-12-31"),
        ])
        .await;
    let page = edited.site.get(sent.location()).await;
    page.has("Token saved.")
        .has("<h1><bdi>deploy</bdi></h1>")
        .has("192.0.2.7/32")
        .has("<dt>team</dt><dd>billing</dd>");
    let token = edited.site.latest().await;
    assert_eq!(token.scopes.as_str(), "a c");
    assert_eq!(
        token.expires_at.unwrap().to_string(),
        "2027-01-01T00:00:00Z"
    );
    let again = edited
        .save(&[("name", "deploy"), ("expires", "never")])
        .await;
    again.location();
    let token = edited.site.latest().await;
    // The fields that were emptied are empty now.
    assert_eq!((token.expires_at, token.networks()), (None, None));
    assert!(token.metadata.is_empty());
}

#[tokio::test]
async fn a_form_without_changes_changes_nothing() {
    let edited = Edited::new().await;
    let before = edited.events().await;
    assert!(
        edited
            .save(&[])
            .await
            .location()
            .ends_with(&edited.id.to_string())
    );
    // A missing field is not an empty one.
    let page = edited.site.get(&edited.path).await;
    let sent = edited
        .site
        .post(&edited.path, &[("version", page.version())])
        .await;
    sent.location();
    assert_eq!(edited.events().await, before);
    assert_eq!(edited.site.latest().await.scopes.as_str(), "a b");
}

#[tokio::test]
async fn errors_are_shown_at_their_fields_and_leave_no_events() {
    let edited = Edited::new().await;
    let before = edited.events().await;
    for (field, typed, message) in [
        ("name", "", "Enter a name of 1–100 characters."),
        ("scopes", "say\"so\"", "Invalid scope: say"),
        (
            "networks",
            "10.0.0.1/8",
            "10.0.0.1/8: The network has host bits set",
        ),
        ("metadata", "plain", "no equals sign: plain"),
        ("expires", "soon", "Choose one of the options."),
    ] {
        let kept = match field {
            "name" => ("metadata", "kept=value"),
            _ => ("name", "kept name"),
        };
        let page = edited.save(&[(field, typed), kept]).await;
        let page = page
            .is(StatusCode::UNPROCESSABLE_ENTITY)
            .has("Token not saved.")
            .has(&format!("id=\"{field}-error\""))
            .has(message)
            .has(kept.1);
        assert_eq!(page.focused().len(), 1, "{field}");
        if field != "expires" {
            assert!(page.focused()[0].contains(&format!("id=\"{field}\"")));
        }
    }
    assert_eq!(edited.events().await, before);
    for version in ["", "x"] {
        let page = edited.save_version(version, &[]).await;
        page.is(StatusCode::BAD_REQUEST)
            .has("Couldn't read the form");
    }
}

#[tokio::test]
async fn a_form_that_was_overtaken_shows_what_changed_and_keeps_its_input() {
    let edited = Edited::new().await;
    let form = edited.site.get(&edited.path).await;
    let bob = edited.site.operations.by(Actor::unrestricted("bob"));
    let patch = MetadataPatch::default().set("team", "orders");
    let edit = TokenEdit::default().name("release").metadata(patch);
    bob.edit(edited.id, None, edit).await.unwrap();
    let before = edited.events().await;
    let stale = edited
        .save_version(form.version(), &[("scopes", "c")])
        .await;
    let stale = stale
        .is(StatusCode::CONFLICT)
        .has("Token not saved: it was changed after you opened this form.")
        .has("Saved value: <bdi class=\"mono\">release</bdi>")
        .has("Saved value: <bdi class=\"mono\">team=orders</bdi>")
        .has("Saved value: <bdi class=\"mono\">a b</bdi>")
        .has("id=\"name\" name=\"name\" value=\"ci\"")
        .has("name=\"scopes\" value=\"c\"")
        .has("Edited <span class=\"by\">by <bdi>bob</bdi></span>")
        .has("<dt>name</dt><dd>ci → release</dd>");
    assert_eq!(stale.text.matches("Saved value").count(), 3);
    assert_eq!(edited.events().await, before);
    assert_eq!(edited.site.latest().await.name, "release");
    // Submitted again, it is saved.
    let again = [
        ("scopes", "c"),
        ("name", "release"),
        ("metadata", "team=orders"),
    ];
    edited
        .save_version(stale.version(), &again)
        .await
        .location();
    let token = edited.site.latest().await;
    assert_eq!(
        (token.name.as_str(), token.scopes.as_str()),
        ("release", "c")
    );
}

#[tokio::test]
async fn only_the_name_and_the_metadata_of_a_revoked_token_are_edited() {
    let edited = Edited::new().await;
    edited.site.ada().revoke(edited.id).await.unwrap();
    let page = edited.site.get(&edited.path).await;
    let page = page
        .has("Only the name and the metadata of an expired or revoked token")
        .lacks("name=\"scopes\"")
        .lacks("name=\"networks\"")
        .lacks("name=\"expires\"");
    let fields = [
        ("version", page.version()),
        ("name", "old"),
        ("metadata", "a=1"),
    ];
    edited.site.post(&edited.path, &fields).await.location();
    let token = edited.site.latest().await;
    assert_eq!(
        (token.name.as_str(), token.metadata.get("a")),
        ("old", Some("1"))
    );
}

/// Authenticates every request as Bob, who may grant one scope.
struct Bob;

#[async_trait::async_trait]
impl Guard for Bob {
    async fn authenticate(
        &self,
        _: &mut http::request::Parts,
    ) -> Result<Actor, tower_api_tokens_admin::Denied> {
        Ok(Actor::granting("bob", "a".parse().unwrap()))
    }
}

#[tokio::test]
async fn a_scope_that_the_operator_lacks_is_not_granted_by_an_edit() {
    let edited = Edited::guarded_by(Bob).await;
    let page = edited.save(&[("scopes", "a b c")]).await;
    page.is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("id=\"scopes-error\"")
        .has("You can't grant “c”, because you don't have it.");
    edited.save(&[("scopes", "a")]).await.location();
    assert_eq!(edited.site.latest().await.scopes.as_str(), "a");
}

#[tokio::test]
async fn metadata_that_no_line_can_contain_stays() {
    let edited = Edited::new().await;
    let patch = MetadataPatch::default()
        .set("note", "two\nlines")
        .set("plan", "pro");
    let edit = TokenEdit::default().metadata(patch);
    edited.site.ada().edit(edited.id, None, edit).await.unwrap();
    let page = edited.site.get(&edited.path).await;
    page.has("won't change: “note”.")
        .has("\nplan=pro</textarea>");
    edited.save(&[("metadata", "")]).await.location();
    let token = edited.site.latest().await;
    let metadata: Vec<_> = token.metadata.iter().collect();
    assert_eq!(metadata, [("note", "two\nlines")]);
}
