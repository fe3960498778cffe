//! The clock, and the times that are read from text.

mod clock;
mod expiry;

pub(crate) use clock::LAG;
pub use clock::{Clock, SystemClock, from_microseconds, microseconds, truncate_to_microsecond};
pub use expiry::{TimeError, end_of_day, parse_expiry, parse_instant};
