//! Implements the store traits for pointers to a store. Each method returns the store's own future,
//! so that none is boxed twice.

// A provided method that is not forwarded would silently be that of the trait instead of the
// store's.
#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::{
    Answer, AppQuery, Applied, AuditLog, AuditQuery, ChangeLog, Changes, Committed, EventLog,
    EventPage, EventQuery, ExpiringQuery, FleetState, LivePage, LiveStream, Mutation, NodeId,
    NodePage, NodeQuery, NodeRegistry, NodeReport, Outdated, OutdatedQuery, Page, Revision,
    StoreError, TokenCursor, TokenQuery, TokenRegistry, TokenStore, TokenTarget, Usage, UsageLog,
};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::{AuditEvent, AuditEventId},
        policy::Policy,
        record::TokenRecord,
    },
    token::{TokenDigest, TokenId},
};

/// The return type of the traits' methods: a future that the store has boxed.
type Reply<'f, T> = BoxFuture<'f, Result<T, StoreError>>;

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: TokenStore + ?Sized> TokenStore for $pointer {
            fn find<'s, 'a, 'f>(&'s self, digest: &'a TokenDigest) -> Reply<'f, Answer>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).find(digest)
            }

            fn find_many<'s, 'a, 'f>(&'s self, digests: &'a [TokenDigest]) -> Reply<'f, Vec<Answer>>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).find_many(digests)
            }
        }

        impl<T: TokenRegistry + ?Sized> TokenRegistry for $pointer {
            fn apply<'s, 'a, 'f>(&'s self, mutation: &'a Mutation) -> Reply<'f, Applied>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).apply(mutation)
            }

            fn apply_with_revision<'s, 'a, 'f>(
                &'s self,
                mutation: &'a Mutation,
            ) -> Reply<'f, Committed>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).apply_with_revision(mutation)
            }

            fn app<'s, 'a, 'f>(&'s self, id: &'a AppId) -> Reply<'f, Option<AppRecord>>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).app(id)
            }

            fn token<'s, 'a, 'f>(&'s self, target: &'a TokenTarget) -> Reply<'f, Option<TokenRecord>>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).token(target)
            }

            fn apps<'s, 'a, 'f>(&'s self, query: &'a AppQuery) -> Reply<'f, Page<AppRecord, AppId>>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).apps(query)
            }

            fn policy<'s, 'f>(&'s self) -> Reply<'f, Policy>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).policy()
            }

            fn tokens<'s, 'a, 'f>(
                &'s self,
                query: &'a TokenQuery,
                now: Timestamp,
            ) -> Reply<'f, Page<TokenRecord, TokenCursor>>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).tokens(query, now)
            }

            fn count<'s, 'a, 'f>(
                &'s self,
                query: &'a TokenQuery,
                now: Timestamp,
                limit: usize,
            ) -> Reply<'f, usize>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).count(query, now, limit)
            }

            fn expiring<'s, 'a, 'f>(
                &'s self,
                query: &'a ExpiringQuery,
            ) -> Reply<'f, Page<TokenRecord, ExpiringQuery>>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).expiring(query)
            }

            fn outdated<'s, 'a, 'f>(&'s self, query: &'a OutdatedQuery) -> Reply<'f, Outdated>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).outdated(query)
            }

            fn change_log(&self) -> Option<&dyn ChangeLog> {
                (**self).change_log()
            }

            fn usage_log(&self) -> Option<&dyn UsageLog> {
                (**self).usage_log()
            }

            fn audit_log(&self) -> Option<&dyn AuditLog> {
                (**self).audit_log()
            }

            fn event_log(&self) -> Option<&dyn EventLog> {
                (**self).event_log()
            }

            fn node_registry(&self) -> Option<&dyn NodeRegistry> {
                (**self).node_registry()
            }
        }

        impl<T: ChangeLog + ?Sized> ChangeLog for $pointer {
            fn revision<'s, 'f>(&'s self) -> Reply<'f, Revision>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).revision()
            }

            fn changes<'s, 'f>(&'s self, since: Revision, limit: usize) -> Reply<'f, Changes>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).changes(since, limit)
            }

            fn changed<'s, 'f>(&'s self) -> BoxFuture<'f, ()>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).changed()
            }

            fn live<'s, 'f>(
                &'s self,
                after: Option<TokenId>,
                limit: usize,
                now: Timestamp,
            ) -> Reply<'f, LivePage>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).live(after, limit, now)
            }

            fn live_stream(&self, now: Timestamp) -> Option<LiveStream> {
                (**self).live_stream(now)
            }
        }

        impl<T: UsageLog + ?Sized> UsageLog for $pointer {
            fn record_usage<'s, 'a, 'f>(&'s self, usages: &'a [Usage]) -> Reply<'f, ()>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).record_usage(usages)
            }
        }

        impl<T: AuditLog + ?Sized> AuditLog for $pointer {
            fn append<'s, 'a, 'f>(&'s self, event: &'a AuditEvent) -> Reply<'f, ()>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).append(event)
            }

            fn append_new<'s, 'a, 'f>(&'s self, events: &'a [AuditEvent]) -> Reply<'f, usize>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).append_new(events)
            }

            fn time_at<'s, 'f>(&'s self, index: usize) -> Reply<'f, Option<Timestamp>>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).time_at(index)
            }

            fn events<'s, 'a, 'f>(
                &'s self,
                query: &'a AuditQuery,
            ) -> Reply<'f, Page<AuditEvent, AuditEventId>>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).events(query)
            }
        }

        impl<T: EventLog + ?Sized> EventLog for $pointer {
            fn read_events<'s, 'a, 'f>(&'s self, query: &'a EventQuery) -> Reply<'f, EventPage>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).read_events(query)
            }
        }

        impl<T: NodeRegistry + ?Sized> NodeRegistry for $pointer {
            fn report<'s, 'a, 'f>(&'s self, report: &'a NodeReport) -> Reply<'f, FleetState>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).report(report)
            }

            fn nodes<'s, 'a, 'f>(&'s self, query: &'a NodeQuery) -> Reply<'f, NodePage>
            where
                's: 'f,
                'a: 'f,
                Self: 'f,
            {
                (**self).nodes(query)
            }

            fn remove_node<'s, 'f>(&'s self, id: NodeId) -> Reply<'f, bool>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).remove_node(id)
            }

            fn fleet<'s, 'f>(&'s self) -> Reply<'f, FleetState>
            where
                's: 'f,
                Self: 'f,
            {
                (**self).fleet()
            }
        }
    )*};
}

forward!(Arc<T>, Box<T>, &'static T);
