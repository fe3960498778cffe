//! Opens a database: looks at it before it touches it.

use std::{io::ErrorKind, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Row,
    pool::PoolConnectionMetadata,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use thiserror::Error;
use tokio::time::timeout;

use super::{
    PostgresStore, PostgresStoreBuilder,
    builder::Server,
    error::from_sqlx,
    migrate::{latest_version, migrate, read_version},
    schema::Schema,
};
use crate::store::{StoreError, StoreErrorKind};

/// How long it may take to get a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that was idle for longer is tried before it is used.
const IDLE: Duration = Duration::from_secs(1);

/// The oldest PostgreSQL that has every function that is used.
const OLDEST_SERVER: i32 = 130_000;

pub(super) async fn open(builder: PostgresStoreBuilder) -> Result<PostgresStore, StoreError> {
    let (pool, mut connection) = match &builder.server {
        Server::Url(url) => {
            let options = options_of(url)?;
            // Not one of the pool's, which would not say why it cannot connect.
            let connection = connect(&options).await?;
            (own_pool(&builder, options), connection)
        }
        Server::Pool(pool) => {
            let connection = pool.acquire().await.map_err(from_sqlx)?;
            // What is dropped midway takes the connection along, and does not give it back.
            (pool.clone(), connection.detach())
        }
    };
    let schema = prepare(&mut connection, &builder).await?;
    drop(connection.close().await);
    let in_transactions = builder.transaction_pooler || keeps_no_statements(&pool);
    Ok(PostgresStore::on(pool, schema, in_transactions))
}

fn options_of(url: &str) -> Result<PgConnectOptions, StoreError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(invalid(
            "the URL of a PostgreSQL database is `postgres://user:password@host:port/database`",
        ));
    }
    PgConnectOptions::from_str(url).map_err(from_sqlx)
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let unreachable = |source| {
        StoreError::unavailable(Unreachable {
            host: options.get_host().to_owned(),
            port: options.get_port(),
            source,
        })
    };
    match timeout(PATIENCE, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if is_of_tls(&error, options) => {
            let host = options.get_host().to_owned();
            let source = Untrusted {
                host,
                source: error,
            };
            Err(StoreError::with_source(
                StoreErrorKind::InvalidSettings,
                source,
            ))
        }
        Ok(Err(error @ sqlx::Error::Io(_))) => Err(unreachable(error)),
        Ok(Err(error)) => Err(from_sqlx(error)),
        Err(_) => Err(unreachable(sqlx::Error::PoolTimedOut)),
    }
}

#[derive(Debug, Error)]
#[error("no PostgreSQL answers at {host}, port {port}: check the address, and that it runs")]
struct Unreachable {
    host: String,
    port: u16,
    source: sqlx::Error,
}

/// Whether it connects, but not with the TLS that the URL asks for.
fn is_of_tls(error: &sqlx::Error, options: &PgConnectOptions) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => match error.kind() {
            // So a handshake fails whose certificate does not hold.
            ErrorKind::InvalidData => true,
            // Of the file with the root; only a socket could be as missing.
            ErrorKind::NotFound => {
                options.get_socket().is_none() && !options.get_host().starts_with('/')
            }
            _ => false,
        },
        _ => false,
    }
}

#[derive(Debug, Error)]
#[error(
    "PostgreSQL at {host} is not reached by the TLS that the URL asks for: check that the server's \
     certificate names {host}, that `sslrootcert` is the file of the root that signed it, and that \
     the server has `ssl` on"
)]
struct Untrusted {
    host: String,
    source: sqlx::Error,
}

fn own_pool(builder: &PostgresStoreBuilder, options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(builder.max_connections)
        .acquire_timeout(PATIENCE)
        // One that is in use all the time needs no round trip to see whether it works.
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| Box::pin(is_usable(connection, metadata)))
        .connect_lazy_with(options)
}

async fn is_usable(
    connection: &mut PgConnection,
    metadata: PoolConnectionMetadata,
) -> Result<bool, sqlx::Error> {
    if metadata.idle_for < IDLE {
        return Ok(true);
    }
    Ok(matches!(timeout(IDLE, connection.ping()).await, Ok(Ok(()))))
}

fn keeps_no_statements(pool: &PgPool) -> bool {
    let url = pool.connect_options().to_url_lossy();
    url.query_pairs()
        .any(|(name, value)| name == "statement-cache-capacity" && value == "0")
}

/// Looks at the server and the tables, and brings them up to date if they are to be written.
async fn prepare(
    connection: &mut PgConnection,
    builder: &PostgresStoreBuilder,
) -> Result<Schema, StoreError> {
    let wanted = builder.schema.as_deref().map(Schema::new).transpose()?;
    let server = Facts::read(connection, wanted.as_ref().map(Schema::name)).await?;
    if server.version < OLDEST_SERVER {
        return Err(incompatible(
            "PostgreSQL is older than 13: upgrade the server",
        ));
    }
    let schema = server.schema.as_deref().ok_or_else(|| {
        invalid("the search path names no schema that is there: name one with `schema`")
    })?;
    let schema = Schema::new(schema)?;
    let found = match server.has_tables {
        true => {
            check_rights(
                connection,
                &schema,
                VERSION,
                StoreErrorKind::InvalidSettings,
            )
            .await?;
            read_version(connection, &schema).await?
        }
        false => 0,
    };
    if found > latest_version() {
        return Err(incompatible(
            "a newer version of this crate wrote the tables: upgrade this program",
        ));
    }
    if builder.read_only {
        if found < latest_version() {
            return Err(incompatible(format!(
                "schema {} has no tables of this version: let a node that manages connect first",
                schema.quoted()
            )));
        }
        check_rights(
            connection,
            &schema,
            READING,
            StoreErrorKind::InvalidSettings,
        )
        .await?;
        return Ok(schema);
    }
    if server.read_only {
        return Err(StoreError::with_source(
            StoreErrorKind::ReadOnly,
            "the server is a standby, or read-only by its settings: connect to the primary, or open the store with `read_only`",
        ));
    }
    if found == 0 && builder.must_exist {
        return Err(invalid(format!(
            "schema {} has no tables of API tokens: check its name and the database's, or create the first app, as `api-tokens app create` does, which makes them",
            schema.quoted()
        )));
    }
    if found < latest_version() {
        server.check_creating(&schema)?;
        migrate(connection, &schema, !server.has_schema).await?;
    }
    check_rights(connection, &schema, MANAGING, StoreErrorKind::ReadOnly).await?;
    Ok(schema)
}

/// What a server says of itself and of a schema.
struct Facts {
    version: i32,
    read_only: bool,
    schema: Option<String>,
    has_schema: bool,
    /// Whether the role may create tables in the schema, or the schema if it is missing.
    may_create: bool,
    has_tables: bool,
}

impl Facts {
    async fn read(connection: &mut PgConnection, schema: Option<&str>) -> Result<Self, StoreError> {
        // A statement that is prepared is prepared in the transaction in which it is executed.
        let mut transaction = connection.begin().await.map_err(from_sqlx)?;
        let row = sqlx::query(
            "SELECT current_setting('server_version_num')::int, \
                current_setting('transaction_read_only') = 'on', \
                named.name, \
                n.oid IS NOT NULL, \
                CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE') \
                    ELSE has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE') END, \
                EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = '_api_token_migrations') \
            FROM (SELECT coalesce($1, current_schema()::text) AS name) AS named \
            LEFT JOIN pg_namespace n ON n.nspname = named.name",
        )
        .bind(schema)
        .persistent(false)
        .fetch_one(&mut *transaction)
        .await
        .map_err(from_sqlx)?;
        transaction.commit().await.map_err(from_sqlx)?;
        let read = || {
            Ok(Self {
                version: row.try_get(0)?,
                read_only: row.try_get(1)?,
                schema: row.try_get(2)?,
                has_schema: row.try_get(3)?,
                may_create: row.try_get(4)?,
                has_tables: row.try_get(5)?,
            })
        };
        read().map_err(from_sqlx)
    }

    fn check_creating(&self, schema: &Schema) -> Result<(), StoreError> {
        if self.may_create {
            return Ok(());
        }
        let quoted = schema.quoted();
        Err(invalid(match self.has_schema {
            false => format!(
                "there is no schema {quoted}, and the role may not create it: create it, and grant the role CREATE on it"
            ),
            true => format!(
                "the tables have to be brought up to date, and the role may not: grant it CREATE on schema {quoted}, or connect once with a role that has it"
            ),
        }))
    }
}

type Rights = &'static [(&'static str, &'static [&'static str])];

const VERSION: Rights = &[("_api_token_migrations", &["SELECT"])];

const READING: Rights = &[
    ("api_token_records", &["SELECT"]),
    ("api_token_changes", &["SELECT"]),
];

const MANAGING: Rights = &[
    ("api_token_records", &["SELECT"]),
    ("api_token_changes", &["SELECT"]),
    ("api_token_apps", &["SELECT", "INSERT", "UPDATE"]),
    ("api_tokens", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("api_token_keys", &["SELECT", "INSERT", "DELETE"]),
    ("api_token_audit", &["SELECT", "INSERT"]),
];

async fn check_rights(
    connection: &mut PgConnection,
    schema: &Schema,
    rights: Rights,
    without: StoreErrorKind,
) -> Result<(), StoreError> {
    let needed = rights.iter().flat_map(|(relation, privileges)| {
        privileges
            .iter()
            .map(move |privilege| (*relation, *privilege))
    });
    let (relations, privileges): (Vec<_>, Vec<_>) = needed.unzip();
    let mut transaction = connection.begin().await.map_err(from_sqlx)?;
    let row = sqlx::query(
        "SELECT string_agg(needed.privilege || ' on ' || needed.relation, ', ') \
        FROM unnest($1, $2) AS needed (relation, privilege) \
        LEFT JOIN pg_class c ON c.relname = needed.relation \
            AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $3) \
        WHERE (has_table_privilege(c.oid, needed.privilege) \
            AND has_schema_privilege(c.relnamespace, 'USAGE')) IS NOT TRUE",
    )
    .bind(relations)
    .bind(privileges)
    .bind(schema.name())
    .persistent(false)
    .fetch_one(&mut *transaction)
    .await
    .map_err(from_sqlx)?;
    transaction.commit().await.map_err(from_sqlx)?;
    match row.try_get::<Option<String>, _>(0).map_err(from_sqlx)? {
        None => Ok(()),
        Some(lacking) => Err(StoreError::with_source(
            without,
            format!(
                "the role lacks rights ({lacking}): grant them as `migrations/postgres/roles.sql` does"
            ),
        )),
    }
}

fn invalid(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::InvalidSettings, message)
}

fn incompatible(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Incompatible, message)
}
