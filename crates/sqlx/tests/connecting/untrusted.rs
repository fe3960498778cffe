//! An unverified server is sent no password.

use std::{fmt::Write as _, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinHandle,
};
use tower_api_tokens::{StoreError, StoreErrorKind};
use tower_api_tokens_sqlx::PostgresStore;

const PASSWORD: &str = "Sup3rSecretWord";

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How the server responds to a request for TLS.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// It does not support TLS.
    No,
    /// It claims to support TLS, then sends something else.
    Yes,
    /// It does not know the request, or pretends not to.
    Error,
}

/// A server that asks for the password in clear text, and records all that it receives.
struct Impostor {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Impostor {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let notes = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                // The client may disconnect at any time.
                let _ = converse(client, answer, &notes).await;
            }
        });
        Self { port, heard, task }
    }

    async fn heard(&self) -> Vec<u8> {
        self.heard.lock().await.clone()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    mut client: TcpStream,
    answer: Answer,
    heard: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    let mut asked = false;
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length).await?;
        let rest = u32::from_be_bytes(length).saturating_sub(4).min(10_000);
        let mut message = vec![0; usize::try_from(rest).unwrap()];
        client.read_exact(&mut message).await?;
        heard.lock().await.extend(length.iter().chain(&message));
        if !asked && message == SSL_REQUEST[4..] {
            asked = true;
            let reply: &[u8] = match answer {
                Answer::No => b"N",
                Answer::Yes => b"SR\0\0\0\x08\0\0\0\x03",
                Answer::Error => b"E\0\0\0\x05\0",
            };
            client.write_all(reply).await?;
            continue;
        }
        // Asks for the password in clear text after the startup message.
        client.write_all(b"R\0\0\0\x08\0\0\0\x03").await?;
        let mut password = [0; 1];
        client.read_exact(&mut password).await?;
        let mut rest = vec![0; PASSWORD.len() + 5];
        client.read_exact(&mut rest).await?;
        heard.lock().await.extend(rest);
        return Ok(());
    }
}

async fn connect(port: u16, parameters: &str) -> StoreError {
    // An address of this machine that does not count as local.
    let url = format!("postgres://u:{PASSWORD}@0.0.0.0:{port}/db{parameters}");
    PostgresStore::connect(&url).await.unwrap_err()
}

fn contains_password(heard: &[u8]) -> bool {
    heard
        .windows(PASSWORD.len())
        .any(|part| part == PASSWORD.as_bytes())
}

#[tokio::test]
async fn an_unverified_server_is_sent_nothing_by_default() {
    for answer in [Answer::No, Answer::Yes, Answer::Error] {
        for parameters in ["", "?sslmode=verify-full", "?sslrootcert=system"] {
            let impostor = Impostor::start(answer).await;
            let error = connect(impostor.port, parameters).await;
            let heard = impostor.heard().await;
            // If TLS follows, the rest is a handshake.
            assert!(heard.starts_with(&SSL_REQUEST), "{answer:?}");
            assert!(
                !contains_password(&heard),
                "{answer:?} {parameters}: {heard:?}"
            );
            if let Answer::No | Answer::Error = answer {
                assert_eq!(
                    heard, SSL_REQUEST,
                    "{answer:?} {parameters}: not even a name"
                );
            }
            if let Answer::No = answer {
                assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
                let mut message = String::new();
                write!(message, "{}", std::error::Error::source(&error).unwrap()).unwrap();
                assert!(message.contains("`ssl` on"), "{message}");
                assert!(message.contains("`sslmode=disable`"), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn require_sends_nothing_to_a_server_without_tls() {
    let impostor = Impostor::start(Answer::No).await;
    connect(impostor.port, "?sslmode=require").await;
    assert_eq!(impostor.heard().await, SSL_REQUEST);
}

#[tokio::test]
async fn sslmode_disable_sends_the_password_unverified() {
    for parameters in ["?sslmode=prefer", "?sslmode=disable", "?sslmode=allow"] {
        let impostor = Impostor::start(Answer::No).await;
        connect(impostor.port, parameters).await;
        // Shows that this server would have received it.
        assert!(contains_password(&impostor.heard().await), "{parameters}");
    }
}
