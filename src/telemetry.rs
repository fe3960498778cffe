//! Events for `tracing` (feature `tracing`). They contain nothing that derives from a secret.
//!
//! Every event has the target `tower_api_tokens`. The crate's documentation lists them.

pub(crate) use events::*;

/// What requires an `ApiTokenLayer` around it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs {
    #[cfg(feature = "axum")]
    Extractor,
    RequireScope,
}

#[cfg(feature = "tracing")]
mod events {
    use std::{
        error::Error,
        fmt::Display,
        sync::atomic::{AtomicU64, Ordering::Relaxed},
        time::Duration,
    };

    use tracing::{
        instrument::{Instrument, WithSubscriber},
        level_filters::LevelFilter,
    };

    use super::Needs;
    use crate::{
        model::principal::AppPrincipal,
        rejection::{Rejection, RejectionKind},
        time::{Clock, SystemClock},
    };

    const TARGET: &str = "tower_api_tokens";

    /// The minimum time between two events of one kind. A request can cause such an event, and
    /// anyone can send requests.
    const INTERVAL: Duration = Duration::from_secs(10);

    /// Lets one event through at a time, and counts those that it suppresses.
    #[derive(Debug, Default)]
    struct Throttle {
        /// Nanoseconds of a monotonic clock.
        silent_until: AtomicU64,
        suppressed: AtomicU64,
    }

    impl Throttle {
        const fn new() -> Self {
            Self {
                silent_until: AtomicU64::new(0),
                suppressed: AtomicU64::new(0),
            }
        }

        /// Returns the number of events suppressed since the last one, if this event is let
        /// through.
        fn admit(&self, now: Duration) -> Option<u64> {
            let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            let silent_until = self.silent_until.load(Relaxed);
            let next = nanoseconds(now.saturating_add(INTERVAL));
            let is_due = nanoseconds(now) >= silent_until;
            if is_due
                && self
                    .silent_until
                    .compare_exchange(silent_until, next, Relaxed, Relaxed)
                    .is_ok()
            {
                return Some(self.suppressed.swap(0, Relaxed));
            }
            self.suppressed.fetch_add(1, Relaxed);
            None
        }

        /// Like [`admit`](Self::admit), for events of the whole process.
        fn admit_now(&self) -> Option<u64> {
            self.admit(SystemClock.monotonic())
        }
    }

    /// Records the app and the token in the current span, if the span declares the fields.
    #[inline]
    pub(crate) fn attributed(principal: &AppPrincipal) {
        // Faster than looking up the current span when tracing is off.
        if LevelFilter::current() == LevelFilter::OFF {
            return;
        }
        let span = tracing::Span::current();
        if !span.is_none() {
            span.record("app.id", principal.app_id().as_str());
            span.record("token.id", tracing::field::display(principal.token_id()));
            if let Some(format) = principal.format() {
                span.record("token.format", format);
            }
        }
    }

    /// Carries the current span and subscriber over to another task.
    pub(crate) fn in_current_span<F: Future>(work: F) -> impl Future<Output = F::Output> {
        work.in_current_span().with_current_subscriber()
    }

    /// Logs a refused request.
    pub(crate) fn rejected(rejection: &Rejection) {
        tracing::debug!(
            target: TARGET,
            kind = rejection.kind().as_str(),
            app.id = rejection.app_id().map(tracing::field::display),
            token.id = rejection.token_id().map(tracing::field::display),
            source = rejection.source(),
            "request rejected"
        );
    }

    /// Logs that a route lacks the layer that it needs.
    pub(crate) fn layer_missing(needs: Needs) {
        #[cfg(feature = "axum")]
        static EXTRACTOR: Throttle = Throttle::new();
        static REQUIRE_SCOPE: Throttle = Throttle::new();
        let (throttle, needed_by) = match needs {
            #[cfg(feature = "axum")]
            Needs::Extractor => (&EXTRACTOR, "the extractor of `AppPrincipal`"),
            Needs::RequireScope => (&REQUIRE_SCOPE, "`RequireScopeLayer`"),
        };
        if let Some(suppressed) = throttle.admit_now() {
            tracing::error!(
                target: TARGET,
                needed_by,
                suppressed,
                "responding with 500: the route has no `ApiTokenLayer` around it; add one"
            );
        }
    }

    static FOLLOWER_FAILED: Throttle = Throttle::new();
    static FOLLOWER_RECOVERED: Throttle = Throttle::new();

    /// Logs that a follower could not read the change log.
    pub(crate) fn follower_failed(error: &(dyn Error + 'static)) {
        if let Some(suppressed) = FOLLOWER_FAILED.admit_now() {
            tracing::warn!(
                target: TARGET,
                source = error,
                suppressed,
                "the change log cannot be read; cached answers expire after `max_staleness`"
            );
        }
    }

    static REPORT_FAILED: Throttle = Throttle::new();

    /// Logs that a node could not report to the registry of nodes.
    pub(crate) fn report_failed(error: &(dyn Error + 'static)) {
        if let Some(suppressed) = REPORT_FAILED.admit_now() {
            tracing::warn!(
                target: TARGET,
                source = error,
                suppressed,
                "this node cannot report what it has applied; receipts for revocations wait until the bound has passed"
            );
        }
    }

    /// Logs that a follower can read the change log again.
    pub(crate) fn follower_recovered() {
        if let Some(suppressed) = FOLLOWER_RECOVERED.admit_now() {
            tracing::info!(
                target: TARGET,
                suppressed,
                "the change log can be read again"
            );
        }
    }

    /// Logs that live tokens cannot be read in one stream.
    pub(crate) fn stream_failed(error: &(dyn Error + 'static)) {
        tracing::warn!(
            target: TARGET,
            source = error,
            "the live tokens cannot be read in one stream; reading them in pages"
        );
    }

    /// Logs that a follower has started from a snapshot.
    pub(crate) fn snapshot_loaded(tokens: usize, changes: u64) {
        tracing::info!(
            target: TARGET,
            tokens,
            changes,
            "preloaded the cache from its snapshot and the changes since then"
        );
    }

    /// Logs that a snapshot was not used.
    pub(crate) fn snapshot_discarded(reason: &dyn Display) {
        tracing::warn!(
            target: TARGET,
            %reason,
            "the snapshot of the cache was discarded; loading all live tokens from the store"
        );
    }

    /// Logs that a snapshot was saved.
    pub(crate) fn snapshot_saved(tokens: u64, bytes: u64) {
        tracing::debug!(target: TARGET, tokens, bytes, "saved a snapshot of the cache");
    }

    static SNAPSHOT_NOT_SAVED: Throttle = Throttle::new();

    /// Logs that a snapshot could not be saved.
    pub(crate) fn snapshot_not_saved(reason: &dyn Display) {
        if let Some(suppressed) = SNAPSHOT_NOT_SAVED.admit_now() {
            tracing::warn!(
                target: TARGET,
                %reason,
                suppressed,
                "the snapshot of the cache cannot be saved; a restart will take longer"
            );
        }
    }

    /// Rate-limited events about the store of one authenticator.
    #[derive(Debug, Default)]
    pub(crate) struct StoreEvents {
        failure: Throttle,
        timeout: Throttle,
        overload: Throttle,
        other_digest: Throttle,
    }

    impl StoreEvents {
        /// Logs a rejection that the store caused. `now` reads the monotonic clock.
        #[inline]
        pub(crate) fn rejected(
            &self,
            authenticator: &str,
            rejection: &Rejection,
            now: impl FnOnce() -> Duration,
        ) {
            let throttle = match rejection.kind() {
                RejectionKind::StoreFailure => &self.failure,
                RejectionKind::StoreTimeout => &self.timeout,
                RejectionKind::Overload => &self.overload,
                _ => return,
            };
            if let Some(suppressed) = throttle.admit(now()) {
                tracing::warn!(
                    target: TARGET,
                    authenticator,
                    kind = rejection.kind().as_str(),
                    source = rejection.source(),
                    suppressed,
                    "tokens cannot be checked; responding with 503"
                );
            }
        }

        /// Logs that the store returned a record with a different digest than the one looked up.
        pub(crate) fn other_digest(&self, authenticator: &str, now: Duration) {
            if let Some(suppressed) = self.other_digest.admit(now) {
                tracing::error!(
                    target: TARGET,
                    authenticator,
                    suppressed,
                    "the store returned a record with a different digest; the token was refused as \
                     unknown; compare the whole digest in `find`"
                );
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn one_event_passes_in_ten_seconds_and_the_others_are_counted() {
            let throttle = Throttle::default();
            let second = Duration::from_secs;
            assert_eq!(throttle.admit(second(0)), Some(0));
            assert_eq!(throttle.admit(second(0)), None);
            assert_eq!(throttle.admit(second(9)), None);
            assert_eq!(throttle.admit(second(10)), Some(2));
            assert_eq!(throttle.admit(second(19)), None);
            assert_eq!(throttle.admit(second(3600)), Some(1));
            assert_eq!(throttle.admit(second(3610)), Some(0));
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod events {
    use std::{error::Error, fmt::Display, time::Duration};

    use super::Needs;
    use crate::{model::principal::AppPrincipal, rejection::Rejection};

    pub(crate) fn attributed(_: &AppPrincipal) {}

    pub(crate) fn in_current_span<F: Future>(work: F) -> F {
        work
    }

    pub(crate) fn rejected(_: &Rejection) {}

    pub(crate) fn layer_missing(_: Needs) {}

    pub(crate) fn follower_failed(_: &(dyn Error + 'static)) {}

    pub(crate) fn follower_recovered() {}

    pub(crate) fn stream_failed(_: &(dyn Error + 'static)) {}

    pub(crate) fn snapshot_loaded(_: usize, _: u64) {}

    pub(crate) fn snapshot_discarded(_: &dyn Display) {}

    pub(crate) fn snapshot_saved(_: u64, _: u64) {}

    pub(crate) fn snapshot_not_saved(_: &dyn Display) {}
    pub(crate) fn report_failed(_: &(dyn Error + 'static)) {}

    #[derive(Debug, Default)]
    pub(crate) struct StoreEvents {}

    impl StoreEvents {
        #[expect(clippy::unused_self, reason = "it is used with the feature")]
        pub(crate) fn rejected(&self, _: &str, _: &Rejection, _: impl FnOnce() -> Duration) {}

        #[expect(clippy::unused_self, reason = "it is used with the feature")]
        pub(crate) fn other_digest(&self, _: &str, _: Duration) {}
    }
}
