use std::time::Duration;

/// Whole nanoseconds, saturating at 64 bits (584 years).
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
