//! What an authenticator remembers, for how long, and what becomes of it.

mod flights;
mod floods;
mod following;
mod staleness;
mod support;
mod usage;
