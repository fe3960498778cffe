//! `serve` with TLS.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::Arc,
};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};

use crate::{
    remote::certificate,
    server::Server,
    support::{Cli, Run},
};

const FILES: [&str; 4] = [
    "--tls-certificate",
    "certificate.pem",
    "--tls-key",
    "key.pem",
];

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Starts a server with one TLS listener.
fn start(cli: &Cli, more: &[&str]) -> Server {
    let listen = [&["--listen-tls", "127.0.0.1:0"], &FILES[..], more].concat();
    Server::start_on(cli, &listen, 1)
}

fn read_certificate(cli: &Cli) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(cli.directory.path().join("certificate.pem")).unwrap()
}

/// Prepares a connection that trusts only this certificate.
fn connect(
    address: &str,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
    protocols: &[&[u8]],
) -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, TcpStream::connect(address).unwrap())
}

/// Sends a request, and returns the status.
fn verify(stream: &mut (impl Read + Write), token: &str) -> u16 {
    let request =
        format!("GET /verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    // The next response must begin after the body.
    let len = head.split("content-length: ").nth(1).unwrap();
    let len = len.split("\r\n").next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; len]).unwrap();
    head[9..12].parse().unwrap()
}

#[test]
fn listeners_with_and_without_tls_serve_the_same_tokens() {
    let cli = Cli::with_app();
    certificate(&cli);
    let trusted = read_certificate(&cli);
    let (token, _) = cli.issue("ci", &[]);
    let listen = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let tls = ["--listen-tls", "localhost:0"];
    let server = Server::start_on(&cli, &[&listen[..], &tls, &FILES].concat(), 3);
    for plain in &server.listening[..2] {
        let address = plain.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        assert_eq!(verify(&mut stream, &token), 200);
    }
    let address = server.listening[2].strip_prefix("https://").unwrap();
    for version in [&TLS12, &TLS13] {
        for (offered, chosen) in [
            (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
            (&[b"http/1.1"], Some(b"http/1.1")),
            (&[], None),
        ] {
            let mut stream = connect(address, &trusted, version, offered);
            stream.flush().unwrap();
            if chosen != Some(b"h2") {
                assert_eq!(verify(&mut stream, &token), 200);
            } else {
                // The settings of the server, with which HTTP/2 begins.
                let mut frame = [0; 9];
                stream
                    .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                    .unwrap();
                stream.read_exact(&mut frame).unwrap();
                assert_eq!(frame[3], 4);
            }
            assert_eq!(stream.conn.alpn_protocol(), chosen);
        }
    }
    server.stop("-TERM");
}

#[test]
fn without_a_plain_listener_only_tls_is_served() {
    let cli = Cli::with_app();
    certificate(&cli);
    let server = start(&cli, &[]);
    assert_eq!(server.listening.len(), 1);
    let dashboard = format!("Dashboard: https://{}/tokens", server.address);
    assert!(server.startup.contains(&dashboard), "{}", server.startup);
    // A client without TLS gets no response of HTTP.
    let mut plain = TcpStream::connect(&server.address).unwrap();
    plain.write_all(b"GET /verify HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(
        verify(
            &mut connect(&server.address, &read_certificate(&cli), &TLS13, &[]),
            "x"
        ),
        401
    );
}

/// Whether a new connection gets this certificate.
fn presents(server: &Server, certificate: &CertificateDer<'static>) -> bool {
    connect(&server.address, certificate, &TLS13, &[])
        .flush()
        .is_ok()
}

#[test]
fn sighup_reloads_the_certificate_and_loses_nothing() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    certificate(&cli);
    let first = read_certificate(&cli);
    let server = start(&cli, &[]);
    let mut open = connect(&server.address, &first, &TLS13, &[]);
    assert_eq!(verify(&mut open, &token), 200);
    certificate(&cli);
    let second = read_certificate(&cli);
    assert!(presents(&server, &first) && !presents(&server, &second));
    server.signal("-HUP");
    server.logs("Reloaded the TLS certificate");
    assert!(presents(&server, &second) && !presents(&server, &first));
    // Such as if the files are copies, and only the originals were replaced.
    server.signal("-HUP");
    server.logs("The TLS certificate has not changed");
    assert!(presents(&server, &second));
    assert_eq!(verify(&mut open, &token), 200);
    server.stop("-TERM");
}

#[test]
fn a_certificate_that_cannot_be_used_does_not_replace_the_one_in_use() {
    let cli = Cli::with_app();
    certificate(&cli);
    let first = read_certificate(&cli);
    let server = start(&cli, &[]);
    let path = |name: &str| cli.directory.path().join(name);
    let key = fs::read(path("key.pem")).unwrap();
    certificate(&cli);
    let second = read_certificate(&cli);
    let good = fs::read(path("key.pem")).unwrap();
    for (broken, reason) in [
        (&key[..], "does not belong to the first certificate"),
        (b"", "no private key"),
        (&good[..40], "not a valid PEM file"),
    ] {
        fs::write(path("key.pem"), broken).unwrap();
        server.signal("-HUP");
        let logged = server.logs("the TLS certificate was not reloaded");
        assert!(
            logged.contains("ERROR") && logged.contains(reason),
            "{logged}"
        );
        assert!(presents(&server, &first) && !presents(&server, &second));
    }
    // Nothing has to be restarted.
    fs::write(path("key.pem"), good).unwrap();
    server.signal("-HUP");
    server.logs("Reloaded the TLS certificate");
    assert!(presents(&server, &second));
    server.stop("-TERM");
}

#[test]
fn a_file_that_cannot_be_read_now_does_not_delay_the_end() {
    let cli = Cli::with_app();
    certificate(&cli);
    let server = start(&cli, &[]);
    let key = cli.directory.path().join("key.pem");
    fs::remove_file(&key).unwrap();
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    server.signal("-HUP");
    // It opens as soon as the server reads, and then the server waits for what is written.
    let _pipe = fs::OpenOptions::new().write(true).open(&key).unwrap();
    assert!(presents(&server, &read_certificate(&cli)));
    server.signal("-TERM");
    server.logs("Shutting down");
    server.ends();
}

fn openssl(cli: &Cli, command: &str) {
    let run = Command::new("openssl")
        .args(command.split(' '))
        .current_dir(cli.directory.path())
        .output();
    let run = Run::from(run.unwrap());
    assert_eq!(run.code, 0, "{command}: {run:?}");
}

#[test]
fn keys_of_every_usual_kind_are_accepted() {
    let cli = Cli::with_app();
    certificate(&cli);
    for (make, convert) in [
        ("rsa:2048", "pkey -in new.pem -traditional -out key.pem"),
        ("rsa:2048", "pkey -in new.pem -out key.pem"),
        ("ed25519", "pkey -in new.pem -out key.pem"),
        (
            "ec -pkeyopt ec_paramgen_curve:secp384r1",
            "ec -in new.pem -out key.pem",
        ),
    ] {
        openssl(
            &cli,
            &format!(
                "req -x509 -newkey {make} -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout new.pem -out certificate.pem"
            ),
        );
        openssl(&cli, convert);
        let server = start(&cli, &[]);
        assert!(presents(&server, &read_certificate(&cli)), "{make}");
    }
}

#[test]
fn files_that_cannot_be_used_are_reported_at_startup() {
    let cli = Cli::with_app();
    certificate(&cli);
    let path = |name: &str| cli.directory.path().join(name);
    fs::rename(path("key.pem"), path("other.pem")).unwrap();
    certificate(&cli);
    openssl(
        &cli,
        "pkey -in key.pem -aes256 -passout pass:x -out encrypted.pem",
    );
    openssl(
        &cli,
        "req -new -key key.pem -subj /CN=localhost -out request.pem",
    );
    openssl(
        &cli,
        "x509 -req -in request.pem -signkey key.pem -out version1.pem",
    );
    fs::copy(path("key.pem"), path("open.pem")).unwrap();
    fs::set_permissions(path("open.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path("empty.pem"), "").unwrap();
    fs::set_permissions(path("empty.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path("cut.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    for (certificate, key, expected) in [
        (
            "certificate.pem",
            "other.pem",
            "does not belong to the first certificate in `certificate.pem`",
        ),
        ("certificate.pem", "open.pem", "run `chmod 600 open.pem`"),
        (
            "certificate.pem",
            "encrypted.pem",
            "decrypt it with `openssl pkey -in encrypted.pem`",
        ),
        (
            "certificate.pem",
            "empty.pem",
            "no private key in `empty.pem`",
        ),
        ("certificate.pem", "certificate.pem", "other users can read"),
        (
            "certificate.pem",
            "missing.pem",
            "cannot read the private key from `missing.pem`",
        ),
        ("empty.pem", "key.pem", "no certificate in `empty.pem`"),
        ("key.pem", "key.pem", "no certificate in `key.pem`"),
        ("cut.pem", "key.pem", "`cut.pem` is not a valid PEM file"),
        (
            "version1.pem",
            "key.pem",
            "not a valid X.509 certificate of version 3",
        ),
        (
            "missing.pem",
            "key.pem",
            "cannot read the certificate from `missing.pem`",
        ),
    ] {
        let files = ["--tls-certificate", certificate, "--tls-key", key];
        let listen = ["serve", "--listen-tls", "127.0.0.1:0"];
        for check in [&[][..], &["--check"]] {
            let message = cli.run(&[&listen, &files[..], check].concat()).failed(2);
            assert!(message.contains(expected), "{message}");
        }
    }
    for (options, missing) in [
        (&["--listen-tls", "127.0.0.1:0"][..], "--tls-certificate"),
        (
            &[
                "--listen-tls",
                "127.0.0.1:0",
                "--tls-certificate",
                "certificate.pem",
            ],
            "--tls-key",
        ),
        (&FILES, "--listen-tls"),
    ] {
        let message = cli.run(&[&["serve"], options].concat()).failed(2);
        assert!(message.contains(missing), "{message}");
    }
    // No token was issued.
    assert!(
        cli.run(&["token", "list", "--json"])
            .json_lines()
            .is_empty()
    );
}

/// A configuration with which `openssl ca` signs certificates of any dates.
const CA: &str = "
[ca]
default_ca = test
[test]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = names
x509_extensions = extensions
[names]
commonName = supplied
[extensions]
subjectAltName = DNS:localhost
basicConstraints = critical,CA:FALSE
";

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let cli = Cli::with_app();
    certificate(&cli);
    let write = |name: &str, text: &str| fs::write(cli.directory.path().join(name), text).unwrap();
    write("ca.cnf", CA);
    write("index.txt", "");
    write("serial", "01");
    openssl(
        &cli,
        "req -new -key key.pem -subj /CN=localhost -out request.pem",
    );
    openssl(
        &cli,
        "ca -batch -notext -config ca.cnf -selfsign -keyfile key.pem -in request.pem -out certificate.pem -startdate 20200101000000Z -enddate 20200201000000Z",
    );
    let server = start(&cli, &[]);
    let startup = &server.startup;
    assert!(
        startup.contains("WARN") && startup.contains("expired 2,") && startup.contains("days ago"),
        "{startup}"
    );
    // The certificate can be replaced without a restart.
    certificate(&cli);
    server.signal("-HUP");
    server.logs("Reloaded the TLS certificate");
    assert!(presents(&server, &read_certificate(&cli)));
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let cli = Cli::with_app();
    certificate(&cli);
    let server = start(&cli, &["--tls-handshake-timeout", "100ms"]);
    for sent in [&b""[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(sent).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "{sent:?}");
    }
}

#[test]
fn connections_without_a_handshake_do_not_block_others() {
    let cli = Cli::with_app();
    certificate(&cli);
    let trusted = read_certificate(&cli);
    let server = start(
        &cli,
        &["--max-connections", "8", "--tls-handshake-timeout", "1h"],
    );
    let _silent: Vec<_> = (0..30)
        .map(|_| TcpStream::connect(&server.address).unwrap())
        .collect();
    let mut stream = connect(&server.address, &trusted, &TLS13, &[]);
    assert_eq!(verify(&mut stream, "x"), 401);
    server.stop("-TERM");
}
