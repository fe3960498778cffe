//! Addresses to listen on.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

/// Where to listen: an address, or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Endpoint {
    Tcp(Address),
    Unix(PathBuf),
}

/// An IP address or host name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

const UNIX: &str = "unix:";

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(UNIX) {
            Some("") => Err("expected the path of a Unix socket: `unix:/run/api-tokens/socket`"),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(Address {
            host: address.ip().to_string(),
            port: address.port(),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a host and a port: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or `0.0.0.0:8080` for all interfaces";
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(EXPECTED)?;
        if let Ok(address) = text.parse::<SocketAddr>() {
            let host = address.ip().to_string();
            return Ok(Self { host, port });
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err(EXPECTED);
        }
        let host = host.to_owned();
        Ok(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, self.port).fmt(f),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The permissions of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) struct SocketMode(pub(super) u32);

impl FromStr for SocketMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
            .map(Self)
            .ok_or("expected permissions in octal, like `600` or `0660`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_host_names_round_trip() {
        for text in [
            "127.0.0.1:8080",
            "0.0.0.0:0",
            "[::1]:8080",
            "[::]:65535",
            "localhost:8080",
            "my-host.example.com:80",
            "unix:/run/api-tokens/socket",
            "unix:socket",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for text in [
            "",
            "localhost",
            "8080",
            ":8080",
            "*:8080",
            "localhost:",
            "localhost:http",
            "localhost:65536",
            "localhost:+80",
            "::1:8080",
            "[::1",
            "[localhost]:80",
            "http://localhost:8080",
            "a b:80",
            "unix:",
            "unix",
            "UNIX:/socket",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn permissions_are_octal() {
        for (text, mode) in [("600", 0o600), ("0660", 0o660), ("777", 0o777), ("0", 0)] {
            assert_eq!(text.parse(), Ok(SocketMode(mode)), "{text}");
        }
        for text in ["", "rw-rw----", "1777", "0o660", "680", "-600", "+600"] {
            assert!(text.parse::<SocketMode>().is_err(), "{text}");
        }
    }
}
