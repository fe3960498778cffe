//! The manager process: issues, rotates and revokes continuously, and reports it.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tower_api_tokens::{
    ApiTokens, AppId, AppQuery, Authority, IdempotencyKey, IssuedToken, LifecycleError, NewToken,
    Rotation, TokenDigest, TokenFormat, TokenId, TokenRegistry,
};

use crate::operation::{Operation, Outcome, Report};

const WORKERS: u64 = 2;
const OVERLAPS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(3600),
    Duration::from_secs(86_400),
];

/// Repeats the operations from standard input, then makes up its own, until one fails or the process is
/// killed. Each is announced on standard output before it begins, and acknowledged when the call returns.
pub(crate) async fn run(registry: impl TokenRegistry, life: u64) {
    let repeated: Vec<Operation> = io::stdin()
        .lines()
        .map(|line| line.unwrap().parse().unwrap())
        .collect();
    let tokens = ApiTokens::new(registry, TokenFormat::new("acme").unwrap());
    // Every operation is recorded in the audit log.
    let tokens = tokens.acting_as(Authority::of("manager"));
    let Ok(app) = the_app(&tokens).await else {
        return;
    };
    let manager = Manager {
        tokens,
        app,
        life,
        operations: AtomicU64::new(0),
    };
    for operation in repeated {
        if manager.carry_out(operation).await.is_err() {
            return;
        }
    }
    let workers = (0..WORKERS).map(|worker| manager.work(worker));
    let ended = futures_util::future::try_join_all(workers).await;
    ended.expect_err("a worker goes on until something fails");
}

/// The only app, created by the first process that gets this far.
async fn the_app(tokens: &ApiTokens) -> Result<AppId, LifecycleError> {
    let apps = tokens.list_apps(&AppQuery::default()).await?.items;
    match apps.first() {
        Some(app) => Ok(app.id),
        None => Ok(tokens.create_app("Billing").await?.id),
    }
}

/// An operation failed, and the failure was reported.
struct Failed;

struct Manager {
    tokens: ApiTokens,
    app: AppId,
    life: u64,
    operations: AtomicU64,
}

impl Manager {
    async fn work(&self, worker: u64) -> Result<(), Failed> {
        for turn in 0_usize.. {
            let name = format!("{}.{worker}.{turn}", self.life);
            let issued = self.make(Operation::Issue { name }).await?;
            let overlap = OVERLAPS[turn % OVERLAPS.len()];
            let rotate = Operation::Rotate {
                token: issued,
                overlap,
            };
            let successor = self.make(rotate).await?;
            let token = [issued, successor][turn % 2];
            self.carry_out(Operation::Revoke { token }).await?;
        }
        Ok(())
    }

    async fn make(&self, operation: Operation) -> Result<TokenId, Failed> {
        match self.carry_out(operation).await? {
            Outcome::Made(id, _) => Ok(id),
            _ => Err(Failed),
        }
    }

    async fn carry_out(&self, operation: Operation) -> Result<Outcome, Failed> {
        let number = self.operations.fetch_add(1, Relaxed);
        println!("{}", Report::Begun(number, operation.clone()));
        let outcome = match self.call(&operation).await {
            Ok(outcome) => outcome,
            Err(error) => match error.repeated() {
                Some(repeated) => Outcome::Repeated(repeated.token),
                None => Outcome::Failed(in_full(&error)),
            },
        };
        println!("{}", Report::Ended(number, outcome.clone()));
        match outcome {
            Outcome::Failed(_) => Err(Failed),
            outcome => Ok(outcome),
        }
    }

    async fn call(&self, operation: &Operation) -> Result<Outcome, LifecycleError> {
        let made = |token: IssuedToken| Outcome::Made(token.record().id, token.record().digest);
        let tokens = &self.tokens;
        match operation {
            Operation::Issue { name } => {
                let new = NewToken::named(name);
                let issued = tokens
                    .issue(&self.app, new.idempotency_key(key(operation)))
                    .await;
                issued.map(made)
            }
            Operation::Rotate { token, overlap } => {
                let rotation = Rotation::new(*overlap).idempotency_key(key(operation));
                let rotated = tokens.rotate(*token, rotation).await;
                rotated.map(made)
            }
            Operation::Revoke { token } => tokens.revoke(*token).await.map(|_| Outcome::Done),
        }
    }
}

/// The idempotency key for repeating an operation that was not acknowledged.
fn key(operation: &Operation) -> IdempotencyKey {
    let digest = TokenDigest::of(operation.to_string().as_bytes());
    IdempotencyKey::new(&digest.to_hex()).unwrap()
}

/// An error and its causes, on one line.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<_> = causes
        .map(|cause| cause.to_string().replace('\n', " "))
        .collect();
    causes.join(": ")
}
