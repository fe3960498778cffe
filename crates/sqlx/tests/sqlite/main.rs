//! Tests specific to the SQLite store, besides the conformance suite.

mod compatibility;
mod contention;
mod events;
mod failing;
#[cfg(unix)]
mod links;
mod opening;
mod pools;
mod read_only;
mod replacing;
mod rows;
mod store;
mod support;
mod triggers;
mod versions;
