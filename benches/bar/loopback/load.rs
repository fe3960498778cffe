use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use http::HeaderValue;

const CONNECTIONS: usize = 32;

/// Connections to one server, each with one request in flight. The connections take turns, so the
/// server always has other requests to work on.
pub(super) struct Load {
    connections: Vec<TcpStream>,
    requests: Vec<String>,
    /// All responses have the same length.
    response: Vec<u8>,
    next: usize,
}

impl Load {
    pub(super) fn new(server: SocketAddr, credentials: &[HeaderValue]) -> Self {
        let requests = credentials.iter().map(|credential| {
            let credential = credential.to_str().unwrap();
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {credential}\r\n\r\n")
        });
        let connect = |_| {
            let connection = TcpStream::connect(server).unwrap();
            connection.set_nodelay(true).unwrap();
            connection
        };
        let mut load = Self {
            connections: (0..CONNECTIONS).map(connect).collect(),
            requests: requests.collect(),
            response: Vec::new(),
            next: 0,
        };
        load.learn_response();
        load
    }

    /// Reads one response, to determine the length of all.
    fn learn_response(&mut self) {
        let connection = &mut self.connections[0];
        connection.write_all(self.requests[0].as_bytes()).unwrap();
        while !self.response.ends_with(b"\r\n\r\nok") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            self.response.push(byte[0]);
        }
    }

    /// Sends this many requests, and waits for their responses.
    pub(super) fn run(&mut self, requests: usize) {
        for turn in 0..requests + CONNECTIONS {
            let connection = &mut self.connections[turn % CONNECTIONS];
            if turn >= CONNECTIONS {
                connection.read_exact(&mut self.response).unwrap();
                assert!(self.response.starts_with(b"HTTP/1.1 200"));
            }
            if turn < requests {
                let request = &self.requests[self.next];
                connection.write_all(request.as_bytes()).unwrap();
                self.next = (self.next + 1) % self.requests.len();
            }
        }
    }
}
