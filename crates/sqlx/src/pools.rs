//! The state of pools of connections, for metrics.

use sqlx::{Database, Pool};

/// The connections of one of a store's pools at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// What the pool is for, in one word.
    pub name: &'static str,
    /// How many connections run statements.
    pub in_use: u32,
    /// How many connections are open and unused.
    pub idle: u32,
    /// The maximum number of connections.
    pub max: u32,
}

impl PoolStatus {
    /// `kept` is the number of unused connections that were not returned to the pool.
    pub(crate) fn of<D: Database>(name: &'static str, pool: &Pool<D>, kept: usize) -> Self {
        let open = pool.size();
        // They are read one after the other, and may not fit.
        let idle = u32::try_from(pool.num_idle() + kept).map_or(open, |idle| idle.min(open));
        Self {
            name,
            in_use: open - idle,
            idle,
            max: pool.options().get_max_connections(),
        }
    }
}
