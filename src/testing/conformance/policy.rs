use std::time::Duration;

use super::{
    Registry,
    fixtures::{app, app_record, at, set_policy, token_record},
};
use crate::{
    Mutation, Op, Policy, PolicyError, Replacement, StoreError, StoreErrorKind, TokenEdit,
    TokenRecord, TokenRegistryExt, TokenTarget,
};

async fn insert(store: &Registry, token: &TokenRecord) -> Result<(), StoreError> {
    let op = Op::InsertTokens(vec![token.clone()]);
    store.apply(&Mutation::new(op, at(10))).await.map(drop)
}

#[track_caller]
fn broken_rule(result: Result<(), StoreError>) -> PolicyError {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::PolicyViolation);
    error.policy().unwrap().clone()
}

/// The policy is read as it was set, and set only over the version that is expected.
pub async fn a_policy_is_set_over_the_version_that_was_read(store: Registry) {
    assert_eq!(store.policy().await.unwrap(), Policy::default());
    let policy = Policy::default()
        .max_lifetime(Duration::from_secs(86_400))
        .default_lifetime(Duration::from_secs(3_600))
        .max_live_tokens(3)
        .expiry_required()
        .unique_names()
        .scopes("read write".parse().unwrap())
        .with_scopes_of(app_record(1).id, "admin".parse().unwrap());
    let over = |version, policy: &Policy| {
        let policy = policy.clone();
        let op = Op::SetPolicy {
            version: Some(version),
            policy,
        };
        Mutation::new(op, at(0))
    };
    let empty = Policy::default();
    store.apply(&over(empty.version(), &policy)).await.unwrap();
    assert_eq!(store.policy().await.unwrap(), policy);
    let stale = store.apply(&over(empty.version(), &empty)).await;
    assert_eq!(stale.unwrap_err().kind(), StoreErrorKind::Stale);
    assert_eq!(store.policy().await.unwrap(), policy);
    store.apply(&over(policy.version(), &empty)).await.unwrap();
    assert_eq!(store.policy().await.unwrap(), empty);
}

/// Every way to issue or edit a token enforces the policy.
pub async fn tokens_keep_the_policy(store: Registry) {
    let app = app(&store, 1).await;
    let mut old = token_record(&app, 1);
    (old.expires_at, old.scopes) = (None, "read".parse().unwrap());
    insert(&store, &old).await.unwrap();
    let day = Duration::from_secs(86_400);
    let scopes = "read".parse().unwrap();
    set_policy(&store, Policy::default().max_lifetime(day).scopes(scopes)).await;

    let mut token = token_record(&app, 2);
    (token.expires_at, token.scopes) = (None, "read".parse().unwrap());
    let error = broken_rule(insert(&store, &token).await);
    assert_eq!(error, PolicyError::NeverExpires);
    let latest = token.created_at + day;
    token.expires_at = Some(latest + Duration::from_secs(1));
    let error = broken_rule(insert(&store, &token).await);
    assert_eq!(error, PolicyError::Lifetime(latest));
    token.expires_at = Some(latest);
    token.scopes = "admin read".parse().unwrap();
    let admin = PolicyError::Scopes("admin".parse().unwrap());
    assert_eq!(broken_rule(insert(&store, &token).await), admin);
    token.scopes = "read".parse().unwrap();
    insert(&store, &token).await.unwrap();

    let edit = |edit| Op::EditToken {
        target: TokenTarget::any(token.id),
        version: None,
        edit,
        grantable: crate::Grantable::everything(),
    };
    for (change, error) in [
        (TokenEdit::default().scopes("admin".parse().unwrap()), admin),
        (
            TokenEdit::default().expires_at(None),
            PolicyError::NeverExpires,
        ),
    ] {
        let edited = store.apply(&Mutation::new(edit(change), at(10))).await;
        assert_eq!(broken_rule(edited.map(drop)), error);
    }

    let mut successor = token_record(&app, 3);
    (successor.expires_at, successor.scopes) = (None, old.scopes.clone());
    let rotation = Replacement::new(TokenTarget::any(old.id), successor.clone(), at(10));
    let rotated = store.rotate(&rotation).await;
    let error = broken_rule(rotated.map(drop));
    assert_eq!(error, PolicyError::NeverExpires);
    // The rules of the process are added to those of the store.
    let mut stricter = token_record(&app, 4);
    (stricter.expires_at, stricter.scopes) = (Some(latest), "read".parse().unwrap());
    let op = Op::InsertTokens(vec![stricter]);
    let own = Policy::default().max_live_tokens(2);
    let refused = store.apply(&Mutation::new(op, at(10)).policy(own)).await;
    let error = broken_rule(refused.map(drop));
    assert_eq!(error, PolicyError::LiveTokens(2));
}

/// An app gets as many live tokens as the policy allows, however many are issued at the same time.
/// Tokens that expired, were revoked or have a successor do not count.
pub async fn racing_inserts_keep_the_maximum_of_live_tokens(store: Registry) {
    let app = app(&store, 1).await;
    set_policy(&store, Policy::default().max_live_tokens(3)).await;
    let inserts = (1..=8).map(|n| {
        let (store, token) = (store.clone(), token_record(&app, n));
        tokio::spawn(async move { (insert(&store, &token).await, token) })
    });
    let mut live = Vec::new();
    for inserted in inserts.collect::<Vec<_>>() {
        match inserted.await.unwrap() {
            (Ok(()), token) => live.push(token),
            (refused, _) => assert_eq!(broken_rule(refused), PolicyError::LiveTokens(3)),
        }
    }
    assert_eq!(live.len(), 3);
    let mut successor = token_record(&app, 9);
    successor.created_at = at(10);
    let target = TokenTarget::any(live[0].id);
    let rotation = Replacement::new(target, successor, at(10)).overlap_ends(at(50));
    store.rotate(&rotation).await.unwrap();
    let next = token_record(&app, 10);
    let refused = insert(&store, &next).await;
    assert_eq!(broken_rule(refused), PolicyError::LiveTokens(3));
    let target = TokenTarget::any(live[1].id);
    store.revoke(&target, at(10)).await.unwrap();
    insert(&store, &next).await.unwrap();
}

/// If names must be unique, an app cannot have two live tokens with the same name, whether they are
/// inserted or renamed.
pub async fn racing_inserts_keep_names_unique(store: Registry) {
    let (ours, theirs) = (app(&store, 1).await, app(&store, 2).await);
    set_policy(&store, Policy::default().unique_names()).await;
    let named = |n, app, name: &str| {
        let mut token = token_record(app, n);
        name.clone_into(&mut token.name);
        token
    };
    let inserts = (1..=6).map(|n| {
        let (store, token) = (store.clone(), named(n, &ours, "same"));
        tokio::spawn(async move { insert(&store, &token).await.is_ok() })
    });
    let mut inserted = 0;
    for insert in inserts.collect::<Vec<_>>() {
        inserted += usize::from(insert.await.unwrap());
    }
    assert_eq!(inserted, 1);
    insert(&store, &named(7, &theirs, "same")).await.unwrap();
    let other = named(8, &ours, "other");
    insert(&store, &other).await.unwrap();
    let target = TokenTarget::any(other.id);
    let renamed = store.rename(&target, "same", at(10)).await;
    assert_eq!(broken_rule(renamed.map(drop)), PolicyError::Name);
    store.rename(&target, "other", at(10)).await.unwrap();
    let both = vec![named(9, &ours, "twice"), named(10, &ours, "twice")];
    let both = store
        .apply(&Mutation::new(Op::InsertTokens(both), at(10)))
        .await;
    assert_eq!(broken_rule(both.map(drop)), PolicyError::Name);
}
