//! Connections to a server: HTTP/1.1, with TLS unless the server is on this machine.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, IF_MATCH, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use tower_api_tokens::RecordVersion;

use super::{address::Address, credential::Credential};
use crate::failure::Failure;

/// How long connecting may take, including the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a response may take, including its body.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest accepted response, in bytes: far above a page of the longest records.
const MAX_ANSWER: usize = 64 << 20;

const PRODUCT: &str = concat!("api-tokens/", env!("CARGO_PKG_VERSION"));

/// A request to the management API.
pub(super) struct Request {
    method: Method,
    /// The path below that of the API, and the query.
    path: String,
    body: Option<Bytes>,
    key: Option<String>,
    /// The version that the record must have.
    version: Option<RecordVersion>,
}

impl Request {
    pub(super) fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            body: None,
            key: None,
            version: None,
        }
    }

    pub(super) fn body(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into());
        self
    }

    /// Sets the idempotency key.
    pub(super) fn key(mut self, key: String) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the version that the record must have. `None` means any.
    pub(super) fn if_match(mut self, version: Option<RecordVersion>) -> Self {
        self.version = version;
        self
    }
}

type Sender = SendRequest<Full<Bytes>>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

pub(super) struct Connection {
    address: Address,
    credential: Credential,
    /// Set if the server is reached with TLS.
    tls: Option<TlsConnector>,
}

impl Connection {
    pub(super) fn new(address: Address, credential: Credential) -> Result<Self, Failure> {
        let tls = match address.secure {
            true => Some(tls()?),
            false => None,
        };
        Ok(Self {
            address,
            credential,
            tls,
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request, on a connection of its own: a server may close an idle one at any time, and it
    /// would be unknown whether it received the request. A failure is uncertain if the server may have
    /// received it.
    pub(super) async fn send(&self, request: &Request) -> Result<http::Response<Bytes>, Failure> {
        self.exchange(self.message(request)?).await
    }

    /// Revokes the token that requests are sent with, on behalf of its holder: the token is in the form,
    /// and there is no other credential.
    pub(super) async fn revoke_own(&self) -> Result<http::Response<Bytes>, Failure> {
        let form = self.credential.form();
        let message = self
            .head(&Method::POST, &self.address.revocation())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::copy_from_slice(form.as_bytes())));
        self.exchange(message.map_err(unsendable)?).await
    }

    /// Asks whether the server accepts the token that requests are sent with.
    pub(super) async fn verify_own(&self) -> Result<http::Response<Bytes>, Failure> {
        let message = self
            .head(&Method::GET, &self.address.verification())
            .header(AUTHORIZATION, &self.credential.header)
            .body(Full::default());
        self.exchange(message.map_err(unsendable)?).await
    }

    /// Starts a message to a path of the server.
    fn head(&self, method: &Method, path: &str) -> http::request::Builder {
        http::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address.authority)
            .header(CONNECTION, "close")
            .header(USER_AGENT, PRODUCT)
            .header(ACCEPT, "application/json")
    }

    async fn exchange(
        &self,
        message: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Bytes>, Failure> {
        let mut sender = self.connect().await?;
        let answering = async {
            let answer = sender.send_request(message).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?;
            Ok::<_, Cause>(http::Response::from_parts(head, body.to_bytes()))
        };
        let answered = timeout(ANSWER_TIMEOUT, answering).await;
        let answered = answered.unwrap_or_else(|_| Err(timed_out().into()));
        answered.map_err(|error| {
            Failure::failed(format!("no response from {}", self.address))
                .because(error)
                .uncertain()
        })
    }

    fn message(&self, request: &Request) -> Result<http::Request<Full<Bytes>>, Failure> {
        let mut message = self
            .head(&request.method, &self.address.target(&request.path))
            .header(AUTHORIZATION, &self.credential.header);
        if request.body.is_some() {
            message = message.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = &request.key {
            message = message.header("idempotency-key", key);
        }
        if let Some(version) = request.version {
            message = message.header(IF_MATCH, format!("\"{version}\""));
        }
        let body = Full::new(request.body.clone().unwrap_or_default());
        message.body(body).map_err(unsendable)
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let connecting = async {
            let target = (self.address.host.as_str(), self.address.port);
            let stream = TcpStream::connect(target).await?;
            // A name like `localhost` may resolve to another machine.
            if self.tls.is_none() && !stream.peer_addr()?.ip().is_loopback() {
                return Err(io::Error::other(
                    "the host does not resolve to this machine; use an `https` URL",
                ));
            }
            let _ = stream.set_nodelay(true);
            let Some(tls) = &self.tls else {
                return start(stream).await;
            };
            let name = ServerName::try_from(self.address.host.clone()).map_err(io::Error::other)?;
            start(tls.connect(name, stream).await?).await
        };
        let connected = timeout(CONNECT_TIMEOUT, connecting).await;
        let connected = connected.unwrap_or_else(|_| Err(timed_out()));
        connected.map_err(|error| {
            let advice = match self.tls {
                None => "Check the URL, and that the server is running.",
                Some(_) => {
                    "Check the URL, and that the server is running. To trust a private certificate authority, set SSL_CERT_FILE to a file with its certificate."
                }
            };
            Failure::failed(format!("cannot connect to {}", self.address))
                .because(error)
                .advising(advice)
                .unreachable()
        })
    }
}

fn unsendable(error: http::Error) -> Failure {
    Failure::failed("cannot create the request").because(error)
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "timed out")
}

/// Starts HTTP on a stream.
async fn start(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<Sender> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // Its errors reach the sender too.
    tokio::spawn(connection);
    Ok(sender)
}

/// Creates a connector that trusts the certificate authorities of the system.
fn tls() -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Failure::failed(
            "no certificate authorities found on this machine: install them, or set SSL_CERT_FILE to a file with their certificates",
        ));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed("cannot use TLS").because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
