//! Latencies of calls.

use std::time::{Duration, Instant};

/// The latencies of calls of one kind.
#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Makes a call and records its latency.
    pub(crate) async fn time<T>(&mut self, call: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = call.await;
        self.0.push(begun.elapsed());
        done
    }

    pub(crate) fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Returns the median and the 99th percentile, for a cell of the table.
    pub(crate) fn cell(mut self) -> String {
        self.0.sort_unstable();
        let at = |hundredths: usize| {
            let nth = (self.0.len() * hundredths / 100).min(self.0.len() - 1);
            self.0[nth].as_secs_f64() * 1000.0
        };
        format!("{:.2} / {:.2}", at(50), at(99))
    }
}
