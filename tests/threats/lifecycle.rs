//! Races, lost writes and guessed identifiers. Each check takes any registry.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::TryStreamExt;
use tokio::sync::Barrier;
use tower_api_tokens::testing::ManualClock;
use tower_api_tokens::{
    ApiTokens, AppId, AuditEvent, Authority, ChangeObserver, Grantable, LifecycleErrorKind,
    MemoryStore, NewToken, RejectionKind, StoreErrorKind, TokenCursor, TokenId, TokenQuery,
    TokenRecord, TokenRegistry, TransitionError,
};

use crate::support::{Act, START, Tap, uncached, unknown, verdict};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_racing_rotations_one_has_a_successor_in_memory() {
    one_successor(MemoryStore::new()).await;
}

#[tokio::test]
async fn a_revocation_that_failed_is_true_once_it_succeeds_in_memory() {
    revoked_after_a_retry(MemoryStore::new).await;
}

#[tokio::test]
async fn a_revocation_of_many_whose_answer_is_lost_is_reported_in_memory() {
    reported_after_a_lost_answer(MemoryStore::new()).await;
}

#[tokio::test]
async fn a_change_of_one_token_leaves_the_others_in_memory() {
    others_unchanged(MemoryStore::new()).await;
}

#[tokio::test]
async fn an_app_reaches_no_token_of_another_in_memory() {
    apps_apart(MemoryStore::new()).await;
}

async fn one_successor(registry: impl TokenRegistry + Clone) {
    const RACERS: usize = 64;
    let fixture = uncached(registry).build().await;
    let start = Arc::new(Barrier::new(RACERS));
    let racers: Vec<_> = (0..RACERS)
        .map(|nth| {
            let (tokens, start) = (fixture.tokens.clone(), Arc::clone(&start));
            let (app, id) = (fixture.app().id, fixture.issued.record().id);
            tokio::spawn(async move {
                start.wait().await;
                match nth % 2 {
                    0 => tokens.rotate(id, HOUR).await,
                    _ => {
                        tokens
                            .app(app, &Grantable::everything())
                            .rotate(id, HOUR)
                            .await
                    }
                }
            })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            Ok(issued) => winners.push(issued),
            Err(lost) => {
                assert_eq!(lost.kind(), LifecycleErrorKind::Rotated);
                let source = std::error::Error::source(&lost).unwrap();
                let conflict = source.source().unwrap().downcast_ref();
                assert_eq!(conflict, Some(&TransitionError::Rotated));
            }
        }
    }
    assert_eq!(winners.len(), 1);
    let listed = everything(&fixture.tokens).await;
    assert_eq!(listed.len(), 2);
    let winner = winners[0].record().id;
    assert_eq!(listed[&fixture.issued.record().id].successor, Some(winner));
    assert_eq!(
        verdict(&fixture.tokens, winners[0].token().expose()).await,
        Ok(())
    );
    assert_eq!(
        verdict(&fixture.tokens, fixture.token()).await,
        Ok(()),
        "overlap"
    );
}

async fn revoked_after_a_retry<R: TokenRegistry + Clone>(registry: impl Fn() -> R) {
    let failures = [
        || Act::FailBefore(StoreErrorKind::Unavailable),
        || Act::FailAfter(StoreErrorKind::Unavailable),
        || Act::FailBefore(StoreErrorKind::ReadOnly),
        || Act::FailBefore(StoreErrorKind::Full),
    ];
    for failure in failures {
        let fails = Arc::new(AtomicBool::new(true));
        let failing = Arc::clone(&fails);
        let store = Tap::new(registry(), move |name, _| {
            match name == "revoke" && failing.load(Relaxed) {
                true => failure(),
                false => Act::Pass,
            }
        });
        let clock = ManualClock::new(START);
        let fixture = uncached(store.clone()).clock(clock.clone()).build().await;
        let failed = fixture
            .tokens
            .revoke(fixture.issued.record().id)
            .await
            .unwrap_err();
        assert_eq!(failed.kind(), LifecycleErrorKind::Store);
        let attempts = store.count("revoke");
        fails.store(false, Relaxed);

        clock.set(START.checked_add(HOUR).unwrap());
        let revoked = fixture
            .tokens
            .revoke(fixture.issued.record().id)
            .await
            .unwrap();
        assert!(revoked.revoked_at.is_some());
        assert_eq!(store.count("revoke"), attempts + 1, "the retry writes");
        let refused = Err(RejectionKind::RevokedToken);
        assert_eq!(verdict(&fixture.tokens, fixture.token()).await, refused);
        assert_eq!(
            fixture
                .tokens
                .get(fixture.issued.record().id)
                .await
                .unwrap(),
            revoked
        );
    }
}

/// The tokens that an observer was told of.
#[derive(Default)]
struct Told(Mutex<Vec<TokenId>>);

impl ChangeObserver for Told {
    fn changed(&self, event: &AuditEvent, recorded: bool) {
        assert!(recorded);
        self.0.lock().unwrap().extend(event.token);
    }
}

async fn reported_after_a_lost_answer(registry: impl TokenRegistry + Clone) {
    let store = Tap::new(registry, |name, nth| match (name, nth) {
        ("revoke_many", 0) => Act::FailAfter(StoreErrorKind::Unavailable),
        _ => Act::Pass,
    });
    let fixture = uncached(store).build().await;
    let (app, told) = (fixture.app().id, Arc::new(Told::default()));
    let _second = fixture.tokens.issue(&app, NewToken::named("second")).await;
    let authority = Authority::of("ops").observer(told.clone());
    let tokens = fixture.tokens.acting_as(authority);
    let selection = tokens.select_for_revocation(&TokenQuery::default()).await;
    let revoked = tokens.revoke_selected(&selection.unwrap().unwrap()).await;
    assert_eq!(revoked.unwrap().revoked, 2);
    let mut told = told.0.lock().unwrap().clone();
    told.sort_unstable();
    let expected: Vec<_> = everything(&fixture.tokens).await.into_keys().collect();
    assert_eq!(told, expected);
}

/// All tokens, page by page.
async fn everything(tokens: &ApiTokens) -> BTreeMap<TokenId, TokenRecord> {
    let all = tokens.stream_tokens(TokenQuery::default().limit(7));
    let all = all.map_ok(|token| (token.id, token));
    all.try_collect().await.unwrap()
}

async fn others_unchanged(registry: impl TokenRegistry + Clone) {
    let fixture = uncached(registry).build().await;
    let tokens = &fixture.tokens;
    let other = tokens.create_app("other").await.unwrap();
    for nth in 0..20 {
        // The same in every column that a wrong statement could select by.
        let app = if nth % 2 == 0 {
            fixture.app().id
        } else {
            other.id
        };
        let _issued = tokens.issue(&app, NewToken::named("ci")).await.unwrap();
    }
    let mut before = everything(tokens).await;
    let ids: Vec<_> = before.keys().copied().collect();
    let unchanged = async |before: &BTreeMap<_, TokenRecord>, but: &[TokenId]| {
        let mut after = everything(tokens).await;
        let mut before = before.clone();
        for id in but {
            after.remove(id);
            before.remove(id);
        }
        assert_eq!(after, before);
    };

    tokens.revoke(ids[3]).await.unwrap();
    unchanged(&before, &[ids[3]]).await;
    before = everything(tokens).await;

    let successor = tokens.rotate(ids[5], HOUR).await.unwrap();
    unchanged(&before, &[ids[5], successor.record().id]).await;
    before = everything(tokens).await;

    let own: Vec<_> = before
        .values()
        .filter(|token| token.app.id == other.id)
        .map(|token| token.id)
        .collect();
    tokens.disable_app(&other.id).await.unwrap();
    unchanged(&before, &own).await;
    tokens.enable_app(&other.id).await.unwrap();
    unchanged(&before, &[]).await;

    // A missing record changes nothing.
    let nobody = AppId::new("nobody").unwrap();
    let nothing = TokenId::from_bytes([0; 16]);
    assert!(tokens.revoke(nothing).await.is_err());
    assert!(tokens.rotate(nothing, HOUR).await.is_err());
    assert!(tokens.disable_app(&nobody).await.is_err());
    assert!(
        tokens
            .app(nobody, &Grantable::everything())
            .revoke(ids[7])
            .await
            .is_err()
    );
    unchanged(&before, &[]).await;
}

async fn apps_apart(registry: impl TokenRegistry + Clone) {
    let fixture = uncached(registry).build().await;
    let thief = fixture.tokens.create_app("thief").await.unwrap();
    let thief = fixture.tokens.app(thief.id, &Grantable::everything());
    let own = thief.issue(NewToken::named("own")).await.unwrap();
    let before = everything(&fixture.tokens).await;

    let known = fixture.issued.record().id;
    for error in [
        thief.get(known).await.unwrap_err(),
        thief.rotate(known, HOUR).await.unwrap_err(),
        thief.rotate(known, Duration::ZERO).await.unwrap_err(),
        thief.revoke(known).await.unwrap_err(),
    ] {
        let absent = thief.get(TokenId::from_bytes([0; 16])).await.unwrap_err();
        assert_eq!(error.kind(), LifecycleErrorKind::UnknownToken);
        assert_eq!(format!("{error:?}"), format!("{absent:?}"));
    }
    // Whichever app and cursor the query names.
    let first_of_all = TokenId::from_bytes([0xff; 16]);
    for query in [
        TokenQuery::default(),
        TokenQuery::default().app(fixture.app().id),
        TokenQuery::default().after(TokenCursor::from(first_of_all)),
    ] {
        let listed = thief.list(query).await.unwrap().items;
        assert_eq!(listed, [own.record().clone()]);
    }
    assert_eq!(everything(&fixture.tokens).await, before);
    assert_eq!(verdict(&fixture.tokens, fixture.token()).await, Ok(()));

    // Nor is it reached through a token of the app itself: the successor stays with its app.
    let successor = thief.rotate(own.record().id, HOUR).await.unwrap();
    assert_eq!(successor.record().app.id, *thief.id());
    assert!(thief.revoke(successor.record().id).await.is_ok());
}

#[tokio::test]
async fn revoking_and_disabling_apply_to_the_next_request() {
    let fixture = uncached(MemoryStore::new()).build().await;
    assert_eq!(verdict(&fixture.tokens, fixture.token()).await, Ok(()));
    fixture.tokens.disable_app(&fixture.app().id).await.unwrap();
    let disabled = Err(RejectionKind::DisabledApp);
    assert_eq!(verdict(&fixture.tokens, fixture.token()).await, disabled);
    let refused = fixture
        .tokens
        .issue(&fixture.app().id, NewToken::named("more"))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::AppDisabled);
    let refused = fixture
        .tokens
        .rotate(fixture.issued.record().id, HOUR)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::AppDisabled);
    fixture.tokens.enable_app(&fixture.app().id).await.unwrap();
    assert_eq!(verdict(&fixture.tokens, fixture.token()).await, Ok(()));
    fixture
        .tokens
        .revoke(fixture.issued.record().id)
        .await
        .unwrap();
    fixture.tokens.enable_app(&fixture.app().id).await.unwrap();
    let revoked = Err(RejectionKind::RevokedToken);
    assert_eq!(verdict(&fixture.tokens, fixture.token()).await, revoked);
    let refused = fixture
        .tokens
        .rotate(fixture.issued.record().id, HOUR)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::Revoked);
    let unknown = verdict(&fixture.tokens, &unknown()).await;
    assert_eq!(unknown, Err(RejectionKind::UnknownToken));
}
