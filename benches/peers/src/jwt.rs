//! Signed tokens: jsonwebtoken in tower-http's asynchronous authorization, and the layer of
//! jwt-authorizer.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use jwt_authorizer::{AuthError, IntoLayer, JwtAuthorizer, RegisteredClaims};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::json;
use tower::{Layer, ServiceBuilder};
use tower_http::auth::AsyncRequireAuthorizationLayer;

use crate::{
    Peer,
    platform::{Body, Inner, bearer, call, runtime},
};

pub(crate) fn eddsa() -> Peer {
    let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    jsonwebtoken(
        Algorithm::EdDSA,
        &EncodingKey::from_ed_der(private.as_ref()),
        DecodingKey::from_ed_components(&x).unwrap(),
    )
}

pub(crate) fn es256() -> Peer {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random).unwrap();
    // An uncompressed point in SEC 1 format: the byte 4, then x, then y.
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
    jsonwebtoken(
        Algorithm::ES256,
        &EncodingKey::from_ec_der(private.as_ref()),
        DecodingKey::from_ec_components(&x, &y).unwrap(),
    )
}

fn jsonwebtoken(algorithm: Algorithm, sign: &EncodingKey, verify: DecodingKey) -> Peer {
    let credential = token(algorithm, sign);
    let checks = Arc::new((verify, Validation::new(algorithm)));
    let authorize = move |mut request: Request<Body>| {
        let checks = Arc::clone(&checks);
        async move {
            let presented = request.headers().get(AUTHORIZATION);
            let token = presented.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let (key, validation) = &*checks;
            let token = token.unwrap_or_default();
            match jsonwebtoken::decode::<serde_json::Value>(token, key, validation) {
                Ok(token) => {
                    request.extensions_mut().insert(token.claims);
                    Ok(request)
                }
                Err(_) => {
                    let mut response = Response::new(Body::empty());
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                    Err(response)
                }
            }
        }
    };
    let mut service = AsyncRequireAuthorizationLayer::new(authorize).layer(Inner);
    Peer::new(move |request| call(&mut service, request), vec![credential])
}

fn token(algorithm: Algorithm, key: &EncodingKey) -> HeaderValue {
    let claims = json!({ "sub": "app_8hFk2", "name": "Billing", "exp": 4_000_000_000_u64 });
    bearer(&jsonwebtoken::encode(&Header::new(algorithm), &claims, key).unwrap())
}

/// A response that converts from jwt-authorizer's error, as its layer requires.
struct Answer(Response<Body>);

impl From<AuthError> for Answer {
    fn from(_: AuthError) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        Self(response)
    }
}

pub(crate) fn authorizer_hs256() -> Peer {
    let secret = "a secret of thirty-two bytes, ok";
    let credential = token(
        Algorithm::HS256,
        &EncodingKey::from_secret(secret.as_bytes()),
    );
    let authorizer =
        runtime().block_on(JwtAuthorizer::<RegisteredClaims>::from_secret(secret).build());
    let layer = authorizer.unwrap().into_layer();
    let inner = ServiceBuilder::new().map_response(Answer).service(Inner);
    let mut service = ServiceBuilder::new()
        .map_response(|Answer(response)| response)
        .service(layer.layer(inner));
    Peer::new(move |request| call(&mut service, request), vec![credential])
}
