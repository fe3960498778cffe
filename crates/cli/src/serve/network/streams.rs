//! The streams of HTTP/2 connections, each a task of its own.

use std::{cell::Cell, future::poll_fn, pin::pin, task::Poll, time::Duration};

use hyper::rt::Executor;
use tokio::{
    task_local,
    time::{Instant, sleep},
};

task_local! {
    /// Whether the response of the stream has begun.
    static RESPONDING: Cell<bool>;
}

/// Marks that the response of this task's stream has begun. Does nothing for HTTP/1.
pub(super) fn response_begins() {
    let _ = RESPONDING.try_with(|responding| responding.set(true));
}

/// Runs streams, and resets those whose client accepts no part of the response for the timeout. HTTP/2 has flow
/// control for each stream, so a client can stop reading one while the connection is in use.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) write_timeout: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stream = until_stalled(stream, self.write_timeout);
        tokio::spawn(RESPONDING.scope(Cell::new(false), stream));
    }
}

/// Runs a stream until it ends, or until nothing wakes it for the timeout while it responds.
async fn until_stalled(stream: impl Future, timeout: Duration) {
    let mut stream = pin!(stream);
    let mut timer = None;
    poll_fn(|cx| {
        if let Some(timer) = &mut timer
            && Future::poll(std::pin::Pin::as_mut(timer), cx).is_ready()
        {
            return Poll::Ready(());
        }
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if RESPONDING.with(Cell::get) {
            // A small response is sent before this is needed.
            let timer = timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
            timer.as_mut().reset(Instant::now() + timeout);
            return timer.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::timeout;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    async fn ends_within(limit: Duration, stream: impl Future) -> bool {
        let stream = until_stalled(stream, TIMEOUT);
        let stream = RESPONDING.scope(Cell::new(false), stream);
        timeout(limit, stream).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_not_accepted_ends_the_stream() {
        let stalled = async {
            response_begins();
            pending::<()>().await;
        };
        assert!(ends_within(TIMEOUT * 2, stalled).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_accepted_slowly_goes_on() {
        let slow = async {
            response_begins();
            for _ in 0..10 {
                sleep(TIMEOUT / 2).await;
            }
            pending::<()>().await;
        };
        assert!(!ends_within(TIMEOUT * 5, slow).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_take_its_time() {
        assert!(!ends_within(TIMEOUT * 10, pending::<()>()).await);
    }
}
