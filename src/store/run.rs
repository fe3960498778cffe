//! Calls of a store that must not be cut off, and calls that must not panic.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::StoreError;
use crate::telemetry;

/// Runs a change to its end, even if the caller goes away, and turns a panic into an error.
///
/// Every change that [`ApiTokens`](crate::ApiTokens) makes is run by this, and a store uses it for
/// what must not stop between two statements. The change runs in a task of its own, in the caller's
/// `tracing` span.
///
/// ```
/// use tower_api_tokens::{StoreError, StoreErrorKind, store::run_to_end};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let changed = run_to_end(async { Ok::<_, StoreError>("changed") }).await;
/// assert_eq!(changed.unwrap(), "changed");
///
/// let failed = run_to_end::<(), StoreError>(async { panic!("out of luck") }).await;
/// assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Unavailable);
/// # }
/// ```
///
/// # Cancellation
///
/// The change begins when the returned future is first polled. From then on, dropping that future
/// does not stop the change: only its result is lost. Nothing is done by a future that was never
/// polled.
///
/// # Runtime shutdown
///
/// A runtime that shuts down drops the change at its next await. A caller that is still polled gets an
/// error, and a store's own rollback decides what is left of the change.
///
/// # Errors
///
/// Returns the error of the change, and a [`StoreError`] of the kind
/// [`Unavailable`](super::StoreErrorKind::Unavailable) if the change panics or the runtime shuts down:
/// then it is unknown whether it was made. The error does not repeat the message of the panic, which
/// may hold anything.
///
/// # Panics
///
/// Panics outside of a Tokio runtime.
pub async fn run_to_end<T, E>(
    change: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let change = telemetry::in_current_span(catch_panic(|| change));
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(_) => Err(interrupted(
            "the runtime was shut down before the call ended",
        )),
    }
}

/// Turns a panic in a call into an error, in the caller's own task.
///
/// This is for calls that may be dropped at any await: those that read, and those that are repeated
/// until they succeed.
///
/// ```
/// use tower_api_tokens::{AppQuery, MemoryStore, TokenRegistry, store::catch_panic};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (store, query) = (MemoryStore::new(), AppQuery::default());
/// let page = catch_panic(|| store.apps(&query)).await;
/// assert!(page.is_ok());
/// # }
/// ```
///
/// # Errors
///
/// Returns the error of the call, and a [`StoreError`] of the kind
/// [`Unavailable`](super::StoreErrorKind::Unavailable) if the call panics.
pub async fn catch_panic<T, E, F>(call: impl FnOnce() -> F) -> Result<T, E>
where
    E: From<StoreError>,
    F: Future<Output = Result<T, E>>,
{
    // What the call has left half done is the store's own to check; nothing here is used after it.
    match AssertUnwindSafe(async { call().await })
        .catch_unwind()
        .await
    {
        Ok(result) => result,
        Err(_) => Err(interrupted("the call panicked")),
    }
}

fn interrupted<E: From<StoreError>>(how: &'static str) -> E {
    StoreError::unavailable(how).into()
}

#[cfg(test)]
mod tests {
    use std::{error::Error, future::pending, sync::Arc};

    use tokio::{
        runtime::Builder,
        sync::{Notify, oneshot},
        task::yield_now,
    };

    use super::*;
    use crate::store::StoreErrorKind;

    #[tokio::test]
    async fn a_panic_is_an_error_that_does_not_repeat_it() {
        let secret = "acme_live_secret";
        for error in [
            run_to_end::<(), StoreError>(async move { panic!("{secret}") }).await,
            catch_panic::<(), StoreError, _>(|| async move { panic!("{secret}") }).await,
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
            let said = format!("{error} {error:?} {}", error.source().unwrap());
            assert!(
                said.contains("panicked") && !said.contains(secret),
                "{said}"
            );
        }
    }

    #[tokio::test]
    async fn a_change_ends_although_its_caller_has_gone() {
        let (done, is_done) = oneshot::channel();
        let change = Box::pin(run_to_end::<_, StoreError>(async {
            yield_now().await;
            done.send(())
                .map_err(|()| StoreError::unavailable("nobody waits"))
        }));
        assert!(futures_util::poll!(change).is_pending());
        is_done.await.unwrap();
    }

    /// A runtime that shuts down leaves no caller waiting for ever.
    #[test]
    fn a_shutdown_is_an_error() {
        let changing = Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let begun = Arc::new(Notify::new());
        let has_begun = Arc::clone(&begun);
        let (result, gets_result) = oneshot::channel();
        let spawned = changing.handle().clone();
        let caller = std::thread::spawn(move || {
            let _context = spawned.enter();
            let waiting = Builder::new_current_thread().build().unwrap();
            let mut change = Box::pin(run_to_end::<(), StoreError>(async move {
                has_begun.notify_one();
                pending().await
            }));
            // Polled where the other runtime is the current one, so that it runs the change there.
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(change.as_mut().poll(&mut context).is_pending());
            drop(_context);
            let _ = result.send(waiting.block_on(change));
        });
        let waiting = Builder::new_current_thread().build().unwrap();
        waiting.block_on(begun.notified());
        changing.shutdown_background();
        let error = waiting.block_on(gets_result).unwrap().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        caller.join().unwrap();
    }
}
