//! Compares the throughput of two threads with that of one, all with the same credential. Writes to
//! shared memory would slow down both.

use std::{sync::Barrier, thread};

use http::{HeaderValue, Request, StatusCode};
use tower_api_tokens::MetadataPatch;

use crate::{
    floor::{bare, layer},
    platform::{Body, Platform, bearer, request},
    rounds::{median, timed},
};

const ROUNDS: usize = 31;
const REQUESTS: usize = 200_000;

pub(crate) fn run() {
    let platform = Platform::new(1000);
    platform.warm();
    let token = &platform.issued[0].0;
    let foreign = bearer("other_live_00000000000000000000000000000000000000");
    // As in a server, each thread has a clone of one service.
    let service = layer(&platform);
    let control = gain(token, StatusCode::OK, bare);
    let admitted = gain(token, StatusCode::OK, || service.clone());
    let described = described();
    let service = layer(&described);
    let metadata = gain(&described.issued[0].0, StatusCode::OK, || service.clone());
    let service = layer(&platform);
    let refused = gain(&foreign, StatusCode::UNAUTHORIZED, || service.clone());
    println!("\nThroughput of two threads, of one\n");
    println!("| | times |\n|---|---|");
    println!("| bare service | {control:.2} |");
    println!("| one token, admitted | {admitted:.2} |");
    println!("| one token with metadata, admitted | {metadata:.2} |");
    println!("| one wrong prefix, refused | {refused:.2} |");
}

/// Tokens of an app with metadata.
fn described() -> Platform {
    let metadata = MetadataPatch::default()
        .set("plan", "pro")
        .set("region", "eu");
    let platform = Platform::with_metadata(1000, metadata);
    platform.warm();
    platform
}

/// Returns the throughput of two threads, relative to one.
fn gain<S>(credential: &HeaderValue, expected: StatusCode, service: impl Fn() -> S + Sync) -> f64
where
    S: FnMut(Request<Body>) -> StatusCode,
{
    let present = || {
        let mut service = service();
        // Copied, because clones of one value share a reference count.
        let credential = HeaderValue::from_bytes(credential.as_bytes()).unwrap();
        for _ in 0..REQUESTS {
            assert_eq!(service(request(&credential)), expected);
        }
    };
    present();
    let ratios = (0..ROUNDS).map(|_| {
        let [alone, together] = [1, 2].map(|threads| {
            // A single thread is spawned too, because allocators are faster on the main thread.
            let start = Barrier::new(threads);
            let time = timed(|| {
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            start.wait();
                            present();
                        });
                    }
                });
            });
            time.as_secs_f64()
        });
        2.0 * alone / together
    });
    median(ratios.collect())
}
