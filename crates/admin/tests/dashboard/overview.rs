//! The overview, and the revocation of all tokens of a filtered list.

use http::StatusCode;
use tower_api_tokens::{NewToken, TokenRecord};

use crate::support::{Answer, Site};

const DAY: u64 = 86_400;

/// Returns the value of a hidden field.
fn hidden<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let field = format!("name=\"{name}\" value=\"");
    let (_, rest) = answer.text.split_once(&field).unwrap();
    rest.split('"').next().unwrap()
}

/// Returns the path of the list behind a card of the overview.
fn list_of<'a>(overview: &'a Answer, title: &str) -> &'a str {
    let (_, card) = overview
        .text
        .split_once(&format!("<h2>{title}</h2>"))
        .unwrap();
    let (_, link) = card.split_once("<a href=\"").unwrap();
    link.split('"').next().unwrap()
}

fn names(tokens: &[TokenRecord]) -> Vec<&str> {
    tokens.iter().map(|token| &*token.name).collect()
}

#[tokio::test]
async fn each_card_of_the_overview_opens_its_list() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let _ = site.issue(&app.id, "idle").await;
    let rotated = site.issue(&app.id, "rotated").await;
    site.pass(95 * DAY);
    let soon = NewToken::named("soon").expires_in(std::time::Duration::from_secs(3 * DAY));
    let _ = site.scene.issue(&app.id, soon).await;
    let overlap = std::time::Duration::from_secs(30 * DAY);
    let _ = site
        .scene
        .tokens
        .rotate(rotated.record().id, overlap)
        .await
        .unwrap();
    let overview = site.get("/tokens/overview").await.is(StatusCode::OK);
    let overview = overview
        .has("aria-current=\"page\">Overview")
        .lacks("Safe to revoke");
    for (title, count, shown, hidden) in [
        ("Never expire", "2 tokens", "idle", "soon"),
        ("Not used for 90 days", "2 tokens", "idle", "soon"),
        ("Expire within 14 days", "1 token", "soon", "idle"),
    ] {
        let link = format!("{count}<span class=\"hidden\">: {title}</span>");
        assert!(overview.text.contains(&link), "{}", overview.text);
        let list = list_of(&overview, title).replace("&#38;", "&");
        site.get(&list)
            .await
            .is(StatusCode::OK)
            .has(&format!("<bdi>{shown}</bdi></a>"))
            .lacks(&format!("<bdi>{hidden}</bdi></a>"));
    }
    overview.has("Rotated, but still used").has(">0 tokens<");
}

#[tokio::test]
async fn all_tokens_of_a_filtered_list_are_revoked_after_one_confirmation() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    for name in ["robot a", "robot b", "human"] {
        let _ = site.issue(&app.id, name).await;
        site.pass(1);
    }
    site.get("/tokens")
        .await
        .lacks("Revoke all matching tokens");
    let list = site.get("/tokens?name=robot").await;
    let path = "/tokens/revoke?name=robot";
    let list = list.has(&format!("href=\"{path}\">Revoke all matching tokens"));
    drop(list);
    let page = site.get(path).await.is(StatusCode::OK);
    let page = page
        .has("<h1>Revoke 2 tokens</h1>")
        .has("Name contains robot");
    let (newest, count) = (hidden(&page, "newest"), hidden(&page, "count"));
    let late = site.issue(&app.id, "robot c").await;

    let mistaken = [("newest", newest), ("count", count), ("confirm", "3")];
    site.post(path, &mistaken)
        .await
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("No token was revoked.")
        .has("That doesn't match the number of tokens.");
    assert!(site.admits(late.token().expose()).await);

    let confirmed = [("newest", newest), ("count", count), ("confirm", "2")];
    let answer = site.post(path, &confirmed).await;
    assert_eq!(
        answer.location(),
        "/tokens/?name=robot&status=revoked&done=revoked"
    );
    let live: Vec<_> = site.all().await;
    let live: Vec<_> = live
        .into_iter()
        .filter(|token| token.revoked_at.is_none())
        .collect();
    assert_eq!(names(&live), ["robot c", "human"]);
    site.get("/tokens?name=robot&status=revoked&done=revoked")
        .await
        .has("Tokens revoked.")
        .has("<bdi>robot a</bdi></a>")
        .lacks("Revoke all matching tokens");
    site.get("/tokens/activity").await.has("Revoked");
}

#[tokio::test]
async fn a_revocation_without_filters_or_matches_changes_nothing() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let id = issued.record().id.to_string();
    let one = [("newest", id.as_str()), ("count", "1"), ("confirm", "1")];
    for filter in [
        "",
        "?status=asleep",
        "?status=%20",
        "?name=%20",
        "?find=billing",
        "?never_expires=false",
        "?never_used=false&sort=oldest",
    ] {
        let path = format!("/tokens/revoke{filter}");
        site.get(&path).await.is(StatusCode::BAD_REQUEST);
        site.post(&path, &one).await.is(StatusCode::BAD_REQUEST);
    }
    site.get("/tokens/revoke?name=nothing")
        .await
        .is(StatusCode::NOT_FOUND)
        .has("Nothing to revoke");
    for fields in [
        &[("newest", "x"), ("count", "1"), ("confirm", "1")][..],
        &[("count", "1")],
    ] {
        site.post("/tokens/revoke?name=ci", fields)
            .await
            .is(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let none = [("newest", id.as_str()), ("count", "0"), ("confirm", "0")];
    site.post("/tokens/revoke?name=ci", &none)
        .await
        .is(StatusCode::CONFLICT);
    assert!(site.admits(issued.token().expose()).await);
}
