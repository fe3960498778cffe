//! biscuit-auth in tower-http's asynchronous authorization. Checks the signature, the token's
//! expiry and one policy, and reads the app from the token.

use std::{sync::Arc, time::Duration};

use biscuit_auth::{
    AuthorizerLimits, Biscuit, KeyPair, PublicKey,
    macros::{authorizer, biscuit},
};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use tower::Layer;
use tower_http::auth::AsyncRequireAuthorizationLayer;

use crate::{
    Peer,
    platform::{Body, Inner, bearer, call},
};

#[derive(Clone)]
#[expect(dead_code, reason = "a handler would read it")]
struct App(String);

pub(crate) fn peer() -> Peer {
    let root = KeyPair::new();
    let token = biscuit!(
        r#"
        app("app_8hFk2");
        check if time($time), $time < 2096-10-02T07:06:40Z;
        "#
    );
    let token = token.build(&root).unwrap().to_base64().unwrap();
    let key = Arc::new(root.public());
    let authorize = move |mut request: Request<Body>| {
        let key = Arc::clone(&key);
        async move {
            let presented = request.headers().get(AUTHORIZATION);
            let token = presented.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            match verify(token.unwrap_or_default(), *key) {
                Ok(app) => {
                    request.extensions_mut().insert(app);
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
    let credentials = vec![bearer(&token)];
    Peer::new(move |request| call(&mut service, request), credentials)
}

fn verify(token: &str, key: PublicKey) -> Result<App, biscuit_auth::error::Token> {
    // The default of one millisecond is too short if the thread has to wait for a core.
    let limits = AuthorizerLimits {
        max_time: Duration::from_secs(1),
        ..AuthorizerLimits::default()
    };
    let token = Biscuit::from_base64(token, key)?;
    let mut authorizer = authorizer!("allow if app($app);")
        .time()
        .set_limits(limits)
        .build(&token)?;
    authorizer.authorize()?;
    let (app,) = authorizer.query_exactly_one("data($app) <- app($app)")?;
    Ok(App(app))
}
