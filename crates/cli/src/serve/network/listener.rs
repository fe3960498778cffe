//! Listens on an address or a Unix socket.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use tokio::net::{TcpListener, UnixListener, lookup_host};

use super::{
    endpoint::{Address, Endpoint, SocketMode},
    stream::Stream,
    unix::{self, SocketFile},
};
use crate::failure::Failure;

/// The other end of a connection, in the extensions of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Peer {
    Ip(IpAddr),
    /// A process that connected to a Unix socket.
    Unix,
}

/// A socket that accepts connections.
pub(in crate::serve) struct Listener {
    socket: Socket,
    /// Its actual address.
    endpoint: Endpoint,
}

enum Socket {
    Tcp(TcpListener),
    Unix(
        #[expect(dead_code, reason = "removes the file when dropped")] SocketFile,
        UnixListener,
    ),
}

impl Listener {
    pub(in crate::serve) async fn bind(
        endpoint: &Endpoint,
        mode: SocketMode,
    ) -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            Failure::failed(format!("cannot listen on {endpoint}")).because(error)
        };
        match endpoint {
            Endpoint::Tcp(address) => {
                let bound = bind_tcp(address).await;
                let (listener, actual) = bound.map_err(|error| {
                    cannot(error).advising(
                        "Choose another address; `--listen 127.0.0.1:0` picks a free port.",
                    )
                })?;
                Ok(Self {
                    socket: Socket::Tcp(listener),
                    endpoint: actual.into(),
                })
            }
            Endpoint::Unix(path) => {
                let (listener, file) = unix::bind(path, mode).await.map_err(|error| {
                    cannot(error).advising(
                        "Choose a short path in a directory in which you can create files.",
                    )
                })?;
                Ok(Self {
                    socket: Socket::Unix(file, listener),
                    endpoint: endpoint.clone(),
                })
            }
        }
    }

    /// Accepts the next connection.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A failure only makes responses slower.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::Ip(peer.ip())))
            }
            Socket::Unix(_, listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }

    /// The URL of its server, without a path. `None` for a Unix socket.
    pub(in crate::serve) fn url(&self) -> Option<String> {
        match &self.endpoint {
            Endpoint::Tcp(address) => Some(format!("http://{address}")),
            Endpoint::Unix(_) => None,
        }
    }
}

/// Shows the URL, or the path of the Unix socket.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.url() {
            Some(url) => url.fmt(f),
            None => self.endpoint.fmt(f),
        }
    }
}

/// Listens on the first address of the host that is available, preferring IPv4.
async fn bind_tcp(address: &Address) -> io::Result<(TcpListener, SocketAddr)> {
    let found = lookup_host((address.host.as_str(), address.port)).await?;
    let mut addresses: Vec<_> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let listener = TcpListener::bind(&*addresses).await?;
    let actual = listener.local_addr()?;
    Ok((listener, actual))
}
