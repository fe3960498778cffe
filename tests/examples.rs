//! The examples, run as a newcomer would.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tempfile::TempDir;
use tower_api_tokens::{
    ApiTokens, AppQuery, NewToken, SqliteStore, TokenFormat, TokenQuery,
    testing::latency::{Kind, Report},
};

/// Where cargo has built the examples: beside the folder that this test lies in.
fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let directory = std::env::current_exe().unwrap();
    let directory = directory
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples");
    let path = directory.join(name);
    BUILT.get_or_init(|| {
        if !path.exists() {
            // Run alone (`--test examples`), cargo does not build them.
            let built = Command::new(env!("CARGO"))
                .args(["build", "--examples"])
                .status();
            assert!(built.unwrap().success());
        }
    });
    path
}

struct Quickstart {
    process: Child,
    address: String,
    token: String,
    /// The line to try.
    hint: String,
    /// The token with which one signs in to the dashboard.
    admin: String,
}

impl Quickstart {
    fn start(directory: &TempDir) -> Self {
        let mut process = Command::new(example("quickstart"))
            .current_dir(directory.path())
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env_remove("DATABASE_URL")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut line = |prefix: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(prefix)
                .unwrap_or_else(|| panic!("{line}"))
                .to_owned()
        };
        let address = line("listening on http://");
        let token = line("token: ");
        let hint = line("try: ");
        assert_eq!(line("dashboard: http://"), format!("{address}/tokens"));
        let admin = line("sign in: any user name, and the password ");
        Self {
            process,
            address,
            token,
            hint,
            admin,
        }
    }

    fn get(&self, path: &str, token: Option<&str>) -> (u16, String) {
        get(&self.address, path, token)
    }

    fn stop(mut self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.process.wait().unwrap().success(), "{signal}");
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

#[test]
fn the_quickstart_attributes_a_request_and_survives_a_restart() {
    let directory = TempDir::new().unwrap();
    let first = Quickstart::start(&directory);
    assert_eq!(
        first.hint,
        format!(
            "curl -H 'Authorization: Bearer {}' http://{}/whoami",
            first.token, first.address
        )
    );
    let (status, body) = first.get("/whoami", Some(&first.token));
    assert_eq!(status, 200);
    let whoami: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(whoami["app_name"], "demo");
    assert_eq!(whoami["token_name"], "quickstart");
    assert_eq!(whoami["scopes"], serde_json::json!(["demo:read"]));
    for id in ["app_id", "token_id"] {
        assert_eq!(whoami[id].as_str().unwrap().len(), 36);
    }
    assert_eq!(first.get("/whoami", None).0, 401);
    assert_eq!(first.get("/whoami", Some("demo_wrong")).0, 401);
    assert_eq!(first.get("/public", None).0, 200);
    let token = first.token.clone();
    first.stop("-INT");

    let second = Quickstart::start(&directory);
    assert_eq!(second.token, format!("demo_…{}", &token[token.len() - 4..]));
    assert!(!second.hint.contains(&token));
    let (status, again) = second.get("/whoami", Some(&token));
    assert_eq!((status, again), (200, body));
    second.stop("-TERM");
}

#[tokio::test]
async fn the_quickstart_finds_its_app_and_token_among_many() {
    let directory = TempDir::new().unwrap();
    let url = format!("sqlite://{}", directory.path().join("tokens.db").display());
    let store = SqliteStore::open(&url).await.unwrap();
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("demo").unwrap());
    let count = AppQuery::default().limit.get() + 1;
    for number in 0..count {
        tokens.create_app(&format!("app {number}")).await.unwrap();
    }
    let demo = tokens.create_app("demo").await.unwrap();
    let other = NewToken::named("another quickstart");
    drop(tokens.issue(&demo.id, other).await.unwrap());

    let first = Quickstart::start(&directory);
    let token = first.token.clone();
    assert!(
        !token.contains('…'),
        "another's token was taken for its own"
    );
    first.stop("-INT");
    let second = Quickstart::start(&directory);
    assert_eq!(second.token, format!("demo_…{}", &token[token.len() - 4..]));
    second.stop("-TERM");
    let apps = tokens.list_apps(&AppQuery::default().limit(1000)).await;
    // Its own besides, and the operators'.
    assert_eq!(apps.unwrap().items.len(), count + 2);
    store.close().await;
}

#[test]
fn the_quickstart_has_a_dashboard_for_whoever_has_its_admin_token() {
    let directory = TempDir::new().unwrap();
    let first = Quickstart::start(&directory);
    let sign_in = |quickstart: &Quickstart, password: &str| {
        let basic = BASE64_STANDARD.encode(format!("anybody:{password}"));
        ask(
            &quickstart.address,
            "/tokens",
            Some(format!("Basic {basic}")),
        )
    };
    let (status, page) = sign_in(&first, &first.admin);
    assert_eq!(status, 200);
    assert!(page.contains("<bdi>quickstart</bdi>") && page.contains("<bdi>admin</bdi>"));
    assert!(!page.contains(&first.token) && !page.contains(&first.admin));
    assert_eq!(sign_in(&first, &first.token).0, 403);
    assert_eq!(first.get("/tokens", None).0, 401);
    let admin = first.admin.clone();
    first.stop("-INT");

    // It says how to get in on each start, and what it says is of no use for long.
    let second = Quickstart::start(&directory);
    assert_ne!(second.admin, admin);
    assert_eq!(sign_in(&second, &second.admin).0, 200);
    assert_eq!(sign_in(&second, &admin).0, 200);
    second.stop("-TERM");
    let url = format!("sqlite://{}", directory.path().join("tokens.db").display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let admins = runtime.block_on(async {
        let store = SqliteStore::open(&url).await.unwrap();
        let tokens = ApiTokens::new(store.clone(), TokenFormat::new("demo").unwrap());
        let admins = tokens.list(&TokenQuery::default().name("admin")).await;
        store.close().await;
        admins.unwrap().items
    });
    assert_eq!(admins.len(), 2);
    for admin in admins {
        let lifetime = admin.expires_at.unwrap().duration_since(admin.created_at);
        assert_eq!(lifetime.as_secs(), 24 * 60 * 60);
    }
}

#[test]
fn the_quickstart_tells_what_is_wrong_with_its_settings() {
    for (name, value, expected) in [
        (
            "DATABASE_URL",
            "postgres://u:Sup3r@localhost/x",
            "sqlite://path",
        ),
        (
            "DATABASE_URL",
            "sqlite:///no/such/directory/x.db",
            "no directory",
        ),
        ("LISTEN_ADDR", "nowhere", "LISTEN_ADDR=nowhere"),
    ] {
        let directory = TempDir::new().unwrap();
        let output = Command::new(example("quickstart"))
            .current_dir(directory.path())
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env(name, value)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains("Sup3r"), "{told}");
    }
}

#[test]
fn a_custom_store_admits_what_it_knows() {
    let output = Command::new(example("custom_store")).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        told,
        "partner-secret: 200 OK\npartner-guess: 401 Unauthorized\n"
    );
}

#[test]
fn the_story_of_a_rotation_is_true() {
    let output = Command::new(example("rotation")).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_service_on_hyper_alone_greets_the_attributed_app() {
    let mut process = Command::new(example("hyper"))
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

#[tokio::test]
async fn a_grpc_service_answers_callers_with_a_token() {
    let mut process = Command::new(example("tonic"))
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let hint = lines.next().unwrap().unwrap();
    let token = hint.split('\'').nth(1).unwrap();
    let credential = token.strip_prefix("authorization: ").unwrap();
    let address = hint.split(' ').rev().nth(1).unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
    let mut call = tonic::Request::new(tonic_health::pb::HealthCheckRequest::default());
    let refused = client
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await
        .unwrap_err();
    let metadata = call.metadata_mut();
    metadata.insert("authorization", credential.parse().unwrap());
    let answered = client.check(call).await;
    let greeted = lines.next().unwrap().unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert!(answered.is_ok());
    assert_eq!(greeted, "called by Billing");
}

/// A transfer, whether it succeeded, and what it told.
fn transfer(directory: &TempDir, arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut process = Command::new(example("transfer"))
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

const LIST: &str = concat!(
    r#"{"token":{"app":{"id":"42","name":"Acme"},"#,
    r#""digest":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}"#,
    "\n{}\n"
);

#[test]
fn tokens_move_in_from_a_list_and_on_from_store_to_store_and_file() {
    let directory = TempDir::new().unwrap();
    let run = |arguments: &str, input| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        transfer(&directory, &arguments, input)
    };
    let (all, _, told) = run("--from - --to sqlite://a.db --rejects bad.jsonl", LIST);
    assert!(!all);
    assert!(told.starts_with("line 2: "), "{told}");
    let counts = "read 2 records: 1 inserted, 0 already there, 1 refused, 0 in conflict";
    assert!(told.contains(counts), "{told}");
    let rejects = std::fs::read_to_string(directory.path().join("bad.jsonl"));
    assert_eq!(rejects.unwrap(), "{}\n");

    assert!(run("--from sqlite://a.db --to sqlite://b.db", "").0);
    let (all, _, told) = run("--from sqlite://a.db --to b.jsonl", "");
    assert!(all, "{told}");
    let (all, exported, _) = run("--from sqlite://b.db --to -", "");
    let file = std::fs::read_to_string(directory.path().join("b.jsonl")).unwrap();
    assert!(all && exported == file && file.contains("ba7816bf"));
    let (all, _, told) = run("--from b.jsonl --to sqlite://a.db", "");
    assert!(all && told.contains("2 already there"), "{told}");
}

#[test]
fn a_transfer_that_cannot_be_says_why_and_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("there.jsonl"), LIST).unwrap();
    for (from, to, expected) in [
        ("sqlite://slip.db", "sqlite://b.db", "--from: "),
        ("sqlite://slip.db", "a.jsonl", "--from: "),
        ("slip.jsonl", "sqlite://b.db", "No such file"),
        ("there.jsonl", "a.jsonl", "has to be a store"),
        ("mysql://localhost/x", "a.jsonl", "a store is"),
    ] {
        let (all, _, told) = transfer(&directory, &["--from", from, "--to", to], "");
        assert!(!all && told.contains(expected), "{from}: {told}");
    }
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_store_of_ones_own_is_measured_into_a_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("partners.json");
    let output = Command::new(example("latency")).arg(&file).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let written = std::fs::read_to_string(file).unwrap();
    let report = Report::from_json(&written).unwrap();
    assert_eq!((report.name(), report.tokens()), ("partners", 10_000));
    assert!(told.starts_with(&format!("{report}\n")), "{told}");
    assert!(report.figures(Kind::Miss).count() > 0);
}
