//! `serve` on Unix sockets.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use crate::{server::Server, serving::restrict, support::Cli};

const LISTEN: [&str; 2] = ["--listen", "unix:socket"];

fn path(cli: &Cli) -> PathBuf {
    cli.directory.path().join("socket")
}

fn start(cli: &Cli, more: &[&str]) -> Server {
    Server::start_on(cli, &[&LISTEN, more].concat(), 1)
}

/// Sends a GET request, and returns the status.
fn get(socket: &Path, target: &str, fields: &str) -> u16 {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].parse().unwrap()
}

fn mode(socket: &Path) -> u32 {
    fs::metadata(socket).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_socket_is_served_and_removed_at_shutdown() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    for (more, expected) in [(&[][..], 0o600), (&["--unix-socket-mode", "0660"], 0o660)] {
        let server = start(&cli, more);
        assert_eq!(server.listening, ["unix:socket"]);
        assert!(!server.startup.contains("Dashboard:"), "{}", server.startup);
        let bearer = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(get(&path(&cli), "/verify", &bearer), 200);
        assert_eq!(get(&path(&cli), "/verify", ""), 401);
        assert_eq!(mode(&path(&cli)), expected);
        server.stop("-TERM");
        assert!(!path(&cli).exists());
    }
    let message = cli.run(&["serve", "--unix-socket-mode", "u+rw"]).failed(2);
    assert!(message.contains("like `600`"), "{message}");
}

#[test]
fn the_socket_of_a_server_that_was_killed_is_replaced() {
    let cli = Cli::with_app();
    drop(start(&cli, &[]));
    assert!(path(&cli).exists());
    let _server = start(&cli, &[]);
    assert_eq!(get(&path(&cli), "/verify", ""), 401);
}

#[test]
fn a_socket_in_use_and_other_files_are_kept() {
    let cli = Cli::with_app();
    let server = start(&cli, &[]);
    let serve = [&["serve"], &LISTEN[..]].concat();
    let message = cli.run(&serve).failed(1);
    assert!(message.contains("unix:socket"), "{message}");
    assert!(message.contains("another process listens"), "{message}");
    assert_eq!(get(&path(&cli), "/verify", ""), 401);
    server.stop("-TERM");
    fs::write(path(&cli), "mine").unwrap();
    let message = cli.run(&serve).failed(1);
    assert!(message.contains("not a socket"), "{message}");
    assert_eq!(fs::read_to_string(path(&cli)).unwrap(), "mine");
    let missing = ["serve", "--listen", "unix:nowhere/socket"];
    let message = cli.run(&missing).failed(1);
    assert!(message.contains("unix:nowhere/socket"), "{message}");
    let long = format!("unix:{}", "x".repeat(200));
    cli.run(&["serve", "--listen", &long]).failed(1);
}

#[test]
fn of_servers_that_start_concurrently_one_listens() {
    let cli = Cli::with_app();
    drop(UnixListener::bind(path(&cli)).unwrap());
    let serve = [&["serve", "--verify-only"], &LISTEN[..]].concat();
    let mut servers: Vec<_> = (0..4)
        .map(|_| cli.command(&serve).spawn().unwrap())
        .collect();
    // All but one end.
    while servers.len() > 1 {
        servers.retain_mut(|server| match server.try_wait().unwrap() {
            Some(status) => {
                assert_eq!(status.code(), Some(1));
                false
            }
            None => true,
        });
        std::thread::yield_now();
    }
    assert_eq!(get(&path(&cli), "/verify", ""), 401);
    servers[0].kill().unwrap();
    servers[0].wait().unwrap();
}

#[test]
fn a_proxy_on_a_socket_reports_its_client_only_if_it_is_trusted() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("remote", &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(restrict(&cli, "remote", "networks=192.0.2.0/24"));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let forwarded = format!("{bearer}X-Forwarded-For: 192.0.2.9\r\n");
    let other = format!("{bearer}X-Forwarded-For: 198.51.100.1\r\n");
    let header = ["--client-address-header", "x-forwarded-for"];
    for (trusted, expected) in [
        (&[][..], [403, 403, 403]),
        (&["--trusted-proxy", "127.0.0.1"], [403, 403, 403]),
        (&["--trusted-proxy", "0.0.0.0/0"], [403, 403, 403]),
        (&["--trusted-proxy", "127.0.0.1,unix"], [403, 200, 403]),
    ] {
        let more = match trusted {
            [] => vec![],
            _ => [&header, trusted].concat(),
        };
        let server = start(&cli, &more);
        let statuses =
            [&bearer, &forwarded, &other].map(|fields| get(&path(&cli), "/verify", fields));
        assert_eq!(statuses, expected, "{trusted:?}");
        server.stop("-TERM");
    }
}
