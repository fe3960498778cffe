//! The network between a node and its database: it can lose notifications, or everything, and it
//! counts what goes through.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What happens to what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It arrives.
    Clear,
    /// It arrives, but for notifications.
    Deaf,
    /// Nothing arrives, and nobody is told.
    Silent,
}

#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Statements that were sent to the server.
    pub(crate) statements: AtomicU64,
    /// Connections that are open.
    pub(crate) open: AtomicU64,
    /// The most that were open at once.
    pub(crate) most_open: AtomicU64,
}

pub(crate) struct Network {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
    server: Arc<watch::Sender<SocketAddr>>,
    pub(crate) traffic: Arc<Traffic>,
    task: JoinHandle<()>,
}

impl Network {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, its_weather) = watch::channel(Weather::Clear);
        let (server, its_server) = watch::channel(server);
        let traffic = Arc::new(Traffic::default());
        let counted = Arc::clone(&traffic);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let line = Line {
                    weather: its_weather.clone(),
                    server: its_server.clone(),
                    traffic: Arc::clone(&counted),
                };
                tokio::spawn(line.carry(client));
            }
        });
        Self {
            port,
            weather: Arc::new(weather),
            server: Arc::new(server),
            traffic,
            task,
        }
    }

    /// The address at which a node finds the server.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn turns(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Leads to another server from now on; connections to the former one are cut.
    pub(crate) fn leads_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection.
struct Line {
    weather: watch::Receiver<Weather>,
    server: watch::Receiver<SocketAddr>,
    traffic: Arc<Traffic>,
}

impl Line {
    async fn carry(mut self, client: TcpStream) {
        let address = *self.server.borrow_and_update();
        self.wait_until_it_clears().await;
        let Ok(server) = TcpStream::connect(address).await else {
            return;
        };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let open = self.traffic.open.fetch_add(1, Relaxed) + 1;
        self.traffic.most_open.fetch_max(open, Relaxed);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let mut server = self.server.clone();
        tokio::select! {
            _ = self.carry_up(from_client, to_server) => {}
            _ = self.carry_down(from_server, to_client) => {}
            _ = server.changed() => {}
        }
        self.traffic.open.fetch_sub(1, Relaxed);
    }

    async fn wait_until_it_clears(&self) {
        let mut weather = self.weather.clone();
        let clear = weather
            .wait_for(|weather| *weather != Weather::Silent)
            .await;
        drop(clear.unwrap());
    }

    async fn carry_up(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        // The first message has no type.
        let mut message = Vec::new();
        read_body(&mut from, &mut message).await?;
        loop {
            self.wait_until_it_clears().await;
            to.write_all(&message).await?;
            message.clear();
            message.push(from.read_u8().await?);
            read_body(&mut from, &mut message).await?;
            const EXECUTE: u8 = b'E';
            const QUERY: u8 = b'Q';
            if [EXECUTE, QUERY].contains(&message[0]) {
                self.traffic.statements.fetch_add(1, Relaxed);
            }
        }
    }

    async fn carry_down(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        loop {
            let mut message = vec![from.read_u8().await?];
            read_body(&mut from, &mut message).await?;
            self.wait_until_it_clears().await;
            const NOTIFICATION: u8 = b'A';
            if message[0] != NOTIFICATION || *self.weather.borrow() != Weather::Deaf {
                to.write_all(&message).await?;
            }
        }
    }
}

/// Reads a message's length, which counts itself, and the rest of the message.
async fn read_body(from: &mut OwnedReadHalf, message: &mut Vec<u8>) -> io::Result<()> {
    let length = from.read_u32().await?;
    message.extend(length.to_be_bytes());
    let rest = u64::from(length).saturating_sub(4);
    from.take(rest).read_to_end(message).await?;
    Ok(())
}
