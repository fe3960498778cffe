//! A manager process, as seen by its parent.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use crate::{
    flawed::{Flaw, Flawed},
    manager,
    operation::{Operation, Report},
    store::Store,
};

const STORE: &str = "DURABILITY_STORE";
const LIFE: &str = "DURABILITY_LIFE";
const FLAW: &str = "DURABILITY_FLAW";

/// How long a process may be silent before the test fails.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Life {
    process: Child,
    reports: Receiver<Report>,
    heard: Vec<Report>,
}

impl Life {
    /// Starts a process that repeats some operations, then makes up its own.
    pub(crate) fn begin(url: &str, number: u64, flaw: Option<Flaw>, repeat: &[Operation]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .env(STORE, url)
            .env(LIFE, number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(flaw) = flaw {
            command.env(FLAW, flaw.name());
        }
        let mut process = command.spawn().unwrap();
        let mut input = process.stdin.take().unwrap();
        for operation in repeat {
            writeln!(input, "{operation}").unwrap();
        }
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, reports) = channel();
        thread::spawn(move || {
            for line in output.lines() {
                let _ = sender.send(line.unwrap().parse().unwrap());
            }
        });
        Self {
            process,
            reports,
            heard: Vec::new(),
        }
    }

    /// Waits for this many reports, or for the end of the process.
    pub(crate) fn hear(&mut self, reports: usize) {
        while self.heard.len() < reports {
            match self.reports.recv_timeout(DEADLINE) {
                Ok(report) => self.heard.push(report),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("the process is silent"),
            }
        }
    }

    /// Kills the process, and returns all its reports.
    pub(crate) fn kill(mut self) -> Vec<Report> {
        self.process.kill().unwrap();
        self.end()
    }

    /// Waits until the process exits, and returns all its reports.
    pub(crate) fn end(mut self) -> Vec<Report> {
        self.hear(usize::MAX);
        self.process.wait().unwrap();
        std::mem::take(&mut self.heard)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs as a manager, if this process was started as one.
pub(crate) fn live() -> bool {
    let Ok(url) = env::var(STORE) else {
        return false;
    };
    let life = env::var(LIFE).unwrap().parse().unwrap();
    let flaw = env::var(FLAW).ok().map(|name| Flaw::named(&name));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match (Store::open(&url).await, flaw) {
            (Store::Sqlite(store), Some(flaw)) => {
                manager::run(Flawed::new(store, flaw, url), life).await;
            }
            (Store::Sqlite(store), None) => manager::run(store, life).await,
            (Store::Postgres(store), _) => manager::run(store, life).await,
        }
    });
    true
}
