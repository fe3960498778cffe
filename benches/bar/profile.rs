//! Requests to be counted by a profiler, each kind in a function of its own. Nothing is timed.

use std::hint::black_box;

use http::{HeaderValue, Request, StatusCode};

use crate::{
    floor::{bare, floor, layer},
    platform::{Body, Platform, request},
    refusals::mistyped,
};

const REQUESTS: usize = 10_000;

pub(crate) fn run() {
    let platform = Platform::new(10_000);
    platform.warm();
    let some = platform.some();
    let mistyped = [mistyped(&some[0])];
    for round in [warm_up, profile_bare] {
        round(&mut bare(), &some);
    }
    for round in [warm_up, profile_floor] {
        round(&mut floor(&platform), &some);
    }
    for round in [warm_up, profile_layer] {
        round(&mut layer(&platform), &some);
    }
    for round in [warm_up, profile_refusal] {
        round(&mut layer(&platform), &mistyped);
    }
}

type Service<'a> = &'a mut dyn FnMut(Request<Body>) -> StatusCode;

macro_rules! profiled {
    ($($name:ident)*) => {$(
        #[inline(never)]
        fn $name(service: Service<'_>, credentials: &[HeaderValue]) {
            for credential in credentials.iter().cycle().take(REQUESTS) {
                black_box(service(request(credential)));
            }
        }
    )*};
}

profiled! { warm_up profile_bare profile_floor profile_layer profile_refusal }
