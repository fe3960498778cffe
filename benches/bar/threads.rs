//! Two threads that present one token, against one thread.

use std::sync::Barrier;

use http::HeaderValue;

use crate::{
    floor::layer,
    platform::{Platform, request},
    rounds::{median, timed},
};

const ROUNDS: usize = 31;
const REQUESTS: usize = 200_000;

pub(crate) fn run() {
    let platform = Platform::new(1000);
    platform.warm();
    let present = || {
        let mut service = layer(&platform);
        // A copy of its own: clones of one value count their references in one place.
        let credential = HeaderValue::from_bytes(platform.issued[0].0.as_bytes()).unwrap();
        for _ in 0..REQUESTS {
            assert!(service(request(&credential)).is_success());
        }
    };
    present();
    let ratios = (0..ROUNDS).map(|_| {
        let alone = timed(present).as_secs_f64();
        let start = Barrier::new(2);
        let together = timed(|| {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        start.wait();
                        present();
                    });
                }
            });
        });
        2.0 * alone / together.as_secs_f64()
    });
    println!(
        "\nTwo threads on one token: {:.2} times the throughput of one",
        median(ratios.collect())
    );
}
