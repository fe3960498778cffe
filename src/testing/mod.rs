//! For tests of what is built on this crate, and of stores: a clock set by hand, randomness that
//! fails, and a store that fails on demand.

mod clock;
pub mod conformance;
mod entropy;
mod unreliable;

pub use clock::ManualClock;
pub use entropy::FailingEntropy;
pub use unreliable::{Fault, UnreliableStore};
