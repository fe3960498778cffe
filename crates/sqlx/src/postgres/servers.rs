//! The servers behind an address, of which some may lag behind or get no further. Connections to those
//! make way for others, which may lead to a better one.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Row, postgres::PgRow};
use tokio::time::Instant;
use tower_api_tokens::{StoreError, StoreErrorKind};

use crate::rows::Columns;

use super::error::from_sqlx;

/// For how long a server may lack what another one shows before its connections are closed.
const LAG: Duration = Duration::from_millis(500);

/// For how long a server that was stalled has to replay no commit to count as having replayed them all.
const SETTLING: Duration = Duration::from_secs(2);

/// How long counts what no server shows any more.
const UNSEEN: Duration = Duration::from_secs(60);

/// Between two connections for lookups that are closed, so that a lone server is not flooded.
const BETWEEN: Duration = Duration::from_millis(10);

/// How many stalled servers are kept track of.
const MAX_STALLED: usize = 16;

#[derive(Default)]
pub(super) struct Servers(Mutex<State>);

#[derive(Default)]
struct State {
    newest: Option<Newest>,
    stalled: Vec<Stalled>,
    closed_at: Option<Instant>,
}

/// The greatest number that a server has shown, when it was first shown, and when last.
struct Newest {
    number: u64,
    since: Instant,
    seen_at: Instant,
}

/// A server that was stalled, and counts as such until it has caught up: it may receive again and have
/// replayed some of what it has missed.
struct Stalled {
    server: i64,
    /// When it was first seen to go on, by its own clock. Once it shows a commit from then on, it has
    /// replayed what it had missed.
    went_on: Option<i64>,
    committed: Option<i64>,
    /// Since when it has shown no other commit.
    since: Instant,
}

/// What a row says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Up to which number it shows the change log.
    pub(super) number: u64,
    pub(super) is_stalled: bool,
    pub(super) server: i64,
    /// `None` of a primary.
    pub(super) replay: Option<Replay>,
}

/// How far a standby has replayed. Times are microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replay {
    /// When the latest commit was made that it has replayed since it started, by the primary's clock.
    pub(super) committed: Option<i64>,
    /// The time by its own clock.
    pub(super) now: i64,
    /// Whether it has replayed all that it has received.
    pub(super) is_whole: bool,
}

impl Seen {
    /// Reads the number from one column, and the rest from another and the one after that.
    pub(super) fn of(row: &PgRow, number: usize, server: usize) -> Result<Self, StoreError> {
        let number = row.integer(number)?.and_then(|n| u64::try_from(n).ok());
        Ok(Self {
            number: number.ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt))?,
            is_stalled: row.try_get(server).map_err(from_sqlx)?,
            server: row.try_get(server + 1).map_err(from_sqlx)?,
            replay: replay(row, server + 2)?,
        })
    }
}

fn replay(row: &PgRow, column: usize) -> Result<Option<Replay>, StoreError> {
    let now: Option<i64> = row.try_get(column + 1).map_err(from_sqlx)?;
    let Some(now) = now else {
        return Ok(None);
    };
    let is_whole: Option<bool> = row.try_get(column + 2).map_err(from_sqlx)?;
    Ok(Some(Replay {
        committed: row.try_get(column).map_err(from_sqlx)?,
        now,
        is_whole: is_whole.unwrap_or(false),
    }))
}

/// How a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether it is known to get no further.
    pub(super) is_stalled: bool,
    /// Whether it has lacked for some time what another one shows.
    pub(super) lags: bool,
}

impl Standing {
    pub(super) fn is_good(self) -> bool {
        !self.is_stalled && !self.lags
    }
}

impl Servers {
    /// Notes what a server has shown, and gives how it does.
    pub(super) fn note(&self, seen: Seen) -> Standing {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Standing {
            is_stalled: state.is_stalled(seen, now),
            lags: state.lags(seen.number, now),
        }
    }

    /// Whether a connection that led to a server is to be closed.
    pub(super) fn makes_way(&self, seen: Seen) -> bool {
        if self.note(seen).is_good() {
            return false;
        }
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = state
            .closed_at
            .is_none_or(|closed_at| now.duration_since(closed_at) >= BETWEEN);
        if is_due {
            state.closed_at = Some(now);
        }
        is_due
    }
}

impl Stalled {
    fn has_caught_up(&mut self, replay: Replay, now: Instant) -> bool {
        let went_on = *self.went_on.get_or_insert(replay.now);
        if self.committed != replay.committed {
            self.committed = replay.committed;
            self.since = now;
        }
        let rests = replay.is_whole && now.duration_since(self.since) >= SETTLING;
        rests || replay.committed.is_some_and(|at| at >= went_on)
    }
}

impl State {
    fn is_stalled(&mut self, seen: Seen, now: Instant) -> bool {
        let place = self.stalled.iter().position(|s| s.server == seen.server);
        if seen.is_stalled {
            let stalled = Stalled {
                server: seen.server,
                went_on: None,
                committed: seen.replay.and_then(|replay| replay.committed),
                since: now,
            };
            match place {
                Some(place) => self.stalled[place] = stalled,
                None => {
                    if self.stalled.len() >= MAX_STALLED {
                        self.stalled.remove(0);
                    }
                    self.stalled.push(stalled);
                }
            }
            return true;
        }
        let Some(place) = place else {
            return false;
        };
        // One that was promoted has nothing to catch up with.
        let settles = seen
            .replay
            .is_some_and(|replay| !self.stalled[place].has_caught_up(replay, now));
        if !settles {
            self.stalled.remove(place);
        }
        settles
    }

    fn lags(&mut self, number: u64, now: Instant) -> bool {
        match &mut self.newest {
            Some(newest) if number == newest.number => {
                newest.seen_at = now;
                false
            }
            Some(newest)
                if number < newest.number && now.duration_since(newest.seen_at) < UNSEEN =>
            {
                now.duration_since(newest.since) >= LAG
            }
            newest => {
                *newest = Some(Newest {
                    number,
                    since: now,
                    seen_at: now,
                });
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(server: i64, number: u64, is_stalled: bool) -> Seen {
        Seen {
            number,
            is_stalled,
            server,
            replay: None,
        }
    }

    fn replaying(is_stalled: bool, committed: Option<i64>, now: i64, is_whole: bool) -> Seen {
        Seen {
            replay: Some(Replay {
                committed,
                now,
                is_whole,
            }),
            ..seen(1, 5, is_stalled)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_stalled_counts_again_when_it_has_caught_up() {
        let servers = Servers::default();
        let stalled = |seen| servers.note(seen).is_stalled;
        assert!(!stalled(replaying(false, Some(1), 50, false)));
        assert!(stalled(replaying(true, Some(1), 60, true)));
        assert!(!stalled(seen(2, 5, false)), "another server");
        assert!(
            stalled(replaying(false, Some(1), 70, true)),
            "it just went on"
        );
        for committed in 2..70 {
            tokio::time::advance(SETTLING / 2).await;
            let replayed = replaying(false, Some(committed), 70 + committed, true);
            assert!(stalled(replayed), "it replays what it has missed");
        }
        let lagging = replaying(false, Some(70), 1000, false);
        assert!(!stalled(lagging), "however long it takes to replay");
        assert!(!stalled(replaying(false, Some(70), 1001, true)));

        assert!(stalled(replaying(true, Some(80), 90, false)));
        tokio::time::advance(SETTLING).await;
        let behind = replaying(false, Some(80), 91, false);
        assert!(stalled(behind), "there is more to replay");
        let rests = replaying(false, Some(80), 92, true);
        assert!(!stalled(rests), "there is no more to replay");

        assert!(stalled(replaying(true, Some(80), 93, true)));
        assert!(!stalled(seen(1, 5, false)), "it was promoted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_standby_that_has_replayed_no_commit_since_it_started_has_not_caught_up() {
        let servers = Servers::default();
        let stalled = |seen| servers.note(seen).is_stalled;
        assert!(stalled(replaying(true, None, 10, true)));
        assert!(stalled(replaying(false, None, 11, true)));
        assert!(stalled(replaying(false, Some(3), 12, false)));
        assert!(!stalled(replaying(false, Some(11), 13, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_lags_that_lacks_for_long_what_another_one_shows() {
        let servers = Servers::default();
        let lags = |number| servers.note(seen(1, number, false)).lags;
        assert!(!lags(5) && !lags(7) && !lags(5));
        tokio::time::advance(LAG).await;
        assert!(lags(5) && !lags(7));
        tokio::time::advance(UNSEEN).await;
        assert!(!lags(5), "nobody shows more");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_make_way_one_at_a_time() {
        let servers = Servers::default();
        assert!(!servers.makes_way(seen(1, 5, false)));
        assert!(servers.makes_way(seen(1, 5, true)));
        assert!(!servers.makes_way(seen(1, 5, true)));
        tokio::time::advance(BETWEEN).await;
        assert!(servers.makes_way(seen(1, 5, true)));
    }
}
