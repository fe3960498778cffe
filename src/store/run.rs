//! Runs store calls that must not be interrupted, or must not panic.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::StoreError;
use crate::telemetry;

/// Runs a change to completion, even if the caller is dropped, and turns a panic into an error.
///
/// [`ApiTokens`](crate::ApiTokens) runs every change with this. A store can use it for anything
/// that must not stop between two statements. The change runs in a task of its own, in the caller's
/// `tracing` span.
///
/// # Examples
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
/// The change starts when the returned future is first polled. From then on, dropping the future
/// does not stop the change; only its result is lost. A future that is never polled does nothing.
///
/// # Runtime shutdown
///
/// A runtime that shuts down drops the change at its next await point. A caller that is still
/// polled gets an error, and the store's own rollback decides what remains of the change.
///
/// # Errors
///
/// Returns the error of the change. Returns a [`StoreError`] of the kind
/// [`Unavailable`](super::StoreErrorKind::Unavailable) if the change panics or the runtime shuts
/// down; the change may or may not have been made then. The error does not repeat the panic
/// message, which could contain anything.
///
/// # Panics
///
/// Panics if called outside of a Tokio runtime.
pub async fn run_to_end<T, E>(
    change: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    // Boxed, because the future of a change is large, and without optimizations each function that takes it copies it on
    // the stack.
    let change = Box::pin(change);
    let change = telemetry::in_current_span(catch_panic(|| change));
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(_) => Err(interrupted(
            "the runtime was shut down before the call ended",
        )),
    }
}

/// Turns a panic in a call into an error. The call runs in the caller's own task.
///
/// Use this for calls that may be dropped at any await point: those that read, and those that are
/// repeated until they succeed.
///
/// # Examples
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
/// Returns the error of the call. Returns a [`StoreError`] of the kind
/// [`Unavailable`](super::StoreErrorKind::Unavailable) if the call panics.
pub async fn catch_panic<T, E, F>(call: impl FnOnce() -> F) -> Result<T, E>
where
    E: From<StoreError>,
    F: Future<Output = Result<T, E>>,
{
    // Nothing is used here after a panic, so only the store has to handle what the call left half
    // done.
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
    async fn a_panic_becomes_an_error_without_its_message() {
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
    async fn a_change_completes_even_if_its_caller_is_dropped() {
        let (done, is_done) = oneshot::channel();
        let change = Box::pin(run_to_end::<_, StoreError>(async {
            yield_now().await;
            done.send(())
                .map_err(|()| StoreError::unavailable("nobody waits"))
        }));
        assert!(futures_util::poll!(change).is_pending());
        is_done.await.unwrap();
    }

    /// A runtime that shuts down does not leave a caller waiting forever.
    #[test]
    fn a_shutdown_is_an_error() {
        let changing = Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let begun = Arc::new(Notify::new());
        let has_begun = Arc::clone(&begun);
        let (polled, is_polled) = oneshot::channel();
        let (result, gets_result) = oneshot::channel();
        let spawned = changing.handle().clone();
        let caller = std::thread::spawn(move || {
            let _context = spawned.enter();
            let waiting = Builder::new_current_thread().build().unwrap();
            let mut change = Box::pin(run_to_end::<(), StoreError>(async move {
                has_begun.notify_one();
                pending().await
            }));
            // Polled while the other runtime is the current one, so that the change runs there.
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(change.as_mut().poll(&mut context).is_pending());
            drop(_context);
            let _ = polled.send(());
            let _ = result.send(waiting.block_on(change));
        });
        let waiting = Builder::new_current_thread().build().unwrap();
        waiting.block_on(begun.notified());
        waiting.block_on(is_polled).unwrap();
        changing.shutdown_background();
        let error = waiting.block_on(gets_result).unwrap().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        caller.join().unwrap();
    }
}
