//! Requests written to a socket byte by byte, and answers read from it.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::Service;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A request, nothing of which is checked.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Sent as a `:protocol` pseudo-header, for extended CONNECT.
    pub(crate) upgrade_to: Option<&'static str>,
}

impl Raw {
    pub(crate) fn get() -> Self {
        Self {
            method: "GET",
            path: "/".into(),
            fields: Vec::new(),
            upgrade_to: None,
        }
    }

    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub(crate) fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.into(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn authorization(self, value: impl AsRef<[u8]>) -> Self {
        self.field("authorization", value)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In the order of their names, without those that the protocol or the time of day adds.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn new(status: u16, mut headers: Vec<(String, String)>, body: &[u8]) -> Self {
        let added = ["date", "content-length", "connection", "transfer-encoding"];
        headers.retain(|(name, _)| !added.contains(&name.as_str()));
        headers.sort();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Self {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.headers.iter().filter(|(other, _)| other == name);
        fields.map(|(_, value)| value.as_str()).collect()
    }
}

/// Serves on a port of its own for as long as the runtime lives.
pub(crate) async fn serve<S>(service: S) -> SocketAddr
where
    S: Service<http::Request<hyper::body::Incoming>, Error = Infallible> + Clone + Send + 'static,
    S::Response: Into<http::Response<WireBody>>,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let service = tower::ServiceExt::map_response(service.clone(), Into::into);
            let service = TowerToHyperService::new(service);
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().enable_connect_protocol();
                let io = TokioIo::new(connection);
                // A client that hangs up early is no failure of the server.
                let _ = server.serve_connection_with_upgrades(io, service).await;
            });
        }
    });
    address
}

pub(crate) type WireBody = tower_api_tokens::middleware::ResponseBody<Full<Bytes>>;

pub(crate) async fn ask(address: SocketAddr, protocol: Protocol, raw: &Raw) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    match protocol {
        Protocol::Http1 => ask_http1(stream, raw).await,
        Protocol::Http2 => ask_http2(stream, raw).await,
    }
}

/// Asks over both protocols and expects one answer.
pub(crate) async fn ask_both(address: SocketAddr, raw: &Raw) -> Answer {
    let [one, two] = [
        ask(address, Protocol::Http1, raw).await,
        ask(address, Protocol::Http2, raw).await,
    ];
    assert_eq!(one, two, "the protocols disagree");
    one
}

async fn ask_http1(mut stream: TcpStream, raw: &Raw) -> Answer {
    let mut head = format!("{} {} HTTP/1.1\r\nhost: a\r\n", raw.method, raw.path).into_bytes();
    let upgrade = raw.fields.iter().any(|(name, _)| name == b"upgrade");
    if !upgrade {
        head.extend_from_slice(b"connection: close\r\n");
    }
    for (name, value) in &raw.fields {
        head.extend([name.as_slice(), b": ", value, b"\r\n"].concat());
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..read]);
        let switched = bytes.starts_with(b"HTTP/1.1 101") && bytes.ends_with(b"\r\n\r\n");
        let complete = upgrade && is_complete(&bytes);
        if read == 0 || switched || complete {
            break;
        }
    }
    parse_http1(&bytes)
}

/// Whether an answer on a connection that stays open has all of its body.
fn is_complete(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    bytes.len() >= end + 4 + length.unwrap_or(0_usize)
}

fn parse_http1(bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Answer::new(
        status.parse().unwrap(),
        headers.collect(),
        &bytes[end + 4..],
    )
}

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

async fn ask_http2(mut stream: TcpStream, raw: &Raw) -> Answer {
    let mut block = Vec::new();
    literal(&mut block, b":method", raw.method.as_bytes());
    if raw.method != "CONNECT" || raw.upgrade_to.is_some() {
        literal(&mut block, b":scheme", b"http");
        literal(&mut block, b":path", raw.path.as_bytes());
    }
    literal(&mut block, b":authority", b"a");
    if let Some(protocol) = raw.upgrade_to {
        literal(&mut block, b":protocol", protocol.as_bytes());
    }
    for (name, value) in &raw.fields {
        literal(&mut block, &name.to_ascii_lowercase(), value);
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, 4, 0, 0, &[]);
    let ends = if raw.method == "CONNECT" {
        0
    } else {
        END_STREAM
    };
    frame(&mut bytes, HEADERS, END_HEADERS | ends, 1, &block);
    stream.write_all(&bytes).await.unwrap();

    let mut decoder = loona_hpack::Decoder::new();
    let (mut headers, mut body) = (Vec::new(), Vec::new());
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        let (kind, flags) = (head[3], head[4]);
        match kind {
            HEADERS => {
                let fields = decoder.decode(&payload).unwrap();
                headers.extend(fields.into_iter().map(|(name, value)| {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    (text(&name), text(&value))
                }));
            }
            DATA => body.extend_from_slice(&payload),
            RST_STREAM | GOAWAY => panic!("the server refused the frames: {kind} {payload:?}"),
            _ => continue,
        }
        let established = raw.method == "CONNECT" && kind == HEADERS;
        if flags & END_STREAM != 0 || (established && headers[0].1 == "200") {
            break;
        }
    }
    let (_, status) = headers.remove(0);
    Answer::new(status.parse().unwrap(), headers, &body)
}

/// A literal field that is never indexed (RFC 7541 section 6.2.3), without Huffman coding.
fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0x10);
    for text in [name, value] {
        let mut rest = text.len();
        if rest < 127 {
            block.push(rest as u8);
        } else {
            block.push(127);
            rest -= 127;
            while rest >= 128 {
                block.push((rest % 128 + 128) as u8);
                rest /= 128;
            }
            block.push(rest as u8);
        }
        block.extend_from_slice(text);
    }
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = (payload.len() as u32).to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}
