//! Streams of all live tokens, read in one statement by a task, so that rows are read while the previous ones
//! are cached.
//!
//! The statement keeps its snapshot of the database for as long as it runs. Meanwhile no row that was deleted or
//! changed can be removed from the table. So a stream has a time limit, and ends with an error if its reader
//! stalls.

use std::time::Duration;

use futures_util::stream;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tower_api_tokens::{LivePage, LiveStream, StoreError};

/// How many tokens a page has.
pub(crate) const PAGE: usize = 1000;

/// How many pages may wait for the reader.
const WAITING: usize = 2;

/// How long the statement may take.
pub(crate) const LONGEST: Duration = Duration::from_secs(15 * 60);

/// How long the reader may take for a page.
const PATIENCE: Duration = Duration::from_secs(60);

enum Item {
    Page(LivePage),
    End,
}

/// Where a task puts the pages.
pub(crate) struct Pages(mpsc::Sender<Result<Item, StoreError>>);

impl Pages {
    pub(crate) async fn send(&self, page: LivePage) -> Result<(), StoreError> {
        let sent = timeout(PATIENCE, self.0.send(Ok(Item::Page(page)))).await;
        let sent = sent.map_err(|_| {
            StoreError::unavailable("the live tokens were read too slowly; read them in pages")
        })?;
        sent.map_err(StoreError::unavailable)
    }
}

/// Streams the pages that `read` sends. It runs in a task from the first time that the stream is polled, until it is
/// done or the stream is dropped.
pub(crate) fn stream_of<F, R>(read: F) -> LiveStream
where
    F: FnOnce(Pages) -> R + Send + 'static,
    R: Future<Output = Result<Pages, StoreError>> + Send,
{
    Box::pin(stream::unfold(State::New(read), |state| async {
        let mut received = match state {
            State::New(read) => start(read),
            State::Running(received) => received,
            State::Done => return None,
        };
        match received.recv().await {
            Some(Ok(Item::Page(page))) => Some((Ok(page), State::Running(received))),
            Some(Ok(Item::End)) => None,
            Some(Err(error)) => Some((Err(error), State::Done)),
            None => {
                let error = StoreError::unavailable("reading the live tokens was interrupted");
                Some((Err(error), State::Done))
            }
        }
    }))
}

enum State<F> {
    New(F),
    Running(mpsc::Receiver<Result<Item, StoreError>>),
    Done,
}

fn start<F, R>(read: F) -> mpsc::Receiver<Result<Item, StoreError>>
where
    F: FnOnce(Pages) -> R + Send + 'static,
    R: Future<Output = Result<Pages, StoreError>> + Send,
{
    let (items, received) = mpsc::channel(WAITING);
    let (pages, dropped) = (Pages(items.clone()), items.clone());
    tokio::spawn(async move {
        let limit = Instant::now() + LONGEST;
        let reading = async move { timeout_at(limit, read(pages)).await };
        let done = tokio::select! {
            done = reading => done,
            () = dropped.closed() => return,
        };
        let last = match done {
            Ok(Ok(_)) => Ok(Item::End),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::unavailable(format!(
                "the live tokens were not read within {} minutes",
                LONGEST.as_secs() / 60
            ))),
        };
        // The reader may be gone.
        drop(timeout(PATIENCE, items.send(last)).await);
    });
    received
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, TryStreamExt};
    use tower_api_tokens::{Page, Revision};

    use super::*;

    fn page(number: u64) -> LivePage {
        LivePage::new(Page::empty(), Revision::new(number, 0))
    }

    #[tokio::test]
    async fn all_pages_arrive_in_order() {
        let stream = stream_of(async |pages| {
            for number in 0..10 {
                pages.send(page(number)).await?;
            }
            Ok(pages)
        });
        let pages: Vec<_> = stream.try_collect().await.unwrap();
        let numbers: Vec<_> = pages.iter().map(|page| page.position.number).collect();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_stream_that_was_interrupted_does_not_look_complete() {
        let failing = stream_of(async |pages| {
            pages.send(page(1)).await?;
            Err(StoreError::unavailable("the connection is lost"))
        });
        let panicking = stream_of(async |pages| {
            pages.send(page(1)).await?;
            panic!("on purpose")
        });
        for mut stream in [failing, panicking] {
            assert!(stream.next().await.unwrap().is_ok());
            assert!(stream.next().await.unwrap().is_err());
            assert!(stream.next().await.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stalls_gets_an_error() {
        let mut stream = stream_of(async |pages| {
            for number in 0..100 {
                pages.send(page(number)).await?;
            }
            Ok(pages)
        });
        assert!(stream.next().await.unwrap().is_ok());
        tokio::time::sleep(3 * PATIENCE).await;
        let rest: Vec<_> = stream.collect().await;
        assert!(rest.len() < 10 && rest.last().unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_that_hangs_ends_with_an_error() {
        let mut stream = stream_of(async |pages| {
            std::future::pending::<()>().await;
            Ok(pages)
        });
        assert!(stream.next().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_ends_its_task() {
        let (held, released) = tokio::sync::oneshot::channel::<()>();
        let mut stream = stream_of(async move |pages| {
            let _held = held;
            std::future::pending::<()>().await;
            Ok(pages)
        });
        assert!(stream.next().now_or_never().is_none());
        drop(stream);
        released.await.unwrap_err();
    }
}
