//! The memory of a server with idle connections.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::platform::Platform;

const CONNECTIONS: usize = 10_000;

pub(crate) fn run(platform: &Platform) {
    allow_connections();
    let server = platform.serve(&["--max-connections", "12000"]);
    let memory = || server.process.anonymous_memory();
    let idle = memory();
    // Each has sent a request, as the connections of a proxy have.
    let connections: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|number| {
            let token = &platform.tokens[number % platform.tokens.len()];
            connect(server.address, token)
        })
        .collect();
    let connected = memory();
    drop(connections);
    println!("\nAnonymous memory of `api-tokens serve`\n");
    println!("| | MB |\n|---|---|");
    println!("| after the start | {idle:.1} |");
    println!("| with {CONNECTIONS} idle connections | {connected:.1} |");
}

fn connect(to: SocketAddr, token: &str) -> TcpStream {
    let mut connection = TcpStream::connect(to).unwrap();
    let request =
        format!("GET /verify HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer {token}\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).expect("a response");
        response.extend(byte);
    }
    assert!(response.starts_with(b"HTTP/1.1 200 "));
    connection
}

/// Raises the limit on open files of this process and its children.
fn allow_connections() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let needed = 2 * CONNECTIONS as u64;
    let limit = Rlimit {
        current: Some(maximum.map_or(needed, |maximum| maximum.min(needed))),
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}
