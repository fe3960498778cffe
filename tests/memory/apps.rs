//! Changes of apps with many cached tokens.

use std::time::Duration;

use tower_api_tokens::{
    AppEdit, AppId, Follower, IssuedToken, Metadata, MetadataPatch, NewToken, RejectionKind,
    StoreErrorKind, TokenEdit, testing::Fault,
};

use crate::support::{BOUND, Node, ci, new_node, node_on};

const TOKENS: usize = 1000;

/// A node that has cached a thousand tokens of one app, with several sets of scopes.
struct Cached {
    node: Node,
    app: AppId,
    tokens: Vec<IssuedToken>,
    follower: Option<Follower>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Answers are limited by their own age.
    Alone,
    Follows,
    Preloads,
}

impl Cached {
    async fn new(mode: Mode) -> Self {
        let node = new_node();
        let app = node.create_app("Billing").await.id;
        let mut tokens = Vec::new();
        for n in 0..TOKENS {
            let new = ci().scopes(format!("scope{}", n % 7).parse().unwrap());
            tokens.push(node.issue(&app, new).await);
        }
        let follower = node
            .tokens
            .follow()
            .poll_interval(Duration::from_secs(1 << 30));
        let follower = match mode {
            Mode::Alone => None,
            Mode::Follows => Some(follower.start().await.unwrap()),
            Mode::Preloads => Some(follower.preload(|_| ()).start().await.unwrap()),
        };
        let cached = Self {
            node,
            app,
            tokens,
            follower,
        };
        cached.catch_up().await;
        cached.present_all("Billing", None).await;
        cached
    }

    async fn catch_up(&self) {
        if let Some(follower) = &self.follower {
            follower.catch_up().await.unwrap();
        }
    }

    /// Presents every token, and returns how often the store was called.
    async fn present_all(&self, name: &str, plan: Option<&str>) -> usize {
        let calls = self.node.store.calls();
        for token in &self.tokens {
            let principal = self.node.present(token).await.unwrap();
            assert_eq!(principal.app_name(), name);
            assert_eq!(principal.metadata("plan"), plan);
            assert_eq!(principal.scopes(), &token.record().scopes);
        }
        self.node.store.calls() - calls
    }

    async fn refuse_all(&self) -> usize {
        let calls = self.node.store.calls();
        for token in &self.tokens {
            assert_eq!(
                self.node.refusal(token).await,
                Some(RejectionKind::DisabledApp)
            );
        }
        self.node.store.calls() - calls
    }
}

fn to_pro(name: &str) -> AppEdit {
    AppEdit::default()
        .name(name)
        .metadata(MetadataPatch::default().set("plan", "pro"))
}

#[tokio::test]
async fn an_edit_of_an_app_costs_one_lookup_and_not_one_for_each_token() {
    for mode in [Mode::Alone, Mode::Follows, Mode::Preloads] {
        let cached = Cached::new(mode).await;
        let here = &cached.node.tokens;
        here.edit_app(&cached.app, None, to_pro("Shipping"))
            .await
            .unwrap();
        let calls = cached.present_all("Shipping", Some("pro")).await;
        // The follower may have been faster, or have looked the app up as well.
        let expected = match mode {
            Mode::Alone => 1..=1,
            Mode::Follows | Mode::Preloads => 0..=2,
        };
        assert!(expected.contains(&calls), "{mode:?}: {calls}");
        assert_eq!(cached.present_all("Shipping", Some("pro")).await, 0);
    }
}

#[tokio::test]
async fn an_edit_elsewhere_costs_one_lookup_once_the_log_shows_it() {
    for mode in [Mode::Follows, Mode::Preloads] {
        let cached = Cached::new(mode).await;
        let elsewhere = node_on(cached.node.store.clone()).tokens;
        elsewhere
            .edit_app(&cached.app, None, to_pro("Shipping"))
            .await
            .unwrap();
        assert_eq!(cached.present_all("Billing", None).await, 0);
        cached.catch_up().await;
        let calls = cached.present_all("Shipping", Some("pro")).await;
        assert!(calls <= 2, "{mode:?}: {calls}");
        for disables in [true, false] {
            match disables {
                true => elsewhere.disable_app(&cached.app).await.unwrap(),
                false => elsewhere.enable_app(&cached.app).await.unwrap(),
            };
            cached.catch_up().await;
            let calls = match disables {
                true => cached.refuse_all().await,
                false => cached.present_all("Shipping", Some("pro")).await,
            };
            assert!(calls <= 2, "{mode:?}: {calls}");
        }
        // Until the lease ends, and beyond, nothing else is looked up.
        for _ in 0..5 {
            cached.node.clock.advance(BOUND - Duration::from_secs(1));
            cached.catch_up().await;
            assert_eq!(cached.present_all("Shipping", Some("pro")).await, 0);
        }
    }
}

#[tokio::test]
async fn the_follower_looks_the_app_up_so_that_requests_do_not_have_to() {
    for mode in [Mode::Follows, Mode::Preloads] {
        let cached = Cached::new(mode).await;
        let elsewhere = node_on(cached.node.store.clone()).tokens;
        elsewhere
            .edit_app(&cached.app, None, to_pro("Shipping"))
            .await
            .unwrap();
        let calls = cached.node.store.calls();
        cached.catch_up().await;
        // One call to read the log, and one to look up.
        let looked_up = async {
            while cached.node.store.calls() < calls + 2 {
                tokio::task::yield_now().await;
            }
        };
        let deadline = Duration::from_secs(20);
        tokio::time::timeout(deadline, looked_up).await.unwrap();
        assert_eq!(cached.node.store.finds(), cached.finds_before());
        assert_eq!(cached.present_all("Shipping", Some("pro")).await, 0);
    }
}

impl Cached {
    /// The lookups of the first requests with each token.
    fn finds_before(&self) -> usize {
        match self.node.tokens.authenticator().stats().preloaded {
            true => 0,
            false => TOKENS,
        }
    }
}

#[tokio::test]
async fn a_changed_app_is_not_admitted_as_it_was_while_the_store_fails() {
    for mode in [Mode::Alone, Mode::Follows, Mode::Preloads] {
        let cached = Cached::new(mode).await;
        let elsewhere = node_on(cached.node.store.clone()).tokens;
        elsewhere.disable_app(&cached.app).await.unwrap();
        match mode {
            Mode::Alone => cached.node.clock.advance(BOUND),
            _ => cached.catch_up().await,
        }
        let error = Fault::Error(StoreErrorKind::Unavailable);
        cached.node.store.set_fault(error);
        for token in &cached.tokens {
            let refused = cached.node.refusal(token).await;
            // If the follower was faster, the new state is known.
            let expected = [RejectionKind::StoreFailure, RejectionKind::DisabledApp];
            assert!(expected.contains(&refused.unwrap()), "{refused:?}");
        }
        cached.node.store.set_fault(Fault::None);
        assert!(cached.refuse_all().await <= TOKENS);
    }
}

#[tokio::test]
async fn tokens_that_change_with_their_app_are_looked_up_again() {
    for mode in [Mode::Alone, Mode::Follows, Mode::Preloads] {
        let cached = Cached::new(mode).await;
        let here = &cached.node.tokens;
        let [revoked, edited] = [0, 1].map(|n| cached.tokens[n].record().id);
        here.revoke(revoked).await.unwrap();
        here.edit_app(&cached.app, None, to_pro("Shipping"))
            .await
            .unwrap();
        let patch = MetadataPatch::default()
            .set("plan", "free")
            .set("team", "ops");
        let edit = TokenEdit::default().metadata(patch);
        here.edit(edited, None, edit).await.unwrap();
        for _ in 0..2 {
            let refused = cached.node.refusal(&cached.tokens[0]).await;
            assert_eq!(refused, Some(RejectionKind::RevokedToken));
            let principal = cached.node.present(&cached.tokens[1]).await.unwrap();
            let all: Vec<_> = principal.metadata_entries().collect();
            assert_eq!(all, [("plan", "pro"), ("team", "ops")]);
            assert_eq!(principal.app_metadata("plan"), Some("pro"));
            assert_eq!(principal.app_metadata("team"), None, "that of the token");
        }
    }
}

#[tokio::test]
async fn uses_of_the_tokens_of_a_changed_app_are_recorded() {
    let cached = Cached::new(Mode::Alone).await;
    let here = &cached.node.tokens;
    here.edit_app(&cached.app, None, to_pro("Shipping"))
        .await
        .unwrap();
    cached.present_all("Shipping", Some("pro")).await;
    let recorder = cached.node.tokens.authenticator();
    let recorder = recorder.record_usage(cached.node.store.clone());
    recorder.start().unwrap().stop().await.unwrap();
    for token in &cached.tokens {
        let record = here.get(token.record().id).await.unwrap();
        assert_eq!(record.uses, 2);
    }
}

#[tokio::test]
async fn metadata_of_the_app_takes_precedence_over_that_of_the_token() {
    let node = new_node();
    let app = node.create_app("Billing").await.id;
    let new = NewToken::named("ci").metadata(Metadata::new([("plan", "enterprise")]).unwrap());
    let token = node.issue(&app, new).await;
    let plan = async || {
        let principal = node.present(&token).await.unwrap();
        principal.metadata("plan").map(str::to_owned)
    };
    assert_eq!(plan().await.as_deref(), Some("enterprise"));
    node.tokens
        .edit_app(&app, None, to_pro("Billing"))
        .await
        .unwrap();
    assert_eq!(plan().await.as_deref(), Some("pro"));
    let patch = MetadataPatch::default().remove("plan");
    let edit = AppEdit::default().metadata(patch);
    node.tokens.edit_app(&app, None, edit).await.unwrap();
    assert_eq!(plan().await.as_deref(), Some("enterprise"));
}
