use proptest::prelude::*;

use super::*;

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

fn networks(text: &str) -> Networks {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn message(text: &str) -> String {
    text.parse::<Networks>().unwrap_err().to_string()
}

#[test]
fn networks_are_printed_in_canonical_form() {
    for (text, canonical) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::/0", "::/0"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
    ] {
        assert_eq!(network(text).to_string(), canonical);
    }
    let sorted = "10.0.0.0/8,10.0.0.0/16,192.0.2.7/32,::1/128";
    let text = "::1, 192.0.2.7/32 ,10.0.0.0/16,10.0.0.0/8,192.0.2.7";
    assert_eq!(networks(text).to_string(), sorted);
}

#[test]
fn text_that_is_not_a_network_is_refused() {
    for bad in [
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10/8",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "10.0.0.0/0x8",
        "10.0.0.0 /8",
        "010.0.0.0/8",
        "10.0.0.0/1000",
        "fe80::1%eth0",
        "[::1]/128",
        "localhost",
        "*",
    ] {
        assert!(bad.parse::<Network>().is_err(), "{bad:?}");
    }
    assert_eq!(
        message("localhost"),
        "invalid network; use an address and a prefix length, such as `10.0.0.0/8`"
    );
    for (bad, longest) in [("10.0.0.0/33", 32), ("::/129", 128), ("10.0.0.0/999", 32)] {
        let expected = format!("invalid prefix length of a network; use at most {longest}");
        assert_eq!(message(bad), expected);
    }
}

#[test]
fn bits_after_the_prefix_are_refused_with_the_network_that_was_meant() {
    for (bad, meant) in [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.1.2.3/0", "0.0.0.0/0"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3/90", "::ffc0:0:0/90"),
    ] {
        let expected = format!("the network has host bits set; use `{meant}`");
        assert_eq!(message(bad), expected);
        assert_eq!(network(meant).to_string(), meant);
    }
}

#[test]
fn the_number_of_networks_is_bounded() {
    let list = |count: u8| {
        let all: Vec<_> = (0..count).map(|n| format!("10.0.0.{n}")).collect();
        all.join(",")
    };
    assert_eq!(networks(&list(100)).as_slice().len(), Networks::MAX);
    assert_eq!(
        message(&list(101)),
        "too many networks (101); use at most 100"
    );
    let none = Networks::new([]).unwrap_err();
    assert_eq!(
        none.to_string(),
        "the list of networks is empty; use at least one, such as `10.0.0.0/8`"
    );
    for empty in ["", " ", ",", "10.0.0.0/8,"] {
        assert!(empty.parse::<Networks>().is_err(), "{empty:?}");
    }
}

#[test]
fn mapped_addresses_count_as_ipv4() {
    let v4 = networks("10.0.0.0/8");
    assert!(v4.contains(address("10.1.2.3")));
    assert!(v4.contains(address("::ffff:10.1.2.3")));
    assert!(!v4.contains(address("::10.1.2.3")));
    let v6 = networks("::/0");
    assert!(v6.contains(address("2001:db8::1")));
    assert!(!v6.contains(address("::ffff:10.1.2.3")));
    assert!(!v6.contains(address("10.1.2.3")));
    assert!(!networks("0.0.0.0/0").contains(address("2001:db8::1")));
}

#[test]
fn networks_together_may_cover_a_larger_one() {
    let halves = networks("10.0.0.0/9,10.128.0.0/9");
    assert!(networks("10.0.0.0/8").is_subset_of(&halves));
    assert!(halves.is_subset_of(&networks("10.0.0.0/8")));
    assert!(!networks("10.0.0.0/8").is_subset_of(&networks("10.0.0.0/9,10.192.0.0/10")));
    assert!(!networks("::/0").is_subset_of(&networks("0.0.0.0/0")));
    assert!(networks("::/0").is_subset_of(&networks("::/1,8000::/1")));
    assert!(!networks("::a00:0/104").is_subset_of(&networks("10.0.0.0/8")));
}

fn any_network() -> impl Strategy<Value = Network> {
    let v4 = (any::<[u8; 4]>(), 0_u8..=32).prop_map(|(bytes, prefix)| (bytes.into(), prefix));
    let v6 = (any::<[u8; 16]>(), 0_u8..=128).prop_map(|(bytes, prefix)| (bytes.into(), prefix));
    prop_oneof![v4, v6].prop_map(|(address, prefix_len): (IpAddr, u8)| {
        Network::new(without_host_bits(address, prefix_len), prefix_len).unwrap()
    })
}

/// Networks within 10.0.0.0/28, so that they often touch or contain each other.
fn near_networks() -> impl Strategy<Value = Networks> {
    let near = (0_u8..16, 28_u8..=32).prop_map(|(last, prefix_len)| {
        let address = IpAddr::from([10, 0, 0, last]);
        Network::new(without_host_bits(address, prefix_len), prefix_len).unwrap()
    });
    proptest::collection::vec(near, 1..6).prop_map(|all| Networks::new(all).unwrap())
}

proptest! {
    #[test]
    fn networks_round_trip_as_text(all in proptest::collection::vec(any_network(), 1..20)) {
        let networks = Networks::new(all.clone()).unwrap();
        prop_assert_eq!(networks.to_string().parse(), Ok(networks.clone()));
        let mut reversed = all;
        reversed.reverse();
        prop_assert_eq!(Networks::new(reversed), Ok(networks));
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix(
        network in any_network(), v4: [u8; 4], v6: [u8; 16], flipped: u8,
    ) {
        let host = if network.address.is_ipv4() { IpAddr::from(v4) } else { v6.into() };
        // The first bits of the network, and the other bits of another address.
        let inside = match (network.address, host) {
            (IpAddr::V4(first), IpAddr::V4(host)) => {
                let rest = u32::MAX.checked_shr(network.prefix_len.into()).unwrap_or(0);
                IpAddr::from(Ipv4Addr::from_bits(first.to_bits() | host.to_bits() & rest))
            }
            (IpAddr::V6(first), IpAddr::V6(host)) => {
                let rest = u128::MAX.checked_shr(network.prefix_len.into()).unwrap_or(0);
                IpAddr::from(Ipv6Addr::from_bits(first.to_bits() | host.to_bits() & rest))
            }
            _ => unreachable!(),
        };
        // A few IPv6 networks contain the range of mapped addresses, which are not IPv6 addresses.
        prop_assume!(inside == inside.to_canonical());
        prop_assert!(network.contains(inside));
        if network.prefix_len > 0 {
            let bit = flipped % network.prefix_len;
            let outside: IpAddr = match inside {
                IpAddr::V4(at) => Ipv4Addr::from_bits(at.to_bits() ^ 1 << (31 - bit)).into(),
                IpAddr::V6(at) => Ipv6Addr::from_bits(at.to_bits() ^ 1 << (127 - bit)).into(),
            };
            prop_assert!(!network.contains(outside));
        }
    }

    #[test]
    fn a_subset_has_no_address_of_its_own(ours in near_networks(), theirs in near_networks()) {
        let all = || (0..=255).map(|last| IpAddr::from([10, 0, 0, last]));
        let is_subset = all().all(|at| !ours.contains(at) || theirs.contains(at));
        prop_assert_eq!(ours.is_subset_of(&theirs), is_subset);
    }

    #[test]
    fn garbage_is_refused_without_a_panic(text in "[0-9a-f:./, %]{0,60}|\\PC{0,30}") {
        if let Ok(networks) = text.parse::<Networks>() {
            prop_assert_eq!(networks.to_string().parse(), Ok(networks));
        }
    }
}
