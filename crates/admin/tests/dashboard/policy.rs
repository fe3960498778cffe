//! The page of the policy.

use std::time::Duration;

use async_trait::async_trait;
use http::{StatusCode, request::Parts};
use tower_api_tokens::{AppId, AuditQuery, Policy, testing::Fixture};
use tower_api_tokens_admin::{Actor, Denied, Guard};

use crate::support::{Ada, Site};

const PATH: &str = "/tokens/policy";
const DAY: Duration = Duration::from_secs(86_400);

/// Authenticates every request as Bob, who may grant one scope.
struct Bob;

#[async_trait]
impl Guard for Bob {
    async fn authenticate(&self, _: &mut Parts) -> Result<Actor, Denied> {
        Ok(Actor::granting("bob", "a".parse().unwrap()))
    }
}

#[tokio::test]
async fn the_policy_is_set_by_its_form() {
    let site = Site::new();
    let form = site.get(PATH).await.has("No limit").has("Optional");
    let fields = [
        ("version", form.version()),
        ("max_lifetime", "90"),
        ("default_lifetime", "12 hours"),
        ("max_live_tokens", "20"),
        ("unique_names", "on"),
        ("limits_scopes", "on"),
        ("scopes", "b a"),
        ("scopes_of", "billing=c\r\n\r\norders ="),
    ];
    let sent = site.post(PATH, &fields).await;
    let billing = AppId::new("billing").unwrap();
    let orders = AppId::new("orders").unwrap();
    let expected = Policy::default()
        .max_lifetime(90 * DAY)
        .default_lifetime(DAY / 2)
        .max_live_tokens(20)
        .unique_names()
        .scopes("a b".parse().unwrap())
        .with_scopes_of(billing, "c".parse().unwrap())
        .with_scopes_of(orders, Default::default());
    assert_eq!(site.ada().policy().await.unwrap(), expected);
    let saved = site.get(sent.location()).await;
    let saved = saved
        .has("Policy saved.")
        .has("<dd>90 days</dd>")
        .has("<dd>12 hours</dd>")
        .has("<dd>Required</dd>")
        .has("Scopes of app billing")
        .has("value=\"90 days\"")
        .has("name=\"unique_names\" value=\"on\" checked")
        .lacks("adds rules of its own");
    // Rules that were emptied or unchecked are removed.
    let fields = [("version", saved.version()), ("expiry_required", "on")];
    site.post(PATH, &fields).await.location();
    let policy = site.ada().policy().await.unwrap();
    assert_eq!(policy, Policy::default().expiry_required());
}

#[tokio::test]
async fn errors_are_shown_at_their_fields_and_leave_no_events() {
    let site = Site::new();
    let before = site.ada().events(&AuditQuery::default()).await.unwrap();
    for (field, typed, message) in [
        ("max_lifetime", "soon", "Enter a number of days, such as 90"),
        (
            "default_lifetime",
            "0",
            "Enter a lifetime that is longer than zero.",
        ),
        ("max_live_tokens", "-1", "Enter a whole number, such as 20."),
        (
            "scopes",
            "a",
            "Check “Allow only these scopes”, or remove the scopes.",
        ),
        ("scopes_of", "plain", "This one isn't: plain"),
        ("scopes_of", "a=x\na=y", "This one is repeated: a"),
        ("scopes_of", "a=\"", "Invalid scope"),
    ] {
        let form = site.get(PATH).await;
        let fields = [
            ("version", form.version()),
            (field, typed),
            ("unique_names", "on"),
        ];
        let page = site.post(PATH, &fields).await;
        let page = page
            .is(StatusCode::UNPROCESSABLE_ENTITY)
            .has("Policy not saved.")
            .has(&format!("id=\"{field}-error\""))
            .has(message)
            .has("name=\"unique_names\" value=\"on\" checked");
        assert_eq!(page.focused().len(), 1, "{field}");
        assert!(page.focused()[0].contains(&format!("id=\"{field}\"")));
    }
    assert!(site.ada().policy().await.unwrap().is_empty());
    let after = site.ada().events(&AuditQuery::default()).await.unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_policy_form_that_was_overtaken_shows_what_changed_and_keeps_its_input() {
    let site = Site::new();
    let form = site.get(PATH).await;
    let theirs = Policy::default().max_live_tokens(5).unique_names();
    site.ada().set_policy(None, theirs.clone()).await.unwrap();
    let fields = [("version", form.version()), ("max_live_tokens", "20")];
    let stale = site.post(PATH, &fields).await;
    let stale = stale
        .is(StatusCode::CONFLICT)
        .has("Policy not saved: it was changed after you opened this form.")
        .has("value=\"20\"")
        .has("Saved value: <bdi class=\"mono\">5</bdi>")
        .has("Saved value: Names must be unique in each app");
    assert_eq!(site.ada().policy().await.unwrap(), theirs);
    let fields = [("version", stale.version()), ("max_live_tokens", "20")];
    site.post(PATH, &fields).await.location();
    let policy = site.ada().policy().await.unwrap();
    assert_eq!(policy, Policy::default().max_live_tokens(20));
}

#[tokio::test]
async fn a_restricted_operator_reads_the_policy() {
    let site = Site::guarded_by(|_| Bob);
    let policy = Policy::default().max_lifetime(DAY);
    site.ada().set_policy(None, policy.clone()).await.unwrap();
    site.get(PATH)
        .await
        .has("<dd>1 day</dd>")
        .has("Only owners can change the policy.")
        .lacks("<form class=\"card\"");
    let fields = [("version", policy.version().to_string())];
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    site.post(PATH, &fields)
        .await
        .is(StatusCode::CONFLICT)
        .has("Nothing was changed");
    assert_eq!(site.ada().policy().await.unwrap(), policy);
}

#[tokio::test]
async fn the_stricter_rules_of_the_service_are_shown() {
    let scene = Fixture::builder()
        .prefix("acme_live")
        .configure(|tokens| tokens.policy(Policy::default().max_lifetime(7 * DAY)));
    let site = Site::of(scene.empty(), |_| Ada);
    site.get(PATH)
        .await
        .has("<dd>7 days</dd>")
        .has("This service adds stricter rules to the saved policy.")
        .lacks("value=\"7 days\"");
}
