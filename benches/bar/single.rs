//! Measures single requests, with a reading of the clock before and after each.

use std::time::Instant;

use http::{Request, StatusCode};

use crate::{
    floor::{bare, floor, layer},
    platform::{Body, Platform, request},
};

const SAMPLES: usize = 1_000_000;

pub(crate) fn run() {
    let platform = Platform::new(100_000);
    platform.warm();
    let some = platform.some();
    println!("\nSingle requests, 1,000,000 samples, readings of the clock included\n");
    println!("| | p50 µs | p99 µs | p99.9 µs |\n|---|---|---|---|");
    let sampled = |name: &str, service: &mut dyn FnMut(Request<Body>) -> StatusCode| {
        let mut nanoseconds: Vec<u128> = Vec::with_capacity(SAMPLES);
        for credential in some.iter().cycle().take(SAMPLES) {
            let request = request(credential);
            let begun = Instant::now();
            let status = service(request);
            nanoseconds.push(begun.elapsed().as_nanos());
            assert!(status.is_success());
        }
        nanoseconds.sort_unstable();
        let at = |quantile: f64| nanoseconds[(SAMPLES as f64 * quantile) as usize] as f64 / 1000.0;
        let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
        println!("| {name} | {p50:.2} | {p99:.2} | {p999:.2} |");
    };
    sampled("bare service", &mut bare());
    sampled("floor", &mut floor(&platform));
    sampled("`ApiTokenLayer`, from memory", &mut layer(&platform));
}
