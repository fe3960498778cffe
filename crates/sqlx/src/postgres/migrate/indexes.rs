//! Builds indexes without blocking lookups or changes.
//!
//! `CREATE INDEX CONCURRENTLY` runs outside of a transaction. If it fails, or its server stops, it leaves an invalid
//! index. The missing indexes are therefore read from the catalog, so that any process can continue.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};
use tower_api_tokens::{StoreError, store::jittered};

use super::{
    execute,
    fill::fill,
    list::{Index, MIGRATIONS, indexes},
    locks::may_pass,
};
use crate::{
    postgres::{BEGIN, error::from_sqlx, schema::Schema},
    telemetry,
};

/// How long to wait while another process is building indexes.
const PAUSE: Duration = Duration::from_secs(1);

/// How long to wait after a failure.
const LONG_PAUSE: Duration = Duration::from_secs(60);

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Builds the indexes in a task. Stops when it is dropped.
pub(in crate::postgres) struct IndexBuilder {
    source: Source,
    task: AbortHandle,
}

/// How to connect.
#[derive(Clone)]
struct Source {
    options: PgConnectOptions,
    schema: Schema,
    /// Whether a session outlives a transaction. A pooler could pass its settings on to other
    /// clients.
    keeps_sessions: bool,
}

/// The progress of the index builds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    /// Another process is building them.
    Waiting,
}

impl IndexBuilder {
    pub(in crate::postgres) fn start(
        options: PgConnectOptions,
        schema: Schema,
        keeps_sessions: bool,
    ) -> Self {
        let source = Source {
            options,
            schema,
            keeps_sessions,
        };
        let task = tokio::spawn(run(source.clone())).abort_handle();
        Self { source, task }
    }

    /// Waits until all indexes exist.
    pub(in crate::postgres) async fn finish(&self) -> Result<(), StoreError> {
        while build(&self.source).await? == Progress::Waiting {
            pause().await;
        }
        Ok(())
    }

    /// Stops building in this process. The server completes the index that it is building.
    pub(in crate::postgres) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for IndexBuilder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for other sessions.
pub(super) async fn pause() {
    sleep(jittered(PAUSE)).await;
}

async fn run(source: Source) {
    loop {
        let pause = match build(&source).await {
            Ok(Progress::Done) => return,
            Ok(Progress::Waiting) => PAUSE,
            Err(error) => {
                telemetry::index_failed(&error);
                LONG_PAUSE
            }
        };
        sleep(jittered(pause)).await;
    }
}

/// Whether the tables lack indexes that this role may build.
pub(in crate::postgres) async fn lacks_indexes(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<bool, StoreError> {
    let names: Vec<_> = indexes().map(|index| index.name).collect();
    let mut transaction = connection.begin_with(BEGIN).await.map_err(from_sqlx)?;
    let row = sqlx::query(
        "SELECT EXISTS ( \
            SELECT FROM unnest($1) AS needed (name) WHERE NOT EXISTS ( \
                SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                WHERE c.relname = needed.name AND c.relnamespace = t.relnamespace AND i.indisvalid)) \
         FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace \
         WHERE n.nspname = $2 AND t.relname = 'api_tokens' AND pg_has_role(t.relowner, 'USAGE')",
    )
    .bind(names)
    .bind(schema.name())
    .persistent(false)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(from_sqlx)?;
    transaction.commit().await.map_err(from_sqlx)?;
    row.map_or(Ok(false), |row| row.try_get(0).map_err(from_sqlx))
}

/// Builds all indexes in the transaction that creates the tables.
pub(super) async fn build_now(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<(), StoreError> {
    for index in indexes() {
        let Index {
            name,
            table,
            columns,
        } = index;
        let create = schema.fill(&format!("CREATE INDEX {name} ON @.{table} {columns}"));
        execute(connection, create).await?;
    }
    Ok(())
}

/// Builds the missing indexes, unless another process is building them.
async fn build(source: &Source) -> Result<Progress, StoreError> {
    let mut locking = source.connect().await?;
    // The lock belongs to a transaction, because a pooler would not keep one of the session. Without a snapshot,
    // the transaction holds up neither the builds nor vacuum.
    let mut transaction = locking.begin_with(BEGIN).await.map_err(from_sqlx)?;
    let no_timeout = "SET LOCAL idle_in_transaction_session_timeout TO 0";
    execute(&mut transaction, no_timeout).await?;
    let row = sqlx::query(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('tower-api-tokens indexes ' || $1, 0))",
    )
    .bind(source.schema.name())
    .persistent(false)
    .fetch_one(&mut *transaction)
    .await
    .map_err(from_sqlx)?;
    let progress = match row.try_get(0).map_err(from_sqlx)? {
        true => build_missing(source).await?,
        false => Progress::Waiting,
    };
    transaction.commit().await.map_err(from_sqlx)?;
    locking.close().await.map_err(from_sqlx)?;
    Ok(progress)
}

async fn build_missing(source: &Source) -> Result<Progress, StoreError> {
    let mut connection = source.connect().await?;
    if source.keeps_sessions {
        // A build may take hours, and first waits for transactions that are older.
        let no_timeouts = "SET lock_timeout TO 0; SET statement_timeout TO 0";
        execute(&mut connection, no_timeouts).await?;
    }
    for migration in &MIGRATIONS {
        if let Some(needed) = &migration.fill
            && !has_all(&mut connection, &source.schema, migration.indexes).await?
        {
            fill(&mut connection, &source.schema, needed).await?;
        }
        for index in migration.indexes {
            if build_one(&mut connection, &source.schema, index).await? == Progress::Waiting {
                return Ok(Progress::Waiting);
            }
        }
    }
    connection.close().await.map_err(from_sqlx)?;
    Ok(Progress::Done)
}

async fn has_all(
    connection: &mut PgConnection,
    schema: &Schema,
    indexes: &[Index],
) -> Result<bool, StoreError> {
    for index in indexes {
        if is_valid(connection, schema, index.name).await? != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn build_one(
    connection: &mut PgConnection,
    schema: &Schema,
    index: &Index,
) -> Result<Progress, StoreError> {
    let Index {
        name,
        table,
        columns,
    } = index;
    if is_valid(connection, schema, name).await? == Some(true) {
        return Ok(Progress::Done);
    }
    // A client that died may have left a server process that is still building.
    let mut transaction = connection.begin_with(BEGIN).await.map_err(from_sqlx)?;
    let lock = format!("LOCK TABLE @.{table} IN SHARE UPDATE EXCLUSIVE MODE NOWAIT");
    let locked = sqlx::raw_sql(schema.fill(&lock)).execute(&mut *transaction);
    match locked.await {
        Err(error) if may_pass(&error) => return Ok(Progress::Waiting),
        locked => locked.map_err(from_sqlx)?,
    };
    let valid = is_valid(&mut transaction, schema, name).await?;
    transaction.commit().await.map_err(from_sqlx)?;
    if valid == Some(true) {
        return Ok(Progress::Done);
    }
    if valid == Some(false) {
        let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS @.{name}");
        execute(connection, schema.fill(&drop)).await?;
    }
    let create = format!("CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON @.{table} {columns}");
    execute(connection, schema.fill(&create)).await?;
    Ok(Progress::Done)
}

/// Returns whether an index can be used, or `None` if there is none.
async fn is_valid(
    connection: &mut PgConnection,
    schema: &Schema,
    name: &str,
) -> Result<Option<bool>, StoreError> {
    // Behind a pooler, a statement must be prepared and executed in one transaction.
    let mut transaction = connection.begin().await.map_err(from_sqlx)?;
    let row = sqlx::query(
        "SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind(schema.name())
    .bind(name)
    .persistent(false)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(from_sqlx)?;
    transaction.commit().await.map_err(from_sqlx)?;
    row.map(|row| row.try_get(0).map_err(from_sqlx)).transpose()
}

impl Source {
    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connected = timeout(CONNECT_WITHIN, self.options.connect()).await;
        connected
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .map_err(from_sqlx)
    }
}
