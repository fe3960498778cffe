//! Commands through a server: the connection, its token, and what differs from a store.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::Arc,
    thread,
};

use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{
    server::{Remote, Server, TOKEN_FILE},
    support::{Cli, Run},
};

const UNKNOWN: &str = "01a21555-0408-763c-92e4-2eee2dcedfec";

const STALE: &str = "00000000000000000000000000000001";

/// Runs a command on the store of a server.
fn on_store(remote: &Remote, arguments: &[&str]) -> Run {
    remote.on_store(arguments).output().unwrap().into()
}

/// Removes the revision, which differs after each change.
fn without_revision(output: &str) -> String {
    match output.split_once(",\"revision\":\"") {
        Some((before, after)) => format!("{before}{}", after.split_once('"').unwrap().1),
        None => output.to_owned(),
    }
}

#[test]
fn a_server_and_its_store_get_the_same_output() {
    let cli = Remote::with_app();
    cli.run(&["app", "create", "Twin", "--id", "first"]).done();
    cli.run(&["app", "create", "Twin", "--id", "second"]).done();
    cli.run(&["app", "disable", "second"]).done();
    let (_, live) = cli.issue("export of \"ä\" & more", &["--scope", "a:read,b:write"]);
    let (_, rotated) = cli.issue("ci", &["--expires", "never"]);
    let (_, revoked) = cli.issue("old", &[]);
    cli.run(&["token", "rotate", &rotated]).done();
    cli.run(&["token", "revoke", &revoked, "--yes"]).done();
    let long = "x".repeat(101);
    for arguments in [
        &["app", "list"][..],
        &["app", "show", "Billing"],
        &["app", "show", "second"],
        &["app", "show", "Twin"],
        &["app", "show", "nobody"],
        &["app", "show", "id:"],
        &["app", "create", "x", "--id", "billing"],
        &["app", "create", ""],
        &["app", "create", &long],
        &["app", "disable", "nobody"],
        &["app", "disable", "second"],
        &["token", "list"],
        &["token", "list", "--app", "Billing"],
        &["token", "list", "--app", "second"],
        &["token", "list", "--status", "active"],
        &["token", "list", "--status", "app_disabled"],
        &["token", "list", "--name", "\"ä\" & m"],
        &["token", "list", "--name", ""],
        &["token", "list", "--name", "a\nb"],
        &["token", "list", "--name", &long],
        &["token", "list", "--limit", "2"],
        &["token", "show", &live],
        &["token", "show", &rotated],
        &["token", "show", &revoked],
        &["token", "show", UNKNOWN],
        &["token", "rename", &live, " "],
        &["token", "rename", UNKNOWN, "x"],
        &["token", "rotate", &rotated],
        &["token", "rotate", &revoked],
        &["token", "rotate", UNKNOWN],
        &["token", "rotate", &live, "--overlap", "31d"],
        &["token", "revoke", &revoked, "--yes"],
        &["token", "revoke", UNKNOWN, "--yes"],
        &["token", "revoke", &live],
        &["token", "issue", "--app", "second", "--name", "x"],
        &["token", "issue", "--app", "billing", "--name", ""],
        &[
            "token",
            "issue",
            "--app",
            "billing",
            "--name",
            "x",
            "--expires",
            "0s",
        ],
        &[
            "token",
            "issue",
            "--app",
            "billing",
            "--name",
            "x",
            "--format",
            "acme_test",
        ],
        &["app", "rename", "Billing", " "],
        &["app", "edit", "Billing", "--metadata", "a=b"],
        &["app", "delete", "Billing", "--yes"],
        &["app", "delete", "nobody", "--yes"],
        &["token", "edit", &live, "--name", " "],
        &["token", "edit", &live, "--expires", "0s"],
        &["token", "edit", &live, "--network", "10.0.0.0/8"],
        &["token", "edit", &live, "--name", "x", "--if-version", STALE],
        &["token", "edit", &revoked, "--no-scopes"],
        &["token", "edit", UNKNOWN, "--name", "x"],
        &["token", "suspend", &revoked],
        &["token", "resume", &live],
        &["token", "resume", UNKNOWN],
        &["policy", "show"],
        &["policy", "set", "--any-scope"],
        &["policy", "set", "--any-scope", "--if-version", STALE],
        &["events", "--after", "latest"],
        &["events", "--token", UNKNOWN],
        &["events", "--app", "nobody"],
    ] {
        for json in [&[][..], &["--json"]] {
            let arguments = [arguments, json].concat();
            let [remote, local] = [cli.run(&arguments), on_store(&cli, &arguments)];
            assert_eq!(
                (remote.code, without_revision(&remote.out), &remote.err),
                (local.code, without_revision(&local.out), &local.err),
                "{arguments:?}"
            );
        }
    }
    // Refused attempts leave events, by different actors, so this comes last and compares the first.
    for arguments in [&["events"][..], &["events", "--app", "Billing", "--json"]] {
        assert_eq!(cli.run(arguments).done(), on_store(&cli, arguments).done());
    }
}

#[test]
fn the_server_determines_the_formats() {
    let prefixes = ["--prefix", "live=acme_live,test=acme_test"];
    let cli = Remote::start(Cli::with_app(), &prefixes);
    for (format, prefix, label) in [
        (&[][..], "acme_live_", "live"),
        (&["--format", "test"], "acme_test_", "test"),
    ] {
        let (token, id) = cli.issue("ci", format);
        assert!(token.starts_with(prefix));
        let shown = cli.run(&["token", "show", &id]).done();
        let last = shown.lines().last().unwrap();
        assert!(last.split_whitespace().eq(["format", label]), "{shown}");
    }
}

#[test]
fn the_actor_of_a_change_is_the_token() {
    let cli = Remote::with_app();
    let (_, id) = cli.issue("ci", &[]);
    let event = cli.run(&["events", "--token", &id, "--json"]).json();
    let admin = &cli.run(&["token", "list", "--app", "api-tokens-admin", "--json"]);
    let admin: serde_json::Value = serde_json::from_str(&admin.out).unwrap();
    let actor = format!("token:{}", admin["id"].as_str().unwrap());
    assert_eq!(event["actor"], actor.as_str());
}

#[test]
fn long_listings_are_read_page_by_page() {
    let cli = Remote::with_app();
    let line = |number: u32| {
        let digest = tower_api_tokens::TokenDigest::of(&number.to_be_bytes()).to_hex();
        format!(r#"{{"token":{{"app":"billing","digest":"{digest}"}}}}"#) + "\n"
    };
    let path = cli.directory.path().join("lines");
    fs::write(&path, (0..1_500).map(line).collect::<String>()).unwrap();
    let mut import = cli.on_store(&["import"]);
    let import = import.stdin(fs::File::open(path).unwrap()).output();
    Run::from(import.unwrap()).done();
    let list = |more: &[&str]| {
        let list = ["token", "list", "--app", "billing", "--json"];
        cli.run(&[&list[..], more].concat()).json_lines()
    };
    let tokens = list(&[]);
    let ids: std::collections::BTreeSet<_> =
        tokens.iter().map(|token| token["id"].to_string()).collect();
    assert_eq!((tokens.len(), ids.len()), (1_500, 1_500));
    assert_eq!(list(&["--limit", "1200"]), tokens[..1_200]);
}

#[test]
fn commands_that_need_the_store_name_the_fix() {
    let cli = Remote::with_app();
    for arguments in [
        &["import"][..],
        &["export"],
        &["token", "purge", "--before", "1d"],
        &["token", "purge", "--before", "1d", "--yes"],
        &["bench"],
        &["backup", "file"],
        &["restore", "file", "--yes"],
        &["cache", "clear"],
        &["serve"],
        &["verify"],
    ] {
        let message = cli.run(arguments).failed(2);
        assert!(message.contains("`--store URL`"), "{message}");
    }
}

#[test]
fn read_only_commands_write_nothing_through_a_server_either() {
    let cli = Remote::with_app();
    cli.run(&["app", "list", "--read-only"]).done();
    let message = cli.run(&["app", "disable", "billing", "--read-only"]);
    assert!(message.failed(2).contains("leave out `--read-only`"));
}

#[test]
fn an_option_takes_precedence_over_the_other_variable() {
    let cli = Remote::with_app();
    let url = cli.server.clone().unwrap();
    let run = |arguments: &[&str], store: &str, server: &str| {
        let mut command = cli.command(&[&["app", "show", "billing"], arguments].concat());
        command.env_remove("API_TOKENS_SERVER");
        for (name, value) in [("API_TOKENS_STORE", store), ("API_TOKENS_SERVER", server)] {
            if !value.is_empty() {
                command.env(name, value);
            }
        }
        Run::from(command.output().unwrap())
    };
    let missing = "sqlite://missing.db";
    run(&["--server", &url], missing, "").done();
    run(&["--store", &cli.store], "", "http://127.0.0.1:1").done();
    run(&[], &cli.store, "").done();
    run(&[], "", &url).done();
    let both = run(&[], &cli.store, &url).failed(2);
    assert!(both.contains("unset one"), "{both}");
    let both = run(&["--store", &cli.store, "--server", &url], "", "").failed(2);
    assert!(both.contains("pass one"), "{both}");
    // An empty option usually comes from an unset variable.
    run(&["--store", ""], "", &url).failed(2);
    run(&["--server", ""], &cli.store, "").failed(2);
}

#[test]
fn the_token_comes_from_the_environment_or_a_private_file() {
    let cli = Remote::with_app();
    let path = cli.directory.path().join(TOKEN_FILE);
    let token = fs::read_to_string(&path).unwrap();
    let run = |variable: &str, arguments: &[&str]| {
        let mut command = cli.command(&[&["app", "list"], arguments].concat());
        command.env_remove("API_TOKENS_TOKEN_FILE");
        command.env("API_TOKENS_TOKEN", variable);
        Run::from(command.output().unwrap())
    };
    run(token.trim(), &[]).done();
    run("ignored", &["--token-file", TOKEN_FILE]).done();
    let message = run("", &[]).failed(2);
    assert!(message.contains("API_TOKENS_TOKEN"), "{message}");
    assert!(message.contains("--token-file"), "{message}");
    run("two words", &[]).failed(2);
    let message = run("", &["--token-file", "missing"]).failed(2);
    assert!(message.contains("`missing`"), "{message}");
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let message = run("", &["--token-file", TOKEN_FILE]).failed(2);
        assert!(message.contains("chmod 600"), "{message}");
    }
    let message = cli.run(&["app", "list", "--token", token.trim()]).failed(2);
    assert!(!message.contains(token.trim()), "{message}");
}

#[test]
fn a_token_without_the_right_to_manage_is_refused() {
    let cli = Remote::with_app();
    let (token, id) = cli.issue("ci", &[]);
    let list = || {
        let mut command = cli.command(&["app", "list"]);
        command.env_remove("API_TOKENS_TOKEN_FILE");
        Run::from(command.env("API_TOKENS_TOKEN", &token).output().unwrap())
    };
    list().failed(4);
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    let message = list().failed(4);
    assert!(message.contains("does not accept the token"), "{message}");
    assert!(message.contains("tokens:admin"), "{message}");
    assert!(!message.contains(&token), "{message}");
}

#[test]
fn the_token_is_sent_only_over_tls_or_within_this_machine() {
    let cli = Cli::with_app();
    for (url, hint) in [
        ("http://tokens.example", "https"),
        ("http://192.0.2.1:8080", "https"),
        ("tokens.example", "https"),
        ("https://ada:hunter2@tokens.example", "API_TOKENS_TOKEN"),
    ] {
        let mut list = cli.command(&["app", "list", "--server", url]);
        let run = Run::from(list.env("API_TOKENS_TOKEN", "x").output().unwrap());
        let message = run.failed(2);
        assert!(message.contains(hint), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

/// Answers every connection with these bytes, and returns the address.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_message(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

/// Reads one HTTP message, and returns its bytes.
fn read_message(stream: &mut impl Read) -> Vec<u8> {
    let mut message = Vec::new();
    let mut byte = [0];
    while !message.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        message.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&message).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    message.extend(body);
    message
}

#[test]
fn other_servers_are_reported_with_what_to_do() {
    let cli = Cli::with_app();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let verify_only = Server::start(&cli, &["--verify-only"]);
    for (address, code, hint) in [
        (closed.unwrap(), 1, "cannot connect"),
        (verify_only.address.parse().unwrap(), 1, "--verify-only"),
        (
            answering(
                "HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n",
            ),
            2,
            "redirects to `https://evil.example/`",
        ),
        (
            answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
            1,
            "unexpected response",
        ),
        (
            answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno"),
            1,
            "502",
        ),
        (answering("SSH-2.0-OpenSSH\r\n"), 1, "no response"),
        (answering(""), 1, "no response"),
    ] {
        let url = format!("http://{address}");
        let mut list = cli.command(&["app", "list", "--server", &url]);
        let run = Run::from(list.env("API_TOKENS_TOKEN", "x").output().unwrap());
        let message = run.failed(code);
        assert!(message.contains(hint), "{message}");
        assert!(message.contains(&url), "{message}");
    }
}

/// Forwards requests to a server, one on each connection. Drops the answer to the first request for
/// `path` that the server has processed.
fn losing_one_answer(server: &str, path: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.strip_prefix("http://").unwrap().to_owned();
    thread::spawn(move || {
        let mut lost = false;
        for stream in listener.incoming() {
            let mut client = stream.unwrap();
            let request = read_message(&mut client);
            let mut upstream = TcpStream::connect(&server).unwrap();
            upstream.write_all(&request).unwrap();
            let answer = read_message(&mut upstream);
            let head = String::from_utf8_lossy(&request).into_owned();
            if head.starts_with("POST") && head.contains(path) && !lost {
                lost = true;
                continue;
            }
            client.write_all(&answer).unwrap();
        }
    });
    address
}

fn through(cli: &Cli, proxy: SocketAddr, arguments: &[&str]) -> Run {
    let url = format!("http://{proxy}");
    cli.run(&[arguments, &["--server", &url]].concat())
}

#[test]
fn a_token_whose_text_was_lost_is_revoked_and_issued_again() {
    let cli = Remote::with_app();
    let proxy = losing_one_answer(cli.server.as_deref().unwrap(), "/api/tokens ");
    let issue = ["token", "issue", "--app", "billing", "--name", "ci"];
    let token = through(&cli, proxy, &issue).done();
    cli.verify(&token).done();
    let list = ["token", "list", "--app", "billing", "--json"];
    let tokens = cli.run(&list).json_lines();
    let statuses: Vec<_> = tokens.iter().map(|token| &token["status"]).collect();
    assert_eq!(statuses, ["live", "revoked"]);
}

#[test]
fn a_successor_whose_text_was_lost_is_replaced() {
    let cli = Remote::with_app();
    let (old, id) = cli.issue("ci", &[]);
    let proxy = losing_one_answer(cli.server.as_deref().unwrap(), "/rotate ");
    let token = through(&cli, proxy, &["token", "rotate", &id]).done();
    cli.verify(&token).done();
    cli.verify(&old).done();
    let list = ["token", "list", "--app", "billing", "--json"];
    let tokens = cli.run(&list).json_lines();
    let statuses: Vec<_> = tokens.iter().map(|token| &token["status"]).collect();
    assert_eq!(statuses, ["live", "expired", "live"]);
}

#[test]
fn a_change_without_an_answer_is_reported_as_uncertain() {
    let cli = Remote::with_app();
    let (token, id) = cli.issue("ci", &[]);
    let proxy = losing_one_answer(cli.server.as_deref().unwrap(), "/revoke ");
    let revoke = ["token", "revoke", &id, "--yes"];
    let message = through(&cli, proxy, &revoke).failed(1);
    assert!(message.contains("may or may not be revoked"), "{message}");
    cli.verify(&token).failed(4);
}

/// Creates a certificate for `localhost` with `openssl`: `certificate.pem` and `key.pem`.
pub(crate) fn certificate(cli: &Cli) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(cli.directory.path())
        .output();
    assert!(
        made.as_ref().is_ok_and(|made| made.status.success()),
        "{made:?}"
    );
}

/// Terminates TLS in front of a server.
fn with_tls(cli: &Cli, server: &str) -> u16 {
    let file = |name: &str| cli.directory.path().join(name);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(file("certificate.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(file("key.pem")).unwrap(),
        );
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = server.strip_prefix("http://").unwrap().to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut client = StreamOwned::new(connection, stream.unwrap());
            let mut byte = [0];
            // A client that does not trust the certificate ends the handshake.
            let Ok(1) = client.read(&mut byte) else {
                continue;
            };
            let request = read_message(&mut byte.chain(&mut client));
            let mut upstream = TcpStream::connect(&server).unwrap();
            upstream.write_all(&request).unwrap();
            let answer = read_message(&mut upstream);
            client.write_all(&answer).unwrap();
            client.conn.send_close_notify();
            let _ = client.flush();
        }
    });
    port
}

#[test]
fn a_server_with_tls_needs_a_trusted_certificate() {
    let cli = Remote::with_app();
    certificate(&cli);
    let port = with_tls(&cli, cli.server.as_deref().unwrap());
    let list = |host: &str, trusted: &str| {
        let url = format!("https://{host}:{port}");
        let mut list = cli.command(&["app", "show", "billing", "--json", "--server", &url]);
        Run::from(list.env("SSL_CERT_FILE", trusted).output().unwrap())
    };
    assert_eq!(list("localhost", "certificate.pem").json()["id"], "billing");
    // The certificate is for another name.
    let message = list("127.0.0.1", "certificate.pem").failed(1);
    assert!(message.contains("certificate"), "{message}");
    fs::write(cli.directory.path().join("none.pem"), "").unwrap();
    let message = list("localhost", "none.pem").failed(1);
    assert!(message.contains("SSL_CERT_FILE"), "{message}");
    fs::rename(
        cli.directory.path().join("certificate.pem"),
        cli.directory.path().join("of-the-server.pem"),
    )
    .unwrap();
    certificate(&cli);
    let message = list("localhost", "certificate.pem").failed(1);
    assert!(message.contains("certificate"), "{message}");
    let mut lines = BufReader::new(fs::File::open(cli.directory.path().join(TOKEN_FILE)).unwrap());
    let mut token = String::new();
    lines.read_line(&mut token).unwrap();
    assert!(!message.contains(token.trim()), "{message}");
}

#[test]
fn events_are_followed_across_a_restart_of_the_server() {
    let mut cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let address = server.address.clone();
    cli.server = Some(format!("http://{address}"));
    let (_, id) = cli.issue("ci", &[]);
    let mut follower = cli
        .command(&["events", "--follow", "--after", "oldest"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    while next()["token_id"] != id.as_str() {}
    drop(server);
    let rename = ["token", "rename", &id, "nightly export"];
    Run::from(cli.on_store(&rename).output().unwrap()).done();
    let _restarted = Server::run(&cli, cli.on_store(&["serve", "--listen", &address]));
    assert_eq!(next()["action"], "token.rename");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn a_server_that_was_never_reached_is_not_waited_for() {
    let mut cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    cli.server = Some(format!("http://{}", server.address));
    drop(server);
    let message = cli.run(&["events", "--follow"]).failed(1);
    assert!(message.contains("cannot connect"), "{message}");
}
