//! The servers behind one address. If some of them lag behind or are stalled, connections to them are
//! closed, because new connections may reach a better server.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Row, postgres::PgRow};
use tokio::time::Instant;
use tower_api_tokens::{StoreError, StoreErrorKind};

use crate::rows::Columns;

use super::error::from_sqlx;

/// How long a server may lag behind another one before its connections are closed.
const LAG: Duration = Duration::from_millis(500);

/// The minimum time between two numbers that are tracked.
const STEP: Duration = Duration::from_millis(50);

/// The maximum number of tracked numbers, so that they cover more than [`LAG`].
const MAX_SHOWN: usize = 16;

/// How long a stalled server must replay no commit to count as having replayed them all.
const SETTLING: Duration = Duration::from_secs(2);

/// How long a revision counts that no server shows any more.
const UNSEEN: Duration = Duration::from_secs(60);

/// The minimum time between closing two lookup connections, so that a single server is not flooded.
const BETWEEN: Duration = Duration::from_millis(10);

/// The maximum number of stalled servers to track.
const MAX_STALLED: usize = 16;

#[derive(Default)]
pub(super) struct Servers(Mutex<State>);

#[derive(Default)]
struct State {
    newest: Option<Newest>,
    /// Numbers that were the latest ones, and when each was first shown. Both increase. With constant changes, the
    /// latest number is always recent, and only an earlier one shows who lags.
    shown: VecDeque<(u64, Instant)>,
    stalled: Vec<Stalled>,
    closed_at: Option<Instant>,
}

/// The latest revision number that any server has shown, and when it was shown first and last.
struct Newest {
    number: u64,
    since: Instant,
    seen_at: Instant,
}

/// A stalled server. It counts as stalled until it has caught up, even if it receives and replays
/// changes again.
struct Stalled {
    server: i64,
    /// When it was first seen to resume, by its own clock. Once it shows a later commit, it has replayed
    /// what it had missed.
    went_on: Option<i64>,
    committed: Option<i64>,
    /// Since when it has replayed no further commit.
    since: Instant,
}

/// The state of a server, as a row reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The latest revision number in its change log.
    pub(super) number: u64,
    pub(super) is_stalled: bool,
    pub(super) server: i64,
    /// `None` for a primary.
    pub(super) replay: Option<Replay>,
}

/// The replay progress of a standby. Times are microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replay {
    /// The time of the latest commit that it has replayed since it started, by the primary's clock.
    pub(super) committed: Option<i64>,
    /// The current time, by its own clock.
    pub(super) now: i64,
    /// Whether it has replayed all that it has received.
    pub(super) is_whole: bool,
}

impl Report {
    /// Reads the revision number from one column, and the rest from another one and the next.
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

/// The assessment of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assessment {
    /// Whether it is known to be stalled.
    pub(super) is_stalled: bool,
    /// Whether it has lagged behind another server for some time.
    pub(super) lags: bool,
}

impl Assessment {
    pub(super) fn is_good(self) -> bool {
        !self.is_stalled && !self.lags
    }
}

/// The error for a server that should be a primary.
pub(super) fn is_standby() -> StoreError {
    StoreError::unavailable(
        "the server at the address of the primary is a standby, which may lag; make the address lead to the primary",
    )
}

impl Servers {
    /// Records what a server reported, and returns its assessment.
    pub(super) fn assess(&self, seen: Report) -> Assessment {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Assessment {
            is_stalled: state.is_stalled(seen, now),
            lags: state.lags(seen.number, now),
        }
    }

    /// Records a revision number that another server has shown.
    pub(super) fn show(&self, number: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.lags(number, Instant::now());
    }

    /// Returns the latest revision number that any server has shown.
    pub(super) fn newest(&self) -> u64 {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.newest.as_ref().map_or(0, |newest| newest.number)
    }

    /// Whether to close the connection to a server.
    pub(super) fn should_reconnect(&self, seen: Report) -> bool {
        if self.assess(seen).is_good() {
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
    fn is_stalled(&mut self, seen: Report, now: Instant) -> bool {
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
        // A promoted server has nothing to catch up with.
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
                let has_settled = |since| now.duration_since(since) >= LAG;
                let mut shown = self.shown.iter();
                has_settled(newest.since)
                    || shown.any(|(shown, since)| *shown > number && has_settled(*since))
            }
            newest => {
                if newest.as_ref().is_some_and(|newest| number < newest.number) {
                    // No server shows the later ones any more.
                    self.shown.clear();
                }
                if self
                    .shown
                    .back()
                    .is_none_or(|(_, since)| now.duration_since(*since) >= STEP)
                {
                    self.shown.push_back((number, now));
                    if self.shown.len() > MAX_SHOWN {
                        self.shown.pop_front();
                    }
                }
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

    fn seen(server: i64, number: u64, is_stalled: bool) -> Report {
        Report {
            number,
            is_stalled,
            server,
            replay: None,
        }
    }

    fn replaying(is_stalled: bool, committed: Option<i64>, now: i64, is_whole: bool) -> Report {
        Report {
            replay: Some(Replay {
                committed,
                now,
                is_whole,
            }),
            ..seen(1, 5, is_stalled)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_server_counts_again_after_catching_up() {
        let servers = Servers::default();
        let stalled = |seen| servers.assess(seen).is_stalled;
        assert!(!stalled(replaying(false, Some(1), 50, false)));
        assert!(stalled(replaying(true, Some(1), 60, true)));
        assert!(!stalled(seen(2, 5, false)), "another server");
        assert!(
            stalled(replaying(false, Some(1), 70, true)),
            "it has just resumed"
        );
        for committed in 2..70 {
            tokio::time::advance(SETTLING / 2).await;
            let replayed = replaying(false, Some(committed), 70 + committed, true);
            assert!(stalled(replayed), "it is still replaying what it missed");
        }
        let lagging = replaying(false, Some(70), 1000, false);
        assert!(!stalled(lagging), "however long it takes to replay");
        assert!(!stalled(replaying(false, Some(70), 1001, true)));

        assert!(stalled(replaying(true, Some(80), 90, false)));
        tokio::time::advance(SETTLING).await;
        let behind = replaying(false, Some(80), 91, false);
        assert!(stalled(behind), "it has more to replay");
        let rests = replaying(false, Some(80), 92, true);
        assert!(!stalled(rests), "it has no more to replay");

        assert!(stalled(replaying(true, Some(80), 93, true)));
        assert!(!stalled(seen(1, 5, false)), "it was promoted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_standby_without_replayed_commits_has_not_caught_up() {
        let servers = Servers::default();
        let stalled = |seen| servers.assess(seen).is_stalled;
        assert!(stalled(replaying(true, None, 10, true)));
        assert!(stalled(replaying(false, None, 11, true)));
        assert!(stalled(replaying(false, Some(3), 12, false)));
        assert!(!stalled(replaying(false, Some(11), 13, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_lags_if_it_stays_behind_another() {
        let servers = Servers::default();
        let lags = |number| servers.assess(seen(1, number, false)).lags;
        assert!(!lags(5) && !lags(7) && !lags(5));
        tokio::time::advance(LAG).await;
        assert!(lags(5) && !lags(7));
        tokio::time::advance(UNSEEN).await;
        assert!(!lags(5), "no server shows more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_lags_if_it_stays_behind_while_others_change_constantly() {
        let servers = Servers::default();
        let lags = |number| servers.assess(seen(1, number, false)).lags;
        for number in 10..1_000 {
            tokio::time::advance(Duration::from_millis(3)).await;
            servers.show(number);
            if number > 200 {
                assert!(lags(9), "at {number}");
                assert!(!lags(number - 100), "it is 0.3 s behind, at {number}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_closed_one_at_a_time() {
        let servers = Servers::default();
        assert!(!servers.should_reconnect(seen(1, 5, false)));
        assert!(servers.should_reconnect(seen(1, 5, true)));
        assert!(!servers.should_reconnect(seen(1, 5, true)));
        tokio::time::advance(BETWEEN).await;
        assert!(servers.should_reconnect(seen(1, 5, true)));
    }
}
