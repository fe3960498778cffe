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
            "/fleet",
            "/nodes",
            "/nodes/{node}",
            "/openapi.json",
            "/policy",
            "/report",
            "/tokens",
            "/tokens/revocation",
            "/tokens/revoke",
            "/tokens/search",
            "/tokens/{token}",
            "/tokens/{token}/resume",
            "/tokens/{token}/revoke",
            "/tokens/{token}/revoke/everywhere",
            "/tokens/{token}/rotate",
            "/tokens/{token}/suspend",
        ]
    );
    let schemes = document["components"]["securitySchemes"]
        .as_object()
        .unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["basic", "bearer"]);
}

#[tokio::test]
async fn every_record_has_an_entity_tag_and_an_edit_takes_either_media_type() {
    let platform = Platform::new();
    let document = Client::new(&platform).await.get("/openapi.json").await.ok();
    let paths = &document["paths"];
    for (path, method, status) in [
        ("/apps", "post", "201"),
        ("/apps/{app}", "get", "200"),
        ("/apps/{app}", "patch", "200"),
        ("/tokens", "post", "201"),
        ("/tokens/{token}", "patch", "200"),
        ("/tokens/{token}/suspend", "post", "200"),
        ("/policy", "put", "200"),
    ] {
        let headers = &paths[path][method]["responses"][status]["headers"];
        assert!(headers["ETag"].is_object(), "{method} {path}");
    }
    let page = &paths["/apps"]["get"]["responses"]["200"]["headers"];
    assert_eq!(page["ETag"], Value::Null);
    for path in ["/apps/{app}", "/tokens/{token}"] {
        let content = paths[path]["patch"]["requestBody"]["content"].as_object();
        let types: Vec<_> = content.unwrap().keys().collect();
        assert_eq!(types, ["application/json", "application/merge-patch+json"]);
    }
    let edit = &document["components"]["schemas"]["EditToken"];
    assert_eq!(edit["minProperties"], 1);
    assert_eq!(edit["required"], Value::Null);
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
