//! Load tests of verification: latency and throughput with a store, for each kind of request.
//!
//! # Examples
//!
//! ```
//! use tower_api_tokens::{
//!     ApiTokens, MemoryStore, NewToken, TokenFormat,
//!     testing::latency::{Kind, LoadTest},
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (store, format) = (MemoryStore::new(), TokenFormat::new("acme")?);
//! let tokens = ApiTokens::new(store.clone(), format.clone());
//! let app = tokens.create_app("Load test").await?;
//! let mut issued = Vec::new();
//! for n in 0..100 {
//!     issued.push(tokens.issue(&app.id, NewToken::named(format!("{n}"))).await?);
//! }
//! let revoked = issued.split_off(90);
//! for token in &revoked {
//!     tokens.revoke(token.record().id).await?;
//! }
//!
//! let mut test = LoadTest::builder(store)
//!     .format(format)
//!     .with_live(issued.iter().map(|token| token.token().expose()))
//!     .with_revoked(revoked.iter().map(|token| token.token().expose()))
//!     .share(Kind::Unknown, 0.05)
//!     .concurrency(8)
//!     .prepare()
//!     .await?;
//! let report = test.run(10_000.0, 2_000).await?;
//! println!("{report}");
//! let hits = report.figures(Kind::Hit);
//! println!("p99 of a hit: {:?}", hits.latencies().quantile(0.99));
//! # assert_eq!(report.figures(Kind::Unknown).count(), 100);
//! # Ok(())
//! # }
//! ```
//!
//! # What is measured
//!
//! The test measures [`Authenticator::authenticate`](crate::Authenticator::authenticate), from the
//! text of a token to the result, without HTTP. It uses two authenticators with the same store. One
//! has looked up every token beforehand and caches them all; it handles hits, unknown tokens,
//! malformed tokens and revoked tokens. The other caches nothing, so each of its requests is a
//! miss. So the kind of each request is known beforehand, and every result is checked: a token that
//! is wrongly admitted or refused ends the test with an error.
//!
//! # Why requests follow a schedule
//!
//! [`LoadTest::run`] follows a schedule: request *n* is due *n* / rate seconds after the start,
//! whether or not earlier ones have been answered, like the requests of many independent clients.
//! Each latency counts from the instant at which the request was due, not from when it was sent. A
//! tool that waits for one answer before it sends the next request sends the fewest requests while
//! the store is slowest, and so leaves out most of the time that clients would have waited. This is
//! called coordinated omission.
//!
//! [`LoadTest::saturate`] works without a schedule. It measures how many requests can be verified
//! per second, and what a single request costs.
//!
//! # Comparing stores
//!
//! [`Comparison::measure`] measures what each of several stores sustains, and then measures all of
//! them at half of what the slowest sustains. Latencies at different rates are not comparable, so a
//! [`Comparison`] refuses reports of different rates.
//!
//! # Before you measure
//!
//! - The schedule keeps one core busy. On a machine with few cores, this affects the result.
//! - Use a release build, a runtime with several threads, and the store where it will run in
//!   production.
//! - The order of requests is drawn from a fixed seed, so two tests make the same requests.

mod comparison;
mod drive;
mod error;
mod figures;
mod json;
mod kind;
mod load;
mod number;
mod plan;
mod subjects;
mod table;

pub use comparison::{Comparison, ComparisonError, ComparisonErrorKind};
pub use error::{LoadTestError, LoadTestErrorKind};
pub use figures::{Figures, Latencies, Report};
pub use json::{ReportError, ReportErrorKind};
pub use kind::{Kind, Skew};
pub use load::{LoadTest, LoadTestBuilder, Phase, Progress};
