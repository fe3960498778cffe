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
    replayed: Option<i64>,
    since: Instant,
}

/// What a row says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Up to which number it shows the change log.
    pub(super) number: u64,
    pub(super) is_stalled: bool,
    pub(super) server: i64,
    pub(super) replay: Replay,
}

/// How far a standby has replayed. All of it is empty or `false` of a primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replay {
    /// When the latest commit was made that it shows.
    pub(super) committed: Option<i64>,
    /// Whether that was lately, by its clock.
    pub(super) is_recent: bool,
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
            replay: Replay {
                committed: row.try_get(server + 2).map_err(from_sqlx)?,
                is_recent: flag(row, server + 3)?,
                is_whole: flag(row, server + 4)?,
            },
        })
    }
}

fn flag(row: &PgRow, column: usize) -> Result<bool, StoreError> {
    let flag: Option<bool> = row.try_get(column).map_err(from_sqlx)?;
    Ok(flag.unwrap_or(false))
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

impl State {
    fn is_stalled(&mut self, seen: Seen, now: Instant) -> bool {
        let Replay {
            committed: replayed,
            is_recent,
            is_whole,
        } = seen.replay;
        let stalled = Stalled {
            server: seen.server,
            replayed,
            since: now,
        };
        let place = self.stalled.iter().position(|s| s.server == seen.server);
        if seen.is_stalled {
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
        let held = &mut self.stalled[place];
        if held.replayed != replayed {
            *held = stalled;
        }
        let rests = is_whole && now.duration_since(held.since) >= SETTLING;
        // One that has no commits to show has been promoted.
        let settles = replayed.is_some() && !is_recent && !rests;
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
            replay: Replay::default(),
        }
    }

    fn replaying(is_stalled: bool, committed: i64, is_recent: bool, is_whole: bool) -> Seen {
        Seen {
            replay: Replay {
                committed: Some(committed),
                is_recent,
                is_whole,
            },
            ..seen(1, 5, is_stalled)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_stalled_counts_again_when_it_has_caught_up() {
        let servers = Servers::default();
        let stalled = |seen| servers.note(seen).is_stalled;
        assert!(!stalled(replaying(false, 1, false, false)));
        assert!(stalled(replaying(true, 1, false, true)));
        assert!(!stalled(seen(2, 5, false)), "another server");
        assert!(stalled(replaying(false, 1, false, true)), "it just ended");
        for committed in 2..20 {
            tokio::time::advance(SETTLING / 2).await;
            assert!(
                stalled(replaying(false, committed, false, true)),
                "it replays what it has missed"
            );
        }
        assert!(
            !stalled(replaying(false, 20, true, false)),
            "it has caught up"
        );
        assert!(!stalled(replaying(false, 20, false, true)));

        assert!(stalled(replaying(true, 20, false, false)));
        tokio::time::advance(SETTLING).await;
        assert!(
            stalled(replaying(false, 20, false, false)),
            "more to replay"
        );
        assert!(
            !stalled(replaying(false, 20, false, true)),
            "no more to replay"
        );

        assert!(stalled(replaying(true, 20, false, true)));
        assert!(!stalled(seen(1, 5, false)), "it was promoted");
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
