//! Random numbers that depend only on the seed.

use crate::math::ln;

/// A generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, but not including, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A time until the next of events that are independent of each other, in nanoseconds.
    pub(crate) fn until_next(&mut self, per_second: f64) -> u64 {
        if per_second <= 0.0 {
            return u64::MAX;
        }
        (-ln(1.0 - self.unit()) / per_second * 1e9) as u64
    }

    /// A random part of a time.
    pub(crate) fn part_of(&mut self, nanoseconds: u64) -> u64 {
        (self.unit() * nanoseconds as f64) as u64
    }

    /// A time between half of a pause and all of it, as the library waits after a failure.
    pub(crate) fn jittered(&mut self, pause: u64) -> u64 {
        pause / 2 + self.part_of(pause / 2)
    }
}
