//! The streams of HTTP/2 connections, each a task of its own.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use hyper::rt::Executor;
use tokio::{
    task_local,
    time::{Instant, Sleep, sleep},
};

task_local! {
    /// Whether there is a part of a response that the client has to accept.
    static RESPONDING: Cell<bool>;
}

/// Marks that this task's stream has a part of the response to send. Does nothing for HTTP/1.
pub(super) fn response_begins() {
    let _ = RESPONDING.try_with(|responding| responding.set(true));
}

/// Marks that the next part of the response does not exist yet, so that the client has nothing to accept. Does nothing
/// for HTTP/1.
pub(super) fn response_waits() {
    let _ = RESPONDING.try_with(|responding| responding.set(false));
}

/// Runs streams, and resets those whose client accepts no part of the response for the timeout. HTTP/2 has flow
/// control for each stream, so a client can stop reading one while the connection is in use. The time in which there
/// is nothing to send does not count.
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

/// Runs a stream until it ends, or until nothing wakes it for the timeout while it has something to send.
async fn until_stalled(stream: impl Future, timeout: Duration) {
    let mut stream = pin!(stream);
    // A small response is sent before it is needed.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let mut timer_runs = false;
    poll_fn(|cx| {
        if timer_runs
            && let Some(timer) = &mut timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        timer_runs = RESPONDING.with(Cell::get);
        if timer_runs {
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
    use crate::serve::network::activity::Timeouts;

    const TIMEOUT: Duration = Timeouts::DEFAULT.write;

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
    async fn a_response_may_be_produced_slowly() {
        let slow = async {
            response_begins();
            response_waits();
            sleep(TIMEOUT * 10).await;
            response_begins();
            sleep(TIMEOUT / 2).await;
            response_waits();
            pending::<()>().await;
        };
        assert!(!ends_within(TIMEOUT * 20, slow).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_produced_slowly_has_to_be_accepted() {
        let stalled = async {
            response_begins();
            response_waits();
            sleep(TIMEOUT * 10).await;
            response_begins();
            pending::<()>().await;
        };
        assert!(ends_within(TIMEOUT * 12, stalled).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_take_its_time() {
        assert!(!ends_within(TIMEOUT * 10, pending::<()>()).await);
    }
}
