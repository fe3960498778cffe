//! Another program that reads for a long time.

use std::{fs, time::Duration};

use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::time::timeout;
use tower_api_tokens::{AppId, NewToken};

use crate::support::{File, tokens};

const MIB: u64 = 1 << 20;

async fn execute(connection: &mut SqliteConnection, statements: &str) {
    let statements = AssertSqlSafe(statements.to_owned());
    sqlx::raw_sql(statements).execute(connection).await.unwrap();
}

fn log_length(file: &File) -> u64 {
    let log = file.directory.path().join("tokens.db-wal");
    fs::metadata(log).unwrap().len()
}

#[tokio::test]
async fn changes_go_on_during_a_long_reading_and_the_log_is_merged_after_it() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app: AppId = platform.create_app("Billing").await.unwrap().id;
    let (mut reader, mut writer) = (file.connect().await, file.connect().await);
    execute(&mut writer, "CREATE TABLE theirs (data)").await;
    execute(&mut reader, "BEGIN; SELECT count(*) FROM api_tokens").await;
    let fill = format!("INSERT INTO theirs VALUES (zeroblob({}))", 20 * MIB);
    execute(&mut writer, &fill).await;

    let issue_many = async {
        for _ in 0..20 {
            let _issued = platform.issue(&app, NewToken::named("ci")).await.unwrap();
        }
    };
    let issued = timeout(Duration::from_secs(4), issue_many).await;
    issued.expect("one change tries to merge the log, and not each of them");
    assert!(log_length(&file) > 20 * MIB, "the reader needs it");

    execute(&mut reader, "COMMIT").await;
    let fill = format!("INSERT INTO theirs VALUES (zeroblob({}))", 5 * MIB);
    execute(&mut writer, &fill).await;
    let _issued = platform.issue(&app, NewToken::named("ci")).await.unwrap();
    let length = log_length(&file);
    assert!(length <= 5 * MIB, "{length} bytes are left");
}
