//! The servers behind an address, of which some may lag behind or get no further. Connections to those
//! make way for others, which may lead to a better one.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Row, postgres::PgRow};
use tokio::time::Instant;

use crate::store::{StoreError, StoreErrorKind, rows::Columns};

use super::error::from_sqlx;

/// For how long a server may lack what another one shows before its connections are closed.
const LAG: Duration = Duration::from_millis(500);

/// For how long after a server was stalled it counts as such while it shows no more than then: it
/// may receive again, and not have replayed yet.
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

struct Stalled {
    server: i64,
    number: u64,
    seen_at: Instant,
}

/// What a row says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Up to which number it shows the change log.
    pub(super) number: u64,
    pub(super) is_stalled: bool,
    pub(super) server: i64,
}

impl Seen {
    /// Reads the number from one column, and the rest from another and the one after that.
    pub(super) fn of(row: &PgRow, number: usize, server: usize) -> Result<Self, StoreError> {
        let number = row.integer(number)?.and_then(|n| u64::try_from(n).ok());
        Ok(Self {
            number: number.ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt))?,
            is_stalled: row.try_get(server).map_err(from_sqlx)?,
            server: row.try_get(server + 1).map_err(from_sqlx)?,
        })
    }
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
        let place = self.stalled.iter().position(|s| s.server == seen.server);
        if seen.is_stalled {
            let stalled = Stalled {
                server: seen.server,
                number: seen.number,
                seen_at: now,
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
        let stalled = &self.stalled[place];
        let settles =
            seen.number <= stalled.number && now.duration_since(stalled.seen_at) < SETTLING;
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
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_stalled_settles_before_it_counts_again() {
        let servers = Servers::default();
        let stalled = |seen| servers.note(seen).is_stalled;
        assert!(!stalled(seen(1, 5, false)));
        assert!(stalled(seen(1, 5, true)));
        assert!(!stalled(seen(2, 5, false)), "another server");
        assert!(stalled(seen(1, 5, false)), "it has not replayed yet");
        assert!(!stalled(seen(1, 6, false)), "it has gone on");
        assert!(!stalled(seen(1, 6, false)));
        assert!(stalled(seen(1, 6, true)));
        tokio::time::advance(SETTLING).await;
        assert!(!stalled(seen(1, 6, false)), "there is nothing to replay");
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
