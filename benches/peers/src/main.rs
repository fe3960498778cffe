//! Measures the cost of verification with other crates, around the same service as `benches/bar`,
//! and compares it with the floor and the layer.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml`
//!
//! Each crate is used as its documentation shows. Its data is in memory: none of them queries a
//! database.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

mod axum_state;
mod biscuit;
#[path = "../../bar/floor.rs"]
mod floor;
mod jwt;
mod modo;
#[path = "../../bar/platform.rs"]
mod platform;
mod prefixed;
#[path = "../../bar/rounds.rs"]
mod rounds;
mod simplified;
#[path = "../../bar/written.rs"]
mod written;

use http::{HeaderValue, Request, StatusCode};

use self::{
    floor::{bare, floor, layer},
    platform::{Body, Platform},
    rounds::{Measured, compare},
    written::{binary_key, hex_key, hs256},
};

/// A service that verifies, and credentials that it admits.
struct Peer {
    service: Box<dyn FnMut(Request<Body>) -> StatusCode>,
    credentials: Vec<HeaderValue>,
}

impl Peer {
    fn new(
        service: impl FnMut(Request<Body>) -> StatusCode + 'static,
        credentials: Vec<HeaderValue>,
    ) -> Self {
        Self {
            service: Box::new(service),
            credentials,
        }
    }

    fn measured(&mut self, name: &'static str) -> Measured<'_> {
        Measured::admitting(name, &mut self.service, &self.credentials)
    }

    /// Like `measured`, with fewer requests in a round, for slow peers.
    fn measured_by(&mut self, requests: usize, name: &'static str) -> Measured<'_> {
        Measured {
            requests,
            ..self.measured(name)
        }
    }
}

fn main() {
    // Some peers spawn tasks.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let platform = Platform::new(100_000);
    platform.warm();
    let some = platform.some();
    let (hs256, hs256_credential) = hs256();
    let hs256_credential = [hs256_credential];
    let (mut modo, mut prefixed) = (modo::peer(&platform), prefixed::peer(&platform));
    let (mut jwt_authorizer, mut eddsa, mut es256) =
        (jwt::authorizer_hs256(), jwt::eddsa(), jwt::es256());
    let (mut biscuit, mut simplified) = (biscuit::peer(), simplified::peer());
    println!("\n1,000 tokens in use, of 100,000; cost added to the bare service\n");
    compare(&mut [
        Measured::admitting("bare service", bare(), &some),
        Measured::admitting("floor", floor(&platform), &some),
        Measured::admitting("`ApiTokenLayer`, from memory", layer(&platform), &some),
        Measured::admitting("tower-http async, binary key", binary_key(&platform), &some),
        Measured::admitting(
            "axum `from_fn_with_state`, binary key",
            axum_state::binary_key(&platform),
            &some,
        ),
        prefixed.measured("prefixed-api-key and an `RwLock`"),
        modo.measured("modo-rs `ApiKeyLayer`, in memory"),
        Measured::admitting("tower-http async, hex key", hex_key(&platform), &some),
        Measured::admitting("jsonwebtoken HS256", hs256, &hs256_credential),
        jwt_authorizer.measured("jwt-authorizer HS256"),
        eddsa.measured_by(500, "jsonwebtoken EdDSA"),
        es256.measured_by(200, "jsonwebtoken ES256"),
        biscuit.measured_by(200, "biscuit-auth"),
        simplified.measured_by(1, "api-keys-simplified, Argon2id"),
    ]);
}
