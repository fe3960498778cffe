//! The limits of `serve` on what clients send, and on how long they take.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use crate::{server::Server, support::Cli};

/// Sends a request from another thread, as far as the server reads it, and returns the whole response.
fn exchange(server: &Server, request: Vec<u8>) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        // The server may stop reading.
        let _ = writer.write_all(&request);
        let _ = writer.shutdown(Shutdown::Write);
    });
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("the response is complete");
    writing.join().unwrap();
    answer
}

fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

#[test]
fn a_body_of_10_mb_gets_a_clear_answer_everywhere() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let admin = server.first_token();
    let body = vec![b'a'; 10 << 20];
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let bearer = format!("Authorization: Bearer {admin}\r\n{form}");
    for path in [
        "/verify",
        "/introspect",
        "/revoke",
        "/api/apps",
        "/tokens",
        "/nowhere",
    ] {
        let fields = format!("{bearer}Content-Length: {}\r\n", body.len());
        let answer = exchange(&server, post(path, &fields, &body));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{path}: {answer}");
        assert!(answer.ends_with('}'), "{path}: {answer}");
    }
    // Without a length, an endpoint notices when it reads more than it accepts.
    let chunk = [b"100000\r\n", &body[..1 << 20], b"\r\n"].concat();
    let chunks = [chunk.repeat(10), b"0\r\n\r\n".to_vec()].concat();
    let json = bearer.replace("x-www-form-urlencoded", "json");
    for (path, fields) in [("/revoke", bearer), ("/api/apps", json)] {
        let fields = format!("{fields}Transfer-Encoding: chunked\r\n");
        let answer = exchange(&server, post(path, &fields, &chunks));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
    }
    assert_eq!(server.get_as("/verify", &admin).0, 200);
}

#[test]
fn a_token_of_10_mb_gets_a_clear_answer() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let admin = server.first_token();
    let long = "a".repeat(10 << 20);
    let request =
        format!("GET /verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {long}\r\n\r\n");
    let answer = exchange(&server, request.into_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = "X-Field: a\r\n".repeat(1000);
    let request = format!("GET /verify HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    let answer = exchange(&server, request.into_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(server.get_as("/verify", &admin).0, 200);
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_answered_with_408() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--body-timeout", "100ms"]);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for fields in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let request = post("/revoke", &format!("{form}{fields}"), b"");
        stream.write_all(&request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

#[test]
fn a_request_head_that_does_not_arrive_in_time_is_answered_with_408() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--head-timeout", "100ms", "--idle-timeout", "1h"]);
    for sent in ["P", "GET /verify HTTP/1.1\r\nHost: x\r\nAuthorization: "] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{sent}: {answer}");
    }
}

#[test]
fn the_time_for_a_request_head_is_not_that_of_the_connection() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--head-timeout", "100ms", "--idle-timeout", "1h"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    // Each head arrives as a whole, so it cannot be late.
    for _ in 0..3 {
        let request = "GET /verify HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        read_refusal(&mut stream);
        // Another head is late, so more than its time has passed on this connection too.
        let mut late = TcpStream::connect(&server.address).unwrap();
        late.write_all(b"GET ").unwrap();
        let mut answer = String::new();
        late.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

#[test]
fn a_request_head_may_arrive_in_parts() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--head-timeout", "1h", "--idle-timeout", "1h"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    for _ in 0..2 {
        for part in ["GET /verify HTTP/1.1\r\n", "Host: x\r\n", "\r\n"] {
            stream.write_all(part.as_bytes()).unwrap();
        }
        read_refusal(&mut stream);
    }
}

#[test]
fn a_client_that_reads_no_response_is_disconnected() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--write-timeout", "100ms", "--idle-timeout", "1h"]);
    let admin = server.first_token();
    let request = format!(
        "GET /api/openapi.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(&server.address).unwrap();
    // The buffers of both sockets fill up, and then the server closes the connection.
    let error = loop {
        if let Err(error) = stream.write_all(request.as_bytes()) {
            break error.kind();
        }
    };
    assert!(
        matches!(error, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{error:?}"
    );
    assert_eq!(server.get_as("/verify", &admin).0, 200);
}

/// Reads the response to a refused request.
fn read_refusal(stream: &mut TcpStream) {
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 401");
    let mut rest = Vec::new();
    while !rest.ends_with(b"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        rest.push(byte[0]);
    }
}

#[test]
fn requests_whose_bodies_do_not_arrive_keep_nobody_out() {
    let cli = Cli::with_app();
    let limits = ["--max-connections", "4", "--body-timeout", "1h"];
    let server = Server::start(&cli, &limits);
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\
        Expect: 100-continue\r\n";
    let connect = |request: &[u8]| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(request).unwrap();
        stream
    };
    let stall = |_| {
        let mut stream = connect(&post("/revoke", form, b""));
        let mut waits = [0; b"HTTP/1.1 100 Continue".len()];
        stream.read_exact(&mut waits).unwrap();
        assert_eq!(&waits, b"HTTP/1.1 100 Continue");
        stream
    };
    let stalled: Vec<_> = (0..4).map(stall).collect();
    let mut other = connect(b"GET /verify HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    other
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    drop(stalled);
}
