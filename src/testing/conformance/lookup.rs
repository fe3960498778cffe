use super::{
    Registry,
    fixtures::{app, app_record, at, read, token_record},
};
use crate::{
    AppQuery, TokenDigest, TokenQuery, TokenRecord, TokenRegistryExt, TokenStore, TokenTarget,
};

/// To read what is not there is no error.
pub async fn absence_is_no_error(store: Registry) {
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

/// A token is found as it stands, whether or not it would be admitted.
pub async fn time_is_not_judged(store: Registry) {
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

/// A store for verification alone: it finds `known`, which is in it, and does not find another.
///
/// ```
/// use tower_api_tokens::testing::conformance;
/// # use tower_api_tokens::{Answer, TokenRecord, TokenStore, TokenDigest, StoreError};
/// # #[derive(Debug)]
/// # struct Mine(TokenRecord);
/// # #[async_trait::async_trait]
/// # impl TokenStore for Mine {
/// #     async fn find(&self, d: &TokenDigest) -> Result<Answer, StoreError> {
/// #         Ok((*d == self.0.digest).then(|| self.0.clone()).into())
/// #     }
/// # }
/// # async fn check(store: Mine, known: TokenRecord) {
/// conformance::verifies(&store, &known).await;
/// # }
/// ```
pub async fn verifies(store: &impl TokenStore, known: &TokenRecord) {
    let found = store
        .find(&known.digest)
        .await
        .expect("a known token is found");
    assert_eq!(
        found.record.as_ref(),
        Some(known),
        "the known token is found as it stands"
    );
    for bit in 0..TokenDigest::LEN * 8 {
        let mut other = *known.digest.as_bytes();
        other[bit / 8] ^= 1 << (bit % 8);
        let other = TokenDigest::from_bytes(other);
        let found = store.find(&other).await.expect("absence is no error");
        let harmless = found.record.is_none_or(|found| found.digest != other);
        assert!(
            harmless,
            "a record is given for a digest that it does not have"
        );
    }
}
