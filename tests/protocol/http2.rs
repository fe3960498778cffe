//! Just enough of HTTP/2 to write a request byte by byte (RFC 9113, RFC 7541).

use std::net::SocketAddr;

use loona_hpack::Decoder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::wire::{Answer, Fields, Outcome, Wire};

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;

pub(crate) struct Client {
    stream: TcpStream,
    decoder: Decoder<'static>,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut client = Self {
            stream,
            decoder: Decoder::new(),
        };
        client
            .stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        client.write(SETTINGS, 0, 0, &[]).await;
        client
    }

    /// Sends a whole request.
    pub(crate) async fn send(&mut self, stream: u32, request: &Wire) {
        let mut fields = pseudo(&[
            (":method", &request.method),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", &request.target),
        ]);
        fields.extend(request.fields.clone());
        if request.content.is_empty() && request.trailers.is_empty() {
            return self.send_head(stream, &fields, true).await;
        }
        self.send_head(stream, &fields, false).await;
        let last = request.trailers.is_empty();
        self.send_data(stream, &request.content, last).await;
        if !last {
            self.send_head(stream, &request.trailers, true).await;
        }
    }

    pub(crate) async fn send_head(&mut self, stream: u32, fields: &Fields, last: bool) {
        let flags = END_HEADERS | if last { END_STREAM } else { 0 };
        self.write(HEADERS, flags, stream, &encode(fields)).await;
    }

    pub(crate) async fn send_data(&mut self, stream: u32, data: &[u8], last: bool) {
        let flags = if last { END_STREAM } else { 0 };
        self.write(DATA, flags, stream, data).await;
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // If the server closed the connection, the next read shows it.
        let _ = self.stream.write_all(&frame).await;
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(stream);
        if kind == SETTINGS && flags & ACK == 0 {
            self.write(SETTINGS, ACK, 0, &[]).await;
        }
        Some(Frame {
            kind,
            flags,
            stream,
            payload,
        })
    }

    /// The head of the response on a stream, and whether it is the whole response.
    pub(crate) async fn head(&mut self, stream: u32) -> Option<(u16, Vec<(String, String)>, bool)> {
        loop {
            let frame = self.read().await?;
            match frame.kind {
                HEADERS if frame.stream == stream => {
                    assert_ne!(frame.flags & END_HEADERS, 0, "a head in one frame");
                    let mut fields: Vec<_> = self
                        .decoder
                        .decode(&frame.payload)
                        .unwrap()
                        .into_iter()
                        .map(|(name, value)| (text(name), text(value)))
                        .collect();
                    let (name, status) = fields.remove(0);
                    assert_eq!(name, ":status");
                    let last = frame.flags & END_STREAM != 0;
                    return Some((status.parse().unwrap(), fields, last));
                }
                RST_STREAM if frame.stream == stream => return None,
                GOAWAY => return None,
                _ => {}
            }
        }
    }

    /// The next piece of the body on a stream, and whether it is the last.
    pub(crate) async fn data(&mut self, stream: u32) -> (Vec<u8>, bool) {
        loop {
            let frame = self.read().await.expect("a frame");
            if frame.kind == DATA && frame.stream == stream {
                return (frame.payload, frame.flags & END_STREAM != 0);
            }
            assert!(frame.kind != RST_STREAM || frame.stream != stream, "reset");
        }
    }

    /// The whole response on a stream.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        let Some((status, fields, mut last)) = self.head(stream).await else {
            return Outcome::Malformed;
        };
        let mut body = Vec::new();
        while !last {
            let (data, end) = self.data(stream).await;
            body.extend(data);
            last = end;
        }
        Outcome::Answered(Answer::new(status, fields, body))
    }
}

pub(crate) fn pseudo(fields: &[(&str, &str)]) -> Fields {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Encodes every field as a literal without indexing (RFC 7541 section 6.2.2).
fn encode(fields: &Fields) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for part in [name.as_bytes(), value] {
            encode_length(&mut block, part.len());
            block.extend(part);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn encode_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        return block.push(u8::try_from(length).unwrap());
    };
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}
