//! Makes the requests and measures their latencies.

use std::{
    hint::spin_loop,
    panic::resume_unwind,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    sync::Mutex,
    task::{JoinSet, coop::consume_budget, yield_now},
    time::{interval, sleep},
};

use super::{
    error::LoadTestError,
    figures::Report,
    kind::Kind,
    plan::Step,
    subjects::{StoredTokens, Subjects},
};
use crate::{AppPrincipal, Authenticator, Rejection, RejectionKind};

/// This long before a request is due, the timer is no longer precise enough.
const COARSE: Duration = Duration::from_millis(3);
/// This long before a request is due, there is no time to yield to other tasks.
const FINE: Duration = Duration::from_micros(10);
/// The time until the first request, so that every worker has started.
const LEAD: Duration = Duration::from_millis(5);
/// How many requests a worker takes in one step, without a schedule.
const BATCH: usize = 16;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

type Watch<'a> = dyn FnMut(usize) + Send + 'a;

/// When requests are made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// At this rate per second, whether or not earlier requests have been answered.
    Schedule { rate: f64 },
    /// Each when its worker has received the previous answer.
    Saturation,
}

/// The authenticators that use the store.
#[derive(Clone, Debug)]
pub(super) struct Authenticators {
    pub(super) remembering: Authenticator,
    pub(super) forgetting: Authenticator,
}

impl Authenticators {
    /// Looks up every token, so that it is cached.
    pub(super) async fn fill_cache(
        &self,
        known: Arc<StoredTokens>,
        workers: usize,
        watch: &mut Watch<'_>,
    ) -> Result<(), LoadTestError> {
        let cursor = Arc::new(AtomicUsize::new(0));
        let total = known.live.len() + known.revoked.len();
        let work = || {
            let (gate, known) = (self.remembering.clone(), Arc::clone(&known));
            let cursor = Arc::clone(&cursor);
            async move {
                loop {
                    let n = cursor.fetch_add(1, Relaxed);
                    let (kind, token) = match known.live.get(n) {
                        Some(token) => (Kind::Hit, token),
                        None => match known.revoked.get(n - known.live.len()) {
                            Some(token) => (Kind::Revoked, token),
                            None => return Ok(()),
                        },
                    };
                    let verdict = gate.authenticate(token).await;
                    if let Some(unavailable) = check(kind, verdict)? {
                        return Err(LoadTestError::store(unavailable));
                    }
                    consume_budget().await;
                }
            }
        };
        let done = || cursor.load(Relaxed).min(total);
        in_parallel(workers, work, || watch(done())).await
    }
}

/// The requests of one measurement.
pub(super) struct Measurement {
    gates: Authenticators,
    subjects: Subjects,
    steps: Box<[Step]>,
    /// The outcome of each request: its latency in nanoseconds, shifted by one bit that shows
    /// whether the store was unavailable.
    outcomes: Box<[AtomicU64]>,
    /// The next request.
    cursor: AtomicUsize,
    /// Held by the worker that waits until the next request is due.
    turn: Mutex<()>,
}

impl Measurement {
    pub(super) fn new(gates: Authenticators, subjects: Subjects, steps: Box<[Step]>) -> Self {
        Self {
            gates,
            subjects,
            outcomes: steps.iter().map(|_| AtomicU64::new(0)).collect(),
            steps,
            cursor: AtomicUsize::new(0),
            turn: Mutex::new(()),
        }
    }

    /// Makes all requests, and completes the report.
    pub(super) async fn drive(
        self: Arc<Self>,
        pace: Pace,
        mut report: Report,
        watch: &mut Watch<'_>,
    ) -> Result<Report, LoadTestError> {
        let begun = now() + LEAD;
        let work = || {
            let measurement = Arc::clone(&self);
            async move {
                match pace {
                    Pace::Schedule { rate } => measurement.keep_schedule(begun, rate).await,
                    Pace::Saturation => measurement.saturate(begun).await,
                }
            }
        };
        let done = || self.cursor.load(Relaxed).min(self.steps.len());
        in_parallel(report.concurrency(), work, || watch(done())).await?;
        let elapsed = begun.elapsed();
        for (step, outcome) in self.steps.iter().zip(&self.outcomes) {
            let outcome = outcome.load(Relaxed);
            let latency = Duration::from_nanos(outcome >> 1);
            report.record(step.kind, latency, outcome & 1 == 0);
        }
        Ok(report.ended(elapsed))
    }

    /// Makes the requests that fall to this worker, each when it is due.
    async fn keep_schedule(&self, begun: Instant, rate: f64) -> Result<(), LoadTestError> {
        let mut turn = None;
        loop {
            let held = match turn.take() {
                Some(held) => held,
                None => self.turn.lock().await,
            };
            let n = self.cursor.fetch_add(1, Relaxed);
            let Some(&step) = self.steps.get(n) else {
                return Ok(());
            };
            let due = begun + Duration::from_secs_f64(n as f64 / rate);
            wait_until(due).await;
            let mut call = pin!(self.present(step));
            // A worker whose request was answered immediately waits for the next one as well.
            // Otherwise it lets another worker do that.
            let verdict = match call.as_mut().now_or_never() {
                Some(verdict) => {
                    turn = Some(held);
                    verdict
                }
                None => {
                    drop(held);
                    call.await
                }
            };
            self.record(n, due.elapsed(), step, verdict)?;
        }
    }

    async fn saturate(&self, begun: Instant) -> Result<(), LoadTestError> {
        wait_until(begun).await;
        loop {
            let first = self.cursor.fetch_add(BATCH, Relaxed);
            if first >= self.steps.len() {
                return Ok(());
            }
            for n in first..self.steps.len().min(first + BATCH) {
                let step = self.steps[n];
                let sent = now();
                let verdict = self.present(step).await;
                self.record(n, sent.elapsed(), step, verdict)?;
                consume_budget().await;
            }
        }
    }

    async fn present(&self, step: Step) -> Result<AppPrincipal, Rejection> {
        let gate = match step.kind {
            Kind::Miss => &self.gates.forgetting,
            _ => &self.gates.remembering,
        };
        gate.authenticate(self.subjects.get(step)).await
    }

    fn record(
        &self,
        n: usize,
        latency: Duration,
        step: Step,
        verdict: Result<AppPrincipal, Rejection>,
    ) -> Result<(), LoadTestError> {
        let unavailable = u64::from(check(step.kind, verdict)?.is_some());
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX >> 1);
        self.outcomes[n].store(nanoseconds << 1 | unavailable, Relaxed);
        Ok(())
    }
}

/// Checks a result, and returns the rejection if the store did not answer.
fn check(
    kind: Kind,
    verdict: Result<AppPrincipal, Rejection>,
) -> Result<Option<Rejection>, LoadTestError> {
    use RejectionKind::{MalformedCredential, RevokedToken, UnknownToken, WrongFormat};
    let refused = verdict.as_ref().err().map(Rejection::kind);
    if refused.is_some_and(RejectionKind::is_unavailable) {
        return Ok(verdict.err());
    }
    match (kind, refused) {
        (Kind::Hit | Kind::Miss, None)
        | (Kind::Unknown, Some(UnknownToken))
        | (Kind::Garbage, Some(WrongFormat | MalformedCredential))
        | (Kind::Revoked, Some(RevokedToken)) => Ok(None),
        _ => Err(LoadTestError::wrong_verdict(kind, verdict.err())),
    }
}

/// Waits until a request is due, and yields to other tasks as long as there is time.
async fn wait_until(due: Instant) {
    consume_budget().await;
    loop {
        let left = due.saturating_duration_since(now());
        if left.is_zero() {
            return;
        } else if left > COARSE {
            sleep(left - COARSE).await;
        } else if left > FINE {
            yield_now().await;
        } else {
            spin_loop();
        }
    }
}

/// Runs workers until all have finished or one has failed.
async fn in_parallel<W>(
    workers: usize,
    work: impl Fn() -> W,
    mut watch: impl FnMut(),
) -> Result<(), LoadTestError>
where
    W: Future<Output = Result<(), LoadTestError>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        tasks.spawn(work());
    }
    let mut ticks = interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                Some(Ok(result)) => result?,
                Some(Err(error)) => if error.is_panic() {
                    resume_unwind(error.into_panic());
                },
                None => break,
            },
            _ = ticks.tick() => watch(),
        }
    }
    watch();
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "latencies need the most precise clock, and do not affect tokens"
)]
fn now() -> Instant {
    Instant::now()
}
