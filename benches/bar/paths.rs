//! Measures the cost that each candidate adds to a service.

use http::HeaderValue;

use crate::{
    floor::{bare, floor, layer},
    platform::Platform,
    rounds::{Measured, compare},
    written::{binary_key, hex_key, hs256},
};

/// Measures with a thousand tokens in use, of a hundred thousand.
pub(crate) fn hot() {
    let platform = Platform::new(100_000);
    platform.warm();
    let some = platform.some();
    let (jwt, jwt_credential) = hs256();
    let jwt_credential = [jwt_credential];
    println!("\n1,000 tokens in use, of 100,000; cost added to the bare service\n");
    compare(&mut [
        Measured::admitting("bare service", bare(), &some),
        Measured::admitting("floor", floor(&platform), &some),
        Measured::admitting("`ApiTokenLayer`, from memory", layer(&platform), &some),
        Measured::admitting("tower-http async, binary key", binary_key(&platform), &some),
        Measured::admitting("tower-http async, hex key", hex_key(&platform), &some),
        Measured::admitting("jsonwebtoken HS256", jwt, &jwt_credential),
    ]);
}

/// Measures with a million tokens, in a shuffled order.
pub(crate) fn cold() {
    let platform = Platform::new(1_000_000);
    platform.warm();
    let count = platform.issued.len();
    // A step that is coprime to the number of tokens visits each token once, far from the previous
    // one.
    let shuffled: Vec<HeaderValue> = (0..count)
        .map(|i| platform.issued[i * 618_033 % count].0.clone())
        .collect();
    println!("\n1,000,000 tokens, all in use; cost added to the bare service\n");
    compare(&mut [
        Measured::admitting("bare service", bare(), &shuffled),
        Measured::admitting("floor", floor(&platform), &shuffled),
        Measured::admitting("`ApiTokenLayer`, from memory", layer(&platform), &shuffled),
    ]);
}
