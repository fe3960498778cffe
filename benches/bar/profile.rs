//! Requests for a profiler to count, with a separate function for each kind. Measures no times.

use std::hint::black_box;

use axum::Router;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use tower::Service;

use crate::{
    floor::{bare, floor, layer},
    loopback::routers,
    platform::{Body, Platform, at_once, request},
    refusals::mistyped,
};

const REQUESTS: usize = 10_000;

pub(crate) fn run() {
    let platform = Platform::new(10_000);
    platform.warm();
    let some = platform.some();
    let mistyped = [mistyped(&some[0])];
    profile(profile_bare, &mut bare(), &some);
    profile(profile_floor, &mut floor(&platform), &some);
    profile(profile_layer, &mut layer(&platform), &some);
    profile(profile_refusal, &mut layer(&platform), &mistyped);
    let [(_, none), (_, noop), (_, floor), (_, layer)] = routers(&platform);
    profile(profile_axum, &mut through(none), &some);
    profile(profile_axum_noop, &mut through(noop), &some);
    profile(profile_axum_floor, &mut through(floor), &some);
    profile(profile_axum_layer, &mut through(layer), &some);
}

fn profile(profiled: fn(Path<'_>, &[HeaderValue]), path: Path<'_>, credentials: &[HeaderValue]) {
    warm_up(path, credentials);
    profiled(path, credentials);
}

/// Calls a router as a server does, and reads the response's body to the end.
fn through(mut router: Router) -> impl FnMut(Request<Body>) -> StatusCode {
    move |request| {
        at_once(async {
            let response = Service::call(&mut router, request).await.unwrap();
            let status = response.status();
            black_box(response.into_body().collect().await.unwrap());
            status
        })
    }
}

type Path<'a> = &'a mut dyn FnMut(Request<Body>) -> StatusCode;

macro_rules! profiled {
    ($($name:ident)*) => {$(
        #[inline(never)]
        fn $name(path: Path<'_>, credentials: &[HeaderValue]) {
            // Identical functions would be merged.
            black_box(stringify!($name));
            for credential in credentials.iter().cycle().take(REQUESTS) {
                black_box(path(request(credential)));
            }
        }
    )*};
}

profiled! {
    warm_up profile_bare profile_floor profile_layer profile_refusal
    profile_axum profile_axum_noop profile_axum_floor profile_axum_layer
}
