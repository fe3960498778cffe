//! What is particular to the store in SQLite; the contract is in `conformance`.

mod failing;
mod opening;
mod pools;
mod read_only;
mod replacing;
mod rows;
mod store;
mod support;
mod triggers;
