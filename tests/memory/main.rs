//! What an authenticator caches, for how long, and what becomes of it.

mod capacity;
mod flights;
mod floods;
mod followers;
mod following;
mod stalls;
mod staleness;
mod support;
mod usage;
