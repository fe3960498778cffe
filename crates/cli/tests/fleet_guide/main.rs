//! Runs all commands of the fleet guide in order, as one session on a new server.

#[expect(dead_code, reason = "no fault is simulated here")]
#[path = "../../../../tests/services/server.rs"]
mod server;
#[path = "../../../../tests/services/mod.rs"]
mod services;

use std::{
    env,
    fmt::Write as _,
    fs,
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use server::Server;
use services::Test;

const GUIDE: &str = include_str!("../../../../docs/fleet.md");

fn main() -> ExitCode {
    let found = server::binaries().is_some();
    let tests: Vec<Test> = vec![("every_command_of_the_guide_succeeds", || {
        Box::pin(every_command_of_the_guide_succeeds())
    })];
    services::run(
        "the programs of PostgreSQL, in TEST_POSTGRES_BIN",
        found,
        tests,
    )
}

async fn every_command_of_the_guide_succeeds() {
    let server = Server::start_new(&[]).await;
    let directory = TempDir::new().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    symlink(here.join("../../crates"), directory.path().join("crates")).unwrap();
    let session = session(&commands(GUIDE));
    fs::write(directory.path().join("session"), session).unwrap();

    let api_tokens = Path::new(env!("CARGO_BIN_EXE_api-tokens"));
    let programs = [
        api_tokens.parent().unwrap().to_owned(),
        server::binaries().unwrap(),
    ];
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths(programs.into_iter().chain(env::split_paths(&path))).unwrap();
    let address = server.address();
    let run = Command::new("bash")
        .args(["-euo", "pipefail", "session"])
        .current_dir(directory.path())
        .env("PATH", path)
        .env("PGHOST", address.ip().to_string())
        .env("PGPORT", address.port().to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "postgres")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success(),
        "docs/fleet.md, line {}, {}:\n{said}",
        fs::read_to_string(directory.path().join("block")).unwrap(),
        match run.status.signal() {
            Some(signal) => format!("ended by signal {signal}"),
            None => run.status.to_string(),
        },
    );

    // A token that the restored backup had made live again was revoked again.
    let options: PgConnectOptions = server.url().parse().unwrap();
    let restored = options.database("restored");
    let mut connection = PgConnection::connect_with(&restored).await.unwrap();
    let revoked = "SELECT count(*) FROM api_tokens WHERE revoked_at IS NOT NULL";
    let revoked: i64 = sqlx::query_scalar(revoked)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(revoked, 1);
}

#[derive(Debug)]
struct Block<'g> {
    /// The line before its first one.
    line: usize,
    language: &'g str,
    text: String,
}

/// Returns the blocks of commands. Every other block has to be Rust or output, so that none is missed.
fn commands(guide: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(guide.lines()) {
        match (line.trim_start().strip_prefix("```"), inside) {
            (Some(language), false) => {
                inside = true;
                blocks.push(Block {
                    line: number,
                    language,
                    text: String::new(),
                });
            }
            (Some(_), true) => inside = false,
            (None, true) => writeln!(blocks.last_mut().unwrap().text, "{line}").unwrap(),
            (None, false) => {}
        }
    }
    blocks.retain(|block| match block.language {
        "sh" | "sql" => true,
        "text" | "rust,no_run" => false,
        other => panic!("docs/fleet.md, line {}: a block of {other:?}", block.line),
    });
    assert!(blocks.len() > 10, "the guide has lost its commands");
    blocks
}

/// Joins the blocks to one script, which records the line of the current command.
fn session(blocks: &[Block<'_>]) -> String {
    let mut session = String::new();
    for Block {
        line,
        language,
        text,
    } in blocks
    {
        writeln!(session, "printf %s {line} > block").unwrap();
        match *language {
            "sql" => writeln!(
                session,
                "psql --no-psqlrc --set ON_ERROR_STOP=1 <<'END OF SQL'\n{text}END OF SQL"
            )
            .unwrap(),
            _ => session.push_str(text),
        }
    }
    session
}
