//! Simulates fleets that are too large to be run: thousands of nodes that verify 100 million tokens on one
//! database.
//!
//! The simulation goes from event to event. Every node follows the change log, looks tokens up and records
//! uses as the library does. The database has cores, which its statements share, and each statement takes
//! the time that was [measured](Costs::MEASURED) on a real one. The same seed gives the same result on every
//! machine.
//!
//! Three things are simplified:
//!
//! - A cache is one number: see [`Popularity`].
//! - Only requests whose token is missing are events. The others cost the database nothing.
//! - The database is limited by its cores, not by locks, memory or its disk.

mod costs;
mod histogram;
mod math;
mod node;
mod outcome;
mod popularity;
mod processor;
mod random;
mod scenario;
mod simulation;
pub mod tables;

pub use costs::{Cost, Costs};
pub use histogram::Histogram;
pub use outcome::{Counts, Kind, Outcome};
pub use popularity::Popularity;
pub use random::Random;
pub use scenario::{Beginning, Changes, Database, NodeSettings, Registration, Scenario, Traffic};
pub use simulation::simulate;
