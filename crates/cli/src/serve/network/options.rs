//! The options for listeners, limits and timeouts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, builder::ArgPredicate};

use super::{
    Certificate, Endpoint, Listener,
    activity::Timeouts,
    endpoint::{Address, SocketMode},
};
use crate::{failure::Failure, number::at_least_one, time};

#[derive(Args)]
pub(in crate::serve) struct NetworkOptions {
    /// Address to listen on: a host and a port, or `unix:` and the path of a Unix socket. Repeat the option
    /// for several. Anyone who can reach it can try tokens, so allow only your proxies
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        default_value_if("listen_tls", ArgPredicate::IsPresent, None)
    )]
    listen: Vec<Endpoint>,
    /// Host and port to listen on with TLS. Repeat the option for several. Without `--listen`, only these
    /// are served
    #[arg(long, value_name = "ADDRESS", requires_all = ["tls_certificate", "tls_key"])]
    listen_tls: Vec<Address>,
    /// PEM file with the certificate for `--listen-tls`, followed by the intermediate ones. SIGHUP reloads
    /// it and the key
    #[arg(long, value_name = "FILE", requires = "listen_tls")]
    tls_certificate: Option<PathBuf>,
    /// PEM file with the private key of the certificate. Only its owner may read it, or also its group if
    /// it belongs to root
    #[arg(long, value_name = "FILE", requires = "listen_tls")]
    tls_key: Option<PathBuf>,
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
    /// Close connections whose TLS handshake takes longer
    #[arg(long, value_parser = time::duration_above_zero, default_value = "10s", value_name = "DURATION")]
    tls_handshake_timeout: Duration,
    /// Close connections whose request head is not complete this long after its first byte
    #[arg(long, value_parser = time::duration_above_zero, default_value = "10s", value_name = "DURATION")]
    head_timeout: Duration,
    /// Respond with 408 to requests whose body is not complete this long after the
    /// server begins to wait for it
    #[arg(long, value_parser = time::duration_above_zero, default_value = "30s", value_name = "DURATION")]
    body_timeout: Duration,
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
    /// Loads the certificate, if TLS is used.
    pub(in crate::serve) fn certificate(&self) -> Result<Option<Arc<Certificate>>, Failure> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else {
            return Ok(None);
        };
        let loaded = Certificate::load(certificate, key);
        let loaded = loaded.map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Some(Arc::new(loaded)))
    }

    /// Listens on every address.
    pub(in crate::serve) async fn listen(
        &self,
        certificate: Option<&Arc<Certificate>>,
    ) -> Result<Vec<Listener>, Failure> {
        let mut listeners = Vec::new();
        for endpoint in &self.listen {
            listeners.push(self.listen_on(endpoint).await?);
        }
        let Some(certificate) = certificate else {
            return Ok(listeners);
        };
        let tls = certificate.acceptor()?;
        for address in &self.listen_tls {
            let endpoint = Endpoint::Tcp(address.clone());
            let listener = Listener::bind(&endpoint, self.unix_socket_mode).await?;
            listeners.push(listener.with_tls(tls.clone()));
        }
        Ok(listeners)
    }

    /// Listens on one more address.
    pub(in crate::serve) async fn listen_on(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Listener, Failure> {
        Listener::bind(endpoint, self.unix_socket_mode).await
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        Timeouts {
            handshake: self.tls_handshake_timeout,
            idle: self.idle_timeout,
            head: self.head_timeout,
            body: self.body_timeout,
            write: self.write_timeout,
        }
    }
}
