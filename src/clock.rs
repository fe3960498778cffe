//! Where the time comes from.

use std::{fmt, time::Duration};

use jiff::Timestamp;
#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};

/// A source of time.
///
/// Everything in this crate that needs to know what time it is asks one injected clock, so that
/// expiry is judged by one authority and tests can set the time by hand (see
/// `testing::ManualClock`).
///
/// Both methods are called for every request: they should take nanoseconds.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The current time, by which expiry is judged. It may be set and may jump.
    fn now(&self) -> Timestamp;

    /// The time since a fixed instant of this clock's choice, by which the age of remembered
    /// answers is judged. It never goes back, and does not jump when the wall clock is set.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
///
/// On Linux these are the coarse ones, which the kernel advances every few milliseconds (at most
/// [`RESOLUTION`](Self::RESOLUTION)) and which take a quarter of the time to read. Time in which the
/// machine is suspended does not count as age on it, as the standard library has it too: whoever lets
/// machines sleep and wake in the midst of service has to add that time to the bound on revocation.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// By how much a reading may lag: 10 ms, a tick of a kernel at 100 Hz.
    pub const RESOLUTION: Duration = Duration::from_millis(10);
}

#[cfg(target_os = "linux")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let time = clock_gettime(ClockId::RealtimeCoarse);
        Timestamp::new(time.tv_sec, i32::try_from(time.tv_nsec).unwrap_or(0))
            .unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        let time = clock_gettime(ClockId::MonotonicCoarse);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's clocks"
)]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        ORIGIN.get_or_init(std::time::Instant::now).elapsed()
    }
}

/// A time to the microsecond, as stores keep it: what is less is cut off, before 1970 too.
pub(crate) fn to_microsecond(time: Timestamp) -> Timestamp {
    from_microsecond(microseconds(time))
}

/// The whole microseconds since 1970 that have begun.
pub(crate) fn microseconds(time: Timestamp) -> i64 {
    let begun = i64::from(time.subsec_nanosecond() % 1000 < 0);
    time.as_microsecond() - begun
}

/// The time that a store keeps as microseconds since 1970; out of range is the nearest that is in.
pub(crate) fn from_microsecond(microseconds: i64) -> Timestamp {
    let (seconds, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let nearest = if microseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    i32::try_from(rest * 1000)
        .ok()
        .and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok())
        .unwrap_or(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the clock is compared with it")]
    fn the_system_clock_agrees_with_the_standard_library() {
        let before = Timestamp::now() - SystemClock::RESOLUTION;
        let now = SystemClock.now();
        assert!(before <= now && now <= Timestamp::now());
    }

    #[test]
    fn every_time_survives_as_microseconds() {
        for time in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            let kept = to_microsecond(time);
            assert!(kept <= time && time.duration_since(kept).as_nanos() < 1000);
            assert_eq!(to_microsecond(kept), kept);
        }
        let before = Timestamp::new(-1, -999_999_999).unwrap();
        assert_eq!(microseconds(before), -2_000_000);
    }

    #[test]
    fn monotonic_time_does_not_go_back() {
        let first = SystemClock.monotonic();
        assert!((0..1000).all(|_| SystemClock.monotonic() >= first));
    }
}
