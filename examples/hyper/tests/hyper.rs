//! The example on hyper alone, run as a newcomer would.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

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

#[test]
fn a_service_on_hyper_alone_greets_the_attributed_app() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_example-hyper"))
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut hint = String::new();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    output.read_line(&mut hint).unwrap();
    let after = |start: &str| hint.split(start).nth(1).unwrap();
    let token = after("Bearer ").split('\'').next().unwrap();
    let address = after("http://").trim_end_matches("/\n");
    let greeted = get(address, "/", Some(token));
    let refused = get(address, "/", None);
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(greeted, (200, "hello, Billing\n".to_owned()));
    assert_eq!(refused.0, 401);
}
