//! Checks that the time to compare two digests does not depend on where they differ. Uses Welch's
//! t-test with two classes of inputs in random order, as in "Dude, is my code constant time?"
//! (Reparaz, Balasch and Verbauwhede, 2017).
//!
//! `cargo bench --bench timing`. It fails if |t| is 5 or more for `TokenDigest`, or less than 5 for
//! the control, a comparison that stops at the first difference.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

use std::{
    hash::{BuildHasher, RandomState},
    hint::black_box,
    process::ExitCode,
    time::Instant,
};

use tower_api_tokens::TokenDigest;

const SAMPLES: u64 = 400_000;
/// The number of inputs that are created before they are measured.
const BATCH: u64 = 1_000;
/// The number of comparisons in a sample, so that a sample takes longer than the resolution of the
/// clock.
const REPEATS: usize = 50;
const LIMIT: f64 = 5.0;

/// The running mean and variance of samples.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    /// The variance of the mean.
    fn uncertainty(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// An input on its own cache line, so that its address does not affect the result.
#[repr(align(64))]
struct Input {
    bytes: [u8; 32],
    differs_last: bool,
}

/// Returns Welch's t for inputs that differ in their first byte and inputs that differ in their
/// last.
fn t_value(compare: impl Fn(&[u8; 32], &[u8; 32]) -> bool) -> f64 {
    let random = RandomState::new();
    let secret = *TokenDigest::of(b"a token").as_bytes();
    let mut samples = Vec::new();
    for batch in 0..SAMPLES / BATCH {
        // What runs between two readings of the clock, or just before, does not depend on the
        // class.
        let inputs: Vec<Input> = (0..BATCH)
            .map(|i| {
                let differs_last = random.hash_one((batch, i)) & 1 == 1;
                let mut bytes = secret;
                bytes[if differs_last { 31 } else { 0 }] ^= 1;
                Input {
                    bytes,
                    differs_last,
                }
            })
            .collect();
        for input in &inputs {
            let other = black_box(&input.bytes);
            black_box(compare(black_box(&secret), other));
            let begun = Instant::now();
            for _ in 0..REPEATS {
                black_box(compare(black_box(&secret), black_box(other)));
            }
            samples.push((input.differs_last, begun.elapsed().as_nanos() as f64));
        }
    }
    // The slowest tenth is discarded, because the scheduler interrupted it.
    let mut times: Vec<f64> = samples.iter().map(|(_, time)| *time).collect();
    times.sort_by(f64::total_cmp);
    let slowest = times[times.len() * 9 / 10];
    let mut classes = [Moments::default(), Moments::default()];
    for (differs_last, time) in samples {
        if time <= slowest {
            classes[usize::from(differs_last)].add(time);
        }
    }
    let [a, b] = classes;
    (a.mean - b.mean) / (a.uncertainty() + b.uncertainty()).sqrt()
}

fn main() -> ExitCode {
    let digest = t_value(|a, b| TokenDigest::from_bytes(*a) == TokenDigest::from_bytes(*b));
    let control = t_value(|a, b| a.iter().zip(b).all(|(a, b)| a == b));
    println!("TokenDigest: t = {digest:.2}");
    println!("control, which ends at the first difference: t = {control:.2}");
    match digest.abs() < LIMIT && control.abs() >= LIMIT {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
