//! Web origins (RFC 6454), as browsers send them in the `Origin` header.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use thiserror::Error;

/// The error for text that is not a web origin.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "invalid origin; expected a scheme, a host and an optional port, like `https://admin.example`"
)]
#[non_exhaustive]
pub struct OriginError;

/// A web origin. Equivalent spellings are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Origin {
    pub(super) fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, authority) = text.split_once("://").ok_or(OriginError)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(OriginError),
        };
        let (host, port) = parse_authority(authority).ok_or(OriginError)?;
        let port = port.unwrap_or(scheme.default_port());
        Ok(Self { scheme, host, port })
    }

    /// Returns whether it matches the host in a `Host` header or a URI. The scheme is not compared,
    /// because a proxy may terminate TLS.
    pub(super) fn is_of_host(&self, authority: &str) -> bool {
        parse_authority(authority).is_some_and(|(host, port)| {
            host == self.host && port.unwrap_or(self.scheme.default_port()) == self.port
        })
    }
}

/// Writes the spelling that browsers send.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Parses a host, normalized, and an optional port.
fn parse_authority(text: &str) -> Option<(String, Option<u16>)> {
    // The colons inside the brackets belong to an IPv6 address.
    let end_of_host = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match text[end_of_host..].find(':') {
        Some(colon) => {
            let (host, port) = text.split_at(end_of_host + colon);
            (host, Some(parse_port(&port[1..])?))
        }
        None => (text, None),
    };
    Some((parse_host(host)?, port))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

fn parse_host(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(match address.to_ipv4_mapped() {
            // Browsers write IPv4-mapped addresses in hexadecimal too.
            Some(_) => {
                let [.., high, low] = address.segments();
                format!("[::ffff:{high:x}:{low:x}]")
            }
            None => format!("[{address}]"),
        });
    }
    let host = text.to_ascii_lowercase();
    let labels: Vec<&str> = host.strip_suffix('.').unwrap_or(&host).split('.').collect();
    let well_formed = labels.iter().all(|label| {
        let written = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(written)
    });
    // Browsers parse a host that ends in a number as an IPv4 address.
    let numeric = labels
        .last()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    let address = host.parse::<Ipv4Addr>().is_ok();
    (well_formed && host.len() <= 253 && (address || !numeric)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    #[test]
    fn equivalent_spellings_are_equal() {
        for (written, sent) in [
            ("https://admin.example:443", "https://admin.example"),
            ("https://admin.example:0443", "https://admin.example"),
            ("http://admin.example:80", "http://admin.example"),
            ("HTTPS://Admin.Example", "https://admin.example"),
            ("https://admin.example:8443", "https://admin.example:8443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://192.0.2.1:80", "http://192.0.2.1"),
            ("https://[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
            ("https://[::ffff:192.0.2.1]", "https://[::ffff:c000:201]"),
            (
                "https://xn--bcher-kva.example",
                "https://xn--bcher-kva.example",
            ),
            ("https://a_b.example", "https://a_b.example"),
        ] {
            assert_eq!(origin(written), origin(sent), "{written}");
            assert_eq!(origin(written).to_string(), sent);
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let one = origin("https://admin.example");
        for other in [
            "http://admin.example",
            "http://admin.example:443",
            "https://admin.example:80",
            "https://admin.example:8443",
            "https://admin.example.",
            "https://admin.example.evil.example",
            "https://[::1]",
        ] {
            assert_ne!(origin(other), one, "{other}");
        }
    }

    #[test]
    fn malformed_origins_are_rejected() {
        for bad in [
            "",
            "null",
            "*",
            "admin.example",
            "https://",
            "https:///",
            "https://:443",
            "https://a/",
            "https://a/path",
            "https://a?b",
            "https://a#b",
            "https://a b",
            " https://a",
            "https://a ",
            "https://a\\b",
            "ftp://a",
            "https:a",
            "https//a",
            "https://user@a",
            "https://user:password@a",
            "https://a:",
            "https://a:0",
            "https://a:+443",
            "https://a:99999",
            "https://a:65536",
            "https://a:443:443",
            "https://a:b",
            "https://a:443/",
            "https://[::1",
            "https://::1",
            "https://::1]",
            "https://[::1]x",
            "https://[::1]:",
            "https://[::1]:99999",
            "https://[1.2.3.4]",
            "https://[fe80::1%25eth0]",
            "https://[]",
            "https://a..example",
            "https://.example",
            "https://256.0.0.1",
            "https://1.2.3",
            "https://bücher.example",
            "https://*.example",
            "https://a,https://b",
        ] {
            assert_eq!(Origin::parse(bad), Err(OriginError), "{bad}");
        }
    }

    #[test]
    fn a_host_matches_with_or_without_its_default_port() {
        for (text, host) in [
            ("https://admin.example", "admin.example"),
            ("https://admin.example", "ADMIN.example:443"),
            ("http://admin.example", "admin.example:80"),
            ("https://admin.example:8443", "admin.example:8443"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(origin(text).is_of_host(host), "{text} {host}");
        }
        for (text, host) in [
            ("https://admin.example", "admin.example:80"),
            ("https://admin.example", "admin.example:8443"),
            ("https://admin.example:8443", "admin.example"),
            ("https://admin.example", "other.example"),
            ("https://admin.example", ""),
            ("https://admin.example", "user@admin.example"),
        ] {
            assert!(!origin(text).is_of_host(host), "{text} {host}");
        }
    }
}
