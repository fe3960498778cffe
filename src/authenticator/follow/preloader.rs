//! Keeps the preloaded cache complete: loads all live tokens, re-reads those that change, and loads
//! them again if some are lost. Meanwhile the log is read and the lease renewed.
//!
//! A dropped follower may still be working on another thread when the next one starts. So it
//! touches shared state only while it is the current follower: it begins and ends scans under the
//! lock of the positions, and caches tokens under the lock of their digest, which the next follower
//! takes to clear the cache.

use std::{
    pin::pin,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use futures_util::{Stream, TryStreamExt, stream};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    catch_up::{CatchUp, Done},
    claim::ended,
};
use crate::{
    authenticator::{
        Shared,
        positions::{Freshness, Positions},
        preload::Loss,
        refresh::{self, Refresher},
        rounds::Rounds,
    },
    store::{ChangeLog, LivePage, LiveStream, Revision, StoreError, catch_panic, live_pages},
    telemetry,
    token::TokenId,
};

/// How many tokens one page has.
const PAGE: usize = refresh::BATCH;

/// How long the next page of a stream may take.
const STALL: Duration = Duration::from_secs(60);

/// How often a page is read while its server lags behind.
const ATTEMPTS: u32 = 8;

/// The pause after the first attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(10);

/// How many scans to make in a row while apps change.
const SCANS: usize = 3;

/// When to load the tokens again after they did not fit, and the maximum delay.
const RETRY_CAPACITY: Duration = Duration::from_secs(60);
const MAX_RETRY_CAPACITY: Duration = Duration::from_secs(3600);

pub(super) type OnLoad = dyn FnMut(usize) + Send;

pub(super) struct Preloader {
    pub(super) shared: Arc<Shared>,
    /// The epoch of the follower.
    epoch: u64,
    pub(super) log: Arc<dyn ChangeLog>,
    /// Requests to apply the log up to now.
    pub(super) requests: mpsc::Sender<CatchUp>,
    pub(super) on_load: Box<OnLoad>,
    refresher: Refresher,
    /// When the tokens may be loaded again, after they did not fit.
    retry_at: Duration,
    retry_after: Duration,
}

impl Preloader {
    pub(super) fn new(
        shared: Arc<Shared>,
        epoch: u64,
        log: Arc<dyn ChangeLog>,
        requests: mpsc::Sender<CatchUp>,
        on_load: Box<OnLoad>,
    ) -> Self {
        Self {
            shared,
            epoch,
            log,
            requests,
            on_load,
            refresher: Refresher::new(),
            retry_at: Duration::ZERO,
            retry_after: RETRY_CAPACITY,
        }
    }

    /// Loads the tokens, and from then on loads or re-reads what is missing. `waiting` receives the
    /// requests that wait until all changes up to now have been re-read.
    pub(super) async fn run(
        mut self,
        ready: Done,
        mut waiting: mpsc::UnboundedReceiver<Done>,
        poll_interval: Duration,
    ) {
        let loaded = self.load().await;
        let failed = loaded.is_err();
        let _ = ready.send(loaded);
        if failed {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut rounds = Rounds::new(poll_interval);
        // After a failure, the next attempt is in the next round, not immediately.
        let mut pauses = false;
        loop {
            let waits = tokio::select! {
                biased;
                waits = waiting.recv() => match waits {
                    Some(waits) => Some(waits),
                    None => return,
                },
                () = shared.cache.preload.work.notified(), if !pauses => None,
                () = shared.cache.grants.work.notified(), if !pauses => None,
                () = rounds.next() => None,
            };
            let refreshed = self.refresh().await;
            pauses = refreshed.is_err() || shared.cache.preload.wants_scan().is_some();
            if refreshed.is_err() {
                rounds.retry();
            }
            if let Some(waits) = waits {
                let _ = waits.send(refreshed);
            }
        }
    }

    async fn refresh(&mut self) -> Result<(), StoreError> {
        self.load().await?;
        self.refresher.run(&self.shared).await?;
        // Until it succeeds, requests look the apps up.
        drop(refresh::read_apps(&self.shared).await);
        Ok(())
    }

    /// Loads all live tokens, if some may be missing.
    async fn load(&mut self) -> Result<(), StoreError> {
        for _ in 0..SCANS {
            let now = self.shared.clock.monotonic();
            match self.shared.cache.preload.wants_scan() {
                None => break,
                Some(Loss::Capacity) if now < self.retry_at => break,
                Some(_) => {}
            }
            self.scan().await?;
            if self.shared.cache.preload.wants_scan() == Some(Loss::Capacity) {
                let now = self.shared.clock.monotonic();
                self.retry_at = now.saturating_add(self.retry_after);
                self.retry_after = (2 * self.retry_after).min(MAX_RETRY_CAPACITY);
            } else {
                self.retry_after = RETRY_CAPACITY;
            }
        }
        Ok(())
    }

    async fn scan(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let preload = &shared.cache.preload;
        let (start, serial) = {
            let mut positions = self.positions()?;
            let start = positions.applied().ok_or_else(ended)?;
            preload.begin_scan();
            (start, positions.next_serial())
        };
        let whole = self.scan_all(start, serial).await;
        if matches!(whole, Ok(true)) {
            let (cover, epoch) = (Arc::clone(&shared), self.epoch);
            let cover = move || cover.cache.cover_all(epoch, serial);
            let covered = tokio::task::spawn_blocking(cover).await;
            covered.map_err(StoreError::unavailable)?;
        }
        let current = self.positions()?;
        preload.end_scan(matches!(whole, Ok(true)));
        drop(current);
        whole.map(drop)
    }

    /// Returns the positions, unless the follower has stopped.
    fn positions(&self) -> Result<MutexGuard<'_, Positions>, StoreError> {
        let positions = self.shared.cache.positions();
        match positions.is_current(self.epoch) {
            true => Ok(positions),
            false => Err(ended()),
        }
    }

    /// Reads all tokens. Returns `false` if the scan has become invalid.
    async fn scan_all(&mut self, start: Revision, serial: u32) -> Result<bool, StoreError> {
        let mut pages = Pages::default();
        if !self.read_all(start, serial, &mut pages).await? {
            return Ok(false);
        }
        // Tokens that are ahead of the applied revision are covered once the follower has read that
        // far.
        for attempt in 0..ATTEMPTS {
            if pages.are_reached() {
                break;
            }
            if attempt > 0 {
                sleep(PAUSE.saturating_mul(1 << attempt)).await;
            }
            self.catch_up().await?;
            self.check(&mut pages)?;
        }
        if pages.are_reached() {
            Ok(self.shared.cache.preload.scan_is_valid())
        } else {
            Err(StoreError::unavailable(
                "the change log lacks changes that the tokens show; check the replication of its server",
            ))
        }
    }

    /// Reads all tokens in one stream, or page by page if there is none or it fails.
    async fn read_all(
        &mut self,
        start: Revision,
        serial: u32,
        read: &mut Pages,
    ) -> Result<bool, StoreError> {
        let (shared, log) = (Arc::clone(&self.shared), Arc::clone(&self.log));
        if let Some(stream) = log.live_stream(shared.clock.now()) {
            let pages = bounded(&shared, stream, start);
            match self.read_pages(pages, serial, read).await {
                Err(error) => telemetry::stream_failed(&error),
                done => return done,
            }
        }
        let pages = live_pages(|after| read_page(&shared, &*log, after, start));
        self.read_pages(pages, serial, read).await
    }

    async fn read_pages(
        &mut self,
        pages: impl Stream<Item = Result<LivePage, StoreError>>,
        serial: u32,
        read: &mut Pages,
    ) -> Result<bool, StoreError> {
        let (mut pages, mut loaded) = (pin!(pages), 0);
        while let Some(page) = pages.try_next().await? {
            read.add(page.position);
            if let Some(total) = page.estimated_total {
                self.shared.cache.reserve(total);
            }
            self.cache(&page, serial);
            loaded += page.tokens.len();
            (self.on_load)(loaded);
            self.check(read)?;
            if !self.shared.cache.preload.scan_is_valid() {
                return Ok(false);
            }
            tokio::task::yield_now().await;
        }
        Ok(true)
    }

    fn cache(&self, page: &LivePage, serial: u32) {
        let Shared {
            cache,
            in_flight,
            clock,
            ..
        } = &*self.shared;
        // The entry is not used before the lease covers it.
        let scanned = Freshness {
            until: 0,
            coverage: serial,
            is_behind: false,
        };
        let (now, monotonic) = (clock.now(), clock.monotonic());
        cache.preload.record_expiry_check(now);
        let live = page.tokens.iter().filter(|token| token.is_admissible(now));
        for token in live {
            let digest = &token.digest;
            in_flight.exclusively(digest, || {
                let is_current = cache.positions().is_current(self.epoch);
                if !is_current || !cache.preload.admits_scanned(digest, &token.app.id) {
                    return;
                }
                match cache.entries.pin().get(digest) {
                    // At least as new as the page.
                    Some(entry) if entry.is_covered() || entry.is_scanned_as(serial) => {}
                    // A request has looked it up. The answer may be newer than the page.
                    Some(entry) if entry.is_looked_up() => cache.preload.mark_pending(digest, 0),
                    // What a scan that failed left behind does not.
                    _ => {
                        cache.cache(token, scanned, monotonic, &**clock);
                    }
                }
            });
        }
        for digest in &page.unreadable {
            let due_at = refresh::retry_unreadable(monotonic);
            in_flight.exclusively(digest, || cache.preload.mark_pending(digest, due_at));
        }
        Shared::make_room(&self.shared);
    }

    /// Checks that the pages belong to the history that the follower reads.
    fn check(&self, pages: &mut Pages) -> Result<(), StoreError> {
        let positions = self.positions()?;
        let applied = positions.applied().ok_or_else(ended)?;
        let history = positions.history();
        let is_unrelated = |page: &Revision| history.differs(*page);
        if pages.ahead.iter().any(is_unrelated) {
            return Err(StoreError::unavailable(
                "the tokens and the change log belong to different stores; follow the log of the \
                 store that has the tokens",
            ));
        }
        pages.ahead.retain(|page| page.number > applied.number);
        Ok(())
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let (done, caught_up) = oneshot::channel();
        let request = CatchUp {
            done,
            refreshes: false,
        };
        self.requests.send(request).await.map_err(|_| ended())?;
        caught_up.await.map_err(|_| ended())?
    }
}

/// Limits the time for each page of a stream, and checks that it includes all changes applied before the scan began.
fn bounded(
    shared: &Shared,
    stream: LiveStream,
    start: Revision,
) -> impl Stream<Item = Result<LivePage, StoreError>> {
    stream::try_unfold(stream, move |mut stream| async move {
        let page = timeout(STALL, catch_panic(|| stream.try_next())).await;
        let page = page.map_err(StoreError::unavailable)??;
        match page {
            Some(page) if !includes(shared, &page, start) => Err(lags()),
            page => Ok(page.map(|page| (page, stream))),
        }
    })
}

fn includes(shared: &Shared, page: &LivePage, start: Revision) -> bool {
    let is_unrelated = shared.cache.positions().history().differs(page.position);
    page.position.number >= start.number && !is_unrelated
}

fn lags() -> StoreError {
    StoreError::unavailable(
        "the tokens lack changes that the change log shows; check that all servers of the store \
         replicate from the primary",
    )
}

/// Reads a page that includes all changes applied before the scan began.
async fn read_page(
    shared: &Shared,
    log: &dyn ChangeLog,
    after: Option<TokenId>,
    start: Revision,
) -> Result<LivePage, StoreError> {
    for attempt in 0..ATTEMPTS {
        let page = catch_panic(|| log.live(after, PAGE, shared.clock.now()));
        let page = timeout(shared.lookups.timeout(), page).await;
        let page = page.map_err(StoreError::unavailable)??;
        if includes(shared, &page, start) {
            return Ok(page);
        }
        sleep(PAUSE.saturating_mul(1 << attempt)).await;
    }
    Err(lags())
}

/// The positions of pages that the follower has not reached yet.
#[derive(Debug, Default)]
struct Pages {
    ahead: Vec<Revision>,
}

impl Pages {
    fn add(&mut self, position: Revision) {
        if self.ahead.last() != Some(&position) {
            self.ahead.push(position);
        }
    }

    fn are_reached(&self) -> bool {
        self.ahead.is_empty()
    }
}

#[cfg(test)]
mod tests;
