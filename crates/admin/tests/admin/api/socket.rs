//! The API over a real socket, mounted in a service.

use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{client::Client, support::Platform};

#[tokio::test]
async fn an_app_gets_a_token_over_a_socket() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = client.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let http = HttpClient::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let post = async |path: &str, body: String| {
        let request = http::Request::post(format!("http://{address}/admin/api{path}"))
            .header("authorization", format!("Bearer {}", client.token))
            .header("content-type", "application/json")
            .header("origin", format!("http://{address}"))
            .body(Full::from(body))
            .unwrap();
        let response = http.request(request).await.unwrap();
        assert_eq!(response.status(), 201);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let app = post("/apps", r#"{"name": "Billing"}"#.to_owned()).await;
    let new = format!(r#"{{"app_id": {}, "name": "ci"}}"#, app["id"]);
    let issued = post("/tokens", new).await;
    let text = issued["token"].as_str().unwrap().as_bytes();
    assert!(
        platform
            .scene
            .tokens
            .authenticator()
            .authenticate(text)
            .await
            .is_ok()
    );
}
