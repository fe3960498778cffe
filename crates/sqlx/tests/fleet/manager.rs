//! The manager process, which issues and revokes tokens.

use std::{env, time::Duration};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
pub(crate) use tower_api_tokens::ReceiptStatus as Receipt;
use tower_api_tokens::{
    ApiTokens, AppRecord, FleetSettings, IdempotencyKey, LifecycleError, NewToken, TokenFormat,
    TokenId,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    node::Settings,
    process::{Process, nanoseconds},
};

pub(crate) const PART: &str = "manager";

/// Every operation that makes a change.
pub(crate) const OPERATIONS: [&str; 8] = [
    "issue",
    "issue-once",
    "rotate",
    "revoke",
    "rename",
    "disable",
    "enable",
    "purge",
];

/// An issued token, and its identifier.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) token: String,
}

pub(crate) struct Manager {
    pub(crate) process: Process,
}

impl Manager {
    /// Starts a manager for a store.
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

    /// Revokes tokens one by one, and returns the time when each call returned.
    pub(crate) async fn revoke(&mut self, tokens: &[Issued]) -> Vec<u128> {
        let mut returned = Vec::with_capacity(tokens.len());
        for token in tokens {
            self.process.tell(&format!("revoke {}", token.id)).await;
            returned.push(self.process.hear().await.parse().unwrap());
        }
        returned
    }

    /// Sets the maximum bound of the fleet, and whether every node registers.
    pub(crate) async fn set_fleet(&mut self, bound: Duration, all_registered: bool) {
        let order = format!("fleet {} {all_registered}", bound.as_millis());
        self.process.tell(&order).await;
        assert_eq!(self.process.hear().await, "set");
    }

    /// Revokes a token, and returns when no node admits it any more.
    pub(crate) async fn revoke_everywhere(&mut self, token: &Issued) -> Receipt {
        self.process
            .tell(&format!("revoke-everywhere {}", token.id))
            .await;
        self.process.hear().await.parse().unwrap()
    }

    /// Repeats one of [`OPERATIONS`] until the next line of input.
    pub(crate) async fn repeat(&mut self, operation: &str) {
        self.process.tell(&format!("repeat {operation}")).await;
        assert_eq!(self.process.hear().await, "begun");
    }

    /// Stops the repetition, and returns the number of repetitions.
    pub(crate) async fn end(&mut self) -> u64 {
        self.process.tell("end").await;
        self.process.hear().await.parse().unwrap()
    }

    pub(crate) async fn stop(self) {
        assert!(self.process.finish().await.success(), "the manager failed");
    }
}

/// Runs the manager in its process.
pub(crate) async fn manage() {
    let store = PostgresStore::connect(&env::var("MANAGER_STORE").unwrap())
        .await
        .unwrap();
    let tokens = ApiTokens::builder(store, TokenFormat::new("fleet").unwrap())
        .max_staleness(Settings::SHORT.max_staleness)
        .build();
    let app = tokens.create_app("Billing").await.unwrap();
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let (order, what) = line.split_once(' ').unwrap();
        match order {
            "issue" => {
                for _ in 0..what.parse().unwrap() {
                    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
                    println!("{} {}", issued.record().id, issued.token().expose());
                }
            }
            "revoke" => {
                tokens.revoke(what.parse().unwrap()).await.unwrap();
                println!("{}", nanoseconds());
            }
            "fleet" => {
                let (bound, all) = what.split_once(' ').unwrap();
                let bound = Duration::from_millis(bound.parse().unwrap());
                let settings = FleetSettings::default()
                    .max_staleness(bound)
                    .all_registered(all.parse().unwrap());
                tokens.set_fleet(settings).await.unwrap();
                println!("set");
            }
            "revoke-everywhere" => {
                let wait = Duration::from_secs(60);
                let revoked = tokens.revoke_everywhere(what.parse().unwrap(), wait).await;
                println!("{}", revoked.unwrap().1.status);
            }
            "repeat" => {
                let mut repetition = Repetition::begin(&tokens).await;
                println!("begun");
                let mut count = 0_u64;
                loop {
                    tokio::select! {
                        biased;
                        line = lines.next_line() => {
                            assert_eq!(line.unwrap().as_deref(), Some("end"));
                            break;
                        }
                        done = repetition.step(what) => count += u64::from(done.is_ok()),
                    }
                }
                println!("{count}");
            }
            other => panic!("there is no order {other}"),
        }
    }
}

/// An operation repeated on a separate app.
struct Repetition<'m> {
    tokens: &'m ApiTokens,
    app: AppRecord,
    token: TokenId,
    count: u64,
}

impl<'m> Repetition<'m> {
    async fn begin(tokens: &'m ApiTokens) -> Self {
        let app = tokens.create_app("Repeated").await.unwrap();
        let new = NewToken::named("repeated");
        let token = tokens.issue(&app.id, new).await.unwrap().record().id;
        Self {
            tokens,
            app,
            token,
            count: 0,
        }
    }

    /// Runs it once. It may fail if the process was frozen meanwhile.
    async fn step(&mut self, operation: &str) -> Result<(), LifecycleError> {
        let Self { tokens, app, .. } = self;
        self.count += 1;
        let new = || NewToken::named("repeated");
        match operation {
            "issue" => drop(tokens.issue(&app.id, new()).await?),
            "issue-once" => {
                let key = IdempotencyKey::new(&format!("{}/{}", self.token, self.count)).unwrap();
                drop(tokens.issue(&app.id, new().idempotency_key(key)).await?);
            }
            "rotate" => {
                let issued = tokens.issue(&app.id, new()).await?;
                drop(tokens.rotate(issued.record().id, Duration::ZERO).await?);
            }
            "revoke" => drop(tokens.revoke(self.token).await?),
            "rename" => {
                let name = format!("name {}", self.count);
                tokens.rename(self.token, &name).await?;
            }
            "disable" => drop(tokens.disable_app(&app.id).await?),
            "enable" => drop(tokens.enable_app(&app.id).await?),
            "purge" => {
                let issued = tokens.issue(&app.id, new()).await?;
                tokens.revoke(issued.record().id).await?;
                tokens.purge(Timestamp::MAX).await?;
            }
            other => panic!("there is no operation {other}"),
        }
        Ok(())
    }
}
