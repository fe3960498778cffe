//! Counts of durations, in steps of about a percent.

use crate::math::{exp, ln};

/// The width of a step, in logarithms.
const STEP: f64 = 0.01;

/// A distribution of durations.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        let step = (ln(1.0 + nanoseconds as f64 / 1000.0) / STEP) as usize;
        if self.counts.len() <= step {
            self.counts.resize(step + 1, 0);
        }
        self.counts[step] += 1;
        self.count += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// How many durations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration, in milliseconds, that this share of them does not exceed. The share 1 is the maximum.
    #[must_use]
    pub fn milliseconds(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        if wanted >= self.count {
            return self.max as f64 / 1e6;
        }
        let mut seen = 0;
        let step = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted.max(1)
        });
        let middle = step.unwrap_or(0) as f64 + 0.5;
        (exp(middle * STEP) - 1.0) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_to_about_a_percent() {
        let mut histogram = Histogram::default();
        for milliseconds in 1..=1000 {
            histogram.add(milliseconds * 1_000_000);
        }
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let is = histogram.milliseconds(share);
            assert!((is / exact - 1.0).abs() < 0.01, "{share}: {is}");
        }
        assert_eq!(histogram.count(), 1000);
    }
}
