//! No operation grants more than the actor may grant.

use std::time::Duration;

use jiff::Timestamp;
use tower_api_tokens::{
    ApiTokens, AppId, AppTokens, Authority, Grantable, LifecycleErrorKind, Networks, NewToken,
    ScopeSet, TokenEdit, TokenId, TokenQuery, TokenRecord, TokenStatus,
    testing::{Fixture, ManualClock},
};
use tower_api_tokens_admin::{Actor, Operations, Operator};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const HOUR: Duration = Duration::from_secs(3600);

fn scopes(text: &str) -> ScopeSet {
    text.parse().unwrap()
}

fn later(by: Duration) -> Timestamp {
    NOW.checked_add(by).unwrap()
}

/// A platform with tokens of every kind, live and disabled.
struct Platform {
    tokens: ApiTokens,
    app: AppId,
    disabled: AppId,
    ids: Vec<TokenId>,
}

impl Platform {
    async fn new() -> Self {
        let tokens = Fixture::builder()
            .clock(ManualClock::new(NOW))
            .configure(|tokens| tokens.any_format())
            .empty()
            .tokens;
        let app = tokens.create_app("Customer").await.unwrap().id;
        let disabled = tokens.create_app("Disabled").await.unwrap().id;
        let mut ids = Vec::new();
        for app in [app, disabled] {
            for held in ["", "read", "read write", "tokens:admin", "tokens:read read"] {
                for new in [
                    NewToken::named("never"),
                    NewToken::named("soon").expires_in(HOUR / 2),
                    NewToken::named("late").expires_in(HOUR * 24),
                ] {
                    let issued = tokens.issue(&app, new.scopes(scopes(held))).await.unwrap();
                    ids.push(issued.record().id);
                }
            }
        }
        tokens.disable_app(&disabled).await.unwrap();
        Self {
            tokens,
            app,
            disabled,
            ids,
        }
    }

    async fn live(&self) -> Vec<TokenRecord> {
        let query = TokenQuery::default().status(TokenStatus::Live).limit(1000);
        self.tokens.list(&query).await.unwrap().items
    }

    /// Returns the tokens that became live since `before`.
    async fn became_live(&self, before: &[TokenRecord]) -> Vec<TokenRecord> {
        let mut live = self.live().await;
        live.retain(|token| !before.iter().any(|other| other.id == token.id));
        live
    }
}

fn wishes() -> Vec<NewToken> {
    let mut wishes = Vec::new();
    for wanted in [
        "",
        "read",
        "write",
        "tokens:admin",
        "tokens:anything",
        "read tokens:owner",
    ] {
        for new in [
            NewToken::named("never"),
            NewToken::named("at").expires_at(later(HOUR)),
            NewToken::named("soon").expires_in(HOUR / 2),
            NewToken::named("after").expires_in(HOUR + Duration::from_secs(1)),
        ] {
            wishes.push(new.scopes(scopes(wanted)));
        }
    }
    wishes
}

fn assert_within(token: &TokenRecord, grantable: &Grantable) {
    let checked = grantable.check(&token.scopes, token.expires_at);
    assert_eq!(checked, Ok(()), "{token:?} was granted by {grantable:?}");
}

async fn do_everything(operator: &Operator, platform: &Platform) -> (usize, usize) {
    let (mut done, mut refused) = (0, 0);
    let mut count = |succeeded: bool| match succeeded {
        true => done += 1,
        false => refused += 1,
    };
    for wish in wishes() {
        count(operator.issue(&platform.app, wish).await.is_ok());
    }
    for id in &platform.ids {
        // Many tokens cannot be rotated by anyone.
        let _ = operator.rotate(*id, Duration::ZERO).await;
        count(operator.rename(*id, "renamed").await.is_ok());
    }
    count(operator.enable_app(&platform.disabled).await.is_ok());
    (done, refused)
}

fn actors() -> [Grantable; 7] {
    [
        Grantable::everything(),
        Grantable::scopes(scopes("tokens:admin read")),
        Grantable::scopes(scopes("tokens:admin read write tokens:read")),
        Grantable::scopes(ScopeSet::default()),
        Grantable::everything().expires_by(later(HOUR)),
        Grantable::scopes(scopes("tokens:admin read")).expires_by(later(HOUR)),
        Grantable::everything().expires_by(NOW),
    ]
}

#[tokio::test]
async fn no_operation_exceeds_what_the_actor_may_grant() {
    for grantable in actors() {
        let platform = Platform::new().await;
        let before = platform.live().await;
        let operations = Operations::new(&platform.tokens);
        let operator = operations.by(Actor::new("actor", grantable.clone()));
        let (done, refused) = do_everything(&operator, &platform).await;
        for token in platform.became_live(&before).await {
            assert_within(&token, &grantable);
        }
        assert!(done > 0, "renaming grants nothing");
        assert_eq!(refused == 0, grantable.is_everything(), "{grantable:?}");
    }
}

#[tokio::test]
async fn no_edit_adds_what_the_actor_may_not_grant() {
    let networks = |text: &str| Some(text.parse::<Networks>().unwrap());
    let edits = [
        TokenEdit::default().networks(networks("10.1.0.0/16")),
        TokenEdit::default().networks(networks("10.0.0.0/8")),
        TokenEdit::default().networks(None),
        TokenEdit::default().scopes(scopes("read write")),
        TokenEdit::default().scopes(scopes("tokens:admin")),
        TokenEdit::default().scopes(scopes("tokens:other")),
        TokenEdit::default().expires_at(later(HOUR)),
        TokenEdit::default().expires_at(later(HOUR * 2)),
        TokenEdit::default().expires_at(None),
    ];
    for grantable in actors() {
        let platform = Platform::new().await;
        let operations = Operations::new(&platform.tokens);
        let operator = operations.by(Actor::new("actor", grantable.clone()));
        let (mut done, mut refused) = (0, 0);
        for id in &platform.ids {
            for edit in &edits {
                let before = operator.get(*id).await.unwrap();
                match operator.edit(*id, before.version(), edit.clone()).await {
                    Ok(after) => {
                        done += 1;
                        assert_adds_only(&before, &after, &grantable);
                    }
                    Err(error) => {
                        refused += 1;
                        let reason = error.reason();
                        assert!(reason.ends_with("_not_held"), "{error}");
                        assert_eq!(operator.get(*id).await.unwrap(), before);
                    }
                }
            }
            operator.suspend(*id).await.unwrap();
            match operator.resume(*id).await {
                Ok(token) => assert_within(&token, &grantable),
                Err(_) => assert!(operator.get(*id).await.unwrap().suspended_at().is_some()),
            }
        }
        assert!(done > 0, "{grantable:?}");
        assert_eq!(refused == 0, grantable.is_everything(), "{grantable:?}");
    }
}

fn assert_adds_only(before: &TokenRecord, after: &TokenRecord, grantable: &Grantable) {
    let held: Vec<_> = before.scopes.iter().collect();
    let lacking = grantable.lacking(&after.scopes);
    assert!(
        lacking.iter().all(|scope| held.contains(&scope)),
        "{after:?}"
    );
    let lives_longer = match (before.expires_at, after.expires_at) {
        (Some(before), Some(after)) => after > before,
        (before, after) => before.is_some() && after.is_none(),
    };
    let is_usable_elsewhere = match (before.networks(), after.networks()) {
        (Some(before), Some(after)) => !after.is_subset_of(before),
        (before, after) => before.is_some() && after.is_none(),
    };
    if lives_longer || is_usable_elsewhere {
        assert_within(after, grantable);
    }
}

async fn do_everything_within_an_app(handle: &AppTokens, platform: &Platform) {
    for wish in wishes() {
        let _ = handle.issue(wish).await;
    }
    for id in &platform.ids {
        let _ = handle.rotate(*id, Duration::ZERO).await;
        let _ = handle.rename(*id, "renamed").await;
    }
}

#[tokio::test]
async fn an_app_handle_neither_exceeds_its_grants_nor_reaches_another_app() {
    let limits = [
        Grantable::everything(),
        Grantable::scopes(scopes("read")),
        Grantable::scopes(scopes("read tokens:admin tokens:owner")),
        Grantable::everything().expires_by(later(HOUR)),
    ];
    let parents = [
        Authority::operator(),
        Authority::of("support").grantable(Grantable::scopes(scopes("read"))),
    ];
    for (grantable, parent) in limits
        .iter()
        .flat_map(|l| parents.iter().map(move |p| (l, p)))
    {
        let platform = Platform::new().await;
        let before = platform.live().await;
        let handle = platform.tokens.acting_as(parent.clone());
        let handle = handle.app(platform.app, grantable);
        do_everything_within_an_app(&handle, &platform).await;
        let became = platform.became_live(&before).await;
        assert!(!became.is_empty(), "{grantable:?}");
        for token in became {
            assert_within(&token, grantable);
            assert_eq!(token.app.id, platform.app);
            let reserved = |scope: &str| scope.starts_with("tokens:");
            assert!(!token.scopes.iter().any(reserved), "{token:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_grant_names_the_missing_scopes() {
    let platform = Platform::new().await;
    let grantable = Grantable::scopes(scopes("read"));
    let handle = platform.tokens.app(platform.app, &grantable);
    let new = NewToken::named("ci").scopes(scopes("read tokens:admin write"));
    let error = handle.issue(new).await.unwrap_err();
    assert_eq!(error.kind(), LifecycleErrorKind::NotGranted);
    assert!(error.to_string().contains("tokens:admin"), "{error}");

    let operations = Operations::new(&platform.tokens);
    let expiring = Actor::new("actor", Grantable::everything().expires_by(later(HOUR)));
    let error = operations
        .by(expiring)
        .issue(&platform.app, NewToken::named("ci"))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "expiry_not_held");
    assert!(error.to_string().contains("choose an expiry"), "{error}");

    let read = Actor::granting("actor", scopes("read"));
    let error = operations.by(read).enable_app(&platform.disabled).await;
    assert_eq!(error.unwrap_err().reason(), "scope_not_held");
    let app = platform.tokens.get_app(&platform.disabled).await.unwrap();
    assert!(app.disabled_at.is_some());
}

#[tokio::test]
async fn every_actor_may_remove_access() {
    let platform = Platform::new().await;
    let operations = Operations::new(&platform.tokens);
    let operator = operations.by(Actor::granting("actor", ScopeSet::default()));
    for id in &platform.ids {
        operator.revoke(*id).await.unwrap();
    }
    operator.disable_app(&platform.app).await.unwrap();
    assert_eq!(platform.live().await, []);
}
