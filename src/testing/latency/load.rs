use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{
    drive::{Course, Gates, Pace},
    error::LoadTestError,
    figures::{Load, Report},
    kind::{Kind, Skew},
    plan::{self, Counts},
    subjects::{Known, Presented, Subjects},
};
use crate::{
    Answer, Authenticator, StoreError, TokenDigest, TokenFormat, TokenStore, words::words,
};

/// How long a schedule may be.
const MAX_SCHEDULE: Duration = Duration::from_secs(86_400);
/// How long the test's authenticator remembers: longer than any test goes on.
const LONG: Duration = Duration::from_secs(30 * 86_400);
/// How many requests there may be: they are drawn beforehand, at some 20 bytes each.
const MAX_REQUESTS: usize = 100_000_000;

type OnProgress = dyn FnMut(Progress) + Send;

/// How far a load test has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// How many requests have begun.
    pub done: usize,
    /// How many requests there will be in this phase.
    pub total: usize,
}

/// What a load test is doing. Its text is a word like `preparing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// It asks the store of every token, so that each will be remembered.
    Preparing,
    /// It measures without a schedule, by [`LoadTest::saturate`].
    Saturating,
    /// It measures by a schedule, by [`LoadTest::run`].
    Running,
}

words!(Phase, "phase of a load test", {
    Preparing = "preparing",
    Saturating = "saturating",
    Running = "running",
});

/// Sets up a [`LoadTest`].
pub struct LoadTestBuilder {
    name: String,
    store: SharedStore,
    format: Option<TokenFormat>,
    known: Known,
    shares: [f64; Kind::ALL.len()],
    skew: Skew,
    concurrency: usize,
    lookup_timeout: Duration,
    on_progress: Box<OnProgress>,
}

/// Measures verification with a store; the [module](super) says how.
pub struct LoadTest {
    gates: Gates,
    format: Option<TokenFormat>,
    known: Arc<Known>,
    shares: [f64; Kind::ALL.len()],
    load: Load,
    /// The throughput without a schedule, when it was last measured.
    sustained: Option<f64>,
    on_progress: Box<OnProgress>,
}

impl LoadTest {
    /// Sets up a load test of a store. The store is read and never written.
    pub fn builder(store: impl TokenStore) -> LoadTestBuilder {
        LoadTestBuilder {
            name: String::new(),
            store: SharedStore(Arc::new(store)),
            format: None,
            known: Known::default(),
            shares: [0.0, 0.05, 0.05, 0.05, 0.05],
            skew: Skew::default(),
            concurrency: 8,
            lookup_timeout: Duration::from_secs(1),
            on_progress: Box::new(|_| ()),
        }
    }

    /// What the store is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.load.name
    }

    /// Makes `requests` requests by a schedule of `rate` a second.
    ///
    /// When as many are under way as the [concurrency](LoadTestBuilder::concurrency) allows, those
    /// that are due wait, and the time counts.
    ///
    /// # Errors
    ///
    /// When a verdict is wrong; when there are no tokens of a kind that has a share; when the rate is
    /// not a number above zero, the schedule longer than a day, or the requests more than 100
    /// million; and when randomness fails.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with its timer enabled.
    pub async fn run(&mut self, rate: f64, requests: usize) -> Result<Report, LoadTestError> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(LoadTestError::invalid(
                "the rate is a number of requests a second above 0",
            ));
        }
        if requests as f64 / rate > MAX_SCHEDULE.as_secs_f64() {
            return Err(LoadTestError::invalid(
                "the schedule is longer than a day: make fewer requests, or more a second",
            ));
        }
        self.measure(Pace::Schedule { rate }, requests).await
    }

    /// Makes `requests` requests without a schedule: each worker sends the next when its last was
    /// answered. The report's [throughput](Report::throughput) is what can be verified a second; its
    /// latencies leave out what a schedule would have made requests wait.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub async fn saturate(&mut self, requests: usize) -> Result<Report, LoadTestError> {
        let report = self.measure(Pace::Saturation, requests).await?;
        self.sustained = report.sustained();
        Ok(report)
    }

    async fn measure(&mut self, pace: Pace, requests: usize) -> Result<Report, LoadTestError> {
        if requests > MAX_REQUESTS {
            return Err(LoadTestError::invalid(
                "more than 100,000,000 requests do not fit: make fewer",
            ));
        }
        let counts = plan::counts(&self.shares, requests);
        self.check(&counts)?;
        let subjects = Subjects::new(Arc::clone(&self.known), &counts, self.format.as_ref())?;
        let steps = plan::draw(&counts, &subjects.counts(), self.load.skew);
        let course = Arc::new(Course::new(self.gates.clone(), subjects, steps));
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
        course.drive(pace, report, &mut watch).await
    }

    fn check(&self, counts: &Counts) -> Result<(), LoadTestError> {
        let needs = |kind: Kind| counts[kind as usize] > 0;
        if self.known.live.is_empty() && (needs(Kind::Hit) || needs(Kind::Miss)) {
            return Err(LoadTestError::invalid(
                "there are hits or misses to measure and no live tokens: give some to `live`",
            ));
        }
        if self.known.revoked.is_empty() && needs(Kind::Revoked) {
            return Err(LoadTestError::invalid(
                "there are no revoked tokens: give some to `revoked`, or set their share to 0",
            ));
        }
        Ok(())
    }
}

impl LoadTestBuilder {
    /// Sets what the store is called where reports are compared. Defaults to nothing.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the format of the tokens, as [`AuthenticatorBuilder::with_format`] does. Defaults to any
    /// `b64token`.
    ///
    /// [`AuthenticatorBuilder::with_format`]: crate::AuthenticatorBuilder::with_format
    #[must_use]
    pub fn format(mut self, format: TokenFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// Adds live tokens that the store holds, as they are presented. They are wiped from memory when
    /// the test is dropped.
    #[must_use]
    pub fn with_live(mut self, tokens: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        self.known.live.extend(presented(tokens));
        self
    }

    /// Adds revoked tokens that the store holds, as they are presented.
    #[must_use]
    pub fn with_revoked(mut self, tokens: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        self.known.revoked.extend(presented(tokens));
        self
    }

    /// Sets which share of the requests is of a kind, from 0 to 1; one in twenty of each but hits,
    /// unless it is told. Hits are what the others leave.
    #[must_use]
    pub fn share(mut self, kind: Kind, share: f64) -> Self {
        self.shares[kind as usize] = share;
        self
    }

    /// Sets how often each token is presented; [`Skew::Uniform`] unless it is told.
    #[must_use]
    pub fn skew(mut self, skew: Skew) -> Self {
        self.skew = skew;
        self
    }

    /// Sets how many requests may be under way at once, 8 unless it is told.
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests;
        self
    }

    /// Sets how long the store may take to answer, one second unless it is told, as
    /// [`AuthenticatorBuilder::lookup_timeout`] does. What takes longer counts as
    /// [unavailable](super::Figures::unavailable).
    ///
    /// [`AuthenticatorBuilder::lookup_timeout`]: crate::AuthenticatorBuilder::lookup_timeout
    #[must_use]
    pub fn lookup_timeout(mut self, timeout: Duration) -> Self {
        self.lookup_timeout = timeout;
        self
    }

    /// Sets what is told of the progress, about ten times a second and at the end of each phase.
    #[must_use]
    pub fn on_progress(mut self, on_progress: impl FnMut(Progress) + Send + 'static) -> Self {
        self.on_progress = Box::new(on_progress);
        self
    }

    /// Asks the store of every token once, so that they will be remembered.
    ///
    /// # Errors
    ///
    /// When a verdict is wrong, when the store fails, when the shares are more than the whole, and
    /// when no request may be under way.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with its timer enabled.
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
            .remember(known, test.load.concurrency, &mut watch)
            .await?;
        Ok(test)
    }

    fn check(&self) -> Result<(), LoadTestError> {
        let hits = self.shares[Kind::Hit as usize];
        let sum: f64 = self.shares.iter().sum();
        if !self.shares.iter().all(|share| (0.0..=1.0).contains(share)) || sum > 1.0 + 1e-9 {
            return Err(LoadTestError::invalid(
                "shares are from 0 to 1 and at most 1 together",
            ));
        }
        if hits > 0.0 && sum < 1.0 - 1e-9 {
            return Err(LoadTestError::invalid(
                "hits are what the shares of the other kinds leave: set those",
            ));
        }
        if self.concurrency == 0 {
            return Err(LoadTestError::invalid(
                "the concurrency is at least 1: no request could ever be under way",
            ));
        }
        Ok(())
    }

    fn gates(&self) -> Gates {
        let known = self.known.live.len() + self.known.revoked.len();
        let gate = |max_staleness| {
            let gate = Authenticator::builder(self.store.clone())
                .lookup_timeout(self.lookup_timeout)
                .max_lookups(self.concurrency)
                // Room is made before the last place is taken.
                .capacity(2 * known + 1024)
                .max_staleness(max_staleness);
            match &self.format {
                Some(format) => gate.with_format(format.clone()).build(),
                None => gate.build(),
            }
        };
        Gates {
            remembering: gate(LONG),
            forgetting: gate(Duration::ZERO),
        }
    }
}

fn presented(tokens: impl IntoIterator<Item: AsRef<[u8]>>) -> impl Iterator<Item = Presented> {
    let tokens = tokens.into_iter();
    tokens.map(|token| Zeroizing::new(token.as_ref().to_vec()))
}

/// One store for two authenticators.
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
