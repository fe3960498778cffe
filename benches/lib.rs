//! Benches of verification. `README.md` explains how to run them.

use std::{env, fs};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Returns the resident memory of this process, in bytes.
///
/// # Panics
///
/// Panics unless the system is Linux.
pub fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: f64 = kibibytes
        .and_then(|n| n.parse().ok())
        .expect("the size is a number");
    kibibytes * 1024.0
}

/// Runs statements on a connection of their own.
///
/// # Panics
///
/// Panics unless the server runs them.
pub async fn execute(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the server");
    let statements = AssertSqlSafe(statements.to_owned());
    let done = sqlx::raw_sql(statements).execute(&mut connection).await;
    done.expect("the statements run");
}

/// Returns the number after an argument of this program, or a default without the argument.
///
/// # Errors
///
/// Returns what to tell the user if it is no number.
pub fn argument(name: &str, default: u64) -> Result<u64, String> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let mut pairs = arguments.windows(2);
    let given = pairs.find(|pair| pair[0] == name);
    let number = given.map_or(Ok(default), |pair| pair[1].parse());
    number.map_err(|_| format!("give {name} a number"))
}
