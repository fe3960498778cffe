//! The command line on PostgreSQL, in the database at `TEST_POSTGRES_URL`.

#[path = "../../../../tests/services/mod.rs"]
mod services;
mod support;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{self, ExitCode},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use support::Cli;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

fn server() -> String {
    env::var("TEST_POSTGRES_URL").unwrap()
}

/// Creates a schema with one app, `Billing`.
fn with_app(name: &str) -> Cli {
    let schema = format!("cli {} {name}", process::id());
    let cli = Cli::on(TempDir::new().unwrap(), server(), &schema);
    cli.run(&["app", "create", "Billing", "--id", "billing"])
        .done();
    cli
}

async fn remove(cli: &Cli) {
    let mut connection = PgConnection::connect(&cli.store).await.unwrap();
    let drop = format!("DROP SCHEMA \"{}\" CASCADE", cli.schema);
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn every_command_works_on_postgresql() {
    let cli = with_app("commands");
    let (token, id) = cli.issue("ci", &["--scope", "a:read"]);
    cli.verify(&token).done();
    let successor = cli.run(&["token", "rotate", &id]).done();
    cli.verify(&successor).done();
    assert!(
        cli.run(&["token", "rotate", &id])
            .failed(4)
            .contains("successor")
    );
    let tokens = cli
        .run(&["token", "list", "--app", "Billing", "--json"])
        .json_lines();
    assert_eq!(tokens.len(), 2);
    cli.run(&["app", "disable", "billing"]).done();
    cli.verify(&successor).failed(4);
    cli.run(&["app", "enable", "billing"]).done();
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    cli.verify(&token).failed(4);
    cli.run(&["token", "purge", "--before", "0s", "--yes"])
        .done();
    cli.run(&["token", "show", &id]).failed(3);
    let events = cli.run(&["events", "--json"]).json_lines();
    assert_eq!(events.len(), 8, "{events:?}");
    let after = cli.run(&["events", "--after", "oldest"]).json_lines();
    let last = after.last().unwrap()["position"].as_str().unwrap();
    let (token, id) = cli.issue("ci", &["--metadata", "team=a"]);
    let networks = ["token", "edit", &id, "--network", "10.0.0.0/8"];
    cli.run(&networks).done();
    cli.run(&["token", "edit", &id, "--any-network"]).done();
    cli.run(&["token", "suspend", &id]).done();
    cli.verify(&token).failed(4);
    cli.run(&["token", "resume", &id]).done();
    cli.verify(&token).done();
    let policy = ["policy", "set", "--max-live-tokens", "2", "--json"];
    let policy = cli.run(&policy).json();
    assert_eq!(cli.run(&["policy", "show", "--json"]).json(), policy);
    cli.run(&["app", "rename", "billing", "Invoices"]).done();
    let in_use = cli.run(&["app", "delete", "billing", "-y"]).failed(4);
    assert!(in_use.contains("(2)"), "{in_use}");
    let events = cli.run(&["events", "--after", last]).json_lines();
    let actions: Vec<_> = events.iter().map(|event| &event["action"]).collect();
    assert_eq!(
        actions,
        [
            "token.issue",
            "token.edit",
            "token.edit",
            "token.suspend",
            "token.resume",
            "policy.set",
            "app.edit",
        ]
    );
    remove(&cli).await;
}

async fn records_move_from_postgresql_to_sqlite_and_back() {
    let (cli, sqlite) = (with_app("moves"), Cli::new());
    let (token, id) = cli.issue("ci", &["--expires", "90d"]);
    cli.run(&["token", "rotate", &id]).done();
    let file = cli.run(&["export"]).done();
    sqlite.pipe(&["import"], &file).done();
    sqlite.verify(&token).done();
    assert_eq!(sqlite.run(&["export"]).done(), file);
    let back = sqlite.run(&["export"]).done();
    let again = cli.pipe(&["import", "--json"], &back).json();
    assert_eq!(
        (&again["already_there"], &again["inserted"]),
        (&3.into(), &0.into())
    );
    remove(&cli).await;
}

async fn a_server_refuses_a_token_revoked_by_another_process() {
    let cli = with_app("serves");
    let (token, id) = cli.issue("ci", &[]);
    let mut server = cli
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let address = said
        .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
        .expect("it listens");
    let status = async || {
        let request = http::Request::get(format!("{address}/verify"))
            .header("authorization", format!("Bearer {token}"))
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
        client.build_http().request(request).await.unwrap().status()
    };
    assert_eq!(status().await, 200);
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    let refused = async {
        while status().await != 401 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    // `max_staleness`, and some time for a busy machine.
    let within = timeout(Duration::from_secs(15), refused).await;
    server.kill().unwrap();
    server.wait().unwrap();
    within.expect("still admitted");
    remove(&cli).await;
}

async fn only_creating_an_app_creates_the_schema() {
    let cli = Cli::on(
        TempDir::new().unwrap(),
        server(),
        &format!("cli {} typo", process::id()),
    );
    for arguments in [
        &["app", "list"][..],
        &["app", "list", "--read-only"],
        &["app", "disable", "billing"],
        &["token", "purge", "--before", "1d", "--yes"],
    ] {
        let run = cli.run(arguments);
        assert!(run.code != 0 && run.err.contains(&cli.schema), "{run:?}");
    }
    let message = cli.run(&["app", "list"]).failed(2);
    assert!(message.contains("api-tokens app create"), "{message}");
    let mut connection = PgConnection::connect(&cli.store).await.unwrap();
    let schemas: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname = $1")
        .bind(&cli.schema)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(schemas, 0);
}

async fn a_read_only_server_can_be_read() {
    let mut cli = with_app("standby");
    let (token, id) = cli.issue("ci", &[]);
    let standby = format!(
        "{}?options=-c%20default_transaction_read_only%3Don",
        cli.store
    );
    let primary = std::mem::replace(&mut cli.store, standby);
    for reading in [
        &["app", "list"][..],
        &["token", "list", "--app", "Billing"],
        &["token", "show", &id],
        &["events"],
        &["export"],
    ] {
        let message = cli.run(reading).failed(1);
        assert!(message.contains("with `--read-only`"), "{message}");
        cli.run(&[reading, &["--read-only"]].concat()).done();
    }
    cli.pipe(&["verify", "--read-only"], &token).done();
    let message = cli.run(&["app", "disable", "billing"]).failed(1);
    assert!(!message.contains("--read-only"), "{message}");
    cli.store = primary;
    remove(&cli).await;
}

/// Starts a verifier on a free port, and returns its address.
fn edge(cli: &Cli, option: &str) -> (process::Child, String) {
    let serve = format!("exec api-tokens serve --listen localhost:0 {option}");
    let mut server = cli.shell(&serve).spawn().unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap()).lines();
    let address = said.find_map(|line| {
        let line = line.unwrap();
        line.strip_prefix("Listening on ").map(str::to_owned)
    });
    (server, address.expect("it listens"))
}

async fn verifying_needs_no_permission_to_write() {
    let mut cli = with_app("edge");
    let (token, id) = cli.issue("ci", &[]);
    let standby = format!(
        "{}?options=-c%20default_transaction_read_only%3Don",
        cli.store
    );
    let primary = std::mem::replace(&mut cli.store, standby);
    for only in ["--verify-only", "--read-only"] {
        let (mut server, address) = edge(&cli, only);
        for (path, expected) in [("/verify", 200), ("/api/apps", 404), ("/tokens", 404)] {
            let request = http::Request::get(format!("{address}{path}"))
                .header("authorization", format!("Bearer {token}"))
                .body(http_body_util::Empty::<bytes::Bytes>::new())
                .unwrap();
            let client =
                hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
            let answer = client.build_http().request(request).await.unwrap();
            assert_eq!(answer.status(), expected, "{only} {path}");
        }
        let pid = server.id().to_string();
        let killed = process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.unwrap().success());
        assert!(server.wait().unwrap().success(), "{only}");
    }
    cli.store = primary;
    let shown = cli.run(&["token", "show", &id, "--json"]).json();
    assert_eq!(shown["uses"], 0);
    remove(&cli).await;
}

async fn a_wrong_password_is_reported_with_a_hint_and_not_repeated() {
    let password = "hunter2";
    let url = server();
    let (_, rest) = url.split_once("://").unwrap();
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let wrong = format!("postgres://nobody-by-this-name:{password}@{place}");
    let run = Cli::with_app().run(&["app", "list", "--store", &wrong]);
    assert!(!format!("{run:?}").contains(password), "{run:?}");
    let message = run.failed(2);
    assert!(
        message.contains("check the user and the password"),
        "{message}"
    );
}

fn main() -> ExitCode {
    let found = env::var_os("TEST_POSTGRES_URL").is_some();
    services::run(
        "TEST_POSTGRES_URL",
        found,
        vec![
            ("every_command_works_on_postgresql", || {
                Box::pin(every_command_works_on_postgresql())
            }),
            ("records_move_from_postgresql_to_sqlite_and_back", || {
                Box::pin(records_move_from_postgresql_to_sqlite_and_back())
            }),
            (
                "a_server_refuses_a_token_revoked_by_another_process",
                || Box::pin(a_server_refuses_a_token_revoked_by_another_process()),
            ),
            ("only_creating_an_app_creates_the_schema", || {
                Box::pin(only_creating_an_app_creates_the_schema())
            }),
            ("a_read_only_server_can_be_read", || {
                Box::pin(a_read_only_server_can_be_read())
            }),
            ("verifying_needs_no_permission_to_write", || {
                Box::pin(verifying_needs_no_permission_to_write())
            }),
            (
                "a_wrong_password_is_reported_with_a_hint_and_not_repeated",
                || Box::pin(a_wrong_password_is_reported_with_a_hint_and_not_repeated()),
            ),
        ],
    )
}
