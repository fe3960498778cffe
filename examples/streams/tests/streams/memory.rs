//! A server whose connections are in memory. With tokio's time paused, time passes only while every task
//! waits for it, so streams that check their tokens every few seconds are tested without waiting.

use std::{convert::Infallible, io};

use axum::{Router, serve::Listener};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// A running server.
#[derive(Clone)]
pub(crate) struct Server(UnboundedSender<DuplexStream>);

struct Accepted(UnboundedReceiver<DuplexStream>);

impl Listener for Accepted {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        let connection = self.0.recv().await;
        (connection.expect("the test holds the server"), ())
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Server {
    pub(crate) fn of(routes: Router) -> Self {
        let (connections, accepted) = unbounded_channel();
        tokio::spawn(async move { axum::serve(Accepted(accepted), routes).await });
        Self(connections)
    }

    pub(crate) fn connect(&self) -> DuplexStream {
        let (here, there) = duplex(1 << 16);
        self.0.send(there).expect("the server accepts connections");
        here
    }

    pub(crate) async fn channel(&self) -> Channel {
        let server = self.clone();
        let connect = service_fn(move |_| {
            let connection = TokioIo::new(server.connect());
            async { Ok::<_, Infallible>(connection) }
        });
        let endpoint = Endpoint::from_static("http://service");
        endpoint.connect_with_connector(connect).await.unwrap()
    }
}
