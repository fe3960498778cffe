//! Sends requests over raw connections, and reads everything that comes back.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The deadline for the whole response.
const PATIENCE: Duration = Duration::from_secs(30);

/// A response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends a request over a new connection, and reads the whole response.
pub(crate) async fn exchange_over(mut stream: TcpStream, request: &str) -> Answer {
    let exchange = async {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(PATIENCE, exchange).await.expect("no answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("no answer");
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}
