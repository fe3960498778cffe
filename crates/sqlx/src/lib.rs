//! [SQLite](SqliteStore) and [PostgreSQL](PostgresStore) stores for
//! [tower-api-tokens](https://docs.rs/tower-api-tokens).
//!
//! [`connect`] opens either, depending on the URL.
//!
//! # Features
//!
//! No feature is enabled by default.
//!
//! - `postgres`: `PostgresStore`, over rustls.
//! - `sqlite`: `SqliteStore`, with a bundled SQLite.
//! - `tracing`: an event for each restored trigger and each unreadable row.

#![warn(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod compatibility;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod connect;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod listing;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod live_stream;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod nodes;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod pools;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod rows;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod telemetry;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use connect::{AnyStore, AnyStoreBuilder, Driver, connect};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use pools::PoolStatus;
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use sqlite::SqliteStore;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
