//! What is refused without asking the store.

use http::HeaderValue;

use crate::{
    floor::layer,
    platform::{Platform, runtime},
    rounds::{Measured, compare_whole},
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
        Measured::refusing("no credential", layer(&platform), &basic),
        Measured::refusing("malformed", layer(&platform), &malformed),
        Measured::refusing("wrong prefix", layer(&platform), &prefix),
        Measured::refusing("wrong checksum", layer(&platform), &typo),
        Measured::refusing("revoked", layer(&platform), &revoked),
    ]);
    println!("\nStore calls meanwhile: {}", asked() - asked_before);
}

/// A credential with a wrong checksum.
pub(crate) fn mistyped(credential: &HeaderValue) -> HeaderValue {
    let text = credential.to_str().unwrap();
    let last = if text.ends_with('x') { "y" } else { "x" };
    let typo = format!("{}{last}", &text[..text.len() - 1]);
    HeaderValue::from_str(&typo).unwrap()
}

/// Revokes a token, and has the refusal remembered.
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
