use std::time::Duration;

/// Nanoseconds, as far as 64 bits reach: 584 years.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
