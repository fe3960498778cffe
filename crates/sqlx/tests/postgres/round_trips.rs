//! The number of round trips of each operation, counted by a network between the store and the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};
use tower_api_tokens::{ApiTokens, AppId, ChangeLog, NewToken, Revision, TokenRecord, TokenStore};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    services::Test,
    support::{Schema, address, server, tokens},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        every_frequent_operation_is_one_round_trip,
        rotations_over_a_slow_network_are_one_round_trip_each,
    ]
}

/// The number of calls that are counted together.
const CALLS: usize = 5;

/// How long a message takes in each direction over the slow network.
const SLOW: Duration = Duration::from_millis(20);

/// A network that counts the messages after which the client waits for the server.
pub(crate) struct Network {
    port: u16,
    waits: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Network {
    pub(crate) async fn start(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let waits = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&waits);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(address().0).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let requests = Requests::counting(Arc::clone(&count));
                tokio::spawn(carry(from_client, to_server, delay, Some(requests)));
                tokio::spawn(carry(from_server, to_client, delay, None));
            }
        });
        Self { port, waits, task }
    }

    pub(crate) fn url(&self) -> String {
        server().replace(&address().0, &format!("127.0.0.1:{}", self.port))
    }

    pub(crate) fn waits(&self) -> usize {
        self.waits.load(Relaxed)
    }

    /// Counts the round trips of several calls, of which the first prepares statements. A busy machine may pause for
    /// so long that a connection is tested, so the best of several attempts counts.
    async fn count(&self, platform: &mut Platform, operation: Operation) -> usize {
        platform.make(operation).await;
        let mut least = usize::MAX;
        for _ in 0..20 {
            let before = self.waits();
            for _ in 0..CALLS {
                platform.make(operation).await;
            }
            least = least.min(self.waits() - before);
            if least == CALLS {
                break;
            }
        }
        least
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    mut requests: Option<Requests>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if let Some(requests) = &mut requests {
            requests.read(&buffer[..length]);
        }
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// The messages of a client.
struct Requests {
    unread: Vec<u8>,
    has_started: bool,
    waits: Arc<AtomicUsize>,
}

impl Requests {
    /// The code of a request for TLS, which precedes the message that starts a session.
    const TLS: [u8; 4] = 80_877_103_u32.to_be_bytes();

    fn counting(waits: Arc<AtomicUsize>) -> Self {
        Self {
            unread: Vec::new(),
            has_started: false,
            waits,
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        loop {
            let kind = usize::from(self.has_started);
            let Some(length) = self.unread.get(kind..kind + 4) else {
                return;
            };
            let length = u32::from_be_bytes(length.try_into().unwrap());
            let end = kind + usize::try_from(length).unwrap();
            if self.unread.len() < end {
                return;
            }
            let message: Vec<u8> = self.unread.drain(..end).collect();
            if !self.has_started {
                self.has_started = message.get(4..8) != Some(&Self::TLS[..]);
            } else if matches!(message[0], b'S' | b'Q') {
                // `Sync` and a simple query: the server answers that it is ready for the next.
                self.waits.fetch_add(1, Relaxed);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Issue,
    Rotate,
    Revoke,
    Find,
    Poll,
}

struct Platform {
    store: PostgresStore,
    tokens: ApiTokens,
    app: AppId,
    /// The token that was issued last.
    last: TokenRecord,
    revision: Revision,
}

impl Platform {
    async fn open(schema: &Schema, network: &Network) -> Self {
        let store = schema.open_by(&network.url()).await;
        let tokens = tokens(&store);
        let app = tokens.create_app("Billing").await.unwrap().id;
        let revision = store.revision().await.unwrap();
        let last = tokens.issue(&app, NewToken::named("ci")).await.unwrap();
        Self {
            store,
            tokens,
            app,
            last: last.record().clone(),
            revision,
        }
    }

    async fn make(&mut self, operation: Operation) {
        match operation {
            Operation::Issue => {
                let issued = self.tokens.issue(&self.app, NewToken::named("ci")).await;
                self.last = issued.unwrap().record().clone();
            }
            Operation::Rotate => {
                let rotated = self.tokens.rotate(self.last.id, Duration::ZERO).await;
                self.last = rotated.unwrap().record().clone();
            }
            Operation::Revoke => drop(self.tokens.revoke(self.last.id).await.unwrap()),
            Operation::Find => {
                let found = self.store.find(&self.last.digest).await.unwrap();
                assert!(found.record.is_some());
            }
            Operation::Poll => drop(self.store.changes(self.revision, 100).await.unwrap()),
        }
    }
}

async fn every_frequent_operation_is_one_round_trip() {
    let (schema, network) = (Schema::new(), Network::start(Duration::ZERO).await);
    let mut platform = Platform::open(&schema, &network).await;
    for operation in [
        Operation::Issue,
        Operation::Rotate,
        Operation::Revoke,
        Operation::Find,
        Operation::Poll,
    ] {
        let counted = network.count(&mut platform, operation).await;
        assert_eq!(counted, CALLS, "{operation:?}");
    }
}

/// At 40 milliseconds each, that is 25 a second.
async fn rotations_over_a_slow_network_are_one_round_trip_each() {
    let (schema, network) = (Schema::new(), Network::start(SLOW).await);
    let mut platform = Platform::open(&schema, &network).await;
    let counted = network.count(&mut platform, Operation::Rotate).await;
    assert_eq!(counted, CALLS);
}
