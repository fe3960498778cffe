//! The checks of a store that only has `find` fail for one that breaks a rule.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tower_api_tokens::{
    Answer, AppId, AppRecord, MaskedToken, StoreError, StoreErrorKind, TokenDigest, TokenId,
    TokenRecord, TokenStore,
    testing::conformance::{self, SampleTokens},
};

/// A rule that a store breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    AbsenceIsAnError,
    LiveIsAbsent,
    ExpiredIsAbsent,
    ExpiredIsLive,
    RevokedIsAbsent,
    RevokedIsLive,
    DisabledIsAbsent,
    DisabledIsLive,
    DigestIsAltered,
    ManyAreReversed,
    ManyLackTheAbsent,
    DroppedHoldsALock,
    OutageIsAbsence,
    OutageShowsWhatWasThere,
    OutageIsAbsenceOfMany,
    OutageShowsTheDigest,
}

#[derive(Debug)]
struct Table {
    tokens: HashMap<TokenDigest, TokenRecord>,
    is_down: Arc<AtomicBool>,
    /// Held during a lookup.
    connection: Semaphore,
    flaw: Flaw,
}

impl Table {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn down(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
        match self.flaw {
            Flaw::OutageIsAbsence => Ok(None),
            Flaw::OutageShowsWhatWasThere => match self.tokens.get(digest) {
                Some(token) => Ok(Some(token.clone())),
                None => Err(StoreError::unavailable("connection refused")),
            },
            Flaw::OutageShowsTheDigest => Err(StoreError::unavailable(digest.to_hex())),
            _ => Err(StoreError::unavailable("connection refused")),
        }
    }

    fn up(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
        let Some(token) = self.tokens.get(digest) else {
            return self.absent(digest);
        };
        let mut token = token.clone();
        let (expires, revoked, disabled) = (
            token.expires_at.is_some(),
            token.revoked_at.is_some(),
            token.app.disabled_at.is_some(),
        );
        match self.flaw {
            Flaw::LiveIsAbsent if !expires && !revoked && !disabled => return Ok(None),
            Flaw::ExpiredIsAbsent if expires => return Ok(None),
            Flaw::RevokedIsAbsent if revoked => return Ok(None),
            Flaw::DisabledIsAbsent if disabled => return Ok(None),
            Flaw::ExpiredIsLive => token.expires_at = None,
            Flaw::RevokedIsLive => token.revoked_at = None,
            Flaw::DisabledIsLive => token.app.disabled_at = None,
            _ => {}
        }
        Ok(Some(token))
    }

    fn absent(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
        // A loose match is harmless as long as the record has its own digest.
        let loose = self.tokens.values().find(|token| {
            let (own, asked) = (token.digest.as_bytes(), digest.as_bytes());
            own[..31] == asked[..31]
        });
        match self.flaw {
            Flaw::AbsenceIsAnError => Err(StoreError::new(StoreErrorKind::NotFound)),
            Flaw::DigestIsAltered => Ok(loose.map(|token| {
                let mut token = token.clone();
                token.digest = *digest;
                token
            })),
            _ => Ok(loose.cloned()),
        }
    }
}

#[async_trait]
impl TokenStore for Table {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let permit = self.connection.acquire().await;
        if self.has(Flaw::DroppedHoldsALock) {
            // A lookup that is dropped midway does not release its permit.
            permit.map_err(StoreError::unavailable)?.forget();
            tokio::task::yield_now().await;
            self.connection.add_permits(1);
        }
        if self.is_down.load(SeqCst) {
            return self.down(digest).map(Answer::from);
        }
        self.up(digest).map(Answer::from)
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        let mut answers = Vec::new();
        for digest in digests {
            match self.find(digest).await {
                Ok(answer) if answer.record.is_none() && self.has(Flaw::ManyLackTheAbsent) => {}
                Err(_) if self.has(Flaw::OutageIsAbsenceOfMany) => answers.push(Answer::default()),
                found => answers.push(found?),
            }
        }
        if self.has(Flaw::ManyAreReversed) {
            answers.reverse();
        }
        Ok(answers)
    }
}

fn token(n: u8) -> TokenRecord {
    TokenRecord::new(
        TokenId::from_bytes([n; 16]),
        TokenDigest::of(&[n]),
        MaskedToken::new("acme_", "x7Kq").unwrap(),
        AppRecord::new(AppId::new("app").unwrap(), "App", Timestamp::UNIX_EPOCH),
        format!("token {n}"),
        Timestamp::UNIX_EPOCH,
    )
}

/// Samples of every status, and an outage.
fn checked(flaw: Flaw) -> (Table, SampleTokens) {
    let past = Some(Timestamp::from_second(1).unwrap());
    let [live, mut expired, mut revoked, mut disabled] = [1, 2, 3, 4].map(token);
    expired.expires_at = past;
    revoked.revoked_at = past;
    disabled.app.disabled_at = past;
    let tokens = [&live, &expired, &revoked, &disabled];
    let is_down = Arc::new(AtomicBool::new(false));
    let table = Table {
        tokens: tokens.map(|token| (token.digest, token.clone())).into(),
        is_down: Arc::clone(&is_down),
        connection: Semaphore::new(1),
        flaw,
    };
    let known = SampleTokens::live(live)
        .with_expired(expired)
        .with_revoked(revoked)
        .with_app_disabled(disabled)
        .outage(async move { is_down.store(true, SeqCst) });
    (table, known)
}

async fn passes(flaw: Flaw) -> bool {
    let (table, known) = checked(flaw);
    let checked = AssertUnwindSafe(conformance::verifies(&table, known));
    checked.catch_unwind().await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn every_flaw_is_caught() {
    assert!(passes(Flaw::None).await);
    for flaw in [
        Flaw::AbsenceIsAnError,
        Flaw::LiveIsAbsent,
        Flaw::ExpiredIsAbsent,
        Flaw::ExpiredIsLive,
        Flaw::RevokedIsAbsent,
        Flaw::RevokedIsLive,
        Flaw::DisabledIsAbsent,
        Flaw::DisabledIsLive,
        Flaw::DigestIsAltered,
        Flaw::ManyAreReversed,
        Flaw::ManyLackTheAbsent,
        Flaw::DroppedHoldsALock,
        Flaw::OutageIsAbsence,
        Flaw::OutageShowsWhatWasThere,
        Flaw::OutageIsAbsenceOfMany,
        Flaw::OutageShowsTheDigest,
    ] {
        assert!(!passes(flaw).await, "{flaw:?} was not caught");
    }
}

#[tokio::test]
async fn a_store_can_be_checked_with_a_live_token_only() {
    let (table, _) = checked(Flaw::None);
    conformance::verifies(&table, &token(1)).await;
}

#[tokio::test]
#[should_panic(expected = "is not as given")]
async fn a_sample_with_the_wrong_status_is_reported() {
    let (table, _) = checked(Flaw::None);
    conformance::verifies(&table, SampleTokens::live(token(1)).with_revoked(token(2))).await;
}
