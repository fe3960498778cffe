use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use super::{
    Registry,
    fixtures::{all, app, app_record, at, fails, read, token, token_record, tokens},
};
use crate::{
    ApiTokens, NewToken, RejectionKind, StoreErrorKind, TokenFormat, TokenQuery, TokenRegistryExt,
    TokenStatus, TokenTarget,
};

/// Renaming changes the name of one token, whatever its status, and nothing else.
pub async fn renaming_changes_one_name(store: Registry) {
    let app = app(&store, 1).await;
    let mut expected = tokens(&store, &app, 5).await;
    let target = TokenTarget::any(expected[2].id);
    expected[2] = store.revoke(&target, at(1)).await.unwrap();
    let renamed = store
        .rename(&target, "Zoë's \"CI\" 🚀", at(1))
        .await
        .unwrap();
    expected[2].name = "Zoë's \"CI\" 🚀".to_owned();
    assert_eq!(renamed, expected[2]);
    let other = TokenTarget::of_app(expected[2].id, app_record(9).id);
    fails(
        store.rename(&other, "x", at(1)).await,
        StoreErrorKind::NotFound,
    );
    expected.reverse();
    assert_eq!(all(&store).await, expected);
}

/// A revoked token stays revoked, with the time of the first revocation.
pub async fn revoked_is_terminal(store: Registry) {
    let app = app(&store, 1).await;
    let token = token(&store, &app, 1).await;
    let target = TokenTarget::any(token.id);
    let revoked = store.revoke(&target, at(5)).await.unwrap();
    assert_eq!(revoked, token.clone().revoke(at(5)));
    assert_eq!(store.revoke(&target, at(9)).await.unwrap(), revoked);
    store.disable_app(&app.id, at(10)).await.unwrap();
    store.enable_app(&app.id, at(9)).await.unwrap();
    assert_eq!(read(&store, &token).await, Some(revoked));
    let absent = TokenTarget::any(token_record(&app, 2).id);
    fails(store.revoke(&absent, at(5)).await, StoreErrorKind::NotFound);
}

/// Revoking one token does not change any other.
pub async fn revoking_changes_one_record(store: Registry) {
    let app = app(&store, 1).await;
    let mut expected = tokens(&store, &app, 20).await;
    expected.reverse();
    let target = TokenTarget::of_app(expected[7].id, app.id);
    expected[7] = store.revoke(&target, at(5)).await.unwrap();
    assert_eq!(all(&store).await, expected);
}

/// Once a revocation has returned, no lookup shows the token as live.
pub async fn a_revocation_is_visible_when_it_returns(store: Registry) {
    let app = app(&store, 1).await;
    for n in 1..=50 {
        let token = token(&store, &app, n).await;
        let returned = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (store, returned) = (Arc::clone(&store), Arc::clone(&returned));
                tokio::spawn(async move {
                    loop {
                        let after = returned.load(SeqCst);
                        let found = store.find(&token.digest).await.unwrap().record.unwrap();
                        assert!(
                            !after || found.revoked_at.is_some(),
                            "live after `revoke` returned"
                        );
                        if after {
                            return;
                        }
                    }
                })
            })
            .collect();
        store
            .revoke(&TokenTarget::any(token.id), at(5))
            .await
            .unwrap();
        returned.store(true, SeqCst);
        for reader in readers {
            reader.await.unwrap();
        }
    }
}

/// Disabling and enabling an app shows in all of its tokens immediately, and in no others.
pub async fn disabling_takes_effect_immediately(store: Registry) {
    let (ours, theirs) = (app(&store, 1).await, app(&store, 2).await);
    let (one, other) = (
        token(&store, &ours, 1).await,
        token(&store, &theirs, 2).await,
    );
    let disabled = store.disable_app(&ours.id, at(5)).await.unwrap();
    assert_eq!(disabled, ours.clone().disable(at(5)));
    assert_eq!(store.disable_app(&ours.id, at(9)).await.unwrap(), disabled);
    assert_eq!(store.app(&ours.id).await.unwrap(), Some(disabled.clone()));
    assert_eq!(read(&store, &one).await.unwrap().app, disabled);
    assert_eq!(read(&store, &other).await, Some(other));
    assert_eq!(store.enable_app(&ours.id, at(9)).await.unwrap(), ours);
    assert_eq!(read(&store, &one).await, Some(one));
    let absent = app_record(3).id;
    fails(
        store.disable_app(&absent, at(5)).await,
        StoreErrorKind::NotFound,
    );
    fails(
        store.enable_app(&absent, at(9)).await,
        StoreErrorKind::NotFound,
    );
}

/// A purge removes tokens that expired or were revoked before the given instant, and at most as
/// many as the limit.
pub async fn a_purge_removes_only_expired_and_revoked_tokens(store: Registry) {
    let app = app(&store, 1).await;
    let mut kept = Vec::new();
    let ends = [
        None,
        Some(at(-20)),
        Some(at(-10)),
        Some(at(-9)),
        Some(at(10)),
    ];
    for (n, (expires_at, revoked_at)) in (1..).zip(ends.iter().flat_map(|e| ends.map(|r| (*e, r))))
    {
        let mut token = token_record(&app, n);
        (token.expires_at, token.revoked_at) = (expires_at, revoked_at);
        store.insert(&token).await.unwrap();
        if token
            .expired_or_revoked_at(at(-10))
            .is_none_or(|ended_at| ended_at >= at(-10))
        {
            kept.push(token);
        }
    }
    kept.reverse();
    let ended = 25 - kept.len();
    assert_eq!(store.purge(at(-10), 2).await.unwrap(), 2);
    assert_eq!(all(&store).await.len(), 23);
    assert_eq!(store.purge(at(-10), 100).await.unwrap(), ended - 2);
    assert_eq!(store.purge(at(-10), 100).await.unwrap(), 0);
    assert_eq!(all(&store).await, kept);
}

/// Once a revocation has returned, its process does not admit the token, even if another process had revoked it
/// before and the token is still cached.
pub async fn a_revocation_elsewhere_is_applied_when_repeated(store: Registry) {
    let format = TokenFormat::new("acme").unwrap();
    let [here, elsewhere] = [(); 2].map(|()| ApiTokens::new(Arc::clone(&store), format.clone()));
    let app = here.create_app("Billing").await.unwrap().id;
    let of_app = TokenQuery::default().app(app);
    let admissible = TokenQuery {
        admissible: true,
        ..TokenQuery::default()
    };
    let queries = [of_app.clone(), of_app.status(TokenStatus::Live), admissible];
    for call in ["revoke", "revoke_many", "0", "1", "2"] {
        let issued = here.issue(&app, NewToken::named("ci")).await.unwrap();
        let (id, text) = (issued.record().id, issued.token().expose());
        let admitted = here.authenticator().authenticate(text.as_bytes()).await;
        admitted.expect("the token is live");
        let query = call.parse().ok().and_then(|n: usize| queries.get(n));
        let selection = match query {
            Some(query) => here.select_for_revocation(query).await.unwrap(),
            None => None,
        };
        elsewhere.revoke(id).await.unwrap();
        match selection {
            Some(selection) => {
                here.revoke_selected(&selection).await.unwrap();
            }
            None if call == "revoke" => {
                here.revoke(id).await.unwrap();
            }
            None => {
                here.revoke_many(&[id]).await.unwrap();
            }
        }
        let refused = here.authenticator().authenticate(text.as_bytes()).await;
        let refused = refused.err().map(|rejection| rejection.kind());
        assert_eq!(refused, Some(RejectionKind::RevokedToken), "{call}");
    }
}
