//! Plain inserts of rows with the width and the indexes of a token, by `pgbench`.

use std::{fs, process::Command};

use benches::execute;

use crate::{Platform, SCHEMA};

const INSERT: &str = "INSERT INTO changes.plain (id, digest, mask, app_id, name, scopes, created_at) \
    VALUES (gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), 'acme_…x7Kq', 'app', 'ci', '', 0);";

/// Returns how many rows these clients insert per second.
pub(crate) async fn run(platform: &Platform, clients: usize) -> f64 {
    let like = format!(
        "CREATE TABLE {SCHEMA}.plain (LIKE {SCHEMA}.api_tokens INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)"
    );
    execute(&platform.url, &like).await;
    let script = tempfile::NamedTempFile::new().expect("a file");
    fs::write(script.path(), INSERT).expect("the script is written");
    let output = Command::new(platform.programs.join("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=1"])
        .args(["--client", &clients.to_string()])
        .args(["--time", &platform.seconds.to_string()])
        .arg("--file")
        .arg(script.path())
        .arg(&platform.url)
        .output()
        .expect("`pgbench` runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split(' ').next())
        .and_then(|rate| rate.parse().ok());
    rate.unwrap_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("pgbench gives no rate: {text} {errors}")
    })
}
