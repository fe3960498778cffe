//! Networks that a token may be used from.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use thiserror::Error;

use crate::text::serde_text;

/// A network of IPv4 or IPv6 addresses, in CIDR notation such as `10.0.0.0/8` or `2001:db8::/32`.
///
/// An address without a prefix length is the network of this one address. An IPv6 address that maps
/// an IPv4 address, such as `::ffff:10.0.0.1`, counts as the IPv4 address, here and in
/// [`contains`](Self::contains).
///
/// # Examples
///
/// ```
/// use tower_api_tokens::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse().unwrap()));
/// assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
/// assert!(!network.contains("11.0.0.1".parse().unwrap()));
/// # Ok::<(), tower_api_tokens::NetworkError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Not an IPv6 address that maps an IPv4 address. All bits after the prefix are 0.
    address: IpAddr,
    prefix_len: u8,
}

impl Network {
    /// Creates the network of the addresses that have the first `prefix_len` bits of `address`.
    ///
    /// # Errors
    ///
    /// Returns an error if the prefix is longer than an address, or if `address` has host bits set.
    pub fn new(address: IpAddr, prefix_len: u8) -> Result<Self, NetworkError> {
        if prefix_len > bits(address) {
            return Err(NetworkError(NetworkFault::PrefixLen(bits(address))));
        }
        let mapped = address.to_canonical();
        let (address, prefix_len) = match prefix_len.checked_sub(bits(address) - bits(mapped)) {
            Some(prefix_len) => (mapped, prefix_len),
            // The network is larger than that of all mapped addresses.
            None => (address, prefix_len),
        };
        let network = Self {
            address: without_host_bits(address, prefix_len),
            prefix_len,
        };
        if network.address == address {
            Ok(network)
        } else {
            Err(NetworkError(NetworkFault::HostBits(network)))
        }
    }

    /// Returns the first address of the network.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the length of the prefix, in bits.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Returns whether an address belongs to the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.contains_canonical(address.to_canonical())
    }

    fn contains_canonical(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && without_host_bits(address, self.prefix_len) == self.address
    }

    fn range(&self) -> Range {
        let all = u128::MAX >> (128 - u32::from(bits(self.address)));
        let host_bits = all.checked_shr(self.prefix_len.into()).unwrap_or(0);
        let (is_ipv6, first) = match self.address {
            IpAddr::V4(address) => (false, u128::from(address.to_bits())),
            IpAddr::V6(address) => (true, address.to_bits()),
        };
        Range {
            is_ipv6,
            first,
            last: first | host_bits,
        }
    }
}

/// The number of bits of an address.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn without_host_bits(address: IpAddr, prefix_len: u8) -> IpAddr {
    let prefix_len = u32::from(prefix_len);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix_len).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix_len).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl From<IpAddr> for Network {
    /// Returns the network of one address.
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            prefix_len: bits(address),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, prefix_len)) => (address, Some(prefix_len)),
            None => (text, None),
        };
        let invalid = NetworkError(NetworkFault::Syntax);
        let address: IpAddr = address.parse().map_err(|_| invalid)?;
        match prefix_len {
            Some(prefix_len) => Self::new(address, read_prefix_len(prefix_len).ok_or(invalid)?),
            None => Ok(address.into()),
        }
    }
}

/// Reads a decimal number without a sign or leading zeros. A number that is too large for a prefix
/// is `u8::MAX`.
fn read_prefix_len(text: &str) -> Option<u8> {
    let is_number = text == "0" || !text.starts_with('0');
    let is_number = is_number && (1..=3).contains(&text.len());
    let is_number = is_number && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u8::MAX))
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_text!(Network, "network");

/// The addresses from `first` to `last`. IPv4 and IPv6 addresses never share a range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    is_ipv6: bool,
    first: u128,
    last: u128,
}

/// A set of 1 to 100 [networks](Network). Its text form separates them by commas.
///
/// Networks are sorted, without duplicates. Text may have spaces around the commas.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::Networks;
///
/// let networks: Networks = "192.0.2.7, 10.0.0.0/8".parse()?;
/// assert_eq!(networks.to_string(), "10.0.0.0/8,192.0.2.7/32");
/// assert!(networks.contains("10.1.2.3".parse().unwrap()));
/// assert!("10.1.0.0/16".parse::<Networks>()?.is_subset_of(&networks));
/// # Ok::<(), tower_api_tokens::NetworkError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Networks(Box<[Network]>);

impl Networks {
    /// The maximum number of networks.
    pub const MAX: usize = 100;

    /// Creates a set of networks.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no networks, or more than 100.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Result<Self, NetworkError> {
        let mut networks: Vec<_> = networks.into_iter().collect();
        networks.sort_unstable();
        networks.dedup();
        match networks.len() {
            1..=Self::MAX => Ok(Self(networks.into())),
            0 => Err(NetworkError(NetworkFault::None)),
            count => Err(NetworkError(NetworkFault::TooMany(count))),
        }
    }

    /// Returns the networks, sorted.
    #[must_use]
    pub fn as_slice(&self) -> &[Network] {
        &self.0
    }

    /// Returns whether an address belongs to one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|one| one.contains_canonical(address))
    }

    /// Returns whether `other` contains every address of these networks.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        let others = other.ranges();
        self.0.iter().map(Network::range).all(|range| {
            others.iter().any(|other| {
                other.is_ipv6 == range.is_ipv6
                    && other.first <= range.first
                    && range.last <= other.last
            })
        })
    }

    /// The addresses of all networks, in as few ranges as possible.
    fn ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        // Sorted networks begin in ascending order, those of IPv4 first.
        for next in self.0.iter().map(Network::range) {
            match ranges.last_mut() {
                Some(range)
                    if range.is_ipv6 == next.is_ipv6
                        && next.first <= range.last.saturating_add(1) =>
                {
                    range.last = range.last.max(next.last);
                }
                _ => ranges.push(next),
            }
        }
        ranges
    }
}

impl FromStr for Networks {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let networks = text.split(',').map(|network| network.trim().parse());
        Self::new(networks.collect::<Result<Vec<_>, _>>()?)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, network) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(f, "{separator}{network}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.0).finish()
    }
}

serde_text!(Networks, "list of networks");

/// A [`Network`] or [`Networks`] is invalid. The message states what to change, and does not repeat
/// the text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct NetworkError(NetworkFault);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
enum NetworkFault {
    #[error("invalid network; use an address and a prefix length, such as `10.0.0.0/8`")]
    Syntax,
    #[error("invalid prefix length of a network; use at most {0}")]
    PrefixLen(u8),
    #[error("the network has host bits set; use `{0}`")]
    HostBits(Network),
    #[error("the list of networks is empty; use at least one, such as `10.0.0.0/8`")]
    None,
    #[error("too many networks ({0}); use at most 100")]
    TooMany(usize),
}

#[cfg(test)]
mod tests;
