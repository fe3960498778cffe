//! The URL of a server.

use std::{fmt, net::IpAddr, str::FromStr};

use http::Uri;

const EXPECTED: &str =
    "invalid `--server`: expected the URL of a server, like `https://tokens.example`";

/// The base URL of a server, without a slash at its end. The management API is at `/api` below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) secure: bool,
    /// An IP address or a name, an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The host and the port as in the URL.
    pub(super) authority: String,
    path: String,
}

impl Address {
    /// Returns the path of an endpoint of the management API.
    pub(super) fn target(&self, path: &str) -> String {
        format!("{}/api{path}", self.path)
    }

    /// Returns the path at which the holder of a token revokes it (RFC 7009).
    pub(super) fn revocation(&self) -> String {
        format!("{}/revoke", self.path)
    }

    /// Returns the path at which the server shows whether it accepts a token.
    pub(super) fn verification(&self) -> String {
        format!("{}/verify/any", self.path)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: Uri = text.parse().map_err(|_| EXPECTED)?;
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(EXPECTED.into()),
        };
        let authority = url.authority().ok_or(EXPECTED)?;
        if authority.as_str().contains('@') {
            return Err(
                "invalid `--server`: a URL with a user or a password is not accepted, because other users can see arguments; set the token in API_TOKENS_TOKEN"
                    .into(),
            );
        }
        let without_port = authority.as_str() == authority.host();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if without_port && secure => 443,
            None if without_port => 80,
            None => return Err(EXPECTED.into()),
        };
        if url.query().is_some() || authority.host().is_empty() {
            return Err(EXPECTED.into());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if !secure && !is_loopback(&host) {
            return Err(
                "invalid `--server`: without TLS, others on the network could read the token; use an `https` URL, or `http` with `localhost` or a loopback address"
                    .into(),
            );
        }
        Ok(Self {
            secure,
            host,
            port,
            authority: authority.to_string(),
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_tls_and_of_this_machine_are_accepted() {
        for (text, host, port, target) in [
            ("https://tokens.example", "tokens.example", 443, "/api/apps"),
            (
                "https://tokens.example/",
                "tokens.example",
                443,
                "/api/apps",
            ),
            (
                "https://10.0.0.1:8443/a/b/",
                "10.0.0.1",
                8443,
                "/a/b/api/apps",
            ),
            ("https://[2001:db8::1]", "2001:db8::1", 443, "/api/apps"),
            ("http://127.0.0.1:8080", "127.0.0.1", 8080, "/api/apps"),
            ("http://127.8.0.1", "127.8.0.1", 80, "/api/apps"),
            ("http://[::1]:8080", "::1", 8080, "/api/apps"),
            ("http://localhost:8080", "localhost", 8080, "/api/apps"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((&*address.host, address.port), (host, port), "{text}");
            assert_eq!(address.target("/apps"), target, "{text}");
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn other_urls_are_rejected_with_a_hint() {
        for (text, hint) in [
            ("", "https://tokens.example"),
            ("tokens.example", "https://tokens.example"),
            ("ftp://tokens.example", "https://tokens.example"),
            ("https://", "https://tokens.example"),
            ("https://tokens.example:", "https://tokens.example"),
            ("https://tokens.example:99999", "https://tokens.example"),
            ("https://tokens.example?x=y", "https://tokens.example"),
            ("http://tokens.example", "without TLS"),
            ("http://10.0.0.1:8080", "without TLS"),
            ("http://localhost.example", "without TLS"),
            ("http://127.0.0.1.example", "without TLS"),
            ("https://ada:secret@tokens.example", "API_TOKENS_TOKEN"),
            ("http://127.0.0.1:80@tokens.example", "API_TOKENS_TOKEN"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
