//! What an authenticator caches, for how long, and what becomes of it.

mod capacity;
mod flights;
mod floods;
mod followers;
mod following;
mod staleness;
mod stalls;
mod support;
mod usage;
