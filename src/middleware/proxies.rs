//! The address of a client behind proxies.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header::FORWARDED};

use super::{LayerError, error::Setting};
use crate::model::network::Networks;

/// Proxies that are trusted to report the address of their client in a header field, such as
/// `X-Forwarded-For`. Use it for [`ApiTokenLayer::client_address`](crate::ApiTokenLayer::client_address).
///
/// Each proxy appends the address of its own client to the field. The client may have forged anything that comes
/// before. The field is therefore read from right to left: addresses of trusted proxies are skipped, and the first
/// other address is that of the client. If all addresses belong to trusted proxies, the leftmost is used.
///
/// Configure each proxy to append to the field or to replace it, and list only networks in which
/// nothing but your proxies can reach the service. A client in one of these networks can choose its
/// address.
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
///
/// use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore, TrustedProxies};
///
/// #[derive(Clone, Copy)]
/// struct Peer(SocketAddr);
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let proxies = TrustedProxies::new("x-forwarded-for", "10.0.0.0/8".parse()?)?;
/// let layer = ApiTokenLayer::new(Authenticator::new(MemoryStore::new()))
///     .client_address(move |request| {
///         let peer = request.extension::<Peer>()?.0.ip();
///         proxies.client_address(peer, request.headers())
///     });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    header: HeaderName,
    networks: Networks,
}

impl TrustedProxies {
    /// Trusts the proxies in these networks to set a header field: a list of addresses, separated by
    /// commas. Each may have a port.
    ///
    /// # Errors
    ///
    /// Returns an error if `header` is not a valid header name, or if it is `forwarded`, which has
    /// a different syntax.
    pub fn new(header: impl TryInto<HeaderName>, networks: Networks) -> Result<Self, LayerError> {
        match header.try_into() {
            Ok(header) if header != FORWARDED => Ok(Self { header, networks }),
            Ok(_) | Err(_) => Err(LayerError(Setting::ForwardedHeader)),
        }
    }

    /// Returns the address of the client of a request that was received from `peer`. `None` means
    /// that it is unknown.
    ///
    /// If `peer` is not a trusted proxy, it is the client, and the field is ignored.
    #[must_use]
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        match self.trusts(peer) {
            true => self.read(headers),
            false => Some(peer.to_canonical()),
        }
    }

    /// Returns the address that the trusted proxy `peer` reports. `None` means that it is unknown,
    /// because `peer` is not a trusted proxy, or because the field is missing or invalid.
    ///
    /// Use it instead of [`client_address`](Self::client_address) if all requests come from proxies.
    #[must_use]
    pub fn forwarded_address(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        self.trusts(peer).then(|| self.read(headers))?
    }

    /// Returns whether `peer` is a trusted proxy.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.networks.contains(peer)
    }

    fn read(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut leftmost = None;
        for line in headers.get_all(&self.header).iter().rev() {
            for element in line.as_bytes().rsplit(|byte| *byte == b',') {
                let address = parse(element)?;
                if !self.trusts(address) {
                    return Some(address);
                }
                leftmost = Some(address);
            }
        }
        leftmost
    }
}

/// Parses an address with or without a port.
fn parse(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let text = text.trim_matches([' ', '\t']);
    let address = || text.parse().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok().filter(IpAddr::is_ipv6)
    };
    let address: Option<IpAddr> = address().or_else(with_port).or_else(in_brackets);
    Some(address?.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn proxies() -> TrustedProxies {
        let networks = "10.0.0.0/8,fd00::/8".parse().unwrap();
        TrustedProxies::new("X-Forwarded-For", networks).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let field = |line: &&str| {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            (HeaderName::from_static("x-forwarded-for"), value)
        };
        lines.iter().map(field).collect()
    }

    fn client(peer: &str, lines: &[&str]) -> Option<String> {
        let client = proxies().client_address(address(peer), &headers(lines));
        client.map(|client| client.to_string())
    }

    #[test]
    fn the_field_is_read_from_the_right_past_trusted_proxies() {
        for (lines, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["192.0.2.1, 10.0.0.2,10.0.0.3"], "192.0.2.1"),
            (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            (&["198.51.100.9", "192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            (&["192.0.2.1", "10.0.0.2"], "192.0.2.1"),
            (&["10.9.9.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            (&["unknown, 192.0.2.1"], "192.0.2.1"),
            (&["\u{e9}", "192.0.2.1"], "192.0.2.1"),
            (&["\t2001:db8::1\t ,\t10.0.0.2 "], "2001:db8::1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::1]:4711, 10.0.0.2:80"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
            (&["10.0.0.7, 10.0.0.2"], "10.0.0.7"),
            (&["192.0.2.1, fd00::1"], "192.0.2.1"),
        ] {
            for peer in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::2"] {
                assert_eq!(client(peer, lines).as_deref(), Some(expected), "{lines:?}");
            }
        }
    }

    #[test]
    fn what_does_not_parse_is_unknown() {
        for lines in [
            &[][..],
            &[""],
            &[","],
            &["192.0.2.1,"],
            &["192.0.2.1, "],
            &["192.0.2.1", ""],
            &["192.0.2.1, unknown"],
            &["192.0.2.1, _hidden, 10.0.0.2"],
            &["192.0.2.1, 192.0.2"],
            &["192.0.2.1, 192.0.2.1 192.0.2.1"],
            &["192.0.2.1, \u{e9}"],
            &["192.0.2.1, [10.0.0.2]"],
            &["192.0.2.1, [2001:db8::1"],
            &["192.0.2.1, 2001:db8::1:port"],
            &["192.0.2.1, 192.0.2.1:"],
            &["192.0.2.1, 192.0.2.1:99999"],
            &["192.0.2.1, fe80::1%eth0"],
            &["for=192.0.2.1"],
            &["\"192.0.2.1\""],
        ] {
            assert_eq!(client("10.0.0.1", lines), None, "{lines:?}");
        }
    }

    #[test]
    fn the_field_is_ignored_unless_the_peer_is_trusted() {
        let field = headers(&["10.0.0.5"]);
        for (peer, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            let peer = address(peer);
            let expected = Some(address(expected));
            assert_eq!(proxies().client_address(peer, &field), expected);
            assert_eq!(proxies().client_address(peer, &HeaderMap::new()), expected);
            assert_eq!(proxies().forwarded_address(peer, &field), None);
        }
        let reported = proxies().forwarded_address(address("10.0.0.1"), &field);
        assert_eq!(reported, Some(address("10.0.0.5")));
    }

    #[test]
    fn a_field_with_another_syntax_is_refused() {
        let networks: Networks = "10.0.0.0/8".parse().unwrap();
        for header in ["Forwarded", "", "a b"] {
            let refused = TrustedProxies::new(header, networks.clone()).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "invalid header field for the client's address; use a list of addresses, such as `x-forwarded-for`"
            );
        }
    }

    proptest! {
        #[test]
        fn an_untrusted_client_cannot_choose_its_address(
            forged in proptest::collection::vec("[0-9a-f.:, \\[\\]]{0,40}|[ -~]{0,20}", 0..4),
            client in any::<[u8; 4]>().prop_map(IpAddr::from),
            hops in proptest::collection::vec(any::<[u8; 3]>(), 0..3),
        ) {
            prop_assume!(!proxies().trusts(client));
            // The first proxy appends the client's address, and each further one that of the proxy
            // before it, either to the last line or as a line of its own.
            let hops = hops.iter().map(|[a, b, c]| IpAddr::from([10, *a, *b, *c]));
            let appended: Vec<_> = std::iter::once(client).chain(hops).map(|at| at.to_string()).collect();
            let lines: Vec<&str> = forged.iter().chain(&appended).map(String::as_str).collect();
            let joined = lines.join(", ");
            let peer = address("10.0.0.1");
            for field in [headers(&lines), headers(&[&joined])] {
                prop_assert_eq!(proxies().client_address(peer, &field), Some(client));
            }
        }
    }
}
