//! A network between the store and the server that can be interrupted.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

use crate::support::{address, server};

pub(crate) struct Proxy {
    port: u16,
    /// Whether connections are forwarded.
    open: Arc<watch::Sender<bool>>,
    /// How often the open connections fell silent.
    silence: watch::Sender<u64>,
    /// How long a new connection takes.
    delay: watch::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, is_open) = watch::channel(true);
        let (delay, delayed) = watch::channel(Duration::ZERO);
        let (silence, silenced) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let delay = *delayed.borrow();
                tokio::spawn(carry(client, delay, is_open.clone(), silenced.clone()));
            }
        });
        Self {
            port,
            open: Arc::new(open),
            silence,
            delay,
            task,
        }
    }

    /// Returns the URL of the server through this proxy.
    pub(crate) fn url(&self) -> String {
        let (address, _) = address();
        server().replace(&address, &format!("127.0.0.1:{}", self.port))
    }

    /// Makes new connections take this long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// Stops carrying messages on the connections that are open, which neither side notices. New ones work.
    pub(crate) fn silence(&self) {
        self.silence.send_modify(|times| *times += 1);
    }

    /// Closes every connection; new ones are closed immediately.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn restore(&self) {
        self.open.send_replace(true);
    }
}

async fn carry(
    mut client: TcpStream,
    delay: Duration,
    mut is_open: watch::Receiver<bool>,
    mut silenced: watch::Receiver<u64>,
) {
    let (address, _) = address();
    silenced.mark_unchanged();
    if !*is_open.borrow_and_update() {
        return;
    }
    sleep(delay).await;
    let mut server = TcpStream::connect(address).await.unwrap();
    let carried = async {
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => {}
            Ok(()) = silenced.changed() => pending().await,
        }
    };
    tokio::select! {
        () = carried => {}
        _ = is_open.wait_for(|open| !open) => {}
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
