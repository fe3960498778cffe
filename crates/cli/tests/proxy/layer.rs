//! nginx with a service behind the layer instead of `api-tokens serve`.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::Router;
use tempfile::TempDir;
use tower_api_tokens::testing::Fixture;

use crate::{
    Nginx,
    support::{Proxy, Running, exchange, free_address, is_up, upstream},
};

/// Content types and other fields with which a client may request another response format.
const FIELDS: [&str; 12] = [
    "X-Nothing: x",
    "Content-Type: application/grpc",
    "Content-Type: application/grpc+proto",
    "Content-Type: application/grpc-web",
    "Content-Type: application/grpc-web-text",
    "Content-Type: application/json",
    "Accept: application/grpc",
    "TE: trailers\r\nContent-Type: application/grpc",
    "X-HTTP-Method-Override: POST\r\nContent-Type: application/grpc",
    "Connection: Upgrade\r\nUpgrade: websocket",
    "Expect: 200-ok",
    "Origin: https://x\r\nAccess-Control-Request-Method: GET",
];

const CREDENTIALS: [(&str, u16); 4] = [
    ("", 401),
    ("Authorization: Digest x\r\n", 401),
    ("Authorization: Bearer acme_typo\r\n", 401),
    // The request is malformed; nginx treats that response as a failure of the verifier.
    ("Authorization: Bearer a b\r\n", 500),
];

pub(crate) async fn no_request_opens_a_route_that_the_layer_itself_guards() {
    let fixture = Fixture::new().await;
    let guarded = Router::new().fallback(async || "").layer(fixture.layer());
    let reached = Arc::new(AtomicUsize::new(0));
    let service = Router::new()
        .fallback(upstream)
        .with_state(Arc::clone(&reached));
    let (verifier, upstream) = (listen(guarded).await, listen(service).await);
    let proxy = free_address();
    let directory = TempDir::new().unwrap();
    // The verifier gets all that the client sent, including the method.
    let config = format!(
        "server {{
            listen {proxy};
            location / {{ auth_request /_token; proxy_pass http://{upstream}; }}
            location = /_token {{
                internal;
                proxy_method $request_method;
                proxy_pass_request_body off;
                proxy_set_header Content-Length \"\";
                proxy_pass http://{verifier};
            }}
        }}"
    );
    // Hides the log of each refusal.
    let mut nginx = Nginx::start(&config, &directory);
    let _proxy = Running(nginx.stderr(Stdio::null()).spawn().unwrap());
    assert!(is_up(proxy).await);

    for method in ["GET", "POST", "HEAD", "OPTIONS", "PURGE"] {
        for fields in FIELDS {
            for (credential, status) in CREDENTIALS {
                let request = format!(
                    "{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{credential}{fields}\r\n\r\n"
                );
                let answer = exchange(proxy, &request).await;
                assert_eq!(answer.status, status, "{request}");
            }
        }
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);

    let authorization = format!("Authorization: {}", fixture.bearer());
    let request =
        format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\r\n\r\n");
    assert_eq!(exchange(proxy, &request).await.status, 200);
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

async fn listen(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    address
}
