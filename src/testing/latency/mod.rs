//! What verification costs with a store: latencies and throughput of each kind of request.
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
//! [`Authenticator::authenticate`](crate::Authenticator::authenticate), from the presented text to
//! the verdict, with nothing of HTTP around it. Two authenticators stand before the store. One has
//! been asked for every token before and remembers them all: hits, unknown tokens, garbage and
//! revoked tokens go to it. The other remembers nothing, so that each request to it is a miss. Which
//! kind a request is, is therefore known beforehand, and every verdict is checked: one that admits
//! what it should refuse, or the reverse, ends the test with an error.
//!
//! # Why from the schedule
//!
//! [`LoadTest::run`] has a schedule: request *n* is due *n* / rate seconds after the beginning, as
//! the requests of many independent clients are, whether earlier ones have been answered or not.
//! Each latency counts from the instant in which the request was due, not from that in which it was
//! sent. A tool that waits for one answer before it sends the next request sends fewest requests
//! while the store is slowest, and so leaves out most of what clients would have waited: this is
//! called coordinated omission.
//!
//! [`LoadTest::saturate`] is such a tool, and says so: it tells how much can be verified a second,
//! and what one request costs by itself.
//!
//! # Several stores
//!
//! [`Comparison::measure`] finds out what each of several stores sustains, and then measures all of
//! them at one rate: half of what the slowest sustains. Latencies at different rates say little
//! about each other, so a [`Comparison`] refuses reports of different rates.
//!
//! # What to mind
//!
//! - The schedule keeps one core busy. On a machine with few of them that is part of the result.
//! - Run it in a release build, on a runtime of several threads, and with the store where it will be.
//! - The order of requests is drawn from a fixed seed, so two tests present the same.

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
