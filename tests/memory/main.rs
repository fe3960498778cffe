//! What an authenticator caches, and for how long.

mod apps;
mod capacity;
mod flights;
mod floods;
mod followers;
mod following;
mod pacing;
mod recheck;
#[cfg(unix)]
mod snapshots;
mod staleness;
mod stalls;
mod streams;
mod support;
mod usage;
mod waiting;
