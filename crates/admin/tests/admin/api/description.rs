//! The OpenAPI document. The fuzzer checks that the API conforms to it.

use std::time::Duration;

use axum::Router;
use http::request::Parts;
use serde_json::Value;
use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
use tower_api_tokens_admin::{Actor, Admin, Denied, Guard};

use crate::{client::Client, support::Platform};

#[tokio::test]
async fn the_document_lists_every_route_and_its_base_url() {
    let platform = Platform::new();
    let document = Client::new(&platform).await.get("/openapi.json").await.ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(document["servers"][0]["url"], ".");
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        [
            "/apps",
            "/apps/{app}",
            "/apps/{app}/disable",
            "/apps/{app}/enable",
            "/events",
            "/openapi.json",
            "/tokens",
            "/tokens/{token}",
            "/tokens/{token}/revoke",
            "/tokens/{token}/rotate",
        ]
    );
    let schemes = document["components"]["securitySchemes"]
        .as_object()
        .unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["basic", "bearer"]);
}

struct Anyone;

#[async_trait::async_trait]
impl Guard for Anyone {
    async fn authenticate(&self, _: &mut Parts) -> Result<Actor, Denied> {
        Ok(Actor::unrestricted("anyone"))
    }
}

#[tokio::test]
async fn the_document_reflects_the_configuration() {
    let tokens = ApiTokens::builder(MemoryStore::new(), TokenFormat::new("acme").unwrap())
        .max_overlap(Duration::from_secs(3600))
        .build();
    let client = Client {
        router: Router::new().nest("/admin/api", Admin::new(&tokens, Anyone).router()),
        token: String::new(),
    };
    let document = client.get("/openapi.json").await.ok();
    let overlap =
        &document["components"]["schemas"]["RotateToken"]["properties"]["overlap_seconds"];
    assert_eq!(overlap["maximum"], 3600);
    assert_eq!(document["security"], Value::Null);
    assert_eq!(document["components"]["securitySchemes"], Value::Null);
}
