use jiff::Timestamp;

use super::*;
use crate::{
    AppId, AppRecord, Authenticator, MaskedToken, MemoryStore, TokenDigest, TokenRecord,
    store::Page,
};

/// An authenticator with a follower at a revision, and its preloader.
fn following(shared: &Arc<Shared>) -> Preloader {
    let store = MemoryStore::new();
    let epoch = begin(shared);
    let (requests, _) = mpsc::channel(1);
    Preloader::new(
        Arc::clone(shared),
        epoch,
        Arc::new(store),
        requests,
        Box::new(|_| ()),
    )
}

/// Starts a follower.
fn begin(shared: &Arc<Shared>) -> u64 {
    let mut positions = shared.cache.positions();
    let epoch = positions.claim().unwrap();
    positions.restart(at(10), 0);
    drop(positions);
    shared.clear();
    epoch
}

fn at(number: u64) -> Revision {
    Revision { number, mark: 7 }
}

fn page() -> LivePage {
    let now = Timestamp::UNIX_EPOCH;
    let token = TokenRecord::new(
        TokenId::from_bytes([7; 16]),
        TokenDigest::of(b"token"),
        MaskedToken::new("acme_", "x7Kq").unwrap(),
        AppRecord::new(AppId::new("app").unwrap(), "App", now),
        "ci",
        now,
    );
    LivePage::new(Page::new(vec![token], None), at(10))
}

/// A stream of one page, with a wrong estimate.
#[derive(Debug)]
struct Estimating(u64);

#[async_trait::async_trait]
impl ChangeLog for Estimating {
    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(at(10))
    }

    async fn changes(&self, _: Revision, _: usize) -> Result<crate::Changes, StoreError> {
        unreachable!("the log is not read")
    }

    async fn changed(&self) {
        std::future::pending().await
    }

    async fn live(
        &self,
        _: Option<TokenId>,
        _: usize,
        _: Timestamp,
    ) -> Result<LivePage, StoreError> {
        unreachable!("the stream is read")
    }

    fn live_stream(&self, _: Timestamp) -> Option<LiveStream> {
        let mut page = page();
        page.estimated_total = Some(self.0);
        Some(Box::pin(stream::iter([Ok(page)])))
    }
}

#[tokio::test]
async fn a_wrong_estimate_of_the_tokens_does_no_harm() {
    for estimate in [0, 1, 100, u64::MAX] {
        let shared = shared();
        let mut preloader = following(&shared);
        preloader.log = Arc::new(Estimating(estimate));
        preloader.scan().await.unwrap();
        assert_eq!(is_covered(&shared), Some(true), "{estimate}");
    }
}

fn is_covered(shared: &Shared) -> Option<bool> {
    let entries = shared.cache.entries.pin();
    let entry = entries.get(&TokenDigest::of(b"token"))?;
    Some(entry.is_covered())
}

fn shared() -> Arc<Shared> {
    Authenticator::new(MemoryStore::new()).shared
}

#[test]
fn pages_are_cached_and_covered_while_the_follower_is_current() {
    let shared = shared();
    let preloader = following(&shared);
    shared.cache.preload.begin_scan();
    preloader.cache(&page(), 7);
    assert_eq!(is_covered(&shared), Some(false));
    preloader.check(&mut Pages::default()).unwrap();
    shared.cache.cover_all(preloader.epoch, 7);
    assert_eq!(is_covered(&shared), Some(true));
}

#[test]
fn a_page_that_arrives_after_the_next_follower_started_is_not_cached() {
    let shared = shared();
    let preloader = following(&shared);
    assert!(shared.cache.positions().release(preloader.epoch));
    begin(&shared);
    shared.cache.preload.begin_scan();
    preloader.cache(&page(), 7);
    assert_eq!(is_covered(&shared), None);
    let mut pages = Pages::default();
    pages.add(at(9));
    preloader.check(&mut pages).unwrap_err();
}

#[test]
fn cached_pages_are_not_covered_once_the_follower_has_stopped() {
    let shared = shared();
    let preloader = following(&shared);
    shared.cache.preload.begin_scan();
    preloader.cache(&page(), 7);
    assert!(shared.cache.positions().release(preloader.epoch));
    shared.cache.cover_all(preloader.epoch, 7);
    assert_eq!(is_covered(&shared), Some(false));
}

#[tokio::test]
async fn a_stopped_follower_does_not_touch_the_scan_of_the_next_one() {
    let shared = shared();
    let mut preloader = following(&shared);
    assert!(shared.cache.positions().release(preloader.epoch));
    begin(&shared);
    let preload = &shared.cache.preload;
    preload.begin_scan();
    preload.token_changed(&TokenDigest::of(b"token"));
    preloader.scan().await.unwrap_err();
    assert!(preload.scan_is_valid() && !preload.is_complete());
    let app = AppId::new("app").unwrap();
    assert!(!preload.admits_scanned(&TokenDigest::of(b"token"), &app));
}
