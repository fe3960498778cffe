//! A process that freezes during a change does not block the changes of others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};
use tower_api_tokens::{
    AppRecord, AuditAction, AuditEvent, AuditEventId, AuditOutcome, BoundKey, Grantable, Mutation,
    Op, StoreErrorKind, TokenRegistry, TokenRegistryExt, TokenTarget,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    log::token,
    races::{app, at},
    services::Test,
    support::{Schema, address, server},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_process_that_freezes_during_a_change_blocks_no_other,
        a_process_that_freezes_behind_a_pooler_blocks_no_other,
    ]
}

/// The deadline for others to revoke a token.
const BOUND: Duration = Duration::from_secs(2);

/// A network that drops everything a process sends after a number of messages. Its connections stay open.
struct Silence {
    port: u16,
    /// The number of messages that still arrive.
    left: Arc<AtomicI64>,
    fallen: Arc<Notify>,
}

impl Silence {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silence = Self {
            port,
            left: Arc::new(AtomicI64::new(i64::MAX)),
            fallen: Arc::default(),
        };
        let (left, fallen) = (Arc::clone(&silence.left), Arc::clone(&silence.fallen));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, Arc::clone(&left), Arc::clone(&fallen)));
            }
        });
        silence
    }

    fn url(&self) -> String {
        let (address, _) = address();
        server().replace(&address, &format!("127.0.0.1:{}", self.port))
    }
}

async fn carry(client: TcpStream, left: Arc<AtomicI64>, fallen: Arc<Notify>) {
    let (address, _) = address();
    let server = TcpStream::connect(address).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = copy(&mut from_server, &mut to_client);
    let forth = async {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if left.fetch_sub(1, SeqCst) <= 0 {
                fallen.notify_one();
                std::future::pending::<()>().await;
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = back => {}
        () = forth => {}
    }
}

fn event(number: u8) -> AuditEvent {
    let id = AuditEventId::from_bytes([number; 16]);
    let done = AuditOutcome::Done;
    AuditEvent::new(id, at(1), "me", AuditAction::RevokeToken, done)
}

/// One of each operation, on separate tokens.
fn operations(app: &AppRecord, round: u128) -> Vec<Op> {
    let old = TokenTarget::any(token(app, 1).id);
    let another = AppRecord::new(format!("app-{round}").parse().unwrap(), "Another", at(0));
    vec![
        Op::CreateApp(another),
        Op::DisableApp(app.id),
        Op::EnableApp {
            app: app.id,
            grantable: Grantable::scopes("a".parse().unwrap()),
        },
        Op::InsertTokens((0..500).map(|n| token(app, round * 1000 + n)).collect()),
        Op::RenameToken {
            target: old,
            name: "renamed".to_owned(),
        },
        Op::RotateToken {
            target: TokenTarget::any(token(app, 2).id),
            successor: token(app, round * 1000 + 999),
            overlap_ends: at(10),
            inheritance: None,
        },
        Op::RevokeToken(old),
        Op::Purge {
            before: at(1),
            limit: 10,
        },
        Op::ClearCaches,
    ]
}

async fn stops_everywhere(open: impl AsyncFn(&str, &str) -> PostgresStore) {
    let schema = Schema::new();
    let (others, silence) = (schema.open().await, Silence::start().await);
    let app = app(&others).await;
    for number in [1, 2, 3] {
        others.insert(&token(&app, number)).await.unwrap();
    }
    let (mut round, mut event_number) = (10, 0);
    let target = TokenTarget::any(token(&app, 3).id);
    let mut stops = 0;
    for index in 0..operations(&app, 0).len() {
        // Freezes before the first message, then before the second, until the change is made.
        for messages in 0.. {
            (round, event_number) = (round + 1, event_number + 1);
            silence.left.store(i64::MAX, SeqCst);
            let store = open(&silence.url(), &schema.name).await;
            let op = operations(&app, round).swap_remove(index);
            let keyed = matches!(op, Op::InsertTokens(_) | Op::RotateToken { .. });
            let mut mutation = Mutation::new(op, at(1)).audit(event(event_number));
            if keyed {
                let key = [event_number; 32];
                mutation = mutation.key(BoundKey::new(key, key));
            }
            silence.left.store(messages, SeqCst);
            let change = tokio::spawn(async move { store.apply(&mutation).await });
            let stopped = tokio::select! {
                () = silence.fallen.notified() => true,
                changed = change => {
                    let conflict = |error: &tower_api_tokens::StoreError| {
                        error.kind() == StoreErrorKind::Conflict
                    };
                    let changed = changed.unwrap();
                    assert!(changed.as_ref().err().is_none_or(conflict), "{changed:?}");
                    false
                }
            };
            let revocation = timeout(BOUND, others.revoke(&target, at(2))).await;
            let revocation =
                revocation.unwrap_or_else(|_| panic!("operation {index} at {messages}"));
            revocation.unwrap();
            if !stopped {
                break;
            }
            stops += 1;
        }
    }
    assert!(stops >= 9, "each operation takes at least one message");
}

async fn a_process_that_freezes_during_a_change_blocks_no_other() {
    stops_everywhere(async |url, schema| {
        let builder = PostgresStore::builder(url)
            .schema(schema)
            .max_connections(2);
        builder.connect().await.unwrap()
    })
    .await;
}

async fn a_process_that_freezes_behind_a_pooler_blocks_no_other() {
    stops_everywhere(async |url, schema| {
        let builder = PostgresStore::builder(url)
            .schema(schema)
            .max_connections(2);
        builder.transaction_pooler().connect().await.unwrap()
    })
    .await;
}
