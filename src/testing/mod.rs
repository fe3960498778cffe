//! For tests of what is built on this crate, and of stores: a clock set by hand, randomness that
//! fails, a store that fails on demand, and a load test.

mod clock;
pub mod conformance;
mod entropy;
pub mod latency;
mod unreliable;

pub use clock::ManualClock;
pub use entropy::FailingEntropy;
pub use unreliable::{Fault, UnreliableStore};
