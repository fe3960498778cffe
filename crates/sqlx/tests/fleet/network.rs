//! The network between a node and its database. It can drop notifications or everything, and counts
//! traffic.

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

/// What happens to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// All messages arrive.
    Clear,
    /// All messages except notifications arrive.
    Deaf,
    /// Messages to the server arrive, and its responses do not.
    Late,
    /// No message arrives, and neither side notices.
    Silent,
}

#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// The number of statements sent to the server.
    pub(crate) statements: AtomicU64,
    /// The number of open connections.
    pub(crate) open: AtomicU64,
    /// The maximum number of concurrently open connections.
    pub(crate) most_open: AtomicU64,
    /// The number of received messages of the server.
    pub(crate) answers: AtomicU64,
    /// The number of bytes in both directions.
    pub(crate) bytes: AtomicU64,
}

impl Traffic {
    fn count_bytes(&self, message: &[u8]) {
        self.bytes.fetch_add(message.len() as u64, Relaxed);
    }
}

pub(crate) struct Network {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
    servers: Arc<watch::Sender<Vec<SocketAddr>>>,
    pub(crate) traffic: Arc<Traffic>,
    task: JoinHandle<()>,
}

impl Network {
    /// Creates a network on which one address leads to several servers, in turn.
    pub(crate) async fn to(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, its_weather) = watch::channel(Weather::Clear);
        let (servers, its_servers) = watch::channel(servers);
        let traffic = Arc::new(Traffic::default());
        let counted = Arc::clone(&traffic);
        let task = tokio::spawn(async move {
            for turn in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                let line = Line {
                    turn,
                    weather: its_weather.clone(),
                    servers: its_servers.clone(),
                    traffic: Arc::clone(&counted),
                };
                tokio::spawn(line.carry(client));
            }
        });
        Self {
            port,
            weather: Arc::new(weather),
            servers: Arc::new(servers),
            traffic,
            task,
        }
    }

    /// Returns the address of the server on this network.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn turns(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Switches to these servers, and closes connections to the previous ones.
    pub(crate) fn leads_to(&self, servers: Vec<SocketAddr>) {
        self.servers.send_replace(servers);
    }

    /// Closes every connection, so that nodes reconnect.
    pub(crate) fn cut(&self) {
        self.servers.send_modify(|_| {});
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection.
struct Line {
    /// The number of earlier connections.
    turn: usize,
    weather: watch::Receiver<Weather>,
    servers: watch::Receiver<Vec<SocketAddr>>,
    traffic: Arc<Traffic>,
}

impl Line {
    async fn carry(mut self, client: TcpStream) {
        let address = {
            let servers = self.servers.borrow_and_update();
            servers[self.turn % servers.len()]
        };
        self.wait_while(&[Weather::Silent]).await;
        let Ok(server) = TcpStream::connect(address).await else {
            return;
        };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let open = self.traffic.open.fetch_add(1, Relaxed) + 1;
        self.traffic.most_open.fetch_max(open, Relaxed);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let mut servers = self.servers.clone();
        tokio::select! {
            _ = self.carry_up(from_client, to_server) => {}
            _ = self.carry_down(from_server, to_client) => {}
            _ = servers.changed() => {}
        }
        self.traffic.open.fetch_sub(1, Relaxed);
    }

    async fn wait_while(&self, weathers: &[Weather]) {
        let mut weather = self.weather.clone();
        let clear = weather
            .wait_for(|weather| !weathers.contains(weather))
            .await;
        drop(clear.unwrap());
    }

    async fn carry_up(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        // The first message has no type.
        let mut message = Vec::new();
        read_body(&mut from, &mut message).await?;
        loop {
            self.wait_while(&[Weather::Silent]).await;
            to.write_all(&message).await?;
            self.traffic.count_bytes(&message);
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
            self.wait_while(&[Weather::Silent, Weather::Late]).await;
            const NOTIFICATION: u8 = b'A';
            if message[0] != NOTIFICATION || *self.weather.borrow() != Weather::Deaf {
                to.write_all(&message).await?;
                self.traffic.answers.fetch_add(1, Relaxed);
                self.traffic.count_bytes(&message);
            }
        }
    }
}

/// Reads the length of a message, which includes itself, and the rest of the message.
async fn read_body(from: &mut OwnedReadHalf, message: &mut Vec<u8>) -> io::Result<()> {
    let length = from.read_u32().await?;
    message.extend(length.to_be_bytes());
    let rest = u64::from(length).saturating_sub(4);
    from.take(rest).read_to_end(message).await?;
    Ok(())
}
