//! A service with a dashboard on a local address.

use std::net::SocketAddr;

use axum::{Router, routing::get};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tower_api_tokens::{
    ApiTokens, AppId, AppPrincipal, Authority, Grantable, NewToken, TokenRecord, testing::Fixture,
};
use tower_api_tokens_admin::{Admin, TokenGuard};

pub(crate) struct Site {
    pub(crate) scene: Fixture<()>,
    pub(crate) address: SocketAddr,
    /// The `Authorization` header of the operator.
    pub(crate) credential: String,
    password: String,
    /// What the operator is called in the audit log.
    actor: String,
    server: JoinHandle<()>,
}

impl Site {
    /// Starts a service whose only token belongs to its operator, who signs in with it.
    pub(crate) async fn start() -> Self {
        Self::with(|tokens, operators| {
            let admin = Admin::builder(tokens, TokenGuard::new(tokens, [operators]))
                .service_url("https://api.acme.example/v1/whoami")
                .build();
            Router::new().nest_service("/tokens", admin.dashboard())
        })
        .await
    }

    /// Starts a service with other routes for its operators.
    pub(crate) async fn with(routes: impl FnOnce(&ApiTokens, AppId) -> Router) -> Self {
        let scene = Fixture::builder().prefix("acme_live").empty();
        scene.clock.set("2026-09-14T09:26:53Z".parse().unwrap());
        let tokens = &scene.tokens;
        let operators = scene.create_app("Operators").await;
        let scopes = "tokens:admin invoices:read invoices:write orders:read orders:write";
        let operator = NewToken::named("ada").scopes(scopes.parse().unwrap());
        let operator = scene.issue(&operators.id, operator).await;
        let basic = BASE64_STANDARD.encode(format!("ada:{}", operator.token().expose()));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let whoami = async |principal: AppPrincipal| principal.app_name().to_owned();
        let app = Router::new()
            .route("/whoami", get(whoami))
            .route_layer(scene.layer())
            .merge(routes(tokens, operators.id));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            scene,
            address,
            credential: format!("Basic {basic}"),
            password: operator.token().expose().to_owned(),
            actor: format!("token:{}", operator.record().id),
            server,
        }
    }

    /// Returns the tokens, for changes that the audit log attributes to the operator.
    pub(crate) fn audited(&self) -> ApiTokens {
        self.scene
            .tokens
            .acting_as(Authority::of(&self.actor).grantable(Grantable::everything()))
    }

    /// Returns the password of the operator.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the tokens, newest first, without the operator's.
    pub(crate) async fn issued(&self) -> Vec<TokenRecord> {
        let mut tokens = self
            .scene
            .tokens
            .list(&Default::default())
            .await
            .unwrap()
            .items;
        tokens.retain(|token| token.app.name != "Operators");
        tokens
    }

    /// Returns the status and body of the protected route for a token.
    pub(crate) async fn whoami(&self, token: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "GET /whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}
