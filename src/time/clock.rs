//! The source of the current time.

use std::{fmt, time::Duration};

use jiff::Timestamp;
#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};

/// A source of time.
///
/// The crate reads the time only from the configured clock, so expiry is decided in one place, and
/// tests can set the time with [`testing::ManualClock`](crate::testing::ManualClock) (feature
/// `testing`).
///
/// [`now`](Self::now) and [`monotonic`](Self::monotonic) are called for every request. They should
/// take nanoseconds and may lag slightly. Within half a second of a limit, the precise methods
/// decide.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current wall-clock time, which decides whether a token has expired. It may be
    /// set and may jump.
    fn now(&self) -> Timestamp;

    /// Returns the time since a fixed instant of the clock's choice, which decides the age of
    /// cached answers. It must never go back, and must not jump when the wall clock is set.
    fn monotonic(&self) -> Duration;

    /// Returns the same as [`now`](Self::now), without lag. Defaults to `now`; a clock that lags
    /// must override it.
    fn precise_now(&self) -> Timestamp {
        self.now()
    }

    /// Returns the same as [`monotonic`](Self::monotonic), without lag. Defaults to `monotonic`; a
    /// clock that lags must override it.
    fn precise_monotonic(&self) -> Duration {
        self.monotonic()
    }
}

/// Within this distance of a limit, the precise clock decides. A coarse clock lags by one tick of
/// the kernel, 10 ms at 100 Hz, and by several on a virtual machine that misses some.
pub(crate) const LAG: Duration = Duration::from_millis(500);

/// The operating system's clocks.
///
/// On Linux, `now` and `monotonic` use the coarse clocks, which the kernel advances every few
/// milliseconds and which take a quarter of the time to read. As with [`std::time::Instant`], time
/// while the machine is suspended may not count. If your machines sleep during service, add that
/// time to the bound on revocation.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

#[cfg(target_os = "linux")]
fn wall(clock: ClockId) -> Timestamp {
    let time = clock_gettime(clock);
    Timestamp::new(time.tv_sec, i32::try_from(time.tv_nsec).unwrap_or(0)).unwrap_or(Timestamp::MAX)
}

#[cfg(target_os = "linux")]
fn elapsed(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(target_os = "linux")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall(ClockId::RealtimeCoarse)
    }

    fn monotonic(&self) -> Duration {
        elapsed(ClockId::MonotonicCoarse)
    }

    fn precise_now(&self) -> Timestamp {
        wall(ClockId::Realtime)
    }

    fn precise_monotonic(&self) -> Duration {
        elapsed(ClockId::Monotonic)
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

/// Truncates a time to microseconds, the precision of the stores. Rounds towards the past, also
/// before 1970.
///
/// # Examples
///
/// ```
/// use jiff::Timestamp;
/// use tower_api_tokens::store::truncate_to_microsecond;
///
/// let time: Timestamp = "2026-01-02T03:04:05.123456789Z".parse()?;
/// assert_eq!(truncate_to_microsecond(time).to_string(), "2026-01-02T03:04:05.123456Z");
/// # Ok::<(), jiff::Error>(())
/// ```
#[must_use]
pub fn truncate_to_microsecond(time: Timestamp) -> Timestamp {
    from_microseconds(microseconds(time))
}

/// Returns the microseconds since 1970, rounded towards the past.
#[must_use]
pub fn microseconds(time: Timestamp) -> i64 {
    let begun = i64::from(time.subsec_nanosecond() % 1000 < 0);
    time.as_microsecond() - begun
}

/// Returns the time at a number of microseconds since 1970, limited to the range of [`Timestamp`].
#[must_use]
pub fn from_microseconds(microseconds: i64) -> Timestamp {
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
        let before = Timestamp::now();
        let precise = SystemClock.precise_now();
        assert!(before <= precise && precise <= Timestamp::now());
        let now = SystemClock.now();
        assert!(before - LAG <= now && now <= Timestamp::now());
    }

    #[test]
    fn the_precise_clock_is_never_behind_the_other_one() {
        for _ in 0..1000 {
            let now = SystemClock.monotonic();
            let precise = SystemClock.precise_monotonic();
            assert!(now <= precise && precise - now < LAG);
        }
    }

    #[test]
    fn every_time_survives_as_microseconds() {
        for time in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            let kept = truncate_to_microsecond(time);
            assert!(kept <= time && time.duration_since(kept).as_nanos() < 1000);
            assert_eq!(truncate_to_microsecond(kept), kept);
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
