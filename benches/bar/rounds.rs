//! Measures several candidates alternately.

use std::time::{Duration, Instant};

use http::{HeaderValue, Request, StatusCode};

use crate::platform::{Body, request};

const ROUNDS: usize = 31;

/// A candidate to measure.
pub(crate) struct Measured<'a> {
    pub(crate) name: &'static str,
    /// The number of requests in a round.
    pub(crate) requests: usize,
    /// Runs this many requests.
    pub(crate) run: Box<dyn FnMut(usize) + 'a>,
}

impl<'a> Measured<'a> {
    pub(crate) fn new(name: &'static str, run: impl FnMut(usize) + 'a) -> Self {
        Self {
            name,
            requests: 20_000,
            run: Box::new(run),
        }
    }

    /// Creates a candidate that admits all of these credentials.
    pub(crate) fn admitting(
        name: &'static str,
        mut service: impl FnMut(Request<Body>) -> StatusCode + 'a,
        credentials: &'a [HeaderValue],
    ) -> Self {
        // Each round continues where the previous one stopped, so that it does not reuse warm CPU
        // caches.
        let mut credentials = credentials.iter().cycle();
        Self::new(name, move |requests| {
            for credential in credentials.by_ref().take(requests) {
                assert_eq!(service(request(credential)), StatusCode::OK, "{name}");
            }
        })
    }
}

/// Returns the nanoseconds per request of each candidate, for each round.
pub(crate) fn measure(measured: &mut [Measured<'_>]) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::with_capacity(ROUNDS); measured.len()];
    for round in 0..=ROUNDS {
        for (times, measured) in times.iter_mut().zip(measured.iter_mut()) {
            let time = timed(|| (measured.run)(measured.requests)).as_secs_f64();
            // The first round is a warm-up.
            if round > 0 {
                times.push(time * 1e9 / measured.requests as f64);
            }
        }
    }
    times
}

/// Prints what each candidate adds to the first, the bare service, relative to the second, the
/// floor, and to the third, the layer.
pub(crate) fn compare(measured: &mut [Measured<'_>]) {
    let times = measure(measured);
    let added = |time: &[f64]| -> Vec<f64> {
        let pairs = time.iter().zip(&times[0]);
        pairs.map(|(time, bare)| time - bare).collect()
    };
    let (floor, layer) = (added(&times[1]), added(&times[2]));
    println!("| | ns added | of the floor | of the layer |\n|---|---|---|---|");
    for (measured, time) in measured.iter().zip(&times).skip(1) {
        let mine = added(time);
        let (of_floor, of_layer) = (ratio(&mine, &floor), ratio(&mine, &layer));
        let (name, mine) = (measured.name, median(mine));
        println!("| {name} | {mine:.0} | {of_floor:.2} | {of_layer:.2} |");
    }
}

pub(crate) fn timed(run: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    run();
    begun.elapsed()
}

/// Returns the median of the ratios of all rounds.
pub(crate) fn ratio(times: &[f64], to: &[f64]) -> f64 {
    median(times.iter().zip(to).map(|(a, b)| a / b).collect())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
