//! How `serve` stops.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use sqlx::{Connection, SqliteConnection};

use crate::{
    server::{Server, eventually},
    support::Cli,
};

/// Begins a request that is in progress until `finish` is called.
fn begin(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = "POST /revoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // The endpoint asks for the body, so the request has begun.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Sends the rest of the request, and returns the response.
fn finish(mut stream: TcpStream) -> String {
    // It fails if the server has closed the connection.
    let _ = stream.write_all(b"token=x");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn requests_in_progress_are_finished() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--shutdown-timeout", "1h"]);
    let request = begin(&server);
    server.signal("-TERM");
    server.logs("Shutting down");
    let answer = finish(request);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    server.ends();
}

#[test]
fn requests_that_take_too_long_are_cut_off() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    let server = Server::start(&cli, &["--shutdown-timeout", "100ms"]);
    assert_eq!(server.get_as("/verify", &token).0, 200);
    let request = begin(&server);
    server.stop("-TERM");
    assert_eq!(finish(request), "");
    // Uses are recorded in any case.
    let shown = cli.run(&["token", "show", &id, "--json"]).json();
    assert_eq!(shown["uses"], 1);
}

#[test]
fn a_second_signal_cuts_off_requests_in_progress() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--shutdown-timeout", "1h"]);
    let request = begin(&server);
    server.signal("-TERM");
    server.logs("Shutting down");
    server.stop("-INT");
    assert_eq!(finish(request), "");
}

#[tokio::test]
async fn another_signal_ends_the_wait_for_the_store() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let mut server = Server::start(&cli, &[]);
    assert_eq!(server.get_as("/verify", &token).0, 200);
    let mut other = SqliteConnection::connect(&cli.store).await.unwrap();
    let lock = "BEGIN IMMEDIATE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    server.signal("-TERM");
    server.logs("Shutting down");
    // One of them may still end the wait for requests in progress.
    while server.process.try_wait().unwrap().is_none() {
        server.signal("-TERM");
    }
    let log = server.log.take().unwrap().join().unwrap();
    assert!(
        log.contains("before the latest uses were recorded"),
        "{log}"
    );
    assert_eq!(server.process.wait().unwrap().code(), Some(1));
}

#[test]
fn a_server_that_drains_serves_new_connections() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let server = Server::start(&cli, &["--drain-delay", "1h"]);
    server.signal("-TERM");
    server.logs("Draining");
    assert_eq!(server.get_as("/verify", &token).0, 200);
    // Another signal ends the delay.
    server.stop("-TERM");
    let server = Server::start(&cli, &["--drain-delay", "10ms"]);
    server.stop("-TERM");
}

/// How many connections to the server are established but not accepted.
fn not_accepted(server: &Server) -> u32 {
    let (_, port) = server.address.split_once(':').unwrap();
    let port: u16 = port.parse().unwrap();
    // The state of a listener is 0A, and its receive queue has the connections.
    let is_listener =
        |fields: &[&str]| fields[1].ends_with(&format!(":{port:04X}")) && fields[3] == "0A";
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let sockets = sockets.lines().skip(1);
    let mut sockets = sockets.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listener = sockets.find(|fields| is_listener(fields)).unwrap();
    let (_, queue) = listener[4].split_once(':').unwrap();
    u32::from_str_radix(queue, 16).unwrap()
}

#[test]
fn a_connection_that_waits_for_another_one_is_served_during_shutdown() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let options = ["--max-connections", "1", "--shutdown-timeout", "1h"];
    let server = Server::start(&cli, &options);
    let request = begin(&server);
    let mut waiting = TcpStream::connect(&server.address).unwrap();
    let verify =
        format!("GET /verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    waiting.write_all(verify.as_bytes()).unwrap();
    eventually("it is accepted", || not_accepted(&server) == 0);
    server.signal("-TERM");
    server.logs("Shutting down");
    assert!(finish(request).starts_with("HTTP/1.1 200 "));
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    server.ends();
}

#[test]
fn no_connection_is_accepted_while_requests_are_finished() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--shutdown-timeout", "1h"]);
    let request = begin(&server);
    server.signal("-TERM");
    server.logs("Shutting down");
    // The listener is closed soon, and what it had not accepted yet is reset.
    let is_served = || {
        let mut stream = TcpStream::connect(&server.address).ok()?;
        stream.write_all(b"GET /verify HTTP/1.0\r\n\r\n").ok()?;
        stream.read_exact(&mut [0]).ok()
    };
    while is_served().is_some() {}
    assert!(TcpStream::connect(&server.address).is_err());
    assert!(finish(request).starts_with("HTTP/1.1 200 "));
    server.ends();
}
