//! Configures TLS, and the verification of the server.

use std::path::{Path, PathBuf};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tower_api_tokens::StoreError;

use super::{Address, Environment, Parameters, Place, invalid};

/// The value with which libpq selects the system's root certificates.
const SYSTEM: &str = "system";

enum Root {
    Given(String),
    /// The default file of libpq.
    Usual(PathBuf),
    System,
}

/// Sets the TLS mode and the certificates. By default, the certificate of a remote server is verified: an
/// impostor would receive the password, and could make up tokens.
pub(super) fn set(
    options: PgConnectOptions,
    parameters: &Parameters,
    address: &Address,
    environment: Environment<'_>,
) -> Result<(PgConnectOptions, Vec<PgSslMode>), StoreError> {
    let root = root(parameters, environment);
    let asked = parameters.get("sslmode").map(str::to_ascii_lowercase);
    let mode = mode(asked.as_deref(), &root, address)?;
    if matches!(mode, PgSslMode::VerifyFull) && address.name.is_some() {
        return Err(invalid(
            "`hostaddr` together with `host` is not supported if the host name is verified \
             (`sslmode=verify-full`): give only one of them",
        ));
    }
    let mut options = match &root {
        Some(Root::Given(root)) if root.trim_start().starts_with("-----BEGIN") => {
            options.ssl_root_cert_from_pem(root.clone().into_bytes())
        }
        Some(Root::Given(root)) => options.ssl_root_cert(root),
        Some(Root::Usual(root)) => options.ssl_root_cert(root),
        // The roots of the system are always used.
        Some(Root::System) => options.ssl_root_cert_from_pem(Vec::new()),
        None => options,
    };
    if let Some(certificate) = parameters.get("sslcert") {
        options = match certificate.trim_start().starts_with("-----BEGIN") {
            true => options.ssl_client_cert_from_pem(certificate),
            false => options.ssl_client_cert(certificate),
        };
    }
    if let Some(key) = parameters.get("sslkey") {
        options = match key.trim_start().starts_with("-----BEGIN") {
            true => options.ssl_client_key_from_pem(key),
            false => options.ssl_client_key(key),
        };
    }
    let modes = match (&address.place, mode) {
        // As in libpq, Unix sockets never use TLS.
        (Place::Socket(_), _) => vec![PgSslMode::Disable],
        (_, PgSslMode::Prefer) => vec![PgSslMode::Prefer, PgSslMode::Disable],
        (_, PgSslMode::Allow) => vec![PgSslMode::Disable, PgSslMode::Require],
        (_, mode) => vec![mode],
    };
    Ok((options, modes))
}

fn root(parameters: &Parameters, environment: Environment<'_>) -> Option<Root> {
    match parameters.get("sslrootcert") {
        Some(SYSTEM) => Some(Root::System),
        Some(root) => Some(Root::Given(root.to_owned())),
        None => {
            let home = PathBuf::from(environment("HOME")?);
            let usual = home.join(".postgresql/root.crt");
            Path::exists(&usual).then_some(Root::Usual(usual))
        }
    }
}

fn mode(
    asked: Option<&str>,
    root: &Option<Root>,
    address: &Address,
) -> Result<PgSslMode, StoreError> {
    let mode = match (asked, root) {
        (None, Some(Root::System)) => PgSslMode::VerifyFull,
        (None, _) if address.is_local() => PgSslMode::Prefer,
        (None | Some("verify-full"), _) => PgSslMode::VerifyFull,
        (Some(_), Some(Root::System)) => {
            return Err(invalid(
                "`sslrootcert=system` needs `sslmode=verify-full`, because anyone can get a certificate \
                 signed by one of those roots",
            ));
        }
        (Some("disable"), _) => PgSslMode::Disable,
        (Some("allow"), _) => PgSslMode::Allow,
        (Some("prefer"), _) => PgSslMode::Prefer,
        (Some("require"), None) => PgSslMode::Require,
        // As in libpq, a root certificate is used with `require` too.
        (Some("require" | "verify-ca"), Some(_)) => PgSslMode::VerifyCa,
        (Some("verify-ca"), None) => {
            return Err(invalid(
                "`sslmode=verify-ca` needs a root certificate in `sslrootcert`; to use those of the \
                 system, set `sslmode=verify-full`",
            ));
        }
        (Some(_), _) => {
            return Err(invalid(
                "unknown `sslmode` or PGSSLMODE; use `verify-full`, `verify-ca`, `require`, `prefer`, \
                 `allow` or `disable`",
            ));
        }
    };
    Ok(mode)
}
