//! Opens a database: looks at it before it touches it.

use std::{borrow::Cow, env, io::ErrorKind, time::Duration};

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
    facts::{Facts, MANAGING, READING, VERSION, check_rights},
    follower::{Follower, Source},
    migrate::{latest_version, migrate, newer, read_version},
    pooler::{Lasting, keeps_statements},
    required::{check_changes, check_triggers},
    schema::Schema,
    session::Bounds,
};

/// How long it may take to get a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection for lookups that was idle for longer is tried before it is used. One for changes is
/// always: nobody repeats a change that failed.
const IDLE: Duration = Duration::from_secs(1);

/// How long the server may take to answer when a connection is tried.
const TRIED_WITHIN: Duration = Duration::from_secs(1);

/// The oldest PostgreSQL that has every function that is used.
const OLDEST_SERVER: i32 = 130_000;

/// The most connections of a store for all but lookups: changes are made one at a time anyway.
const MAX_OTHERS: u32 = 4;

impl PostgresStoreBuilder {
    /// Connects, and brings the tables up to date.
    ///
    /// # Errors
    ///
    /// [`InvalidSettings`](StoreErrorKind::InvalidSettings) when the connection string cannot be read,
    /// the server refuses the user or the password or does not prove by TLS that it is the one, the
    /// database or the schema is missing and cannot be created, its encoding is not UTF-8, there
    /// are no tables although they [must exist](Self::must_exist), or the role may not even read; [`ReadOnly`](StoreErrorKind::ReadOnly) when the server is a standby, or
    /// the role lacks rights to manage;
    /// [`Incompatible`](StoreErrorKind::Incompatible) when a newer version of this crate wrote the
    /// tables, there are none to be read, or the server is too old: nothing is changed then.
    /// [`Unavailable`](StoreErrorKind::Unavailable) when the server cannot be reached. The message of
    /// the error's source says what helps.
    pub async fn connect(self) -> Result<PostgresStore, StoreError> {
        open(self).await
    }
}

async fn open(builder: PostgresStoreBuilder) -> Result<PostgresStore, StoreError> {
    let (mut connection, origin, keeps_statements) = match &builder.server {
        Server::Url(url) => {
            let settings = conninfo::read(url, &|name| env::var_os(name))?;
            let keeps_statements = settings.keeps_statements;
            // Not one of a pool's, which would not say why it cannot connect.
            let (connection, options) = connect(settings).await?;
            (connection, Origin::Own(Box::new(options)), keeps_statements)
        }
        Server::Pool(pool) => {
            let acquired = pool.acquire().await.map_err(from_sqlx)?;
            // What is dropped midway takes the connection along, and does not give it back.
            let connection = acquired.detach();
            let keeps_statements = keeps_statements(&pool.connect_options());
            (connection, Origin::Shared(pool.clone()), keeps_statements)
        }
    };
    let lasting = match keeps_statements && !builder.transaction_pooler {
        true => {
            let options = origin.options();
            let found_out = Lasting::find_out(&mut connection, &options).await;
            found_out.map_err(from_sqlx)?
        }
        false => Lasting::NOTHING,
    };
    let Prepared {
        schema,
        reads_committed,
    } = prepare(&mut connection, &builder).await?;
    drop(connection.close().await);
    let in_transactions = !lasting.statements || (!reads_committed && !lasting.sessions);
    let connections = match origin {
        Origin::Own(options) => {
            let others = (builder.max_connections / 3).clamp(1, MAX_OTHERS);
            let lookups = builder.max_connections - others;
            let pool = |connections, bounds: Bounds, idle| {
                own_pool(
                    &options,
                    connections,
                    lasting.sessions.then_some(bounds),
                    idle,
                )
            };
            let lookups = pool(lookups, Bounds::LOOKUP, IDLE);
            let others = pool(others, Bounds::OTHERS, Duration::ZERO);
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
    ))
}

/// Where the connections come from.
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

/// Connects in the first way of those that the settings allow that the server takes.
async fn connect(settings: Settings) -> Result<(PgConnection, PgConnectOptions), StoreError> {
    let mut modes = settings.modes.into_iter().peekable();
    loop {
        let options = settings.options.clone();
        let options = modes
            .next()
            .map_or(options.clone(), |mode| options.ssl_mode(mode));
        let connected = timeout(PATIENCE, options.connect()).await;
        match connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(connection) => return Ok((connection, options)),
            Err(error) if modes.peek().is_some() && asks_for_another_mode(&error, &options) => {}
            Err(error) => return Err(refused(error, &options)),
        }
    }
}

/// Whether a server may well take a connection with TLS instead of one without, or the reverse.
fn asks_for_another_mode(error: &sqlx::Error, options: &PgConnectOptions) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "28000") || is_of_tls(error, options)
}

fn refused(error: sqlx::Error, options: &PgConnectOptions) -> StoreError {
    let host = options.get_host().to_owned();
    if is_of_tls(&error, options) {
        let source = Untrusted {
            host,
            source: error,
        };
        return StoreError::with_source(StoreErrorKind::InvalidSettings, source);
    }
    match error {
        error @ (sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => {
            StoreError::unavailable(Unreachable {
                host,
                port: options.get_port(),
                source: error,
            })
        }
        error => from_sqlx(error),
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
    "PostgreSQL at {host} has not proved by TLS that it is {host}: check that the server has `ssl` on, \
     that its certificate names {host}, and that `sslrootcert` is the file of the root that signed it; \
     `sslmode=disable` goes without TLS, on a network where nobody can be in between"
)]
struct Untrusted {
    host: String,
    source: sqlx::Error,
}

fn own_pool(
    options: &PgConnectOptions,
    connections: u32,
    pinned: Option<Bounds>,
    idle: Duration,
) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                match pinned {
                    Some(bounds) => bounds.pin(connection).await,
                    None => Ok(()),
                }
            })
        })
        // One that is in use all the time needs no round trip to see whether it works.
        .test_before_acquire(false)
        .before_acquire(move |connection, metadata| {
            Box::pin(async move { Ok(metadata.idle_for < idle || answers(connection).await) })
        })
        .connect_lazy_with(options.clone())
}

async fn answers(connection: &mut PgConnection) -> bool {
    matches!(timeout(TRIED_WITHIN, connection.ping()).await, Ok(Ok(())))
}

struct Prepared {
    schema: Schema,
    /// Whether the server's default is an isolation that every statement can rely on.
    reads_committed: bool,
}

/// Looks at the server and the tables, and brings them up to date if they are to be written.
async fn prepare(
    connection: &mut PgConnection,
    builder: &PostgresStoreBuilder,
) -> Result<Prepared, StoreError> {
    let wanted = builder.schema.as_deref().map(Schema::new).transpose()?;
    let server = Facts::read(connection, wanted.as_ref().map(Schema::name)).await?;
    if server.version < OLDEST_SERVER {
        return Err(incompatible(
            "PostgreSQL is older than 13: upgrade the server",
        ));
    }
    server.check_encoding()?;
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
        return Err(newer());
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
        check_triggers(connection, &schema).await?;
        return Ok(Prepared {
            schema,
            reads_committed: server.reads_committed,
        });
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
    check_changes(connection, &schema).await?;
    check_triggers(connection, &schema).await?;
    Ok(Prepared {
        schema,
        reads_committed: server.reads_committed,
    })
}
