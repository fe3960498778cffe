//! Passes changes to the database. Changes that wait while others are made go together in one call, and share its
//! commit.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout},
};
use tower_api_tokens::StoreError;

use super::{
    connections::Connections,
    error::{from_shared, from_sqlx, may_concern_one_change, odd_outcome},
    lending::Lent,
    outcome::Outcome,
    schema::Schema,
};

/// The maximum number of concurrent calls: while one waits for the disk, another can make its changes. An urgent change
/// may make one more, because a server that has gone away without a word may not answer the others for a while.
const MOST_CALLS: usize = 2;

/// The maximum number of changes in one call, and of their bytes, so that the lock is held for moments only.
const MOST_CHANGES: usize = 32;
const MOST_BYTES: usize = 256 * 1024;

/// How long changes are made one by one, before the rest of them fails.
const MADE_ONE_BY_ONE: Duration = Duration::from_secs(10);

/// A call without changes, which waits until all changes that were visible before are durable.
const NOTHING: &str = "[]";

pub(super) struct Queue(Arc<Shared>);

struct Shared {
    connections: Arc<Connections>,
    schema: Schema,
    /// Wakes the followers in this process.
    changed: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The number of calls in progress.
    calls: usize,
    /// The number of the next change.
    next: u64,
}

struct Waiting {
    number: u64,
    change: String,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

impl Queue {
    pub(super) fn new(connections: Arc<Connections>, schema: Schema, changed: Arc<Notify>) -> Self {
        Self(Arc::new(Shared {
            connections,
            schema,
            changed,
            state: Mutex::default(),
        }))
    }

    /// Makes a change, which is a JSON object. An urgent one is made before others that wait. If the future
    /// is dropped, the change is made nevertheless.
    pub(super) async fn make(&self, change: String, urgent: bool) -> Result<Outcome, StoreError> {
        let (answer, mut answered) = oneshot::channel();
        let number = self.0.push(change, answer, urgent);
        let patience = self.0.connections.patience();
        let answer = match timeout(patience, &mut answered).await {
            Ok(answer) => answer,
            Err(_) if self.0.withdraw(number) => {
                return Err(StoreError::unavailable(
                    "too many concurrent changes for the connections of the store; try again, and check that commits do not wait for a standby",
                ));
            }
            // Its call is in progress.
            Err(_) => answered.await,
        };
        answer.unwrap_or_else(|_| {
            Err(StoreError::unavailable(
                "the runtime was shut down before the change was acknowledged",
            ))
        })
    }

    /// Waits until all changes that were visible before are durable.
    pub(super) async fn await_earlier(&self) -> Result<(), StoreError> {
        let called = self.0.call(NOTHING).await;
        called.map(drop).map_err(from_sqlx)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(
        self: &Arc<Self>,
        change: String,
        answer: oneshot::Sender<Result<Outcome, StoreError>>,
        urgent: bool,
    ) -> u64 {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let waiting = Waiting {
            number,
            change,
            answer,
        };
        match urgent {
            true => state.waiting.push_front(waiting),
            false => state.waiting.push_back(waiting),
        }
        let most = MOST_CALLS + usize::from(urgent);
        if state.calls < most.min(self.connections.most_changes()) {
            state.calls += 1;
            tokio::spawn(Running::new(Arc::clone(self)).run());
        }
        number
    }

    /// Removes a change that still waits. Returns whether it did.
    fn withdraw(&self, number: u64) -> bool {
        let mut state = self.state();
        let before = state.waiting.len();
        state.waiting.retain(|waiting| waiting.number != number);
        state.waiting.len() < before
    }

    /// Takes the changes of the next call.
    fn take(&self) -> Vec<Waiting> {
        let mut state = self.state();
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while let Some(waiting) = state.waiting.front()
            && changes.len() < MOST_CHANGES
            && (changes.is_empty() || bytes + waiting.change.len() <= MOST_BYTES)
        {
            bytes += waiting.change.len();
            changes.extend(state.waiting.pop_front());
        }
        changes
    }

    async fn make_all(&self, connection: Lent, changes: Vec<Waiting>) {
        let texts: Vec<_> = changes.iter().map(|waiting| &*waiting.change).collect();
        let call = statement(&self.schema, &format!("[{}]", texts.join(",")));
        let called = connection.call(call).await;
        self.changed.notify_waiters();
        match called {
            Ok(outcomes) => answer(changes, &outcomes),
            // None of them was made.
            Err(error) if changes.len() > 1 && may_concern_one_change(&error) => {
                self.make_each(changes, error).await;
            }
            Err(error) => fail(changes, error),
        }
    }

    /// Makes changes one by one, the urgent ones first, after a call for all of them has failed.
    async fn make_each(&self, changes: Vec<Waiting>, error: sqlx::Error) {
        let begun = Instant::now();
        let mut changes = changes.into_iter();
        // If each of them waits for the same lock, the others fail as the call did.
        while begun.elapsed() < MADE_ONE_BY_ONE
            && let Some(waiting) = changes.next()
        {
            let called = self.call(&format!("[{}]", waiting.change)).await;
            match called {
                Ok(outcomes) => answer(vec![waiting], &outcomes),
                Err(error) => drop(waiting.answer.send(Err(from_sqlx(error)))),
            }
        }
        self.changed.notify_waiters();
        fail(changes.collect(), error);
    }

    /// Calls the procedure, and waits until its last commit has ended.
    async fn call(&self, changes: &str) -> Result<String, sqlx::Error> {
        let connection = self.connections.lend_for_change().await?;
        connection.call(statement(&self.schema, changes)).await
    }
}

/// Returns the outcomes of one call to the callers, who may be gone.
fn answer(changes: Vec<Waiting>, outcomes: &str) {
    let mut outcomes = match Outcome::read_all(outcomes) {
        Ok(outcomes) => outcomes.into_iter(),
        Err(error) => {
            let error = format!("something that is not a list: {error}");
            for waiting in changes {
                drop(waiting.answer.send(Err(odd_outcome(&error))));
            }
            return;
        }
    };
    for waiting in changes {
        let outcome = outcomes.next();
        let outcome = outcome.unwrap_or_else(|| Err(odd_outcome("no outcome")));
        drop(waiting.answer.send(outcome));
    }
}

/// Returns the failure of a call to the callers.
fn fail(changes: Vec<Waiting>, error: sqlx::Error) {
    let error = Arc::new(error);
    for waiting in changes {
        drop(waiting.answer.send(Err(from_shared(&error))));
    }
}

/// Returns the call as a statement without parameters: it needs no prepared statement, which not every pooler keeps,
/// and one round trip.
fn statement(schema: &Schema, changes: &str) -> SqlStr {
    let schema = schema.quoted();
    let mut statement =
        format!("CALL {schema}.api_token_change(pg_catalog.convert_from(pg_catalog.decode('");
    for byte in changes.bytes() {
        // Writing to a `String` cannot fail.
        let _ = write!(statement, "{byte:02x}");
    }
    statement.push_str("', 'hex'), 'UTF8'))");
    // Safe: only hexadecimal digits and a quoted identifier are inserted.
    AssertSqlSafe(statement).into_sql_str()
}

/// Makes changes until none waits.
struct Running {
    shared: Arc<Shared>,
    /// The number of calls that it has made.
    calls: usize,
    ended: bool,
}

impl Running {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            calls: 0,
            ended: false,
        }
    }

    async fn run(mut self) {
        while !self.is_done() {
            // Changes that arrive before there is a connection go with the others.
            let connection = self.shared.connections.lend_for_change().await;
            let changes = self.shared.take();
            self.calls += 1;
            match connection {
                Ok(connection) if changes.is_empty() => connection.give_back(),
                Ok(connection) => self.shared.make_all(connection, changes).await,
                Err(error) => fail(changes, error),
            }
        }
    }

    /// Whether no change waits, or enough other tasks make changes. Without a task, the next change starts one.
    fn is_done(&mut self) -> bool {
        let mut state = self.shared.state();
        self.ended = state.waiting.is_empty() || (self.calls > 0 && state.calls > MOST_CALLS);
        state.calls -= usize::from(self.ended);
        self.ended
    }
}

impl Drop for Running {
    /// If the runtime ends first, nobody is left waiting for this task.
    fn drop(&mut self) {
        if !self.ended {
            let mut state = self.shared.state();
            state.calls -= 1;
            if state.calls == 0 {
                state.waiting.clear();
            }
        }
    }
}
