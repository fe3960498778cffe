//! A data-only dump can be restored into existing tables.

use std::process::{Command, Output};

use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tower_api_tokens::{
    AuditAction, AuditEvent, AuditEventId, AuditLog, AuditOutcome, AuditQuery, NewToken, TokenStore,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    server::{self, Server},
    services::Test,
    support::{execute, tokens},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![a_data_only_dump_is_restored_into_new_tables]
}

/// The tables to leave out, as in `docs/fleet.md`.
const LEFT_OUT: [&str; 4] = [
    "_api_token_migrations",
    "api_token_revision",
    "api_token_changes",
    "api_token_nodes",
];

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {message}");
    output
}

async fn a_data_only_dump_is_restored_into_new_tables() {
    let server = Server::start_new(&[]).await;
    let binaries = server::binaries().unwrap();
    let guide = include_str!("../../../../docs/fleet.md");
    let old = PostgresStore::connect(&server.url()).await.unwrap();
    let platform = tokens(&old);
    let app = platform.create_app("Billing").await.unwrap();
    let mut issued = Vec::new();
    for name in ["a", "b", "c"] {
        issued.push(
            platform
                .issue(&app.id, NewToken::named(name))
                .await
                .unwrap(),
        );
    }
    let revoked = platform.revoke(issued[2].record().id).await.unwrap();
    let id = AuditEventId::from_bytes([1; 16]);
    let event = AuditEvent::new(
        id,
        app.created_at,
        "me",
        AuditAction::ALL[0],
        AuditOutcome::Done,
    );
    old.append(&event).await.unwrap();

    let mut hand = PgConnection::connect(&server.url()).await.unwrap();
    execute(&mut hand, "CREATE DATABASE copy").await;
    let url = server.url();
    let (rest, _) = url.rsplit_once('/').unwrap();
    let copy_url = format!("{rest}/copy");
    let copy = PostgresStore::connect(&copy_url).await.unwrap();
    let dump = tempfile::NamedTempFile::new().unwrap();
    let mut pg_dump = Command::new(binaries.join("pg_dump"));
    pg_dump
        .args(["--data-only", "--dbname", &server.url(), "--file"])
        .arg(dump.path());
    for table in LEFT_OUT {
        let option = format!("--exclude-table='*.{table}'");
        assert!(guide.contains(&option), "the guide says {option}");
        pg_dump.arg(option.replace('\'', ""));
    }
    run(&mut pg_dump);
    let psql = &mut Command::new(binaries.join("psql"));
    run(psql
        .args([
            "--no-psqlrc",
            "--single-transaction",
            "--set",
            "ON_ERROR_STOP=1",
        ])
        .args(["--dbname", &copy_url, "--file"])
        .arg(dump.path()));

    for token in &issued[..2] {
        let found = copy.find(&token.record().digest).await.unwrap();
        assert_eq!(found.record.as_ref(), Some(token.record()));
    }
    let found = copy.find(&issued[2].record().digest).await.unwrap();
    assert_eq!(found.record, Some(revoked));
    let events = copy.events(&AuditQuery::default()).await.unwrap();
    assert!(events.items.contains(&event));
    // The copy has its own log, which continues.
    let here = tokens(&copy);
    let follower = here
        .follow()
        .poll_interval(std::time::Duration::from_millis(20));
    let follower = follower.start().await.unwrap();
    let presented = issued[0].token().expose().as_bytes();
    here.authenticator().authenticate(presented).await.unwrap();
    let again = PostgresStore::connect(&copy_url).await.unwrap();
    tokens(&again).revoke(issued[0].record().id).await.unwrap();
    let refused = async {
        while here.authenticator().authenticate(presented).await.is_ok() {
            sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(std::time::Duration::from_secs(20), refused)
        .await
        .unwrap();
    follower.stop().await.unwrap();
}
