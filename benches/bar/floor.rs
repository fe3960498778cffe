//! The layer, and the minimum that could replace it (the *floor*). Each is a function from a
//! request to the status of its response.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use http::{Request, StatusCode, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use tower::Layer;
use tower_api_tokens::{ApiTokenLayer, AppPrincipal, TokenRecord};

use crate::platform::{Body, Inner, Platform, call};

/// A hasher that returns the first bytes of a digest, because these are already evenly distributed.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Table = HashMap<[u8; 32], AppPrincipal, BuildHasherDefault<FirstBytes>>;

/// The minimum work: get the header, hash the token, look it up in a table, insert the principal.
pub(crate) struct Floor(Table);

impl Floor {
    pub(crate) fn new(platform: &Platform) -> Self {
        let records = platform.issued.iter().map(|(_, record)| record);
        let entry = |record: &TokenRecord| (*record.digest.as_bytes(), AppPrincipal::of(record));
        Self(records.map(entry).collect())
    }

    /// Returns whether the request is admitted.
    #[inline]
    pub(crate) fn admit<B>(&self, request: &mut Request<B>) -> bool {
        let presented = request.headers().get(AUTHORIZATION);
        let token = presented.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let digest: [u8; 32] = Sha256::digest(token.unwrap_or_default()).into();
        let Some(principal) = self.0.get(&digest) else {
            return false;
        };
        request.extensions_mut().insert(principal.clone());
        true
    }
}

pub(crate) fn floor(platform: &Platform) -> impl FnMut(Request<Body>) -> StatusCode {
    let floor = Floor::new(platform);
    move |mut request| match floor.admit(&mut request) {
        true => call(&mut Inner, request),
        false => StatusCode::UNAUTHORIZED,
    }
}

pub(crate) fn bare() -> impl FnMut(Request<Body>) -> StatusCode {
    |request| call(&mut Inner, request)
}

pub(crate) fn layer(
    platform: &Platform,
) -> impl FnMut(Request<Body>) -> StatusCode + Clone + Send + Sync + use<> {
    let mut service = ApiTokenLayer::new(&platform.tokens).layer(Inner);
    move |request| call(&mut service, request)
}
