//! A client that keeps one connection to a node.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode, header};
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
        let request = Request::get("/")
            .header(header::HOST, "node")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Empty::new())
            .unwrap();
        self.requests.ready().await.unwrap();
        let response = self.requests.send_request(request).await.unwrap();
        let status = response.status();
        response.into_body().collect().await.unwrap();
        status
    }
}
