//! `serve`, without a proxy before it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::support::{Cli, Run};

/// A server that runs.
struct Server {
    process: Child,
    address: String,
    printed: BufReader<ChildStdout>,
}

impl Server {
    fn start(cli: &Cli, more: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], more].concat();
        let mut process = cli.command(&arguments).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = said
            .find_map(|line| {
                let line = line.unwrap();
                line.strip_prefix("Listening on http://").map(str::to_owned)
            })
            .expect("it listens");
        std::thread::spawn(move || said.for_each(drop));
        Self {
            address,
            printed: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    /// The line that was printed for the first administrator.
    fn first_token(&mut self) -> String {
        let mut line = String::new();
        self.printed.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// The status of an answer, and all of it.
    fn get(&self, path: &str, fields: &str) -> (u16, String) {
        self.send("GET", path, fields)
    }

    fn send(&self, method: &str, path: &str, fields: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer[9..12].parse().unwrap(), answer.to_lowercase())
    }

    fn get_as(&self, path: &str, token: &str) -> (u16, String) {
        self.get(path, &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Asks it to stop: what else it printed, and whether it ended well.
    fn stop(mut self, signal: &str) -> String {
        let pid = self.process.id().to_string();
        let killed = Command::new("kill").args([signal, &pid]).status();
        assert!(killed.unwrap().success());
        let mut rest = String::new();
        self.printed.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success());
        rest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_first_start_alone_prints_a_token_for_an_administrator() {
    let cli = Cli::new();
    let mut server = Server::start(&cli, &["--admin-scope", "orders:read"]);
    let token = server.first_token();
    let (status, answer) = server.get_as("/verify?scope=tokens:admin", &token);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("x-api-scopes: orders:read tokens:admin"));
    assert_eq!(server.stop("-TERM"), "");
    let server = Server::start(&cli, &[]);
    assert_eq!(server.get_as("/verify", &token).0, 200);
    assert_eq!(server.stop("-INT"), "");
    let events = cli.run(&["events", "--json"]).json_lines();
    let issues = events
        .iter()
        .filter(|event| event["action"] == "token.issue");
    assert_eq!(issues.count(), 1);
}

#[test]
fn of_servers_that_start_at_once_one_prints_a_token() {
    let cli = Cli::with_app();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let arguments = ["serve", "--listen", "127.0.0.1:0"];
            cli.command(&arguments).spawn().unwrap()
        })
        .collect();
    let mut printed = 0;
    for mut process in starts {
        let said = BufReader::new(process.stderr.take().unwrap()).lines();
        let listens = |line: &String| line.starts_with("Listening");
        said.map(Result::unwrap).find(listens).expect("it listens");
        process.kill().unwrap();
        let run = Run::from(process.wait_with_output().unwrap());
        printed += run.out.lines().count();
    }
    assert_eq!(printed, 1);
}

#[test]
fn usage_is_recorded_when_it_stops() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    for signal in ["-TERM", "-INT"] {
        let server = Server::start(&cli, &[]);
        for _ in 0..3 {
            assert_eq!(server.get_as("/verify", &token).0, 200);
        }
        server.stop(signal);
    }
    let shown = cli.run(&["token", "show", &id, "--json"]).json();
    assert_eq!(shown["uses"], 6);
    assert!(shown["last_used_at"].is_string());
}

#[test]
fn what_nginx_could_take_for_something_else_is_not_among_the_answers() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &["--scope", "a"]);
    let server = Server::start(&cli, &[]);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (path, fields, expected) in [
        ("/verify", String::new(), 401),
        ("/verify", "Authorization: Bearer a b\r\n".to_owned(), 401),
        ("/verify", format!("{bearer}{bearer}"), 401),
        (
            "/verify",
            "Content-Type: application/grpc\r\n".to_owned(),
            401,
        ),
        (
            "/verify",
            format!("Content-Type: application/grpc\r\n{bearer}"),
            200,
        ),
        ("/verify?scope=b", bearer.clone(), 403),
        ("/verify?scopes=b", bearer.clone(), 500),
    ] {
        let (status, answer) = server.get(path, &fields);
        assert_eq!(status, expected, "{path} {answer}");
        assert!(!answer.contains(&token.to_lowercase()));
    }
    let (_, answer) = server.get("/verify", "Authorization: Bearer a b\r\n");
    assert!(answer.contains("\"status\":401"), "{answer}");
    cli.run(&["token", "revoke", &id, "--yes"]).done();
}

#[test]
fn a_connection_that_brings_no_whole_request_is_closed() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--idle-timeout", "100ms"]);
    for sent in ["", "GET /verify HTTP/1.1\r\nHost: x\r\nAuthorization: "] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let patience = Duration::from_secs(60);
        stream.set_read_timeout(Some(patience)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "after {sent:?}");
    }
    let server = Server::start(&cli, &["--idle-timeout", "1h"]);
    assert_eq!(server.get("/verify", "").0, 401);
    let message = cli.run(&["serve", "--idle-timeout", "0s"]).failed(2);
    assert!(message.contains("above zero"), "{message}");
}

#[test]
fn an_idle_connection_does_not_keep_it_from_stopping() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let mut idle = TcpStream::connect(&server.address).unwrap();
    assert_eq!(server.get("/verify", "").0, 401);
    server.stop("-TERM");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

#[test]
fn an_api_key_header_may_carry_the_token() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let key = format!("X-Api-Key: {token}\r\n");
    let server = Server::start(&cli, &["--api-key-header", "x-api-key"]);
    assert_eq!(server.get("/verify", &key).0, 200);
    let both = format!("{key}Authorization: Bearer {token}\r\n");
    assert_eq!(server.get("/verify", &both).0, 401);
    assert_eq!(Server::start(&cli, &[]).get("/verify", &key).0, 401);
}

#[test]
fn what_it_cannot_start_with_is_told() {
    let cli = Cli::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let message = cli.run(&["serve", "--listen", &address]).failed(1);
    assert!(message.contains(&address), "{message}");
    assert!(message.contains("Give another address"), "{message}");
    let on_any_port = ["serve", "--listen", "127.0.0.1:0"];
    let serve = |option, value| cli.run(&[&on_any_port[..], &[option, value]].concat());
    let message = serve("--realm", "\u{1b}").failed(2);
    assert!(message.contains("realm"), "{message}");
    for name in [
        "cookie",
        "Host",
        "authorization",
        "transfer-encoding",
        "sec-fetch-site",
    ] {
        let message = serve("--api-key-header", name).failed(2);
        assert!(message.contains("another meaning in HTTP"), "{message}");
        assert!(message.contains("`x-api-key`"), "{message}");
    }
    // Nobody was given a token that did not reach them.
    assert!(
        cli.run(&["token", "list", "--json"])
            .json_lines()
            .is_empty()
    );
}

#[test]
fn the_management_api_is_for_those_who_hold_an_administrators_token() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    let mut server = Server::start(&cli, &[]);
    let admin = server.first_token();
    assert_eq!(server.get("/api/tokens", "").0, 401);
    assert_eq!(server.get_as("/api/tokens", &token).0, 403);
    let (status, answer) = server.get_as("/api/tokens", &admin);
    assert_eq!(status, 200);
    assert!(answer.contains(&id), "{answer}");
    assert_eq!(server.get_as("/verify", &token).0, 200);
    let revoke = format!("/api/tokens/{id}/revoke");
    let bearer = format!("Authorization: Bearer {admin}\r\n");
    assert_eq!(server.send("POST", &revoke, &bearer).0, 200);
    assert_eq!(server.get_as("/verify", &token).0, 401);
    server.stop("-TERM");
    let events = cli.run(&["events", "--token", &id, "--json"]).json_lines();
    let actor = events[0]["actor"].as_str().unwrap();
    assert!(actor.starts_with("token:"), "{actor}");
}

#[test]
fn programs_read_the_same_fields_over_http_and_on_the_command_line() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("ci", &[]);
    let mut server = Server::start(&cli, &[]);
    let admin = server.first_token();
    let (_, answer) = server.get_as(&format!("/api/tokens/{id}"), &admin);
    let body = &answer[answer.find('{').unwrap()..];
    let over_http: serde_json::Value = serde_json::from_str(body).unwrap();
    let printed = cli.run(&["token", "show", &id, "--json"]).json();
    let keys = |value: &serde_json::Value| {
        let object = value.as_object().unwrap();
        object.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(&over_http), keys(&printed));
}

#[test]
fn the_dashboard_is_for_those_who_sign_in_with_an_administrators_token() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("nightly export", &[]);
    let mut server = Server::start(&cli, &[]);
    let admin = server.first_token();
    let (status, answer) = server.get("/tokens", "");
    assert_eq!(status, 401);
    // What makes a browser ask.
    assert!(
        answer.contains("www-authenticate: basic realm=\"api\""),
        "{answer}"
    );
    let basic = format!(
        "Authorization: Basic {}\r\n",
        STANDARD.encode(format!("x:{admin}"))
    );
    let (status, answer) = server.get("/tokens", &basic);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("nightly export") && answer.contains(&id));
    let (status, answer) = server.get("/", "");
    assert_eq!(status, 303);
    assert!(answer.contains("location: /tokens"), "{answer}");
}
