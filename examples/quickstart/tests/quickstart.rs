//! The quickstart, run as a newcomer would.

use std::{
    io::{BufRead, BufReader, Lines, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_quickstart");

struct Quickstart {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Quickstart {
    fn start(directory: &TempDir) -> Self {
        let mut process = Command::new(PROGRAM)
            .current_dir(directory.path())
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env_remove("DATABASE_URL")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The texts between the parts of the next line.
    fn line<const N: usize>(&mut self, parts: [&str; N]) -> Vec<String> {
        let line = self.lines.next().unwrap().unwrap();
        let mut rest = line.as_str();
        let mut found = Vec::new();
        for part in parts {
            let (before, after) = rest
                .split_once(part)
                .unwrap_or_else(|| panic!("no {part:?} in {line:?}"));
            found.push(before.to_owned());
            rest = after;
        }
        found.push(rest.to_owned());
        found
    }

    /// The address and the password that the last two lines show.
    fn way_in(&mut self) -> (String, String) {
        let address = self.line(["create, rotate and revoke tokens: http://", "/tokens"]);
        let password = self.line(["sign in with any user name and the password "]);
        (address[1].clone(), password[1].clone())
    }

    fn stop(mut self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.unwrap().success());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(address: &str, path: &str, token: Option<&str>) -> (u16, String) {
    ask(address, path, token.map(|token| format!("Bearer {token}")))
}

fn ask(address: &str, path: &str, credential: Option<String>) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let credential = credential.map(|credential| format!("Authorization: {credential}\r\n"));
    let credential = credential.unwrap_or_default();
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{credential}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn sign_in(address: &str, password: &str) -> (u16, String) {
    let basic = BASE64_STANDARD.encode(format!("anybody:{password}"));
    ask(address, "/tokens", Some(format!("Basic {basic}")))
}

#[test]
fn the_first_start_shows_a_token_that_attributes_requests_and_later_ones_how_to_sign_in() {
    let directory = TempDir::new().unwrap();
    let mut first = Quickstart::start(&directory);
    let hint = first.line([
        "try: curl -H 'Authorization: Bearer ",
        "' http://",
        "/whoami",
    ]);
    let (token, address) = (hint[1].clone(), hint[2].clone());
    let (shown, password) = first.way_in();
    assert_eq!(shown, address);
    let answer = (200, "app demo, token quickstart\n".to_owned());
    assert_eq!(get(&address, "/whoami", Some(&token)), answer);
    assert_eq!(get(&address, "/whoami", None).0, 401);
    assert_eq!(get(&address, "/whoami", Some("demo_wrong")).0, 401);
    let (status, page) = sign_in(&address, &password);
    assert_eq!(status, 200);
    assert!(page.contains("<bdi>quickstart</bdi>") && page.contains("<bdi>admin</bdi>"));
    assert!(!page.contains(&token) && !page.contains(&password));
    assert_eq!(sign_in(&address, &token).0, 403);
    assert_eq!(get(&address, "/tokens", None).0, 401);
    first.stop();

    let mut second = Quickstart::start(&directory);
    let (address, another) = second.way_in();
    assert_ne!(another, password);
    assert_eq!(get(&address, "/whoami", Some(&token)), answer);
    assert_eq!(sign_in(&address, &another).0, 200);
    assert_eq!(sign_in(&address, &password).0, 200);
    second.stop();
}

#[test]
fn what_is_wrong_with_the_settings_is_shown() {
    for (name, value, expected) in [
        (
            "DATABASE_URL",
            "postgres://u:Sup3r@localhost/x",
            "sqlite://PATH",
        ),
        (
            "DATABASE_URL",
            "sqlite:///no/such/directory/x.db",
            "no directory",
        ),
        ("LISTEN_ADDR", "nowhere", "LISTEN_ADDR=nowhere"),
    ] {
        let directory = TempDir::new().unwrap();
        let output = Command::new(PROGRAM)
            .current_dir(directory.path())
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env(name, value)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(shown.contains(expected), "{shown}");
        assert!(!shown.contains("Sup3r"), "{shown}");
    }
}
