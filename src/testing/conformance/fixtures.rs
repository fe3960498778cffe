use futures_util::TryStreamExt;
use jiff::Timestamp;

use super::Registry;
use crate::{
    AppId, AppRecord, AuditLog, ChangeLog, MaskedToken, Mutation, Op, Policy, Restrictions,
    StoreError, StoreErrorKind, TokenDigest, TokenId, TokenQuery, TokenRecord, TokenRegistryExt,
    TokenRegistryStreams, TokenTarget, UsageLog,
};

/// An instant `second` seconds after one that all checks share.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::new(1_800_000_000 + second, 0).unwrap()
}

pub(super) fn app_record(n: u32) -> AppRecord {
    let id = AppId::new(&format!("app-{n:05}")).unwrap();
    AppRecord::new(id, format!("App {n}"), at(0))
}

pub(super) fn change_log(store: &Registry) -> &dyn ChangeLog {
    store.change_log().expect("the registry has a change log")
}

pub(super) fn usage_log(store: &Registry) -> &dyn UsageLog {
    store.usage_log().expect("the registry has a usage log")
}

pub(super) fn audit_log(store: &Registry) -> &dyn AuditLog {
    store.audit_log().expect("the registry has an audit log")
}

pub(super) async fn app(store: &Registry, n: u32) -> AppRecord {
    let app = app_record(n);
    store.insert_app(&app).await.expect("an app is inserted");
    app
}

/// A token with a number; higher numbers are newer.
pub(super) fn token_record(app: &AppRecord, n: u32) -> TokenRecord {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    TokenRecord::new(
        TokenId::from_bytes(id),
        TokenDigest::of(&n.to_be_bytes()),
        MaskedToken::new("acme_", &format!("{:04}", n % 10_000)).unwrap(),
        app.clone(),
        format!("token {n}"),
        at(0),
    )
}

pub(super) fn restrictions(text: &str) -> Restrictions {
    text.parse().expect("the text is printable")
}

pub(super) async fn token(store: &Registry, app: &AppRecord, n: u32) -> TokenRecord {
    let token = token_record(app, n);
    store.insert(&token).await.expect("a token is inserted");
    token
}

pub(super) async fn tokens(store: &Registry, app: &AppRecord, count: u32) -> Vec<TokenRecord> {
    let mut tokens = Vec::new();
    for n in 1..=count {
        tokens.push(token(store, app, n).await);
    }
    tokens
}

pub(super) async fn set_policy(store: &Registry, policy: Policy) {
    let op = Op::SetPolicy {
        version: None,
        policy,
    };
    store.apply(&Mutation::new(op, at(0))).await.unwrap();
}

/// Reads a token by its identifier, and checks that the lookup by its digest agrees.
pub(super) async fn read(store: &Registry, token: &TokenRecord) -> Option<TokenRecord> {
    let by_id = store.token(&TokenTarget::any(token.id)).await.unwrap();
    let by_digest = store.find(&token.digest).await.unwrap().record;
    assert_eq!(
        by_id, by_digest,
        "a token's identifier and digest lead to one record"
    );
    by_id
}

/// All tokens, newest first.
pub(super) async fn all(store: &Registry) -> Vec<TokenRecord> {
    let tokens = store.stream_tokens(TokenQuery::default(), at(0));
    tokens.try_collect().await.unwrap()
}

#[track_caller]
pub(super) fn fails<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: StoreErrorKind) {
    match result {
        Ok(done) => panic!("should fail as {kind:?}, but gave {done:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{error:?}"),
    }
}
