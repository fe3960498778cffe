//! Measures requests that are refused without a lookup in the store.

use std::hint::black_box;

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE},
};

use crate::{
    floor::layer,
    platform::{Body, Platform, request, runtime},
    rounds::{Measured, measure, median, ratio},
};

pub(crate) fn run() {
    let platform = Platform::new(1000);
    platform.warm();
    let good = [platform.issued[0].0.clone()];
    let credential = |text: &str| HeaderValue::from_str(text).unwrap();
    let typo = mistyped(&good[0]);
    let prefix = credential("Bearer other_live_00000000000000000000000000000000000000");
    let (basic, malformed) = (credential("Basic YTpi"), credential("Bearer a b"));
    let revoked = revoke(&platform, 1);
    let asked = || platform.tokens.authenticator().stats().lookups;
    let asked_before = asked();
    println!("\nWhat is refused, and what is admitted; whole requests\n");
    compare_whole(&mut [
        Measured::admitting("admitted", layer(&platform), &good),
        refusing("any request", refuse_all(), &basic),
        refusing("no credential", layer(&platform), &basic),
        refusing("malformed", layer(&platform), &malformed),
        refusing("wrong prefix", layer(&platform), &prefix),
        refusing("wrong checksum", layer(&platform), &typo),
        refusing("revoked", layer(&platform), &revoked),
    ]);
    println!("\nStore calls meanwhile: {}", asked() - asked_before);
}

/// Prints the time of a whole request for each candidate, also relative to the first.
fn compare_whole(measured: &mut [Measured<'_>]) {
    let times = measure(measured);
    println!("| | ns | of the first |\n|---|---|---|");
    for (measured, time) in measured.iter().zip(&times) {
        let (name, of_first) = (measured.name, ratio(time, &times[0]));
        println!("| {name} | {:.0} | {of_first:.2} |", median(time.clone()));
    }
}

/// Creates a candidate that refuses this credential.
fn refusing<'a>(
    name: &'static str,
    mut service: impl FnMut(Request<Body>) -> StatusCode + 'a,
    credential: &'a HeaderValue,
) -> Measured<'a> {
    Measured::new(name, move |requests| {
        for _ in 0..requests {
            assert!(service(request(credential)).is_client_error());
        }
    })
}

/// The minimum that refuses: checks nothing, and sends a response like that of the layer.
fn refuse_all() -> impl FnMut(Request<Body>) -> StatusCode {
    #[derive(Clone)]
    #[expect(dead_code, reason = "an access log would read it")]
    struct Reason(u64);
    |request| {
        drop(black_box(request));
        let mut response = Response::new(Bytes::from_static(b"{}"));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        for (name, value) in [
            (CONTENT_TYPE, "application/problem+json"),
            (CACHE_CONTROL, "no-store"),
            (WWW_AUTHENTICATE, "Bearer realm=\"api\""),
        ] {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(Reason(0));
        black_box(response).status()
    }
}

/// Returns the credential with a wrong checksum.
pub(crate) fn mistyped(credential: &HeaderValue) -> HeaderValue {
    let text = credential.to_str().unwrap();
    let last = if text.ends_with('x') { "y" } else { "x" };
    let typo = format!("{}{last}", &text[..text.len() - 1]);
    HeaderValue::from_str(&typo).unwrap()
}

/// Revokes a token, and verifies it once, so that the revoked token is cached.
fn revoke(platform: &Platform, place: usize) -> HeaderValue {
    let (header, record) = &platform.issued[place];
    runtime().block_on(async {
        platform.tokens.revoke(record.id).await.unwrap();
        let token = &header.as_bytes()["Bearer ".len()..];
        let refused = platform.tokens.authenticator().authenticate(token).await;
        refused.unwrap_err();
    });
    header.clone()
}
