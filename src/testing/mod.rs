//! For tests of what is built on this crate, and of stores: a [`Fixture`] with a token to present, a
//! clock set by hand, randomness that fails, a store that fails on demand, and a load test.

mod clock;
pub mod conformance;
mod entropy;
mod faulty;
mod fixture;
pub mod latency;

pub use clock::ManualClock;
pub use entropy::FailingEntropy;
pub use faulty::{Fault, FaultyStore};
pub use fixture::{Fixture, FixtureBuilder};
