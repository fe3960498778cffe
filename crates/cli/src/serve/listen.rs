//! The address to listen on: a host and a port.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use tokio::net::{TcpListener, lookup_host};

use crate::failure::Failure;

/// An IP address or host name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    host: String,
    port: u16,
}

impl FromStr for Endpoint {
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

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, self.port).fmt(f),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Endpoint {
    /// Listens on the first address of the host that is available, preferring IPv4.
    pub(super) async fn listen(&self) -> Result<TcpListener, Failure> {
        let listening = async {
            let found = lookup_host((self.host.as_str(), self.port)).await?;
            let mut addresses: Vec<_> = found.collect();
            addresses.sort_by_key(SocketAddr::is_ipv6);
            TcpListener::bind(&*addresses).await
        };
        listening.await.map_err(|error: io::Error| {
            Failure::failed(format!("cannot listen on {self}"))
                .because(error)
                .advising("Choose another address; `--listen 127.0.0.1:0` picks a free port.")
        })
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
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
