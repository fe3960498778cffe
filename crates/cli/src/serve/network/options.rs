//! The options for listeners, limits and timeouts.

use std::time::Duration;

use clap::Args;

use super::{Endpoint, Listener, activity::Timeouts, endpoint::SocketMode};
use crate::{failure::Failure, number::at_least_one, time};

#[derive(Args)]
pub(in crate::serve) struct NetworkOptions {
    /// Address to listen on: a host and a port, or `unix:` and the path of a Unix socket. Repeat the option
    /// for several. Anyone who can reach it can try tokens, so allow only your proxies
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: Vec<Endpoint>,
    /// Permissions of Unix sockets, in octal. A client needs the permission to write
    #[arg(long, value_name = "MODE", default_value = "600")]
    unix_socket_mode: SocketMode,
    /// Maximum number of connections, or fewer if the limit on open files requires it. At the
    /// maximum, a new connection replaces the one that has been idle for longest
    #[arg(long, value_name = "COUNT", default_value = "4096", value_parser = at_least_one)]
    pub(in crate::serve) max_connections: usize,
    /// Close connections that have no request for this long. Set it longer than the keep-alive timeout
    /// of your proxy, which is 60 s for nginx
    #[arg(long, value_parser = time::duration_above_zero, default_value = "75s", value_name = "DURATION")]
    idle_timeout: Duration,
    /// Close connections whose request head is not complete this long after its first byte
    #[arg(long, value_parser = time::duration_above_zero, default_value = "10s", value_name = "DURATION")]
    head_timeout: Duration,
    /// Close connections whose client accepts no part of a response for this long
    #[arg(long, value_parser = time::duration_above_zero, default_value = "30s", value_name = "DURATION")]
    write_timeout: Duration,
    /// After a signal to stop, keep accepting connections for this long, while load balancers notice
    #[arg(long, value_parser = time::duration, default_value = "0s", value_name = "DURATION")]
    pub(in crate::serve) drain_delay: Duration,
    /// How long requests in progress may take to finish when the server stops
    #[arg(long, value_parser = time::duration, default_value = "10s", value_name = "DURATION")]
    pub(in crate::serve) shutdown_timeout: Duration,
}

impl NetworkOptions {
    /// Listens on every address.
    pub(in crate::serve) async fn listen(&self) -> Result<Vec<Listener>, Failure> {
        let mut listeners = Vec::new();
        for endpoint in &self.listen {
            listeners.push(Listener::bind(endpoint, self.unix_socket_mode).await?);
        }
        Ok(listeners)
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        Timeouts {
            idle: self.idle_timeout,
            head: self.head_timeout,
            write: self.write_timeout,
        }
    }
}
