//! The processor time that a PostgreSQL server has used, from Linux's `/proc`.

use std::fs;

use sqlx::{Connection, PgConnection};

/// The unit of the times in `/proc`, which is the same on all common architectures.
const TICK: f64 = 10_000.0;

/// The processes of a server.
pub(crate) struct Processes {
    postmaster: u32,
}

impl Processes {
    pub(crate) async fn of(url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let stat = Stat::of(&backend.to_string()).expect("the server is on this machine");
        Self {
            postmaster: stat.parent,
        }
    }

    /// The time of all processes, ended ones included, in microseconds.
    pub(crate) fn microseconds(&self) -> f64 {
        let mut microseconds = 0.0;
        for entry in fs::read_dir("/proc").unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(stat) = Stat::of(&name) else {
                continue;
            };
            if name == self.postmaster.to_string() {
                microseconds += own(&name) + stat.of_ended_children * TICK;
            } else if stat.parent == self.postmaster {
                microseconds += own(&name);
            }
        }
        microseconds
    }
}

/// The time of one process, in microseconds. `stat` has it too, but leaves out parts of a tick.
fn own(process: &str) -> f64 {
    let schedstat = fs::read_to_string(format!("/proc/{process}/schedstat"));
    let nanoseconds = schedstat.ok().and_then(|times| {
        let nanoseconds = times.split(' ').next()?;
        nanoseconds.parse::<f64>().ok()
    });
    // The process may have ended by now.
    nanoseconds.unwrap_or(0.0) / 1000.0
}

struct Stat {
    parent: u32,
    /// In ticks.
    of_ended_children: f64,
}

impl Stat {
    fn of(process: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before it may contain anything.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            of_ended_children: (number(13)? + number(14)?) as f64,
        })
    }
}
