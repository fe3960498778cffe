//! Verifies tokens from your own table. A store needs only one method for that.
//!
//! Run `cargo run -p custom-store`.

use std::{collections::HashMap, convert::Infallible, error::Error};

use async_trait::async_trait;
use http::{Request, Response, header::AUTHORIZATION};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_api_tokens::{
    Answer, ApiTokenLayer, AppId, AppPrincipal, AppRecord, Authenticator, Clock, MaskedToken,
    StoreError, SystemClock, SystemEntropy, TokenDigest, TokenId, TokenRecord, TokenStore,
};

/// Your table: the token with each digest.
#[derive(Debug)]
struct Partners(HashMap<TokenDigest, TokenRecord>);

#[async_trait]
impl TokenStore for Partners {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        Ok(self.0.get(digest).cloned().into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A token from before, by the output of `printf %s "$TOKEN" | sha256sum`, and the app that it belongs to.
    let digest: TokenDigest =
        "25386993910f585ef9789d1de56b13c385f18751de51daf6050d20bd4fd65623".parse()?;
    let now = SystemClock::default().now();
    let app = AppRecord::new(AppId::new("42")?, "Partner Ltd", now);
    let id = TokenId::generate(now, &SystemEntropy::default())?;
    let mask = MaskedToken::new("partner-", "cret")?;
    let record = TokenRecord::new(id, digest, mask, app, "legacy key", now);

    let store = Partners(HashMap::from([(digest, record)]));
    let mut service = ApiTokenLayer::new(Authenticator::new(store)).layer(service_fn(whoami));

    for token in ["partner-secret", "partner-guess"] {
        let request = Request::get("/")
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(())?;
        let response = service.ready().await?.call(request).await?;
        println!("{token}: {}", response.status());
    }
    Ok(())
}

async fn whoami(request: Request<()>) -> Result<Response<String>, Infallible> {
    let principal = request.extensions().get::<AppPrincipal>();
    let app = principal.map(|principal| principal.app_id().to_string());
    Ok(Response::new(app.unwrap_or_default()))
}
