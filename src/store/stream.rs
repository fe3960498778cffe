//! Streams over paged listings.

use std::future::Future;

use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    AppQuery, AuditQuery, ChangeLog, LivePage, Page, StoreError, TokenQuery, TokenRegistry,
};
use crate::{
    model::{app::AppRecord, audit::AuditEvent, record::TokenRecord},
    token::TokenId,
};

/// Streams the pages of a listing. `read` reads the page after a cursor; the first page is the one
/// after `after`.
///
/// # Errors and cancellation
///
/// A page is read when the stream is polled for it, not ahead of time. The stream ends after the
/// last page or the first error, and then yields `None`. To continue after an error, start another
/// stream after the last record that was received. Dropping a call of `next` loses nothing: the
/// read continues when the stream is polled again, and is dropped with the stream.
///
/// # Examples
///
/// ```
/// use futures_util::TryStreamExt;
/// use tower_api_tokens::{AppQuery, MemoryStore, TokenRegistry, store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = MemoryStore::new();
/// let registry = &registry;
/// let mut pages = store::pages(None, move |after| async move {
///     registry.apps(&AppQuery::default().limit(100).after(after)).await
/// });
/// while let Some(page) = pages.try_next().await? {
///     assert!(page.items.len() <= 100);
/// }
/// # Ok(())
/// # }
/// ```
pub fn pages<T, K, E, F, R>(
    after: Option<K>,
    read: F,
) -> impl Stream<Item = Result<Page<T, K>, E>> + Send + Unpin
where
    T: Send,
    K: Clone + Send,
    E: Send,
    F: FnMut(Option<K>) -> R + Send,
    R: Future<Output = Result<Page<T, K>, E>> + Send,
{
    read_on(after, read, |page| page.next.clone())
}

/// Streams the records of a listing: the items of [`pages`].
pub fn records<T, K, E, F, R>(
    after: Option<K>,
    read: F,
) -> impl Stream<Item = Result<T, E>> + Send + Unpin
where
    T: Send,
    K: Clone + Send,
    E: Send,
    F: FnMut(Option<K>) -> R + Send,
    R: Future<Output = Result<Page<T, K>, E>> + Send,
{
    pages(after, read)
        .map_ok(|page| stream::iter(page.items.into_iter().map(Ok)))
        .try_flatten()
}

/// Streams what `read` returns, until there is no next cursor.
fn read_on<P, K, E, F, R>(
    after: Option<K>,
    read: F,
    next: impl Fn(&P) -> Option<K> + Send,
) -> impl Stream<Item = Result<P, E>> + Send + Unpin
where
    P: Send,
    K: Send,
    E: Send,
    F: FnMut(Option<K>) -> R + Send,
    R: Future<Output = Result<P, E>> + Send,
{
    let state = Some((after, read, next));
    let pages = stream::try_unfold(state, |state| async move {
        let Some((after, mut read, next)) = state else {
            return Ok(None);
        };
        let page = read(after).await?;
        let state = next(&page).map(|after| (Some(after), read, next));
        Ok(Some((page, state)))
    });
    Box::pin(pages.fuse())
}

/// Streams over the listings of every registry. The limit of a query is the size of the pages; see
/// [`pages`] for errors and cancellation.
///
/// # Examples
///
/// ```
/// use futures_util::TryStreamExt;
/// use jiff::Timestamp;
/// use tower_api_tokens::{MemoryStore, TokenQuery, TokenRegistryStreams};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = MemoryStore::new();
/// let mut tokens = registry.stream_tokens(TokenQuery::default(), Timestamp::now());
/// while let Some(token) = tokens.try_next().await? {
///     println!("{}", token.name);
/// }
/// # Ok(())
/// # }
/// ```
pub trait TokenRegistryStreams: TokenRegistry {
    /// Streams the apps that a query selects; see [`TokenRegistry::apps`].
    fn stream_apps(
        &self,
        query: AppQuery,
    ) -> impl Stream<Item = Result<AppRecord, StoreError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.apps(&query).await }
        })
    }

    /// Streams the tokens that a query selects at `now`; see [`TokenRegistry::tokens`].
    fn stream_tokens(
        &self,
        query: TokenQuery,
        now: Timestamp,
    ) -> impl Stream<Item = Result<TokenRecord, StoreError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.tokens(&query, now).await }
        })
    }

    /// Streams the audit events that a query selects; see
    /// [`AuditLog::events`](super::AuditLog::events). Without an audit log, yields a single error
    /// of the kind [`Unsupported`](super::StoreErrorKind::Unsupported).
    fn stream_events(
        &self,
        query: AuditQuery,
    ) -> impl Stream<Item = Result<AuditEvent, StoreError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { super::audit_log(self)?.events(&query).await }
        })
    }
}

impl<R: TokenRegistry + ?Sized> TokenRegistryStreams for R {}

/// A stream over the live tokens of every change log; see [`pages`] for errors and cancellation.
pub trait ChangeLogStreams: ChangeLog {
    /// Streams the tokens that are live at `now` in pages of at most `limit`; see
    /// [`ChangeLog::live`]. Each page has the position at which it was read.
    fn stream_live(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> impl Stream<Item = Result<LivePage, StoreError>> + Send + Unpin {
        live_pages(move |after| self.live(after, limit, now))
    }
}

impl<L: ChangeLog + ?Sized> ChangeLogStreams for L {}

/// Streams pages of live tokens, which `read` reads.
pub(crate) fn live_pages<F, R>(
    read: F,
) -> impl Stream<Item = Result<LivePage, StoreError>> + Send + Unpin
where
    F: FnMut(Option<TokenId>) -> R + Send,
    R: Future<Output = Result<LivePage, StoreError>> + Send,
{
    read_on(None, read, |page: &LivePage| page.next)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        task::Poll,
    };

    use futures_util::{FutureExt, future, poll};

    use super::*;

    /// A listing of the numbers below 7 in pages of 3, which counts its reads.
    async fn numbers(after: Option<u8>, reads: &AtomicUsize) -> Result<Page<u8, u8>, Infallible> {
        reads.fetch_add(1, Relaxed);
        let rest: Vec<u8> = (after.map_or(0, |after| after + 1)..7).collect();
        Ok(Page::from_surplus(rest, 3, |number| *number))
    }

    #[tokio::test]
    async fn every_record_is_streamed_once_in_order() {
        let reads = AtomicUsize::new(0);
        for (after, first) in [(None, 0), (Some(1), 2), (Some(6), 7)] {
            let records = records(after, |after| numbers(after, &reads));
            let listed: Vec<u8> = records.try_collect().await.unwrap();
            assert_eq!(listed, (first..7).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn no_page_is_read_before_it_is_needed() {
        let reads = AtomicUsize::new(0);
        let mut records = records(None, |after| numbers(after, &reads));
        assert_eq!(reads.load(Relaxed), 0);
        for (number, read) in [(0, 1), (1, 1), (2, 1), (3, 2)] {
            assert_eq!(records.next().await, Some(Ok(number)));
            assert_eq!(reads.load(Relaxed), read);
        }
    }

    #[tokio::test]
    async fn a_stream_ends_after_an_error() {
        let reads = AtomicUsize::new(0);
        let mut records = records(None, |after| {
            reads.fetch_add(1, Relaxed);
            future::ready(match after {
                None => Ok(Page::new(vec![1, 2], Some(2))),
                Some(_) => Err("broken"),
            })
        });
        let mut items = Vec::new();
        while let Some(item) = records.next().await {
            items.push(item);
        }
        assert_eq!(items, [Ok(1), Ok(2), Err("broken")]);
        for _ in 0..3 {
            assert_eq!(records.next().await, None);
        }
        assert_eq!(reads.load(Relaxed), 2);
    }

    #[tokio::test]
    async fn an_empty_page_does_not_end_the_stream() {
        let pages = |after: Option<u8>| {
            future::ready(Ok::<_, Infallible>(match after {
                None => Page::new(Vec::new(), Some(1)),
                Some(_) => Page::new(vec![2], None),
            }))
        };
        let listed: Vec<u8> = records(None, pages).try_collect().await.unwrap();
        assert_eq!(listed, [2]);
    }

    #[tokio::test]
    async fn dropping_a_call_of_next_loses_nothing() {
        let (begun, answer) = (AtomicUsize::new(0), tokio::sync::Notify::new());
        let mut records = records(None, |_: Option<u8>| async {
            begun.fetch_add(1, Relaxed);
            answer.notified().await;
            Ok::<_, Infallible>(Page::new(vec![1], None))
        });
        assert_eq!(records.next().now_or_never(), None);
        answer.notify_one();
        assert_eq!(records.next().await, Some(Ok(1)));
        assert_eq!(begun.load(Relaxed), 1, "the page is read once");
        assert_eq!(poll!(records.next()), Poll::Ready(None));
    }

    #[tokio::test]
    async fn a_read_is_dropped_with_its_stream() {
        struct Reading<'a>(&'a AtomicBool);

        impl Drop for Reading<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }

        let dropped = AtomicBool::new(false);
        let mut records = records(None, |_: Option<u8>| async {
            let _reading = Reading(&dropped);
            future::pending::<Result<Page<u8, u8>, Infallible>>().await
        });
        assert_eq!(records.next().now_or_never(), None);
        assert!(!dropped.load(Relaxed));
        drop(records);
        assert!(dropped.load(Relaxed));
    }
}
