use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{
    drive::{Authenticators, Measurement, Pace},
    error::LoadTestError,
    figures::{Load, Report},
    kind::{Kind, Skew},
    plan::{self, Counts},
    subjects::{Presented, StoredTokens, Subjects},
};
use crate::{
    Answer, Authenticator, StoreError, TokenDigest, TokenFormat, TokenStore, words::words,
};

/// The maximum duration of a schedule.
const MAX_SCHEDULE: Duration = Duration::from_secs(86_400);
/// How long the test's authenticator caches answers: longer than any test.
const LONG: Duration = Duration::from_secs(30 * 86_400);
/// The maximum number of requests. They are drawn beforehand, at about 20 bytes each.
const MAX_REQUESTS: usize = 100_000_000;

type OnProgress = dyn FnMut(Progress) + Send;

/// The progress of a load test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The current phase.
    pub phase: Phase,
    /// The number of requests that have begun.
    pub done: usize,
    /// The total number of requests in this phase.
    pub total: usize,
}

/// A phase of a load test. Its text form is a word such as `preparing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up every token once, so that it is cached.
    Preparing,
    /// Measuring without a schedule, with [`LoadTest::saturate`].
    Saturating,
    /// Measuring with a schedule, with [`LoadTest::run`].
    Running,
}

words!(Phase, "phase of a load test", {
    Preparing = "preparing",
    Saturating = "saturating",
    Running = "running",
});

/// A builder for a [`LoadTest`].
///
/// Created by [`LoadTest::builder`].
pub struct LoadTestBuilder {
    name: String,
    store: SharedStore,
    format: Option<TokenFormat>,
    known: StoredTokens,
    shares: [f64; Kind::ALL.len()],
    skew: Skew,
    concurrency: usize,
    lookup_timeout: Duration,
    on_progress: Box<OnProgress>,
}

/// A load test of verification with a store. See the [module documentation](super) for the method.
pub struct LoadTest {
    gates: Authenticators,
    format: Option<TokenFormat>,
    known: Arc<StoredTokens>,
    shares: [f64; Kind::ALL.len()],
    load: Load,
    /// The throughput without a schedule when it was last measured.
    sustained: Option<f64>,
    on_progress: Box<OnProgress>,
}

impl LoadTest {
    /// Returns a builder for a load test of a store. The test only reads from the store.
    pub fn builder(store: impl TokenStore) -> LoadTestBuilder {
        LoadTestBuilder {
            name: String::new(),
            store: SharedStore(Arc::new(store)),
            format: None,
            known: StoredTokens::default(),
            shares: [0.0, 0.05, 0.05, 0.05, 0.05],
            skew: Skew::default(),
            concurrency: 8,
            lookup_timeout: Duration::from_secs(1),
            on_progress: Box::new(|_| ()),
        }
    }

    /// Returns the name of the store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.load.name
    }

    /// Makes `requests` requests at a scheduled `rate` per second.
    ///
    /// If the number of concurrent requests reaches the [limit](LoadTestBuilder::concurrency), due
    /// requests wait, and their waiting time counts.
    ///
    /// # Errors
    ///
    /// Returns an error if a token is wrongly admitted or refused, if a kind of request has a share
    /// but no tokens, if the rate is not a positive number, if the schedule is longer than a day,
    /// if there are more than 100 million requests, or if the random number generator fails.
    ///
    /// # Panics
    ///
    /// Panics if called outside of a Tokio runtime with its timer enabled.
    pub async fn run(&mut self, rate: f64, requests: usize) -> Result<Report, LoadTestError> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(LoadTestError::invalid(
                "invalid rate; use a number of requests per second above 0",
            ));
        }
        if requests as f64 / rate > MAX_SCHEDULE.as_secs_f64() {
            return Err(LoadTestError::invalid(
                "the schedule is longer than a day; make fewer requests, or more per second",
            ));
        }
        self.measure(Pace::Schedule { rate }, requests).await
    }

    /// Makes `requests` requests without a schedule: each worker sends a request when the previous
    /// one was answered. The report's [throughput](Report::throughput) is the maximum rate of
    /// verification. Its latencies do not include the time that requests would wait in a schedule.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// Panics if called outside of a Tokio runtime with its timer enabled.
    pub async fn saturate(&mut self, requests: usize) -> Result<Report, LoadTestError> {
        let report = self.measure(Pace::Saturation, requests).await?;
        self.sustained = report.sustained();
        Ok(report)
    }

    async fn measure(&mut self, pace: Pace, requests: usize) -> Result<Report, LoadTestError> {
        if requests > MAX_REQUESTS {
            return Err(LoadTestError::invalid(
                "too many requests; make at most 100,000,000",
            ));
        }
        let counts = plan::counts(&self.shares, requests);
        self.check(&counts)?;
        let subjects = Subjects::new(Arc::clone(&self.known), &counts, self.format.as_ref())?;
        let steps = plan::draw(&counts, &subjects.counts(), self.load.skew);
        let measurement = Arc::new(Measurement::new(self.gates.clone(), subjects, steps));
        let (phase, rate) = match pace {
            Pace::Schedule { rate } => (Phase::Running, Some(rate)),
            Pace::Saturation => (Phase::Saturating, None),
        };
        let report = Report::new(self.load.clone(), rate, self.sustained);
        let on_progress = &mut self.on_progress;
        let mut watch = |done| {
            on_progress(Progress {
                phase,
                done,
                total: requests,
            });
        };
        measurement.drive(pace, report, &mut watch).await
    }

    fn check(&self, counts: &Counts) -> Result<(), LoadTestError> {
        let needs = |kind: Kind| counts[kind as usize] > 0;
        if self.known.live.is_empty() && (needs(Kind::Hit) || needs(Kind::Miss)) {
            return Err(LoadTestError::invalid(
                "no live tokens for hits and misses; pass some to `with_live`",
            ));
        }
        if self.known.revoked.is_empty() && needs(Kind::Revoked) {
            return Err(LoadTestError::invalid(
                "no revoked tokens; pass some to `with_revoked`, or set their share to 0",
            ));
        }
        Ok(())
    }
}

impl LoadTestBuilder {
    /// Sets the name of the store in comparisons. Defaults to an empty name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the format of the tokens; see [`AuthenticatorBuilder::with_format`]. Defaults to any
    /// `b64token`.
    ///
    /// [`AuthenticatorBuilder::with_format`]: crate::AuthenticatorBuilder::with_format
    #[must_use]
    pub fn format(mut self, format: TokenFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// Adds live tokens that are in the store, as clients send them. They are wiped from memory
    /// when the test is dropped.
    #[must_use]
    pub fn with_live(mut self, tokens: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        self.known.live.extend(presented(tokens));
        self
    }

    /// Adds revoked tokens that are in the store, as clients send them.
    #[must_use]
    pub fn with_revoked(mut self, tokens: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        self.known.revoked.extend(presented(tokens));
        self
    }

    /// Sets the share of a kind of request, from 0 to 1. Defaults to 0.05 for every kind except
    /// hits, which are the rest.
    #[must_use]
    pub fn share(mut self, kind: Kind, share: f64) -> Self {
        self.shares[kind as usize] = share;
        self
    }

    /// Sets how often each token is used. Defaults to [`Skew::Uniform`].
    #[must_use]
    pub fn skew(mut self, skew: Skew) -> Self {
        self.skew = skew;
        self
    }

    /// Sets the maximum number of concurrent requests. Defaults to 8.
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests;
        self
    }

    /// Sets the lookup timeout; see [`AuthenticatorBuilder::lookup_timeout`]. Defaults to one
    /// second. A request that takes longer counts as [unavailable](super::Figures::unavailable).
    ///
    /// [`AuthenticatorBuilder::lookup_timeout`]: crate::AuthenticatorBuilder::lookup_timeout
    #[must_use]
    pub fn lookup_timeout(mut self, timeout: Duration) -> Self {
        self.lookup_timeout = timeout;
        self
    }

    /// Sets a function that is called with the progress, about ten times a second and at the end of
    /// each phase.
    #[must_use]
    pub fn on_progress(mut self, on_progress: impl FnMut(Progress) + Send + 'static) -> Self {
        self.on_progress = Box::new(on_progress);
        self
    }

    /// Prepares the test: looks up every token once, so that it is cached.
    ///
    /// # Errors
    ///
    /// Returns an error if a token is wrongly admitted or refused, if the store fails, if the
    /// shares exceed 1, or if the concurrency is zero.
    ///
    /// # Panics
    ///
    /// Panics if called outside of a Tokio runtime with its timer enabled.
    pub async fn prepare(self) -> Result<LoadTest, LoadTestError> {
        self.check()?;
        let mut test = LoadTest {
            gates: self.gates(),
            format: self.format,
            load: Load {
                name: self.name,
                tokens: self.known.live.len(),
                skew: self.skew,
                concurrency: self.concurrency,
            },
            known: Arc::new(self.known),
            shares: self.shares,
            sustained: None,
            on_progress: self.on_progress,
        };
        let known = Arc::clone(&test.known);
        let total = known.live.len() + known.revoked.len();
        let on_progress = &mut test.on_progress;
        let mut watch = |done| {
            on_progress(Progress {
                phase: Phase::Preparing,
                done,
                total,
            });
        };
        test.gates
            .fill_cache(known, test.load.concurrency, &mut watch)
            .await?;
        Ok(test)
    }

    fn check(&self) -> Result<(), LoadTestError> {
        let hits = self.shares[Kind::Hit as usize];
        let sum: f64 = self.shares.iter().sum();
        if !self.shares.iter().all(|share| (0.0..=1.0).contains(share)) || sum > 1.0 + 1e-9 {
            return Err(LoadTestError::invalid(
                "invalid shares; use values from 0 to 1 with a sum of at most 1",
            ));
        }
        if hits > 0.0 && sum < 1.0 - 1e-9 {
            return Err(LoadTestError::invalid(
                "the share of hits cannot be set; set the shares of the other kinds",
            ));
        }
        if self.concurrency == 0 {
            return Err(LoadTestError::invalid(
                "invalid concurrency; use at least 1",
            ));
        }
        Ok(())
    }

    fn gates(&self) -> Authenticators {
        let known = self.known.live.len() + self.known.revoked.len();
        let gate = |max_staleness| {
            let gate = Authenticator::builder(self.store.clone())
                .lookup_timeout(self.lookup_timeout)
                .max_lookups(self.concurrency)
                // The cache starts evicting before it is completely full.
                .capacity(2 * known + 1024)
                .max_staleness(max_staleness);
            match &self.format {
                Some(format) => gate.with_format(format.clone()).build(),
                None => gate.build(),
            }
        };
        Authenticators {
            remembering: gate(LONG),
            forgetting: gate(Duration::ZERO),
        }
    }
}

fn presented(tokens: impl IntoIterator<Item: AsRef<[u8]>>) -> impl Iterator<Item = Presented> {
    let tokens = tokens.into_iter();
    tokens.map(|token| Zeroizing::new(token.as_ref().to_vec()))
}

/// One store shared by two authenticators.
#[derive(Clone, Debug)]
struct SharedStore(Arc<dyn TokenStore>);

#[async_trait]
impl TokenStore for SharedStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.0.find(digest).await
    }
}

impl fmt::Debug for LoadTestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadTestBuilder")
            .field("name", &self.name)
            .field("format", &self.format)
            .field("known", &self.known)
            .field("shares", &self.shares)
            .field("skew", &self.skew)
            .field("concurrency", &self.concurrency)
            .field("lookup_timeout", &self.lookup_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LoadTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadTest")
            .field("known", &self.known)
            .field("shares", &self.shares)
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}
