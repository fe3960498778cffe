//! Several things measured in turn.

use std::time::{Duration, Instant};

/// One thing to be measured: runs so many requests.
pub(crate) struct Measured<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut(usize) + 'a>,
}

impl<'a> Measured<'a> {
    pub(crate) fn new(name: &'static str, run: impl FnMut(usize) + 'a) -> Self {
        let run = Box::new(run);
        Self { name, run }
    }
}

/// The nanoseconds a request of each, round by round.
pub(crate) fn measure(
    measured: &mut [Measured<'_>],
    rounds: usize,
    requests: usize,
) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::with_capacity(rounds); measured.len()];
    for round in 0..=rounds {
        for (times, measured) in times.iter_mut().zip(measured.iter_mut()) {
            let time = timed(|| (measured.run)(requests)).as_secs_f64();
            // The first round warms up.
            if round > 0 {
                times.push(time * 1e9 / requests as f64);
            }
        }
    }
    times
}

pub(crate) fn timed(run: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    run();
    begun.elapsed()
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
