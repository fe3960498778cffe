//! Requests as bytes, over either HTTP version.

use std::{fmt, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::http2;

/// How long a test waits for a response before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// A request that is written as it is, whatever it contains.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Fields,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Fields,
}

impl Wire {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            fields: Vec::new(),
            content: Vec::new(),
            trailers: Vec::new(),
        }
    }

    pub(crate) fn get() -> Self {
        Self::new("GET", "/")
    }

    pub(crate) fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        self.fields.push((name.to_owned(), value));
        self
    }

    pub(crate) fn authorization(self, value: impl AsRef<[u8]>) -> Self {
        self.field("authorization", value)
    }

    pub(crate) fn content(mut self, content: &str) -> Self {
        self.content = content.into();
        self
    }

    pub(crate) fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        self.trailers.push((name.to_owned(), value));
        self
    }

    fn http1(&self) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n",
            self.method, self.target
        )
        .into_bytes();
        write_fields(&mut text, &self.fields);
        if self.trailers.is_empty() && self.content.is_empty() {
            text.extend(b"\r\n");
        } else {
            let length = self.content.len();
            text.extend(format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n").bytes());
            text.extend(&self.content);
            text.extend(b"\r\n0\r\n");
            write_fields(&mut text, &self.trailers);
            text.extend(b"\r\n");
        }
        text
    }
}

fn write_fields(text: &mut Vec<u8>, fields: &Fields) {
    for (name, value) in fields {
        text.extend(name.bytes());
        text.extend(b": ");
        text.extend(value);
        text.extend(b"\r\n");
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.http1().escape_ascii())
    }
}

/// A response of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The fields in order, except for those about the connection or the time.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, fields: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let told = |(name, _): &(String, String)| name != "date" && name != "connection";
        Self {
            status,
            fields: fields.into_iter().filter(told).collect(),
            body: String::from_utf8(body).unwrap(),
        }
    }

    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = move |(key, _): &&(String, String)| key == name;
        self.fields.iter().filter(named).map(|(_, value)| &**value)
    }

    /// The value of a field that must occur once.
    pub(crate) fn sole(&self, name: &str) -> &str {
        let values: Vec<_> = self.all(name).collect();
        let [value] = values[..] else {
            panic!("{name} is not there once: {self:?}");
        };
        value
    }

    pub(crate) fn challenge(&self) -> &str {
        self.sole("www-authenticate")
    }

    /// The response without its hint.
    pub(crate) fn but_for_its_hint(mut self) -> Self {
        let mut problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        problem["detail"].take();
        self.body = problem.to_string();
        self.fields.retain(|(name, _)| name != "content-length");
        self
    }

    /// The whole response as text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.status);
        for (name, value) in &self.fields {
            text += &format!("{name}: {value}\n");
        }
        format!("{text}\n{}", self.body)
    }

    /// Checks what applies to every refusal.
    pub(crate) fn check_refusal(&self, request: &Wire) {
        let challenges: Vec<_> = self
            .all("www-authenticate")
            .filter(|challenge| challenge.starts_with("Bearer"))
            .collect();
        match self.status {
            400 | 401 | 403 => {
                assert_eq!(challenges.len(), 1, "{self:?}");
                assert!(challenges[0].starts_with("Bearer realm=\""), "{self:?}");
                assert_eq!(self.all("retry-after").count(), 0, "{self:?}");
            }
            503 => {
                assert_eq!(self.all("www-authenticate").count(), 0, "{self:?}");
                assert_eq!(self.sole("retry-after"), "1");
            }
            status => panic!("{status} to {request:?}"),
        }
        assert_eq!(self.sole("content-type"), "application/problem+json");
        assert_eq!(self.sole("cache-control"), "no-store");
        if request.method == "HEAD" {
            assert_eq!(self.body, "");
        } else {
            let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
            assert_eq!(problem["status"], self.status, "{self:?}");
            assert!(problem["type"].is_string() && problem["title"].is_string());
        }
    }
}

/// Who refused a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(Answer),
    /// The server itself found it malformed, so no service saw it.
    Malformed,
}

pub(crate) async fn over_http1(address: SocketAddr, request: &Wire) -> Outcome {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request.http1()).await.unwrap();
    let mut text = Vec::new();
    // A server may reset a connection that it has not read completely; the response has arrived by
    // then.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut text))
        .await
        .expect("an answer");
    let (answer, rest) = parse_http1(&text, request.method == "HEAD").expect("a whole answer");
    assert_eq!(rest, b"");
    if answer.status == 400 && answer.all("content-type").next().is_none() {
        return Outcome::Malformed;
    }
    Outcome::Answered(answer)
}

pub(crate) async fn over_http2(address: SocketAddr, request: &Wire) -> Outcome {
    let exchange = async {
        let mut client = http2::Client::connect(address).await;
        client.send(1, request).await;
        client.outcome(1).await
    };
    timeout(PATIENCE, exchange).await.expect("an answer")
}

/// The response over HTTP/1, after checking that it is the same over HTTP/2.
pub(crate) async fn both(address: SocketAddr, request: &Wire) -> Answer {
    let first = over_http1(address, request).await;
    assert_eq!(first, over_http2(address, request).await, "{request:?}");
    match first {
        Outcome::Answered(answer) => answer,
        Outcome::Malformed => panic!("the server refused {request:?}"),
    }
}

/// The first response in a stream of bytes, once it is complete, and the bytes after it.
pub(crate) fn parse_http1(text: &[u8], to_head: bool) -> Option<(Answer, &[u8])> {
    let end = text.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = (std::str::from_utf8(&text[..end]).unwrap(), &text[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let fields: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length = |(name, value): &(String, String)| {
        (name == "content-length").then(|| value.parse::<usize>().unwrap())
    };
    let length = fields.iter().find_map(length).unwrap_or(0);
    // The response to HEAD states the length of a body that it does not have.
    let length = if to_head { 0 } else { length };
    let (body, rest) = rest.split_at_checked(length)?;
    Some((Answer::new(status, fields, body.to_vec()), rest))
}

/// An HTTP/1 connection that stays open.
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            unread: Vec::new(),
        }
    }

    pub(crate) async fn ask(&mut self, request: &str) -> Answer {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let answer = async {
            loop {
                if let Some((answer, rest)) = parse_http1(&self.unread, false) {
                    let rest = rest.to_vec();
                    self.unread = rest;
                    return answer;
                }
                assert_ne!(self.stream.read_buf(&mut self.unread).await.unwrap(), 0);
            }
        };
        timeout(PATIENCE, answer).await.expect("an answer")
    }

    pub(crate) async fn assert_echoes(mut self) {
        assert!(self.unread.is_empty());
        self.stream.write_all(b"ping").await.unwrap();
        let mut echo = [0; 4];
        let read = self.stream.read_exact(&mut echo);
        timeout(PATIENCE, read).await.expect("an echo").unwrap();
        assert_eq!(&echo, b"ping");
    }
}
