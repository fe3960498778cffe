//! What an authenticator caches, and for how long.

mod apps;
mod capacity;
mod flights;
mod floods;
mod followers;
mod following;
mod recheck;
mod staleness;
mod stalls;
mod support;
mod usage;
mod waiting;
