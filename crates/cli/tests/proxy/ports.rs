//! Ports for programs that cannot choose one themselves and say which.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    process,
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

/// Ports that Linux assigns to no client, and to no listener that leaves the choice to it: by default, it
/// assigns those from 32768 on. One of these could be taken before the program listens.
const PORTS: Range<u16> = 10_000..32_000;

/// Returns an address on which no process listens. Each call in this process returns another one.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Test binaries that run concurrently begin far apart.
    let first = process::id().wrapping_mul(101);
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    let addresses = (0..count).map(|_| {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Relaxed).into()) % u32::from(count);
        let port = u32::from(PORTS.start) + offset;
        SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()))
    });
    let mut free = addresses.filter(is_free);
    free.next().expect("a port is free")
}
