//! What a cache hit allocates. This is the only test of its binary, because every allocation of the
//! process is counted.

#[path = "../benches/bar/floor.rs"]
mod floor;
#[path = "../benches/bar/platform.rs"]
mod platform;

use std::alloc::System;

use floor::{bare, floor, layer};
use futures_util::FutureExt;
use http::{Request, StatusCode};
use platform::{Body, Inner, Platform, call, request};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower_api_tokens::{ApiTokenLayer, MetadataPatch};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_hit_allocates_no_more_than_a_handwritten_check() {
    check(&Platform::new(10_000));
    let metadata = MetadataPatch::default().set("plan", "pro");
    check(&Platform::with_metadata(10_000, metadata));
}

fn check(platform: &Platform) {
    platform.warm();
    let bare = allocations(platform, &mut bare());
    let floor = allocations(platform, &mut floor(platform));
    let layer = allocations(platform, &mut layer(platform));
    assert!(bare < floor, "the principal is not counted");
    assert!(layer <= floor, "{layer} rather than {floor}");
    let outside = allocations(platform, &mut outside(platform));
    assert!(outside <= floor, "{outside} rather than {floor}");
}

/// Authentication without a service, polled once because it does not wait.
fn outside(platform: &Platform) -> impl FnMut(Request<Body>) -> StatusCode {
    let layer = ApiTokenLayer::new(&platform.tokens);
    move |request| {
        let (mut parts, body) = request.into_parts();
        match layer.authenticate(&mut parts).now_or_never() {
            Some(Ok(_)) => call(&mut Inner, Request::from_parts(parts, body)),
            Some(Err(refusal)) => refusal.status(),
            None => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The number of allocations while a hundred requests are served, without those of the requests.
/// Takes the minimum of several rounds: the first sets up what later ones use, and the test harness
/// has threads too.
fn allocations(platform: &Platform, service: &mut dyn FnMut(Request<Body>) -> StatusCode) -> usize {
    let round = |_| {
        let requests: Vec<_> = platform.some().iter().map(request).collect();
        let region = Region::new(ALLOCATOR);
        for request in requests {
            assert!(service(request).is_success());
        }
        let change = region.change();
        change.allocations + change.reallocations
    };
    (0..10).map(round).min().unwrap_or_default()
}
