//! The connection parameters, with their names and variables in libpq.

use std::{collections::HashMap, ffi::OsString};

use tower_api_tokens::StoreError;

use super::invalid;

/// Reads an environment variable.
pub(in crate::postgres) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// How a parameter is treated.
enum Treatment {
    Used,
    /// Ignored: it affects neither the target nor the security of the connection.
    Ignored,
    /// Supported only with one of these values, which have no effect.
    Only(&'static [&'static str]),
}

use Treatment::{Ignored, Only, Used};

type Keyword = (&'static str, Option<&'static str>, Treatment);

const KEYWORDS: &[Keyword] = &[
    ("host", Some("PGHOST"), Used),
    ("hostaddr", Some("PGHOSTADDR"), Used),
    ("port", Some("PGPORT"), Used),
    ("dbname", Some("PGDATABASE"), Used),
    ("user", Some("PGUSER"), Used),
    ("password", Some("PGPASSWORD"), Used),
    ("passfile", Some("PGPASSFILE"), Used),
    ("application_name", Some("PGAPPNAME"), Used),
    ("fallback_application_name", None, Used),
    // sqlx itself reads `PGOPTIONS`.
    ("options", None, Used),
    ("sslmode", Some("PGSSLMODE"), Used),
    ("sslrootcert", Some("PGSSLROOTCERT"), Used),
    ("sslcert", Some("PGSSLCERT"), Used),
    ("sslkey", Some("PGSSLKEY"), Used),
    ("statement-cache-capacity", None, Used),
    ("client_encoding", Some("PGCLIENTENCODING"), Ignored),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT"), Ignored),
    ("keepalives", None, Ignored),
    ("keepalives_idle", None, Ignored),
    ("keepalives_interval", None, Ignored),
    ("keepalives_count", None, Ignored),
    ("tcp_user_timeout", None, Ignored),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Ignored),
    ("sslcompression", Some("PGSSLCOMPRESSION"), Ignored),
    ("sslsni", Some("PGSSLSNI"), Ignored),
    ("krbsrvname", Some("PGKRBSRVNAME"), Ignored),
    ("gsslib", Some("PGGSSLIB"), Ignored),
    ("gssdelegation", Some("PGGSSDELEGATION"), Ignored),
    ("servicefile", Some("PGSERVICEFILE"), Ignored),
    ("service", Some("PGSERVICE"), Only(&[])),
    (
        "target_session_attrs",
        Some("PGTARGETSESSIONATTRS"),
        Only(&["any", "prefer-standby"]),
    ),
    (
        "channel_binding",
        Some("PGCHANNELBINDING"),
        Only(&["prefer", "disable"]),
    ),
    (
        "gssencmode",
        Some("PGGSSENCMODE"),
        Only(&["prefer", "disable"]),
    ),
    ("require_auth", Some("PGREQUIREAUTH"), Only(&[])),
    ("requirepeer", Some("PGREQUIREPEER"), Only(&[])),
    ("replication", None, Only(&["false", "off", "no", "0"])),
    ("sslcertmode", Some("PGSSLCERTMODE"), Only(&["allow"])),
    ("sslcrl", Some("PGSSLCRL"), Only(&[])),
    ("sslcrldir", Some("PGSSLCRLDIR"), Only(&[])),
    (
        "sslnegotiation",
        Some("PGSSLNEGOTIATION"),
        Only(&["postgres"]),
    ),
    ("sslpassword", None, Only(&[])),
    (
        "ssl_min_protocol_version",
        Some("PGSSLMINPROTOCOLVERSION"),
        Only(&["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ),
    (
        "ssl_max_protocol_version",
        Some("PGSSLMAXPROTOCOLVERSION"),
        Only(&["TLSv1.3"]),
    ),
];

/// Names of the same parameters in sqlx.
const ALIASES: &[(&str, &str)] = &[
    ("ssl-mode", "sslmode"),
    ("ssl-root-cert", "sslrootcert"),
    ("ssl-ca", "sslrootcert"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
];

/// The parameters from a connection string and the environment.
#[derive(Default)]
pub(super) struct Parameters {
    values: HashMap<&'static str, String>,
    /// Session settings from `options[name]=value`.
    pub(super) settings: Vec<(String, String)>,
}

impl Parameters {
    /// Sets a parameter, and returns whether the name is known. The last value counts.
    pub(super) fn set(&mut self, name: &str, value: String) -> bool {
        if name == "ssl" && value == "true" {
            // The notation of JDBC.
            self.values.insert("sslmode", "require".to_owned());
            return true;
        }
        let setting = name.strip_prefix("options[");
        if let Some(setting) = setting.and_then(|setting| setting.strip_suffix(']')) {
            self.settings.push((setting.to_owned(), value));
            return true;
        }
        let aliased = ALIASES.iter().find(|(alias, _)| *alias == name);
        let name = aliased.map_or(name, |(_, name)| name);
        let Some((keyword, ..)) = KEYWORDS.iter().find(|(keyword, ..)| *keyword == name) else {
            return false;
        };
        self.values.insert(keyword, value);
        true
    }

    /// Adds missing parameters from the environment.
    pub(super) fn add_environment(
        &mut self,
        environment: Environment<'_>,
    ) -> Result<(), StoreError> {
        for (keyword, variable, _) in KEYWORDS {
            let Some(variable) = variable else { continue };
            if self.values.contains_key(keyword) {
                continue;
            }
            if let Some(value) = environment(variable) {
                let value = value.into_string();
                let value = value.map_err(|_| invalid(format!("{variable} is not UTF-8")))?;
                self.values.insert(keyword, value);
            }
        }
        Ok(())
    }

    /// Returns a value, unless it is missing or empty.
    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        let value = self.values.get(keyword)?;
        (!value.is_empty()).then_some(value)
    }

    /// Checks that every value is valid and supported.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let given = self.values.values();
        let settings = self.settings.iter().flat_map(|(name, value)| [name, value]);
        if given.chain(settings).any(|value| value.contains('\0')) {
            return Err(invalid(
                "a connection parameter contains NUL, which PostgreSQL does not allow: remove it",
            ));
        }
        for (keyword, variable, treatment) in KEYWORDS {
            let Only(allowed) = treatment else { continue };
            let Some(value) = self.get(keyword) else {
                continue;
            };
            if allowed.contains(&value) {
                continue;
            }
            let variable = variable.map_or(String::new(), |name| format!(", or {name},"));
            return Err(invalid(match *allowed {
                [] => format!(
                    "the connection parameter `{keyword}`{variable} is not supported: remove it"
                ),
                _ => format!(
                    "the connection parameter `{keyword}`{variable} is supported only with {}: remove it",
                    one_of(allowed)
                ),
            }));
        }
        Ok(())
    }
}

fn one_of(values: &[&str]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    quoted.join(" or ")
}
