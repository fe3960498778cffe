//! Kills many manager processes on one store, and compares the store after each.

use std::{env, sync::LazyLock, thread, time::Duration};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};

use crate::{
    flawed::Flaw,
    ledger::{Ledger, Unacknowledged},
    life::Life,
    operation::{Operation, Outcome, Report},
    server::Server,
    store::{self, Store},
    violation::Violation,
};

/// The maximum number of reports before a process is killed. A token takes six of them.
const MOST_REPORTS: u64 = 24;

/// The maximum delay between the last awaited report and the kill.
const LONGEST_DELAY: Duration = Duration::from_millis(3);

/// The seed for the times of the kills: `DURABILITY_SEED`, or a new one.
#[expect(
    clippy::disallowed_methods,
    reason = "it has to differ from run to run"
)]
static SEED: LazyLock<String> = LazyLock::new(|| {
    let seed = env::var("DURABILITY_SEED");
    let seed = seed.unwrap_or_else(|_| Timestamp::now().as_nanosecond().to_string());
    println!("DURABILITY_SEED={seed}");
    seed
});

pub(crate) struct Ordeal {
    url: String,
    flaw: Option<Flaw>,
    lives: u64,
    ledger: Ledger,
    /// The unfinished operation of the last killed process.
    repeat: Vec<Operation>,
    tally: Tally,
}

/// Counts of when the processes were killed.
#[derive(Debug, Default)]
struct Tally {
    /// During an operation.
    in_midst: u64,
    /// While issuing, rotating and revoking.
    operations: [u64; 3],
    /// Operations that were carried out but not acknowledged.
    done: u64,
    /// Operations that were not carried out.
    not_done: u64,
}

/// When to kill a process.
struct Moment {
    /// After this many reports, and this delay.
    reports: usize,
    delay: Duration,
}

impl Ordeal {
    /// Starts with a store without tokens.
    pub(crate) async fn on(url: &str, flaw: Option<Flaw>) -> Self {
        let store = Store::open(url).await;
        let log = store.registry().change_log();
        let revision = log.unwrap().revision().await.unwrap();
        store.close().await;
        Self {
            url: url.to_owned(),
            flaw,
            lives: 0,
            ledger: Ledger::new(revision),
            repeat: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Runs one process until it is killed.
    pub(crate) async fn kill_process(&mut self) -> Result<(), Violation> {
        let moment = self.moment();
        let mut life = self.begin();
        life.hear(moment.reports);
        thread::sleep(moment.delay);
        let reports = life.kill();
        let failed = reports
            .iter()
            .find(|report| matches!(report, Report::Ended(_, Outcome::Failed(_))));
        assert_eq!(failed, None, "nothing but the process is at fault");
        self.check(&reports).await
    }

    /// Runs one process until its server is killed.
    pub(crate) async fn kill_server(&mut self, server: &mut Server) -> Result<(), Violation> {
        let moment = self.moment();
        let mut life = self.begin();
        // The first report shows that it has connected to the server.
        life.hear(moment.reports.max(1));
        thread::sleep(moment.delay);
        server.kill();
        let reports = life.end();
        server.start().await;
        self.check(&reports).await
    }

    /// Runs one process until its server is killed, and goes on with a standby.
    pub(crate) async fn fail_over(
        &mut self,
        server: &mut Server,
        standby: Server,
    ) -> Result<(), Violation> {
        let moment = self.moment();
        let mut life = self.begin();
        life.hear(moment.reports.max(1));
        thread::sleep(moment.delay);
        server.kill();
        let reports = life.end();
        *server = standby;
        self.url = server.url();
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let promoted: bool = sqlx::query_scalar("SELECT pg_promote()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(promoted);
        connection.close().await.unwrap();
        self.check(&reports).await
    }

    fn begin(&mut self) -> Life {
        self.lives += 1;
        Life::begin(&self.url, self.lives, self.flaw, &self.repeat)
    }

    /// Chooses when to kill the next process.
    fn moment(&self) -> Moment {
        let digest = Sha256::digest(format!("{} {}", *SEED, self.lives));
        let (numbers, _) = digest.as_chunks::<8>();
        let reports = u64::from_le_bytes(numbers[0]) % (MOST_REPORTS + 1);
        let share = u64::from_le_bytes(numbers[1]) as f64 / u64::MAX as f64;
        Moment {
            reports: usize::try_from(reports).unwrap(),
            delay: LONGEST_DELAY.mul_f64(share),
        }
    }

    /// Compares the store with all reports so far.
    async fn check(&mut self, reports: &[Report]) -> Result<(), Violation> {
        store::settle(&self.url).await;
        let store = Store::open(&self.url).await;
        let checked = self.ledger.check(reports, store.registry()).await;
        store.close().await;
        let unacknowledged = checked?;
        self.tally.add(&unacknowledged);
        let operations = unacknowledged.into_iter().map(|it| it.operation);
        self.repeat = operations.collect();
        Ok(())
    }

    /// Fails unless most processes were killed during an operation, and some during each kind.
    pub(crate) fn has_hit_the_midst(&self) {
        let Self { lives, tally, .. } = self;
        println!("{lives} lives, {} tokens, {tally:?}", self.ledger.len());
        assert!(tally.in_midst * 2 >= *lives, "{tally:?}");
        let hit_often = tally.operations.iter().all(|n| n * 20 >= *lives);
        assert!(hit_often, "{tally:?}");
    }

    /// Fails unless some interrupted operations were carried out, and some were not.
    pub(crate) fn has_hit_both_sides(&self) {
        let Tally { done, not_done, .. } = self.tally;
        assert!(done > 0 && not_done > 0, "{done} and {not_done}");
    }
}

impl Tally {
    fn add(&mut self, unacknowledged: &[Unacknowledged]) {
        self.in_midst += u64::from(!unacknowledged.is_empty());
        for it in unacknowledged {
            let operation = match it.operation {
                Operation::Issue { .. } => 0,
                Operation::Rotate { .. } => 1,
                Operation::Revoke { .. } => 2,
            };
            self.operations[operation] += 1;
            *(if it.is_done {
                &mut self.done
            } else {
                &mut self.not_done
            }) += 1;
        }
    }
}
