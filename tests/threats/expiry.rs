//! Times at the ends of their range, and clocks that jump.

use std::time::Duration;

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use tower_api_tokens::testing::ManualClock;
use tower_api_tokens::{
    LifecycleErrorKind, MemoryStore, NewToken, RejectionKind, TokenDigest, TokenRecord,
};

use crate::support::{START, uncached, verdict};
use tower_api_tokens::testing::FixtureBuilder;

const DAY: Duration = Duration::from_secs(86_400);
const TICK: SignedDuration = SignedDuration::from_micros(1);

fn fixture_at(clock: &ManualClock) -> FixtureBuilder<MemoryStore> {
    let fixture = uncached(MemoryStore::new()).clock(clock.clone());
    fixture.configure(|tokens| tokens.max_overlap(Duration::MAX))
}

fn to_micros(time: Timestamp) -> Timestamp {
    let floor = TimestampRound::new()
        .smallest(Unit::Microsecond)
        .mode(RoundMode::Floor);
    time.round(floor).unwrap()
}

fn extremes() -> [Timestamp; 8] {
    [
        Timestamp::MIN,
        Timestamp::MIN.checked_add(TICK).unwrap(),
        Timestamp::UNIX_EPOCH.checked_sub(TICK).unwrap(),
        Timestamp::UNIX_EPOCH,
        START,
        START.checked_add(TICK).unwrap(),
        Timestamp::MAX.checked_sub(TICK).unwrap(),
        Timestamp::MAX,
    ]
}

#[tokio::test]
async fn an_expiry_is_issued_when_it_is_in_the_future_and_refused_otherwise() {
    for now in extremes() {
        let clock = ManualClock::new(now);
        let tokens = fixture_at(&clock).empty().tokens;
        let app = tokens.create_app("a").await.unwrap();
        for at in extremes() {
            let new = NewToken::named("t").expires_at(at);
            let issued = tokens.issue(&app.id, new).await;
            if to_micros(at) <= to_micros(now) {
                let kind = issued.unwrap_err().kind();
                assert_eq!(kind, LifecycleErrorKind::InvalidExpiry, "{at} at {now}");
                continue;
            }
            let issued = issued.unwrap();
            let plaintext = issued.token().expose();
            let expires_at = issued.record().expires_at.unwrap();
            assert!(expires_at <= at, "{at} at {now}");
            assert_eq!(verdict(&tokens, plaintext).await, Ok(()));
            clock.set(expires_at);
            let expired = Err(RejectionKind::ExpiredToken);
            assert_eq!(verdict(&tokens, plaintext).await, expired);
            clock.set(now);
        }
    }
}

#[tokio::test]
async fn a_lifetime_out_of_range_is_refused_and_only_none_means_never() {
    for now in extremes() {
        let clock = ManualClock::new(now);
        let tokens = fixture_at(&clock).empty().tokens;
        let app = tokens.create_app("a").await.unwrap();
        for lifetime in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_secs(u64::MAX),
            Duration::from_secs(i64::MAX as u64),
            Duration::MAX,
        ] {
            let new = NewToken::named("t").expires_in(lifetime);
            let kind = tokens.issue(&app.id, new).await.unwrap_err().kind();
            assert_eq!(kind, LifecycleErrorKind::InvalidExpiry, "{lifetime:?}");
        }
        let forever = tokens.issue(&app.id, NewToken::named("t")).await.unwrap();
        for at in extremes() {
            clock.set(at);
            assert_eq!(verdict(&tokens, forever.token().expose()).await, Ok(()));
        }
    }
}

#[tokio::test]
async fn an_overlap_out_of_range_is_refused_and_rotates_nothing() {
    for now in extremes() {
        let clock = ManualClock::new(now);
        let fixture = fixture_at(&clock).build().await;
        for overlap in [Duration::MAX, Duration::from_secs(i64::MAX as u64)] {
            let refused = fixture
                .tokens
                .rotate(fixture.issued.record().id, overlap)
                .await
                .unwrap_err();
            assert_eq!(refused.kind(), LifecycleErrorKind::InvalidOverlap);
        }
        assert_eq!(verdict(&fixture.tokens, fixture.token()).await, Ok(()));

        // An overlap below the precision of the store is none.
        let overlap = Duration::from_nanos(999);
        if to_micros(now) < to_micros(Timestamp::MAX) {
            let successor = fixture
                .tokens
                .rotate(fixture.issued.record().id, overlap)
                .await
                .unwrap();
            let expired = Err(RejectionKind::ExpiredToken);
            assert_eq!(verdict(&fixture.tokens, fixture.token()).await, expired);
            assert_eq!(
                verdict(&fixture.tokens, successor.token().expose()).await,
                Ok(())
            );
        }
    }
}

#[test]
fn a_successor_has_at_most_the_lifetime_of_the_token_it_replaces() {
    for created_at in extremes() {
        for expires_at in extremes() {
            let mut old = record(created_at);
            old.expires_at = Some(expires_at);
            let lifetime = expires_at.duration_since(created_at);
            for at in extremes() {
                let expiry = old.expiry_of_successor(at).unwrap();
                assert!(
                    expiry.duration_since(at) <= lifetime.max(SignedDuration::ZERO),
                    "made at {created_at} until {expires_at}, rotated at {at}: until {expiry}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_default_limit_of_the_overlap_is_enforced() {
    let fixture = uncached(MemoryStore::new()).build().await;
    let month = 30 * DAY;
    let beyond = month + Duration::from_nanos(1);
    let refused = fixture
        .tokens
        .rotate(fixture.issued.record().id, beyond)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::InvalidOverlap);
    assert!(refused.to_string().contains("2592000 seconds"));
    assert!(
        fixture
            .tokens
            .rotate(fixture.issued.record().id, month)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_clock_that_jumps_400_days_revives_no_revoked_token() {
    let clock = ManualClock::new(START);
    let fixture = fixture_at(&clock).build().await;
    let tokens = &fixture.tokens;
    let app = &fixture.app().id;
    let month = NewToken::named("month").expires_in(30 * DAY);
    let month = tokens.issue(app, month).await.unwrap();
    let revoked = tokens.issue(app, NewToken::named("r")).await.unwrap();
    tokens.revoke(revoked.record().id).await.unwrap();

    let past = START.checked_sub(400 * DAY).unwrap();
    let future = START.checked_add(400 * DAY).unwrap();
    let expired = Err(RejectionKind::ExpiredToken);
    for (now, of_month) in [
        (START, Ok(())),
        (future, expired),
        (START, Ok(())),
        (past, Ok(())),
        (future, expired),
    ] {
        clock.set(now);
        assert_eq!(verdict(&fixture.tokens, fixture.token()).await, Ok(()));
        let judged = verdict(&fixture.tokens, month.token().expose()).await;
        assert_eq!(judged, of_month);
        let judged = verdict(&fixture.tokens, revoked.token().expose()).await;
        assert_eq!(judged, Err(RejectionKind::RevokedToken));

        // Revoking again does not change the time of the revocation.
        let again = tokens.revoke(revoked.record().id).await.unwrap();
        assert_eq!(again.revoked_at, Some(START));
    }

    clock.set(past);
    let early = NewToken::named("early").expires_in(30 * DAY);
    let early = tokens.issue(app, early).await.unwrap();
    assert_eq!(
        verdict(&fixture.tokens, early.token().expose()).await,
        Ok(())
    );
    clock.set(START);
    assert_eq!(
        verdict(&fixture.tokens, early.token().expose()).await,
        expired
    );
}

#[tokio::test]
async fn a_purge_cannot_reach_into_the_future() {
    let clock = ManualClock::new(START);
    let fixture = fixture_at(&clock).build().await;
    let month = NewToken::named("month").expires_in(30 * DAY);
    let month = fixture
        .tokens
        .issue(&fixture.app().id, month)
        .await
        .unwrap();
    assert_eq!(fixture.tokens.purge(Timestamp::MAX).await.unwrap(), 0);
    assert_eq!(
        verdict(&fixture.tokens, month.token().expose()).await,
        Ok(())
    );
    assert_eq!(verdict(&fixture.tokens, fixture.token()).await, Ok(()));
}

fn record(created_at: Timestamp) -> TokenRecord {
    use tower_api_tokens::{AppId, AppRecord, MaskedToken, TokenId};
    TokenRecord::new(
        TokenId::from_bytes([1; 16]),
        TokenDigest::of(b"t"),
        MaskedToken::new("", "").unwrap(),
        AppRecord::new(AppId::new("a").unwrap(), "a", created_at),
        "t",
        created_at,
    )
}
