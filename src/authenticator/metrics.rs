//! Publishes `Stats` through the `metrics` facade at intervals (feature `metrics`), so that
//! requests pay nothing for it.

#[cfg(not(feature = "metrics"))]
pub(super) async fn publish_during<T>(
    task: impl Future<Output = T>,
    _: std::sync::Arc<super::Shared>,
    _: std::time::Duration,
) -> T {
    task.await
}

#[cfg(not(feature = "metrics"))]
impl super::Authenticator {
    #[expect(clippy::unused_self, reason = "it is used with the feature")]
    pub(super) fn publish_fleet(&self, _: &crate::store::FleetState) {}
}

#[cfg(feature = "metrics")]
pub(super) use enabled::publish_during;

#[cfg(feature = "metrics")]
mod enabled {
    use std::{pin::pin, sync::Arc, time::Duration};

    use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
    use tokio::time::{MissedTickBehavior, interval};

    use crate::{
        authenticator::{Authenticator, Shared, Stats},
        rejection::RejectionKind,
        store::FleetState,
    };

    const HITS: &str = "api_tokens_hits_total";
    const LOOKUPS: &str = "api_tokens_lookups_total";
    const REFUSALS: &str = "api_tokens_refusals_total";
    const IN_FLIGHT: &str = "api_tokens_lookups_in_flight";
    const ENTRIES: &str = "api_tokens_cache_entries";
    const ABSENT: &str = "api_tokens_cache_absent_entries";
    const COMPLETE: &str = "api_tokens_cache_complete";
    const PENDING: &str = "api_tokens_cache_pending";
    const REVISION_LAG: &str = "api_tokens_revision_lag";
    const FLEET_NODES: &str = "api_tokens_fleet_nodes";
    const FLEET_LAG: &str = "api_tokens_fleet_lag";
    const LEASE_AGE: &str = "api_tokens_lease_age_seconds";
    const SNAPSHOT: &str = "api_tokens_snapshot_timestamp_seconds";

    impl Authenticator {
        /// Publishes [`stats`](Self::stats) through the [`metrics`](::metrics) facade, to the
        /// recorder that the program has installed (feature `metrics`).
        ///
        /// A [`Follower`](crate::Follower) calls this each time it reads the change log, and when
        /// it stops. Without a follower, call it every few seconds or before each scrape. Requests
        /// do not publish anything themselves.
        ///
        /// | name | type | meaning |
        /// |---|---|---|
        /// | `api_tokens_hits_total` | counter | requests admitted from the cache |
        /// | `api_tokens_lookups_total` | counter | requests that needed a lookup in the store |
        /// | `api_tokens_refusals_total` | counter | refused requests, by [`kind`](RejectionKind::as_str) |
        /// | `api_tokens_lookups_in_flight` | gauge | lookups in flight |
        /// | `api_tokens_cache_entries` | gauge | tokens in the cache |
        /// | `api_tokens_cache_absent_entries` | gauge | unknown tokens in the negative cache |
        /// | `api_tokens_cache_complete` | gauge | 1 while a preloaded cache refuses unknown tokens without a lookup, else 0 |
        /// | `api_tokens_cache_pending` | gauge | changed tokens of a preloaded cache that are to be re-read |
        /// | `api_tokens_revision_lag` | gauge | known changes that are not applied yet |
        /// | `api_tokens_lease_age_seconds` | gauge | time since the read of the change log that proves the cache fresh; published once a follower has read the log |
        /// | `api_tokens_snapshot_timestamp_seconds` | gauge | when the snapshot was saved that a restart would use, in seconds since 1970; published once there is one |
        /// | `api_tokens_fleet_nodes` | gauge | registered nodes; published by a [`FleetMember`](crate::FleetMember) when it reports |
        /// | `api_tokens_fleet_lag` | gauge | changes that the node furthest behind has not applied; published likewise |
        ///
        /// Each metric has the label `authenticator`, the
        /// [`name`](crate::AuthenticatorBuilder::name) of this one. Refusals also have the label
        /// `kind`, such as `revoked_token`; every kind is published from the start. No label
        /// contains anything that a client sent.
        ///
        /// Alert on a lease age above half of
        /// [`max_staleness`](crate::AuthenticatorBuilder::max_staleness), and on refusals of the
        /// kinds `store_failure`, `store_timeout` and `overload`.
        pub fn publish_metrics(&self) {
            publish(&self.shared);
        }
    }

    impl Authenticator {
        /// Publishes the state of the fleet.
        pub(in crate::authenticator) fn publish_fleet(&self, state: &FleetState) {
            describe_gauge!(FLEET_NODES, Unit::Count, "Registered nodes.");
            describe_gauge!(
                FLEET_LAG,
                Unit::Count,
                "Changes that the node furthest behind has not applied."
            );
            let name = self.shared.name.to_string();
            gauge!(FLEET_NODES, "authenticator" => name.clone()).set(state.nodes as f64);
            gauge!(FLEET_LAG, "authenticator" => name).set(state.lag as f64);
        }
    }

    /// Publishes at intervals while a task runs, and when it has ended.
    pub(in crate::authenticator) async fn publish_during<T>(
        task: impl Future<Output = T>,
        shared: Arc<Shared>,
        every: Duration,
    ) -> T {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut task = pin!(task);
        let done = loop {
            tokio::select! {
                done = &mut task => break done,
                _ = ticks.tick() => publish(&shared),
            }
        };
        publish(&shared);
        done
    }

    fn publish(shared: &Shared) {
        // Each time, because a recorder may have been installed in the meantime.
        describe();
        let stats = Stats::of(shared);
        let name = || Arc::clone(&shared.name);
        let count =
            |counted, value: u64| counter!(counted, "authenticator" => name()).absolute(value);
        let show = |shown, value: f64| gauge!(shown, "authenticator" => name()).set(value);
        count(HITS, stats.hits);
        count(LOOKUPS, stats.lookups);
        for kind in RejectionKind::ALL.iter().copied() {
            counter!(REFUSALS, "authenticator" => name(), "kind" => kind.as_str())
                .absolute(stats.refused(kind));
        }
        show(IN_FLIGHT, stats.in_flight as f64);
        show(ENTRIES, stats.entries as f64);
        show(ABSENT, stats.negative_entries as f64);
        show(COMPLETE, f64::from(u8::from(stats.preloaded)));
        show(PENDING, stats.pending as f64);
        show(REVISION_LAG, stats.revision_lag as f64);
        if let Some(age) = stats.lease_age {
            show(LEASE_AGE, age.as_secs_f64());
        }
        if let Some(saved_at) = stats.snapshot_saved_at {
            show(SNAPSHOT, saved_at.as_second() as f64);
        }
    }

    fn describe() {
        for (name, what) in [
            (HITS, "Requests admitted from the cache."),
            (LOOKUPS, "Requests that needed a lookup in the store."),
            (REFUSALS, "Refused requests."),
        ] {
            describe_counter!(name, Unit::Count, what);
        }
        for (name, unit, what) in [
            (IN_FLIGHT, Unit::Count, "Lookups in flight."),
            (ENTRIES, Unit::Count, "Tokens in the cache."),
            (ABSENT, Unit::Count, "Unknown tokens in the negative cache."),
            (
                COMPLETE,
                Unit::Count,
                "1 while a preloaded cache refuses unknown tokens without a lookup, else 0.",
            ),
            (
                PENDING,
                Unit::Count,
                "Changed tokens of a preloaded cache that are to be re-read.",
            ),
            (
                REVISION_LAG,
                Unit::Count,
                "Known changes that are not applied yet.",
            ),
            (
                LEASE_AGE,
                Unit::Seconds,
                "Time since the read of the change log that proves the cache fresh.",
            ),
            (
                SNAPSHOT,
                Unit::Seconds,
                "When the snapshot was saved that a restart would use, in seconds since 1970.",
            ),
        ] {
            describe_gauge!(name, unit, what);
        }
    }
}
