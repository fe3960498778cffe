//! PostgreSQL: the manager process or the server itself is killed.

use sqlx::{Connection, PgConnection};

use crate::{ordeal::Ordeal, server::Server, services::Test, violation::Violation};

const KILLS: u32 = 300;
const KILLS_OF_SERVER: u32 = 20;
const FAILOVERS: u32 = 3;
/// Enough on a busy machine too, where few changes are made before each kill.
const KILLS_UNTIL_DETECTED: u32 = 200;

/// With this setting, a server acknowledges changes that are not on disk.
const DOES_NOT_WAIT: &str = "synchronous_commit=off";
/// Makes sure that such changes are lost when the server is killed, however slow the machine is.
const WRITES_LATE: &str = "wal_writer_delay=10s";

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_killed_process_loses_nothing_in_postgres,
        a_killed_server_loses_nothing,
        a_killed_server_with_synchronous_commit_off_loses_nothing,
        a_failover_to_a_synchronous_standby_loses_nothing,
        a_change_acknowledged_before_it_is_durable_is_detected,
    ]
}

async fn a_killed_process_loses_nothing_in_postgres() {
    let server = Server::start_new(&[]).await;
    let mut ordeal = Ordeal::on(&server.url(), None).await;
    for _ in 0..KILLS {
        ordeal.kill_process().await.unwrap();
    }
    ordeal.has_hit_the_midst();
    ordeal.has_hit_both_sides();
}

async fn a_killed_server_loses_nothing() {
    let mut server = Server::start_new(&[]).await;
    survive(&mut server).await;
}

async fn a_killed_server_with_synchronous_commit_off_loses_nothing() {
    let mut server = Server::start_new(&[DOES_NOT_WAIT]).await;
    survive(&mut server).await;
}

async fn survive(server: &mut Server) {
    let mut ordeal = Ordeal::on(&server.url(), None).await;
    for _ in 0..KILLS_OF_SERVER {
        ordeal.kill_server(server).await.unwrap();
    }
    ordeal.has_hit_the_midst();
}

/// Each time, the primary is killed, and a new standby takes its place.
async fn a_failover_to_a_synchronous_standby_loses_nothing() {
    let mut server = Server::start_new(&[]).await;
    let mut ordeal = Ordeal::on(&server.url(), None).await;
    for _ in 0..FAILOVERS {
        let standby = server.start_standby().await;
        let mut connection = PgConnection::connect(&server.url()).await.unwrap();
        for statement in [
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
            "SELECT pg_reload_conf()",
        ] {
            sqlx::raw_sql(statement)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        let is_synchronous =
            "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')";
        while !sqlx::query_scalar::<_, bool>(is_synchronous)
            .fetch_one(&mut connection)
            .await
            .unwrap()
        {
            tokio::task::yield_now().await;
        }
        connection.close().await.unwrap();
        ordeal.fail_over(&mut server, standby).await.unwrap();
    }
}

/// Proves that the check can fail: without the waiting of the store's functions, the same server loses
/// changes.
async fn a_change_acknowledged_before_it_is_durable_is_detected() {
    let mut server = Server::start_new(&[DOES_NOT_WAIT, WRITES_LATE]).await;
    let mut ordeal = Ordeal::on(&server.url(), None).await;
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql(
        "DO $do$
        DECLARE
            definition text;
        BEGIN
            FOR definition IN
                SELECT replace(pg_get_functiondef(oid), '''local''', '''off''') FROM pg_proc
                WHERE proname LIKE 'api\\_token\\_%' AND prosrc LIKE '%synchronous_commit%'
            LOOP
                EXECUTE definition;
            END LOOP;
        END
        $do$",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    for _ in 0..KILLS_UNTIL_DETECTED {
        if let Err(violation) = ordeal.kill_server(&mut server).await {
            let unreadable = matches!(violation, Violation::Unreadable(_));
            assert!(!unreadable, "{violation:?}");
            return;
        }
    }
    panic!("it was not noticed");
}
