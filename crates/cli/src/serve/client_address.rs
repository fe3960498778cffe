//! The address of a client, for tokens that are restricted to networks.

use std::{
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use clap::Args;
use http::HeaderName;
use tower_api_tokens::{Network, NetworkError, Networks, RequestHead, TrustedProxies};

use super::network::Peer;
use crate::failure::Failure;

#[derive(Args)]
pub(super) struct Options {
    /// Header field in which your proxies report the address of their client, such as
    /// `X-Forwarded-For`. Needed behind a proxy for tokens that are restricted to networks
    #[arg(long, value_name = "FIELD", requires = "trusted_proxies")]
    client_address_header: Option<HeaderName>,
    /// Network of the proxies that may set `--client-address-header`, or `unix` for those that connect
    /// to a Unix socket. Separate several with commas, or repeat the option
    #[arg(
        long = "trusted-proxy",
        id = "trusted_proxies",
        value_name = "NETWORK",
        value_delimiter = ',',
        requires = "client_address_header"
    )]
    trusted_proxies: Vec<TrustedProxy>,
}

/// A network of trusted proxies, or all processes that can connect to the Unix sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrustedProxy {
    Network(Network),
    Unix,
}

impl FromStr for TrustedProxy {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "unix" => Ok(Self::Unix),
            network => network.parse().map(Self::Network),
        }
    }
}

/// Stands for the process at the other end of a Unix socket, which has no address. No client can have this
/// one.
const OF_UNIX: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Who sent a request, as far as it is known.
pub(super) struct Client {
    pub(super) address: Option<IpAddr>,
    /// A trusted proxy sent the request for the client.
    pub(super) is_proxied: bool,
}

/// Finds the addresses of clients.
#[derive(Clone)]
pub(super) struct ClientAddresses {
    proxies: Option<TrustedProxies>,
    unix_is_trusted: bool,
}

impl ClientAddresses {
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        let Some(header) = &options.client_address_header else {
            return Ok(Self {
                proxies: None,
                unix_is_trusted: false,
            });
        };
        let trusted = options.trusted_proxies.iter().map(|proxy| match proxy {
            TrustedProxy::Network(network) => *network,
            TrustedProxy::Unix => OF_UNIX.into(),
        });
        let networks = Networks::new(trusted)
            .map_err(|error| Failure::usage(format!("invalid `--trusted-proxy`: {error}")))?;
        let proxies = TrustedProxies::new(header.clone(), networks);
        let proxies = proxies.map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self {
            proxies: Some(proxies),
            unix_is_trusted: options.trusted_proxies.contains(&TrustedProxy::Unix),
        })
    }

    /// The address of the peer. `None` if it is an untrusted process on this machine.
    fn of_peer(&self, request: RequestHead<'_>) -> Option<IpAddr> {
        match request.extension()? {
            Peer::Ip(address) => Some(*address),
            // Even if the network that is trusted contains every address.
            Peer::Unix => self.unix_is_trusted.then_some(OF_UNIX),
        }
    }

    /// Whether a trusted proxy sent a request, so that its other header fields are believed too.
    pub(super) fn trusts(&self, request: RequestHead<'_>) -> bool {
        let peer = self.of_peer(request);
        peer.zip(self.proxies.as_ref())
            .is_some_and(|(peer, proxies)| proxies.trusts(peer))
    }

    /// The client of a request, for the log.
    pub(super) fn client(&self, request: RequestHead<'_>) -> Client {
        let address = self.of_request(request);
        Client {
            address: address.filter(|address| *address != OF_UNIX),
            is_proxied: self.of_subrequest(request).is_some(),
        }
    }

    /// The address of a client that sent a request itself, or through a trusted proxy.
    pub(super) fn of_request(&self, request: RequestHead<'_>) -> Option<IpAddr> {
        let peer = self.of_peer(request)?;
        match &self.proxies {
            Some(proxies) => proxies.client_address(peer, request.headers()),
            None => Some(peer),
        }
    }

    /// The address of the client for which a proxy sends a verification request. The address of the proxy itself is
    /// never that of the client.
    pub(super) fn of_subrequest(&self, request: RequestHead<'_>) -> Option<IpAddr> {
        let peer = self.of_peer(request)?;
        let proxies = self.proxies.as_ref()?;
        proxies.forwarded_address(peer, request.headers())
    }
}

#[cfg(test)]
impl ClientAddresses {
    /// Trusts one proxy.
    pub(super) fn trusting(header: &'static str, proxy: &str) -> Self {
        let options = Options {
            client_address_header: Some(HeaderName::from_static(header)),
            trusted_proxies: vec![proxy.parse().unwrap()],
        };
        Self::new(&options).unwrap_or_else(|_| panic!("{proxy}"))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn addresses(header: Option<&'static str>, trusted: &[&str]) -> ClientAddresses {
        let options = Options {
            client_address_header: header.map(HeaderName::from_static),
            trusted_proxies: trusted.iter().map(|one| one.parse().unwrap()).collect(),
        };
        ClientAddresses::new(&options).unwrap_or_else(|_| panic!("{header:?} {trusted:?}"))
    }

    /// The address of the client of a request, and of one that a proxy asks about.
    fn found(addresses: &ClientAddresses, peer: &str, field: &str) -> [Option<String>; 2] {
        let mut request = Request::get("/")
            .header("x-real-ip", field)
            .body(())
            .unwrap();
        let peer = match peer {
            "unix" => Peer::Unix,
            address => Peer::Ip(address.parse().unwrap()),
        };
        request.extensions_mut().insert(peer);
        let head = RequestHead::from(&request);
        let found = [addresses.of_request(head), addresses.of_subrequest(head)];
        found.map(|address| Some(address?.to_string()))
    }

    fn text(address: &str) -> Option<String> {
        Some(address.to_owned())
    }

    #[test]
    fn without_trusted_proxies_the_address_of_the_connection_counts() {
        let addresses = addresses(None, &[]);
        let found = found(&addresses, "10.0.0.1", "192.0.2.1");
        assert_eq!(found, [text("10.0.0.1"), None]);
    }

    #[test]
    fn only_trusted_proxies_report_the_address_of_their_client() {
        let addresses = addresses(Some("x-real-ip"), &["10.0.0.1", "fd00::/8"]);
        for peer in ["10.0.0.1", "fd00::1"] {
            let reported = found(&addresses, peer, "192.0.2.1");
            assert_eq!(reported, [text("192.0.2.1"), text("192.0.2.1")]);
            assert_eq!(found(&addresses, peer, "unknown"), [None, None]);
        }
        let untrusted = found(&addresses, "10.0.0.2", "192.0.2.1");
        assert_eq!(untrusted, [text("10.0.0.2"), None]);
    }

    #[test]
    fn a_process_on_a_unix_socket_is_only_trusted_if_it_is_listed() {
        for trusted in [&["unix"][..], &["10.0.0.0/8", "unix"]] {
            let addresses = addresses(Some("x-real-ip"), trusted);
            let reported = found(&addresses, "unix", "192.0.2.1");
            assert_eq!(reported, [text("192.0.2.1"), text("192.0.2.1")]);
            assert_eq!(found(&addresses, "unix", ""), [None, None]);
            let other = found(&addresses, "192.0.2.9", "192.0.2.1");
            assert_eq!(other, [text("192.0.2.9"), None]);
        }
        for trusted in [&["10.0.0.0/8"][..], &["0.0.0.0/0", "::/0"]] {
            let addresses = addresses(Some("x-real-ip"), trusted);
            assert_eq!(found(&addresses, "unix", "192.0.2.1"), [None, None]);
        }
        let untrusting = addresses(None, &[]);
        assert_eq!(found(&untrusting, "unix", "192.0.2.1"), [None, None]);
    }

    #[test]
    fn a_request_without_a_connection_has_no_address() {
        let request = Request::get("/").body(()).unwrap();
        for addresses in [
            addresses(None, &[]),
            addresses(Some("x-real-ip"), &["::/0"]),
        ] {
            let head = RequestHead::from(&request);
            assert_eq!(addresses.of_request(head), None);
            assert_eq!(addresses.of_subrequest(head), None);
        }
    }
}
