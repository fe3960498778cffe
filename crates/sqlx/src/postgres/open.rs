//! Opens a database. It is checked before anything is changed.

use std::{
    borrow::Cow,
    env,
    io::{self, ErrorKind},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use thiserror::Error;
use tokio::time::timeout;
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::{
    PostgresStore, PostgresStoreBuilder,
    builder::Server,
    connections::Connections,
    conninfo::{self, Settings},
    error::{from_sqlx, incompatible, invalid},
    facts::{MANAGING, READING, ServerFacts, VERSION, check_rights},
    follower::{Follower, Source},
    lending::{Lender, answers},
    migrate::{IndexBuilder, lacks_indexes, latest_version, migrate, read_version},
    pooler::{Lasting, keeps_statements},
    primary::{Primary, Role},
    required::{check_changes, check_triggers},
    schema::Schema,
    session::Timeouts,
};
use crate::compatibility::Access;

/// How long a statement waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long opening a connection may take, also if nothing waits for it any longer. A server to which thousands of
/// nodes connect in the same moment is slow, and what it has done for a connection is lost if that is given up.
pub(super) const OPENED_WITHIN: Duration = Duration::from_secs(10);

/// A connection that was idle for longer is tested before it is used: one for changes sooner, because callers do
/// not retry failed changes.
const IDLE: Duration = Duration::from_secs(1);
const IDLE_OF_CHANGES: Duration = Duration::from_millis(5);

/// The oldest version of PostgreSQL with all the functions that the store uses.
const OLDEST_SERVER: i32 = 130_000;

/// The maximum number of connections for statements other than lookups. Changes are serialized anyway.
const MAX_OTHERS: u32 = 4;

impl PostgresStoreBuilder {
    /// Connects, and creates or [migrates](PostgresStore#upgrades) the tables.
    ///
    /// # Errors
    ///
    /// The message of the error's source says what to do. Returns an error of the kind
    ///
    /// - [`InvalidSettings`](StoreErrorKind::InvalidSettings) if the connection string is invalid, the
    ///   server rejects the user or the password, its TLS certificate cannot be verified, the database or
    ///   the schema does not exist and cannot be created, the encoding is not UTF-8, the tables
    ///   [must exist](Self::must_exist) and do not, or the role cannot read;
    /// - [`ReadOnly`](StoreErrorKind::ReadOnly) if the server is a standby, or the role lacks the rights
    ///   to manage;
    /// - [`Incompatible`](StoreErrorKind::Incompatible) if a newer version of this crate migrated the
    ///   tables and this version may not use them, a read-only store has no tables, or the server is too
    ///   old. Nothing is changed then;
    /// - [`Unavailable`](StoreErrorKind::Unavailable) if the server cannot be reached.
    pub async fn connect(self) -> Result<PostgresStore, StoreError> {
        open(self).await
    }
}

async fn open(builder: PostgresStoreBuilder) -> Result<PostgresStore, StoreError> {
    if builder.primary.is_some() && !builder.read_only {
        return Err(invalid(
            "a store with a primary only verifies tokens: call `read_only` too, or connect to the primary alone",
        ));
    }
    let (mut connection, origin, keeps_statements) = match &builder.server {
        Server::Url(url) => {
            let settings = conninfo::read(url, &|name| env::var_os(name))?;
            let keeps_statements = settings.keeps_statements;
            // Connects outside of a pool, which would hide why it cannot connect.
            let (connection, options) = connect(settings).await?;
            (connection, Origin::Own(Box::new(options)), keeps_statements)
        }
        Server::Pool(pool) => {
            let acquired = pool.acquire().await.map_err(from_sqlx)?;
            // Detached, so that dropping the future closes the connection instead of returning it.
            let connection = acquired.detach();
            let keeps_statements = keeps_statements(&pool.connect_options());
            (connection, Origin::Shared(pool.clone()), keeps_statements)
        }
    };
    let lasting = match keeps_statements && !builder.transaction_pooler {
        true => {
            let options = origin.options();
            let detected = Lasting::detect(&mut connection, &options).await;
            detected.map_err(from_sqlx)?
        }
        false => Lasting::NOTHING,
    };
    let Prepared {
        schema,
        reads_committed,
        lacks_indexes,
    } = prepare(&mut connection, &builder).await?;
    drop(connection.close().await);
    let role = match &builder.primary {
        Some(url) => Role::Standby(Primary::connect(url, &builder, &schema).await?),
        None if builder.must_be_primary => Role::Primary,
        None => Role::Any,
    };
    let indexes = lacks_indexes.then(|| {
        let options = origin.options().into_owned();
        IndexBuilder::start(options, schema.clone(), lasting.sessions)
    });
    let in_transactions = !lasting.statements || (!reads_committed && !lasting.sessions);
    let connections = match origin {
        Origin::Own(options) => {
            let others = (builder.max_connections / 3).clamp(1, MAX_OTHERS);
            let lookups = builder.max_connections - others;
            let pool = |connections, timeouts: Timeouts, idle| {
                let timeouts = lasting.sessions.then_some(timeouts);
                let pool = own_pool(&options, connections, timeouts, idle);
                Lender::own(pool, idle, PATIENCE)
            };
            let lookups = pool(lookups, Timeouts::LOOKUP, IDLE);
            let others = pool(others, Timeouts::OTHERS, IDLE_OF_CHANGES);
            Connections::own(lookups, others, lasting.sessions, in_transactions)
        }
        Origin::Shared(pool) => Connections::shared(pool, !lasting.statements || !reads_committed),
    };
    let follower = Follower::new(Source {
        pool: connections.pool().clone(),
        schema: schema.clone(),
        keeps_sessions: lasting.sessions,
        listens: lasting.sessions,
        in_transactions,
    });
    Ok(PostgresStore::on(
        connections,
        follower,
        schema,
        lasting.statements,
        indexes,
        access(&builder),
        role,
    ))
}

/// The source of the connections.
enum Origin {
    Own(Box<PgConnectOptions>),
    Shared(PgPool),
}

impl Origin {
    fn options(&self) -> Cow<'_, PgConnectOptions> {
        match self {
            Self::Own(options) => Cow::Borrowed(options),
            Self::Shared(pool) => Cow::Owned(PgConnectOptions::clone(&pool.connect_options())),
        }
    }
}

/// Connects with the first of the allowed TLS modes that the server accepts.
async fn connect(settings: Settings) -> Result<(PgConnection, PgConnectOptions), StoreError> {
    let mut modes = settings.modes.into_iter().peekable();
    loop {
        let options = settings.options.clone();
        let options = modes
            .next()
            .map_or(options.clone(), |mode| options.ssl_mode(mode));
        let connected = timeout(OPENED_WITHIN, options.connect()).await;
        match connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(connection) => return Ok((connection, options)),
            Err(error) if modes.peek().is_some() && asks_for_another_mode(&error, &options) => {}
            Err(error) => return Err(cannot_connect(error, &options)),
        }
    }
}

/// Whether the server may accept a connection in another TLS mode.
fn asks_for_another_mode(error: &sqlx::Error, options: &PgConnectOptions) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "28000") || is_tls_failure(error, options)
}

fn cannot_connect(error: sqlx::Error, options: &PgConnectOptions) -> StoreError {
    let host = options.get_host().to_owned();
    if is_tls_failure(&error, options) {
        let source = Untrusted {
            host,
            source: error,
        };
        return StoreError::with_source(StoreErrorKind::InvalidSettings, source);
    }
    let port = options.get_port();
    match error {
        sqlx::Error::Io(source) => StoreError::unavailable(Unreachable { host, port, source }),
        sqlx::Error::PoolTimedOut => {
            let source = ErrorKind::TimedOut.into();
            StoreError::unavailable(Unreachable { host, port, source })
        }
        error => from_sqlx(error),
    }
}

#[derive(Debug, Error)]
#[error(
    "no PostgreSQL server responds at {host}, port {port}: check the address, and that the server is running"
)]
struct Unreachable {
    host: String,
    port: u16,
    source: io::Error,
}

/// Whether the server was reached, but the required TLS connection failed.
fn is_tls_failure(error: &sqlx::Error, options: &PgConnectOptions) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => match error.kind() {
            // A handshake fails like this if the certificate is not valid.
            ErrorKind::InvalidData => true,
            // The file with the root certificate is missing; only a Unix socket could be too.
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
    "cannot verify the TLS certificate of PostgreSQL at {host}: check that the server has `ssl` on, \
     that its certificate names {host}, and that `sslrootcert` is the file of the root that signed it; \
     on a trusted network, `sslmode=disable` turns TLS off"
)]
struct Untrusted {
    host: String,
    source: sqlx::Error,
}

fn own_pool(
    options: &PgConnectOptions,
    connections: u32,
    session_timeouts: Option<Timeouts>,
    idle: Duration,
) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(OPENED_WITHIN)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                match session_timeouts {
                    Some(timeouts) => timeouts.set(connection).await,
                    None => Ok(()),
                }
            })
        })
        // A connection in constant use needs no test.
        .test_before_acquire(false)
        .before_acquire(move |connection, metadata| {
            Box::pin(async move { Ok(metadata.idle_for < idle || answers(connection).await) })
        })
        .connect_lazy_with(options.clone())
}

fn access(builder: &PostgresStoreBuilder) -> Access {
    match builder.read_only {
        true => Access::Read,
        false => Access::Write,
    }
}

struct Prepared {
    schema: Schema,
    /// Whether the default isolation level of the server suits every statement.
    reads_committed: bool,
    /// Whether this node builds indexes.
    lacks_indexes: bool,
}

/// Checks the server and the tables, and migrates the tables unless the store is read-only.
async fn prepare(
    connection: &mut PgConnection,
    builder: &PostgresStoreBuilder,
) -> Result<Prepared, StoreError> {
    let wanted = builder.schema.as_deref().map(Schema::new).transpose()?;
    let server = ServerFacts::read(connection, wanted.as_ref().map(Schema::name)).await?;
    if server.version < OLDEST_SERVER {
        return Err(incompatible(
            "PostgreSQL is older than 13: upgrade the server",
        ));
    }
    server.check_encoding()?;
    if builder.must_be_primary && server.is_standby {
        return Err(invalid(
            "the server at the address of the primary is a standby: give the address of the primary",
        ));
    }
    let schema = server
        .schema
        .as_deref()
        .ok_or_else(|| invalid("no schema in the search path exists: name one with `schema`"))?;
    let schema = Schema::new(schema)?;
    let access = access(builder);
    let mut found = match server.has_tables {
        true => {
            check_rights(
                connection,
                &schema,
                VERSION,
                StoreErrorKind::InvalidSettings,
            )
            .await?;
            read_version(connection, &schema, access).await?
        }
        false => 0,
    };
    if builder.read_only {
        if found < latest_version() {
            return Err(incompatible(format!(
                "schema {} has no tables of this version: let a manager node connect first",
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
        check_triggers(connection, &schema).await?;
        return Ok(Prepared {
            schema,
            reads_committed: server.reads_committed,
            lacks_indexes: false,
        });
    }
    if server.read_only {
        return Err(StoreError::with_source(
            StoreErrorKind::ReadOnly,
            "the server is a standby or configured as read-only: connect to the primary, or open the store with `read_only`",
        ));
    }
    if found == 0 && builder.must_exist {
        return Err(invalid(format!(
            "schema {} has no tables for API tokens: check the names of the schema and the database, or create the tables with `api-tokens app create NAME`",
            schema.quoted()
        )));
    }
    if found < latest_version() {
        server.check_creating(&schema)?;
        found = migrate(connection, &schema, !server.has_schema).await?;
    }
    check_rights(connection, &schema, MANAGING, StoreErrorKind::ReadOnly).await?;
    check_changes(connection, &schema).await?;
    check_triggers(connection, &schema).await?;
    // A later version may have dropped an index.
    let lacks_indexes = found == latest_version() && lacks_indexes(connection, &schema).await?;
    Ok(Prepared {
        schema,
        reads_committed: server.reads_committed,
        lacks_indexes,
    })
}
