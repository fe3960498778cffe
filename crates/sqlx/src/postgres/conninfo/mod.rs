//! Parses connection strings as `psql` does. The parser of sqlx supports no IPv6 addresses, turns `+` into
//! a space, and logs unknown parameters.

mod keywords;
mod pairs;
mod passfile;
mod tls;
mod uri;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, path::Path, path::PathBuf, str::FromStr};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tower_api_tokens::StoreError;

use keywords::Parameters;
use passfile::Connection;

use super::error::{from_sqlx, invalid};
use crate::connect::Driver;

pub(super) use keywords::Environment;

const FORM: &str = "expected a PostgreSQL URL such as `postgres://user:password@host:port/database`, or pairs such \
     as `host=db.internal dbname=platform`";

const PORT: u16 = 5432;

/// The directories of the server's Unix socket: on Debian, on macOS, and by default.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/private/tmp", "/tmp"];

/// How to connect.
pub(super) struct Settings {
    pub(super) options: PgConnectOptions,
    /// The TLS modes to try, in order.
    pub(super) modes: Vec<PgSslMode>,
    /// Whether prepared statements are cached.
    pub(super) keeps_statements: bool,
}

/// Parses a connection string. Missing parameters are taken from the environment.
pub(super) fn read(text: &str, environment: Environment<'_>) -> Result<Settings, StoreError> {
    let mut parameters = parse(text)?;
    parameters.add_environment(environment)?;
    parameters.check()?;
    let address = Address::of(&parameters)?;
    let mut options = base(&parameters)?;
    options = match &address.place {
        Place::Socket(directory) => options.host(directory).socket(directory),
        Place::Network(host) => options.host(host),
    };
    options = options.port(address.port);
    // Poolers reject options, even empty ones.
    if !parameters.settings.is_empty() {
        options = options.options(parameters.settings.iter().map(|(k, v)| (k, v)));
    }
    if let Some(user) = parameters.get("user") {
        options = options.username(user);
    }
    if let Some(database) = parameters.get("dbname") {
        options = options.database(database);
    }
    let application = parameters.get("application_name");
    if let Some(name) = application.or_else(|| parameters.get("fallback_application_name")) {
        options = options.application_name(name);
    }
    let password = parameters.get("password").map(str::to_owned);
    let password =
        password.or_else(|| password_of_file(&parameters, &address, &options, environment));
    options = options.password(&password.unwrap_or_default());
    let capacity = parameters.get("statement-cache-capacity").map(str::parse);
    let capacity = capacity
        .transpose()
        .map_err(|_| invalid("`statement-cache-capacity` is not a number"))?;
    if let Some(capacity) = capacity {
        options = options.statement_cache_capacity(capacity);
    }
    // Poolers reject it, and no statement returns a fractional number.
    options = options.extra_float_digits(None);
    let (options, modes) = tls::set(options, &parameters, &address, environment)?;
    Ok(Settings {
        options,
        modes,
        keeps_statements: capacity != Some(0),
    })
}

fn parse(text: &str) -> Result<Parameters, StoreError> {
    let rest = match Driver::split(text) {
        Ok((Driver::Postgres, rest)) => rest.strip_prefix("//"),
        _ => None,
    };
    match rest {
        Some(rest) => uri::read(rest),
        // Another scheme, or just a name.
        None if text
            .split('=')
            .next()
            .is_none_or(|name| name.contains("://")) =>
        {
            Err(invalid(FORM))
        }
        None if !text.contains('=') => Err(invalid(FORM)),
        None => pairs::read(text),
    }
}

/// Creates the options that can only be set by a URL. An empty password keeps sqlx from reading a
/// password file, lines of which it would log.
fn base(parameters: &Parameters) -> Result<PgConnectOptions, StoreError> {
    let Some(options) = parameters.get("options") else {
        return Ok(PgConnectOptions::new_without_pgpass());
    };
    let encoded: String = options.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = format!("postgres://localhost?password=&options={encoded}");
    PgConnectOptions::from_str(&url).map_err(from_sqlx)
}

enum Place {
    Socket(String),
    Network(String),
}

struct Address {
    place: Place,
    port: u16,
    /// The name of the host, in addition to its address.
    name: Option<String>,
}

impl Address {
    fn of(parameters: &Parameters) -> Result<Self, StoreError> {
        let port = match parameters.get("port") {
            None => PORT,
            Some(port) if port.contains(',') => return Err(uri::several_hosts()),
            Some(port) => port
                .trim()
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| invalid("the port is not a number from 1 to 65535"))?,
        };
        let host = parameters.get("host");
        let address = parameters.get("hostaddr");
        if host
            .into_iter()
            .chain(address)
            .any(|host| host.contains(','))
        {
            return Err(uri::several_hosts());
        }
        let (place, name) = match (host, address) {
            (host, Some(address)) => {
                let address = without_brackets(address);
                if without_zone(address).parse::<IpAddr>().is_err() {
                    return Err(invalid("`hostaddr`, or PGHOSTADDR, is not an IP address"));
                }
                (Place::Network(address.to_owned()), host)
            }
            (Some(host), None) if host.starts_with('/') => (Place::Socket(host.to_owned()), None),
            (Some(host), None) if host.starts_with('@') => {
                return Err(invalid(
                    "sockets in the abstract namespace are not supported: give the directory of the socket",
                ));
            }
            (Some(host), None) => (Place::Network(without_brackets(host).to_owned()), None),
            (None, None) => (default_place(port), None),
        };
        Ok(Self {
            place,
            port,
            name: name.map(str::to_owned),
        })
    }

    /// Whether the connection stays on this machine.
    fn is_local(&self) -> bool {
        match &self.place {
            Place::Socket(_) => true,
            Place::Network(host) => {
                let ip = host.parse::<IpAddr>();
                host.eq_ignore_ascii_case("localhost")
                    || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
            }
        }
    }
}

/// Strips the brackets of an IPv6 address.
fn without_brackets(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// Strips the interface of a link-local address, which follows a `%`.
fn without_zone(address: &str) -> &str {
    address
        .split_once('%')
        .map_or(address, |(address, _)| address)
}

fn default_place(port: u16) -> Place {
    let socket = format!(".s.PGSQL.{port}");
    let mut directories = SOCKET_DIRECTORIES.into_iter();
    match directories.find(|directory| Path::new(directory).join(&socket).exists()) {
        Some(directory) => Place::Socket(directory.to_owned()),
        None => Place::Network("localhost".to_owned()),
    }
}

fn password_of_file(
    parameters: &Parameters,
    address: &Address,
    options: &PgConnectOptions,
    environment: Environment<'_>,
) -> Option<String> {
    let path = match parameters.get("passfile") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(environment("HOME")?).join(".pgpass"),
    };
    let hosts = match (&address.place, &address.name) {
        (_, Some(name)) => vec![name.as_str()],
        (Place::Socket(directory), _) if SOCKET_DIRECTORIES.contains(&directory.as_str()) => {
            vec![directory.as_str(), "localhost"]
        }
        (Place::Socket(host) | Place::Network(host), _) => vec![host.as_str()],
    };
    let user = options.get_username();
    let connection = Connection {
        hosts: &hosts,
        port: address.port,
        database: options.get_database().unwrap_or(user),
        user,
    };
    passfile::look_up(&path, &connection)
}
