use super::{
    Registry,
    fixtures::{app, app_record, at, read, token_record},
};
use crate::{AppQuery, TokenQuery, TokenRegistryExt, TokenStore, TokenTarget};

/// Reading a missing record is not an error.
pub async fn a_missing_token_is_not_an_error(store: Registry) {
    let absent = token_record(&app_record(1), 1);
    assert_eq!(store.find(&absent.digest).await.unwrap().record, None);
    assert_eq!(
        store.token(&TokenTarget::any(absent.id)).await.unwrap(),
        None
    );
    assert_eq!(store.app(&absent.app.id).await.unwrap(), None);
    assert!(
        store
            .apps(&AppQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let query = TokenQuery::default().app(absent.app.id);
    assert!(store.tokens(&query, at(0)).await.unwrap().items.is_empty());
}

/// A token is found as it is, whether or not it would be admitted.
pub async fn a_lookup_ignores_expiry(store: Registry) {
    let app = app(&store, 1).await;
    let (mut expired, mut revoked) = (token_record(&app, 1), token_record(&app, 2));
    expired.expires_at = Some(at(-1000));
    revoked.revoked_at = Some(at(-1000));
    for token in [&expired, &revoked] {
        store.insert(token).await.expect("a token is inserted");
        assert_eq!(read(&store, token).await.as_ref(), Some(token));
    }
    store.disable_app(&app.id, at(-1000)).await.unwrap();
    for token in [&expired, &revoked] {
        assert!(
            read(&store, token)
                .await
                .is_some_and(|token| token.app.disabled_at.is_some())
        );
    }
}
