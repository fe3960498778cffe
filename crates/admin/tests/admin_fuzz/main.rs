//! Checks with a fuzzer that the management API conforms to its OpenAPI document.
//!
//! `TEST_SCHEMATHESIS` is the path of schemathesis, which `.ci/schemathesis DIR` installs.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, header::AUTHORIZATION, request::Parts};
use http_body_util::BodyExt;
use tokio::{net::TcpListener, process::Command};
use tower::ServiceExt;
use tower_api_tokens::{NewToken, testing::Fixture};
use tower_api_tokens_admin::{Actor, Admin, Denied, Guard, GuardScheme, TokenGuard};

#[path = "../../../../tests/services/mod.rs"]
mod services;

fn main() -> ExitCode {
    services::run(
        "schemathesis, named by TEST_SCHEMATHESIS",
        schemathesis().is_some_and(|path| path.exists()),
        vec![("the_api_conforms_to_its_description", || {
            Box::pin(the_api_conforms_to_its_description())
        })],
    )
}

fn schemathesis() -> Option<PathBuf> {
    env::var_os("TEST_SCHEMATHESIS").map(PathBuf::from)
}

async fn the_api_conforms_to_its_description() {
    let (address, token, description) = serve().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("openapi.json");
    std::fs::write(&file, description).unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admin_fuzz/schemathesis.toml");
    let output = Command::new(schemathesis().unwrap())
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(file)
        .env("FUZZ_TOKEN", &token)
        .env("FUZZ_URL", format!("http://{address}/admin/api"))
        .current_dir(directory.path())
        .output()
        .await
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let report = report.replace(&token, "(token)");
    assert!(output.status.success(), "{report}");
    assert!(report.contains("Tested: 28"), "{report}");
}

/// Lets the fuzzer grant any scope.
struct Owner(TokenGuard);

#[async_trait]
impl Guard for Owner {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
        let holder = self.0.authenticate(request).await?;
        Ok(Actor::unrestricted(holder.name()))
    }

    fn schemes(&self) -> &[GuardScheme] {
        self.0.schemes()
    }
}

/// Serves the API on a separate port. Returns the address, a token that may do everything, and the
/// OpenAPI document. The token is in another store than the managed ones, so that the fuzzer cannot
/// revoke it.
async fn serve() -> (SocketAddr, String, Bytes) {
    let staff = Fixture::empty();
    let app = staff.create_app("Staff").await;
    let new = NewToken::named("fuzzer").scopes("tokens:admin".parse().unwrap());
    let issued = staff.issue(&app.id, new).await;

    let guard = TokenGuard::new(&staff.tokens, [app.id]);
    let admin = Admin::new(&Fixture::empty().tokens, Owner(guard));
    let service = Router::new().nest("/admin/api", admin.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = issued.token().expose().to_owned();
    let request = Request::get("/admin/api/openapi.json")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let description = response.into_body().collect().await.unwrap().to_bytes();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    (address, token, description)
}
