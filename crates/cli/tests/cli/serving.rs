//! `serve`, without a proxy.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::time::Instant;

use crate::{
    server::{Server, TOKEN_FILE},
    support::{Cli, Run},
    triggers::without_triggers,
};

#[test]
fn only_the_first_start_writes_an_administrator_token() {
    let cli = Cli::new();
    let server = Server::start(&cli, &["--admin-scope", "orders:read,orders:write"]);
    let token = server.first_token();
    let (status, answer) = server.get_as("/verify?scope=tokens:admin", &token);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("x-api-scopes: orders:read orders:write tokens:admin tokens:owner"));
    // Logs may be kept for long and read by many.
    assert!(server.startup.contains(TOKEN_FILE), "{}", server.startup);
    assert!(!server.startup.contains(&token));
    assert_eq!(server.stop("-TERM"), "");
    let path = cli.directory.path().join(TOKEN_FILE);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_file(&path).unwrap();

    let server = Server::start(&cli, &[]);
    assert_eq!(server.get_as("/verify", &token).0, 200);
    assert_eq!(server.stop("-INT"), "");
    assert!(!path.exists());
    let events = cli.run(&["events", "--json"]).json_lines();
    let issues = events
        .iter()
        .filter(|event| event["action"] == "token.issue");
    assert_eq!(issues.count(), 1);
}

#[test]
fn a_restart_starts_from_the_snapshot_of_the_previous_process() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let path = cli.directory.path().join("private").join("tokens.snapshot");
    let options = ["--snapshot", path.to_str().unwrap()];
    for source in ["from the store", "from the snapshot"] {
        let server = Server::start(&cli, &options);
        assert!(server.startup.contains(source), "{}", server.startup);
        assert_eq!(server.get_as("/verify", &token).0, 200);
        assert_eq!(server.get_as("/verify", "acme_live_unknown").0, 401);
        assert_eq!(server.stop("-TERM"), "");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    fs::write(&path, "garbage").unwrap();
    let server = Server::start(&cli, &options);
    let reason = "the snapshot was not used: the file is not a snapshot";
    assert!(server.startup.contains(reason), "{}", server.startup);
    assert_eq!(server.get_as("/verify", &token).0, 200);
}

#[test]
fn the_administrator_token_has_the_format_that_its_scope_is_limited_to() {
    let cli = Cli::new();
    let prefixes = ["--prefix", "live=acme_live,staff=acme_staff"];
    let limit = ["--limit-scope", "tokens:admin=staff"];
    let server = Server::start(&cli, &[prefixes, limit].concat());
    let token = server.first_token();
    assert!(token.starts_with("acme_staff_"), "{token}");
    let (status, answer) = server.get_as("/verify?scope=tokens:admin", &token);
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn tokens_with_each_of_several_prefixes_are_accepted() {
    let cli = Cli::with_app();
    let prefixes = ["--prefix", "live=acme_live,test=acme_test"];
    let server = Server::start(&cli, &prefixes);
    for format in ["live", "test"] {
        let (token, _) = cli.issue("ci", &[&prefixes[..], &["--format", format]].concat());
        assert_eq!(server.get_as("/verify", &token).0, 200, "{format}");
    }
    let (other, _) = cli.issue("ci", &["--prefix", "acme"]);
    assert_eq!(server.get_as("/verify", &other).0, 401);
}

/// Returns the lifetime of the only token in the store, in seconds.
fn lifetime(cli: &Cli) -> Option<i64> {
    let token = cli.run(&["token", "list", "--json"]).json();
    let at = |name: &str| {
        let time = token[name].as_str()?;
        Some(time.parse::<jiff::Timestamp>().unwrap().as_second())
    };
    Some(at("expires_at")? - at("created_at")?)
}

#[test]
fn the_first_administrators_token_expires_after_a_day_by_default() {
    for (more, expected) in [
        (&[][..], Some(86_400)),
        (&["--admin-token-expires", "1h"], Some(3_600)),
        (&["--admin-token-expires", "never"], None),
    ] {
        let cli = Cli::new();
        Server::start(&cli, more).stop("-TERM");
        assert_eq!(lifetime(&cli), expected, "{more:?}");
    }
}

#[test]
fn no_token_is_issued_if_its_file_cannot_be_written() {
    let cli = Cli::with_app();
    fs::write(cli.directory.path().join(TOKEN_FILE), "mine").unwrap();
    for (more, advice) in [
        (&[][..], "--admin-token-file"),
        (
            &["--admin-token-file", "nowhere/token"],
            "--admin-token-file",
        ),
        (&["--admin-token-file", "/dev/full"], "--admin-token-file"),
        (&["--admin-token-file", ""], "--admin-token-file"),
    ] {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], more].concat();
        let run = cli.run(&arguments);
        assert!(run.code == 1 || run.code == 2, "{run:?}");
        assert!(run.err.contains(advice), "{run:?}");
    }
    let tokens = cli.run(&["token", "list", "--json"]).json_lines();
    assert!(tokens.is_empty(), "{tokens:?}");
    // The next start with a valid file is then the first.
    let server = Server::start(&cli, &["--admin-token-file", "other"]);
    let token = fs::read_to_string(cli.directory.path().join("other")).unwrap();
    assert_eq!(server.get_as("/api/apps", token.trim()).0, 200);
}

#[test]
fn of_servers_that_start_concurrently_one_writes_a_token() {
    let cli = Cli::with_app();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let arguments = ["serve", "--listen", "127.0.0.1:0"];
            cli.command(&arguments).spawn().unwrap()
        })
        .collect();
    for mut process in starts {
        let said = BufReader::new(process.stderr.take().unwrap()).lines();
        let listens = |line: &String| line.starts_with("Listening");
        said.map(Result::unwrap).find(listens).expect("it listens");
        process.kill().unwrap();
        let run = Run::from(process.wait_with_output().unwrap());
        assert_eq!(run.out, "");
    }
    let token = fs::read_to_string(cli.directory.path().join(TOKEN_FILE)).unwrap();
    cli.verify(&token).done();
    let tokens = cli.run(&["token", "list", "--json"]).json_lines();
    assert_eq!(tokens.len(), 1);
    let files = fs::read_dir(cli.directory.path()).unwrap();
    let drafts = files.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy()
            .starts_with(&format!("{TOKEN_FILE}."))
    });
    assert_eq!(drafts.count(), 0);
}

#[test]
fn tokens_that_expire_soon_are_announced_once() {
    let cli = Cli::with_app();
    let (_, soon) = cli.issue("soon", &["--expires", "3d"]);
    cli.issue("later", &["--expires", "30d"]);
    for _ in 0..2 {
        // The token of the administrator, which the server creates, expires in a year.
        let server = Server::start(&cli, &["--admin-token-expires", "365d"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let announced = loop {
            let events = cli.run(&["events", "--json"]).json_lines();
            let mut announced = events;
            announced.retain(|event| event["action"] == "token.expiring");
            if !announced.is_empty() {
                break announced;
            }
            assert!(Instant::now() < deadline, "no event");
            thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(announced.len(), 1, "{announced:?}");
        assert_eq!(announced[0]["token_id"], *soon);
        server.stop("-TERM");
    }
}

#[test]
fn usage_is_recorded_on_shutdown() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    for signal in ["-TERM", "-INT", "-HUP"] {
        let server = Server::start(&cli, &[]);
        for _ in 0..3 {
            assert_eq!(server.get_as("/verify", &token).0, 200);
        }
        server.stop(signal);
    }
    let shown = cli.run(&["token", "show", &id, "--json"]).json();
    assert_eq!(shown["uses"], 9);
    assert!(shown["last_used_at"].is_string());
}

#[test]
fn a_server_started_by_nohup_ignores_sighup() {
    let cli = Cli::with_app();
    let ignored = |script: &str| {
        let server = Server::run(&cli, cli.shell(script));
        let status = format!("/proc/{}/status", server.process.id());
        let status = fs::read_to_string(status).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        u64::from_str_radix(mask.unwrap().trim(), 16).unwrap() & 1 == 1
    };
    assert!(ignored(
        "trap '' HUP; exec api-tokens serve --listen 127.0.0.1:0"
    ));
    assert!(!ignored("exec api-tokens serve --listen 127.0.0.1:0"));
}

/// Opens connections that send nothing.
fn silent(server: &Server, count: usize) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect(&server.address).unwrap();
    (0..count).map(connect).collect()
}

#[test]
fn silent_connections_do_not_block_others() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    for script in [
        "ulimit -n 128; exec api-tokens serve --listen 127.0.0.1:0",
        "exec api-tokens serve --listen 127.0.0.1:0 --max-connections 50",
    ] {
        let server = Server::run(&cli, cli.shell(script));
        let began = Instant::now();
        let mut held = silent(&server, 300);
        for _ in 0..20 {
            assert_eq!(server.get_as("/verify", &token).0, 200);
            held.extend(silent(&server, 50));
        }
        // Without the limit, requests would wait until the silent ones are closed, after 75 s.
        assert!(began.elapsed() < Duration::from_secs(30), "{script}");
    }
}

#[test]
fn a_server_out_of_file_descriptors_keeps_serving() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let server = Server::start(&cli, &[]);
    assert_eq!(server.get_as("/verify", &token).0, 200);
    let pid = server.process.id().to_string();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limit = format!("--nofile={}", open + 4);
    let limited = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    assert!(limited.unwrap().success());
    let _held = silent(&server, 20);
    for _ in 0..3 {
        assert_eq!(server.get_as("/verify", &token).0, 200);
    }
}

#[test]
fn silent_connections_are_closed_before_used_ones() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--max-connections", "8"]);
    let mut proxy = TcpStream::connect(&server.address).unwrap();
    let mut ask = || {
        proxy
            .write_all(b"GET /verify HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut answer = [0; 12];
        proxy.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
        // Reads the rest, so that the next response starts at its beginning.
        let mut head = Vec::new();
        while !head.ends_with(b"}") {
            let mut byte = [0];
            proxy.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
    };
    ask();
    let _held = silent(&server, 100);
    assert_eq!(server.get("/verify", "").0, 401);
    ask();
}

#[test]
fn the_limit_on_open_files_is_raised_as_needed() {
    let cli = Cli::with_app();
    let server = Server::run(
        &cli,
        cli.shell("ulimit -S -n 100; exec api-tokens serve --listen 127.0.0.1:0"),
    );
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process.id())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft: u64 = files
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert!(soft > 100, "{limits}");
}

#[test]
fn serve_listens_on_a_host_name() {
    let cli = Cli::with_app();
    let server = Server::run(
        &cli,
        cli.shell("exec api-tokens serve --listen localhost:0"),
    );
    assert_eq!(server.get("/verify", "").0, 401);
    for (address, shown) in [
        ("localhost:99999", "localhost:99999"),
        ("localhost", "localhost"),
        ("no-such-host.invalid:8080", "no-such-host.invalid:8080"),
    ] {
        let run = cli.run(&["serve", "--listen", address]);
        assert!(run.code == 1 || run.code == 2, "{run:?}");
        assert!(run.err.contains(shown), "{run:?}");
        assert!(run.err.contains("127.0.0.1:"), "{run:?}");
    }
}

#[test]
fn verify_only_serves_no_management_api() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &["--scope", "a"]);
    for (more, uses) in [(&["--verify-only"][..], 1), (&["--read-only"], 1)] {
        let server = Server::start(&cli, more);
        assert_eq!(server.get_as("/verify?scope=a", &token).0, 200);
        for path in [
            "/",
            "/tokens",
            "/tokens/",
            "/api",
            "/api/apps",
            "/api/tokens",
        ] {
            assert_eq!(server.get_as(path, &token).0, 404, "{more:?} {path}");
        }
        server.stop("-TERM");
        let shown = cli.run(&["token", "show", &id, "--json"]).json();
        // The second records nothing.
        assert_eq!(shown["uses"], uses, "{more:?}");
    }
    assert!(!cli.directory.path().join(TOKEN_FILE).exists());
    let apps = cli.run(&["app", "list", "--json"]).json_lines();
    assert_eq!(apps.len(), 1);
}

#[test]
fn verify_only_creates_no_store() {
    let cli = Cli::new();
    for only in ["--verify-only", "--read-only"] {
        cli.run(&["serve", "--listen", "127.0.0.1:0", only])
            .failed(3);
    }
    assert_eq!(fs::read_dir(cli.directory.path()).unwrap().count(), 0);
    let both = [
        "serve",
        "--verify-only",
        "--trust-origin",
        "https://a.example",
    ];
    cli.run(&both).failed(2);
}

/// Revokes all tokens directly in the database, without an entry in the change log.
async fn revoke_without_log(cli: &Cli) {
    let mut connection = without_triggers(cli).await;
    sqlx::raw_sql("UPDATE api_tokens SET revoked_at = created_at")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[test]
fn an_unlogged_change_is_applied_after_clearing_the_caches() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let server = Server::start(&cli, &["--verify-only", "--max-staleness", "1h"]);
    assert_eq!(server.get_as("/verify", &token).0, 200);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(revoke_without_log(&cli));
    assert_eq!(server.get_as("/verify", &token).0, 200);
    let cleared = cli.run(&["cache", "clear", "--json"]).json();
    assert_eq!(cleared["cleared"], true);
    let began = Instant::now();
    while server.get_as("/verify", &token).0 != 401 {
        assert!(began.elapsed() < Duration::from_secs(30), "still admitted");
        thread::sleep(Duration::from_millis(20));
    }
    let event = &cli.run(&["events", "--json"]).json_lines()[0];
    assert_eq!(event["action"], "cache.clear");
    assert_eq!(event["actor"], "cli:ada");
    assert!(cli.run(&["cache", "clear"]).done().contains("Every node"));
}

/// Renames the tables, so that every query of a server fails.
pub(crate) async fn break_the_store(cli: &Cli) {
    rename_tables(cli, |table| (table.to_owned(), format!("gone_{table}"))).await;
}

/// Undoes [`break_the_store`].
pub(crate) async fn repair_the_store(cli: &Cli) {
    rename_tables(cli, |table| (format!("gone_{table}"), table.to_owned())).await;
}

async fn rename_tables(cli: &Cli, names: impl Fn(&str) -> (String, String)) {
    let mut connection = SqliteConnection::connect(&cli.store).await.unwrap();
    for table in ["api_tokens", "api_token_changes"] {
        let (from, to) = names(table);
        let rename = format!("ALTER TABLE {from} RENAME TO {to}");
        sqlx::raw_sql(AssertSqlSafe(rename))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
}

#[test]
fn a_failing_store_is_logged_without_any_token() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    for (level, warns) in [("", true), ("debug", true), ("off", false)] {
        let cli_2 = Cli::with_app();
        let mut command = cli_2.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("RUST_LOG", level);
        let mut server = Server::run(&cli_2, command);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(break_the_store(&cli_2));
        assert_eq!(server.get_as("/verify", &token).0, 503);
        let key = format!("X-Api-Key: {token}\r\n");
        assert_eq!(server.get("/verify", &key).0, 401);
        server.process.kill().unwrap();
        let log = std::mem::take(&mut server.log).unwrap().join().unwrap();
        let warning = log.lines().any(|line| line.contains("WARN"));
        assert_eq!(warning, warns, "{level}: {log}");
        assert_eq!(log.contains("request rejected"), level == "debug", "{log}");
        assert!(!log.contains(&token), "{log}");
        assert!(!log.contains('\u{1b}'), "{log}");
    }
}

/// Restricts a token.
pub(crate) async fn restrict(cli: &Cli, name: &str, restrictions: &str) {
    let mut connection = SqliteConnection::connect(&cli.store).await.unwrap();
    let restricted = sqlx::query(
        "UPDATE api_tokens SET restrictions = ?1, restricted_expires_at = expires_at, \
         expires_at = 0 WHERE name = ?2",
    )
    .bind(restrictions)
    .bind(name)
    .execute(&mut connection)
    .await
    .unwrap();
    assert_eq!(restricted.rows_affected(), 1);
    connection.close().await.unwrap();
}

#[test]
fn the_address_of_the_client_counts_for_tokens_with_networks() {
    let cli = Cli::with_app();
    cli.run(&["app", "create", "Admins", "--id", "api-tokens-admin"])
        .done();
    let scope = ["--scope", "tokens:admin"];
    let issue = |name: &str| {
        let app = ["--app", "id:api-tokens-admin", "--name", name, "--json"];
        let issued = cli.run(&[&["token", "issue"], &app[..], &scope[..]].concat());
        issued.json()["token"].as_str().unwrap().to_owned()
    };
    let (here, remote) = (issue("here"), issue("remote"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(restrict(&cli, "here", "networks=127.0.0.0/8"));
    runtime.block_on(restrict(&cli, "remote", "networks=192.0.2.0/24"));
    let send = |server: &Server, path: &str, token: &str, forwarded: &str| {
        let fields = format!("Authorization: Bearer {token}\r\n{forwarded}");
        server.get(path, &fields).0
    };
    let forwarded = "X-Forwarded-For: 192.0.2.9\r\n";
    let options = ["--client-address-header", "x-forwarded-for"];
    let trusting = [&options[..], &["--trusted-proxy", "10.0.0.1,127.0.0.1"]].concat();
    let distrusting = [&options[..], &["--trusted-proxy", "10.0.0.0/8"]].concat();
    // The statuses for each token: of the API without the field and with it, and of `/verify`.
    for (more, of_here, of_remote) in [
        (vec![], [200, 200, 403, 403], [403, 403, 403, 403]),
        (trusting, [403, 403, 403, 403], [403, 200, 403, 200]),
        (distrusting, [200, 200, 403, 403], [403, 403, 403, 403]),
    ] {
        let server = Server::start(&cli, &more);
        for (token, expected) in [(&here, of_here), (&remote, of_remote)] {
            let statuses = [
                send(&server, "/api/apps", token, ""),
                send(&server, "/api/apps", token, forwarded),
                send(&server, "/verify", token, ""),
                send(&server, "/verify", token, forwarded),
            ];
            assert_eq!(statuses, expected, "{more:?}");
        }
        assert_eq!(send(&server, "/tokens", &here, ""), of_here[0], "{more:?}");
    }
    let verify = |more: &[&str]| cli.pipe(&[&["verify"], more].concat(), &remote);
    assert_eq!(verify(&[]).code, 4);
    assert_eq!(verify(&["--client-address", "198.51.100.1"]).code, 4);
    verify(&["--client-address", "192.0.2.200"]).done();
}

#[test]
fn options_about_proxies_are_checked() {
    let cli = Cli::with_app();
    let header = ["--client-address-header", "x-forwarded-for"];
    for (more, expected) in [
        (
            &["--trusted-proxy", "10.0.0.1"][..],
            "--client-address-header",
        ),
        (&header, "--trusted-proxy"),
        (
            &["--trusted-proxy", "10.0.0.1/8", header[0], header[1]],
            "use `10.0.0.0/8`",
        ),
        (
            &["--trusted-proxy", "proxy.local", header[0], header[1]],
            "use an address and a prefix length",
        ),
        (
            &["--trusted-proxy", "::/0", header[0], "forwarded"],
            "use a list of addresses, such as `x-forwarded-for`",
        ),
    ] {
        let run = cli.run(&[&["serve", "--listen", "127.0.0.1:0"], more].concat());
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.err.contains(expected), "{run:?}");
    }
}

#[test]
fn a_trailing_slash_makes_no_difference() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let admin = server.first_token();
    // The guide says that this path is a misconfiguration.
    let (status, answer) = server.get_as("/verify/", &admin);
    assert_eq!(status, 500, "{answer}");
    assert!(answer.contains("/verify?scope="), "{answer}");
    for path in ["/tokens", "/tokens/"] {
        let (status, answer) = server.get_as(path, &admin);
        assert_eq!(status, 200, "{path}: {answer}");
        assert_eq!(server.get(path, "").0, 401);
    }
    for path in ["/api", "/api/"] {
        let (status, answer) = server.get_as(path, &admin);
        assert_eq!(status, 307, "{path}: {answer}");
        assert!(
            answer.contains("location: /api/openapi.json\r\n"),
            "{answer}"
        );
        assert_eq!(server.get(path, "").0, 401);
    }
}

#[test]
fn nginx_misinterprets_no_response() {
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
fn a_connection_without_a_complete_request_is_closed() {
    let cli = Cli::with_app();
    let server = Server::start(
        &cli,
        &["--idle-timeout", "100ms", "--head-timeout", "100ms"],
    );
    for sent in ["", "GET /verify HTTP/1.1\r\nHost: x\r\nAuthorization: "] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let patience = Duration::from_secs(60);
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.is_empty(), sent.is_empty(), "{answer}");
    }
    let server = Server::start(&cli, &["--idle-timeout", "1h"]);
    assert_eq!(server.get("/verify", "").0, 401);
    let message = cli.run(&["serve", "--idle-timeout", "0s"]).failed(2);
    assert!(message.contains("above zero"), "{message}");
}

#[test]
fn idle_connections_do_not_delay_the_shutdown() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let mut idle = TcpStream::connect(&server.address).unwrap();
    assert_eq!(server.get("/verify", "").0, 401);
    server.stop("-TERM");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_token_is_accepted_in_the_api_key_header() {
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
fn invalid_options_are_reported_at_startup() {
    let cli = Cli::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let message = cli.run(&["serve", "--listen", &address]).failed(1);
    assert!(message.contains(&address), "{message}");
    assert!(message.contains("Choose another address"), "{message}");
    let on_any_port = ["serve", "--listen", "127.0.0.1:0"];
    let serve = |option, value| cli.run(&[&on_any_port[..], &[option, value]].concat());
    let message = serve("--realm", "\u{1b}").failed(2);
    assert!(message.contains("realm"), "{message}");
    for name in [
        "cookie",
        "Host",
        "authorization",
        "content-length",
        "transfer-encoding",
        "sec-fetch-site",
    ] {
        let message = serve("--api-key-header", name).failed(2);
        assert!(message.contains("in HTTP"), "{message}");
        assert!(message.contains("`x-api-key`"), "{message}");
    }
    for name in ["a b", ""] {
        let message = serve("--api-key-header", name).failed(2);
        assert!(message.contains("header"), "{message}");
    }
    for origin in [
        "admin.example",
        "https://",
        "https://admin.example:99999",
        "https://[::1",
    ] {
        serve("--trust-origin", origin).failed(2);
    }
    let message = serve("--api-key-header", "X-Api-Scopes").failed(2);
    assert!(
        message.contains("proxies set it from the response"),
        "{message}"
    );
    let message = serve("--admin-app", "nosuch").failed(3);
    assert!(message.contains("`nosuch`"), "{message}");
    let run = cli
        .command(&on_any_port)
        .env("RUST_LOG", "tower_api_tokens=loud")
        .output();
    let message = Run::from(run.unwrap()).failed(2);
    assert!(message.contains("RUST_LOG"), "{message}");
    // No token was issued.
    assert!(
        cli.run(&["token", "list", "--json"])
            .json_lines()
            .is_empty()
    );
}

#[test]
fn the_management_api_needs_an_administrator_token() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    let server = Server::start(&cli, &[]);
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
fn the_api_and_the_command_line_have_the_same_json_fields() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("ci", &[]);
    let server = Server::start(&cli, &[]);
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
fn the_dashboard_needs_an_administrator_token() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("nightly export", &[]);
    let server = Server::start(&cli, &[]);
    let admin = server.first_token();
    let (status, answer) = server.get("/tokens", "");
    assert_eq!(status, 401);
    // Makes a browser ask for a password.
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
    // A slash at the end of a mount changes nothing.
    for (path, found) in [("/tokens/", 200), ("/api", 307), ("/api/", 307)] {
        assert_eq!(server.get(path, "").0, 401, "{path}");
        assert_eq!(server.get(path, &basic).0, found, "{path}");
    }
    let (status, answer) = server.get("/", "");
    assert_eq!(status, 303);
    assert!(answer.contains("location: /tokens"), "{answer}");
}
