//! The process that issues and revokes.

use std::env;

use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tower_api_tokens::{ApiTokens, NewToken, PostgresStore, TokenFormat};

use crate::process::{Process, nanoseconds};

pub(crate) const PART: &str = "manager";

/// A token that was issued, and its handle.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) token: String,
}

pub(crate) struct Manager {
    process: Process,
}

impl Manager {
    /// Starts a process that manages the tokens of a store.
    pub(crate) async fn start(url: &str) -> Self {
        let mut process = Process::start(PART, &[("MANAGER_STORE", url.to_owned())]);
        assert_eq!(process.hear().await, "ready");
        Self { process }
    }

    pub(crate) async fn issue(&mut self, many: usize) -> Vec<Issued> {
        self.process.tell(&format!("issue {many}")).await;
        let mut issued = Vec::with_capacity(many);
        for _ in 0..many {
            let line = self.process.hear().await;
            let (id, token) = line.split_once(' ').unwrap();
            let (id, token) = (id.to_owned(), token.to_owned());
            issued.push(Issued { id, token });
        }
        issued
    }

    /// Revokes tokens one after the other, and gives the times at which each call returned.
    pub(crate) async fn revoke(&mut self, tokens: &[Issued]) -> Vec<u128> {
        let mut returned = Vec::with_capacity(tokens.len());
        for token in tokens {
            self.process.tell(&format!("revoke {}", token.id)).await;
            returned.push(self.process.hear().await.parse().unwrap());
        }
        returned
    }

    pub(crate) async fn stop(self) {
        assert!(self.process.finish().await.success(), "the manager failed");
    }
}

/// What the manager does, in a process of its own.
pub(crate) async fn manage() {
    let store = PostgresStore::connect(&env::var("MANAGER_STORE").unwrap())
        .await
        .unwrap();
    let tokens = ApiTokens::new(store, TokenFormat::new("fleet").unwrap());
    let app = tokens.create_app("Billing").await.unwrap();
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let (order, what) = line.split_once(' ').unwrap();
        if order == "revoke" {
            tokens.revoke(what.parse().unwrap()).await.unwrap();
            println!("{}", nanoseconds());
            continue;
        }
        for _ in 0..what.parse().unwrap() {
            let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
            println!("{} {}", issued.record().id, issued.token().expose());
        }
    }
}
