//! A service whose routes accept users with a JWT, the platform's master key, and API tokens. All three
//! are sent as `Authorization: Bearer`, and each handler sees which one it was.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use tower_api_tokens::{ApiTokenLayer, ApiTokens, AppPrincipal, LayerError, TokenDigest};

/// The master key if you set none.
pub const DEMO_MASTER_KEY: &str = "master-key-for-the-demo";

/// Returns a command for each key, to try a service at this address. A master key of your own is not shown: the
/// shell takes it from the environment.
pub fn commands(token: &str, master: &str, address: SocketAddr) -> [String; 2] {
    let master = match master {
        DEMO_MASTER_KEY => DEMO_MASTER_KEY,
        _ => "$MASTER_KEY",
    };
    let command = |key| format!("curl -H \"Authorization: Bearer {key}\" http://{address}/whoami");
    [token, master].map(command)
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A user, by the subject of a JWT.
    User(String),
    /// The platform itself, with its master key.
    Platform,
    /// An app, with an API token.
    App(AppPrincipal),
}

/// The keys of the credentials that are not API tokens.
pub struct Keys {
    /// The digest of the master key, which is compared in constant time. The key must not begin like an
    /// API token.
    master: TokenDigest,
    jwt: DecodingKey,
    validation: Validation,
}

impl Keys {
    /// Creates the keys for this master key, and for JWTs that are signed with this secret.
    pub fn new(master: &str, jwt_secret: &[u8]) -> Self {
        // Without a fixed algorithm, the sender would choose it.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&["acme"]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        validation.leeway = 0;
        Self {
            master: TokenDigest::of(master.as_bytes()),
            jwt: DecodingKey::from_secret(jwt_secret),
            validation,
        }
    }

    /// Returns the sender of a credential that is not an API token.
    fn caller(&self, credential: &str) -> Option<Caller> {
        if TokenDigest::of(credential.as_bytes()) == self.master {
            return Some(Caller::Platform);
        }
        #[derive(Deserialize)]
        struct Claims {
            sub: String,
        }
        let token = decode::<Claims>(credential, &self.jwt, &self.validation).ok()?;
        Some(Caller::User(token.claims.sub))
    }
}

/// Creates the service.
pub fn service(tokens: &ApiTokens, keys: Keys) -> Result<Router, LayerError> {
    Ok(Router::new()
        .route("/whoami", get(whoami))
        .route("/invoices", get(invoices))
        // The last layer runs first: API tokens, and then the others.
        .layer(from_fn_with_state(Arc::new(keys), authenticate))
        .layer(ApiTokenLayer::new(tokens).pass_unrecognized()?))
}

/// Tells handlers who sent a request, and refuses every other request. What the layer for API tokens
/// passed on is not authenticated yet.
async fn authenticate(State(keys): State<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    let app = request.extensions().get::<AppPrincipal>().cloned();
    let caller = match app {
        Some(principal) => Some(Caller::App(principal)),
        None => bearer(request.headers()).and_then(|credential| keys.caller(credential)),
    };
    match caller {
        Some(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        None => unauthorized(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credential) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| credential.trim())
}

fn unauthorized() -> Response {
    let challenge = [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
    (StatusCode::UNAUTHORIZED, challenge).into_response()
}

async fn whoami(Extension(caller): Extension<Caller>) -> String {
    match caller {
        Caller::User(subject) => format!("user {subject}"),
        Caller::Platform => "platform".to_owned(),
        Caller::App(principal) => format!("app {}", principal.app_name()),
    }
}

/// Users and the platform may read invoices, and apps if their token has the scope.
async fn invoices(Extension(caller): Extension<Caller>) -> Result<&'static str, StatusCode> {
    match caller {
        Caller::User(_) | Caller::Platform => Ok("invoices"),
        Caller::App(app) if app.scopes().iter().any(|scope| scope == "invoices:read") => {
            Ok("invoices")
        }
        Caller::App(_) => Err(StatusCode::FORBIDDEN),
    }
}
