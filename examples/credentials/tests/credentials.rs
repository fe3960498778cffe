//! Each kind of credential, on the same routes.

use axum::{Router, body::Body};
use example_credentials::{DEMO_MASTER_KEY, Keys, commands, service};
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde::Serialize;
use tower::ServiceExt;
use tower_api_tokens::{
    NewToken, StoreErrorKind,
    testing::{Fault, Fixture},
};

const MASTER: &str = "master-key-1";
const SECRET: &[u8] = b"a secret for tests";

#[derive(Serialize)]
struct Claims {
    sub: &'static str,
    aud: &'static str,
    exp: u64,
}

fn claims(aud: &'static str, exp: u64) -> Claims {
    Claims {
        sub: "ada",
        aud,
        exp,
    }
}

fn jwt(algorithm: Algorithm, claims: &Claims, secret: &[u8]) -> String {
    let key = EncodingKey::from_secret(secret);
    encode(&Header::new(algorithm), claims, &key).unwrap()
}

fn later() -> u64 {
    get_current_timestamp() + 600
}

fn router(fixture: &Fixture) -> Router {
    service(&fixture.tokens, Keys::new(MASTER, SECRET)).unwrap()
}

async fn get(fixture: &Fixture, path: &str, credential: &str) -> (StatusCode, String) {
    let mut request = Request::get(path);
    if !credential.is_empty() {
        request = request.header(AUTHORIZATION, format!("Bearer {credential}"));
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router(fixture).oneshot(request).await.unwrap();
    let status = response.status();
    let refused = status == StatusCode::UNAUTHORIZED;
    assert_eq!(response.headers().contains_key("www-authenticate"), refused);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn each_handler_sees_who_sent_the_request() {
    let fixture = Fixture::new().await;
    let user = jwt(Algorithm::HS256, &claims("acme", later()), SECRET);
    for (credential, who) in [
        (user.as_str(), "user ada"),
        (MASTER, "platform"),
        (fixture.token(), "app Billing"),
    ] {
        let (status, body) = get(&fixture, "/whoami", credential).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, who));
        assert_eq!(
            get(&fixture, "/invoices", credential).await.0,
            StatusCode::OK
        );
    }
    let without_scope = fixture.issue(&fixture.app().id, NewToken::named("b")).await;
    let without_scope = without_scope.token().expose();
    let (status, _) = get(&fixture, "/invoices", without_scope).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn no_other_request_reaches_a_handler() {
    let fixture = Fixture::new().await;
    let revoked = fixture.issue(&fixture.app().id, NewToken::named("b")).await;
    fixture.tokens.revoke(revoked.record().id).await.unwrap();
    let mut typo = fixture.token().to_owned();
    typo.push('x');
    let good = claims("acme", later());
    let expired = claims("acme", get_current_timestamp() - 1);
    let unsigned =
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEiLCJhdWQiOiJhY21lIiwiZXhwIjo5OTk5OTk5OTk5fQ.";
    for credential in [
        "",
        "x",
        "master-key-2",
        "master-key-11",
        &typo,
        revoked.token().expose(),
        unsigned,
        &jwt(Algorithm::HS256, &good, b"another secret"),
        &jwt(Algorithm::HS512, &good, SECRET),
        &jwt(Algorithm::HS256, &expired, SECRET),
        &jwt(Algorithm::HS256, &claims("other", later()), SECRET),
    ] {
        for path in ["/whoami", "/invoices"] {
            let (status, _) = get(&fixture, path, credential).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{credential:?}");
        }
    }
}

#[tokio::test]
async fn users_and_the_platform_do_not_depend_on_the_token_store() {
    let fixture = Fixture::new().await;
    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let user = jwt(Algorithm::HS256, &claims("acme", later()), SECRET);
    for (credential, status) in [
        (user.as_str(), StatusCode::OK),
        (MASTER, StatusCode::OK),
        (fixture.token(), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        assert_eq!(get(&fixture, "/whoami", credential).await.0, status);
    }
}

#[test]
fn a_master_key_of_your_own_is_not_printed() {
    let address = "127.0.0.1:3002".parse().unwrap();
    let [_, demo] = commands("acme_1", DEMO_MASTER_KEY, address);
    assert!(demo.contains(DEMO_MASTER_KEY), "{demo}");
    let [token, own] = commands("acme_1", MASTER, address);
    assert!(token.contains("Bearer acme_1"), "{token}");
    assert!(own.contains("Bearer $MASTER_KEY"), "{own}");
    assert!(!own.contains(MASTER), "{own}");
}
