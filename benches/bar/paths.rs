//! The cost that each contender adds to a service, and what a refusal costs.

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Empty;

use crate::{
    contenders::{Platform, bare, binary_key, floor, hex_key, hs256, layer, request},
    rounds::{Measured, measure, median},
};

const ROUNDS: usize = 31;
const REQUESTS: usize = 20_000;

pub(crate) fn run() {
    hot();
    cold();
    refusals();
}

/// A thousand tokens in use, of a hundred thousand.
fn hot() {
    let platform = Platform::new(100_000);
    platform.warm();
    let credentials: Vec<_> = platform
        .issued
        .iter()
        .step_by(101)
        .map(|(header, _)| header.clone())
        .collect();
    let (mut jwt, jwt_credential) = hs256();
    let jwt_credentials = vec![jwt_credential];
    let (mut bare, mut floor, mut layer) = (bare(), floor(&platform), layer(&platform));
    let (mut binary, mut hex) = (binary_key(&platform), hex_key(&platform));
    println!("\n1,000 tokens in use, of 100,000; cost added to the bare service\n");
    report(&mut [
        Measured::new("bare service", |n| drive(&mut bare, &credentials, n)),
        Measured::new("floor", |n| drive(&mut floor, &credentials, n)),
        Measured::new("ApiTokenLayer, from memory", |n| {
            drive(&mut layer, &credentials, n)
        }),
        Measured::new("tower-http async, binary key", |n| {
            drive(&mut binary, &credentials, n)
        }),
        Measured::new("tower-http async, hex key", |n| {
            drive(&mut hex, &credentials, n)
        }),
        Measured::new("jsonwebtoken HS256", |n| {
            drive(&mut jwt, &jwt_credentials, n)
        }),
    ]);
}

/// A million tokens, presented in no order.
fn cold() {
    let platform = Platform::new(1_000_000);
    platform.warm();
    let count = platform.issued.len();
    // A step that shares no factor with the number of tokens visits each, far from the last.
    let shuffled: Vec<HeaderValue> = (0..count)
        .map(|i| platform.issued[i * 618_033 % count].0.clone())
        .collect();
    let (mut bare, mut floor, mut layer) = (bare(), floor(&platform), layer(&platform));
    println!("\n1,000,000 tokens, all in use\n");
    report(&mut [
        Measured::new("bare service", cycled(&mut bare, &shuffled)),
        Measured::new("floor", cycled(&mut floor, &shuffled)),
        Measured::new("ApiTokenLayer, from memory", cycled(&mut layer, &shuffled)),
    ]);
}

/// What is refused without asking the store.
fn refusals() {
    let platform = Platform::new(1000);
    platform.warm();
    let good = vec![platform.issued[0].0.clone()];
    let bad = |text: &str| vec![HeaderValue::from_str(text).unwrap()];
    let typo = {
        let text = good[0].to_str().unwrap();
        let last = if text.ends_with('x') { "y" } else { "x" };
        bad(&format!("{}{last}", &text[..text.len() - 1]))
    };
    let prefix = bad("Bearer other_live_00000000000000000000000000000000000000");
    let (basic, malformed) = (bad("Basic YTpi"), bad("Bearer a b"));
    let revoked = {
        let (header, record) = &platform.issued[1];
        let runtime = crate::contenders::runtime();
        runtime.block_on(async {
            platform.tokens.revoke(record.id).await.unwrap();
            let token = &header.as_bytes()["Bearer ".len()..];
            let refused = platform.tokens.authenticator().authenticate(token).await;
            refused.unwrap_err();
        });
        vec![header.clone()]
    };
    let mut admit = layer(&platform);
    let mut refuse: Vec<_> = (0..5).map(|_| layer(&platform)).collect();
    let [missing, garbled, prefixed, mistyped, gone] = &mut refuse[..] else {
        unreachable!()
    };
    println!("\nWhat is refused, and what is admitted; the whole request\n");
    let mut measured = [
        Measured::new("admitted", |n| drive(&mut admit, &good, n)),
        Measured::new("no credential", |n| refused(missing, &basic, n)),
        Measured::new("malformed", |n| refused(garbled, &malformed, n)),
        Measured::new("wrong prefix", |n| refused(prefixed, &prefix, n)),
        Measured::new("wrong checksum", |n| refused(mistyped, &typo, n)),
        Measured::new("revoked", |n| refused(gone, &revoked, n)),
    ];
    let times = measure(&mut measured, ROUNDS, REQUESTS);
    println!("| | ns | of admitting |\n|---|---|---|");
    for (measured, time) in measured.iter().zip(&times) {
        let ratio = median(time.iter().zip(&times[0]).map(|(a, b)| a / b).collect());
        println!(
            "| {} | {:.0} | {ratio:.2} |",
            measured.name,
            median(time.clone())
        );
    }
}

fn drive(
    service: &mut impl FnMut(Request<Empty<Bytes>>) -> StatusCode,
    credentials: &[HeaderValue],
    requests: usize,
) {
    for credential in credentials.iter().cycle().take(requests) {
        assert_eq!(service(request(credential)), StatusCode::OK);
    }
}

fn refused(
    service: &mut impl FnMut(Request<Empty<Bytes>>) -> StatusCode,
    credentials: &[HeaderValue],
    requests: usize,
) {
    for credential in credentials.iter().cycle().take(requests) {
        assert!(service(request(credential)).is_client_error());
    }
}

/// Goes on where the last round ended, so that no round finds what the one before has warmed.
fn cycled<'a>(
    service: &'a mut impl FnMut(Request<Empty<Bytes>>) -> StatusCode,
    credentials: &'a [HeaderValue],
) -> impl FnMut(usize) + 'a {
    let mut next = 0;
    move |requests| {
        for _ in 0..requests {
            assert_eq!(service(request(&credentials[next])), StatusCode::OK);
            next = (next + 1) % credentials.len();
        }
    }
}

/// The first is the bare service, the second the floor.
fn report(measured: &mut [Measured<'_>]) {
    let times = measure(measured, ROUNDS, REQUESTS);
    println!("| | ns added | of the floor |\n|---|---|---|");
    for (measured, time) in measured.iter().zip(&times).skip(1) {
        let added = |time: &[f64]| -> Vec<f64> {
            time.iter()
                .zip(&times[0])
                .map(|(a, bare)| a - bare)
                .collect()
        };
        let (mine, floor) = (added(time), added(&times[1]));
        let ratio = median(mine.iter().zip(&floor).map(|(a, b)| a / b).collect());
        println!("| {} | {:.0} | {ratio:.2} |", measured.name, median(mine));
    }
}
