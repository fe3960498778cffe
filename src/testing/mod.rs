//! Test utilities for services and stores (feature `testing`): a [`Fixture`] with a token, a clock
//! set by hand, a random number generator that fails, a store that fails on demand, the
//! [`conformance`] suite for stores, and a load test in [`latency`].

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
