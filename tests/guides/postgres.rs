//! The guides to stores and to measuring, on a PostgreSQL that `TEST_POSTGRES_URL` names.

mod custom_query;
#[path = "../services/mod.rs"]
mod services;

use std::{env, process, process::ExitCode};

use futures_util::FutureExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tower_api_tokens::testing::latency::Report;

include!("shown/measure.rs");

const GUIDE: &str = include_str!("../../docs/measure.md");

/// The block of the guide in this language.
fn block(language: &str) -> &'static str {
    let (_, rest) = GUIDE.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

async fn execute(connection: &mut PgConnection, statements: String) {
    let statements = AssertSqlSafe(statements);
    sqlx::raw_sql(statements).execute(connection).await.unwrap();
}

async fn the_table_of_the_guide_is_measured_against_postgres_store() {
    let server = env::var("TEST_POSTGRES_URL").unwrap();
    let schema = format!("guide_{}", process::id());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let path = format!("CREATE SCHEMA {schema}; SET search_path TO {schema};");
    execute(&mut connection, format!("{path} {}", block("sql"))).await;

    let url = format!("{server}?options[search_path]={schema}");
    let duration = Duration::from_millis(500);
    let comparison = measure(&url, 100, duration).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    env::set_current_dir(&directory).unwrap();
    write(&comparison).unwrap();
    execute(&mut connection, format!("DROP SCHEMA {schema} CASCADE")).await;

    let [partners, postgres] = comparison.reports() else {
        panic!("two stores were measured: {comparison:?}");
    };
    assert_eq!(partners.rate(), postgres.rate());
    assert!(partners.has_same_load(postgres));
    for report in [partners, postgres] {
        let count = |kind| report.figures(kind).count();
        assert!(count(Kind::Hit) > count(Kind::Miss) && count(Kind::Miss) > 0);
        assert_eq!(count(Kind::Revoked), 0);
        let unavailable = Kind::ALL.map(|kind| report.figures(kind).unavailable());
        assert_eq!(unavailable, [0; 5], "{report}");
        let file = format!("{}.json", report.name());
        let written = fs::read_to_string(directory.path().join(file)).unwrap();
        assert_eq!(Report::from_json(&written).unwrap(), *report);
    }
}

fn main() -> ExitCode {
    services::run(
        "TEST_POSTGRES_URL",
        env::var_os("TEST_POSTGRES_URL").is_some(),
        vec![
            (
                "the_table_of_the_guide_is_measured_against_postgres_store",
                || the_table_of_the_guide_is_measured_against_postgres_store().boxed(),
            ),
            ("the_query_of_the_guide_reads_rows_in_every_state", || {
                custom_query::the_query_of_the_guide_reads_rows_in_every_state().boxed()
            }),
        ],
    )
}
