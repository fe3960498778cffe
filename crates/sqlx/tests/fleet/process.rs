//! Processes of this program, controlled by lines of input and output.

use std::{
    env, fs,
    process::{ExitStatus, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::Instant,
};

const PART: &str = "FLEET_PART";

const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the part of this process, if it was started for one.
pub(crate) fn part() -> Option<String> {
    env::var(PART).ok()
}

/// The time in nanoseconds, on a clock that all processes of this machine share.
#[expect(
    clippy::disallowed_methods,
    reason = "processes have no clock in common but the system's"
)]
pub(crate) fn nanoseconds() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_nanos()
}

pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(part: &str, environment: &[(&str, String)]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(PART, part)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    pub(crate) async fn tell(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> String {
        let line = self.output.next_line().await.unwrap();
        line.expect("the process goes on")
    }

    /// Freezes all threads of the process.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let begun = Instant::now();
        while !self.is_stopped() {
            assert!(begun.elapsed() < DEADLINE, "a process does not stop");
            thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let threads = format!("/proc/{}/task", self.child.id().unwrap());
        fs::read_dir(threads).unwrap().all(|thread| {
            let stat = fs::read_to_string(thread.unwrap().path().join("stat"));
            // The name before it may contain anything, and the thread may have ended.
            stat.map_or(true, |stat| {
                stat.rsplit_once(") ").unwrap().1.starts_with('T')
            })
        })
    }

    /// Resumes a frozen process.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("the process goes on");
        let pid = Pid::from_raw(id.try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills the process.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Closes the input of the process, which makes it exit cleanly.
    pub(crate) async fn finish(mut self) -> ExitStatus {
        drop(self.input);
        self.child.wait().await.unwrap()
    }
}
