//! The contract of a store that only has `find`.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::cancellation::dropped_after;
use crate::{
    Answer, Clock, StoreError, SystemClock, TokenDigest, TokenRecord, TokenStatus, TokenStore,
};

/// How long a lookup may take during an outage before it counts as hanging.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// How often a lookup is polled at most before it is dropped.
const MAX_POLLS: usize = 20;

/// Sample tokens in a store that [`verifies`] checks: a live one, and one of every other status
/// that the store supports.
///
/// The tokens must have their status at the time of the check, by the system's clock.
pub struct SampleTokens {
    live: TokenRecord,
    others: Vec<(TokenStatus, TokenRecord)>,
    outage: Option<BoxFuture<'static, ()>>,
}

impl SampleTokens {
    /// Creates the samples from a live token in the store.
    #[must_use]
    pub fn live(token: TokenRecord) -> Self {
        Self {
            live: token,
            others: Vec::new(),
            outage: None,
        }
    }

    /// Adds an expired token.
    #[must_use]
    pub fn with_expired(self, token: TokenRecord) -> Self {
        self.with(TokenStatus::Expired, token)
    }

    /// Adds a revoked token.
    #[must_use]
    pub fn with_revoked(self, token: TokenRecord) -> Self {
        self.with(TokenStatus::Revoked, token)
    }

    /// Adds a token of a disabled app.
    #[must_use]
    pub fn with_app_disabled(self, token: TokenRecord) -> Self {
        self.with(TokenStatus::AppDisabled, token)
    }

    fn with(mut self, status: TokenStatus, token: TokenRecord) -> Self {
        self.others.push((status, token));
        self
    }

    /// Sets a future that starts an outage, for example by stopping the server. It runs last; from
    /// then on every lookup must fail.
    #[must_use]
    pub fn outage(mut self, begin: impl Future<Output = ()> + Send + 'static) -> Self {
        self.outage = Some(Box::pin(begin));
        self
    }

    fn tokens(&self) -> impl Iterator<Item = (TokenStatus, &TokenRecord)> {
        let others = self.others.iter().map(|(status, token)| (*status, token));
        std::iter::once((TokenStatus::Live, &self.live)).chain(others)
    }
}

impl From<&TokenRecord> for SampleTokens {
    fn from(live: &TokenRecord) -> Self {
        Self::live(live.clone())
    }
}

impl fmt::Debug for SampleTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SampleTokens")
            .field("live", &self.live)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

/// Checks the contract of [`TokenStore`]: the store finds each of its tokens as it is, whether or
/// not it would be admitted. It finds no others. During an outage it fails, rather than reporting a
/// token as missing.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::testing::conformance::{self, SampleTokens};
/// # use tower_api_tokens::{Answer, TokenRecord, TokenStore, TokenDigest, StoreError};
/// # #[derive(Debug)]
/// # struct Mine(TokenRecord);
/// # #[async_trait::async_trait]
/// # impl TokenStore for Mine {
/// #     async fn find(&self, d: &TokenDigest) -> Result<Answer, StoreError> {
/// #         Ok((*d == self.0.digest).then(|| self.0.clone()).into())
/// #     }
/// # }
/// # struct Server;
/// # impl Server { async fn stop(self) {} }
/// # async fn check(store: Mine, server: Server, live: TokenRecord, revoked: TokenRecord) {
/// let known = SampleTokens::live(live)
///     .with_revoked(revoked)
///     .outage(async move { server.stop().await });
/// conformance::verifies(&store, known).await;
/// # }
/// ```
///
/// # Panics
///
/// Panics if the store breaks the contract, or if a sample token does not have its status.
pub async fn verifies(store: &impl TokenStore, known: impl Into<SampleTokens>) {
    let known = known.into();
    for (status, token) in known.tokens() {
        let now = SystemClock::default().now();
        let actual = token.status(now);
        assert_eq!(actual, status, "the token `{}` is not as given", token.name);
        let found = store.find(&token.digest).await;
        let found = found.expect("an existing token is found").record;
        assert_eq!(
            found.as_ref(),
            Some(token),
            "a token is found as it stands, whatever its state"
        );
    }
    finds_no_other(store, &known.live).await;
    finds_many(store, &known).await;
    survives_cancellation(store, &known.live).await;
    let (live, outage) = (known.live, known.outage);
    if let Some(begin) = outage {
        begin.await;
        fails(store, &live).await;
    }
}

fn one_bit_off(digest: &TokenDigest, bit: usize) -> TokenDigest {
    let mut other = *digest.as_bytes();
    other[bit / 8] ^= 1 << (bit % 8);
    TokenDigest::from_bytes(other)
}

async fn finds_no_other(store: &impl TokenStore, live: &TokenRecord) {
    for bit in 0..TokenDigest::LEN * 8 {
        let other = one_bit_off(&live.digest, bit);
        let found = store.find(&other).await.expect("absence is no error");
        check_harmless(&found, &other);
    }
}

/// A store may compare loosely: the caller compares the digest of the record.
fn check_harmless(answer: &Answer, asked: &TokenDigest) {
    let found = answer.record.as_ref();
    assert!(
        found.is_none_or(|found| found.digest != *asked),
        "a record is given for a digest that it does not have"
    );
}

async fn finds_many(store: &impl TokenStore, known: &SampleTokens) {
    let absent = one_bit_off(&known.live.digest, 0);
    let tokens: Vec<_> = known.tokens().map(|(_, token)| token).collect();
    let mut wanted: Vec<_> = tokens.iter().map(|token| token.digest).collect();
    wanted.push(absent);
    wanted.push(known.live.digest);
    let answers = store.find_many(&wanted).await.expect("many are found");
    assert_eq!(answers.len(), wanted.len(), "each digest has its answer");
    for (answer, token) in answers.iter().zip(&tokens) {
        let found = answer.record.as_ref();
        assert_eq!(
            found,
            Some(*token),
            "answers are in the order of the digests"
        );
    }
    check_harmless(&answers[tokens.len()], &absent);
    let again = answers[tokens.len() + 1].record.as_ref();
    assert_eq!(
        again,
        Some(&known.live),
        "the same digest can be looked up twice"
    );
    let none = store.find_many(&[]).await.expect("nothing is found");
    assert!(none.is_empty(), "no digests lead to no answers");
}

async fn survives_cancellation(store: &impl TokenStore, live: &TokenRecord) {
    for polls in 0..MAX_POLLS {
        let ended = dropped_after(polls, store.find(&live.digest)).await;
        let found = timeout(ANSWERED_WITHIN, store.find(&live.digest)).await;
        let found = found.expect("a lookup that was dropped holds up no other");
        let found = found.expect("a lookup that was dropped breaks no other");
        assert_eq!(found.record.as_ref(), Some(live));
        if ended {
            return;
        }
    }
}

async fn fails(store: &impl TokenStore, live: &TokenRecord) {
    let absent = one_bit_off(&live.digest, 0);
    for digest in [live.digest, absent] {
        let looked_up = timeout(ANSWERED_WITHIN, store.find(&digest)).await;
        check_failed(looked_up.expect("a lookup ends in an outage"), &digest);
        let looked_up = timeout(ANSWERED_WITHIN, store.find_many(&[digest])).await;
        check_failed(looked_up.expect("a lookup ends in an outage"), &digest);
    }
}

fn check_failed<T>(looked_up: Result<T, StoreError>, digest: &TokenDigest) {
    let Err(error) = looked_up else {
        panic!("during an outage a lookup must fail, and not return a result");
    };
    let mut said = format!("{error:?} {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        said.push_str(&cause.to_string());
        source = cause.source();
    }
    let hex = digest.to_hex();
    assert!(
        !said.to_lowercase().contains(&hex),
        "an error shows no digest"
    );
}
