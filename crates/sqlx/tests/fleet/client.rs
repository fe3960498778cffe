//! A client that keeps one connection to a node.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode, header, request::Builder};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(crate) struct Client {
    requests: SendRequest<Empty<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(node: SocketAddr) -> Self {
        let stream = TcpStream::connect(node).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { requests }
    }

    pub(crate) async fn present(&mut self, token: &str) -> StatusCode {
        let request = Request::get("/").header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request).await.0
    }

    /// Sends a request without a token.
    pub(crate) async fn get(&mut self, path: &str) -> String {
        let (status, body) = self.send(Request::get(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        body
    }

    async fn send(&mut self, request: Builder) -> (StatusCode, String) {
        let request = request.header(header::HOST, "node").body(Empty::new());
        self.requests.ready().await.unwrap();
        let response = self.requests.send_request(request.unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.into()).unwrap())
    }
}
