//! The primary of a standby. The standby answers lookups, and the primary shows what has changed, so that the lag of
//! the standby does not add to the bound.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};
use tower_api_tokens::{ChangeLog, Changes, Revision, StoreError};

use super::{PostgresStore, PostgresStoreBuilder, schema::Schema, servers::Servers};

/// How long a lookup waits for the standby, before it asks the primary.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often a standby that did not answer, or lacked changes, is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How recently the log must have been read for the standby to be used. Without a follower, nobody would notice that
/// an answer of the standby lacks a change.
const UNREAD: Duration = Duration::from_secs(10);

/// What a store may read.
pub(super) enum Role {
    /// Whatever server answers.
    Any,
    /// Only a primary shows changes.
    Primary,
    /// A standby, with its primary.
    Standby(Primary),
}

impl Role {
    pub(super) fn primary(&self) -> Option<&Primary> {
        match self {
            Self::Standby(primary) => Some(primary),
            Self::Any | Self::Primary => None,
        }
    }
}

pub(super) struct Primary {
    store: PostgresStore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Until when the standby is not used.
    avoided_until: Option<Instant>,
    log_read_at: Option<Instant>,
}

/// Which server a lookup asks.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Standby,
    Primary,
    /// The primary. The standby is tried in the background.
    PrimaryAndTrial,
}

/// An answer, and the state of its server.
pub(super) struct Seen<T> {
    pub(super) answer: T,
    /// Whether the server neither lags for long nor is stalled.
    pub(super) is_good: bool,
    /// Whether the answer lacks a token that the server may not have received yet.
    pub(super) may_lack: bool,
}

impl State {
    fn choose(&mut self, now: Instant) -> Choice {
        if self
            .log_read_at
            .is_none_or(|at| now.duration_since(at) >= UNREAD)
        {
            return Choice::Primary;
        }
        match self.avoided_until {
            None => Choice::Standby,
            Some(until) if now < until => Choice::Primary,
            Some(_) => {
                self.avoid(now);
                Choice::PrimaryAndTrial
            }
        }
    }

    fn avoid(&mut self, now: Instant) {
        self.avoided_until = Some(now + RETRY);
    }
}

impl Primary {
    /// Connects to the primary of a store that reads a standby.
    pub(super) async fn connect(
        url: &str,
        standby: &PostgresStoreBuilder,
        schema: &Schema,
    ) -> Result<Self, StoreError> {
        let mut builder = PostgresStore::builder(url)
            .schema(schema.name())
            .max_connections(standby.max_connections)
            .read_only();
        builder.transaction_pooler = standby.transaction_pooler;
        builder.must_be_primary = true;
        // The store of a primary has no primary itself.
        let store = Box::pin(builder.connect()).await?;
        Ok(Self {
            store,
            state: Mutex::default(),
        })
    }

    pub(super) fn store(&self) -> &PostgresStore {
        &self.store
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the standby if it is up to date, and otherwise from the primary.
    pub(super) async fn read<T, F>(
        &self,
        standby: &PostgresStore,
        read: impl Fn(PostgresStore) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<Seen<T>, StoreError>> + Send + 'static,
    {
        let choice = self.state().choose(Instant::now());
        let mut outdated = None;
        match choice {
            Choice::Standby => {
                let seen = timeout(PATIENCE, read(standby.clone())).await;
                match seen {
                    Ok(Ok(seen)) if seen.is_good && !seen.may_lack => return Ok(seen.answer),
                    Ok(Ok(seen)) if seen.is_good => outdated = Some(seen.answer),
                    failed => {
                        self.state().avoid(Instant::now());
                        outdated = failed.ok().and_then(Result::ok).map(|seen| seen.answer);
                    }
                }
            }
            Choice::PrimaryAndTrial => try_again(standby.clone(), read(standby.clone())),
            Choice::Primary => {}
        }
        match (read(self.store.clone()).await, outdated) {
            // It may still be used if the changes that it lacks are recent.
            (Err(_), Some(answer)) => Ok(answer),
            (read, _) => read.map(|seen| seen.answer),
        }
    }

    /// Whether lookups use the standby.
    pub(super) fn uses_standby(&self) -> bool {
        self.state().avoided_until.is_none()
    }

    pub(super) async fn revision(&self, servers: &Servers) -> Result<Revision, StoreError> {
        let revision = self.store.revision().await?;
        self.has_read(revision.number, servers);
        Ok(revision)
    }

    pub(super) async fn changes(
        &self,
        servers: &Servers,
        since: Revision,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        let changes = self.store.changes(since, limit).await?;
        if let Changes::Since { latest, .. } = &changes {
            self.has_read(*latest, servers);
        }
        Ok(changes)
    }

    /// Records what the log has shown, which the standby has to show soon, too.
    fn has_read(&self, latest: u64, servers: &Servers) {
        servers.show(latest);
        self.state().log_read_at = Some(Instant::now());
    }
}

/// Uses a standby again if it answers and is up to date.
fn try_again<T: Send + 'static>(
    standby: PostgresStore,
    read: impl Future<Output = Result<Seen<T>, StoreError>> + Send + 'static,
) {
    tokio::spawn(async move {
        let seen = timeout(PATIENCE, read).await;
        if matches!(seen, Ok(Ok(seen)) if seen.is_good)
            && let Some(primary) = standby.inner.role.primary()
        {
            primary.state().avoided_until = None;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_standby_is_used_while_the_log_is_read_and_tried_again_after_a_failure() {
        let mut state = State::default();
        let mut choose = |change: fn(&mut State, Instant)| {
            let now = Instant::now();
            change(&mut state, now);
            state.choose(now)
        };
        let read: fn(&mut State, Instant) = |state, now| state.log_read_at = Some(now);
        let nothing: fn(&mut State, Instant) = |_, _| {};
        assert_eq!(choose(nothing), Choice::Primary, "nobody reads the log");
        assert_eq!(choose(read), Choice::Standby);
        assert_eq!(choose(State::avoid), Choice::Primary);
        tokio::time::advance(RETRY).await;
        assert_eq!(choose(nothing), Choice::PrimaryAndTrial);
        assert_eq!(choose(nothing), Choice::Primary, "one trial at a time");
        assert_eq!(
            choose(|state, _| state.avoided_until = None),
            Choice::Standby
        );
        tokio::time::advance(UNREAD).await;
        assert_eq!(
            choose(nothing),
            Choice::Primary,
            "nobody reads the log any more"
        );
    }
}
