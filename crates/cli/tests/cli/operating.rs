//! The log, health and metrics of `serve`.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::Command,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    server::{Server, eventually},
    serving::{break_the_store, repair_the_store},
    support::Cli,
};

/// Stops a server, and returns everything that it logged.
fn stopped(mut server: Server) -> String {
    let startup = std::mem::take(&mut server.startup);
    let log = server.log.take().unwrap();
    assert_eq!(server.stop("-TERM"), "");
    startup + &log.join().unwrap()
}

/// The address of the listener for operators.
fn operations(server: &Server) -> String {
    let (_, rest) = server
        .startup
        .split_once("Health and metrics on http://")
        .unwrap();
    rest.split(['\n', '"']).next().unwrap().to_owned()
}

/// Sends a GET request to an address, and returns the status and the body.
fn get_at(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (answer[9..12].parse().unwrap(), body.to_owned())
}

const OPERATIONS: [&str; 2] = ["--operations-listen", "127.0.0.1:0"];

/// The events about requests in a log of JSON.
fn requests(log: &str) -> Vec<Value> {
    let events = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    events
        .filter(|event: &Value| event["target"] == "api_tokens::access")
        .collect()
}

#[test]
fn each_request_is_logged_with_its_route_status_client_app_and_token() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &["--scope", "a"]);
    let json = ["--access-log", "--log-format", "json"];
    let server = Server::start(&cli, &json);
    let admin = server.first_token();
    assert_eq!(server.get_as("/verify/scope/a/orders?x=1", &token).0, 200);
    assert_eq!(server.get("/verify?scope=a", "").0, 401);
    assert_eq!(
        server.get_as(&format!("/api/tokens/{id}?x=1"), &admin).0,
        400
    );
    assert_eq!(server.get_as("/tokens/apps", &admin).0, 200);
    assert_eq!(server.get("/nowhere", "").0, 404);
    let events = requests(&stopped(server));
    let shown = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        (
            text("method"),
            text("route"),
            event["status"].as_u64().unwrap(),
        )
    };
    let expected = [
        ("/verify/{*rest}", 200),
        ("/verify", 401),
        ("/api/tokens/{token}", 400),
        ("/tokens/apps", 200),
        ("other", 404),
    ];
    let expected = expected.map(|(route, status)| ("GET".to_owned(), route.to_owned(), status));
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), expected);
    let of_token = &events[0]["span"];
    assert_eq!(
        (&of_token["app.id"], &of_token["token.id"]),
        (&"billing".into(), &(&*id).into())
    );
    assert_eq!(events[1]["span"]["app.id"], Value::Null);
    assert_eq!(events[2]["span"]["app.id"], "api-tokens-admin");
    for event in &events {
        assert_eq!(event["client"], "127.0.0.1", "{event}");
        assert_eq!(event["level"], "INFO", "{event}");
        assert!(event["duration_us"].is_u64(), "{event}");
        assert!(!event.to_string().contains("x=1"), "{event}");
    }
}

#[test]
fn a_text_log_has_a_line_for_each_request() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    for (more, level, expected) in [
        (&["--access-log"][..], "", 1),
        // The levels are those of everything else.
        (&["--access-log"], "error", 1),
        (&[], "", 0),
        (&[], "trace", 0),
    ] {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], more].concat();
        let mut command = cli.command(&arguments);
        command.env("RUST_LOG", level);
        let server = Server::run(&cli, command);
        assert_eq!(server.get_as("/verify", &token).0, 200);
        let log = stopped(server);
        let is_request = |line: &&str| line.contains("api_tokens::access");
        let lines: Vec<_> = log.lines().filter(is_request).collect();
        assert_eq!(lines.len(), expected, "{more:?} {level}: {log}");
        if let [line] = *lines {
            assert!(line.contains("route=\"/verify\" status=200"), "{line}");
            assert!(line.contains("app.id=\"billing\""), "{line}");
        }
    }
}

#[test]
fn every_line_of_a_json_log_is_json() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--log-format", "json", "--max-staleness", "200ms"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(break_the_store(&cli));
    eventually("a lookup fails", || {
        server
            .get_as(
                "/verify",
                "acme_live_0000000000000000000000000000000025vYwd",
            )
            .0
            != 200
    });
    let mut server = server;
    server.process.kill().unwrap();
    let log = server.log.take().unwrap().join().unwrap();
    let lines: Vec<Value> = (server.startup.clone() + &log)
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let says = |message: &str| {
        let mut messages = lines.iter().filter_map(|line| line["message"].as_str());
        messages.any(|said| said.starts_with(message))
    };
    assert!(says("Listening on http://127.0.0.1:"), "{lines:?}");
    assert!(
        says("Wrote the first administrator's token to"),
        "{lines:?}"
    );
}

#[test]
fn identifiers_of_requests_are_those_of_trusted_proxies() {
    let cli = Cli::with_app();
    let fields = "X-Request-Id: abc-1\r\nX-Forwarded-For: 192.0.2.7\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let options = [
        "--access-log",
        "--log-format",
        "json",
        "--client-address-header",
        "x-forwarded-for",
    ];
    for (trusted, client, request, trace) in [
        (
            "127.0.0.1",
            "192.0.2.7",
            Value::from("abc-1"),
            Value::from("4bf92f3577b34da6a3ce929d0e0e4736"),
        ),
        ("10.0.0.1", "127.0.0.1", Value::Null, Value::Null),
    ] {
        let server = Server::start(
            &cli,
            &[&options[..], &["--trusted-proxy", trusted]].concat(),
        );
        server.get("/verify", fields);
        let events = requests(&stopped(server));
        let event = &events[0];
        assert_eq!(event["client"], client, "{event}");
        assert_eq!(
            (&event["request.id"], &event["trace.id"]),
            (&request, &trace),
            "{event}"
        );
    }
}

/// What would reveal a token: its text, in parts and encoded, and its digest.
fn traces(token: &str) -> Vec<String> {
    let digest = Command::new("sh")
        .args(["-c", "printf %s \"$0\" | sha256sum | cut -c1-64", token])
        .output()
        .unwrap();
    let digest = String::from_utf8(digest.stdout).unwrap().trim().to_owned();
    let bytes: Vec<u8> = (0..32)
        .map(|n| u8::from_str_radix(&digest[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    let secret = token.rsplit('_').next().unwrap();
    vec![
        secret.to_owned(),
        secret[..16].to_owned(),
        STANDARD.encode(format!("x:{token}")),
        STANDARD.encode(token)[..40].to_owned(),
        STANDARD.encode(&bytes),
        digest.to_uppercase(),
        format!("{bytes:?}"),
        digest,
    ]
}

#[test]
fn no_output_of_any_endpoint_has_a_token() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &["--scope", "tokens:introspect"]);
    let (revoked, _) = cli.issue("old", &[]);
    for format in ["text", "json"] {
        let arguments = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--access-log",
            "--log-format",
            format,
            "--client-address-header",
            "x-forwarded-for",
            "--trusted-proxy",
            "127.0.0.1",
            "--admin-token-file",
            &format!("{format}-token"),
            OPERATIONS[0],
            OPERATIONS[1],
        ];
        let mut command = cli.command(&arguments);
        command.env("RUST_LOG", "trace");
        let server = Server::run(&cli, command);
        let operations = operations(&server);
        let path = cli.directory.path().join("text-token");
        let admin = fs::read_to_string(path).unwrap().trim().to_owned();
        let tokens = [&token, &revoked, &admin];
        for token in tokens {
            let basic = STANDARD.encode(format!("x:{token}"));
            let upper = token.to_uppercase();
            let form = format!("token={token}&client_ip=1.2.3.4");
            let credentials = [
                String::new(),
                format!("Authorization: Bearer {token}\r\n"),
                format!("Authorization: Bearer {token} {token}\r\n"),
                format!("Authorization: Basic {basic}\r\n"),
                format!(
                    "X-Api-Key: {token}\r\nX-Request-Id: {token}\r\nX-Forwarded-For: {token}\r\n"
                ),
                format!(
                    "traceparent: 00-{token}-a-b\r\nUser-Agent: {token}\r\nCookie: a={token}\r\nReferer: http://a/?t={token}\r\n"
                ),
            ];
            for credential in &credentials {
                for path in [
                    "/verify".to_owned(),
                    format!("/verify?scope={token}"),
                    format!("/verify?token={token}"),
                    format!("/verify/any/{token}"),
                    format!("/verify/scope/{token}/x"),
                    format!("/{token}"),
                    format!("/api/tokens/{token}"),
                    format!("/api/apps/{token}?name={token}"),
                    format!("/api/tokens?name={token}&cursor={token}"),
                    format!("/api/{token}"),
                    format!("/tokens/token/{token}"),
                    format!("/tokens?name={token}"),
                    "/tokens/find".to_owned(),
                    format!("/tokens/{token}"),
                    "/introspect".to_owned(),
                    format!("/revoke?token={token}"),
                ] {
                    server.get(&path, credential);
                }
                for path in [
                    "/introspect",
                    "/revoke",
                    "/tokens/find",
                    "/api/tokens/search",
                ] {
                    let length = form.len();
                    let content = if path.starts_with("/api") {
                        "application/json"
                    } else {
                        "application/x-www-form-urlencoded"
                    };
                    // Revoking would end the test of what is accepted.
                    let method = if path == "/revoke" && **token != *revoked {
                        "PUT"
                    } else {
                        "POST"
                    };
                    let fields = format!(
                        "{credential}Content-Type: {content}\r\nContent-Length: {length}\r\n\r\n{form}"
                    );
                    server.send(method, path, &fields);
                }
                get_at(&operations, &format!("/{token}?x={token}"));
            }
            // A method and a head that are made up.
            let mut stream = TcpStream::connect(&server.address).unwrap();
            write!(stream, "{upper} /verify HTTP/1.1\r\n{token}\r\n\r\n").unwrap();
            let _ = stream.read_to_string(&mut String::new());
        }
        assert_eq!(server.get_as("/verify", &token).0, 200);
        let metrics = get_at(&operations, "/metrics").1;
        assert!(
            !metrics.contains(&id) && !metrics.contains("billing"),
            "{metrics}"
        );
        let log = stopped(server);
        assert!(log.lines().count() > 200, "{log}");
        let is_control = |c: char| c.is_control() && c != '\n';
        assert!(!log.contains(is_control), "{log}");
        for token in tokens {
            for trace in traces(token) {
                let found = log.lines().find(|line| line.contains(&trace));
                assert!(found.is_none(), "{trace}: {found:?}");
                let found = log
                    .lines()
                    .find(|line| line.to_uppercase().contains(&trace.to_uppercase()));
                assert!(found.is_none(), "{trace}: {found:?}");
                assert!(!metrics.contains(&trace));
            }
        }
    }
}

#[test]
fn a_server_is_ready_while_its_cache_is_fresh_or_lookups_succeed() {
    becomes_unready_and_recovers("500ms");
}

#[test]
fn a_server_without_a_cache_is_ready_again_without_a_request() {
    becomes_unready_and_recovers("0s");
}

fn becomes_unready_and_recovers(max_staleness: &str) {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let options = [&OPERATIONS[..], &["--max-staleness", max_staleness]].concat();
    let server = Server::start(&cli, &options);
    let operations = operations(&server);
    assert_eq!(get_at(&operations, "/livez"), (200, "alive\n".to_owned()));
    assert_eq!(get_at(&operations, "/readyz"), (200, "ready\n".to_owned()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(break_the_store(&cli));
    eventually("the cache is out of date", || {
        server.get_as("/verify", &token).0 == 503
    });
    eventually("it is not ready", || {
        get_at(&operations, "/readyz").0 == 503
    });
    let (_, reason) = get_at(&operations, "/readyz");
    assert_eq!(
        reason,
        "the cache is out of date, and the last lookup in the store failed\n"
    );
    assert_eq!(get_at(&operations, "/livez").0, 200);
    runtime.block_on(repair_the_store(&cli));
    // A server that is not ready gets no requests, so it recovers without a lookup.
    eventually("it recovers", || get_at(&operations, "/readyz").0 == 200);
    assert_eq!(server.get_as("/verify", &token).0, 200);
}

#[test]
fn a_store_that_fails_does_not_take_a_server_out_of_service_before_a_request_does() {
    let cli = Cli::with_app();
    let options = [&OPERATIONS[..], &["--max-staleness", "100ms"]].concat();
    let server = Server::start(&cli, &options);
    let operations = operations(&server);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(break_the_store(&cli));
    let age = || {
        let metrics = get_at(&operations, "/metrics").1;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("api_tokens_lease_age_seconds"));
        line.unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    eventually("the cache is out of date", || age() > 0.3);
    assert_eq!(get_at(&operations, "/readyz").0, 200);
}

#[test]
fn a_server_that_drains_is_alive_but_not_ready() {
    let cli = Cli::with_app();
    let options = [&OPERATIONS[..], &["--drain-delay", "60s"]].concat();
    let server = Server::start(&cli, &options);
    let operations = operations(&server);
    server.signal("-TERM");
    eventually("it drains", || get_at(&operations, "/readyz").0 == 503);
    assert_eq!(
        get_at(&operations, "/readyz").1,
        "the server is about to stop\n"
    );
    assert_eq!(get_at(&operations, "/livez").0, 200);
    // Clients are still served, until the second signal.
    assert_eq!(server.get("/verify", "").0, 401);
    assert!(stopped(server).contains("Shutting down"));
}

#[test]
fn metrics_count_requests_by_endpoint_and_class_of_status() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let server = Server::start(&cli, &OPERATIONS);
    let operations = operations(&server);
    for _ in 0..3 {
        assert_eq!(server.get_as("/verify", &token).0, 200);
    }
    assert_eq!(server.get("/verify/any/x", "").0, 401);
    assert_eq!(server.get("/made-up", "").0, 404);
    let metrics = get_at(&operations, "/metrics").1;
    for line in [
        "api_tokens_http_requests_total{endpoint=\"verify\",status=\"2xx\"} 3",
        "api_tokens_http_requests_total{endpoint=\"verify\",status=\"4xx\"} 1",
        "api_tokens_http_requests_total{endpoint=\"other\",status=\"4xx\"} 1",
        "api_tokens_http_requests_total{endpoint=\"api\",status=\"5xx\"} 0",
        "api_tokens_http_request_duration_seconds_count{endpoint=\"verify\"} 4",
        "api_tokens_http_request_duration_seconds_bucket{endpoint=\"verify\",le=\"5\"} 4",
        "api_tokens_hits_total{authenticator=\"default\"} 2",
        "api_tokens_lookups_total{authenticator=\"default\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
    for name in [
        "api_tokens_build_info{version=\"",
        "api_tokens_http_connections ",
        "api_tokens_store_connections{pool=\"lookups\",state=\"in_use\"} ",
        "api_tokens_store_connections{pool=\"others\",state=\"idle\"} ",
        "api_tokens_store_connections_max{pool=\"lookups\"} ",
        "api_tokens_lease_age_seconds{",
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(name)),
            "{name}: {metrics}"
        );
    }
    // Operators are served elsewhere.
    assert_eq!(server.get("/metrics", "").0, 404);
    assert_eq!(server.get("/readyz", "").0, 404);
    assert_eq!(get_at(&operations, "/verify").0, 404);
}

#[test]
fn systemd_is_told_when_the_server_is_ready_and_when_it_stops() {
    let cli = Cli::with_app();
    let path = cli.directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let next = || {
        let mut state = [0; 64];
        let len = socket.recv(&mut state).unwrap();
        String::from_utf8_lossy(&state[..len]).into_owned()
    };
    let mut command = cli.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path);
    let server = Server::run(&cli, command);
    assert_eq!(next(), "READY=1");
    assert_eq!(server.get("/verify", "").0, 401);
    // A service has no terminal that could end, and there is no certificate to reload.
    server.signal("-HUP");
    assert_eq!(server.get("/verify", "").0, 401);
    server.stop("-TERM");
    assert_eq!(next(), "STOPPING=1");
    // An abstract name, as in a container.
    let name = format!("api-tokens-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut command = cli.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let _server = Server::run(&cli, command);
    assert_eq!(socket.recv(&mut [0; 64]).unwrap(), "READY=1".len());
    // A socket that does not exist is no reason to stop.
    let mut command = cli.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", "/nowhere");
    let server = Server::run(&cli, command);
    assert!(stopped(server).contains("cannot notify systemd"));
}

const GUIDE: &str = include_str!("../../../../docs/operate.md");

#[test]
fn the_configuration_in_the_guide_is_valid() {
    let cli = Cli::new();
    let path = |name: &str| cli.directory.path().join(name);
    fs::write(path("store-url"), "sqlite://tokens.db").unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path("store-url"), private).unwrap();
    let mut blocks = GUIDE.split("```toml\n").skip(1).peekable();
    assert!(blocks.peek().is_some());
    for block in blocks {
        let (text, _) = block.split_once("```").unwrap();
        let text = text.replace("/etc/api-tokens/store-url", "store-url");
        fs::write(path("guide.toml"), text).unwrap();
        let mut command = cli.command(&["serve", "--check", "--config", "guide.toml"]);
        command
            .env_remove("API_TOKENS_STORE")
            .env_remove("API_TOKENS_PREFIX");
        let run = crate::support::Run::from(command.output().unwrap());
        let said = run.done();
        assert!(GUIDE.contains(&format!("\n{said}")), "{said}");
    }
}

#[test]
fn the_guide_lists_the_metrics_of_the_server() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &OPERATIONS);
    let metrics = get_at(&operations(&server), "/metrics").1;
    let listed = GUIDE.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `api_tokens_")?.split_once("` | ")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    });
    let mut listed: Vec<_> = listed.collect();
    let types = metrics.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE api_tokens_")?.split_once(' ')?;
        let of_server = ["http_", "store_", "build_info"];
        let is_of_server = of_server.iter().any(|one| name.starts_with(one));
        is_of_server.then(|| (name.to_owned(), kind.to_owned()))
    });
    let mut types: Vec<_> = types.collect();
    listed.sort();
    types.sort();
    assert_eq!(listed, types);
}
