//! A platform with two apps, and the records that a call names.

use std::fmt::Debug;

use super::super::{Registry, fixtures::audit_log};
use crate::{
    ApiTokens, AppId, AppQuery, AuditQuery, Authority, NewToken, Policy, TokenFormat, TokenId,
    TokenQuery, TokenRecord,
};

/// A platform with two apps, each with tokens of staff and of its own customer.
pub(super) struct Scene {
    pub(super) store: Registry,
    pub(super) tokens: ApiTokens,
    pub(super) ours: AppId,
    pub(super) theirs: AppId,
    /// The text of a token of `theirs`.
    pub(super) text: String,
}

/// The records that a call names: those of an app, or unknown ones.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) app: AppId,
    pub(super) token: TokenId,
}

impl Scene {
    pub(super) async fn new(store: Registry) -> Self {
        let format = TokenFormat::new("acme").unwrap();
        let tokens = ApiTokens::builder(store.clone(), format).any_format();
        let tokens = tokens.build();
        let bob = tokens.acting_as(Authority::of("bob"));
        let [ours, theirs] = ["ours", "theirs"].map(|id| AppId::new(id).unwrap());
        let policy = Policy::default()
            .with_scopes_of(ours, "read tokens:admin".parse().unwrap())
            .with_scopes_of(theirs, "secret".parse().unwrap());
        bob.set_policy(None, policy).await.unwrap();
        let mut scene = Self {
            text: String::new(),
            store,
            tokens: tokens.clone(),
            ours,
            theirs,
        };
        for app in [ours, theirs] {
            bob.create_app_with_id(app, "App").await.unwrap();
            let issued = bob.issue(&app, NewToken::named("by staff")).await.unwrap();
            bob.suspend(issued.record().id).await.unwrap();
            let alice = scene.customer(app);
            let own = alice.issue(&app, NewToken::named("own")).await;
            own.unwrap().token().expose().clone_into(&mut scene.text);
        }
        scene
    }

    pub(super) fn customer(&self, app: AppId) -> ApiTokens {
        let alice = Authority::of("alice").metadata_keys(["team"]);
        self.tokens.acting_as(alice.limited_to(app))
    }

    pub(super) async fn tokens_of(&self, app: AppId) -> Vec<TokenRecord> {
        let query = TokenQuery::default().app(app);
        self.tokens.list(&query).await.unwrap().items
    }

    pub(super) async fn named(&self, app: AppId) -> Named {
        let token = self.tokens_of(app).await[0].id;
        Named { app, token }
    }

    /// Everything that can be read of the store.
    pub(super) async fn everything(&self) -> impl Debug + PartialEq + use<> {
        let apps = self.tokens.list_apps(&AppQuery::default()).await.unwrap();
        let tokens = self.tokens.list(&TokenQuery::default()).await.unwrap();
        let query = AuditQuery::default();
        let events = audit_log(&self.store).events(&query).await.unwrap();
        let policy = self.tokens.policy().await.unwrap();
        (apps, tokens, events, policy)
    }
}

pub(super) fn unknown() -> Named {
    Named {
        app: AppId::new("unknown").unwrap(),
        token: TokenId::from_bytes([9; 16]),
    }
}
